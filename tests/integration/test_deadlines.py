"""Waiting for a server has a limit, whoever created the client; time in which the bot blocked the loop does not count.

The kind of fault: somebody waits forever for an answer, because only the client's options would end that: a half-open
connection stops all saving, or the change stream, for good. And the opposite: a server counts as dead because the bot
was busy when the answer came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from bots import USER, Bot, until
from disturbed import ALWAYS, Traffic
from motor.motor_asyncio import AsyncIOMotorClient
from offline import message_from
from pymongo import AsyncMongoClient

from ptb_mongo import MongoPersistence, UnavailableError


@pytest.fixture(params=["motor", "pymongo", "own"])
async def borrowed(request: pytest.FixtureRequest, traffic: Traffic) -> AsyncIterator[Any]:
    """A client with its driver's default options, which wait for ever; or a URI."""
    if request.param == "own":
        yield f"{traffic.uri}&socketTimeoutMS=0"
        return
    client: Any = (AsyncIOMotorClient if request.param == "motor" else AsyncMongoClient)(traffic.uri)
    yield client
    await traffic.calm()
    closing = client.close()
    if closing is not None:
        await closing


@pytest.fixture(autouse=True)
def deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptb_mongo.driver.connection.DEADLINE", 0.8)


@pytest.fixture
async def bot(borrowed: Any, mongodb_database: str, traffic: Traffic) -> AsyncIterator[Bot]:
    bot = Bot(MongoPersistence(borrowed, mongodb_database, shutdown_timeout=20))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=0))
        await bot.saves()
        yield bot
        await traffic.calm()


# -- a connection that is half-open ---------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
async def test_a_save_whose_answer_never_comes_is_done_again(
    bot: Bot, traffic: Traffic, database: Any, times: int
) -> None:
    await traffic.does("lose_answer", commands=["update"], times=times, close=False)

    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.saves()
    await bot.hears(lambda context: context.user_data.update(n=2))
    await bot.saves()

    await until(lambda: bot.persistence.health().waiting == 0)
    assert database.user_data.find_one()["data"] == {"n": 2}
    assert bot.errors == []


@pytest.mark.parametrize("command", ["getMore", "aggregate"])
async def test_a_stream_that_says_nothing_more_is_opened_again(
    bot: Bot, traffic: Traffic, database: Any, command: str
) -> None:
    await traffic.does("lose_answer", commands=[command], close=False)
    await traffic.does("lose_answer", commands=["getMore"], close=False)
    await traffic.does("lost")

    database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

    await bot.sees(lambda data: data.get("plan") == "premium")


