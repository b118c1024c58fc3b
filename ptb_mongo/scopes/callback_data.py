"""The cache of arbitrary callback data: one document for each keyboard, so that a click rewrites only one.

Buttons of one keyboard that share an object share it again after loading: each object is stored once, and the buttons
refer to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection as Ids
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, Final, NamedTuple

import telegram
from telegram.ext import CallbackDataCache

from ptb_mongo.codec import BURIED, Codec, load
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError, as_encode_error
from ptb_mongo.health import Counters
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.values import Document
from ptb_mongo.replica.versions import InHand, Version
from ptb_mongo.scopes.loadable import check_form, check_loadable
from ptb_mongo.types import CDCData

__all__ = ["QUERY", "CallbackDataScope", "Found"]

_FIELDS: Final = ("position", "accessed_at", "buttons", "objects", "keyboard")
QUERY: Final = "query:"
"""The beginning of a callback query's `_id`."""
_DROPPED: Final = "dropped by another worker"
_OF_A_QUERY: Final = frozenset({"position", "keyboard"})
_OF_A_KEYBOARD: Final = frozenset(_FIELDS) - {"keyboard"}
_LAST_POSITION: Final = 2**62  # positions after it must still be 64-bit numbers
_PART: Final = 256  # a fraction of PTB's cache: one in so many must be missing before all are searched
_BY_VALUE: Final = (str, int, float, bool, bytes, type(None))


Staged = tuple[list[Replica], list[DocumentError]]
"""The documents to write, and the errors of those that cannot be stored."""


class Found(NamedTuple):
    """The result of a load: keyboards and callback queries, with their positions."""

    keyboards: list[tuple[int, tuple[str, float, dict[str, Any]]]]
    queries: list[tuple[int, str, str]]


