"""The states of conversations: one document for each conversation of each handler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from ptb_mongo.codec import Codec, load
from ptb_mongo.entries import Entry, Ticket
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError
from ptb_mongo.replica.values import MISSING, Document
from ptb_mongo.scopes.documents import Documents, whole_number
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.writer import Writer
from ptb_mongo.types import ConversationDict, ConversationKey

__all__ = ["ConversationEntry", "ConversationScope", "States"]

_FIELDS: Final = ("handler", "key", "state")
_Key = tuple[str, ConversationKey]


class States(Protocol):
    """The states that the handlers hold, where others may change the stored ones."""

    def now(self, handler: str, key: ConversationKey) -> object:
        """The state of a conversation; `None` if there is none, `MISSING` if that cannot be said."""

    def arrived(self, handler: str, key: ConversationKey, state: object) -> None:
        """Somebody else has set another state; `None` has ended the conversation."""

    def went_on(self, handler: str, key: ConversationKey) -> None:
        """Somebody else has handled an update of a conversation, and the state is the same."""

    def noticed(self, entry: ConversationEntry) -> None:
        """Somebody else has written a conversation, or deleted it."""


class ConversationEntry(Entry):
    """What is known of one conversation.

    Attributes:
        loaded: Whether the document was ever read, or is known not to exist.
        read_rev: The `rev` that was read last.
    """

    __slots__ = ("loaded", "read_rev")

    def __init__(self, document_id: Any, *, base: bytes | None = None, stale: bool = False) -> None:
        super().__init__(document_id, base=base, stale=stale)
        self.loaded = not stale
        self.read_rev: object = None


_Saved = tuple[ConversationEntry, Ticket | None]


class ConversationScope(Documents[ConversationEntry]):
    """The collection of all conversations' states."""

    always: Sequence[str] = ("handler", "key")
    # A state that is stored means that its update is over, with all that it has changed; and the states of
    # conversations inside each other change together.
    last: bool = True
    ended: Document = {"state": None}  # noqa: RUF012

    copied = False

    def __init__(self, collection: str, reader: Reader, codec: Codec, writer: Writer) -> None:
        super().__init__(collection, _FIELDS, reader, codec, writer, ConversationEntry)
        self.complete = True  # a handler's states are all loaded before the first update
        self.live: States | None = None
        """The states that the handlers hold, where others may change the stored ones."""

    def key_of(self, document_id: Any) -> _Key:
        """See `Documents.key_of`."""
        match document_id:
            case {"handler": str(handler), "key": [*stored]}:
                parts = [part if isinstance(part, str) else whole_number(part) for part in stored]
                if None not in parts:
                    return handler, tuple(parts)  # type: ignore[arg-type]  # there is no `None` among them
        raise DecodeError("its _id is not {handler: <text>, key: [<numbers and texts>]}")

    def check(self, key: _Key, body: Document) -> None:
        """See `Documents.check`."""
        if self.key_of(body) != key:
            raise DecodeError("its handler and key are not those of its _id")
        if "state" not in body:
            raise DecodeError("it has no state")

    async def states(self, handler: str) -> ConversationDict:
        """All states of one handler."""
        states: ConversationDict = {}
        # Also those whose `handler` has been changed: they must not be taken for documents that do not exist.
        named = {"_id": {"$gte": {"handler": handler}, "$lt": {"handler": f"{handler}\0"}}}
        with self.being_loaded():
            async for entry, body in self.load({"$or": [{"handler": handler}, named]}):
                if body["state"] is not None:
                    states[self.key_of(entry.id)[1]] = body["state"]
        return states

    def of(self, handler: str, key: ConversationKey) -> ConversationEntry:
        """The entry of a conversation, made if need be."""
        entry = self.entries.get((handler, key))
        return entry or self.entry((handler, key), {"handler": handler, "key": list(key)})

    def outdated(self, handler: str, key: ConversationKey, *, read: bool) -> ConversationEntry | None:
        """What has to be read before an update of a conversation; `None` if nothing has."""
        entry = self.entries.get((handler, key))
        if entry is None:
            return self.of(handler, key) if read or not self.complete else None
        return entry if read or entry.stale else None

    def save(self, handler: str, key: ConversationKey, state: object | None) -> _Saved:
        """Takes a conversation's new state; `None` ends it.

        Raises:
            EncodeError: If the state cannot be stored.
            QuarantinedError: If the stored document cannot be read.
        """
        key = tuple(key)
        entry = self.of(handler, key)
        document_id = entry.id
        reported = entry.refused
        try:
            if state is None:
                if self._is_over(entry) and not entry.dirty:
                    if self._is_needless(entry) and self.refusal(entry) is None:
                        del self.entries[handler, key]
                    return entry, None
                return entry, self.drop(entry)
            plain = {**document_id, **self.codec.encode({"state": state})}
            return entry, self.offer(entry, plain)
        except EncodeError as error:
            if reported == str(error):  # where each update is saved by itself, it is offered again and again
                return entry, None
            entry.refused = str(error)
            raise self.located(error, document_id) from error
        except DocumentError as error:
            raise self.located(error, document_id) from error

    def save_now(
        self, handler: str, key: ConversationKey, state: object | None
    ) -> tuple[ConversationEntry, Ticket | None] | None:
        """Takes the state that a handler holds now, which is not older than the one that PTB offers.

        Returns:
            See `save`; `None` if there is nothing to save, as a handler is still at work.
        """
        if self.live is not None:
            state = self.live.now(handler, tuple(key))
        return None if state is MISSING else self.save(handler, key, state)

    def touch(self, entry: ConversationEntry) -> Ticket | None:
        """Writes a state again that has not changed, so that others notice that the conversation goes on."""
        if entry.base is None or entry.dirty or self.is_refused(entry):
            return None
        entry.plain, entry.wanted, entry.touching = load(entry.base), entry.base, True
        return self.writer.submit(self, entry)

    def written(self, entry: Entry) -> None:
        """See `Documents.written`."""
        if entry.base is None and self._is_needless(entry):
            self.entries.pop(self.key_of(entry.id), None)

    @staticmethod
    def _is_over(entry: Entry) -> bool:
        """Whether there is no document, or one that another worker has marked, and was about to delete."""
        return entry.base is None or load(entry.base)["state"] is None

    def _is_needless(self, entry: Entry) -> bool:
        """Whether the entry of a document that does not exist says nothing, and nobody holds it while it is read."""
        return self.complete and not entry.stale and self.live is None

    # -- what others have written -----------------------------------------------------------------------

    def rebase(self, entry: ConversationEntry, raw: bytes | None, remote: Document) -> None:
        """See `Documents.rebase`; a conversation that others have ended is not begun anew by being touched."""
        if raw is None and entry.touching:
            entry.plain = entry.wanted = None
        super().rebase(entry, raw, remote)
        entry.loaded = True

    def _take(self, entry: ConversationEntry, raw: bytes | None) -> None:
        before = entry.latest
        super()._take(entry, raw)
        handler, key = self.key_of(entry.id)
        if self.live is None or (handler, key) in self.quarantined:
            return
        rev, read_rev = load(raw).get("rev") if raw is not None else None, entry.read_rev
        entry.read_rev = rev
        after = entry.latest
        if after != before:
            state = None if after is None else self.codec.decode(load(after)["state"])
            self.live.arrived(handler, key, state)
        elif not entry.dirty and rev not in (None, entry.rev, read_rev):
            self.live.went_on(handler, key)

    def mark_stale(self, document_id: Any, *, deleted: bool = False) -> None:
        """See `Documents.mark_stale`."""
        super().mark_stale(document_id, deleted=deleted)
        if self.live is not None and (entry := self._known(document_id)) is not None and entry.stale:
            self.live.noticed(entry)

    def _known(self, document_id: Any) -> ConversationEntry | None:
        try:
            return self.entries.get(self.key_of(document_id))
        except DecodeError:
            return None
