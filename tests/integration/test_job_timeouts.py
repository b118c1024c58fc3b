"""The timeout of a conversation survives a restart and a worker's death, and runs once, unless the conversation ended.

The kinds: who created the job and who runs it; what happens to the conversation in between; a stranger's stored data.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import telegram
from bots import until
from job_bots import now, queue
from offline import message_from, offline_application
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import USER, SharedBot, text

from ptb_mongo import ConfigurationError, MongoJobQueue
from ptb_mongo.codec import Codec
from ptb_mongo.jobs import timeouts

ENDED: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ended() -> None:
    ENDED.clear()


def order(seconds: float = 3600, **options: Any) -> Any:
    async def goes_on(*_: Any) -> int:
        return 1

    async def ends(*_: Any) -> int:
        return ConversationHandler.END

    async def times_out(update: Any, context: Any) -> None:
        context.user_data["timed out"] = update.message.text
        ENDED.append((update.message.text, context.user_data["timed out"], id(context.application)))

    ending = filters.Regex("^end$")
    options = {"name": "order", "persistent": True, **options}
    return ConversationHandler(
        [MessageHandler(filters.ALL & ~ending, goes_on)],
        {
            1: [MessageHandler(filters.ALL & ~ending, goes_on)],
            ConversationHandler.TIMEOUT: [MessageHandler(filters.ALL, times_out)],
        },
        [MessageHandler(ending, ends)],
        conversation_timeout=seconds,
        **options,
    )


@contextlib.asynccontextmanager
async def running(persistence: Any, handler: Any) -> AsyncIterator[Any]:
    application = offline_application(persistence, handler, job_queue=queue())
    async with application:
        await application.start()
        yield application
        await application.stop()


def moved(database: Any) -> None:
    """The time is over."""
    database.jobs.update_many({}, {"$set": {"next_run": now(seconds=-1)}})


async def test_a_conversation_times_out_after_a_restart(mongo_persistence, database):
    async with running(mongo_persistence(), order()) as application:
        await application.process_update(message_from(USER, "tea"))
        await application.process_update(message_from(USER, "and cake"))
    (job,) = database.jobs.find()
    assert (job["_id"], job["user_id"]) == (f"conversation_timeout:order:{USER},{USER}", USER)
    moved(database)
    async with running(mongo_persistence(), order()):
        await until(lambda: len(ENDED) == 1)
    assert ENDED[0][0] == "and cake"
    assert database.conversations.count_documents({}) == 0
    assert database.jobs.count_documents({}) == 0
    assert database.user_data.find_one(USER)["data"] == {"timed out": "and cake"}


async def test_a_conversation_that_goes_on_after_a_restart_has_one_timeout(mongo_persistence, database):
    for words in ("tea", "and cake"):
        async with running(mongo_persistence(), order()) as application:
            await application.process_update(message_from(USER, words))
    assert database.jobs.count_documents({}) == 1
    moved(database)
    async with running(mongo_persistence(), order()):
        await until(lambda: len(ENDED) == 1)
        await asyncio.sleep(0.05)
    assert [words for words, *_ in ENDED] == ["and cake"]


async def test_a_conversation_that_has_ended_does_not_time_out(mongo_persistence, database):
    async with running(mongo_persistence(), order()) as application:
        await application.process_update(message_from(USER, "tea"))
        await application.process_update(message_from(USER, "end"))
    assert database.jobs.count_documents({}) == 0
    async with running(mongo_persistence(), order()) as application:
        await application.process_update(message_from(USER, "tea"))
    async with running(mongo_persistence(), order()) as application:
        await application.process_update(message_from(USER, "end"))
    moved(database)
    async with running(mongo_persistence(), order()):
        await until(lambda: database.jobs.count_documents({}) == 0)
    assert ENDED == []


async def test_a_timeout_in_the_process_that_has_made_it_ends_the_conversation(mongo_persistence, database):
    async with running(mongo_persistence(), order(0.2)) as application:
        await application.process_update(message_from(USER, "tea"))
        await until(lambda: len(ENDED) == 1)
        await application.process_update(message_from(USER, "end"))
    assert database.conversations.count_documents({}) == 0


async def test_a_conversation_that_is_not_persistent_times_out_as_with_ptb(mongo_persistence, database):
    async with running(mongo_persistence(), order(0.1, persistent=False)) as application:
        await application.process_update(message_from(USER, "tea"))
        await until(lambda: len(ENDED) == 1)
    assert database.jobs.count_documents({}) == 0


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        {"handler": "order"},
        {"handler": "other", "key": [USER, USER], "update": message_from(USER)},
        {"handler": "order", "key": [[USER]], "update": message_from(USER)},
        {"handler": "order", "key": [7, 7], "update": message_from(USER)},
    ],
)
async def test_a_timeout_that_a_stranger_has_made_ends_nothing(mongo_persistence, database, data):
    callback = "ptb_mongo.jobs.timeouts:conversation_timeout"
    plain = Codec().encode({"data": data})
    async with running(mongo_persistence(), order()) as application:
        await application.process_update(message_from(USER, "tea"))
        await until(lambda: database.jobs.count_documents({}) == 1)
        database.jobs.insert_one({"_id": "bad", "callback": callback, **plain, "next_run": now()})
        await until(lambda: database.jobs.count_documents({"_id": "bad"}) == 0)
    assert ENDED == []
    assert database.conversations.count_documents({}) == 1


@pytest.mark.parametrize("goes_on", [False, True])
async def test_the_timeout_of_a_worker_that_is_gone_is_run_by_another_one(mongo_persistence, database, goes_on):
    made = [
        SharedBot(mongo_persistence(), [order(1.5)], job_queue=MongoJobQueue(), consistency="strict", lease_timeout=1)
        for _ in range(2)
    ]
    first, second = made
    for one in made:
        await one.application.initialize()
        await one.application.start()
    await first.takes(text("tea"))
    if goes_on:
        await second.takes(text("and cake"))
        await first.takes(text("and more"))
    await first.application.stop()
    await first.application.shutdown()
    await until(lambda: len(ENDED) == 1)
    assert ENDED[0][0] == ("and more" if goes_on else "tea")
    assert ENDED[0][2] == id(second.application)
    await until(lambda: database.jobs.count_documents({"buried": {"$exists": False}}) == 0)
    await second.takes(text("end"))
    assert second.errors == []
    await second.application.stop()
    await second.application.shutdown()


@pytest.mark.parametrize("name", ["_TIMEOUT", "_READ"])
def test_a_version_of_ptb_that_keeps_timeouts_in_another_way_is_refused(mongo_persistence, monkeypatch, name):
    """Otherwise the timeouts would just not be stored, and nobody would hear of it."""
    monkeypatch.setattr(timeouts, name, {"_TIMEOUT": "_newer", "_READ": frozenset({"newer"})}[name])
    with pytest.raises(ConfigurationError, match=f"python-telegram-bot {telegram.__version__}"):
        offline_application(mongo_persistence(), job_queue=queue())
