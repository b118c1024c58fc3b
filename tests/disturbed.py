"""A bot with a disturbed connection to the server: the disturbances, and what the bot writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from bots import USER, Bot
from proxy_process import ProxyProcess

CONVERSATION = {"handler": "order", "key": [USER, USER]}
READS = ["find", "aggregate"]
WRITES = ["insert", "update", "delete"]
ALWAYS = float("inf")


class Traffic:
    """The proxy between the bot and the server, in a process of its own: a client may block the event loop."""

    def __init__(self, process: ProxyProcess) -> None:
        self._process = process
        self.uri = process.uri

    async def does(self, *methods: str, **arguments: Any) -> Any:
        """Calls methods of the proxy; the last one gets the arguments."""
        result = None
        for method in methods:
            more = arguments if method == methods[-1] else {}
            result = await asyncio.to_thread(self._process.call, method, **more)
        return result

    async def calm(self) -> None:
        """Disturbs nothing any more."""
        await self.does("forget_rules", "discard", "forward")


@contextlib.contextmanager
def soon_given_up() -> Iterator[None]:
    """Commands that are sent here have 1.5 seconds; all others keep their 10, as a busy machine is no outage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptb_mongo.driver.connection.DEADLINE", 1.5)
        yield


@dataclass
class Thing:
    """A document that a bot writes, and a service edits.

    Attributes:
        field: Where in the document the bot's value is.
        write: Stores a number in it.
        end: Deletes it.
        is_refreshed: Whether the bot sees others' edits of it while it runs.
    """

    collection: str
    id: Any
    field: str
    write: Callable[[Bot, int], Awaitable[None]]
    end: Callable[[Bot], Awaitable[None]]
    is_refreshed: bool = False

    def stored(self, database: Any) -> Any:
        """The bot's value in the database; `None` if there is none."""
        found = database[self.collection].find_one({"_id": self.id}) or {}
        for name in self.field.split("."):
            found = found[0] if isinstance(found, list) else found.get(name, {})
        return found or None


async def write_user(bot: Bot, number: int) -> None:
    bot.application.user_data[USER]["n"] = number
    bot.application.mark_data_for_update_persistence(user_ids=USER)
    await bot.saves()


async def drop_user(bot: Bot) -> None:
    bot.application.drop_user_data(USER)
    await bot.saves()


async def write_state(bot: Bot, number: int) -> None:
    await bot.persistence.update_conversation("order", (USER, USER), {"n": number})


async def end_conversation(bot: Bot) -> None:
    await bot.persistence.update_conversation("order", (USER, USER), None)


async def write_keyboard(bot: Bot, number: int) -> None:
    await bot.persistence.update_callback_data(([("keyboard", float(number), {"button": {"n": 0}})], {}))


async def end_keyboard(bot: Bot) -> None:
    await bot.persistence.update_callback_data(([], {}))


THINGS = {
    "user": Thing("user_data", USER, "data", write_user, drop_user, is_refreshed=True),
    "conversation": Thing("conversations", CONVERSATION, "state", write_state, end_conversation),
    "keyboard": Thing("callback_data", "keyboard", "objects.0", write_keyboard, end_keyboard),
}
