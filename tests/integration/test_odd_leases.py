"""Leases with values that no worker writes lock nobody out, and make nobody else wait."""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from odd_values import ODD, plant

from ptb_mongo.driver import Driver, connect
from ptb_mongo.health import Counters
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.change_stream import ChangeStream, just_after
from ptb_mongo.sync.lease_updates import MARGIN
from ptb_mongo.sync.leases import Leases

KEY, OTHER = "user:42", "user:43"
ENOUGH = 10.0  # seconds, less than the margin: a lease that is taken for a worker's would be waited for longer


def with_place(database: Any, **fields: Any) -> dict[str, Any]:
    """A lease that is free, and for which somebody waits."""
    place = {"update_id": 1, "ticket": "gone:1", "until": from_now(database, -1), **fields}
    return {"_id": KEY, "holder": None, "until": None, "waiting": [place]}


def from_now(database: Any, seconds: float) -> dtm.datetime:
    """A time of the server's."""
    return database.command("hello")["localTime"].replace(tzinfo=dtm.timezone.utc) + dtm.timedelta(seconds=seconds)


FIELDS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "until": lambda _, odd: {"_id": KEY, "holder": "gone:1", "until": odd, "waiting": []},
    "holder": lambda database, odd: {"_id": KEY, "holder": odd, "until": from_now(database, -1), "waiting": []},
    "waiting": lambda _, odd: {"_id": KEY, "holder": None, "until": None, "waiting": odd},
    "a place": lambda _, odd: {"_id": KEY, "holder": None, "until": None, "waiting": [odd, odd]},
    "a place's ticket": lambda database, odd: with_place(database, ticket=odd, until=from_now(database, 1)),
    "a place's update_id": lambda database, odd: with_place(database, update_id=odd),
    "a place's until": lambda database, odd: with_place(database, until=odd),
    "every field": lambda _, odd: {"_id": KEY, "holder": odd, "until": odd, "waiting": odd, "free": odd, "next": odd},
}
ALL = [(field, name) for field in FIELDS for name in ODD]


@pytest.fixture
async def leases(mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Leases]:
    driver: Driver = await connect(mongodb_server_uri, mongodb_database)
    leases = Leases(driver, "leases", "me", 0.6)
    stream = ChangeStream(driver, "me", {}, just_after(await driver.hello()), Availability(Counters()), leases)
    yield leases
    await stream.close()
    await leases.close()
    await driver.close()


@pytest.mark.parametrize("field", FIELDS)
async def test_an_odd_lease_is_void_and_its_neighbour_in_the_same_batch_is_served(
    leases: Leases, database: Any, field: str
) -> None:
    async def hold(key: str) -> None:
        async with leases.hold([key], 7):
            held.append(key)

    for name, odd in ODD.items():
        held: list[str] = []
        database.leases.delete_many({})
        plant(database.leases, FIELDS[field](database, odd))

        await asyncio.wait_for(asyncio.gather(hold(KEY), hold(OTHER)), ENOUGH)

        assert sorted(held) == [KEY, OTHER], name
        await until(lambda: database.leases.count_documents({}) == 0)


@pytest.mark.parametrize("field", FIELDS)
async def test_leases_of_others_are_renewed_whatever_becomes_of_one(leases: Leases, database: Any, field: str) -> None:
    async with leases.hold([OTHER], 7):
        for name, odd in ODD.items():
            async with leases.hold([KEY], 7):
                database.leases.delete_one({"_id": KEY})
                plant(database.leases, FIELDS[field](database, odd))
                await leases._renew(list(leases._tickets.values()))
            database.leases.delete_many({"_id": KEY})
            lease = database.leases.find_one({"_id": OTHER})
            assert lease["holder"].startswith("me:"), name
            assert lease["until"] > from_now(database, 0), name
        before = database.leases.find_one({"_id": OTHER})["until"]
        await until(lambda: database.leases.find_one({"_id": OTHER})["until"] > before)  # by itself, too
    await until(lambda: database.leases.count_documents({}) == 0)


@pytest.mark.parametrize("seconds", [MARGIN + 5, 3600, 10**9])
async def test_a_lease_that_ends_later_than_any_worker_would_write_is_void(
    leases: Leases, database: Any, seconds: float
) -> None:
    planted = {"_id": KEY, "holder": "stranger:1", "until": from_now(database, seconds), "waiting": []}
    database.leases.insert_one(planted)

    await asyncio.wait_for(enter(leases), ENOUGH)

    await until(lambda: database.leases.count_documents({}) == 0)


async def test_a_place_that_ends_later_than_any_worker_would_write_is_void(leases: Leases, database: Any) -> None:
    late = from_now(database, 3600)
    place = {"update_id": -(2**40), "ticket": "stranger:1", "until": late}
    database.leases.insert_one({"_id": KEY, "holder": None, "until": None, "waiting": [place]})

    await asyncio.wait_for(enter(leases), ENOUGH)

    await until(lambda: database.leases.count_documents({}) == 0)


async def test_a_lease_of_a_worker_with_a_longer_timeout_is_not_void(leases: Leases, database: Any) -> None:
    planted = {"_id": KEY, "holder": "worker:1", "until": from_now(database, 40), "waiting": []}
    database.leases.insert_one(planted)

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(enter(leases), 0.5)

    assert database.leases.find_one({"_id": KEY})["holder"] == "worker:1"


async def test_a_hundred_thousand_planted_places_cost_little(leases: Leases, database: Any) -> None:
    place = {"update_id": 1, "ticket": "s:1", "until": from_now(database, 3600)}
    database.leases.insert_one({"_id": KEY, "holder": None, "until": None, "waiting": [place] * 100_000})

    await asyncio.wait_for(asyncio.gather(enter(leases), enter(leases, OTHER)), ENOUGH)

    await until(lambda: database.leases.count_documents({}) == 0)


async def enter(leases: Leases, key: str = KEY) -> None:
    async with leases.hold([key], 7):
        pass
