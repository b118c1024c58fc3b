"""How often one waits for the server: the commands that are sent and wait for each other.

The kind: a command with a useless answer, or one that could have been sent together with another one.
`benchmarks/suite/round_trips.py` counts the round trips of each use; these tests show the reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bots import USER, Bot, turns
from bson import encode
from commands import Commands
from motor.motor_asyncio import AsyncIOMotorClient
from offline import TOKEN
from proxy import Proxy
from pymongo import AsyncMongoClient
from pymongo.uri_parser import parse_uri
from telegram.ext import ExtBot, PersistenceInput

from ptb_mongo import MongoPersistence
from ptb_mongo.driver import ByIds, Driver, connect
from ptb_mongo.errors import RefusedError
from ptb_mongo.sync.first_read import FirstRead

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
    database.first.insert_many([{"_id": 1}, {"_id": 2, "data": "x" * 100_000}])

    (found, _) = await driver.raw_documents(SEVERAL)

    assert noted.take() == ["aggregate"]
    assert [type(raw) for raw in found] == [bytes, bytes]  # and no views of the answer


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

        if client_type is AsyncMongoClient:
            await client.close()
        else:
            await asyncio.to_thread(client.close)  # it waits for the proxy, which needs the loop
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


# -- a start --------------------------------------------------------------------------------------------

FORMAT = {"_id": "format", "version": 1, "bot_id": int(TOKEN.partition(":")[0])}
FIRST = ["aggregate", "createIndexes", "find", "findAndModify", "hello", "killCursors"]
"""The commands that a start sends in two round trips: the reads of all that is small, and those of the format."""


def persistence_on(client: Any, database: Any, **options: Any) -> MongoPersistence[Any, Any, Any]:
    persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(client, database.name, **options)
    persistence.set_bot(ExtBot(TOKEN, arbitrary_callback_data=True))
    return persistence


async def loaded(persistence: MongoPersistence[Any, Any, Any]) -> list[Any]:
    """All that PTB asks for at a start."""
    return [
        await persistence.get_user_data(),
        await persistence.get_chat_data(),
        await persistence.get_bot_data(),
        await persistence.get_callback_data(),
        *[await persistence.get_conversations(name) for name in HANDLERS],
    ]


HANDLERS = ("order", "order2", "")


def conversation(name: Any, user: int, **more: Any) -> dict[str, Any]:
    key = {"handler": name, "key": [user, user]}
    return {"_id": key, **key, "state": user, "rev": "x:1"} | more


@pytest.fixture
def stored(database: Any) -> Any:
    """What was stored by an earlier start."""
    for collection in (database.user_data, database.chat_data):
        collection.insert_many([{"_id": number, "data": {"n": number}} for number in range(3)])
    database.bot_data.insert_one({"_id": FORMAT["bot_id"], "data": {"of": "the bot"}})
    database.conversations.insert_many([conversation(name, user) for name in HANDLERS for user in (1, 2)])
    keyboard = {"accessed_at": 1.0, "buttons": {"a": 0}, "objects": ["x"], "position": 1}
    database.callback_data.insert_one({"_id": "0" * 32, **keyboard})
    database.ptb_mongo.insert_one(FORMAT)
    return database


@pytest.fixture
async def noting(mongodb_server_uri: str, noted: Noted) -> AsyncIterator[Any]:
    async with AsyncMongoClient(mongodb_server_uri, event_listeners=[noted]) as client:
        yield client


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_a_start_reads_all_that_is_small_at_once(noting: Any, stored: Any, noted: Noted, loading: Any):
    persistence = persistence_on(noting, stored, loading=loading)

    found = await loaded(persistence)

    assert sorted(noted.take()) == FIRST
    everybody = {number: {"n": number} for number in range(3)} if loading == "eager" else {}
    keyboards = [("0" * 32, 1.0, {"a": "x"})], {}
    assert found == [everybody, everybody, {"of": "the bot"}, keyboards, *[{(1, 1): 1, (2, 2): 2}] * 3]
    await persistence.flush()


async def test_of_many_chats_all_are_loaded(noting: Any, stored: Any, noted: Noted):
    stored.chat_data.insert_many([{"_id": -number, "data": {"n": number}} for number in range(1, 1200)])
    persistence = persistence_on(noting, stored)

    found = await loaded(persistence)

    assert len(found[1]) == 1202
    assert noted.take().count("find") == 3  # the format, the users, and the chats
    await persistence.flush()


@pytest.mark.parametrize(
    "odd",
    [
        conversation("order", 3, handler="order2"),
        conversation("order", 3, handler=["order", "order2"]),
        conversation(["order"], 3),
        {"_id": {"key": [3, 3], "handler": "order"}, "handler": "order", "key": [3, 3], "state": 3},
        {"_id": 5, "handler": "order", "key": [3, 3], "state": 3},
        {"_id": {"handler": "order", "key": [3, 3]}},
    ],
    ids=str,
)
async def test_conversations_of_an_odd_form_are_whose_the_server_says(
    noting: Any, stored: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, odd: Any
):
    stored.conversations.insert_one(odd)
    found = []
    for _ in range(2):  # at once, and then one by one
        persistence = persistence_on(noting, stored)
        caplog.clear()
        found.append((await loaded(persistence), sorted(caplog.messages)))
        await persistence.flush()
        monkeypatch.setattr(FirstRead, "begin", lambda *_: None)

    assert found[0] == found[1]


@pytest.mark.parametrize("reason", ["it is too old", "it was refused", "it was taken before"])
async def test_what_a_start_has_not_read_at_once_is_read_when_it_is_asked_for(
    noting: Any, stored: Any, monkeypatch: pytest.MonkeyPatch, reason: str
):
    async def refused(*_: object, **__: object) -> None:
        raise RefusedError(reason, 13)

    if reason == "it was refused":
        monkeypatch.setattr(Driver, "first_documents", refused)
    elif reason == "it is too old":
        monkeypatch.setattr("ptb_mongo.sync.first_read._LASTS", -1.0)
    persistence = persistence_on(noting, stored)
    await (loaded(persistence) if reason == "it was taken before" else persistence.get_bot_data())
    stored.chat_data.update_one({"_id": 1}, {"$set": {"data.n": 5}})
    stored.conversations.update_one(conversation("order", 1), {"$set": {"state": 5}})

    assert (await persistence.get_chat_data())[1] == {"n": 5}
    assert (await persistence.get_conversations("order"))[1, 1] == 5
    await persistence.flush()
