"""Which documents of one collection are known, and what others report about them.

Others may create and delete any number of documents: only so many of those that nobody uses are remembered.
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
"""How many documents created by others while the bot runs are remembered, although nobody has used them."""

R = TypeVar("R", bound=Replica)


class KnownDocuments(DocumentForm, Generic[R]):
    """The documents of one collection that are known.

    Args:
        collection: Its name.
        codec: Encodes and decodes values.
        replica_type: The class that keeps a document's state.

    Attributes:
        collection: Its name.
        replicas: The documents that are known, by their keys.
        quarantined: Why documents cannot be read, by their keys.
        unstorable: The documents whose changes by the bot cannot be stored, and why.
        told_later: Errors of copies that could not be staged when their turn came; the writer passes them on.
        on_upgraded: Called with a document whose data was migrated to the current bot's form, and must be saved.
        on_refused_told: Called with a refused document when the stored one may have changed.
        complete: Whether every document is known: one that is not in `replicas` does not exist.
    """

    knows_absent: bool = True
    """Whether nearly everybody who had no document when all were known still has none later: others create few."""

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
        self._is_overtaken = False  # during a load: what it has read may be older than what was reported
        self._is_incomplete = False  # since the last load began
        self._made_by_others: set[Any] = set()  # the keys of those that nobody has used yet

    # -- what scopes define differently -----------------------------------------------------------------

    def is_needless(self, replica: R) -> bool:  # noqa: ARG002
        """Whether the replica of a nonexistent document can be forgotten."""
        return False

    def came_true(self, replica: R, before: bytes | None) -> None:
        """Handles a withdrawn change that was stored all the same; by default, handlers learn of it by the next read.

        Args:
            replica: The document.
            before: What its target was before.
        """

    def is_unused(self, replica: R) -> bool:
        """Whether the bot holds nothing that came from a document."""
        return replica.base is None

    def made_of_unused(self, key: Any, raw: bytes, live: Any) -> R:
        """Creates the replica of a document that was loaded and is used for the first time; see `Replicas`."""
        raise NotImplementedError

    # -- which documents are known ----------------------------------------------------------------------

    def replica(self, key: Any, document_id: Any) -> R:
        """The replica of a document; created if necessary."""
        if (found := self.replicas.get(key)) is None:
            found = self.replicas[key] = self._new_replica(document_id, known=self.complete or self._was_complete)
            if not self.complete:
                found.told()  # if all were known before, it did not exist: during an outage, that counts as loaded
        return found

    def forget(self, replica: R) -> None:
        """Forgets a replica that is no longer needed, but not one whose document may exist again by others' writes."""
        is_nothing = replica.base is None and not replica.is_unsaved and not (replica.is_stale and self.complete)
        if not is_nothing or self._loads or replica in self.unstorable or not self.is_needless(replica):
            return  # a read in progress may show an older state
        with contextlib.suppress(DecodeError):  # an `_id` without a key is in no table
            key = self.key_of(replica.id)
            if self.replicas.get(key) is replica:  # spilled data has a separate one
                del self.replicas[key]

    @contextlib.contextmanager
    def being_loaded(self) -> Iterator[None]:
        """Marks the duration of a load: a document that is written meanwhile may have been read before.

        An unused one gets its replica when something is reported or read about it: until then, nothing has happened.
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
        """Notes a new replica of a document that nobody had used: the loads in progress count as just begun for it."""
        for began in self._loads:
            began[key] = replica.reading()

    @contextlib.contextmanager
    def being_read(self) -> Iterator[None]:
        """Marks the duration of a read of documents without replicas: one that is written meanwhile gets a replica."""
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
        """Notes that a document without a replica may exist from now on."""
        self.complete = self._was_complete = False
        self._is_incomplete = True

    @property
    def is_complete_since_load(self) -> bool:
        """Whether the last load has shown every document, and each one since is known."""
        return not self._is_incomplete

    # -- what the server says ---------------------------------------------------------------------------

    def acknowledged(self, replica: R, rev: str) -> None:
        """Handles a write that the server has done; if it was withdrawn meanwhile, it counts as somebody else's."""
        before = replica.target
        if replica.acknowledged(rev, self) and replica.target != before:
            self.came_true(replica, before)

    # -- what the change stream says --------------------------------------------------------------------

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """Handles a write or a deletion by somebody else."""
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
            replica.told()  # a read in progress may show an older state
            self._made_by_others.add(key)
            if len(self._made_by_others) > MOST_MADE_BY_OTHERS:
                self._forget_unused()

    def _may_be_forgotten(self, replica: R) -> bool:
        """Whether a replica can be dropped without loss, if its document is read before use or does not exist."""
        # What the bot itself has stored may be newer than a deletion that is reported only now.
        is_needed = replica.is_unsaved or replica.is_being_read or replica.is_insertion_in_doubt or replica.is_written
        return not is_needed and replica not in self.unstorable and self.is_unused(replica)

    def _forget_unused(self) -> None:
        """Forgets unused documents of others if there are very many: each is then read when somebody uses it."""
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
        """Whether `rev` belongs to a write of ours."""
        try:
            replica = self.replicas.get(self.key_of(document_id))
        except DecodeError:
            return False
        return replica is not None and type(rev) is str and (replica.rev == rev or rev in replica.sent)

    def told_all(self) -> None:
        """Notes that any document may have been written."""
        was_complete = self.knows_absent and (self.complete or self._was_complete)
        self.misses_some()
        self._was_complete = was_complete
        self._is_overtaken = bool(self._loads)
        self.replicas.told_all()
