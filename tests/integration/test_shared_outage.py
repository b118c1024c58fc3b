"""The database becomes unreachable: what a webhook answers, and which updates are not handled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from bots import until
from pymongo import MongoClient
from telegram import Update
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import USER, SharedBot, running, text

from ptb_mongo import MongoPersistence, UnavailableError
from ptb_mongo.embedded import EmbeddedMongo

DATABASE = "shared_outage"
SOON = "&serverSelectionTimeoutMS=500&connectTimeoutMS=1000&heartbeatFrequencyMS=500&socketTimeoutMS=2000"


@pytest.fixture(scope="module")
def only_server() -> Iterator[EmbeddedMongo]:
    with EmbeddedMongo() as server:
        yield server


@pytest.fixture
def server(only_server: EmbeddedMongo) -> Iterator[EmbeddedMongo]:
    """A server that tests may freeze; it is running and empty at the beginning of each."""
    with MongoClient(only_server.uri) as client:
        client.drop_database(DATABASE)
    yield only_server
    only_server.resume()


@pytest.fixture
def uri(server: EmbeddedMongo) -> str:
    return server.uri + SOON


def stored(server: EmbeddedMongo, collection: str = "user_data") -> Any:
    with MongoClient(server.uri) as client:
        return client[DATABASE][collection].find_one()


@contextlib.asynccontextmanager
async def counting_when_the_server_freezes(
    server: EmbeddedMongo, uri: str, consistency: str
) -> AsyncIterator[SharedBot]:
    """A worker that has counted to one, and whose server does not answer any more."""
    bot = SharedBot(MongoPersistence(uri, DATABASE), consistency=consistency)
    async with running(bot):
        await bot.delivers(text(), count)
        server.pause()
        yield bot


def count(_: object, context: Any) -> None:
    context.user_data["n"] = context.user_data.get("n", 0) + 1


async def test_with_stream_an_update_is_handled_on_what_is_loaded_unless_it_is_repeated(
    server: EmbeddedMongo, uri: str
) -> None:
    async with counting_when_the_server_freezes(server, uri, "stream") as bot:
        with pytest.raises(UnavailableError):
            await bot.delivers(text(), count)
        assert bot.application.user_data[USER] == {"n": 1}
        await bot.takes(text(), count)

        assert bot.application.user_data[USER] == {"n": 2}
        server.resume()
        await until(lambda: bot.persistence.health().waiting == 0)
        assert stored(server)["data"] == {"n": 2}
        assert not bot.errors


@pytest.mark.parametrize("consistency", ["stream", "strict"])
async def test_handlers_of_an_update_that_is_repeated_often_run_once_in_an_outage(
    server: EmbeddedMongo, uri: str, consistency: str
) -> None:
    bot = SharedBot(MongoPersistence(uri, DATABASE), consistency=consistency)
    runs: list[int] = []

    def count_and_freeze(update: Update, context: Any) -> None:
        server.pause()
        runs.append(update.update_id)
        count(update, context)

    async with running(bot):
        await bot.delivers(text(), count)
        again = text()
        for _ in range(5):
            with pytest.raises(UnavailableError):
                await bot.delivers(again, count_and_freeze)
        assert bot.application.user_data[USER] == {"n": 1}
        server.resume()
        await until(lambda: bot.persistence.health().waiting == 0 and bot.persistence.health().connected)
        arrived = stored(server)["data"]["n"]  # what was in the server's socket is carried out when it goes on

        await bot.delivers(again, count)

        assert runs == [again.update_id]
        assert stored(server)["data"] == {"n": arrived + 1}


async def test_with_strict_no_update_is_handled_on_old_data(server: EmbeddedMongo, uri: str) -> None:
    async with counting_when_the_server_freezes(server, uri, "strict") as bot:
        with pytest.raises(UnavailableError):
            await bot.delivers(text(), count)
        await bot.takes(text(), count)

        assert bot.application.user_data[USER] == {"n": 1}
        assert [type(error) for error in bot.errors] == [UnavailableError]
        server.resume()
        await until(lambda: bot.persistence.health().connected)
        await bot.delivers(text(), count)
        assert stored(server)["data"] == {"n": 2}


async def test_a_conversation_that_was_never_read_does_not_start_over_during_an_outage(
    server: EmbeddedMongo, uri: str
) -> None:
    async def start(_: object, __: object) -> int:
        return 1

    def conversation() -> ConversationHandler[Any]:
        return ConversationHandler([MessageHandler(filters.ALL, start)], {1: []}, [], name="c", persistent=True)

    bot = SharedBot(MongoPersistence(uri, DATABASE, loading="lazy"), [conversation()], consistency="stream")
    async with running(bot):
        server.pause()

        with pytest.raises(UnavailableError):
            await bot.delivers(text())

        server.resume()
        await until(lambda: bot.persistence.health().connected)
        assert stored(server, "conversations") is None


async def test_updates_that_come_while_a_batch_fails_do_not_wait_for_the_end_of_the_outage(
    server: EmbeddedMongo, uri: str
) -> None:
    # What is remembered would be read first, which fails sooner.
    bot = SharedBot(MongoPersistence(uri, DATABASE), consistency="stream", once=False)
    async with running(bot):
        for user in (1, 2):
            await bot.delivers(text(user=user), count)
        server.pause()

        first = asyncio.create_task(bot.delivers(text(user=1), count))
        await until(lambda: bot.persistence.health().waiting == 1)
        await asyncio.sleep(0)
        second = asyncio.create_task(bot.delivers(text(user=2), count))
        results = await asyncio.gather(first, second, return_exceptions=True)

        assert [type(result) for result in results] == [UnavailableError, UnavailableError]
        server.resume()
        await until(lambda: bot.persistence.health().waiting == 0)
