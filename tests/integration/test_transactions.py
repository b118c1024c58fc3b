"""With `once="transaction"`, an update is done completely or not at all, and once, whatever happens between writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from bots import until
from deep import IS_DEEP
from disturbed import Traffic, soon_given_up
from telegram import Update
from telegram.ext import ConversationHandler, MessageHandler, filters
from test_shared_callback_data import clicked, keyboard
from workers import USER, SharedBot, running, text

from ptb_mongo import ConfigurationError, EncodeError, MongoPersistence, PersistenceError

GROUP = -100
WHOLE = {"exclusive": "chat", "once": "transaction"}


def count(_: object, context: Any) -> None:
    for data in (context.user_data, context.chat_data, context.bot_data):
        data["n"] = data.get("n", 0) + 1


def conversation() -> ConversationHandler[Any]:
    async def start(_: Update, __: Any) -> int:
        return 1

    async def end(_: Update, __: Any) -> int:
        return ConversationHandler.END

    start_it, end_it = MessageHandler(filters.Regex("start"), start), MessageHandler(filters.Regex("end"), end)
    return ConversationHandler([start_it], {1: [end_it]}, [], name="order", persistent=True)


DRIVERS = ["motor", "pymongo"]


@pytest.fixture(params=DRIVERS if IS_DEEP else DRIVERS[:1])
async def worker_at(request: pytest.FixtureRequest, mongodb_database: str) -> AsyncIterator[Callable[..., SharedBot]]:
    """Makes workers that use one of the drivers."""
    from pymongo import AsyncMongoClient

    clients: list[Any] = []

    def make(uri: str, **options: Any) -> SharedBot:
        client: Any = uri
        if request.param == "pymongo":
            client = AsyncMongoClient(uri)
            clients.append(client)
        persistence: Any = MongoPersistence(client, mongodb_database, shutdown_timeout=2)
        return SharedBot(persistence, [conversation()], **{**WHOLE, **options})

    yield make
    for client in clients:
        await client.close()


@pytest.fixture(autouse=True)
def soon(service: Any) -> Iterator[None]:
    """The server gives a lost transaction up soon, which keeps what it has written locked."""
    service.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 1})
    yield
    service.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 60})


def all_counted(database: Any) -> list[Any]:
    found = [database.user_data.find_one(USER), database.chat_data.find_one(GROUP), database.bot_data.find_one()]
    return [(one or {}).get("data", {}).get("n", 0) for one in found]


@pytest.mark.parametrize("worker_at", DRIVERS, indirect=True)
async def test_all_that_an_update_changes_is_stored_with_it(worker_at, mongodb_server_uri, database):
    one, two = worker_at(mongodb_server_uri), worker_at(mongodb_server_uri)
    async with running(one, two):
        first = text("start", chat=GROUP)
        await one.delivers(first, count)
        await two.delivers(first, count)
        assert all_counted(database) == [1, 1, 1]
        assert database.conversations.find_one()["state"] == 1
        assert database.updates.find_one(first.update_id)["at"] is not None

        await two.delivers(text("end", chat=GROUP), count)
        await one.delivers(text("hello", chat=GROUP), count)

        assert all_counted(database) == [3, 3, 3]
        assert database.conversations.find_one({"state": {"$exists": True}}) is None
        await two.delivers(text(chat=GROUP), lambda _, context: context.application.drop_user_data(USER))
        assert all_counted(database) == [0, 3, 3]
        await until(lambda: database.leases.count_documents({}) == 0)


async def comes_again(bot: SharedBot, update: Update) -> None:
    """As Telegram sends an update until it is answered."""
    for _ in range(100):
        with contextlib.suppress(PersistenceError):
            await bot.delivers(update, count)
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nobody has handled it")


@pytest.mark.parametrize("command", ["update", "commitTransaction"])
@pytest.mark.parametrize("what", ["lose_answer", "hold"])
async def test_whatever_is_lost_on_the_way_nothing_is_done_by_half_or_twice(
    worker_at, mongodb_server_uri, traffic: Traffic, database, command, what
):
    one, two = worker_at(traffic.uri, lease_timeout=1), worker_at(mongodb_server_uri, lease_timeout=1)
    async with running(one, two):
        await one.delivers(text(chat=GROUP), count)
        again = text("start", chat=GROUP)
        collections = ["user_data", "bot_data"] if command == "update" else None
        await traffic.does(what, commands=[command], collections=collections)
        try:
            with soon_given_up():
                await one.delivers(again, count)
        except PersistenceError:
            assert all_counted(database) in ([1, 1, 1], [2, 2, 2])
            await comes_again(two, again)
        await traffic.does("release")
        await until(lambda: one.persistence.health().connected and not one.persistence.health().waiting)

        assert all_counted(database) == [2, 2, 2]
        assert database.conversations.find_one({"state": 1}) is not None
        await one.delivers(again, count)
        await one.delivers(text(chat=GROUP), count)
        assert all_counted(database) == [3, 3, 3]


async def test_updates_of_many_users_that_count_in_bot_data_lose_none(worker_at, mongodb_server_uri, database):
    workers = [worker_at(mongodb_server_uri) for _ in range(2)]

    def merges(update: Update, context: Any) -> None:
        context.bot_data[f"of {update.update_id}"] = 1

    async with running(*workers):
        await asyncio.gather(*(bot.delivers(text(user=user), merges) for bot in workers for user in range(1, 9)))

        assert len(database.bot_data.find_one()["data"]) == 16


async def test_what_cannot_be_stored_is_told_and_all_else_is_saved(worker_at, mongodb_server_uri, database):
    bot = worker_at(mongodb_server_uri)
    async with running(bot):

        def act(update: Update, context: Any) -> None:
            count(update, context)
            context.user_data["odd"] = lambda: None

        await bot.delivers(text(chat=GROUP), act)

        assert [type(error) for error in bot.errors] == [EncodeError]
        assert all_counted(database) == [1, 1, 1]
        bot.application.user_data[USER].pop("odd")


async def test_what_the_server_refuses_is_told_and_all_else_is_saved(worker_at, mongodb_server_uri, database):
    bot = worker_at(mongodb_server_uri)
    async with running(bot):
        await bot.delivers(text(chat=GROUP), count)
        database.command("collMod", "user_data", validator={"data.n": {"$lt": 2}})

        update = text(chat=GROUP)
        await bot.delivers(update, count)

        assert all_counted(database) == [1, 2, 2]
        assert len(bot.errors) == 1
        database.command("collMod", "user_data", validator={})
        await until(lambda: all_counted(database) == [2, 2, 2])


async def test_a_document_that_no_bot_has_written_is_saved_with_the_others(worker_at, mongodb_server_uri, database):
    database.user_data.insert_one({"_id": USER, "data": {"n": 5}})
    bot = worker_at(mongodb_server_uri)
    async with running(bot):
        await bot.delivers(text(chat=GROUP), count)

        assert all_counted(database) == [6, 1, 1]


async def test_keyboards_are_saved_with_all_else(mongodb_server_uri, mongodb_database, database):
    bot = SharedBot(MongoPersistence(mongodb_server_uri, mongodb_database), **WHOLE)
    async with running(bot):
        markup = await keyboard(bot, "x")
        assert (await clicked(bot, markup)).callback_query.data == "x"
        assert database.callback_data.count_documents({"buttons": {"$exists": True}}) == 1


def test_a_transaction_needs_a_lease(mongo_persistence):
    with pytest.raises(ConfigurationError, match="exclusive"):
        SharedBot(mongo_persistence(), consistency="strict", once="transaction")
    with pytest.raises(ConfigurationError, match="once"):
        SharedBot(mongo_persistence(), exclusive=True, once="twice")