async def test_a_read_whose_answer_never_comes_is_done_again(
    bot: Bot, traffic: Traffic, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.reader._PATIENCE", 0.3)
    await traffic.does("lose_answer", commands=["find", "aggregate"], close=False)

    database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

    await bot.sees(lambda data: data.get("plan") == "premium")
    assert bot.errors == []


async def test_all_connections_may_be_half_open(bot: Bot, traffic: Traffic, database: Any) -> None:
    """As after a router has forgotten them; new ones can be made."""
    await traffic.does("half_open")
    await traffic.does("forward")
    database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.saves()

    await until(lambda: bot.persistence.health().waiting == 0)
    await bot.sees(lambda data: data.get("plan") == "premium")
    assert database.user_data.find_one()["data"] == {"n": 1, "plan": "premium"}


@pytest.mark.parametrize("command", ["find", "findAndModify", "aggregate"])
async def test_a_start_that_gets_no_answer_fails(
    borrowed: Any, mongodb_database: str, traffic: Traffic, command: str
) -> None:
    bot = Bot(MongoPersistence(borrowed, mongodb_database))
    await traffic.does("lose_answer", commands=[command], times=ALWAYS, close=False)

    with pytest.raises(UnavailableError):
        await asyncio.wait_for(bot.application.initialize(), 20)

    await traffic.calm()


async def test_a_start_does_not_need_the_answer_that_an_index_is_built(
    borrowed: Any, mongodb_database: str, traffic: Traffic, database: Any
) -> None:
    """It takes as long as there are documents, and longer than any deadline."""
    bot = Bot(MongoPersistence(borrowed, mongodb_database))
    await traffic.does("lose_answer", commands=["createIndexes"], close=False)

    await asyncio.wait_for(bot.application.initialize(), 20)

    assert "handler_1" in database.conversations.index_information()
    await traffic.calm()
    await bot.application.shutdown()


# -- the end --------------------------------------------------------------------------------------------


async def ticks_during(coroutine: Awaitable[Any]) -> int:
    """How often something else got its turn meanwhile."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    task = asyncio.create_task(tick())
    try:
        await asyncio.wait_for(asyncio.ensure_future(coroutine), 10)
    finally:
        task.cancel()
    return ticks


async def test_closing_waits_for_no_server_that_is_frozen_and_blocks_nobody(
    borrowed: Any, mongodb_database: str, traffic: Traffic
) -> None:
    bot = Bot(MongoPersistence(borrowed, mongodb_database, shutdown_timeout=30))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(n=0))
    await bot.saves()
    await traffic.does("stall")

    ticks = await ticks_during(bot.persistence.flush())  # there is nothing to be saved

    assert ticks > 10
    await traffic.calm()


# -- a loop that is blocked -----------------------------------------------------------------------------


def blocking(seconds: float) -> Callable[[Any], None]:
    def act(_: Any) -> None:
        time.sleep(seconds)

    return act


@pytest.mark.parametrize("blocked", [0.4, 1.2])
async def test_a_bot_that_blocks_its_own_loop_takes_no_server_for_dead(
    mongodb_server_uri: str,
    mongodb_database: str,
    database: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    blocked: float,
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.reader._PATIENCE", 0.3)
    monkeypatch.setattr("ptb_mongo.sync.writer._PATIENCE", 0.3)
    database.user_data.insert_many([{"_id": user, "data": {"n": user}} for user in range(200)])
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, loading="lazy"))
    async with bot.application:
        await bot.hears(blocking(0), user=0)

        async def of(user: int) -> None:
            for number in range(8):
                await bot.application.process_update(message_from(8 * user + number))

        bot._act = lambda context: context.user_data.update(m=1)
        tasks = [asyncio.create_task(of(user)) for user in range(8)]
        for _ in range(5):
            await asyncio.sleep(0.002)
            time.sleep(blocked)  # noqa: ASYNC251  (what is tested)
        await asyncio.gather(*tasks)
        saving = asyncio.create_task(bot.saves())
        for _ in range(3):
            await asyncio.sleep(0)
            time.sleep(blocked)  # noqa: ASYNC251
        await saving

        assert bot.errors == []
        assert [one for one in caplog.messages if "unreachable" in one] == []
    assert database.user_data.count_documents({"data.m": 1}) == 64


async def test_a_server_that_is_back_is_not_lost_again_because_of_those_who_asked_before(
    disturbed: Bot, traffic: Traffic, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.reader._PATIENCE", 0.5)
    await disturbed.hears(lambda context: context.user_data.update(n=0))
    await disturbed.saves()
    await traffic.does("hold", commands=["find", "aggregate"], times=ALWAYS)

    async def keeps_asking() -> None:  # one read alone may miss it, if something else is answered meanwhile
        while "is unreachable" not in caplog.text:
            disturbed.persistence.session.scopes.user_data.told_all()  # type: ignore[union-attr]
            await disturbed.hears(user=USER)

    reading = [asyncio.create_task(keeps_asking())]
    await traffic.does("held")
    await until(lambda: "is unreachable" in caplog.text)  # `health()` may say so for too short a time: the rest answers
    await traffic.calm()
    await until(lambda: "MongoDB is back" in caplog.text)
    await asyncio.gather(*reading)

    await disturbed.hears(lambda context: context.user_data.update(n=1))
    await disturbed.saves()

    assert len([one for one in caplog.messages if "is unreachable" in one]) == 1
    assert len([one for one in caplog.messages if one.startswith("MongoDB is back")]) == 1
