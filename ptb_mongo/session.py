"""What is open between `initialize` and `flush`: the connection, the scopes, the writer and the watcher."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal

import telegram
from telegram.ext import CallbackDataCache

from ptb_mongo.codec import Codec
from ptb_mongo.driver import Driver, connect
from ptb_mongo.errors import DecodeError, FormatError, UnsavedDataError, WatchUnavailableError
from ptb_mongo.health import Counters, Health
from ptb_mongo.scopes.callback_data import CallbackDataScope
from ptb_mongo.scopes.conversations import ConversationScope, States
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.documents import Documents
from ptb_mongo.sync import spill
from ptb_mongo.sync.change_stream import ChangeStream, just_after
from ptb_mongo.sync.leases import Leases
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.writer import Writer
from ptb_mongo.types import Exclude, Loading, OnConflict, Refresh, ScopeName

__all__ = ["FORMAT_VERSION", "Session", "Settings", "Sharing"]

_LOGGER = logging.getLogger(__name__)
FORMAT_VERSION: Final = 1
_NAMED_AT_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Sharing:
    """What is known of an application that shares its data with others like it.

    Attributes:
        user_data, chat_data, bot_data: Give the object that handlers change now, by id; `None` if there is none.
        states: The states of conversations that its handlers hold.
        callback_data: The cache of its bot; `None` if that has none.
        lease_timeout: Where only one worker at a time handles a user's updates: seconds until another one takes over.
    """

    user_data: Callable[[int], Any]
    chat_data: Callable[[int], Any]
    bot_data: Callable[[int], Any]
    states: States
    callback_data: CallbackDataCache | None
    lease_timeout: float | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What `MongoPersistence` was made with; see there."""

    client: object
    database: str
    new: Mapping[ScopeName, Callable[[], Any]]
    trusted: tuple[type | str, ...] = ()
    loading: Loading = "eager"
    refresh: Refresh = "auto"
    on_conflict: OnConflict = "local"
    on_flush: bool = False
    collection_prefix: str = ""
    exclude: Exclude = field(default_factory=dict)
    shutdown_timeout: float = 30.0
    spill_dir: Path | None = None
    sharing: Sharing | None = None


