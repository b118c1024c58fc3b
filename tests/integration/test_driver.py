"""What the seam to MongoDB does with each driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import decode, encode
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from ptb_mongo.driver import ByIds, Driver, InterruptedStreamError, connect
from ptb_mongo.embedded import EmbeddedMongo
from ptb_mongo.errors import RefusedError
from ptb_mongo.watcher import just_after

CLIENTS = [AsyncIOMotorClient, AsyncMongoClient]


@pytest.fixture(params=CLIENTS, ids=["Motor", "PyMongo"])
async def driver(request: pytest.FixtureRequest, mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Any]:
    client = request.param(mongodb_server_uri)
    yield await connect(client, mongodb_database)
    closed = client.close()
    if closed is not None:
        await closed


# -- reading several collections -------------------------------------------------------------------------


async def test_documents_of_several_collections_are_read_byte_by_byte_as_they_are_stored(
    driver: Driver, database: Any
) -> None:
    stored = [{"_id": {"b": 1, "a": [2]}, "state": None, "rev": "x:1"}, {"_id": 7, "rev": "", "data": {"b": 1, "a": 2}}]
    database.first.insert_one(stored[0])
    database.second.insert_many([stored[1], {"_id": 8}])
    asked = [ByIds("first", [stored[0]["_id"]], ("state", "rev")), ByIds("second", [9, 7], ("data", "rev"))]

    together = await driver.raw_documents(asked)

    assert together == [[encode(stored[0])], [encode(stored[1])]]
    assert together == [*await driver.raw_documents(asked[:1]), *await driver.raw_documents(asked[1:])]


async def test_fields_that_nobody_has_asked_for_are_not_read(driver: Driver, database: Any) -> None:
    database.first.insert_one({"_id": 1, "data": {"a": 1}, "updated_at": 3, "n": 4, "d": 5})

    ((found,), _) = await driver.raw_documents([ByIds("first", [1], ("data",)), ByIds("second", [1], ("data",))])

    assert decode(found) == {"_id": 1, "data": {"a": 1}}


async def test_of_collections_that_do_not_exist_nothing_is_read(driver: Driver, database: Any) -> None:
    database.last.insert_one({"_id": 1})
    asked = [ByIds(name, [1], ("data",)) for name in ("first", "second", "last")]

    assert await driver.raw_documents(asked) == [[], [], [encode({"_id": 1})]]


async def test_more_documents_than_one_answer_holds_are_all_read(driver: Driver, database: Any) -> None:
    ids = list(range(250))
    for name in ("first", "second"):
        database[name].insert_many([{"_id": number, "data": {"of": name}} for number in ids])

    first, second = await driver.raw_documents([ByIds(name, ids, ("data",)) for name in ("first", "second")])

    for name, found in (("first", first), ("second", second)):
        assert sorted(found) == sorted(encode({"_id": number, "data": {"of": name}}) for number in ids)


async def test_a_document_of_the_largest_size_is_read(driver: Driver, database: Any) -> None:
    largest = {"_id": 1, "data": "x" * (16 * 1024 * 1024 - 30)}
    database.first.insert_one(largest)

    ((found,), _) = await driver.raw_documents([ByIds("first", [1], ("data",)), ByIds("second", [1], ("data",))])

    assert len(found) == len(encode(largest)) > 16 * 1024 * 1024 - 10


# -- changing and deleting several ------------------------------------------------------------------------


async def test_of_several_updates_is_said_which_have_made_a_document(driver: Driver, database: Any) -> None:
    database.first.insert_one({"_id": 2, "n": 0})
    updates = [({"_id": number}, [{"$set": {"n": number}}]) for number in (1, 2, 3, 1)]

    updated = await driver.update_each("first", updates, upsert=True)

    assert updated == (4, {0, 2})
    assert [one["n"] for one in database.first.find().sort("_id")] == [1, 2, 3]


async def test_an_update_without_upsert_makes_nothing(driver: Driver, database: Any) -> None:
    assert await driver.update_each("first", [({"_id": 1}, [{"$set": {"n": 1}}])]) == (0, set())
    assert database.first.find_one() is None


async def test_those_who_make_the_same_documents_at_once_all_succeed(driver: Driver, database: Any) -> None:
    def adding(worker: int) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        more = {"$concatArrays": [{"$ifNull": ["$by", []]}, [worker]]}
        return [({"_id": number}, [{"$set": {"by": more}}]) for number in range(30)]

    for _ in range(5):
        results = await asyncio.gather(*(driver.update_each("first", adding(n), upsert=True) for n in range(4)))

        assert [result.matched for result in results] == [30] * 4
        assert sorted(position for result in results for position in result.made) == list(range(30))
        assert all(sorted(one["by"]) == [0, 1, 2, 3] for one in database.first.find())
        assert await driver.delete_each("first", [{"_id": number} for number in range(30)]) == 30


async def test_an_update_that_the_server_refuses_is_an_error(driver: Driver, database: Any) -> None:
    database.first.insert_one({"_id": 1, "n": "text"})

    with pytest.raises(RefusedError, match=r"\$add"):
        await driver.update_each("first", [({"_id": 1}, [{"$set": {"n": {"$add": ["$n", 1]}}}])])


async def test_only_what_matches_is_deleted(driver: Driver, database: Any) -> None:
    database.first.insert_many([{"_id": number, "n": number} for number in range(3)])

    assert await driver.delete_each("first", [{"_id": 0, "n": 0}, {"_id": 1, "n": 0}, {"_id": 7}]) == 1
    assert [one["_id"] for one in database.first.find().sort("_id")] == [1, 2]


# -- following changes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_type", CLIENTS, ids=["Motor", "PyMongo"])
async def test_a_stream_that_was_open_when_the_server_died_says_that_it_may_be_resumed(client_type: Any) -> None:
    with EmbeddedMongo() as server:
        client = client_type(server.uri)
        driver = await connect(client, "bot")
        hello = await driver.hello()
        seen = asyncio.Queue[Any]()

        async def follow(**place: Any) -> None:
            async for change in driver.watch([], **place):
                seen.put_nowait(change)

        following = asyncio.create_task(follow(start_at=just_after(hello), resume_after=None))
        await driver.insert_if_missing("numbers", 1, {"n": 1})
        first = await seen.get()

        server.kill()

        with pytest.raises(InterruptedStreamError):
            await following
        server.start()
        again = asyncio.create_task(follow(start_at=None, resume_after=first["_id"]))
        await driver.insert_if_missing("numbers", 2, {"n": 2})
        assert (await seen.get())["documentKey"] == {"_id": 2}
        again.cancel()
        await asyncio.wait({again})
        closed = client.close()
        if closed is not None:
            await closed


async def test_a_stream_that_cannot_be_opened_does_not_count_as_interrupted(driver: Driver) -> None:
    with pytest.raises(Exception, match="MongoDB refuses") as failed:
        async for _ in driver.watch([], start_at=None, resume_after={"_data": "no token"}):
            pass

    assert not isinstance(failed.value, InterruptedStreamError)
