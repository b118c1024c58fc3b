"""The first updates after a start: they need no read while the loaded data is new, but one when it is not.

The kind of fault: the first update opens the change stream, so that updates before it is open are handled with data
that was loaded an hour ago; or each of them waits for a round trip although everything has just been loaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bots import USER, Bot, until
from commands import Commands
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from workers import SharedBot, running, text

from ptb_mongo import MongoPersistence


class Reads(Commands):
    """How often users' data is read."""

    def __init__(self) -> None:
        self.count = 0
        self.waits: list[int] = []
        """Milliseconds that the server may wait for an event, each time."""

    def started(self, event: Any) -> None:
        if event.command_name == "getMore":
            self.waits.append(event.command["maxTimeMS"])
        self.count += event.command_name in {"find", "aggregate"} and "_data" in str(event.command[event.command_name])


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
async def client(mongodb_server_uri: str, reads: Reads) -> AsyncIterator[Any]:
    async with AsyncMongoClient(mongodb_server_uri, event_listeners=[reads]) as client:
        yield client


async def test_just_after_the_start_nothing_is_read(client: Any, mongodb_database: str, reads: Reads) -> None:
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        reads.count = 0

        await bot.hears()
        await bot.hears()

        assert reads.count == 0


async def test_an_edit_since_the_start_is_seen_by_the_first_update_if_that_comes_later(
    client: Any, mongodb_database: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.session._NEW", 0.0)
    database.user_data.insert_one({"_id": USER, "data": {"plan": "trial"}})
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

        data = await bot.hears()

        assert data == {"plan": "premium"}


async def test_an_edit_since_the_start_is_seen_as_soon_as_the_stream_is_open(
    client: Any, mongodb_database: str, database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"plan": "trial"}})
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

        await bot.sees(lambda data: data == {"plan": "premium"})


async def test_a_worker_reads_even_then(client: Any, mongodb_database: str, database: Any) -> None:
    """The update before it may have been another worker's, milliseconds ago."""
    database.user_data.insert_one({"_id": USER, "data": {"n": 1}})
    seen: list[Any] = []
    bot = SharedBot(MongoPersistence(client, mongodb_database))
    await bot.application.initialize()
    database.user_data.update_one({"_id": USER}, {"$set": {"data.n": 2}})

    await bot.delivers(text(), lambda _, context: seen.append(dict(context.user_data)))

    assert seen == [{"n": 2}]
    await bot.application.shutdown()


async def test_once_the_stream_is_open_nothing_is_read_any_more(
    client: Any, mongodb_database: str, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.session._NEW", 0.0)
    bot = SharedBot(MongoPersistence(client, mongodb_database))
    async with running(bot):
        session: Any = bot.persistence.session
        await until(lambda: not session.must_read)
        await bot.takes(text(), lambda *_: None)
        reads.count = 0

        await bot.takes(text(), lambda *_: None)

        assert reads.count == 0


@pytest.mark.parametrize("kind", [AsyncIOMotorClient, AsyncMongoClient])
async def test_a_quiet_stream_answers_often_whoever_has_made_the_client(
    kind: Any, mongodb_server_uri: str, mongodb_database: str, reads: Reads
) -> None:
    """A deadline of the driver's must not become the time that the server waits for an event."""
    client = kind(mongodb_server_uri, event_listeners=[reads])
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        session: Any = bot.persistence.session
        await bot.hears()
        await until(lambda: session._stream.is_following and len(reads.waits) > 1)
    if (closing := client.close()) is not None:
        await closing

    assert reads.waits[0] == 1
    assert max(reads.waits) <= 1000