class Session:
    """An open database; made by `Session.open`, of no use after `close`.

    Attributes:
        bot_id: The `_id` of the bot's own document.
        user_data, chat_data, bot_data, conversations, callback_data: The scopes.
        reader, writer: Read and write their documents.
        reads: Whether a refresh reads although nobody has said that anything changed.
        refreshes: Whether a refresh does anything.
    """

    def __init__(self, settings: Settings, driver: Driver, bot: telegram.Bot | None, bot_id: int) -> None:
        prefix = settings.collection_prefix
        codec = Codec(settings.trusted, lambda: bot)
        self._settings = settings
        self.bot_id = bot_id
        self._driver = driver
        self._name = uuid.uuid4().hex[:12]
        self._watcher: ChangeStream | None = None
        self.reads = settings.refresh == "read"
        self.refreshes = settings.refresh != "off"
        self._counters = Counters()
        self.writer = Writer(driver, self._name, self._counters, held=settings.on_flush)
        self.reader = Reader(driver, self.writer)

        def data_scope(name: ScopeName) -> DataScope[Any]:
            return DataScope(
                name,
                f"{prefix}{name}",
                self.reader,
                codec,
                self.writer,
                new=settings.new[name],
                excluded=settings.exclude.get(name, ()),
                on_conflict=settings.on_conflict,
            )

        self.user_data = data_scope("user_data")
        self.chat_data = data_scope("chat_data")
        self.bot_data = data_scope("bot_data")
        self.conversations = ConversationScope(f"{prefix}conversations", self.reader, codec, self.writer)
        self.callback_data = CallbackDataScope(f"{prefix}callback_data", self.reader, codec, self.writer)
        self._scopes: tuple[Documents[Any], ...] = (
            self.user_data,
            self.chat_data,
            self.bot_data,
            self.conversations,
            self.callback_data,
        )
        self.leases: Leases | None = None
        if (sharing := settings.sharing) is not None:
            if sharing.lease_timeout is not None:
                self.leases = Leases(driver, f"{prefix}leases", self._name, sharing.lease_timeout)
            self.user_data.current = sharing.user_data
            self.chat_data.current = sharing.chat_data
            self.bot_data.current = sharing.bot_data
            self.conversations.live = sharing.states
            self.conversations.complete = settings.loading == "eager"
            self.callback_data.live = sharing.callback_data
            self.callback_data.complete = False

    @classmethod
    async def open(cls, settings: Settings, bot: telegram.Bot | None, bot_id: int) -> Session:
        """Connects, checks the format, and starts to follow changes.

        Raises:
            ConfigurationError: If the server refuses the credentials.
            UnavailableError: If no server answers.
            FormatError: If the data was written by a newer version.
            WatchUnavailableError: If `refresh="watch"` cannot be had.
        """
        driver = await connect(settings.client, settings.database)
        store = cls(settings, driver, bot, bot_id)
        try:
            hello = await driver.hello()
            await store._check_format()
            await driver.create_index(store.conversations.collection, "handler")
            await store._take_in_spilled()
            await store._follow(hello)
        except BaseException:
            await store.close()
            raise
        return store

    async def _check_format(self) -> None:
        collection = f"{self._settings.collection_prefix}ptb_mongo"
        found: dict[str, Any] | None = None
        async for document in self._driver.find(collection, {"_id": "format"}):
            found = document
        if found is None:
            made = {"version": FORMAT_VERSION, "bot_id": self.bot_id, "created_at": datetime.now(timezone.utc)}
            await self._driver.insert_if_missing(collection, "format", made)
            return
        version = found.get("version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise FormatError(
                f"the collections in {self._settings.database!r} have the format {version!r}, and this version of "
                f"ptb_mongo knows {FORMAT_VERSION}: install a newer one (pip install -U ptb-mongo)"
            )
        if found.get("bot_id") != self.bot_id:
            _LOGGER.warning(
                "The collections in %r belong to bot %s, and this is bot %s; if that is not on purpose, give this bot "
                "a database of its own, or a collection_prefix",
                self._settings.database,
                found.get("bot_id"),
                self.bot_id,
            )

    async def _follow(self, hello: Mapping[str, Any]) -> None:
        if self._settings.refresh not in {"auto", "watch"}:
            return
        if reason := await self._driver.can_watch(hello):
            if self._settings.refresh == "watch" or (self.leases):
                raise WatchUnavailableError(
                    f"the server offers no change stream: {reason}. Change streams need a replica set, which may have "
                    "a single node: start mongod with --replSet rs0 and run rs.initiate() once in mongosh; Atlas is "
                    'one already. Or use refresh="read", which reads once per update'
                )
            _LOGGER.warning("No change stream (%s): the data is read once per update instead", reason)
            self.reads = True
            return
        followed = self._scopes if self._settings.sharing else (self.user_data, self.chat_data, self.bot_data)
        scopes: dict[str, Documents[Any]] = {scope.collection: scope for scope in followed}
        self._watcher = ChangeStream(self._driver, self._name, scopes, just_after(hello), self.writer.lost, self.leases)

    @property
    def refresh_mode(self) -> Literal["watch", "read", "off"]:
        """How changes of others are noticed: "watch", "read" or "off"."""
        if not self.refreshes:
            return "off"
        return "read" if self.reads else "watch"

    @property
    def is_told_late(self) -> bool:
        """Whether the change stream tells later than usual what others have changed."""
        return self._watcher is not None and self._watcher.is_late

    def health(self) -> Health:
        """How it is doing."""
        waiting = self.writer.waiting
        return Health(
            connected=not self.writer.away,
            refresh=self.refresh_mode,
            waiting=len(waiting),
            oldest_waiting=time.monotonic() - min(entry.since for entry in waiting) if waiting else 0.0,
            quarantined=sum(len(scope.quarantined) for scope in self._scopes),
            **asdict(self._counters),
        )

    async def _take_in_spilled(self) -> None:
        """Saves what an earlier process could not, merged with what the database has become meanwhile."""
        settings = self._settings
        if settings.spill_dir is None:
            return
        where = settings.spill_dir, settings.database, settings.collection_prefix
        with contextlib.closing(spill.claim(*where)) as paths:
            for number, path in enumerate(paths):
                try:
                    spilled = spill.read(path, settings.database, settings.collection_prefix)
                    failed = await self._save_spilled(spilled)
                    if failed:  # kept without the others: merged once more, those would undo what has changed since
                        spill.write(*where, f"{self._name}-{number}", failed)
                except (DecodeError, KeyError) as error:
                    _LOGGER.error("%s stays, as it could not be taken in: %s", path, error)  # noqa: TRY400
                else:
                    spill.remove(path)
                    if saved := len(spilled) - len(failed):
                        _LOGGER.warning("Saved what was unsaved at the last shutdown: %d documents", saved)

    async def _save_spilled(self, spilled: Sequence[spill.Spilled]) -> list[spill.Spilled]:
        """Saves what an earlier process could not; returns what cannot be saved now, either, which is logged."""
        by_collection = {scope.collection: scope for scope in self._scopes}
        tickets = []
        for one in spilled:
            scope = by_collection[one.collection]
            entry = scope.unsaved(one.id, one.base, one.wanted, one.sent)
            tickets.append((one, entry, self.writer.submit(scope, entry)))
        await self.writer.drain()
        failed = []
        for one, entry, ticket in tickets:
            if entry.refused is None:
                continue
            failed.append(one)
            if ticket is not None:  # else the writer has said it
                _LOGGER.error("Kept for the next start: %s", ticket.errors[entry])
        return failed

    async def flush(self) -> None:
        """Waits until everything is saved.

        Raises:
            UnsavedDataError: If that takes longer than `shutdown_timeout`.
        """
        settings = self._settings
        try:
            await asyncio.wait_for(self.writer.drain(), settings.shutdown_timeout)
        except asyncio.TimeoutError:
            waiting = {entry: owner for entry, owner in self.writer.waiting.items() if entry.dirty}
            if not waiting:
                return  # the last one was acknowledged just now
            names = [f"{owner.collection} {entry.id!r}" for entry, owner in waiting.items()]
            named = ", ".join(names[:_NAMED_AT_MOST]) + (", ..." if len(names) > _NAMED_AT_MOST else "")
            kept = "they are lost (spill_dir would keep them)"
            if settings.spill_dir is not None:
                unsaved = [
                    spill.Spilled(owner.collection, entry.id, entry.base, entry.wanted, entry.sent)
                    for entry, owner in waiting.items()
                ]
                path = spill.write(
                    settings.spill_dir, settings.database, settings.collection_prefix, self._name, unsaved
                )
                kept = f"they are kept in {path} for the next start"
            raise UnsavedDataError(
                f"MongoDB did not come back within {settings.shutdown_timeout:g} s; documents not saved: "
                f"{len(waiting)} ({named}); {kept}"
            ) from None

    async def close(self) -> None:
        """Ends the tasks and closes the client, if it is ours."""
        if self.leases is not None:
            await self.leases.close()
        if self._watcher is not None:
            await self._watcher.close()
        await self.reader.close()
        await self.writer.close()
        await self._driver.close()
