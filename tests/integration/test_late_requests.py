"""A request that arrives late must not undo anything newer.

The network may delay it, or a frozen server that had it in a socket. Without a condition, it would overwrite what was
stored since, and an insertion would bring back what was deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bots import USER, Bot, until
from disturbed import THINGS, WRITES, Thing, Traffic, write_user
from pymongo import MongoClient

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedMongo


async def send_what_comes_late(bot: Bot, traffic: Traffic, thing: Thing, number: int) -> None:
    """A write, and what a driver sends at once in its stead, are held up; what is tried next is done."""
    only = {"collections": [thing.collection]}
    await traffic.does("hold", commands=WRITES, times=2, **only)
    writing = asyncio.create_task(thing.write(bot, number))
    for count in (1, 2):
        await traffic.does("held", count=count)
        await traffic.does("cut")
    await writing
    await until(lambda: bot.persistence.health().waiting == 0)


async def write_again(bot: Bot, others: Bot, thing: Thing, database: Any) -> None:
    await thing.write(bot, 2)


async def others_write(bot: Bot, others: Bot, thing: Thing, database: Any) -> None:
    if thing.collection == "user_data":
        await others.hears()
    await thing.write(others, 2)


async def a_service_edits(bot: Bot, others: Bot, thing: Thing, database: Any) -> None:
    database[thing.collection].update_one({"_id": thing.id}, {"$set": {f"{thing.field}.n": 2}})


async def drop(bot: Bot, others: Bot, thing: Thing, database: Any) -> None:
    await thing.end(bot)


async def drop_and_write_again(bot: Bot, others: Bot, thing: Thing, database: Any) -> None:
    await thing.end(bot)
    await thing.write(bot, 2)


async def others_drop(bot: Bot, others: Bot, thing: Thing, database: Any) -> None:
    if thing.collection == "user_data":
        await others.hears()
    elif thing.collection == "conversations":
        await others.persistence.get_conversations("order")
    else:
        await others.persistence.get_callback_data()
    await thing.end(others)


LATER = [write_again, others_write, a_service_edits, drop, drop_and_write_again, others_drop]


@pytest.mark.parametrize("later", LATER, ids=lambda later: later.__name__)
@pytest.mark.parametrize("is_new", [True, False], ids=["insertion", "update"])
@pytest.mark.parametrize("name", ["user", "conversation"])
async def test_a_late_write_undoes_nothing_that_is_newer(
    disturbed: Bot, others: Bot, traffic: Traffic, database: Any, name: str, is_new: bool, later: Callable[..., Any]
) -> None:
    thing = THINGS[name]
    if not is_new:
        await thing.write(disturbed, 0)
    await send_what_comes_late(disturbed, traffic, thing, 1)
    await later(disturbed, others, thing, database)

    assert len(await traffic.does("release")) == 2

    assert thing.stored(database) == (
        None if "drop" in later.__name__ and later is not drop_and_write_again else {"n": 2}
    )


@pytest.mark.parametrize("name", ["user", "conversation"])
async def test_a_worker_that_died_undoes_nothing_that_the_next_one_does(
    disturbed: Bot, mongodb_server_uri: str, mongodb_database: str, traffic: Traffic, database: Any, name: str
) -> None:
    """Its insertion arrives when its successor has made the document, and deleted it again."""
    thing = THINGS[name]
    await traffic.does("duplicate", commands=WRITES, collections=[thing.collection])
    await thing.write(disturbed, 1)  # the copy is that of a request whose answer never came
    next_one = Bot(MongoPersistence(mongodb_server_uri, mongodb_database))
    async with next_one.application:
        await next_one.persistence.get_conversations("order")
        await next_one.hears()
        await thing.end(next_one)

        assert len(await traffic.does("release")) == 1

        assert thing.stored(database) is None


@pytest.mark.parametrize("proxied", ["motor", "pymongo"], indirect=True)
@pytest.mark.parametrize("name", ["user", "conversation"])
async def test_a_late_deletion_deletes_nothing_that_was_written_since(
    disturbed: Bot, traffic: Traffic, database: Any, name: str
) -> None:
    thing = THINGS[name]
    await thing.write(disturbed, 0)
    only = {"collections": [thing.collection]}
    await traffic.does("hold", commands=WRITES, times=2, **only)
    ending = asyncio.create_task(thing.end(disturbed))
    for count in (1, 2):
        await traffic.does("held", count=count)
        await traffic.does("cut")
    await ending
    await until(lambda: disturbed.persistence.health().waiting == 0)
    await thing.write(disturbed, 2)

    assert len(await traffic.does("release")) == 2

    assert thing.stored(database) == {"n": 2}


# -- a server that was frozen ------------------------------------------------------------------------------


@pytest.fixture
def frozen_server() -> Iterator[EmbeddedMongo]:
    """A server of its own, which the test may freeze."""
    with EmbeddedMongo() as server:
        yield server
        server.resume()


async def test_what_a_frozen_server_had_in_its_sockets_undoes_nothing_that_was_changed_meanwhile(
    frozen_server: EmbeddedMongo,
) -> None:
    options = "&socketTimeoutMS=200&serverSelectionTimeoutMS=200&heartbeatFrequencyMS=500"
    bot = Bot(MongoPersistence(frozen_server.uri + options, "frozen"))
    with MongoClient(frozen_server.uri) as client:
        users = client["frozen"].user_data
        async with bot.application:
            for number in range(3):
                await write_user(bot, 10 * number)
                frozen_server.pause()
                await write_user(bot, 10 * number + 1)  # is in a socket, and given up
                await until(lambda: not bot.persistence.health().connected)
                await write_user(bot, 10 * number + 2)
                frozen_server.resume()
                await until(lambda: bot.persistence.health().waiting == 0)
                users.update_one({"_id": USER}, {"$inc": {"data.service": 1}})
            await bot.sees(lambda data: data == {"n": 22, "service": 3})
        assert users.find_one({"_id": USER})["data"] == {"n": 22, "service": 3}
