"""Several workers of one bot see each other's data, update by update."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from bots import until
from workers import USER, running

from ptb_mongo.driver import Driver, Events

MODES = [("stream", "eager"), ("stream", "lazy"), ("strict", "eager"), ("strict", "lazy")]


def put(**values: Any) -> Callable[[Any], None]:
    return lambda context: context.user_data.update(values)


@pytest.mark.parametrize(("consistency", "loading"), MODES)
async def test_what_an_update_changes_is_stored_when_it_is_over(worker, database, consistency, loading):
    bot = worker(consistency, loading=loading)
    async with running(bot):

        def act(context: Any) -> None:
            context.user_data["name"] = "Ada"
            context.chat_data["topic"] = "tea"
            context.bot_data["count"] = 1

        await bot.hears(act)

        assert database.user_data.find_one(USER)["data"] == {"name": "Ada"}
        assert database.chat_data.find_one(USER)["data"] == {"topic": "tea"}
        assert database.bot_data.find_one()["data"] == {"count": 1}


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_with_strict_an_update_sees_what_another_worker_has_just_saved(worker, loading):
    one, two = worker(loading=loading), worker(loading=loading)
    async with running(one, two):
        for number in range(20):
            await one.hears(lambda context: context.user_data.update(n=context.user_data.get("n", 0) + 1))
            await two.hears(lambda context: context.user_data.update(n=context.user_data.get("n", 0) + 1))
            assert two.application.user_data[USER] == {"n": 2 * number + 2}


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_with_stream_an_update_sees_what_another_worker_has_saved_as_soon_as_the_stream_tells(worker, loading):
    one, two = worker("stream", loading=loading), worker("stream", loading=loading)
    async with running(one, two):
        await two.hears()
        await one.hears(put(name="Ada"))
        scope = two.persistence.session.scopes.user_data
        await until(lambda: scope.outdated(USER, read=False) is not None)

        assert await two.hears() == {"name": "Ada"}


async def test_with_stream_nothing_is_read_where_nothing_has_changed(worker, database):
    bot = worker("stream")
    async with running(bot):
        await bot.hears(put(name="Ada"))
        before = reads(database)
        for _ in range(10):
            await bot.hears(put(name="Ada"))

        assert reads(database) == before


async def test_with_stream_what_has_arrived_with_an_update_is_taken_in_before_it(worker, monkeypatch):
    arrived = asyncio.Event()

    async def watch(*_: Any, **__: Any) -> AsyncIterator[Events]:
        for _ in range(2):  # it is open, and nothing has happened so far
            yield Events((), None)
        await arrived.wait()
        for _ in range(4):  # from the socket, or the thread, that reads it
            await asyncio.sleep(0)
        change = {"operationType": "update", "ns": {"coll": "user_data"}, "documentKey": {"_id": USER}}
        yield Events([change], None)
        await asyncio.Event().wait()

    monkeypatch.setattr(Driver, "watch", watch)
    one, two = worker("stream"), worker("stream")
    async with running(one, two):
        await two.hears()
        await one.hears(put(name="Ada"))
        assert await two.hears() == {}

        arrived.set()

        assert await two.hears() == {"name": "Ada"}


async def test_with_stream_an_update_reads_while_the_stream_tells_late(worker, monkeypatch):
    one, two = worker("stream"), worker("stream")
    async with running(one, two):
        await two.hears()
        await one.hears(put(a=1))
        await until(lambda: two.persistence.session.scopes.user_data.outdated(USER, read=False) is not None)
        late = time.time() + 3600
        monkeypatch.setattr(
            "ptb_mongo.sync.change_stream.time", SimpleNamespace(time=lambda: late, monotonic=time.monotonic)
        )
        await one.hears(put(a=2))
        await until(lambda: two.persistence.session.is_stream_delayed)
        await two.hears()
        monkeypatch.setattr("ptb_mongo.replica.collection.Collection.told", lambda *_, **__: None)  # not told at all

        await one.hears(put(a=3))

        assert await two.hears() == {"a": 3}
        late += 2
        assert not two.persistence.session.is_stream_delayed


def reads(database: Any) -> int:
    commands = database.command("serverStatus")["metrics"]["commands"]
    return int(commands["find"]["total"] + commands["aggregate"]["total"])


async def test_an_update_that_changes_nothing_writes_nothing(worker, database):
    bot = worker()
    async with running(bot):
        await bot.hears(put(name="Ada"))
        before = database.user_data.find_one(USER)

        await bot.hears(put(name="Ada"))

        assert database.user_data.find_one(USER) == before
        assert database.chat_data.find_one(USER) is None
