"""The documents of one collection: which ones are loaded, and which are quarantined.

All scopes share this class. It never overwrites a document that cannot be read, and does no I/O: the reader passes in
what it has read, and the writer asks what to write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final

from ptb_mongo.codec import BURIED, BURIED_FIELD, MAX_SIZE, Codec, Parts, dump, id_of, load, load_each, part
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError, QuarantinedError, as_encode_error
from ptb_mongo.gc_pause import collector_paused
from ptb_mongo.health import Counters
from ptb_mongo.log import get_logger
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.known import KnownDocuments, R
from ptb_mongo.replica.quarantine import as_decode_error
from ptb_mongo.replica.values import Document
from ptb_mongo.replica.versions import Stored, Version, stored_in

__all__ = ["Collection"]

_LOGGER = get_logger(__name__)
_HEADROOM: Final = 1024  # bytes for the other fields of a stored document: `_id`, `rev`, `updated_at`
_DESCRIBING: Final = ("rev", "revs")
_NOT_OURS: Final = ("_id", *_DESCRIBING)


class Collection(KnownDocuments[R]):
    """The documents of one collection; see also `KnownDocuments`.

    Args:
        collection: Its name.
        fields: The fields that are ours, besides `_id`, `rev`, `revs` and `updated_at`.
        codec: Encodes and decodes values.
        counters: Count what happens.
        replica_type: The class that keeps a document's state.

    Attributes:
        ours_only: The fields that are ours.
        fields: The fields to read from each document.
    """

    copied: ClassVar = True
    """Whether PTB copies the data before it is saved."""

    last: bool = False
    """Whether its documents are written after all others: if the process dies between, the update is handled again."""

    stamp: Callable[[Replica, Any], Any] | None = None
    """Adds the date at which a document was last used to a write, if documents expire."""

    ended: Document = {}  # noqa: RUF012
    """Fields to set before a document is deleted, in the same batch as other writes; none by default."""

    def __init__(
        self, collection: str, fields: Sequence[str], codec: Codec, counters: Counters, replica_type: type[R]
    ) -> None:
        super().__init__(collection, codec, replica_type)
        self.counters = counters
        self.ours_only = tuple(fields)
        self.fields = (*fields, BURIED_FIELD, *_DESCRIBING)

    # -- what scopes define differently -----------------------------------------------------------------

    def deletable(self, replica: R) -> Document:  # noqa: ARG002
        """A filter under which a document may be deleted: by default, always."""
        return {}

    def upgraded(self, body: Document) -> Document:
        """A decoded document in the form of the current bot; by default, the same object unchanged.

        Raises:
            DecodeError: If it cannot be brought into that form.
        """
        return body

    def note_upgrade(self, replica: R, stored: Stored, body: Document) -> None:
        """Handles a read: what `upgraded` has changed in the document must be saved.

        Args:
            replica: The document.
            stored: What is stored.
            body: What `upgraded` has returned.
        """

    def explained(self, plain: Document, error: DecodeError) -> DecodeError:
        """An error that names all classes that keep a document from being decoded."""
        return self.codec.explained_unreadable(plain, error)

    def arrived(self, replica: R, before: bytes | None, rev: Any) -> None:
        """Handles the read of a document.

        Args:
            replica: The document.
            before: Its target before the read.
            rev: Its `rev` before the read.
        """

    def enters(self, key: Any, *, is_new: bool) -> None:
        """Handles the load of a document.

        Args:
            key: Its key.
            is_new: Whether it was unknown, or could not be read.

        Raises:
            DecodeError: If it is new, and there are too many new ones.
        """

    def loaded(self, raws: Sequence[bytes]) -> Iterator[tuple[R, Document]]:
        """Takes in the documents of a load, and yields their targets decoded; what cannot be decoded is quarantined."""
        for raw, body in zip(raws, load_each(raws), strict=True):
            if (found := self._decoded(raw, body)) is not None:
                yield found

    def _decoded(self, raw: bytes, body: Document | None) -> tuple[R, Document] | None:
        try:
            return self._loaded(raw, body)
        except Exception as error:  # noqa: BLE001  (whatever it is, it concerns this document only)
            self._quarantine(*self.named(raw), error)
            return None

    def _loaded(self, raw: bytes, body: Document | None) -> tuple[R, Document] | None:
        key, parts, decoded = self.decoded(raw, body or load(raw))
        replica = self.replicas.get(key)
        self.enters(key, is_new=replica is None or key in self.quarantined)
        if self.quarantined:
            self.quarantined.pop(key, None)
        stored = stored_in(parts)
        if replica is None:
            replica = self.replicas[key] = self._new_replica(parts.id, stored)
        else:
            self._take(replica, self._loads[0].get(key, 0), stored, lasts=False)
            if replica.target != stored.body:  # something is unsaved, or what was read is older than what is known
                return replica, self._target(replica)
        self.note_upgrade(replica, stored, decoded)
        return replica, decoded

    def _target(self, replica: R) -> Document:
        """What the database will hold when everything is saved, decoded; empty if there will be no document."""
        if replica.target in {None, BURIED}:
            return {}
        body: Document = self.codec.decode(self.canonical(replica.target))
        return body

    def named(self, raw: bytes) -> tuple[object, Any]:
        """The `_id` and the key of a document that cannot be read, as far as they can be determined."""
        document_id: object = "?"
        try:
            document_id = id_of(raw)
        except DecodeError:  # its type is never ours, though MongoDB may consider it equal to one of ours
            with contextlib.suppress(DecodeError):
                document_id = load(raw).get("_id", "?")
        try:
            return document_id, self.key_of(document_id)
        except DecodeError:
            return document_id, None

    def decoded(self, raw: bytes, body: Document) -> tuple[Any, Parts, Document]:
        """The key, the parts and the decoded fields of a document.

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
            return {}  # a tombstone: there is no document
        plain = self.ours(body)  # others' fields need not be readable
        try:
            decoded = self.codec.decode_body(raw, plain)
        except DecodeError as error:
            raise self.explained(plain, error) from error
        body = self.upgraded(decoded)
        try:
            self.check(key, body)
            if self.codec.doubtful or body is not decoded:
                self.codec.check_usable(body, copied=self.copied)
        except DecodeError as error:
            if body is decoded:
                raise
            raise DecodeError(f"after its migrations: {error.reason}", path=error.path) from error
        return body

    # -- quarantine -------------------------------------------------------------------------------------

    def _quarantine(self, document_id: object, key: Any, error: Exception) -> None:
        """Notes that a document cannot be read, so that it is left alone; reports it once."""
        is_used = key is not None and key in self.replicas
        if not self.quarantined.note(document_id, key, as_decode_error(error), is_used=is_used):
            self.misses_some()  # it is noticed when somebody uses it
        elif key is not None and not is_used:
            self.replicas[key] = self._new_replica(document_id)

    def could_not_be_used(self, replica: R, error: Exception, moment: int | None = None) -> None:
        """Handles an error that concerns one document only.

        Args:
            replica: The document.
            error: What happened.
            moment: When the read that has shown the document began, if it was a read.
        """
        try:
            key = self.key_of(replica.id)
        except DecodeError:
            key = replica.id
        self._quarantine(replica.id, key, error)
        replica.unreadable(replica.now if moment is None else moment, None, self, lasts=False)

    def refusal(self, replica: Replica) -> DocumentError | None:
        """Why a document may not be written; `None` if it may."""
        if not self.quarantined or (error := self.quarantined.get(self.key_of(replica.id))) is None:
            return None
        reason = f"the stored document cannot be read, so it is not written over: {error.reason}"
        return QuarantinedError(reason, path=error.path).located(self.collection, replica.id)

    def is_refused(self, replica: Replica) -> bool:
        """Whether a document may not be written.

        Raises:
            QuarantinedError: If it may not, and this is the first time: PTB offers it again at each interval.
        """
        refusal = self.refusal(replica)
        if refusal is None:
            return False
        if self.cannot_store(replica, refusal):
            raise refusal
        return True

    def cannot_store(self, replica: Replica, error: DocumentError) -> bool:
        """Notes that the bot's change cannot be stored; returns whether that is news: PTB offers it each interval."""
        known, error = self.unstorable.get(replica), error.located(self.collection, replica.id)
        if known is None and replica.refusal is not None:
            known = replica.refusal.error
        # A new error, because the traceback of the raised one keeps the whole document alive.
        copy = type(error)(error.reason, path=error.path).located(self.collection, replica.id)
        self.unstorable[replica] = copy
        return str(known) != str(copy)

    def can_store(self, replica: Replica) -> None:
        """Notes that the bot's change can be stored."""
        if self.unstorable:
            self.unstorable.pop(replica, None)

    # -- reading ----------------------------------------------------------------------------------------

    def lost(self, asked: Sequence[R], raws: Sequence[bytes]) -> list[R]:
        """Of the documents asked for, those that were stored before and are not among those read."""
        if len(raws) >= len(asked):
            return []
        known = [replica for replica in asked if replica.base is not None and not replica.is_buried]
        found = {self.named(raw)[1] for raw in raws} if known else set()
        return [replica for replica in known if self.key_of(replica.id) not in found]

    def answered(self, asked: Iterable[tuple[R, int]], raws: Iterable[bytes], *, lasts: bool) -> None:
        """Handles the read of several documents.

        Args:
            asked: Which ones, and the moment when each read began.
            raws: Those that exist.
            lasts: Whether a majority has them.
        """
        found = {self.named(raw)[1]: raw for raw in raws}
        with collector_paused():
            for replica, moment in asked:
                try:
                    self._answered(replica, moment, found.get(self.key_of(replica.id)), lasts=lasts)
                except Exception as error:  # noqa: BLE001  (whatever it is, it concerns this document only)
                    self.could_not_be_used(replica, error, moment)

    def _answered(self, replica: R, moment: int, raw: bytes | None, *, lasts: bool) -> None:
        key = self.key_of(replica.id)
        stored, checked = None, None
        if raw is not None:
            try:
                parts = part(raw)
                stored = stored_in(parts)
                if stored.body != replica.base or key in self.quarantined:  # otherwise it has been checked before
                    checked = self._checked(key, raw, load(parts.body))
            except Exception as error:  # noqa: BLE001  (see `answered`)
                self._quarantine(replica.id, key, error)
                replica.unreadable(moment, stored, self, lasts=lasts)
                return
        self._take(replica, moment, stored, lasts=lasts)
        if stored is not None and checked is not None and replica.target == stored.body:
            self.note_upgrade(replica, stored, checked)
        if self.quarantined and self.quarantined.pop(key, None) is not None:
            if isinstance(self.unstorable.get(replica), QuarantinedError):
                self.can_store(replica)
            _LOGGER.warning("Repaired, and loaded again: %s, _id %r", self.collection, replica.id)

    def _take(self, replica: R, moment: int, stored: Stored | None, *, lasts: bool) -> None:
        before, rev, was_stale = replica.target, replica.rev, replica.is_stale
        if replica.read(moment, stored, self, lasts=lasts):
            self.counters.stale_reads += was_stale
            self.arrived(replica, before, rev)
            if replica.is_refused:
                self.on_refused_told(replica)

    # -- saving -----------------------------------------------------------------------------------------

    def version(self, replica: Replica, plain: Document, known: Version | None = None) -> Version | None:
        """A version of a document to save; `None` if the stored one cannot be read, which has been reported.

        Args:
            replica: The document.
            plain: What to store.
            known: A version whose bytes are known; may be the same one.

        Raises:
            EncodeError: If it is too large.
            QuarantinedError: If the stored document cannot be read.
        """
        try:
            raw = known.raw if known is not None and known.plain is plain and known.raw is not None else dump(plain)
        except Exception as error:
            raise as_encode_error(error) from error
        if self.is_refused(replica):
            return None
        if len(raw) > MAX_SIZE - _HEADROOM and raw != replica.target:
            raise EncodeError(
                f"it would have {len(raw):,} bytes, and MongoDB takes {MAX_SIZE:,}; store less in one document"
            )
        return Version(plain, raw)

    def unsaved(
        self,
        document_id: Any,
        stored: Stored | None,
        version: Version,
        sent: dict[str, Version],
        writer: str,
    ) -> R:
        """A separate replica for what an earlier process could not save; it is read and merged before it is written."""
        replica = self._new_replica(document_id, stored, known=False)
        replica.taken_over(version, sent, writer)
        return replica
