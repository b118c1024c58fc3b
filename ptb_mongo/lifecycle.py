"""What a persistence has open, and when: opened by the first call that needs it, closed by `flush`, and opened again.

PTB does not say whether a `flush` is the last one, nor whether a `get_*` belongs to a start. So what is known of the
documents outlives a session: a bot that goes on after a `flush` continues where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import telegram

from ptb_mongo.errors import ConfigurationError, DocumentError, UnavailableError, UnsavedDataError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import Scopes
from ptb_mongo.session import Session, scopes_for
from ptb_mongo.settings import Settings
from ptb_mongo.sync.exchange import Exchange, Offer

__all__ = ["Lifecycle", "Staged"]

_LOGGER = logging.getLogger(__name__)

Staged = tuple[Collection[Any], list[Replica], list[DocumentError]]
"""What is to be written into a collection, and what cannot be stored."""


class Lifecycle:
    """Opens and closes the sessions of one persistence.

    Args:
        settings: What the persistence was made with.
        bot: Gives the bot, once PTB has told of it.

    Attributes:
        settings: What the persistence was made with.
        session: What is open; `None` if nothing is.
        is_running: Whether updates were handled since it was opened.
    """

    def __init__(self, settings: Settings, bot: Callable[[], telegram.Bot | None]) -> None:
        self.settings = settings
        self.session: Session | None = None
        self.is_running = False
        self._bot = bot
        self._scopes: Scopes | None = None  # kept when a running bot calls `flush`
        self._spilled_to: Path | None = None  # what is still known here, for the case that the process ends
        self._opening: asyncio.Lock | None = None

    def bot_id(self) -> int:
        """The bot's id, which a token begins with; 0 for a persistence that is used without a bot."""
        bot = self._bot()
        before_colon = bot.token.partition(":")[0] if bot is not None else "0"
        if not before_colon.isdecimal():
            raise ConfigurationError("the bot's token does not begin with a number and a colon")
        return int(before_colon)

    # -- opening and closing ----------------------------------------------------------------------------

    async def open(self) -> Session:
        """The open session; opened by the first `get_*`, as PTB has no other hook for the start."""
        if self.session is not None:
            return self.session
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self.session is None:
                if self._scopes is None:
                    self._scopes = scopes_for(self.settings, self._bot())
                self.session = await Session.open(self.settings, self._scopes, self.bot_id(), self._spilled_to)
                self._spilled_to = None
            return self.session

    @contextlib.asynccontextmanager
    async def loading(self) -> AsyncIterator[Session]:
        """The open session, which is closed if loading fails: PTB does not call `flush` after a start that failed."""
        session = await self.open()
        try:
            yield session
        except BaseException:
            if not self.is_running and self.session is session:
                self.session = self._opening = None
                session.scopes.told_all()
                await session.close()
            raise

    async def flush(self) -> None:
        """Saves what is unsaved, and closes the session.

        Raises:
            UnsavedDataError: If the server is unreachable and does not come back within `shutdown_timeout`.
        """
        session = self.session
        if session is None and self._scopes is not None and self._scopes.are_unsaved:
            try:
                session = await self.open()
            except UnavailableError as error:
                raise UnsavedDataError(f"changes since the last flush are not saved: {error}") from error
        if session is None:
            return
        self.session, self._opening, self.is_running = None, None, False
        try:
            await session.flush()
        finally:
            self._spilled_to = session.spilled_to
            session.scopes.told_all()  # changes of others go unnoticed from now on
            await session.close()

    # -- saving -----------------------------------------------------------------------------------------

    def save(self, stage: Callable[[Scopes], Staged]) -> Coroutine[Any, Any, None]:
        """Takes data to be saved, now; what it returns waits until it is saved.

        Args:
            stage: Takes the data.
        """
        self.is_running = True
        if self._scopes is None:
            return self._stage_and_save(stage)
        try:
            collection, replicas, errors = stage(self._scopes)
        except Exception as error:  # noqa: BLE001  (PTB calls this for all users in one loop)
            return _raising(error)
        if self.session is None:
            return self._save_staged(collection, replicas, errors)
        offers = [self.session.exchange.offer(collection, replica) for replica in replicas]
        return Exchange.outcomes(offers, errors)

    async def _stage_and_save(self, stage: Callable[[Scopes], Staged]) -> None:
        session = await self.open()
        self.is_running = True
        await self._save_staged(*stage(session.scopes))

    async def _save_staged(
        self, collection: Collection[Any], replicas: list[Replica], errors: list[DocumentError]
    ) -> None:
        """Saves what was taken while no session was open; if none can be opened now, it is kept for the next time."""
        offers: list[Offer | None] = []
        try:
            session = await self.open()
            offers = [session.exchange.offer(collection, replica) for replica in replicas]
        except UnavailableError as error:
            _LOGGER.warning("MongoDB is unreachable; changes are kept and will be saved when it is back: %s", error)
        await Exchange.outcomes(offers, errors)

    # -- refreshing -------------------------------------------------------------------------------------

    async def refresh(self, scope_of: Callable[[Scopes], DataScope[Any]], key: int, live: Any) -> None:
        """Brings what others have changed into a live object.

        Args:
            scope_of: Gives the scope.
            key: The user's, chat's or bot's id.
            live: The object.
        """
        self.is_running = True
        session, scopes = self.session, self._scopes
        if scopes is None or self.settings.refresh == "off":
            return
        if session is None:  # since a running bot called `flush`
            try:
                session = await self.open()
            except UnavailableError:
                replica = scope_of(scopes).replicas.get(key)
                if replica is None or replica.is_loaded:
                    return
                raise
        await session.exchange.refresh(scope_of(session.scopes), key, live, read=session.reads)


async def _raising(error: Exception) -> None:
    raise error
