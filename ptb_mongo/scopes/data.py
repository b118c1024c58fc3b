"""`user_data`, `chat_data` and `bot_data`: live objects that are saved, and refreshed from the database.

Three versions of each document are told apart. `base` is what the bot and the database agreed on last, `wanted`
is what has to be written, relative to `base`; the live object may lag behind `base`, and then `seen` is what it
is based on. An edit by others goes from the database to `base` by a read, and from there into the live object
by a three-way merge, without waiting in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ptb_mongo.codec import TAG, Codec, dump, id_of, load, unescape
from ptb_mongo.entries import Entry, Ticket
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError, UnavailableError
from ptb_mongo.garbage import collector_paused
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.patch import bring_into
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import MISSING, Document, Path, fields_inside, same, value_at
from ptb_mongo.scopes.documents import Documents, whole_number
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.writer import Writer
from ptb_mongo.types import Conflict, OnConflict, ScopeName

__all__ = ["DataScope", "LiveEntry"]

_LOGGER = logging.getLogger(__name__)
_BATCH: Final = 250  # which are merged in one go: no longer than others can wait

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fill:
    """A merge into a live object.

    Attributes:
        seen: What the object was based on before.
        before: What it encoded to before.
        after: What it encodes to since.
    """

    seen: bytes
    before: Document
    after: Document

    def is_later_than(self, copy: Document) -> bool:
        """Whether a copy of the object was made before: then it holds nothing of what the merge brought."""
        paths = list(diff(self.before, self.after).paths())
        return bool(paths) and all(same(value_at(copy, path), value_at(self.before, path)) for path in paths)


class LiveEntry(Entry):
    """What is known of one user, chat or bot.

    Attributes:
        live: The object that handlers change; `None` while it has not been seen.
        replaced: Whether PTB has made a new object since the last save: the old one was dropped.
        loaded: Whether the document was ever read, or is known not to exist.
        seen: What the live object is based on, where that is not `base`.
        filled: The last merge into the live object; a copy that PTB has made just before it may still come.
    """

    __slots__ = ("filled", "live", "loaded", "replaced", "seen")

    def __init__(self, document_id: Any, *, base: bytes | None = None, stale: bool = False) -> None:
        super().__init__(document_id, base=base, stale=stale)
        self.live: Any = None
        self.replaced = False
        self.loaded = not stale
        self.seen: bytes | None = None
        self.filled: Fill | None = None


class DataScope(Documents[LiveEntry], Generic[T]):
    """One of `user_data`, `chat_data` and `bot_data`.

    Args:
        name: Which of them.
        collection: The collection's name.
        reader: Reads documents again.
        codec: Encodes and decodes values.
        writer: Writes what has changed.
        new: Makes an empty object, as `ContextTypes` says.
        excluded: Keys that are never stored.
        on_conflict: Decides what both sides have changed.
    """

    def __init__(
        self,
        name: ScopeName,
        collection: str,
        reader: Reader,
        codec: Codec,
        writer: Writer,
        *,
        new: Callable[[], T],
        excluded: Iterable[str],
        on_conflict: OnConflict,
    ) -> None:
        super().__init__(collection, ("data",), reader, codec, writer, LiveEntry)
        self._name = name
        self._new = new
        self._type = type(new())
        self._excluded = frozenset(excluded)
        self._on_conflict = on_conflict
        self._empty = self._body(new())
        self.current: Callable[[int], T | None] | None = None
        """Gives the object that handlers change now, if there is one: where each update is saved by itself."""

    # -- form -------------------------------------------------------------------------------------------

    def key_of(self, document_id: Any) -> int:
        """See `Documents.key_of`."""
        if (number := whole_number(document_id)) is not None:
            return number
        raise DecodeError(f"its _id is a {type(document_id).__name__}, and should be the id of a user or chat")

    def empty(self, plain: Document) -> Document:
        """See `Documents.empty`; a dict is written key by key, so that two who create it do not collide."""
        data = plain.get("data")
        return {"data": {}} if isinstance(data, dict) and TAG not in data else {}

    def check(self, key: Any, body: Document) -> None:  # noqa: ARG002
        """See `Documents.check`."""
        if "data" in body and not isinstance(body["data"], self._type):
            wanted, found = self._type.__name__, type(body["data"]).__name__
            raise DecodeError(f"data is a {found}, and this bot's {self._name} is a {wanted}", path="data")

    def _body(self, obj: Any) -> Document:
        """The plain document of an object, without what is excluded."""
        if self._excluded and type(obj) is dict:  # what is excluded need not be storable
            obj = {key: value for key, value in obj.items() if key not in self._excluded}
        body: Document = self.codec.encode({"data": obj})
        return self.ours(body)

    def ours(self, body: Document) -> Document:
        """See `Documents.ours`; what is excluded is not, though others may store it."""
        if not self._excluded or (inside := fields_inside(body.get("data"))) is None:
            return body
        where, fields = inside
        kept = {key: value for key, value in fields.items() if unescape(key) not in self._excluded}
        return {"data": {**body["data"], where[0]: kept} if where else kept}

    # -- loading ----------------------------------------------------------------------------------------

    async def load_all(self) -> dict[int, T]:
        """Loads every document."""
        loaded: dict[int, T] = {}
        with self.being_loaded(), collector_paused():
            async for entry, body in self.load({}):
                loaded[self.key_of(entry.id)] = self._attach(entry, body)
        self.complete = True
        return loaded

    async def load_one(self, key: int) -> T:
        """Loads one document; a new object if there is none."""
        with self.being_loaded():
            found = [self._attach(entry, body) async for entry, body in self.load({"_id": key})]
        self.complete = True
        if found:
            return found[0]
        entry = self.entry(key, key)
        entry.live = obj = self._new()
        return obj

    def _attach(self, entry: LiveEntry, body: Document) -> T:
        if self._excluded:
            body = self.codec.decode(self.ours(load(entry.base or dump({}))))
        entry.live = body["data"] if "data" in body else self._new()
        entry.replaced = False
        entry.seen = entry.filled = None
        entry.loaded = True
        live: T = entry.live
        return live

    # -- saving -----------------------------------------------------------------------------------------

    def save(self, key: int, obj: T) -> Ticket | None:
        """Takes a copy of a live object to be saved; without waiting, so that nothing changes meanwhile.

        Where the live object itself is known, it is taken: an update may have saved it since it was copied.

        Raises:
            EncodeError: If it cannot be stored.
            QuarantinedError: If the stored document cannot be read.
        """
        if self.current is not None and (live := self.current(key)) is not None:
            return self.save_live(key, live)
        return self._save(self.entry(key, key), obj, copied=True)

    def save_live(self, key: int, live: T) -> Ticket | None:
        """Takes a live object itself to be saved, as it is now; see `save`."""
        entry = self.entry(key, key)
        self._see(entry, live)
        if entry.seen is not None:
            self._fill(entry)
        return self._save(entry, live, copied=False)

    def _save(self, entry: LiveEntry, obj: T, *, copied: bool) -> Ticket | None:
        entry.replaced = False
        reported = entry.refused
        try:
            plain = self._body(obj)
            if copied and entry.filled is not None and entry.filled.is_later_than(plain):
                plain = self._merged(entry, load(entry.filled.seen), plain, entry.plain or self._base(entry))
            elif entry.seen is not None:
                offered = dump(plain)
                plain = self._merged(entry, load(entry.seen), plain, entry.plain or self._base(entry))
                entry.seen = offered
            elif entry.base is None and not entry.dirty and not entry.stale and same(plain, self._empty):
                return None
            return self.offer(entry, plain)
        except EncodeError as error:
            if reported == str(error):
                return None
            entry.refused = str(error)
            raise self.located(error, entry.id) from error

    async def drop(self, key: int) -> None:  # type: ignore[override]
        """Deletes a document; what a handler has stored since PTB dropped the object is saved afterwards."""
        entry = self.entry(key, key)
        if self.is_refused(entry):
            return
        if self.current is not None:
            live = self.current(key)
            entry.replaced = live is not None
            entry.live = live if live is not None else entry.live
        if entry.replaced and not same(self._body(entry.live), self._empty):
            # What is not in the new object is removed field by field: deleting the document and writing all of
            # the object anew would bring back what others have removed meanwhile.
            if ticket := self.save(key, entry.live):
                await ticket.outcome(entry)
            return
        entry.seen = entry.filled = None
        entry.loaded = True
        entry.stale = entry.replaced = False
        dropped = entry.live
        if ticket := super().drop(entry):
            await ticket.outcome(entry)
        if entry.live is dropped and not entry.dirty:
            entry.live = None

    def written(self, entry: Entry) -> None:
        """See `Documents.written`; what was deleted and is not used any more needs no entry."""
        if entry.base is None and isinstance(entry, LiveEntry) and entry.live is None:
            self.entries.pop(entry.id, None)

    def _base(self, entry: LiveEntry) -> Document:
        return self.ours(load(entry.base)) if entry.base is not None else self._empty

    # -- refreshing -------------------------------------------------------------------------------------

    async def refresh(self, key: int, live: T, *, read: bool) -> None:
        """Brings what others have changed into the live object.

        Args:
            key: The user's, chat's or bot's id.
            live: The live object.
            read: Whether to ask the database although nothing has been said of a change.

        Raises:
            UnavailableError: If the document was never loaded, and no server answers.
        """
        self._see(self.entry(key, key), live)
        if entry := self.outdated(key, read=read):
            try:
                await self.bring([entry], every=read)
            except UnavailableError as error:
                if not entry.loaded:
                    raise self.never_loaded(entry) from error
        self.catch_up(key)

    def outdated(self, key: int, *, read: bool) -> LiveEntry | None:
        """What has to be read before an update of this user or chat; `None` if nothing has.

        Args:
            key: The user's, chat's or bot's id.
            read: Whether to ask the database although nothing has been said of a change.
        """
        entry = self.entries.get(key)
        if entry is None:
            if self.complete and not read:
                return None
            entry = self.entry(key, key)
        dropped = entry.dirty and entry.wanted is None
        return entry if (read or entry.stale) and not dropped else None

    def never_loaded(self, entry: LiveEntry) -> UnavailableError:
        """Why an update of somebody who is not loaded cannot be handled."""
        return UnavailableError(f"{self.collection}, _id {entry.id}: it was never loaded, and MongoDB is away")

    def catch_up(self, key: int) -> None:
        """Merges what was read into the live object, if it lags behind; without waiting."""
        entry = self.entries.get(key)
        if entry is not None and entry.seen is not None:
            if self.current is not None and (live := self.current(key)) is not None:
                self._see(entry, live)
            if entry.live is not None:
                self._fill(entry)

    def rebase(self, entry: LiveEntry, raw: bytes | None, remote: Document) -> None:
        """See `Documents.rebase`; the live object stays on what it has seen, until it is refreshed."""
        if raw != entry.base or not entry.loaded:
            if entry.seen is None:
                seen = entry.wanted if entry.wanted is not None else entry.base
                entry.seen = dump(self._empty) if seen is None else seen
            super().rebase(entry, raw, self.ours(remote))
        entry.loaded = True

    def _fill(self, entry: LiveEntry) -> None:
        """Merges the base into the live object."""
        seen = entry.seen
        if seen is None:
            return
        try:
            before = self._body(entry.live)
        except DocumentError:
            return  # it holds what cannot be stored, which its save reports; filled when that is mended
        after = entry.plain or self._base(entry)
        if dump(before) != seen:  # the bot has changed something, too
            after = self._merged(entry, self.ours(load(seen)), before, after)
        after = {"data": after.get("data", self._empty["data"])}
        bring_into(entry.live, before["data"], after["data"], self.codec.decode)
        entry.seen = None
        entry.filled = Fill(seen, before, after)
        # A copy that PTB made before this lies with a task that starts before the loop turns once more.
        asyncio.get_running_loop().call_soon(_forget_copies, entry)

    def _merged(self, entry: LiveEntry, base: Document, local: Document, remote: Document) -> Document:
        remote = remote if "data" in remote else {**remote, **self._empty}
        return merge(base, local, remote, lambda *conflict: self.resolve(entry, *conflict))

    def resolve(self, entry: LiveEntry, path: Path, base: Any, local: Any, remote: Any) -> Any:
        """See `Documents.resolve`."""
        self.writer.counters.conflicts += 1
        if self._on_conflict == "local":
            return local
        if self._on_conflict == "remote":
            return remote
        conflict = Conflict(
            self._name,
            entry.id,
            tuple(unescape(key) for key in path[1:]),
            *(value if value is MISSING else self.codec.decode(value) for value in (base, local, remote)),
        )
        try:
            value = self._on_conflict(conflict)
            return value if value is MISSING else self.codec.encode(value)
        except Exception:  # users' code; an exception here would cost the whole update
            _LOGGER.exception("on_conflict failed for %s, _id %s; the bot's value stays", self.collection, entry.id)
            return local

    # -- lazy loading -----------------------------------------------------------------------------------

    async def ids(self) -> AsyncIterator[int]:
        """The ids of all stored documents."""
        async for raws in self.reader.driver.raw_batches(self.collection, {}, ("_id",)):
            for raw in raws:
                try:
                    yield self.key_of(id_of(raw))
                except DecodeError:
                    continue

    async def preload(self, keys: Iterable[int], live: Callable[[int], T]) -> None:
        """Loads many documents into their live objects, with one query for hundreds.

        Raises:
            UnavailableError: If no server answers.
        """
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _BATCH):
            batch = [self.entry(key, key) for key in wanted[start : start + _BATCH]]
            while stale := [entry for entry in batch if entry.stale]:
                if free := [entry for entry in stale if entry.busy is None]:
                    await self.reader.read_alone({self: free})
                else:
                    await stale[0].free()
            with collector_paused():
                for entry in batch:
                    self._see(entry, live(self.key_of(entry.id)))
                    self._fill(entry)

    def _see(self, entry: LiveEntry, live: T) -> None:
        """Notes which object handlers change; another one than before means that PTB has dropped that."""
        if entry.live is not live:
            entry.replaced = entry.live is not None
            entry.live = live


def _forget_copies(entry: LiveEntry) -> None:
    entry.filled = None
