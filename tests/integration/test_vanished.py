"""A stranger drops the whole database of a running bot: nothing in memory is lost, and a person decides what to do.

The kind of fault: the loss of everything counts as many deletions, which empties the memory of the only process that
still has the data; and the reverse: a real deletion is ignored, or what was dropped on purpose comes back by itself.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
import gc
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from bots import USER, Bot, until
from offline import BOT_ID
from people import ADA
from typer.testing import Result
from workers import SharedBot, running

from ptb_mongo.migration.backing_up import restore_from_bots
from ptb_mongo.migration.database import Database

Run = Callable[..., Result]


@pytest.fixture
async def bot(start: Callable[..., Any], mode: str) -> Bot:
    """A bot that has stored two users, a chat, its own data, a conversation and a keyboard."""
    bot: Bot = await start(refresh=mode)
    for user in (USER, ADA):
        await bot.hears(remember, user=user)
    await bot.persistence.get_conversations("order")
    await bot.persistence.update_conversation("order", (USER, USER), "amount")
    cache: Any = bot.application.bot
    cache.callback_data_cache.load_persistence_data(([("keyboard", 1.0, {"button": 1})], {}))
    await bot.saves()
    return bot


def remember(context: Any) -> None:
    context.user_data.update(balance=10, name="Ada")
    context.chat_data["place"] = "here"
    context.bot_data["admins"] = [1]


def everything(database: Any) -> dict[str, dict[str, Any]]:
    kept = ("data", "state", "buttons", "objects")
    return {
        name: {repr(one["_id"]): {field: one[field] for field in kept if field in one} for one in database[name].find()}
        for name in ("user_data", "chat_data", "bot_data", "conversations", "callback_data")
    }


def drop(database: Any) -> None:
    database.client.drop_database(database.name)


def drop_each(database: Any) -> None:
    """What a ransom does that may not drop databases."""
    for name in database.list_collection_names():
        database[name].drop()


def delete_each(database: Any) -> None:
    for name in database.list_collection_names():
        database[name].delete_many({})


def drop_and_start_another(database: Any) -> None:
    """And then another process of the bot has begun anew."""
    drop(database)
    later = dtm.datetime.now(dtm.timezone.utc) + dtm.timedelta(seconds=1)
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": BOT_ID, "created_at": later})


WAYS = [drop, drop_each, delete_each, drop_and_start_another]


@pytest.mark.parametrize("vanish", WAYS, ids=lambda one: one.__name__)
async def test_what_is_in_memory_is_kept_and_an_error_says_so(
    bot: Bot, database: Any, vanish: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(vanish, database)
    for number in range(5):
        await bot.hears(lambda context, number=number: context.user_data.update(last=number))
        await bot.saves()
    assert bot.application.user_data[USER] == {"balance": 10, "name": "Ada", "last": 4}
    assert bot.application.bot_data == {"admins": [1]}
    assert [record.levelno for record in caplog.records if "has vanished: everything" in record.message] == [
        logging.ERROR
    ]
    assert "has vanished" in str(bot.persistence.health().reason)
    assert database.user_data.count_documents({}) == 0
    delete_each(database)  # the test's shutdown has nothing to wait for
    number = "1"
    await bot.persistence.session.vanishing.restore(number)  # type: ignore[union-attr]


async def test_the_command_line_has_the_bot_store_it_again(bot: Bot, database: Any, run: Run) -> None:
    before = everything(database)
    drop(database)
    await bot.hears(lambda context: context.user_data.update(later=1))
    assert "Nothing was changed" in (await asyncio.to_thread(run, "restore", "--from-bot")).output
    ran = asyncio.create_task(asyncio.to_thread(run, "restore", "--from-bot", "--apply", "--json"))
    while not ran.done():  # updates go on; without a change stream they are when the bot looks
        await bot.hears()
        await asyncio.sleep(0.05)
    made = json.loads((await ran).output)
    assert made["documents"] == {
        "user_data": 2,
        "chat_data": 2,
        "bot_data": 1,
        "conversations": 1,
        "callback_data": 1,
    }
    await bot.saves()
    await until(lambda: not bot.persistence.health().waiting)
    before["user_data"][repr(USER)]["data"]["later"] = 1
    assert everything(database) == before
    assert database.ptb_mongo.find_one({"_id": "format"})["bot_id"] == BOT_ID
    assert "no bot" not in (await asyncio.to_thread(run, "check")).output
    await bot.hears(lambda context: context.user_data.update(balance=11))
    await bot.saves()
    assert database.user_data.find_one({"_id": USER})["data"]["balance"] == 11
    assert bot.persistence.health().reason is None


async def test_one_document_that_is_deleted_is_believed_to_be(bot: Bot, database: Any) -> None:
    database.user_data.delete_one({"_id": USER})
    await bot.sees(lambda data: not data)
    database.user_data.drop()
    await bot.sees(lambda data: not data, user=ADA)
    assert bot.persistence.health().reason is None


async def test_a_bot_that_is_idle_notices_too(start: Callable[..., Any], database: Any) -> None:
    bot: Bot = await start()
    await bot.hears(remember)
    await bot.saves()
    session: Any = bot.persistence.session
    await until(lambda: not session.must_read)
    drop(database)
    await until(lambda: session.vanishing.has_vanished)
    await session.vanishing.restore("1")


async def test_workers_put_together_what_each_of_them_knows(
    worker: Callable[..., SharedBot], database: Any, run: Run
) -> None:
    bots = [worker("stream", loading="lazy"), worker("stream", loading="lazy")]
    async with running(*bots):
        for bot, user in zip(bots, (USER, ADA), strict=True):
            await bot.hears(lambda context: context.user_data.update(balance=10), user=user)
        drop(database)
        for one in bots:
            await until(lambda one=one: one.persistence.session.vanishing.has_vanished)  # type: ignore[misc,union-attr]
        made = json.loads((await asyncio.to_thread(run, "restore", "--from-bot", "--apply", "--json")).output)
        assert made["documents"]["user_data"] == 2
        await until(lambda: database.user_data.count_documents({"data.balance": 10}) == 2)
        assert database.ptb_mongo.count_documents({}) == 1


async def test_what_comes_with_pauses_is_counted_too(
    mongodb_server_uri: str, mongodb_database: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([0, 200, 200, 400, 400, 400, 401, 401, 401, 401, 401, 402])

    async def counted(_: object) -> dict[str, int]:
        number = next(looks)
        return {"user_data": number} if number else {}

    async def form(_: object) -> dict[str, Any]:
        return {"restored": database.ptb_mongo.find_one({"_id.restore": "bot"})["_id"]["number"]}

    monkeypatch.setattr("ptb_mongo.migration.backing_up._PAUSE", 0.001)
    monkeypatch.setattr("ptb_mongo.migration.backing_up._counts", counted)
    monkeypatch.setattr(Database, "format", form)
    opened = await Database.open(mongodb_server_uri, mongodb_database)
    try:
        assert await restore_from_bots(opened) == {"user_data": 401}
    finally:
        await opened.close()


def test_without_a_bot_nothing_is_restored(run: Run, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptb_mongo.migration.backing_up._PAUSE", 0.01)
    assert run("restore", "--from-bot", "--apply").exit_code == 1
    assert database.ptb_mongo.count_documents({}) == 0
    assert run("restore").exit_code == 2
    assert run("restore", "x", "--from-bot").exit_code == 2


async def test_a_worker_that_looks_late_still_stores_what_only_it_knows(
    mongo_persistence: Callable[..., Any], database: Any, run: Run
) -> None:
    """Without a change stream, each looks when its own users write; the first has made a format document by then."""
    first, second = (
        SharedBot(mongo_persistence(loading="lazy", refresh="read"), consistency="strict") for _ in range(2)
    )
    async with running(first, second):
        for bot, user in ((first, USER), (second, ADA)):
            await bot.hears(lambda context: context.user_data.update(balance=10), user=user)
        drop(database)
        ran = asyncio.create_task(asyncio.to_thread(run, "restore", "--from-bot", "--apply", "--json"))
        while not ran.done():
            await first.hears(user=USER)
            await asyncio.sleep(0.05)
        assert json.loads((await ran).output)["documents"]["user_data"] == 1
        assert database.ptb_mongo.count_documents({}) == 1  # the order is gone
        await second.hears(user=ADA)
        assert second.application.user_data[ADA] == {"balance": 10}
        await until(lambda: database.user_data.count_documents({"data.balance": 10}) == 2)
        database.user_data.delete_one({"_id": USER})
        await first.hears(user=USER)
        assert not first.application.user_data[USER]
        assert first.persistence.health().reason is None


async def test_a_look_that_is_stopped_before_it_begins_leaves_nothing_unawaited(start: Callable[..., Any]) -> None:
    session: Any = (await start()).persistence.session
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session.vanishing.look()
        session.vanishing.told("1")
        await session.vanishing.close()
        gc.collect()
    assert [str(one.message) for one in caught if "never awaited" in str(one.message)] == []


async def test_the_bot_stores_it_again_where_another_process_has_started_over(
    bot: Bot, database: Any, run: Run
) -> None:
    before = everything(database)
    drop_and_start_another(database)
    ran = asyncio.create_task(asyncio.to_thread(run, "restore", "--from-bot", "--apply"))
    while not ran.done():
        await bot.hears()
        await asyncio.sleep(0.05)
    assert (await ran).exit_code == 0
    await until(lambda: everything(database) == before)
    assert bot.persistence.health().reason is None


async def test_a_format_made_by_a_machine_whose_clock_is_ahead_is_not_later(
    start: Callable[..., Any], database: Any
) -> None:
    later = dtm.datetime.now(dtm.timezone.utc) + dtm.timedelta(seconds=30)
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": BOT_ID, "created_at": later})
    await _deletion_is_believed(await start(), database)


async def test_orders_of_a_stranger_do_not_hide_the_format(start: Callable[..., Any], database: Any) -> None:
    database.ptb_mongo.insert_many([{"_id": {"restore": "bot", "number": number}} for number in range(120)])
    await _deletion_is_believed(await start(), database)


async def _deletion_is_believed(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: context.user_data.update(balance=1))
    await bot.saves()
    database.user_data.delete_one({"_id": USER})
    await bot.sees(lambda data: not data)
    assert bot.persistence.health().reason is None
