"""The cache of arbitrary callback data: one document for each keyboard, so that a click rewrites one of them.

Buttons of one keyboard that share an object share it again when they are loaded: each object is stored once,
and the buttons refer to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from telegram.ext import CallbackDataCache

from ptb_mongo.codec import Codec, load
from ptb_mongo.entries import Entry, Ticket
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.documents import Documents
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.writer import Writer
from ptb_mongo.types import CDCData

__all__ = ["CallbackDataScope"]

_LOGGER = logging.getLogger(__name__)
_FIELDS: Final = ("position", "accessed_at", "buttons", "objects", "keyboard")
_QUERY: Final = "query:"
_BY_VALUE: Final = (str, int, float, bool, bytes, type(None))


Offered = tuple[list[tuple[Entry, Ticket | None]], list[DocumentError]]
"""What is to be waited for, and what cannot be stored."""


class CallbackDataScope(Documents[Entry]):
    """The collection of keyboards, and of the callback queries that came from them."""

    always = _FIELDS  # each a small document; a click writes its keyboard whole

    def __init__(self, collection: str, reader: Reader, codec: Codec, writer: Writer) -> None:
        super().__init__(collection, _FIELDS, reader, codec, writer, Entry)
        self.complete = True
        self._positions: dict[str, int] = {}
        self.live: CallbackDataCache | None = None
        """PTB's cache, where others use the same keyboards."""
        self._seen: dict[str, float] = {}  # what is in PTB's cache, with its time

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

    def entry(self, key: Any, document_id: Any) -> Entry:
        """See `Documents.entry`; nobody else makes a document with an id that was made at random here."""
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = Entry(document_id)
        return entry

    async def data(self) -> CDCData | None:
        """Everything that is stored, in the order in which it was; `None` if that is nothing."""
        keyboards: list[tuple[int, tuple[str, float, dict[str, Any]]]] = []
        queries: list[tuple[int, str, str]] = []
        async for entry, body in self.load({}):
            position = self._positions[entry.id] = body["position"]
            if "keyboard" in body:
                queries.append((position, entry.id.removeprefix(_QUERY), body["keyboard"]))
            else:
                keyboards.append((position, _keyboard(entry.id, body)))
        if not keyboards and not queries:
            return None
        keyboards.sort(key=lambda keyboard: keyboard[0] if self.live is None else keyboard[1][1])
        self._seen = {uuid: accessed_at for _, (uuid, accessed_at, _) in keyboards}
        self._seen |= {f"{_QUERY}{query}": 0.0 for _, query, _ in queries}
        return [keyboard for _, keyboard in keyboards], {query: keyboard for _, query, keyboard in sorted(queries)}

    async def save(self, data: CDCData) -> None:
        """Takes what PTB's cache holds now; writes what has changed, deletes what is gone.

        Raises:
            DocumentError: If a keyboard cannot be stored; all others are. Further errors are logged.
        """
        taken, failed = self.offer_all(data if self.live is None else self.live.persistence_data)
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

    def offer_all(self, data: CDCData) -> Offered:
        """Takes what PTB's cache holds; what it does not hold is deleted."""
        plain = self.documents(data)
        if self.live is None:
            keyboards, queries = data
            self._place([uuid for uuid, _, _ in keyboards])
            self._place([f"{_QUERY}{query}" for query in queries])
        # A keyboard that is being fetched has an entry before it is in the cache: it was not there, and is not gone.
        known = self.entries if self.live is None else self._seen
        return self._offer(plain, [one for one in known if one not in plain and one in self.entries])

    def offer_changed(self, cache: CallbackDataCache) -> Offered:
        """Takes those keyboards that were made, used or dropped since the last time; most often that is none."""
        keyboards, queries = cache.persistence_data
        seen = self._seen
        used = [keyboard for keyboard in keyboards if seen.get(keyboard[0]) != keyboard[1]]
        new = {query: keyboard for query, keyboard in queries.items() if f"{_QUERY}{query}" not in seen}
        seen.update({uuid: accessed_at for uuid, accessed_at, _ in used})
        seen.update({f"{_QUERY}{query}": 0.0 for query in new})
        gone: list[str] = []
        if len(seen) != len(keyboards) + len(queries):
            held = {uuid for uuid, _, _ in keyboards} | {f"{_QUERY}{query}" for query in queries}
            gone = [document_id for document_id in seen if document_id not in held]
            for document_id in gone:
                del seen[document_id]
        if not used and not new and not gone:
            return [], []
        return self._offer(
            self.documents((used, new)), [document_id for document_id in gone if document_id in self.entries]
        )

    def _offer(self, plain: Mapping[str, Document | DocumentError], gone: Iterable[str]) -> Offered:
        taken: list[tuple[Entry, Ticket | None]] = []
        failed: list[DocumentError] = []
        for document_id, document in plain.items():
            entry = self.entry(document_id, document_id)
            try:
                if isinstance(document, DocumentError):
                    if entry.refused == str(document):
                        continue
                    entry.refused = str(document)
                    raise document
                position = self._positions.setdefault(document_id, int(time.time() * 1000))
                taken.append((entry, self.offer(entry, {"position": position, **document})))
            except DocumentError as error:
                failed.append(self.located(error, document_id))
        for document_id in gone:
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

    def deletable(self, entry: Entry) -> Document:
        """See `Documents.deletable`; a keyboard that this bot does not need may have been used in another worker."""
        known = load(entry.base) if entry.base is not None and self.live is not None else {}
        return {"accessed_at": {"$lte": known["accessed_at"]}} if "accessed_at" in known else {}

    def written(self, entry: Entry) -> None:
        """See `Documents.written`."""
        if entry.base is None:
            self.entries.pop(entry.id, None)

    # -- what other workers have made -------------------------------------------------------------------

    async def fetch(self, uuids: Iterable[str]) -> CDCData:
        """Reads keyboards that are not in PTB's cache, and gives those that are stored.

        Raises:
            UnavailableError: If no server answers.
        """
        entries = [self.entry(uuid, uuid) for uuid in uuids]
        await self.bring(entries, every=True)
        found = []
        for entry in entries:
            if entry.base is not None and not entry.dirty and entry.id not in self.quarantined:
                body = self.codec.decode(load(entry.base))
                if "buttons" in body:
                    self._positions[entry.id] = body["position"]
                    found.append(_keyboard(entry.id, body))
                    continue
            if entry.base is None and not entry.dirty:
                self.entries.pop(entry.id, None)
        return found, {}

    def _take(self, entry: Entry, raw: bytes | None) -> None:
        before = entry.latest
        super()._take(entry, raw)
        after = entry.latest
        if self.live is None or after in {None, before} or entry.id not in self._seen:
            return
        body = self.codec.decode(load(after))
        if "buttons" in body:  # others have changed an object that several buttons share, say
            self.live.load_persistence_data(([_keyboard(entry.id, body)], {}))
            self._seen[entry.id] = body["accessed_at"]


def _keyboard(uuid: str, body: Document) -> tuple[str, float, dict[str, Any]]:
    """A keyboard, as PTB's cache wants it, of its decoded document."""
    objects = body["objects"]
    return uuid, body["accessed_at"], {button: objects[index] for button, index in body["buttons"].items()}
