"""How changes are noticed: by change streams on a replica set, by reading elsewhere."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from bots import USER, Bot
from mongomock_motor import AsyncMongoMockClient
from pymongo import MongoClient

from ptb_mongo import MongoPersistence, WatchUnavailableError
from ptb_mongo.embedded import EmbeddedMongo


@pytest.fixture(scope="module")
def standalone() -> Iterator[str]:
    with EmbeddedMongo(replica_set=None) as server:
        yield server.uri


async def test_auto_watches_on_a_replica_set(mongodb_server_uri: str, mongodb_database: str) -> None:
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database))

    async with bot.application:
        assert bot.persistence.refresh_mode == "watch"


async def test_auto_reads_on_a_standalone_and_says_so_once(
    standalone: str, mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(MongoPersistence(standalone, mongodb_database))

    with caplog.at_level(logging.INFO, "ptb_mongo"):
        async with bot.application:
            await bot.hears(lambda context: context.user_data.update(n=1))
            await bot.saves()
            with MongoClient(standalone) as client:
                client[mongodb_database].user_data.update_one({"_id": USER}, {"$set": {"data.n": 2}})

            data = await bot.hears()

            assert data == {"n": 2}
            assert bot.persistence.refresh_mode == "read"
    said = [record.message for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert len(said) == 1
    assert "read once per update" in said[0]


async def test_watch_on_a_standalone_explains_replica_sets(standalone: str, mongodb_database: str) -> None:
    bot = Bot(MongoPersistence(standalone, mongodb_database, refresh="watch"))

    with pytest.raises(WatchUnavailableError, match=r"replica set.*--replSet"):
        await bot.application.initialize()

    await bot.application.bot.shutdown()


async def test_auto_reads_on_mongomock_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    client = AsyncMongoMockClient()
    bot = Bot(MongoPersistence(client, "mock"))

    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1, m={"x": 1}))
        await bot.saves()
        await client["mock"].user_data.update_one({"_id": USER}, {"$set": {"data.m.y": 2}})

        assert await bot.hears() == {"n": 1, "m": {"x": 1, "y": 2}}
    assert caplog.text.count("read once per update") == 1


async def test_watch_on_mongomock_is_an_error() -> None:
    bot = Bot(MongoPersistence(AsyncMongoMockClient(), "mock", refresh="watch"))

    with pytest.raises(WatchUnavailableError, match="mongomock"):
        await bot.application.initialize()

    await bot.application.bot.shutdown()


async def test_off_neither_reads_nor_watches(mongodb_server_uri: str, mongodb_database: str) -> None:
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, refresh="off"))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()
        with MongoClient(mongodb_server_uri) as client:
            client[mongodb_database].user_data.update_one({"_id": USER}, {"$set": {"data.other": 2}})

        assert await bot.hears(lambda context: context.user_data.update(n=2)) == {"n": 2}
        await bot.saves()

        with MongoClient(mongodb_server_uri) as client:
            assert client[mongodb_database].user_data.find_one({"_id": USER})["data"] == {"n": 2, "other": 2}


async def test_nothing_is_missed_between_the_load_and_the_opening_of_the_stream(
    mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MongoClient(mongodb_server_uri) as client:
        users = client[mongodb_database].user_data
        users.insert_one({"_id": USER, "data": {"n": 1}})
        persistence: Any = MongoPersistence(mongodb_server_uri, mongodb_database)
        loaded = persistence.get_user_data

        async def load_then_edit() -> Any:
            data = await loaded()
            users.update_one({"_id": USER}, {"$set": {"data.n": 2}})
            return data

        monkeypatch.setattr(persistence, "get_user_data", load_then_edit)
        bot = Bot(persistence)
        async with bot.application:
            await bot.sees(lambda data: data["n"] == 2)


async def test_a_shutdown_leaves_no_task_and_no_thread_of_the_stream(
    mongodb_server_uri: str, mongodb_database: str
) -> None:
    before = {thread for thread in threading.enumerate() if "pymongo" in thread.name}
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, refresh="watch"))

    async with bot.application:
        await bot.hears()

    assert asyncio.all_tasks() == {asyncio.current_task()}
    for thread in set(threading.enumerate()) - before:
        if "pymongo" in thread.name:
            thread.join(timeout=10)
            assert not thread.is_alive()


async def test_a_bot_can_be_initialized_again_and_still_watches(mongodb_server_uri: str, mongodb_database: str) -> None:
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
    with MongoClient(mongodb_server_uri) as client:
        client[mongodb_database].user_data.update_one({"_id": USER}, {"$set": {"data.n": 2}})

        async with bot.application:
            assert await bot.hears() == {"n": 2}
            client[mongodb_database].user_data.update_one({"_id": USER}, {"$set": {"data.n": 3}})
            await bot.sees(lambda data: data == {"n": 3})
