"""What is open between `initialize` and `flush`: opens, wires and closes; it has no logic of its own."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import telegram
from telegram.ext import PersistenceInput

from ptb_mongo.codec import Codec
from ptb_mongo.driver import Driver, Selection, connect
from ptb_mongo.errors import AuthenticationError, PersistenceError, WatchUnavailableError
from ptb_mongo.health import Counters, Health
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.factory import Scopes, make_scopes
from ptb_mongo.settings import Settings
from ptb_mongo.sync import format as stored_format
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.change_stream import ChangeStream, Departing, Followed, just_after
from ptb_mongo.sync.exchange import Exchange
from ptb_mongo.sync.expiry import IndexKeeper, wanted_in
from ptb_mongo.sync.graves import LATE
from ptb_mongo.sync.leases import Leases
from ptb_mongo.sync.marks import Marks
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.seen import Seen, ahead_of_us
from ptb_mongo.sync.spilled import SpillFolder
from ptb_mongo.sync.vanishing import Vanishing
from ptb_mongo.sync.writer import Writer
from ptb_mongo.waiting import begun, cancel_and_wait, results_of, together, wait_at_most

__all__ = ["Session", "Unsaved", "connect_scopes", "scopes_for", "spill_folder"]

_LOGGER = get_logger(__name__)
_NEW: Final = 1.0  # seconds after the start for which a plain bot's data counts as just loaded
_SILENT: Final = 10.0  # seconds: we wait no longer than that for any answer
_GOODBYE: Final = 0.5  # seconds that a stop waits for the answer to its last command

Unsaved = tuple[Collection[Any], Replica]
"""A document with a change that is not stored, and its collection."""


def scopes_for(settings: Settings, bot: telegram.Bot | None) -> Scopes:
    """The scopes of a bot, still without documents."""
    codec = Codec(settings.trusted, lambda: bot, settings.aliases)
    codec.import_trusted()
    scopes = make_scopes(
        codec,
        prefix=settings.collection_prefix,
        new=settings.new,
        exclude=settings.exclude,
        on_conflict=settings.on_conflict,
        migrations=settings.migrations,
    )
    scopes.callback_data.cache_size = getattr(getattr(bot, "callback_data_cache", None), "maxsize", None)
    connect_scopes(scopes, settings)
    return scopes


def connect_scopes(scopes: Scopes, settings: Settings) -> None:
    """Connects the scopes to the job queue and to a worker's application, if there are any."""
    scopes.jobs.live = settings.jobs
    if (sharing := settings.sharing) is not None:
        for scope in scopes:
            scope.knows_absent = False  # most that have no document here are new ones of other workers
        scopes.user_data.current = sharing.user_data
        scopes.chat_data.current = sharing.chat_data
        scopes.bot_data.current = sharing.bot_data
        scopes.conversations.live = sharing.states
        scopes.conversations.complete = False  # each is read when needed
        scopes.callback_data.live = sharing.callback_data
        scopes.callback_data.complete = False


def spill_folder(settings: Settings, name: str) -> SpillFolder | None:
    """The folder for unsaved data, if there is one; `name` makes the names of new files unique."""
    if settings.spill_dir is None:
        return None
    return SpillFolder(settings.spill_dir, settings.database, settings.collection_prefix, name)