class CallbackDataScope(Collection[Replica]):
    """The collection of keyboards, and of the callback queries that came from them."""

    always = _FIELDS  # the documents are small: a click writes its whole keyboard

    def __init__(self, collection: str, codec: Codec, counters: Counters) -> None:
        super().__init__(collection, _FIELDS, codec, counters, Replica)
        self.complete = True
        self._positions: dict[str, int] = {}
        self.live: CallbackDataCache | None = None
        """PTB's cache, if other workers use the same keyboards; otherwise `None`."""
        self.cache_size: int | None = None
        """How many keyboards, and how many queries, fit into PTB's cache; `None` if that is unknown."""
        self._seen: dict[str, float] = {}  # what PTB's cache contains, with access times

    def key_of(self, document_id: Any) -> str:
        """See `Collection.key_of`."""
        if type(document_id) is str:
            return document_id
        raise DecodeError(f"its _id is a {type(document_id).__name__}, and should be a text")

    def check(self, key: str, body: Document) -> None:
        """See `Collection.check`."""
        position = body.get("position")
        if type(position) is int and 0 <= position <= _LAST_POSITION:
            is_query = key.startswith(QUERY)
            if is_query and type(body.get("keyboard")) is str and body.keys() <= _OF_A_QUERY:
                return
            if not is_query and body.keys() <= _OF_A_KEYBOARD and _is_keyboard(body):
                return
        raise DecodeError("it is neither a keyboard nor a callback query")

    def has_form(self, document: Document) -> bool:
        """Whether a stored document has the form of a keyboard or a query."""
        try:
            self.check(self.key_of(document.get("_id")), {key: document[key] for key in _FIELDS if key in document})
        except DecodeError:
            return False
        return True

    def replica(self, key: Any, document_id: Any) -> Replica:
        """See `Collection.replica`; ids are random, so a new one does not exist in the database."""
        found = self.replicas.get(key)
        if found is None:
            found = self.replicas[key] = Replica(document_id)
        return found

    def look_at(self, raws: Sequence[bytes]) -> None:
        """Reports which of the documents cannot be read, without loading any."""
        for _ in self.loaded(raws):
            pass

    def read(self, raws: Sequence[bytes], found: Found) -> None:
        """Takes some of the documents that a load has read."""
        for replica, body in self.loaded(raws):
            if not body or replica.target is None:
                continue
            position = self._positions[replica.id] = body["position"]
            if "keyboard" in body:
                found.queries.append((position, replica.id.removeprefix(QUERY), body["keyboard"]))
            else:
                found.keyboards.append((position, _keyboard(replica.id, body)))

    def data(self, found: Found) -> CDCData | None:
        """The cache, from the documents that were read, in its former order; `None` if it is empty."""
        keyboards, queries = found
        if not keyboards and not queries:
            return None
        keyboards.sort(key=lambda keyboard: keyboard[0] if self.live is None else keyboard[1][1])
        self._seen = {uuid: accessed_at for _, (uuid, accessed_at, _) in keyboards}
        self._seen |= {f"{QUERY}{query}": 0.0 for _, query, _ in queries}
        return [keyboard for _, keyboard in keyboards], {query: keyboard for _, query, keyboard in sorted(queries)}

    def stage_all(self, data: CDCData, *, spared: Ids[str] = ()) -> Staged:
        """Takes what PTB's cache holds now; everything else is deleted.

        Args:
            data: What it holds.
            spared: The ids of keyboards that are not to be deleted.
        """
        if self.live is not None:
            data = self.live.persistence_data
        plain = self.documents(data)
        if self.live is None:
            keyboards, queries = data
            self._place([uuid for uuid, _, _ in keyboards])
            self._place([f"{QUERY}{query}" for query in queries])
        # A keyboard that is being fetched has a replica before it is in the cache, and must not be deleted.
        known = self.replicas if self.live is None else self._seen
        gone = [one for one in known if one not in plain and one not in spared]
        for document_id in gone:
            self._seen.pop(document_id, None)
        return self._stage(plain, dict.fromkeys(gone, self._may_evict(*data)))

    def stage_changed(self, cache: CallbackDataCache) -> Staged:
        """Stages the keyboards that were created, used or dropped since the last call; usually none."""
        keyboards, queries = cache.persistence_data
        seen = self._seen
        used = [keyboard for keyboard in keyboards if seen.get(keyboard[0]) != keyboard[1]]
        new = {query: keyboard for query, keyboard in queries.items() if f"{QUERY}{query}" not in seen}
        seen.update({uuid: accessed_at for uuid, accessed_at, _ in used})
        seen.update({f"{QUERY}{query}": 0.0 for query in new})
        gone: list[str] = []
        if len(seen) != len(keyboards) + len(queries):
            held = {uuid for uuid, _, _ in keyboards} | {f"{QUERY}{query}" for query in queries}
            gone = [document_id for document_id in seen if document_id not in held]
            for document_id in gone:
                del seen[document_id]
        if not used and not new and not gone:
            return [], []
        return self._stage(self.documents((used, new)), dict.fromkeys(gone, self._may_evict(keyboards, queries)))

    def stage_some(
        self, data: CDCData, dropped: Iterable[str], keyboards: Ids[str], queries: Ids[str], *, sweeps: bool
    ) -> Staged:
        """Stages some keyboards and queries, in their current state in PTB's cache.

        Args:
            data: Those that it contains.
            dropped: The ids of keyboards that may have been dropped.
            keyboards: The ids of all keyboards in it.
            queries: The ids of all queries in it.
            sweeps: Whether to look for what the cache has evicted.
        """
        self._seen.update({uuid: accessed_at for uuid, accessed_at, _ in data[0]})
        self._seen.update({f"{QUERY}{query}": 0.0 for query in data[1]})
        gone = dict.fromkeys((uuid for uuid in dropped if uuid not in keyboards), False)
        if sweeps and len(self._seen) - len(keyboards) - len(queries) > len(self._seen) // _PART:
            held = {*keyboards, *(f"{QUERY}{query}" for query in queries)}
            may_evict = self._may_evict(keyboards, queries)
            gone = {one: may_evict and one not in gone for one in self._seen if one not in held}
        known = {one: yields for one, yields in gone.items() if self._seen.pop(one, None) is not None}
        return self._stage(self.documents(data), known)

    def _may_evict(self, keyboards: Sized, queries: Sized) -> bool:
        """Whether PTB's cache is full: what it then evicts may still be in use by another worker."""
        most = math.inf if self.live is None else self.live.maxsize
        return len(keyboards) >= most or len(queries) >= most

    def _stage(self, plain: Mapping[str, Document | DocumentError], gone: Mapping[str, bool]) -> Staged:
        """Stages documents and deletions; `gone` says for each of these whether another worker's later use counts."""
        staged: list[Replica] = []
        failed: list[DocumentError] = []
        for document_id, document in plain.items():
            replica = self.replica(document_id, document_id)
            try:
                if self._has_changed(replica, document):
                    staged.append(replica)
            except Exception as error:  # noqa: BLE001  (whatever it is, all others must be saved)
                failed.append(_as_document_error(error).located(self.collection, document_id))
        for document_id, yields in gone.items():
            if document_id not in self.replicas:
                continue
            try:
                if self._is_to_be_deleted(self.replicas[document_id], yields=yields):
                    staged.append(self.replicas[document_id])
            except Exception as error:  # noqa: BLE001  (likewise)
                failed.append(_as_document_error(error).located(self.collection, document_id))
        return staged, failed

    def _has_changed(self, replica: Replica, document: Document | DocumentError) -> bool:
        """Whether to write a keyboard or query."""
        if isinstance(document, DocumentError):
            if self.cannot_store(replica, document):
                raise document
            return False
        position = self._positions.setdefault(replica.id, int(time.time() * 1000))
        version = self.version(replica, {"position": position, **document})
        if version is None:
            return False
        self.can_store(replica)
        if self.live is not None and replica.target not in {None, BURIED, version.raw}:
            version = version._replace(touch=True)  # a click does not bring back what another worker has dropped
        return replica.staged(version)

    def _is_to_be_deleted(self, replica: Replica, *, yields: bool) -> bool:
        """Whether to delete the document of a keyboard or query that is gone."""
        self._positions.pop(replica.id, None)
        if replica.is_buried or (replica.base is None and not replica.is_unsaved):
            if self.refusal(replica) is None:
                self.can_store(replica)
                self.forget(replica)
            return False
        self.can_store(replica)
        return not self.is_refused(replica) and replica.staged(Version(None, None, yields=yields))

    def documents(self, data: CDCData) -> dict[str, Document | DocumentError]:
        """The documents of all keyboards and queries by `_id`, without their positions; or their errors."""
        keyboards, queries = data
        plain: dict[str, Document | DocumentError] = {}
        for uuid, accessed_at, buttons in keyboards:
            try:
                plain[uuid] = self._loadable(uuid, {"accessed_at": float(accessed_at), **self._keyboard(buttons)})
            except Exception as error:  # noqa: BLE001  (whatever it is, all others must be saved)
                plain[uuid] = _as_document_error(error)
        for query, keyboard in queries.items():
            document_id = f"{QUERY}{query}"
            try:
                plain[document_id] = self._loadable(document_id, {"keyboard": keyboard})
            except Exception as error:  # noqa: BLE001  (likewise)
                plain[document_id] = _as_document_error(error)
        return plain

    def _loadable(self, document_id: str, document: Document) -> Document:
        whole = {"position": 0, **document}
        check_form(self, document_id, document_id, whole)
        if self.codec.may_not_load:
            check_loadable(self, document_id, whole)
        return document

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
        try:
            return {"buttons": references, **self.codec.encode({"objects": objects})}
        except EncodeError as error:
            raise self.codec.explained(objects, error) from error

    def _place(self, ordered: list[str]) -> None:
        """Gives the documents increasing positions in this order, changing as few as possible."""
        last = -1
        for document_id in ordered:
            position = self._positions.get(document_id, -1)
            if position <= last:
                position = last + 1
            self._positions[document_id] = last = position
        if last > _LAST_POSITION:  # the last one was a stranger's
            self._positions.update({document_id: number for number, document_id in enumerate(ordered)})

    def deletable(self, replica: Replica) -> Document:
        """See `Collection.deletable`; another worker may have used a keyboard that this one's cache has evicted."""
        yields = self.live is not None and replica.pending is not None and replica.pending.yields
        known = load(replica.base) if replica.base is not None and yields else {}
        return {"accessed_at": {"$lte": known["accessed_at"]}} if "accessed_at" in known else {}

    def is_needless(self, replica: Replica) -> bool:  # noqa: ARG002
        """See `Collection.is_needless`."""
        return True

    # -- keyboards of other workers ---------------------------------------------------------------------

    @staticmethod
    def is_gone(replica: Replica) -> bool:
        """Whether a keyboard is no longer stored."""
        return replica.target in {None, BURIED}

    def _lose(self, document_id: str, cache: CallbackDataCache) -> None:
        """Handles a keyboard that another worker's handlers or cache have dropped; nothing refers to a query."""
        if document_id.startswith(QUERY):
            return
        self._seen.pop(document_id, None)
        self._positions.pop(document_id, None)
        # PTB drops a keyboard by a query that refers to it.
        cache.load_persistence_data(([], {_DROPPED: document_id}))
        cache.drop_data(telegram.CallbackQuery(_DROPPED, telegram.User(0, "", is_bot=False), ""))

    def withdraw(self, uuid: str) -> None:
        """Handles the failure of a turn that began with a click: if it has dropped the keyboard, that is withdrawn."""
        replica = self.replicas.get(uuid)
        if replica is None or self.live is None or any(one == uuid for one, _, _ in self.live.persistence_data[0]):
            return
        if replica.is_being_deleted:
            replica.withdrawn(InHand(replica.base, None, replica.withdrawals), self)
        if not replica.is_unsaved:
            self.live.load_persistence_data(self.fetched([replica]))

    def fetched(self, replicas: Iterable[Replica]) -> CDCData:
        """The keyboards that are stored, among those that were just read for PTB's cache."""
        found = []
        for replica in replicas:
            if (
                replica.base is not None
                and not replica.is_buried
                and not replica.is_unsaved
                and replica.id not in self.quarantined
            ):
                try:
                    body = self.codec.decode(load(replica.base))
                    if "buttons" in body:
                        found.append(_keyboard(replica.id, body))
                        self._positions[replica.id] = body["position"]
                        self._seen[replica.id] = body["accessed_at"]  # the caller may drop it from the cache
                        continue
                except Exception as error:  # noqa: BLE001  (whatever it is, it concerns this document only)
                    self.could_not_be_used(replica, error)
            self.forget(replica)
        return found, {}

    def arrived(self, replica: Replica, before: bytes | None, rev: Any) -> None:  # noqa: ARG002
        """See `Collection.arrived`."""
        after = replica.target
        if self.live is None or after == before or replica.id not in self._seen:
            return
        if after in {None, BURIED}:
            self._lose(replica.id, self.live)
            return
        body = self.codec.decode(load(after or BURIED))
        if "buttons" in body:  # for example, another worker has changed an object that buttons share
            self.live.load_persistence_data(([_keyboard(replica.id, body)], {}))
            self._seen[replica.id] = body["accessed_at"]


def _as_document_error(error: Exception) -> DocumentError:
    return error if isinstance(error, DocumentError) else as_encode_error(error)


def _is_keyboard(body: Document) -> bool:
    """Whether the fields of a keyboard have the form that we store."""
    accessed_at, buttons, objects = body.get("accessed_at"), body.get("buttons"), body.get("objects")
    if type(accessed_at) is not float or not math.isfinite(accessed_at):
        return False
    if type(buttons) is not dict or type(objects) is not list or not all(type(uuid) is str for uuid in buttons):
        return False
    return all(type(index) is int and 0 <= index < len(objects) for index in buttons.values())


def _keyboard(uuid: str, body: Document) -> tuple[str, float, dict[str, Any]]:
    """A keyboard in the form of PTB's cache, from its decoded document."""
    objects = body["objects"]
    return uuid, body["accessed_at"], {button: objects[index] for button, index in body["buttons"].items()}
