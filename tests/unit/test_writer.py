"""The writer and the reader, with a fake server: situations that a real one cannot reproduce on time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bots import until

from ptb_mongo.codec import Codec, dump
from ptb_mongo.driver import ByIds
from ptb_mongo.driver.operations import Failure, Update
from ptb_mongo.errors import UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.writer import Writer

USER = 1


class Server:
    """The primary of a replica set with one document; the first write waits for a test."""

    may_roll_back = True

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"_id": USER, "data": {"x": 0}, "rev": "other:1"}
        self.asked = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def hello(self) -> dict[str, Any]:
        return {}

    async def raw_documents(self, wanted: Sequence[ByIds], *, lasting: bool = False) -> list[list[bytes]]:
        return [[dump(self.document)] for _ in wanted]

    async def write(self, _: str, operations: Sequence[Update]) -> dict[int, Failure]:
        (operation,) = operations
        if not self.asked.is_set():
            self.asked.set()
            await self.goes_on.wait()
            # It is done, then another worker writes; as the answer counts too few, the document is looked at.
            data = {**self.document["data"], "x": 1, "y": 1}
            self.document = {"_id": USER, "data": data, "rev": "another:1", "revs": [operation.rev, "other:1"]}
            return {0: Failure("changed", outdated=True)}
        if operation.guard["rev"] != self.document["rev"]:
            return {0: Failure("changed", outdated=True)}
        changes: Any = operation.changes
        for path, value in changes.sets:
            self.document["data"][path[-1]] = value
        self.document["rev"] = operation.rev
        return {}


class Bot:
    """A writer, and a user's data."""

    def __init__(self, server: Server, *, held: bool = False) -> None:
        driver: Any = server
        counters = Counters()
        self.availability = Availability(counters)
        self.reader = Reader(driver, self.availability)
        self.writer = Writer(driver, self.reader, "bot", self.availability, counters, held=held)
        self.scope: DataScope[Any] = DataScope("user_data", "user_data", Codec(), counters, new=dict)
        list(self.scope.attached([dump(server.document)]))

    @property
    def replica(self) -> LiveReplica:
        return self.scope.replicas[USER]

    def saves(self, **changes: Any) -> None:
        self.replica.live.update(changes)
        if (staged := self.scope.stage(USER, dict(self.replica.live))) is not None:
            self.writer.submit(self.scope, staged)

    async def close(self) -> None:
        await self.reader.close()
        await self.writer.close()


async def test_what_is_changed_back_while_a_write_is_done_whose_answer_does_not_say_so_is_written() -> None:
    server = Server()
    bot = Bot(server)
    bot.saves(x=1)
    await server.asked.wait()
    bot.saves(x=0)
    server.goes_on.set()

    await until(lambda: not bot.writer.waiting)

    assert server.document["data"] == {"x": 0, "y": 1}
    await bot.close()


async def test_what_is_kept_until_the_stop_is_not_written_when_a_server_is_back() -> None:
    server = Server()
    bot = Bot(server, held=True)
    bot.saves(x=1)
    bot.availability.mark_unreachable(UnavailableError("nobody answers"))

    await until(lambda: not bot.availability.is_unreachable)
    await until(lambda: bot.writer._task is None or bot.writer._task.done())

    assert not server.asked.is_set()
    assert bot.writer.waiting
    await bot.close()


async def test_nobody_waits_for_a_save_whose_task_was_cancelled() -> None:
    """As `asyncio.run` cancels all tasks when its own has ended, and then waits for them."""
    server = Server()
    bot = Bot(server)
    bot.saves(x=1)
    await server.asked.wait()
    bot.replica.live.update(x=2)
    staged = bot.scope.stage(USER, dict(bot.replica.live))
    assert staged is not None
    ticket = bot.writer.submit(bot.scope, staged)  # for the batch after the one that waits for the server
    assert ticket is not None
    waiting = asyncio.ensure_future(ticket.outcome(staged))

    running = bot.writer._task
    assert running is not None
    running.cancel()

    await waiting
    assert not ticket.acknowledged
    assert bot.writer.waiting
    await bot.close()
