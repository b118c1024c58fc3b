"""The documents of one collection: what is loaded, what was last agreed on, what has to be saved.

The mechanism that all scopes share. It never writes over a document that cannot be read, and never forgets
what was offered to it. A version that is offered is compared as bytes first: in the common case nothing has
changed, and nothing is sent.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from bson.decimal128 import Decimal128

from ptb_mongo.codec import MAX_SIZE, Codec, dump, id_of, load, load_each, part_id
from ptb_mongo.codec.bounds import check_copy
from ptb_mongo.driver import ByIds
from ptb_mongo.entries import Entry, Ticket
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError, QuarantinedError
from ptb_mongo.garbage import collector_paused
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.values import MISSING, Document, Path
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.writer import Writer

__all__ = ["Documents", "whole_number"]

_LOGGER = logging.getLogger(__name__)
_HEADROOM = 1024  # bytes for what a stored document has besides: `_id`, `rev`, `updated_at`

EntryT = TypeVar("EntryT", bound=Entry)


class Documents(Generic[EntryT]):
    """The documents of one collection.

    Args:
        collection: Its name.
        fields: The fields that are ours, besides `_id`, `rev` and `updated_at`.
        reader: Reads documents again.
        codec: Encodes and decodes values.
        writer: Writes what has changed.
        entry_type: What is kept of each document.
    """

    copied: ClassVar = True
    """Whether PTB copies the data before it is saved."""

    always: Sequence[str] = ()
    last: bool = False
    ended: Document = {}  # noqa: RUF012

    def __init__(
        self,
        collection: str,
        fields: Sequence[str],
        reader: Reader,
        codec: Codec,
        writer: Writer,
        entry_type: type[EntryT],
    ) -> None:
        self.collection = collection
        self.codec = codec
        self.writer = writer
        self.entries: dict[Any, EntryT] = {}
        self.complete = False
        """Whether every document is known: one that is not in `entries` does not exist."""
        self._loads = 0
        self.quarantined: dict[Any, DocumentError] = {}
        self.fields = fields
        self.reader = reader
        self._new_entry = entry_type

    # -- what scopes define differently -----------------------------------------------------------------

    def key_of(self, document_id: Any) -> Any:
        """The key in `entries` for an `_id`.

        Raises:
            DecodeError: If it is no `_id` of ours.
        """
        return document_id

    def empty(self, plain: Document) -> Document:  # noqa: ARG002
        """What a document that does not exist is compared with."""
        return {}

    def ours(self, body: Document) -> Document:
        """The part of a stored document that we write: by default all of it."""
        return body

    def check(self, key: Any, body: Document) -> None:
        """Refuses a decoded document that is not of the form that this scope has.

        Raises:
            DecodeError: If so.
        """

    def resolve(self, entry: EntryT, path: Path, base: Any, local: Any, remote: Any) -> Any:  # noqa: ARG002
        """Decides what both sides have changed: by default, the bot's value."""
        return local

    @contextlib.contextmanager
    def being_loaded(self) -> Iterator[None]:
        """While everything is being loaded: a document that is written now may have been read already."""
        self._loads += 1
        try:
            yield
        finally:
            self._loads -= 1

    # -- loading ----------------------------------------------------------------------------------------

    async def load(self, query: Mapping[str, Any]) -> AsyncIterator[tuple[EntryT, Document]]:
        """Reads documents, and gives them decoded; those that cannot be are quarantined.

        Entries with unsaved changes, or under way, keep what they have.
        """
        async for raws in self.reader.driver.raw_batches(self.collection, query, self.fields):
            for raw, body in zip(raws, load_each(raws), strict=True):
                if found := self._decoded(raw, body):
                    yield found

    def _decoded(self, raw: bytes, body: Document | None) -> tuple[EntryT, Document] | None:
        document_id: object = "?"
        key: object = None
        try:
            document_id = id_of(raw) if body is None else body.pop("_id")
            key = self.key_of(document_id)
            body = self._checked(key, raw, load(raw) if body is None else body)
            rest = part_id(raw)
        except DecodeError as error:
            self._quarantine(document_id, key, error)
            return None
        self.quarantined.pop(key, None)
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = self._new_entry(document_id, base=rest)
        elif not entry.dirty and entry.busy is None:
            entry.base = rest
        return entry, body

    def _checked(self, key: Any, raw: bytes, body: Document) -> Document:
        """The decoded document.

        Raises:
            DecodeError: If it cannot be decoded or used.
        """
        body = self.codec.decode_body(raw, body)
        self.check(key, body)
        if self.copied and self.codec.doubtful:
            check_copy(body)
        return body

    def _quarantine(self, document_id: object, key: object, error: DocumentError) -> None:
        """Keeps the hands off a document that cannot be read; it is named once."""
        # A new error: the traceback of the one that was raised holds the whole document.
        error = DecodeError(error.reason, path=error.path).located(self.collection, document_id)
        known = dump({"v": document_id}) if key is None else key  # without a key it belongs to nobody
        if str(self.quarantined.get(known)) == str(error):
            return
        self.quarantined[known] = error
        if key is not None and key not in self.entries:
            self.entries[key] = self._new_entry(document_id)
        _LOGGER.error("Quarantined, until it is repaired: %s", error)

    def refusal(self, entry: Entry) -> DocumentError | None:
        """Why a document may not be written."""
        if not self.quarantined or (error := self.quarantined.get(self.key_of(entry.id))) is None:
            return None
        reason = f"the stored document cannot be read, so it is not written over: {error.reason}"
        return QuarantinedError(reason, path=error.path).located(self.collection, entry.id)

    def is_refused(self, entry: Entry) -> bool:
        """Whether a document may not be written.

        Raises:
            QuarantinedError: If so, and if this is the first time: PTB offers it at each interval.
        """
        refusal = self.refusal(entry)
        if refusal is None:
            return False
        if entry.refused == str(refusal):
            return True
        entry.refused = str(refusal)
        raise refusal

    def entry(self, key: Any, document_id: Any) -> EntryT:
        """The entry of a document, made if need be."""
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = self._new_entry(document_id, stale=not self.complete)
        return entry

    def asked(self, entries: Sequence[EntryT]) -> ByIds:
        """What is to be read for some entries; from now on, what is told of them is newer."""
        for entry in entries:
            entry.touched = False
            entry.begun += 1
        return ByIds(self.collection, [entry.id for entry in entries], (*self.fields, "rev"))

    def answered(self, entries: Sequence[EntryT], raws: Iterable[bytes]) -> None:
        """Brings what is wanted up to what was read."""
        found = {self.key_of(id_of(raw)): raw for raw in raws}
        with collector_paused():
            for entry in entries:
                self._take(entry, found.get(self.key_of(entry.id)))
                self.writer.counters.stale_reads += entry.stale
                entry.stale = entry.touched
                entry.read = entry.begun

    async def reread(self, entries: Sequence[Entry]) -> None:
        """Reads documents again, and brings what is wanted up to what was read; for the writer.

        Raises:
            UnavailableError: If no server answers.
        """
        await self.reader.read({self: entries})

    async def bring(self, entries: Sequence[EntryT], *, every: bool) -> None:
        """See `Reader.bring`."""
        await self.reader.bring({self: entries}, every=every)

    def _take(self, entry: EntryT, raw: bytes | None) -> None:
        """Makes a version that was just read the base of everything."""
        key = self.key_of(entry.id)
        body: Document = {}
        rest: bytes | None = None
        rev: object = None
        if raw is not None:
            try:
                body = load(raw)
                del body["_id"]
                rev = body.pop("rev", None)
                self._checked(key, raw, body)
                rest = dump(body)
            except DecodeError as error:
                self._quarantine(entry.id, key, error)
                return
        repaired = self.quarantined.pop(key, None)
        if repaired is not None:
            _LOGGER.warning("Repaired, and taken up again: %s, _id %r", self.collection, entry.id)
        if repaired is not None or rest != entry.base:  # what was refused may be right with what is there now
            entry.refused = None
        if isinstance(rev, str) and rev in entry.sent:  # an unacknowledged write of ours has been done after all
            entry.base = entry.sent[rev]
        self.rebase(entry, rest, body)

    def rebase(self, entry: EntryT, raw: bytes | None, remote: Document) -> None:
        """Sets the base; what is wanted is merged with it.

        Args:
            entry: The document's entry.
            raw: The document as it was read, without `_id`; `None` if there is none.
            remote: The same, as a plain document.
        """
        if entry.plain is not None:
            if raw is None:
                kept = {name: entry.plain[name] for name in self.always if name in entry.plain}
                remote = {**self.empty(entry.plain), **kept}
            wanted = merge(
                load(entry.base) if entry.base is not None else self.empty(entry.plain),
                entry.plain,
                remote,
                lambda path, base, local, other: self.resolve(entry, path, base, local, other),
            )
            entry.plain, entry.wanted = wanted, dump(wanted)
        entry.base = raw

    # -- saving -----------------------------------------------------------------------------------------

    def offer(self, entry: EntryT, plain: Document) -> Ticket | None:
        """Takes a version of a document to be saved.

        Returns:
            What to wait for; `None` if nothing has changed, or nothing can be waited for.

        Raises:
            EncodeError: If the document is too large.
            QuarantinedError: If the stored document cannot be read.
        """
        raw = dump(plain)
        if raw in {entry.latest, entry.refused}:
            return None
        if self.is_refused(entry):
            return None
        if len(raw) > MAX_SIZE - _HEADROOM:
            entry.refused = raw
            raise EncodeError(
                f"it would have {len(raw):,} bytes, and MongoDB takes {MAX_SIZE:,}; store less in one document"
            )
        entry.plain, entry.wanted = plain, raw
        return self.writer.submit(self, entry)

    def drop(self, entry: EntryT) -> Ticket | None:
        """Takes a document to be deleted.

        Raises:
            QuarantinedError: If the stored document cannot be read.
        """
        if self.is_refused(entry):
            return None
        entry.plain = entry.wanted = None
        return self.writer.submit(self, entry)

    def unsaved(
        self, document_id: Any, base: bytes | None, wanted: bytes | None, sent: dict[str, bytes | None]
    ) -> EntryT:
        """An entry, of its own, for what an earlier process could not save; read and merged before it is written."""
        entry = self._new_entry(document_id, base=base, stale=True)
        entry.wanted = wanted
        entry.sent = sent
        entry.plain = load(wanted) if wanted is not None else None
        return entry

    def deletable(self, entry: Entry) -> Document:  # noqa: ARG002
        """A filter under which a document may be deleted: by default, always."""
        return {}

    def written(self, entry: Entry) -> None:
        """Called when what was wanted is in the database."""

    def canonical(self, plain: Any) -> Any:
        """The form that we would store for a value that somebody else has stored."""
        try:
            return self.codec.encode(self.codec.decode(plain))
        except DocumentError:
            return MISSING

    def located(self, error: DocumentError, document_id: Any) -> DocumentError:
        """An error, with the document that it happened in."""
        return error.located(self.collection, document_id)

    # -- what the watcher says --------------------------------------------------------------------------

    def mark_stale(self, document_id: Any, *, deleted: bool = False) -> None:
        """Somebody has written a document, or deleted it."""
        try:
            key = self.key_of(document_id)
        except DecodeError:
            return
        entry = self.entries.get(key)
        if entry is not None:
            known = entry.base is not None or entry.busy is not None or key in self.quarantined
            if known or not deleted:  # else it is our own deletion
                entry.mark_stale()
        elif self._loads or (self.complete and not deleted):
            self.entries[key] = self._new_entry(document_id, stale=True)

    def is_own(self, document_id: Any, rev: str) -> bool:
        """Whether `rev` is what we last wrote for a document."""
        try:
            entry = self.entries.get(self.key_of(document_id))
        except DecodeError:
            return False
        return entry is not None and entry.rev == rev

    def mark_all_stale(self) -> None:
        """Anything may have been written."""
        self.complete = False
        for entry in self.entries.values():
            entry.mark_stale()


def whole_number(value: Any) -> int | None:
    """An integer in any of BSON's numeric types, which MongoDB does not tell apart in an `_id`."""
    if type(value) is int:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # an `Int64` in what the change stream says
    if isinstance(value, Decimal128):
        value = value.to_decimal()
        return int(value) if value.is_finite() and value == value.to_integral_value() else None
    return int(value) if isinstance(value, float) and value.is_integer() else None
