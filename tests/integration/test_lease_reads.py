"""A lease is requested and its protected data read at the same time; handlers see nothing older than the lease.

The kind: the previous holder's write overtakes the read. Also, the release, which nobody waits for at the end of an
update, is not lost when a worker stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bots import until
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import USER, SharedBot, running

from ptb_mongo import MongoPersistence
from ptb_mongo.driver import Driver
from ptb_mongo.sync.leases import Leases

KEY = f"user:{USER}"


@pytest.fixture
def worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    def make(handlers: Any = ()) -> SharedBot:
        return SharedBot(mongo_persistence(), handlers, exclusive=True)

    return make


def put(number: int) -> Callable[[Any], None]:
    return lambda context: context.user_data.update(n=number)


class Watched:
    """What one worker reads, and a gate for its requests for leases."""

    def __init__(self, bot: SharedBot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.read = asyncio.Event(), asyncio.Event()
        self.reads: list[list[str]] = []
        driver: Any = bot.persistence.session._driver
        update_each, raw_documents = driver.update_each, driver.raw_documents

        async def held(collection: str, updates: Any, **options: Any) -> Any:
            if collection == "leases" and options.get("upsert"):
                await self.gate.wait()
            return await update_each(collection, updates, **options)

        async def noted(wanted: Any, **options: Any) -> Any:
            found = await raw_documents(wanted, **options)
            self.reads.append([one.collection for one in wanted])
            self.read.set()
            return found

        monkeypatch.setattr(driver, "update_each", held)
        monkeypatch.setattr(driver, "raw_documents", noted)


async def test_what_was_read_before_the_lease_was_acquired_is_read_again(worker, database, monkeypatch):
    one, two = worker(), worker()
    async with running(one, two):
        await two.hears(put(1))
        monkeypatch.setattr("ptb_mongo.replica.collection.Collection.told", lambda *_, **__: None)  # it may be late
        watched = Watched(two, monkeypatch)
        seen: list[int] = []
        hearing = asyncio.create_task(two.hears(lambda context: seen.append(context.user_data["n"])))
        await watched.read.wait()

        await one.hears(put(2))
        await until(lambda: database.leases.count_documents({}) == 0)
        watched.gate.set()
        await hearing

        assert seen == [2]
        assert len(watched.reads) == 2


async def test_what_is_read_under_the_lease_is_read_once(worker, monkeypatch):
    bot = worker()
    async with running(bot):
        await bot.hears(put(1))
        monkeypatch.setattr("ptb_mongo.sync.leases._HEAD_START", 10)  # until the server has answered
        watched = Watched(bot, monkeypatch)
        watched.gate.set()

        await bot.hears(put(2))

        assert watched.reads == [["leases", "user_data", "chat_data", "bot_data"]]


@pytest.mark.parametrize("holder", [7, None, {"$regex": "."}, [KEY], "x" * 100_000], ids=repr)
async def test_a_holder_that_others_have_written_is_nobody(worker, database, monkeypatch, holder):
    bot = worker()
    async with running(bot):
        await bot.hears(put(1))
        await until(lambda: database.leases.count_documents({}) == 0)
        watched = Watched(bot, monkeypatch)
        database.leases.insert_one({"_id": KEY, "holder": holder})
        hearing = asyncio.create_task(bot.hears(put(2)))
        await watched.read.wait()
        watched.gate.set()

        await hearing

        assert len(watched.reads) == 2
        assert database.user_data.find_one(USER)["data"] == {"n": 2}


async def test_with_a_conversation_the_lease_comes_first(worker, monkeypatch):
    talk: Any = ConversationHandler(
        [MessageHandler(filters.ALL, lambda *_: asyncio.sleep(0))], {}, [], name="talk", persistent=True
    )
    bot = worker([talk])
    async with running(bot):
        watched = Watched(bot, monkeypatch)
        watched.gate.set()

        await bot.hears()

        assert all("leases" not in collections for collections in watched.reads)


async def test_an_update_whose_early_read_fails_is_handled_on_what_is_read_then(worker, monkeypatch):
    bot = worker()
    async with running(bot):
        await bot.hears(put(1))
        refresh, failed = bot.persistence.session.reader.refresh, []

        async def fails_once(*args: Any, **options: Any) -> None:
            if not failed:
                failed.append(True)
                raise RuntimeError
            await refresh(*args, **options)

        monkeypatch.setattr(bot.persistence.session.reader, "refresh", fails_once)

        assert await bot.hears(put(2)) == {"n": 2}
        assert failed == [True]


async def test_an_update_does_not_wait_until_its_lease_is_released_but_a_stop_does(worker, database, monkeypatch):
    gate, release = asyncio.Event(), Leases._release_together

    async def held(self: Leases, several: Any) -> None:
        await gate.wait()
        await release(self, several)

    monkeypatch.setattr(Leases, "_release_together", held)
    bot = worker()
    async with running(bot):
        await bot.hears(put(1))
        assert database.leases.count_documents({}) == 1
        asyncio.get_running_loop().call_later(0.1, gate.set)

    assert gate.is_set()
    assert database.leases.count_documents({}) == 0
    assert database.user_data.find_one(USER)["data"] == {"n": 1}


async def test_a_request_for_a_lease_that_fails_leaves_no_read_behind(worker, monkeypatch):
    bot = worker()
    async with running(bot):
        before = asyncio.all_tasks()

        async def fails(*_: Any, **__: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(Driver, "update_each", fails)
        with pytest.raises(RuntimeError):
            async with bot.persistence.session.leases.hold([KEY], 1, asyncio.sleep):
                pass

        assert not [task for task in asyncio.all_tasks() - before if "read" in repr(task.get_coro())]
        monkeypatch.undo()
