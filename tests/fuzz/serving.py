"""What the bots of `bot_layer` do for their users: the neighbour must be served, and strangers may stumble."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from bot_case import BotCase
from hostile_documents import STRANGERS
from neighbours import DATA, OTHER, Talking, serves_the_neighbour
from offline import BOT_ID
from workers import SharedBot, text

from ptb_mongo.errors import DocumentError, PersistenceError

__all__ = ["Alone", "Shared"]

_TO_SERVE: Final = 300.0  # seconds of one update: one with megabytes of objects takes many on a busy machine


class Alone:
    """A bot alone."""

    def __init__(self, bot: Talking, database: Any, case: BotCase, number: Callable[[], int]) -> None:
        self._bot = bot
        self._database = database
        self._case = case
        self._next = number

    @property
    def state(self) -> int:
        """That of the neighbour's conversation."""
        return (self._bot.states[-1] or 0) % 99 + 1

    async def neighbour(self) -> Any:
        """Serves the neighbour; returns the state in which their conversation was."""
        self._bot.states.clear()
        await serves_the_neighbour(self._bot, self._database, self._next())
        persistence = self._bot.persistence
        assert OTHER in [user async for user in persistence.user_ids()]
        loaded = await persistence.get_user_data()  # as for statistics, of a bot that runs
        assert OTHER in loaded or self._case.loading == "lazy"
        return self._bot.states[0]

    async def strangers(self) -> None:
        """Serves the strangers; whatever their handlers stumble over is their own trouble."""
        before = len(self._bot.errors)
        for stranger in STRANGERS:
            await self._bot.hears(lambda context: context.user_data.update(new=self._case.stored), user=stranger)
        await self._bot.saves()
        for error in self._bot.errors[before:]:
            if isinstance(error, PersistenceError):
                assert isinstance(error, DocumentError), repr(error)
                assert error.document_id not in (OTHER, BOT_ID), str(error)
        del self._bot.errors[before:]


class Shared:
    """One of several workers."""

    def __init__(
        self, bot: SharedBot, database: Any, case: BotCase, number: Callable[[], int], held: list[Any]
    ) -> None:
        self._bot = bot
        self._database = database
        self._case = case
        self._next = number
        self._held = held

    @property
    def state(self) -> int:
        """That of the neighbour's conversation."""
        return (self._held[-1] or 0) % 99 + 1

    async def _deliver(self, user: int, act: Callable[[Any], Any]) -> None:
        update = text(user=user)
        await asyncio.wait_for(self._bot.delivers(update, lambda _, context: act(context)), _TO_SERVE)

    async def neighbour(self) -> Any:
        """Serves the neighbour; returns the state in which their conversation was."""
        self._held.clear()
        number = self._next()
        for scope in DATA:
            found = {"_id": BOT_ID if scope == "bot_data" else OTHER}
            self._database[scope].update_one(found, {"$set": {"data.edit": number}})
        seen: list[Any] = []
        for _ in range(1000):
            await self._deliver(OTHER, lambda context: _note(context, number, seen))
            if seen[-1] == [number] * 3:
                break
            await asyncio.sleep(0.002)  # the change stream has no event that a test could wait for
        assert seen[-1] == [number] * 3, seen[-1]
        for scope in DATA:
            stored = self._database[scope].find_one({"_id": BOT_ID if scope == "bot_data" else OTHER}, {"data": 1})
            assert stored["data"] == {"name": "Ada", "edit": number, "n": number}
        state = self._database.conversations.find_one({"_id": {"handler": "order", "key": [OTHER, OTHER]}})
        assert state["state"] == self.state
        return self._held[0]

    async def strangers(self) -> None:
        """Serves the strangers."""
        for stranger in STRANGERS:
            with contextlib.suppress(PersistenceError):
                await self._deliver(stranger, lambda context: context.user_data.update(new=self._case.stored))
        self._bot.errors.clear()


def _note(context: Any, number: int, seen: list[Any]) -> None:
    every = (context.user_data, context.chat_data, context.bot_data)
    seen.append([data.get("edit") for data in every])
    for data in every:
        data["n"] = number
