"""The cache of arbitrary callback data: one document for each keyboard, so that a click rewrites one of them.

Buttons of one keyboard that share an object share it again when they are loaded: each object is stored once,
and the buttons refer to it.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from ptb_mongo.changes import Document
from ptb_mongo.codec import Codec
from ptb_mongo.driver import Driver
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.scopes.documents import Documents
from ptb_mongo.types import CDCData
from ptb_mongo.writer import Entry, Ticket, Writer

__all__ = ["CallbackDataScope"]

_LOGGER = logging.getLogger(__name__)
_FIELDS: Final = ("position", "accessed_at", "buttons", "objects", "keyboard")
_QUERY: Final = "query:"
_BY_VALUE: Final = (str, int, float, bool, bytes, type(None))


class CallbackDataScope(Documents[Entry]):
    """The collection of keyboards, and of the callback queries that came from them."""

    always = _FIELDS  # each a small document; a click writes its keyboard whole

    def __init__(self, collection: str, driver: Driver, codec: Codec, writer: Writer) -> None:
        super().__init__(collection, _FIELDS, driver, codec, writer, Entry)
        self.complete = True
        self._positions: dict[str, int] = {}

    def key_of(self, document_id: Any) -> str:
        """See `Documents.key_of`."""
        if isinstance(document_id, str):
            return document_id
        raise DecodeError(f"its _id is a {type(document_id).__name__}, and should be a text")

    def check(self, key: str, body: Document) -> None:  # noqa: ARG002
        """See `Documents.check`."""
        match body:
            case {"position": int(), "keyboard": str()}:
                return
            case {
                "position": int(),
                "accessed_at": float(),
                "buttons": dict(buttons),
                "objects": list(objects),
            }:
                if all(type(index) is int and 0 <= index < len(objects) for index in buttons.values()):
                    return
        raise DecodeError("it is neither a keyboard nor a callback query")

    async def data(self) -> CDCData | None:
        """Everything that is stored, in the order in which it was; `None` if that is nothing."""
        keyboards: list[tuple[int, tuple[str, float, dict[str, Any]]]] = []
        queries: list[tuple[int, str, str]] = []
        async for entry, body in self.load({}):
            position = self._positions[entry.id] = body["position"]
            if "keyboard" in body:
                queries.append((position, entry.id.removeprefix(_QUERY), body["keyboard"]))
            else:
                objects = body["objects"]
                buttons = {uuid: objects[index] for uuid, index in body["buttons"].items()}
                keyboards.append((position, (entry.id, body["accessed_at"], buttons)))
        if not keyboards and not queries:
            return None
        keyboards.sort(key=lambda keyboard: keyboard[0])
        return [keyboard for _, keyboard in keyboards], {query: keyboard for _, query, keyboard in sorted(queries)}

    async def save(self, data: CDCData) -> None:
        """Takes what PTB's cache holds now; writes what has changed, deletes what is gone.

        Raises:
            DocumentError: If a keyboard cannot be stored; all others are. Further errors are logged.
        """
        taken, failed = self._take_all(data)
        for entry, ticket in taken:
            if ticket is not None:
                try:
                    await ticket.outcome(entry)
                except DocumentError as error:
                    failed.append(error)
        for other in failed[1:]:
            _LOGGER.error("Not saved: %s", other)
        if failed:
            raise failed[0]

    def _take_all(self, data: CDCData) -> tuple[list[tuple[Entry, Ticket | None]], list[DocumentError]]:
        keyboards, queries = data
        plain = self.documents(data)
        taken: list[tuple[Entry, Ticket | None]] = []
        failed: list[DocumentError] = []
        self._place([uuid for uuid, _, _ in keyboards])
        self._place([f"{_QUERY}{query}" for query in queries])
        for document_id, document in plain.items():
            entry = self.entry(document_id, document_id)
            try:
                if isinstance(document, DocumentError):
                    if entry.refused == str(document):
                        continue
                    entry.refused = str(document)
                    raise document
                taken.append((entry, self.offer(entry, {"position": self._positions[document_id], **document})))
            except DocumentError as error:
                failed.append(self.located(error, document_id))
        for document_id in [known for known in self.entries if known not in plain]:
            self._positions.pop(document_id, None)
            entry = self.entries[document_id]
            if entry.base is not None or entry.dirty:
                try:
                    taken.append((entry, self.drop(entry)))
                except DocumentError as error:
                    failed.append(error)
            elif self.refusal(entry) is None:
                del self.entries[document_id]
        return taken, failed

    def documents(self, data: CDCData) -> dict[str, Document | DocumentError]:
        """The document of each keyboard and each query, by `_id` and without its position; or why there is none."""
        keyboards, queries = data
        plain: dict[str, Document | DocumentError] = {}
        for uuid, accessed_at, buttons in keyboards:
            try:
                plain[uuid] = {"accessed_at": float(accessed_at), **self._keyboard(buttons)}
            except DocumentError as error:
                plain[uuid] = error
        for query, keyboard in queries.items():
            plain[f"{_QUERY}{query}"] = {"keyboard": keyboard}
        return plain

    def _keyboard(self, buttons: dict[str, Any]) -> Document:
        objects: list[Any] = []
        places: dict[object, int] = {}
        references = {}
        for uuid, value in buttons.items():
            identity = (type(value), value) if type(value) in _BY_VALUE else id(value)
            if identity not in places:
                places[identity] = len(objects)
                objects.append(value)
            references[uuid] = places[identity]
        return {"buttons": references, **self.codec.encode({"objects": objects})}

    def _place(self, ordered: list[str]) -> None:
        """Gives each document a position that grows along the order, changing as few as possible."""
        last = -1
        for document_id in ordered:
            position = self._positions.get(document_id, -1)
            if position <= last:
                position = last + 1
            self._positions[document_id] = last = position

    def written(self, entry: Entry) -> None:
        """See `Documents.written`."""
        if entry.base is None:
            self.entries.pop(entry.id, None)
