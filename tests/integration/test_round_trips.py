"""How often one waits for the server: the commands that are sent, and that wait for one another.

The kind: a command whose answer brings nothing, or that could have been sent together with another one. What each use
takes is counted in `benchmarks/suite/round_trips.py`; here stands why.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bots import USER, Bot, turns
from bson import encode
from commands import Commands
from motor.motor_asyncio import AsyncIOMotorClient
from proxy import Proxy
from pymongo import AsyncMongoClient
from pymongo.uri_parser import parse_uri
from telegram.ext import PersistenceInput

from ptb_mongo import MongoPersistence
from ptb_mongo.driver import ByIds, Driver, connect

SEVERAL = [ByIds("first", [1, 2], ("data",)), ByIds("second", [1], ("data",))]


class Noted(Commands):
    """Notes the names of the commands, but for those of change streams."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        if event.command.get("aggregate") != 1:
            self.names.append(event.command_name)

    def take(self) -> list[str]:
        taken, self.names[:] = [*self.names], []
        return taken


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture(params=[AsyncIOMotorClient, AsyncMongoClient], ids=["Motor", "PyMongo"])
async def driver(
    request: pytest.FixtureRequest, mongodb_server_uri: str, mongodb_database: str, noted: Noted
) -> AsyncIterator[Driver]:
    client = request.param(mongodb_server_uri, event_listeners=[noted])
    yield await connect(client, mongodb_database)
    if (closed := client.close()) is not None:
        await closed


# -- reads ----------------------------------------------------------------------------------------------


async def test_documents_of_several_collections_take_one_round_trip(driver: Driver, database: Any, noted: Noted):
    database.first.insert_many([{"_id": 1}, {"_id": 2}])

    await driver.raw_documents(SEVERAL)

    assert noted.take() == ["aggregate"]


async def test_many_documents_of_one_collection_take_one_round_trip(driver: Driver, database: Any, noted: Noted):
    ids = list(range(400))  # a server gives 101 at first, unless it is told otherwise
    database.first.insert_many([{"_id": number} for number in ids])

    (found,) = await driver.raw_documents([ByIds("first", ids, ("data",))])

    assert len(found) == len(ids)
    assert noted.take() == ["find"]


async def test_what_is_too_large_for_one_answer_is_read_apart_and_leaves_no_cursor(driver: Driver, database: Any):
    large = {"data": "x" * (10 * 1024 * 1024)}
    database.first.insert_many([{"_id": number, **large} for number in (1, 2)])
    database.second.insert_one({"_id": 1, **large})

    first, second = await driver.raw_documents(SEVERAL)

    assert first == [encode({"_id": number, **large}) for number in (1, 2)]
    assert second == [encode({"_id": 1, **large})]
    assert database.client.admin.aggregate([{"$currentOp": {"idleCursors": True}}, *_of(database)]).to_list() == []


def _of(database: Any) -> list[dict[str, Any]]:
    return [{"$match": {"type": "idleCursor", "ns": {"$regex": f"^{database.name}\\."}}}]


@pytest.mark.parametrize("client_type", [AsyncIOMotorClient, AsyncMongoClient])
async def test_a_read_whose_connection_breaks_is_sent_again(
    client_type: Any, mongodb_server_uri: str, mongodb_database: str, database: Any
):
    database.second.insert_one({"_id": 1})
    host, port = parse_uri(mongodb_server_uri)["nodelist"][0]
    async with Proxy(f"{host}:{port}") as proxy:
        client = client_type(proxy.uri)
        driver = await connect(client, mongodb_database)
        proxy.lose_answer({"aggregate"})

        found = await driver.raw_documents(SEVERAL)

        if (closed := client.close()) is not None:
            await closed
    assert found == [[], [encode({"_id": 1})]]
    assert (proxy.lost_answers, proxy.commands["aggregate"]) == (1, 2)


# -- an update ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(uri: str, database: str, noted: Noted, **options: Any) -> AsyncIterator[Bot]:
    async with AsyncMongoClient(uri, event_listeners=[noted]) as client:
        bot = Bot(MongoPersistence(client, database, **options))
        await bot.application.initialize()
        await bot.hears(user=1)  # the first update begins to follow changes
        noted.take()
        yield bot
        await bot.application.shutdown()
        assert bot.errors == []


READS = {"find", "aggregate"}


def reads(noted: Noted) -> list[str]:
    return [name for name in noted.take() if name in READS]


async def test_the_data_of_a_private_chat_is_read_with_that_of_its_user(
    mongodb_server_uri: str, mongodb_database: str, database: Any, noted: Noted
):
    database.user_data.insert_one({"_id": USER, "data": {"of": "user"}})
    database.chat_data.insert_one({"_id": USER, "data": {"of": "chat"}})
    async with running(mongodb_server_uri, mongodb_database, noted, loading="lazy", refresh="read") as bot:
        for _ in range(2):  # the second update does not take what was read for the first one
            assert await bot.hears() == {"of": "user"}
            assert bot.application.chat_data[USER] == {"of": "chat"}
            assert reads(noted) == ["find", "aggregate"]  # the bot's own, and both


async def test_what_was_read_for_the_next_call_is_not_taken_by_a_later_one(
    mongodb_server_uri: str, mongodb_database: str, database: Any, noted: Noted
):
    async with running(mongodb_server_uri, mongodb_database, noted, loading="lazy", refresh="read") as bot:
        user_data = bot.application.user_data[USER]
        await bot.persistence.refresh_chat_data(USER, bot.application.chat_data[USER])
        await turns(2)
        database.user_data.insert_one({"_id": USER, "data": {"edited": True}})

        await bot.persistence.refresh_user_data(USER, user_data)

        assert user_data == {"edited": True}


@pytest.mark.parametrize("chat", [-5, USER], ids=["a group", "a chat whose user's data is not stored"])
async def test_without_a_user_of_the_same_id_a_chat_is_read_alone(
    mongodb_server_uri: str, mongodb_database: str, noted: Noted, chat: int
):
    stored = PersistenceInput(user_data=chat < 0)
    options: dict[str, Any] = {"loading": "lazy", "refresh": "read", "store_data": stored}
    async with running(mongodb_server_uri, mongodb_database, noted, **options) as bot:
        await bot.persistence.refresh_chat_data(chat, {})

        assert reads(noted) == ["find"]


async def test_a_new_users_first_update_takes_one_read(mongodb_server_uri: str, mongodb_database: str, noted: Noted):
    async with running(mongodb_server_uri, mongodb_database, noted, loading="lazy") as bot:
        await bot.hears(user=USER)

        assert reads(noted) == ["aggregate"]
