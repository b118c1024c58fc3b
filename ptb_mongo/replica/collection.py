"""The documents of one collection: which are loaded, and which are quarantined.

All scopes share it. It never overwrites a document that cannot be read, and does no I/O: the reader passes in what was
read, and the writer asks what is to be written.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from ptb_mongo.codec import BURIED, BURIED_FIELD, MAX_SIZE, Codec, Parts, dump, id_of, load, load_each, part
from ptb_mongo.codec.bounds import check_copy
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError, QuarantinedError
from ptb_mongo.gc_pause import collector_paused
from ptb_mongo.health import Counters
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.forms import DocumentForm
from ptb_mongo.replica.values import Document
from ptb_mongo.replica.versions import Stored, Version

__all__ = ["Collection"]

_LOGGER = logging.getLogger(__name__)
_HEADROOM: Final = 1024  # bytes for the other fields of a stored document: `_id`, `rev`, `updated_at`
_DESCRIBING: Final = ("rev", "revs")
_NOT_OURS: Final = ("_id", *_DESCRIBING)

R = TypeVar("R", bound=Replica)


class Collection(DocumentForm, Generic[R]):
    """The documents of one collection.

    Args:
        collection: Its name.
        fields: The fields that are ours, besides `_id`, `rev`, `revs` and `updated_at`.
        codec: Encodes and decodes values.
        counters: Count what happens.
        replica_type: The class that keeps the state of a document.

    Attributes:
        collection: Its name.
        replicas: The documents that are known, by their keys.
        ours_only: The fields that are ours.
        fields: What is read of each document.
        quarantined: Why documents cannot be read, by their keys.
        unstorable: What the bot has changed and cannot be stored, and why.
        on_refused_told: Called with a document that was refused for its own sake, as what is stored may have changed.
        complete: Whether every document is known: one that is not in `replicas` does not exist.
    """

    knows_absent: bool = True
    """Whether nearly all who had no document when everything was known have none later: others make few."""

    copied: ClassVar = True
    """Whether PTB copies the data before it is saved."""

    last: bool = False
    """Whether its documents are written after all others: if the process dies between, the update is handled again."""

    ended: Document = {}  # noqa: RUF012
    """Fields that are set before a document is deleted, in the same batch as other writes; none by default."""

    def __init__(
        self, collection: str, fields: Sequence[str], codec: Codec, counters: Counters, replica_type: type[R]
    ) -> None:
        self.collection = collection
        super().__init__(codec)
        self.counters = counters
        self.replicas: dict[Any, R] = {}
        self.quarantined: dict[Any, DocumentError] = {}
        self.unstorable: dict[Replica, DocumentError] = {}
        self.on_refused_told: Callable[[Replica], None] = lambda _: None
        self.complete = self._was_complete = False
        self.ours_only = tuple(fields)
        self.fields = (*fields, BURIED_FIELD, *_DESCRIBING)
        self._new_replica = replica_type
        self._loads: list[dict[Any, int]] = []

    # -- what scopes define differently -----------------------------------------------------------------

    def deletable(self, replica: R) -> Document:  # noqa: ARG002
        """A filter under which a document may be deleted: by default, always."""
        return {}

    def arrived(self, replica: R, before: bytes | None, rev: Any) -> None:
        """A document was read.

        Args:
            replica: The document.
            before: What its target was before.
            rev: What its `rev` was before.
        """

    def is_needless(self, replica: R) -> bool:  # noqa: ARG002
        """Whether the replica of a document that does not exist can be forgotten."""
        return False

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
        if is_nothing and replica not in self.unstorable and self.is_needless(replica):
            key = self.key_of(replica.id)
            if self.replicas.get(key) is replica:  # what was spilled has one of its own
                del self.replicas[key]

    @contextlib.contextmanager
    def being_loaded(self) -> Iterator[None]:
        """Marks the time of a load: a document that is written meanwhile may have been read before."""
        began = {key: replica.reading() for key, replica in self.replicas.items()}
        self._loads.append(began)
        try:
            yield
        finally:
            self._loads.remove(began)

    def loaded(self, raws: Sequence[bytes]) -> Iterator[tuple[R, Document]]:
        """Takes in the documents of a load, and yields their targets decoded; what cannot be decoded is quarantined."""
        for raw, body in zip(raws, load_each(raws), strict=True):
            if (found := self._decoded(raw, body)) is not None:
                yield found

    def _decoded(self, raw: bytes, body: Document | None) -> tuple[R, Document] | None:
        try:
            key, parts, decoded = self.decoded(raw, body or load(raw))
        except DecodeError as error:
            self._quarantine(*self.named(raw), error)
            return None
        if self.quarantined:
            self.quarantined.pop(key, None)
        stored = Stored(parts.rev, parts.revs, parts.body)
        replica = self.replicas.get(key)
        if replica is None:
            replica = self.replicas[key] = self._new_replica(parts.id, stored)
        else:
            self._take(replica, self._loads[0].get(key, 0), stored, lasts=False)
            if (
                replica.target != stored.body
            ):  # there is something unsaved, or what was read is older than what is known
                decoded = self._target(replica)
        return replica, decoded

    def _target(self, replica: R) -> Document:
        """What is to be in the database when everything is saved, decoded; empty if that is no document."""
        if replica.target in {None, BURIED}:
            return {}
        body: Document = self.codec.decode(self.canonical(replica.target))
        return body

    def named(self, raw: bytes) -> tuple[object, object]:
        """The `_id` and the key of a document that cannot be read, as far as they can be told."""
        document_id: object = "?"
        try:
            document_id = id_of(raw)
            return document_id, self.key_of(document_id)
        except DecodeError:
            return document_id, None

    def decoded(self, raw: bytes, body: Document) -> tuple[Any, Parts, Document]:
        """A document: its key, its parts, and its decoded fields.

        Raises:
            DecodeError: If it cannot be decoded or used.
        """
        parts = part(raw)
        key = self.key_of(parts.id)
        for name in _NOT_OURS:
            body.pop(name, None)
        return key, parts, self._checked(key, raw, body)

    def _checked(self, key: Any, raw: bytes, body: Document) -> Document:
        """The decoded document.

        Raises:
            DecodeError: If it cannot be decoded or used.
        """
        if BURIED_FIELD in body and len(body) == 1:
            return {}  # a mark: there is no document
        body = self.codec.decode_body(raw, body)
        self.check(key, body)
        if self.copied and self.codec.doubtful:
            check_copy(body)
        return body

    # -- quarantine -------------------------------------------------------------------------------------

    def _quarantine(self, document_id: object, key: object, error: DocumentError) -> None:
        """Leaves a document alone that cannot be read; it is reported once."""
        # A new error, because the traceback of the raised one keeps the whole document alive.
        error = DecodeError(error.reason, path=error.path).located(self.collection, document_id)
        known = dump({"v": document_id}) if key is None else key  # without a key it belongs to no replica
        if str(self.quarantined.get(known)) == str(error):
            return
        self.quarantined[known] = error
        if key is not None and key not in self.replicas:
            self.replicas[key] = self._new_replica(document_id)
        _LOGGER.error("Quarantined, until it is repaired: %s", error)

    def refusal(self, replica: Replica) -> DocumentError | None:
        """Why a document may not be written; `None` if it may."""
        if not self.quarantined or (error := self.quarantined.get(self.key_of(replica.id))) is None:
            return None
        reason = f"the stored document cannot be read, so it is not written over: {error.reason}"
        return QuarantinedError(reason, path=error.path).located(self.collection, replica.id)

    def is_refused(self, replica: Replica) -> bool:
        """Whether a document may not be written.

        Raises:
            QuarantinedError: If so, and if this is the first time: PTB offers it at each interval.
        """
        refusal = self.refusal(replica)
        if refusal is None:
            return False
        if self.cannot_store(replica, refusal):
            raise refusal
        return True

    def cannot_store(self, replica: Replica, error: DocumentError) -> bool:
        """What the bot has changed cannot be stored; returns whether that is new: PTB offers it at each interval."""
        known, error = self.unstorable.get(replica), error.located(self.collection, replica.id)
        if known is None and replica.refusal is not None:
            known = replica.refusal.error
        # A new error, because the traceback of the raised one keeps the whole document alive.
        copy = type(error)(error.reason, path=error.path).located(self.collection, replica.id)
        self.unstorable[replica] = copy
        return str(known) != str(copy)

    def can_store(self, replica: Replica) -> None:
        """What the bot has changed can be stored."""
        if self.unstorable:
            self.unstorable.pop(replica, None)

    # -- reading ----------------------------------------------------------------------------------------

    def answered(self, asked: Iterable[tuple[R, int]], raws: Iterable[bytes], *, lasts: bool) -> None:
        """Documents were read.

        Args:
            asked: Which ones, and the moment when each read began.
            raws: Those that exist.
            lasts: Whether a majority has them.
        """
        found = {self.key_of(id_of(raw)): raw for raw in raws}
        with collector_paused():
            for replica, moment in asked:
                self._answered(replica, moment, found.get(self.key_of(replica.id)), lasts=lasts)

    def _answered(self, replica: R, moment: int, raw: bytes | None, *, lasts: bool) -> None:
        key = self.key_of(replica.id)
        stored = None
        if raw is not None:
            try:
                parts = part(raw)
                body = load(parts.body)
                stored = Stored(parts.rev, parts.revs, parts.body)
                self._checked(key, raw, body)
            except DecodeError as error:
                self._quarantine(replica.id, key, error)
                replica.unreadable(moment, stored, self, lasts=lasts)
                return
        if self.quarantined.pop(key, None) is not None:
            if isinstance(self.unstorable.get(replica), QuarantinedError):
                self.can_store(replica)
            _LOGGER.warning("Repaired, and taken up again: %s, _id %r", self.collection, replica.id)
        self._take(replica, moment, stored, lasts=lasts)

    def _take(self, replica: R, moment: int, stored: Stored | None, *, lasts: bool) -> None:
        before, rev, was_stale = replica.target, replica.rev, replica.is_stale
        if replica.read(moment, stored, self, lasts=lasts):
            self.counters.stale_reads += was_stale
            self.arrived(replica, before, rev)
            if replica.is_refused:
                self.on_refused_told(replica)

    # -- saving -----------------------------------------------------------------------------------------

    def version(self, replica: Replica, plain: Document) -> Version | None:
        """A version of a document to be saved; `None` if the stored one cannot be read, which was reported before.

        Raises:
            EncodeError: If it is too large.
            QuarantinedError: If the stored document cannot be read.
        """
        raw = dump(plain)
        if self.is_refused(replica):
            return None
        if len(raw) > MAX_SIZE - _HEADROOM:
            raise EncodeError(
                f"it would have {len(raw):,} bytes, and MongoDB takes {MAX_SIZE:,}; store less in one document"
            )
        return Version(plain, raw)

    def unsaved(
        self, document_id: Any, stored: Stored | None, version: Version, sent: dict[str, Version], writer: str
    ) -> R:
        """A separate replica for what an earlier process could not save; read and merged before it is written."""
        replica = self._new_replica(document_id, stored, known=False)
        replica.taken_over(version, sent, writer)
        return replica

    # -- what the change stream says --------------------------------------------------------------------

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """A document was written, or deleted, by somebody else."""
        try:
            key = self.key_of(document_id)
        except DecodeError:
            return
        replica = self.replicas.get(key)
        if replica is not None:
            known = replica.base is not None or replica.is_unsaved or replica.is_being_read or key in self.quarantined
            if known or not deleted:  # otherwise it is our own deletion
                replica.told()
                if replica.is_refused:
                    self.on_refused_told(replica)
        elif self._loads or ((self.complete or self._was_complete) and not deleted):
            replica = self.replicas[key] = self._new_replica(document_id, known=False)
            replica.told()  # a read in progress may be older

    def is_own(self, document_id: Any, rev: Any) -> bool:
        """Whether `rev` is that of a write of ours."""
        try:
            replica = self.replicas.get(self.key_of(document_id))
        except DecodeError:
            return False
        return replica is not None and isinstance(rev, str) and (replica.rev == rev or rev in replica.sent)

    def told_all(self) -> None:
        """Anything may have been written."""
        self._was_complete, self.complete = self.knows_absent and (self._was_complete or self.complete), False
        for replica in self.replicas.values():
            replica.told()
