"""The interface to MongoDB, with each driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from bots import until
from bson import decode, encode
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from ptb_mongo.driver import ByIds, Driver, Events, connect
from ptb_mongo.embedded import EmbeddedMongo
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.sync.change_stream import just_after

CLIENTS = [AsyncIOMotorClient, AsyncMongoClient]


async def close(client: Any) -> None:
    closed = client.close()
    if closed is not None:
        await closed


@pytest.fixture(params=CLIENTS, ids=["Motor", "PyMongo"])
async def driver(request: pytest.FixtureRequest, mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Any]:
    client = request.param(mongodb_server_uri)
    yield await connect(client, mongodb_database)
    await close(client)


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

    assert updated == (4, {0, 2}, {})
    assert [one["n"] for one in database.first.find().sort("_id")] == [1, 2, 3]


async def test_an_update_without_upsert_makes_nothing(driver: Driver, database: Any) -> None:
    assert await driver.update_each("first", [({"_id": 1}, [{"$set": {"n": 1}}])]) == (0, set(), {})
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


async def test_an_update_that_the_server_refuses_is_named_and_the_others_are_done(
    driver: Driver, database: Any
) -> None:
    database.first.insert_many([{"_id": 0, "n": 5}, {"_id": 1, "n": "text"}, {"_id": 2, "n": 7}])
    adding = [{"$set": {"n": {"$add": ["$n", 1]}}}]

    updated = await driver.update_each("first", [({"_id": number}, adding) for number in range(3)])

    assert updated.matched == 2
    assert list(updated.refused) == [1]
    assert "$add" in str(updated.refused[1])
    assert [one["n"] for one in database.first.find().sort("_id")] == [6, "text", 8]


async def test_updates_that_the_server_refuses_for_everybody_are_an_error(driver: Driver, database: Any) -> None:
    database.client.admin.command("setUserWriteBlockMode", 1, **{"global": True})
    try:
        with pytest.raises(RefusedError):
            await driver.update_each("first", [({"_id": 1}, [{"$set": {"n": 1}}])], upsert=True)
    finally:
        database.client.admin.command("setUserWriteBlockMode", 1, **{"global": False})


async def test_only_what_matches_is_deleted(driver: Driver, database: Any) -> None:
    database.first.insert_many([{"_id": number, "n": number} for number in range(3)])

    assert await driver.delete_each("first", [{"_id": 0, "n": 0}, {"_id": 1, "n": 0}, {"_id": 7}]) == 1
    assert [one["_id"] for one in database.first.find().sort("_id")] == [1, 2]


# -- following changes ------------------------------------------------------------------------------------


class Follower:
    """Follows the changes of a database, and notes them."""

    def __init__(self, driver: Driver, **place: Any) -> None:
        self.seen = asyncio.Queue[Any]()
        self.token: Any = None
        self.given = asyncio.Event()
        self.task = asyncio.create_task(self._follow(driver, place))

    async def _follow(self, driver: Driver, place: dict[str, Any]) -> None:
        pipeline = [{"$match": {"documentKey._id": {"$gte": 0}}}]
        async for changes, token in driver.watch(pipeline, **{"start_at": None, "resume_after": None, **place}):
            self.token = token
            self.given.set()
            for change in changes:
                self.seen.put_nowait(change["documentKey"]["_id"])

    async def gives(self) -> None:
        self.given.clear()
        await self.given.wait()

    async def ends(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@pytest.fixture(params=["replica set", "sharded"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the driver takes the server for: a router's change streams can be had from a replica set, too."""
    if request.param == "sharded":
        hello = Driver.hello

        async def of_a_router(self: Driver) -> dict[str, Any]:
            return {**await hello(self), "msg": "isdbgrid"}

        monkeypatch.setattr(Driver, "hello", of_a_router)
    return str(request.param)


@pytest.mark.usefixtures("kind")
async def test_changes_are_told_from_the_time_on_that_was_asked_for(driver: Driver, database: Any) -> None:
    database.first.insert_one({"_id": 1})
    start_at = just_after(await driver.hello())
    database.first.insert_many([{"_id": number} for number in range(2, 302)])

    follower = Follower(driver, start_at=start_at)

    assert [await follower.seen.get() for _ in range(300)] == list(range(2, 302))
    await follower.ends()


@pytest.mark.usefixtures("kind")
async def test_a_stream_is_resumed_where_it_was(driver: Driver, database: Any) -> None:
    first = Follower(driver, start_at=just_after(await driver.hello()))
    database.first.insert_one({"_id": 1})
    assert await first.seen.get() == 1
    await first.gives()
    await first.ends()
    database.first.insert_one({"_id": 2})

    second = Follower(driver, resume_after=first.token)

    assert await second.seen.get() == 2
    await second.ends()


@pytest.mark.usefixtures("kind")
async def test_the_place_to_resume_at_moves_on_though_nothing_is_told(driver: Driver, database: Any) -> None:
    follower = Follower(driver, start_at=just_after(await driver.hello()))
    await follower.gives()
    before = follower.token
    database.first.insert_one({"_id": -1})  # which the pipeline leaves out

    await follower.gives()
    await follower.gives()

    assert follower.token["_data"] > before["_data"]
    assert follower.seen.empty()
    await follower.ends()


async def test_a_stream_that_is_ended_leaves_no_cursor_on_the_server(driver: Driver, database: Any) -> None:
    def cursors() -> list[Any]:
        operations = database.client.admin.aggregate([{"$currentOp": {"idleCursors": True}}])
        return [one for one in operations if one.get("ns", "").startswith(database.name) and "cursor" in one]

    follower = Follower(driver, start_at=just_after(await driver.hello()))
    await follower.gives()
    await until(lambda: len(cursors()) == 1)

    await follower.ends()

    await until(lambda: not cursors())


@pytest.mark.parametrize("client_type", CLIENTS, ids=["Motor", "PyMongo"])
async def test_a_stream_whose_server_died_may_be_resumed(client_type: Any) -> None:
    with EmbeddedMongo() as server:
        client = client_type(server.uri)
        driver = await connect(client, "bot")
        first = Follower(driver, start_at=just_after(await driver.hello()))
        await driver.insert_if_missing("numbers", 1, {"n": 1})
        assert await first.seen.get() == 1

        server.kill()

        with pytest.raises(UnavailableError):
            await first.task
        server.start()
        second = Follower(driver, resume_after=first.token)
        await driver.insert_if_missing("numbers", 2, {"n": 2})
        assert await second.seen.get() == 2
        await second.ends()
        await close(client)


@pytest.mark.parametrize(("code", "labels"), [(43, []), (1, ["ResumableChangeStreamError"])])
async def test_a_stream_that_may_go_on_elsewhere_does_not_count_as_refused(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, code: int, labels: list[str]
) -> None:
    async def interrupted(*_: Any) -> AsyncGenerator[Events, None]:
        yield Events([], None)
        raise OperationFailure("interrupted", code, {"errorLabels": labels})

    monkeypatch.setattr("ptb_mongo.driver.streams.of_replica_set", interrupted)

    with pytest.raises(UnavailableError, match="interrupted"):
        await Follower(driver).task


async def test_a_stream_that_cannot_be_had_is_refused(driver: Driver) -> None:
    with pytest.raises(RefusedError):
        await Follower(driver, resume_after={"_data": "no token"}).task
