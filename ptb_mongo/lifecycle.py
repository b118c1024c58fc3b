"""When a persistence has a session: the first call that needs one opens it, `flush` closes it, and so on.

PTB does not say whether a `flush` is the last one, or whether a `get_*` belongs to a start. So what is known of the
documents outlives a session: a bot that keeps running after a `flush` continues where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import telegram
from telegram.ext import PersistenceInput

from ptb_mongo.errors import (
    ConfigurationError,
    DocumentError,
    QuarantinedError,
    RefusedError,
    UnavailableError,
    UnsavedDataError,
)
from ptb_mongo.health import Health
from ptb_mongo.log import get_logger
from ptb_mongo.people.forgetting import Forgetting
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import Scopes
from ptb_mongo.session import Session, Unsaved, connect_scopes, scopes_for, spill_folder
from ptb_mongo.settings import Settings, Sharing
from ptb_mongo.sync.exchange import Exchange, Offer
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.sync.spilled import Kept
from ptb_mongo.waiting import wait_at_most

__all__ = ["Lifecycle", "Staged", "raising"]

_LOGGER = get_logger(__name__)
_NAMED_AT_MOST: Final = 5
_LAST_SAVE: Final = 10.0  # seconds: a silence that began longer ago did not begin with PTB's last save
_NOT_STORABLE: Final = "some documents cannot be stored as they are"
_FIRST: Final = 1.0  # seconds without progress after which unsaved data is written to a file

Staged = tuple[Collection[Any], list[Replica], list[DocumentError]]
"""A collection, its documents to write, and the errors of those that cannot be stored."""


class Lifecycle:
    """Opens and closes the sessions of one persistence.

    Args:
        settings: The persistence's settings.
        bot: Returns the bot, once PTB has set it.

    Attributes:
        settings: The persistence's settings.
        session: The open session; `None` if none is open.
        is_running: Whether the bot has handled or saved anything since the session was opened.
        people: Erases people.
    """

    def __init__(self, settings: Settings, bot: Callable[[], telegram.Bot | None]) -> None:
        self.settings = settings
        self.session: Session | None = None
        self.is_running = False
        self._bot = bot
        self.people = Forgetting(lambda: self._scopes, lambda: self.session)
        self._scopes: Scopes | None = None  # kept when a running bot calls `flush`
        self._spilled_to: Path | None = None  # the file with what is still in memory, in case the process ends
        self._opening: asyncio.Lock | None = None
        self._flushing: asyncio.Event | None = None  # set when the flush in progress is over

    def bot_id(self) -> int:
        """The bot's id, which a token begins with; 0 for a persistence that is used without a bot."""
        if self.session is not None:
            return self.session.bot_id
        before_colon = self._token().partition(":")[0] or "0"
        if not before_colon.isdecimal():
            raise ConfigurationError("the bot's token does not begin with a number and a colon")
        return int(before_colon)

    def _token(self) -> str:
        bot = self._bot()
        return bot.token if bot is not None else ""

    @property
    def scopes(self) -> Scopes | None:
        """What is known of the documents, also between two sessions; `None` before the first one."""
        return self._scopes

    def share(self, sharing: Sharing) -> None:
        """Connects this persistence to a worker's application, which may not be the same one as before."""
        self.settings = self.settings.shared(sharing)
        if self._scopes is not None and not self._scopes.are_unsaved:
            self._scopes = None  # the new application has nothing in memory yet
        elif self._scopes is not None:
            connect_scopes(self._scopes, self.settings)

    def health(self) -> Health:
        """The current state, for `MongoPersistence.health`; between two sessions, what the last one has left."""
        if self.session is not None:
            return self.session.health()
        refused = sum(len(scope.unstorable) for scope in self._scopes or ())
        return Health(waiting=len(self._pending()), refused=refused)

    def _pending(self) -> list[Unsaved]:
        scopes = self._scopes or ()
        return [(scope, one) for scope in scopes for one in scope.replicas.in_use() if one.pending is not None]

    # -- opening and closing ----------------------------------------------------------------------------

    async def open(self, loads: PersistenceInput | None = None) -> Session:
        """The open session; opened by the first `get_*`, as PTB has no other hook for the start.

        Args:
            loads: The kinds of data that a start will ask for next.
        """
        if self.session is not None:
            return self.session
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self.session is None:
                if self._scopes is None:
                    if (folder := spill_folder(self.settings, "")) is not None:
                        folder.prepare()
                    self._scopes = scopes_for(self.settings, self._bot())
                self.session = await Session.open(
                    self.settings, self._scopes, self.bot_id(), self._token(), self._spilled_to, loads
                )
                self._spilled_to = None
                self.people.follow(self.session)
            return self.session

    @contextlib.asynccontextmanager
    async def loading(self, kinds: PersistenceInput) -> AsyncIterator[Session]:
        """The open session, which is closed if loading fails: PTB does not call `flush` after a start that failed."""
        self.people.note_application()
        session = await self.open(None if self.is_running else kinds)
        session.exchange.first_read.goes_on()
        try:
            yield session
            session.exchange.first_read.may_be_over()
        except BaseException:
            if not self.is_running and self.session is session:
                self.session = self._opening = None
                session.scopes.told_all()
                await session.close()
            raise

    async def flush(self) -> None:
        """Saves what is unsaved, and closes the session; until then, the session serves a bot that keeps running.

        Raises:
            UnsavedDataError: If something could not be saved for `shutdown_timeout` seconds, or cannot be stored.
        """
        loop = asyncio.get_running_loop()
        ends = self._began(loop.time()) + self.settings.shutdown_timeout
        while self._flushing is not None:  # one called by hand: a stop waits for it, in its own time
            await self._flushing.wait()
        self._flushing = over = asyncio.Event()
        try:
            if self.session is None and self._scopes is not None and self._scopes.are_unsaved:
                await self._open_until(ends)
            if self.session is not None:
                await self._flush(self.session, ends - loop.time())
            else:
                await self._keep((), _NOT_STORABLE)
        finally:
            self._flushing = None
            over.set()

    def _began(self, now: float) -> float:
        """When a stop began: PTB's last save belongs to it, which may have waited in vain for an answer."""
        silent_since = self.session.writer.silent_since if self.session is not None else None
        return now if silent_since is None or now - silent_since > _LAST_SAVE else silent_since

    async def _flush(self, session: Session, seconds: float) -> None:
        try:
            first = min(_FIRST, seconds / 4)
            if not await session.drain(first):
                await self._spill(session.writer.unsaved())  # first, as the process may be killed
                await session.drain(max(seconds - 2 * first, 0))  # as long again is left for closing
            await session.writer.close()  # what was sent from now on would be missing from the file
            await self._conclude(session)
        finally:
            self.session, self._opening, self.is_running = None, None, False
            session.scopes.told_all()  # others' changes go unnoticed from now on
            await session.close()

    async def _open_until(self, ends: float) -> None:
        """Opens a session for what was left when the last one was closed, or was added since.

        Raises:
            UnsavedDataError: If none can be opened in time.
        """

        async def attempt() -> None:
            await self.open()

        def failed(error: BaseException) -> None:
            _LOGGER.warning("MongoDB cannot be opened for what is unsaved; it is tried again: %s", error)

        try:
            await wait_at_most(ends - asyncio.get_running_loop().time(), retry_forever(attempt, failed))
        except asyncio.TimeoutError:
            if self.session is not None:
                return  # it was opened just now
            await self._keep(self._pending(), f"MongoDB did not come back within {self.settings.shutdown_timeout:g} s")

    async def _conclude(self, session: Session) -> None:
        """Keeps what is not saved for the next start.

        Raises:
            UnsavedDataError: Names it, and what cannot be stored.
        """
        unsaved, seconds = session.writer.unsaved(), self.settings.shutdown_timeout
        if session.availability.is_unreachable:
            why = f"MongoDB did not come back within {seconds:g} s"
        elif session.availability.refusals:
            why = str(session.availability.reason)
        elif all(replica.is_refused for _, replica in unsaved):
            why = _NOT_STORABLE
        else:
            why = f"MongoDB saved nothing more within {seconds:g} s"
        await self._keep(unsaved, why)

    async def _keep(self, unsaved: Sequence[Unsaved], why: str) -> None:
        """Keeps what is not saved for the next start, if there is a folder for that.

        Raises:
            UnsavedDataError: Names it, and what cannot be stored.
        """
        kept = await self._spill(unsaved)
        named = {replica for _, replica in unsaved}
        found = [(one, error) for scope in self._scopes or () for one, error in scope.unstorable.items()]
        unstorable = [error for one, error in found if one not in named]
        # Documents that cannot be read have been reported, and may stay so for long: each stop would end with an error.
        if quarantined := [error for error in unstorable if isinstance(error, QuarantinedError)]:
            _LOGGER.error("Changes that are lost: %s", _listed(map(str, quarantined)))
        unstorable = [error for error in unstorable if error not in quarantined]
        if not unsaved and not unstorable:
            return
        parts = [why]
        if unsaved:
            parts.append(f"documents not saved: {len(unsaved)} ({_listed(map(_named, unsaved))}); {kept.sentence}")
        if unstorable:
            parts.append(f"changes that cannot be stored and are lost: {_listed(map(str, unstorable))}")
        raise UnsavedDataError("; ".join(parts)) from kept.error

    async def _spill(self, unsaved: Sequence[Unsaved]) -> Kept:
        """Writes what is unsaved to a file, which replaces the last one."""
        folder = spill_folder(self.settings, uuid.uuid4().hex[:12])
        if folder is None:
            return Kept(None, "they are lost (spill_dir would keep them)")
        if unsaved:
            writer = self.session.writer.last_rev if self.session is not None else ""
            kept = await folder.keep(unsaved, self._spilled_to, writer=writer)
            self._spilled_to = kept.path
            return kept
        if self._spilled_to is not None:
            folder.forget(self._spilled_to)
            self._spilled_to = None
        return Kept(None, "")

    def runs(self) -> None:
        """Notes that the bot handles updates, or saves."""
        self.is_running = True
        if self.session is not None:
            self.session.begin()

    async def spill_again(self) -> None:
        """Rewrites the file of unsaved data, if there is one, because somebody was erased."""
        if self._spilled_to is not None:
            await self._spill(self._pending())

    # -- saving -----------------------------------------------------------------------------------------

    def save(self, stage: Callable[[Scopes], Staged]) -> Coroutine[Any, Any, None]:
        """Takes data to be saved at once; the returned coroutine waits until it is saved.

        Args:
            stage: Takes the data.
        """
        self.runs()
        if self._scopes is None:
            return self._stage_and_save(stage)
        try:
            collection, replicas, errors = stage(self._scopes)
        except Exception as error:  # noqa: BLE001  (PTB calls this for all users in one loop)
            return raising(error)
        if self.session is None:
            return self._save_staged(collection, replicas, errors)
        offers = [self.session.exchange.offer(collection, replica) for replica in replicas]
        return Exchange.outcomes(offers, errors)

    async def _stage_and_save(self, stage: Callable[[Scopes], Staged]) -> None:
        session = await self.open()
        self.runs()
        await self._save_staged(*stage(session.scopes))

    async def _save_staged(
        self, collection: Collection[Any], replicas: list[Replica], errors: list[DocumentError]
    ) -> None:
        """Saves what was staged while no session was open; if none can be opened now, it is kept for the next time."""
        offers: list[Offer | None] = []
        try:
            session = await self.open()
            session.begin()
            offers = [session.exchange.offer(collection, replica) for replica in replicas]
        except (UnavailableError, RefusedError) as error:
            _LOGGER.warning("MongoDB cannot be opened; changes are kept and will be saved when it can: %s", error)
        await Exchange.outcomes(offers, errors)

    # -- refreshing -------------------------------------------------------------------------------------

    async def refresh(
        self, scope_of: Callable[[Scopes], DataScope[Any]], key: int, live: Any, *, is_private: bool = False
    ) -> None:
        """Brings what others have changed into a live object.

        Args:
            scope_of: Gives the scope.
            key: The user's, chat's or bot's id.
            live: The object.
            is_private: Whether the data of the user with the same id is refreshed next.
        """
        self.runs()
        session, scopes = self.session, self._scopes
        if scopes is None or self.settings.refresh == "off":
            return
        if session is None:  # because a running bot has called `flush`
            scope_of(scopes).see(key, live)  # before anything is awaited, as PTB may create a new one meanwhile
            try:
                session = await self.open()
            except (UnavailableError, RefusedError) as error:
                scope_of(scopes).go_on(key, error)
                return
            session.begin()
        beside = session.scopes.user_data if is_private else None
        await session.exchange.refresh(scope_of(session.scopes), key, live, read=session.must_read, beside=beside)


def _named(unsaved: Unsaved) -> str:
    collection, replica = unsaved
    if replica.is_refused and replica.refusal is not None:
        return str(replica.refusal.error)
    return f"{collection.collection} {replica.id!r}"


def _listed(names: Iterable[str]) -> str:
    """The first few names."""
    first = list(islice(names, _NAMED_AT_MOST + 1))
    return ", ".join([*first[:_NAMED_AT_MOST], *(["..."] if len(first) > _NAMED_AT_MOST else [])])


async def raising(error: Exception) -> None:
    """Raises an error only when awaited: PTB starts the saves of all users in one loop."""
    raise error
