"""A client and one of its databases: each command has a deadline, whoever created the client, with whatever options.

A client of our own whose user the server no longer knows is replaced: the connections of a pool are logged in once,
when they are opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import pymongo
from pymongo.errors import PyMongoError

from ptb_mongo.driver import codes
from ptb_mongo.driver.failures import translated
from ptb_mongo.driver.motor import is_motor
from ptb_mongo.driver.options import database_options
from ptb_mongo.errors import PersistenceError, RefusedError, UnavailableError
from ptb_mongo.log import get_logger
from ptb_mongo.waiting import awaited, wait_at_most

__all__ = ["DEADLINE", "Connection"]

T = TypeVar("T")

_LOGGER = get_logger(__name__)

DEADLINE: Final = 10.0
"""Seconds after which we stop waiting for an answer: the connection may be half-open."""
_RELIED_ON: Final = 10.0  # seconds: a client's own time limit up to this needs none of ours in addition
_DRIVERS: Final = 0.9  # the part of our deadline after which the driver gives up, and can say why
_BORROWED: Final = (
    "a client whose user was dropped and made again stays logged out: restart the bot, or pass a connection string, "
    "whose client is replaced by itself"
)
_CLOSING: Final = 0.5  # seconds that closing a client may take, as it ends its sessions on the server
_FIRST_RENEWAL: Final = 0.5  # seconds after which a login that was renewed in vain is renewed again
_LAST_RENEWAL: Final = 60.0


class Connection:
    """A client and one of its databases.

    Args:
        client: The client.
        database: The database's name.
        owned: Whether the client is ours.
        renew: Creates another client like this one; `None` if that is not possible.

    Attributes:
        client: The client in use.
        database: The database, for commands without a deadline.
    """

    def __init__(
        self, client: Any, database: str, *, owned: bool, renew: Callable[[], Awaitable[Any]] | None = None
    ) -> None:
        self._name = database
        self._owned = owned
        self._renew = renew
        self._renew_at: float | None = None
        self._pause = _FIRST_RENEWAL
        self._use(client)

    def _use(self, client: Any) -> None:
        self.client = client
        # Cancelling closes a connection of PyMongo's client; with Motor's, one of its few threads would keep waiting.
        pool = client.options.pool_options
        limit = pool.socket_timeout if is_motor(client) else _RELIED_ON
        self._may_wait_for_ever = not limit or limit > _RELIED_ON
        self.database = client.get_database(self._name, **database_options(client))

    async def run(self, attempt: Callable[[Any], Awaitable[T]], *, awaits: bool = False) -> T:
        """The result of a command.

        Args:
            attempt: Sends the command to the database that it gets.
            awaits: Whether the command itself says how long the server may wait for something to happen.

        Raises:
            UnavailableError: If no server answers in time: the command may have been done.
            RefusedError: If the server refuses it.
        """
        await self._renew_if_due()
        try:
            with translated():
                return await wait_at_most(DEADLINE, self._limited(attempt, awaits=awaits))
        except asyncio.TimeoutError as error:
            raise UnavailableError(f"no answer for {DEADLINE:g} s") from error
        except RefusedError as error:
            if self._renew is None and codes.LOGGED_OUT in str(error):
                raise RefusedError(f"{error}; {_BORROWED}", error.code) from error
            self._note(error)
            raise

    async def each(
        self, iterate: Callable[[Any], AsyncIterator[T]], *, awaits: bool = False
    ) -> AsyncGenerator[T, None]:
        """The results of a command that answers in steps, each with its own deadline; see `run`.

        None of them may be `None`.
        """

        async def begun(database: Any) -> AsyncIterator[T]:
            return iterate(database)

        iterator = await self.run(begun, awaits=awaits)

        async def following(_: Any) -> T | None:
            return await anext(iterator, None)

        try:
            while (result := await self.run(following, awaits=awaits)) is not None:
                yield result
        finally:
            if (closing := getattr(iterator, "aclose", None)) is not None:
                with contextlib.suppress(PyMongoError):
                    await closing()

    async def _limited(self, attempt: Callable[[Any], Awaitable[T]], *, awaits: bool) -> T:
        # PyMongo's timeout would replace the time that a command gives the server: a quiet change stream would answer,
        # and could be ended, only after nine seconds. So its thread is abandoned instead, until the operating system
        # notices that the connection is dead.
        if awaits or not self._may_wait_for_ever:
            return await attempt(self.database)
        with pymongo.timeout(_DRIVERS * DEADLINE):
            return await attempt(self.database)

    # -- logging in again -------------------------------------------------------------------------------

    def _note(self, error: RefusedError) -> None:
        if self._renew is not None and self._renew_at is None and codes.is_login_lost(error.code):
            loop = asyncio.get_running_loop()
            self._renew_at = loop.time() + self._pause
            self._pause = min(2 * self._pause, _LAST_RENEWAL)

    async def _renew_if_due(self) -> None:
        """Replaces the client if the server refuses it: its connections may not be logged in any more."""
        if self._renew is None or self._renew_at is None or asyncio.get_running_loop().time() < self._renew_at:
            return
        self._renew_at = None
        with contextlib.suppress(PersistenceError):
            client, old = await self._renew(), self.client
            self._use(client)
            await _close(old)

    async def close(self) -> None:
        """Closes the client if it is ours."""
        if self._owned:
            await _close(self.client)


async def _close(client: Any) -> None:
    """Closes a client, without waiting for a server that is frozen."""
    if not is_motor(client):
        closing = client.close()
        if inspect.isawaitable(closing):
            with contextlib.suppress(asyncio.TimeoutError, PyMongoError):
                await wait_at_most(_CLOSING, awaited(closing))
        return
    # Motor closes on the event loop. The end of the loop would wait for a thread of the loop's executor.
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        try:
            client.close()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop may have ended
                loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=close, name="ptb_mongo closing", daemon=True).start()
    with contextlib.suppress(asyncio.TimeoutError):
        await wait_at_most(_CLOSING, closed.wait())
