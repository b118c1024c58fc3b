"""Which documents of one collection are known, and what others say of them.

Others may make and delete any number of documents: of those that nobody uses, only so many are remembered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

from ptb_mongo.codec import Codec
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.forms import DocumentForm
from ptb_mongo.replica.quarantine import Quarantine
from ptb_mongo.replica.replicas import Replicas

__all__ = ["MOST_MADE_BY_OTHERS", "KnownDocuments", "R"]

MOST_MADE_BY_OTHERS: Final = 5000
"""How many documents that others have made while the bot runs are remembered, although nobody has used them."""

R = TypeVar("R", bound=Replica)


class KnownDocuments(DocumentForm, Generic[R]):
    """The documents of one collection that are known.

    Args:
        collection: Its name.
        codec: Encodes and decodes values.
        replica_type: The class that keeps the state of a document.

    Attributes:
        collection: Its name.
        replicas: The documents that are known, by their keys.
        quarantined: Why documents cannot be read, by their keys.
        unstorable: What the bot has changed and cannot be stored, and why.
        told_later: What could not be staged of copies that had waited for it; the writer tells those that wait.
        on_upgraded: Called with a document whose data was brought into the form of today's bot, and is to be saved so.
        on_refused_told: Called with a document that was refused for its own sake, as what is stored may have changed.
        complete: Whether every document is known: one that is not in `replicas` does not exist.
    """

    knows_absent: bool = True
    """Whether nearly all who had no document when everything was known have none later: others make few."""

    def __init__(self, collection: str, codec: Codec, replica_type: type[R]) -> None:
        super().__init__(codec)
        self.collection = collection
        self.replicas: Replicas[R] = Replicas(self.made_of_unused, self._note_made)
        self.quarantined = Quarantine(collection)
        self.unstorable: dict[Replica, DocumentError] = {}
        self.told_later: dict[Replica, list[DocumentError]] = {}
        self.on_upgraded: Callable[[Replica], object] = lambda _: None
        self.on_refused_told: Callable[[Replica], None] = lambda _: None
        self.complete = self._was_complete = False
        self._new_replica = replica_type
        self._loads: list[dict[Any, int]] = []
        self._is_overtaken = False  # during a load: what it has read may be older than what was told
        self._is_incomplete = False  # since the last load began
        self._made_by_others: set[Any] = set()  # the keys of those that nobody has used yet

    # -- what scopes define differently -----------------------------------------------------------------

    def is_needless(self, replica: R) -> bool:  # noqa: ARG002
        """Whether the replica of a document that does not exist can be forgotten."""
        return False

    def came_true(self, replica: R, before: bytes | None) -> None:
        """What was taken back is stored all the same; handlers are told by the next read, unless that is too late.

        Args:
            replica: The document.
            before: What its target was before.
        """

    def is_unused(self, replica: R) -> bool:
        """Whether the bot holds nothing that was made of a document."""
        return replica.base is None

    def made_of_unused(self, key: Any, raw: bytes, live: Any) -> R:
        """The replica of a document that was loaded, and not used until now; see `Replicas`."""
        raise NotImplementedError

    # -- which documents are known ----------------------------------------------------------------------

    def replica(self, key: Any, document_id: Any) -> R:
        """The replica of a document; created if necessary."""
        if (found := self.replicas.get(key)) is None:
            found = self.replicas[key] = self._new_replica(document_id, known=self.complete or self._was_complete)
            if not self.complete:
                found.told()  # if all were known before, it did not exist: in an outage, that is what is loaded of it
        return found

    def forget(self, replica: R) -> None:
        """Forgets a replica that is no longer needed; not one that may exist again, as others have written it since."""
        is_nothing = replica.base is None and not replica.is_unsaved and not (replica.is_stale and self.complete)
        if not is_nothing or self._loads or replica in self.unstorable or not self.is_needless(replica):
            return  # a read in progress may be older
        with contextlib.suppress(DecodeError):  # then it is none of those
            key = self.key_of(replica.id)
            if self.replicas.get(key) is replica:  # what was spilled has one of its own
                del self.replicas[key]

    @contextlib.contextmanager
    def being_loaded(self) -> Iterator[None]:
        """Marks the time of a load: a document that is written meanwhile may have been read before.

        One that nobody uses gets its replica when something is said or shown of it: until then nothing has happened.
        """
        began = {key: replica.reading() for key, replica in self.replicas.items_in_use()}
        if not self._loads:
            self._is_incomplete = False
        self._loads.append(began)
        try:
            yield
        finally:
            self._loads = [one for one in self._loads if one is not began]
            self._end_load()

    def _note_made(self, key: Any, replica: R) -> None:
        """The replica of a document was made that nobody had used: for loads that go on, they have just begun."""
        for began in self._loads:
            began[key] = replica.reading()

    @contextlib.contextmanager
    def being_read(self) -> Iterator[None]:
        """Marks the time of a read of documents that have no replica: one that is written meanwhile gets one."""
        read: dict[Any, int] = {}
        self._loads.append(read)
        try:
            yield
        finally:
            self._loads = [one for one in self._loads if one is not read]
            self._end_load()

    def _end_load(self) -> None:
        if self._is_overtaken and not self._loads:
            self._is_overtaken = False
            self.told_all()

    def misses_some(self) -> None:
        """From now on a document without a replica may exist."""
        self.complete = self._was_complete = False
        self._is_incomplete = True

    @property
    def is_complete_since_load(self) -> bool:
        """Whether the last load has shown every document, and each one since is known."""
        return not self._is_incomplete

    # -- what the server says ---------------------------------------------------------------------------

    def acknowledged(self, replica: R, rev: str) -> None:
        """The server has done a write; if it was taken back meanwhile, it has arrived as if by somebody else."""
        before = replica.target
        if replica.acknowledged(rev, self) and replica.target != before:
            self.came_true(replica, before)

    # -- what the change stream says --------------------------------------------------------------------

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """A document was written, or deleted, by somebody else."""
        try:
            key = self.key_of(document_id)
        except DecodeError:
            if deleted:
                self.quarantined.discard(document_id)
            return
        if not self._loads and self.replicas.told_unused(key):
            return
        replica = self.replicas.get(key)
        if replica is not None:
            if deleted and not self._loads and self._may_be_forgotten(replica):
                del self.replicas[key]
                self._made_by_others.discard(key)
                self.quarantined.pop(key, None)
                return
            known = replica.base is not None or replica.is_unsaved or replica.is_being_read or key in self.quarantined
            if known or not deleted:  # otherwise it is our own deletion
                replica.told()
                if replica.is_refused:
                    self.on_refused_told(replica)
        elif self._loads or ((self.complete or self._was_complete) and not deleted):
            replica = self.replicas[key] = self._new_replica(document_id, known=False)
            replica.told()  # a read in progress may be older
            self._made_by_others.add(key)
            if len(self._made_by_others) > MOST_MADE_BY_OTHERS:
                self._forget_unused()

    def _may_be_forgotten(self, replica: R) -> bool:
        """Whether nothing is lost without a replica, if its document is read before it is used, or does not exist."""
        # What the bot itself has stored may be younger than a deletion that it is told of only now.
        is_needed = replica.is_unsaved or replica.is_being_read or replica.is_insertion_in_doubt or replica.is_written
        return not is_needed and replica not in self.unstorable and self.is_unused(replica)

    def _forget_unused(self) -> None:
        """If others have made so many documents that nobody has used, each is rather read when somebody does."""
        made = [(key, one) for key in self._made_by_others if (one := self.replicas.get(key)) is not None]
        self._made_by_others = {key for key, one in made if not one.is_loaded and self._may_be_forgotten(one)}
        if len(self._made_by_others) <= MOST_MADE_BY_OTHERS:
            return
        for key in self._made_by_others:
            del self.replicas[key]
        self._made_by_others = set()
        self.misses_some()
        self._is_overtaken = bool(self._loads)

    def is_own(self, document_id: Any, rev: Any) -> bool:
        """Whether `rev` is that of a write of ours."""
        try:
            replica = self.replicas.get(self.key_of(document_id))
        except DecodeError:
            return False
        return replica is not None and type(rev) is str and (replica.rev == rev or rev in replica.sent)

    def told_all(self) -> None:
        """Anything may have been written."""
        was_complete = self.knows_absent and (self.complete or self._was_complete)
        self.misses_some()
        self._was_complete = was_complete
        self._is_overtaken = bool(self._loads)
        self.replicas.told_all()
