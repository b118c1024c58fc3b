"""The states of conversations: one document for each conversation of each handler."""

from __future__ import annotations

from typing import Any, Final

from ptb_mongo.changes import Document
from ptb_mongo.codec import Codec
from ptb_mongo.driver import Driver
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.scopes.documents import Documents, whole_number
from ptb_mongo.types import ConversationDict, ConversationKey
from ptb_mongo.writer import Entry, Ticket, Writer

__all__ = ["ConversationScope"]

_FIELDS: Final = ("handler", "key", "state")
_Key = tuple[str, ConversationKey]


class ConversationScope(Documents[Entry]):
    """The collection of all conversations' states."""

    always = ("handler", "key")

    copied = False

    def __init__(self, collection: str, driver: Driver, codec: Codec, writer: Writer) -> None:
        super().__init__(collection, _FIELDS, driver, codec, writer, Entry)
        self.complete = True  # a handler's states are all loaded before the first update

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
        async for entry, body in self.load({"$or": [{"handler": handler}, named]}):
            states[self.key_of(entry.id)[1]] = body["state"]
        return states

    def save(self, handler: str, key: ConversationKey, state: object | None) -> tuple[Entry, Ticket | None]:
        """Takes a conversation's new state; `None` ends it.

        Raises:
            EncodeError: If the state cannot be stored.
            QuarantinedError: If the stored document cannot be read.
        """
        document_id = {"handler": handler, "key": list(key)}
        entry = self.entry((handler, tuple(key)), document_id)
        try:
            if state is None:
                if entry.base is None and not entry.dirty:
                    if self.refusal(entry) is None:
                        del self.entries[handler, tuple(key)]
                    return entry, None
                return entry, self.drop(entry)
            plain = {**document_id, **self.codec.encode({"state": state})}
            return entry, self.offer(entry, plain)
        except DocumentError as error:
            raise self.located(error, document_id) from error

    def written(self, entry: Entry) -> None:
        """See `Documents.written`."""
        if entry.base is None:
            self.entries.pop(self.key_of(entry.id), None)
