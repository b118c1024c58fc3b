"""A bot for tests: an application without network, whose handlers do what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from offline import message_from, offline_application
from telegram.ext import Application, CallbackContext, MessageHandler, filters

from ptb_mongo import MongoPersistence

USER = 42


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for what happens in the background, which offers no event."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def turns(number: int = 20) -> None:
    """Lets the event loop do what can be done without waiting."""
    for _ in range(number):
        await asyncio.sleep(0)


class Bot:
    """An application on a persistence, whose handlers do what a test asks for."""

    def __init__(self, persistence: MongoPersistence[Any, Any, Any], **builder: Any) -> None:
        self.persistence = persistence
        self.errors: list[BaseException] = []
        self.application: Application[Any, Any, Any, Any, Any, Any] = offline_application(
            persistence, MessageHandler(filters.ALL, self._handle), **builder
        )
        self.application.add_error_handler(self._note)
        self._act: Callable[[CallbackContext[Any, Any, Any, Any]], Any] = lambda _: None

    async def _handle(self, _: object, context: CallbackContext[Any, Any, Any, Any]) -> None:
        self._act(context)

    async def _note(self, _: object, context: CallbackContext[Any, Any, Any, Any]) -> None:
        if context.error is not None:
            self.errors.append(context.error)

    async def hears(self, act: Callable[[Any], Any] = lambda _: None, user: int = USER) -> Any:
        """One update of a user; `act` is what the handler does."""
        self._act = act
        await self.application.process_update(message_from(user))
        return self.application.user_data[user]

    async def saves(self) -> None:
        """One save pass, as PTB makes it every `update_interval` seconds."""
        await self.application.update_persistence()

    async def sees(self, condition: Callable[[Any], bool], user: int = USER) -> Any:
        """Handles updates until what the user's data is expected to be is there."""
        for _ in range(1500):
            data = await self.hears(user=user)
            if condition(data):
                return data
            await asyncio.sleep(0.002)  # the change stream has no event that a test could wait for
        raise AssertionError(f"not seen: {data!r}")
