"""Calls beside the running bot: statistics that load everything, a `flush` before a backup, a second start.

With `PicklePersistence`, all of them are harmless. If they made the persistence forget which objects the handlers
change, or what both sides last agreed on, drops would delete nothing, removed keys would come back, and others' edits
would be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from bots import USER, Bot
from offline import BOT_ID
from telegram.ext import ConversationHandler, MessageHandler, filters

from ptb_mongo import MongoPersistence, UnavailableError
from ptb_mongo.sync.reader import Reader

KEY = (USER, USER)


def make_bot(client: Any, database: str, **options: Any) -> Bot:
    """A bot that has a persistent conversation, too."""
    bot = Bot(MongoPersistence(client, database, **options))
    texts = MessageHandler(filters.Regex("order"), lambda *_: asyncio.sleep(0, "amount"))
    bot.application.add_handler(
        ConversationHandler([texts], {"amount": []}, [], name="order", persistent=True), group=1
    )
    return bot


@pytest.fixture
async def bot(client: Any, mongodb_database: str, mode: str) -> AsyncIterator[Bot]:
    """A bot that knows one user, a chat, a conversation and a keyboard."""
    bot = make_bot(client, mongodb_database, refresh=mode)
    async with bot.application:
        await bot.hears(change_all(a=0, b=0))
        await bot.persistence.update_conversation("order", KEY, "amount")
        await bot.persistence.update_callback_data(([("keyboard", 1.0, {"button": 1})], {}))
        await bot.saves()
        yield bot


def change_all(**values: Any) -> Callable[[Any], None]:
    def change(context: Any) -> None:
        for data in (context.user_data, context.chat_data, context.bot_data):
            data.update(values)

    return change


def remove_a(context: Any) -> None:
    for data in (context.user_data, context.chat_data, context.bot_data):
        del data["a"]


def live(bot: Bot) -> list[Any]:
    application = bot.application
    return [application.user_data[USER], application.chat_data[USER], application.bot_data]


def stored(database: Any) -> list[Any]:
    wanted = {"user_data": USER, "chat_data": USER, "bot_data": BOT_ID}
    found = [database[collection].find_one({"_id": one}) for collection, one in wanted.items()]
    return [document and document.get("data") for document in found]


def edit_all(database: Any, update: dict[str, Any]) -> None:
    for collection in ("user_data", "chat_data", "bot_data"):
        database[collection].update_many({}, update)


async def get_all(bot: Bot) -> None:
    persistence = bot.persistence
    for data in (
        *(await persistence.get_user_data()).values(),
        *(await persistence.get_chat_data()).values(),
        await persistence.get_bot_data(),
    ):
        data["mine"] = 1  # what was handed out belongs to whoever asked for it
    (await persistence.get_conversations("order")).clear()
    await persistence.get_callback_data()


async def flush(bot: Bot) -> None:
    await bot.persistence.flush()


async def flush_twice(bot: Bot) -> None:
    await bot.persistence.flush()
    await bot.persistence.flush()


async def flush_and_get(bot: Bot) -> None:
    await bot.persistence.flush()
    await get_all(bot)


async def get_between(bot: Bot) -> None:
    """Updates come between one call and the next."""
    for get in (bot.persistence.get_user_data, bot.persistence.get_chat_data, bot.persistence.get_bot_data):
        await get()
        await bot.hears()


async def start_again(bot: Bot) -> None:
    await bot.application.shutdown()
    await bot.application.initialize()


CALLS: list[Callable[[Bot], Awaitable[None]]] = [get_all, get_between, flush, flush_twice, flush_and_get, start_again]
after_each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)


@after_each_call
async def test_what_is_dropped_afterwards_is_deleted(bot: Bot, database: Any, call: Any) -> None:
    await call(bot)
    bot.application.drop_user_data(USER)
    bot.application.drop_chat_data(USER)
    await bot.saves()

    assert stored(database)[:2] == [None, None]


@after_each_call
async def test_others_edits_are_seen_and_survive_afterwards(bot: Bot, database: Any, call: Any) -> None:
    await call(bot)
    edit_all(database, {"$set": {"data.b": 1, "data.c": 1}})
    await bot.hears(change_all(a=1))
    await bot.saves()

    assert stored(database) == [{"a": 1, "b": 1, "c": 1}] * 3
    await bot.sees(lambda _: live(bot) == [{"a": 1, "b": 1, "c": 1}] * 3)


@after_each_call
async def test_others_edits_during_the_call_survive(bot: Bot, database: Any, call: Any) -> None:
    await bot.hears(change_all(a=1))
    edit_all(database, {"$set": {"data.b": 1}, "$unset": {"data.none": ""}})
    await call(bot)
    await bot.hears(change_all(a=2))
    await bot.saves()

    assert stored(database) == [{"a": 2, "b": 1}] * 3


@after_each_call
async def test_what_is_removed_afterwards_stays_removed_after_a_restart(
    bot: Bot, client: Any, mongodb_database: str, database: Any, call: Any
) -> None:
    await call(bot)
    await bot.hears(remove_a)
    await bot.persistence.update_conversation("order", KEY, None)
    await bot.persistence.update_callback_data(([], {}))
    await bot.saves()
    await bot.application.shutdown()

    again = make_bot(client, mongodb_database)
    async with again.application:
        assert live(again) == [{"b": 0}] * 3
        assert not await again.persistence.get_conversations("order")
        assert not await again.persistence.get_callback_data()
    await bot.application.initialize()  # its fixture shuts it down


@after_each_call
async def test_the_objects_that_handlers_hold_stay_those_that_are_refreshed(bot: Bot, database: Any, call: Any) -> None:
    held = None if call is start_again else live(bot)  # else there are new ones
    await call(bot)
    edit_all(database, {"$set": {"data.b": 1}})
    await bot.sees(lambda _: live(bot) == [{"a": 0, "b": 1}] * 3)

    assert held is None or all(one is other for one, other in zip(held, live(bot), strict=True))
    assert not bot.errors


async def test_a_flush_leaves_nothing_open_and_what_is_changed_after_it_is_saved_by_the_next(
    mongodb_server_uri: str, mongodb_database: str, database: Any
) -> None:
    bot = make_bot(mongodb_server_uri, mongodb_database)
    async with bot.application:
        tasks = asyncio.all_tasks()
        for number in range(3):
            await bot.hears(change_all(n=number))
            await bot.saves()
            await bot.persistence.flush()
            assert asyncio.all_tasks() <= tasks
            assert stored(database) == [{"n": number}] * 3


@pytest.mark.parametrize("preloads", [False, True], ids=["by an update", "by preload"])
async def test_what_a_job_has_made_is_not_added_to_itself_after_a_second_start(
    client: Any, mongodb_database: str, database: Any, preloads: bool
) -> None:
    bot = make_bot(client, mongodb_database, loading="lazy", on_conflict={"user_data": {"n": "add"}})
    async with bot.application:
        bot.application.user_data[USER].update(n=1, log=["a"])  # no update of that user comes, and so no refresh
        bot.application.mark_data_for_update_persistence(user_ids=USER)

    async with bot.application:
        if preloads:
            await bot.persistence.preload(bot.application, user_ids=[USER])
        await bot.hears()
        await bot.saves()
        assert bot.application.user_data[USER] == {"n": 1, "log": ["a"]}
    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1, "log": ["a"]}


@pytest.mark.parametrize("was_refreshed", [False, True])
async def test_what_a_job_makes_in_another_application_removes_nothing_that_is_stored(
    client: Any, mongodb_database: str, database: Any, was_refreshed: bool
) -> None:
    first = make_bot(client, mongodb_database, loading="lazy")
    second = Bot(first.persistence)
    async with first.application:
        if was_refreshed:
            await first.hears()
        first.application.user_data[USER].update(name="Ada", log=["a"], inner={"x": 1, "y": 1})
        first.application.mark_data_for_update_persistence(user_ids=USER)
    async with second.application:
        second.application.user_data[USER].update(reminded=1, inner={"x": 1})
        await second.hears()
        await second.saves()

    expected = {"name": "Ada", "log": ["a"], "inner": {"x": 1, "y": 1}, "reminded": 1}
    assert database.user_data.find_one({"_id": USER})["data"] == expected


async def test_a_refresh_that_fails_late_does_not_bring_back_what_was_dropped_meanwhile(
    client: Any, mongodb_database: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot(client, mongodb_database)
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(secret=1))
    await bot.saves()
    assert bot.persistence.session
    bot.persistence.session.scopes.user_data.told(USER)
    may_fail, refresh = asyncio.Event(), Reader.refresh

    async def fails_late(*_: Any, **__: Any) -> None:
        await may_fail.wait()
        raise UnavailableError("unreachable")

    monkeypatch.setattr(Reader, "refresh", fails_late)
    late = asyncio.create_task(bot.persistence.refresh_user_data(USER, bot.application.user_data[USER]))
    await asyncio.sleep(0)
    monkeypatch.setattr(Reader, "refresh", refresh)
    bot.application.drop_user_data(USER)
    await bot.saves()
    await bot.hears(lambda context: context.user_data.update(new=1))
    may_fail.set()
    await late
    bot.application.drop_user_data(USER)
    await bot.saves()

    assert database.user_data.find_one({"_id": USER}) is None
    await bot.application.shutdown()


async def test_statistics_between_a_second_start_and_its_first_update_replace_no_object(
    client: Any, mongodb_database: str, database: Any
) -> None:
    bot = make_bot(client, mongodb_database, on_conflict={"user_data": {"n": "add"}})
    async with bot.application:
        await bot.hears(change_all(n=1))
    edit_all(database, {"$set": {"data.n": 2}})
    async with bot.application:
        await get_all(bot)

        assert await bot.hears() == {"n": 2}


async def test_what_is_dropped_while_the_first_statistics_are_read_does_not_come_back(
    client: Any, mongodb_database: str, database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"a": 0}})
    bot = make_bot(client, mongodb_database)
    async with bot.application:
        statistics = asyncio.ensure_future(get_all(bot))
        await asyncio.sleep(0)  # they have begun
        bot.application.drop_user_data(USER)
        await bot.hears(change_all(b=1))
        await statistics
        await bot.saves()
        await bot.hears(change_all(c=1))
        await bot.saves()

    assert stored(database)[0] == {"b": 1, "c": 1}


@pytest.mark.parametrize("loads_first", [True, False])
async def test_a_conversation_that_was_not_loaded_is_ended_all_the_same(
    mongo_persistence: Callable[..., Any], database: Any, loads_first: bool
) -> None:
    earlier = mongo_persistence()
    await earlier.update_conversation("order", KEY, "amount")
    await earlier.flush()
    assert database.conversations.count_documents({"state": "amount"}) == 1

    persistence = mongo_persistence()
    if loads_first:
        await persistence.get_user_data()
    await persistence.update_conversation("order", KEY, None)
    await persistence.flush()

    assert database.conversations.count_documents({"state": {"$ne": None}}) == 0