class Session:
    """An open database; made by `Session.open`, of no use after `close`.

    Attributes:
        bot_id: The `_id` of the bot's own document.
        scopes: The scopes.
        availability: Whether the server can be reached.
        reader, writer: Read and write documents.
        vanishing: Checks whether the whole database has vanished.
        exchange: Moves data between the scopes and the database.
        departures: Notices what has expired, if anything does.
        seen: Notes who was seen, if anything expires.
        orders: The orders of other processes, if this one carries them out.
        leases: The leases of this worker; `None` unless one worker at a time handles a user's updates.
        marks: The updates that are done; `None` if they are not remembered.
        reads: Whether a refresh reads every document, stale or not.
        refreshes: Whether a refresh does anything.
    """

    def __init__(self, settings: Settings, driver: Driver, scopes: Scopes, bot_id: int) -> None:
        self._settings = settings
        self._driver = driver
        self._counters: Counters = scopes.user_data.counters
        self._name = uuid.uuid4().hex[:12]
        self._stream: ChangeStream | None = None
        self._has_begun = self._sweeps = False
        self._is_new_until = asyncio.get_running_loop().time() + _NEW
        self._opened: Mapping[str, Any] | None = None  # the `hello` at that time, if there is a stream to follow
        self._format = f"{settings.collection_prefix}ptb_mongo"
        self.bot_id = bot_id
        self.scopes = scopes
        self.reads = settings.refresh == "read"
        self.refreshes = settings.refresh != "off"
        self.availability = Availability(self._counters)
        self.reader = Reader(driver, self.availability)
        self._may_be_late = (
            float("inf") if settings.sharing else 0.0
        )  # until then, insertions of other processes may arrive
        self.writer = Writer(
            driver,
            self.reader,
            self._name,
            self.availability,
            self._counters,
            held=settings.on_flush,
            patience=settings.shutdown_timeout / 2,
            buries=lambda: asyncio.get_running_loop().time() < self._may_be_late,
        )
        for scope in scopes:
            scope.on_refused_told = self.writer.retry
            scope.on_upgraded = partial(self.writer.submit, scope)
        names = self._format, settings.database, bot_id
        self.vanishing = Vanishing(driver, *names, scopes, self.writer.submit, self.availability)
        self.reader.why_lost = self.vanishing.why
        self.exchange = Exchange(driver, self.reader, self.writer)
        self.seen: Seen | None = None
        self._expiry: IndexKeeper | None = None
        self._found: Mapping[str, Any] | None = None  # the format document
        self.orders: Followed | None = None
        self.departures: Departing | None = None
        self.leases: Leases | None = None
        if (sharing := settings.sharing) is not None and sharing.lease_timeout is not None:
            collection = f"{settings.collection_prefix}leases"
            self.leases = Leases(driver, collection, self._name, sharing.lease_timeout)
        self.marks = Marks(driver, f"{settings.collection_prefix}updates") if sharing and sharing.once else None

    @classmethod
    async def open(
        cls,
        settings: Settings,
        scopes: Scopes,
        bot_id: int,
        token: str = "",
        spilled: Path | None = None,
        loads: PersistenceInput | None = None,
    ) -> Session:
        """Connects, checks the format, and starts to follow changes.

        Args:
            settings: The persistence's settings.
            scopes: The scopes; what is unsaved in them is saved.
            bot_id: The `_id` of the bot's own document.
            token: The bot's token, used only for the proof in the format document; empty without a bot.
            spilled: An earlier session's file, of this process, with what is still in `scopes`.
            loads: The kinds of data that will be asked for next, if this is a start.

        Raises:
            ConfigurationError: If the server refuses the credentials.
            UnavailableError: If no server answers.
            RefusedError: If the server refuses something that is needed.
            FormatError: If the data was written by a newer version.
            WatchUnavailableError: If `refresh="watch"` is not possible.
        """
        driver = await connect(settings.client, settings.database)
        session = cls(settings, driver, scopes, bot_id)
        asked = [begun(driver.hello()), begun(stored_format.read(driver, session._format))]
        probe = begun(driver.probe_streams()) if session._may_watch else None  # after the ones that we wait for
        try:
            hello, found = await results_of(asked, probe, at_once=AuthenticationError)
            is_right = stored_format.accept(found, settings.database, bot_id, token)
            if any(scope.replicas for scope in scopes):
                scopes.told_all()  # what was read before the earlier session was closed may have changed unnoticed
            elif loads is not None and settings.spill_dir is None:
                session._begin_loads(loads)
            names = session._format, settings.database, bot_id, session._name
            is_alone, *_ = await together(
                stored_format.begin(driver, *names, found, is_right=is_right),
                driver.create_index(scopes.conversations.collection, "handler"),
                *([session.marks.prepare()] if session.marks is not None else []),
            )
            session.vanishing.begins(found)
            session._found = found
            if settings.expire:
                session.seen = Seen(driver, settings.expire, scopes.by_name, ahead_of_us(hello))
            if not is_alone:  # requests of an earlier process may still arrive
                session._may_be_late = max(session._may_be_late, asyncio.get_running_loop().time() + LATE)
                session._sweeps = True
            if (folder := spill_folder(settings, session._name)) is not None:
                if spilled is not None:
                    folder.forget(spilled)
                await folder.take_in({scope.collection: scope for scope in scopes}, session.writer)
            session._submit_unsaved()
            await session._choose_refresh(hello, probe)
        except BaseException:
            await session.close()
            raise
        finally:
            if probe is not None:
                await cancel_and_wait(probe)
        return session

    @property
    def driver(self) -> Driver:
        """The database."""
        return self._driver

    @property
    def expiring(self) -> tuple[str, ...]:
        """The names, without prefix, of the collections whose documents expire."""
        return tuple(self._settings.expire)

    @property
    def format_collection(self) -> str:
        """The collection of the format document."""
        return self._format

    @property
    def _may_watch(self) -> bool:
        return self._settings.refresh in {"auto", "watch"}

    def _begin_loads(self, kinds: PersistenceInput) -> None:
        """Begins to read what a start loads, if it is small."""
        scopes, wanted = self.scopes, []
        if kinds.bot_data:
            wanted.append(Selection(scopes.bot_data.collection, {"_id": self.bot_id}, scopes.bot_data.fields))
        if scopes.conversations.live is None:
            wanted.append(Selection(scopes.conversations.collection, {}, scopes.conversations.fields))
        if kinds.callback_data and scopes.callback_data.cache_size is not None:
            wanted.append(Selection(scopes.callback_data.collection, {}, scopes.callback_data.fields))
        for scope, is_stored in ((scopes.chat_data, kinds.chat_data), (scopes.user_data, kinds.user_data)):
            if is_stored and self._settings.loading == "eager":
                wanted.append(Selection(scope.collection, {}, scope.fields))
        self.exchange.first_read.begin(wanted)

    def _submit_unsaved(self) -> None:
        for scope in self.scopes:
            for replica in scope.replicas.in_use():
                if replica.is_unsaved:
                    self.writer.submit(scope, replica)

    async def _choose_refresh(self, hello: Mapping[str, Any], probe: asyncio.Task[str | None] | None) -> None:
        if probe is None:
            return
        if reason := await self._driver.can_watch(hello, probe):
            if self._settings.refresh == "watch" or self.leases:
                raise WatchUnavailableError(
                    f"the server offers no change stream: {reason}. Change streams need a replica set, which may have "
                    "a single node: start mongod with --replSet rs0 and run rs.initiate() once in mongosh; Atlas is "
                    'one already. Or use refresh="read", which reads once per update'
                )
            _LOGGER.warning("No change stream (%s): the data is read once per update instead", reason)
            self.reads = True
            return
        self._opened = hello

    def begin(self) -> None:
        """Starts the background tasks; called repeatedly as soon as the bot runs.

        Not when the session is opened: if PTB's start fails after our last `get_*`, it does not tell us, and nobody
        would end them.
        """
        if self._has_begun:
            return
        self._has_begun = True
        self.exchange.first_read.forget()
        if self._sweeps:
            self.writer.graves.sweep_later(self.scopes)
        if self.seen is not None or (self.bot_id and wanted_in(self._found)):
            settings, names = self._settings, (self._settings.collection_prefix, self._format)
            self._expiry = IndexKeeper(self._driver, *names, settings.expire, self._found)
        if self._opened is None:
            return
        followed: tuple[Collection[Any], ...] = tuple(self.scopes) if self._settings.sharing else self.scopes.followed
        collections: dict[str, Followed] = {scope.collection: scope for scope in followed}
        if self.orders is not None:
            collections[self._format] = self.orders
        if self.departures is not None:
            collections = self.departures.around(collections)
        self._stream = ChangeStream(
            self._driver,
            self._name,
            collections,
            just_after(self._opened),
            self.availability,
            self.leases,
            expire=self.seen is not None,
            election=self._opened.get("electionId"),
        )

    @property
    def refresh_mode(self) -> Literal["watch", "read", "off"]:
        """How changes of others are noticed: "watch", "read" or "off"."""
        if not self.refreshes:
            return "off"
        return "read" if self.reads else "watch"

    @property
    def must_read(self) -> bool:
        """Whether a refresh must read each document, stale or not: there is no change stream, or it is not open.

        Just after the start there is no need: what was loaded is as new as what a stream would have reported. Workers
        read even then, as another worker may have handled an update of the same user milliseconds before.
        """
        if self.reads or self._stream is None or self._stream.is_following:
            return self.reads
        return self._settings.sharing is not None or asyncio.get_running_loop().time() > self._is_new_until

    @property
    def stream(self) -> ChangeStream | None:
        """The change stream, if a refresh relies on it."""
        return None if self.reads or not self.refreshes else self._stream

    @property
    def is_stream_delayed(self) -> bool:
        """Whether the change stream reports others' changes later than usual."""
        return self._stream is not None and self._stream.is_delayed

    def health(self) -> Health:
        """The current state, for `MongoPersistence.health`."""
        return Health(
            connected=not self.availability.is_unreachable,
            refresh=self.refresh_mode,
            reason=self.availability.reason or self._silence(),
            refused=self.writer.refused() + sum(len(scope.unstorable) for scope in self.scopes),
            waiting=sum(one.is_unsaved for one in self.writer.waiting),
            oldest_waiting=self.writer.oldest_waiting(),
            quarantined=sum(len(scope.quarantined) for scope in self.scopes),
            **asdict(self._counters),
        )

    def _silence(self) -> str | None:
        """Why documents wait although the server answers: for example, no majority acknowledges them."""
        waits = self.writer.oldest_waiting()
        if waits < _SILENT or self._settings.on_flush or self.writer.refused():
            return None
        return f"MongoDB has not acknowledged a save for {waits:.0f} s"

    async def drain(self, seconds: float) -> bool:
        """Saves what can be saved; returns whether all of it was tried within the time.

        Args:
            seconds: How long to go on without progress.
        """
        try:
            await wait_at_most(seconds, self.writer.drain(), lambda: self._counters.documents_written)
        except asyncio.TimeoutError:
            return False
        if not self.writer.waiting:
            await self._end_format()
        return True

    async def _end_format(self) -> None:
        """Notes that no request of this process can arrive any more."""
        if self.writer.graves.are_there or self._settings.sharing is not None or self.availability.is_unreachable:
            return
        with contextlib.suppress(PersistenceError, asyncio.TimeoutError):  # the next start then takes precautions
            await wait_at_most(_GOODBYE, stored_format.end(self._driver, self._format, self._name))

    async def close(self) -> None:
        """Ends the tasks, and closes the client if it is ours."""
        if self.leases is not None:
            await self.leases.close()
        if self.marks is not None:
            await self.marks.close(waits=not self.availability.is_unreachable)
        if self._stream is not None:
            await self._stream.close()
        await self.exchange.first_read.close()
        await self.vanishing.close()
        if self._expiry is not None:
            await self._expiry.close(waits=not self.availability.is_unreachable)
        if self.departures is not None:
            await self.departures.close()
        if self.seen is not None:
            await self.seen.close()
        await self.reader.close()
        await self.writer.close()
        await self._driver.close()
