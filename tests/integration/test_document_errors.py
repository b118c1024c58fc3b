"""Documents that cannot be saved because of their content: each fails alone, is reported once, and saved when fixed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from bots import USER, Bot, until
from commands import Commands
from guarded import guarded_mongod
from offline import offline_application
from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo import DocumentError, MongoPersistence, RefusedError, UnsavedDataError
from ptb_mongo.embedded import EmbeddedMongo

SECRET = "ada@example.org"
"""Stands in what cannot be saved, and in no error and no log."""
PASSWORD = secrets.token_hex(8)
MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def no_content_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, "ptb_mongo")
    yield
    own = [record for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert [record.getMessage() for record in own if SECRET in record.getMessage()] == []


class Sent(Commands):
    """The bulk writes that go over the wire, by the number of documents in each."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def started(self, event: Any) -> None:
        if event.command_name == "update":
            self.sizes.append(len(event.command["updates"]))


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
async def bot(
    mongodb_server_uri: str, mongodb_database: str, sent: Sent, database: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bot]:
    """A bot whose users cannot all be saved: the email is unique, and the age has an upper limit."""
    monkeypatch.setattr("ptb_mongo.sync.writer._PATIENCE", 300)  # a busy machine is not taken for an outage
    database.create_collection("user_data", validator={"data.age": {"$not": {"$gt": 150}}})
    database.user_data.create_index("data.email", unique=True, sparse=True)
    async with AsyncMongoClient(mongodb_server_uri, event_listeners=[sent]) as client:
        bot = Bot(MongoPersistence(client, mongodb_database))
        await bot.application.initialize()
        sent.sizes.clear()
        yield bot
        with contextlib.suppress(UnsavedDataError):  # which names what is still refused
            await bot.application.shutdown()


def stores(**data: Any) -> Callable[[Any], Any]:
    """A handler that changes the user's data."""
    return lambda context: context.user_data.update(data)


def the_error(errors: list[BaseException], document_id: Any = USER, path: str = "") -> DocumentError:
    """The one error that there is, which says all that it should."""
    (error,) = errors
    assert isinstance(error, DocumentError)
    assert (error.collection, error.document_id, error.path) == ("user_data", document_id, path)
    assert error.reason
    assert SECRET not in str(error)
    assert len(str(error)) < 500
    return error


CROWD = range(1000, 1499)
"""The other 499 of the same bulk write."""


async def saves_together_with_a_crowd(bot: Bot) -> None:
    for user in CROWD:
        bot.application.user_data[user].update(n=user)
    bot.application.mark_data_for_update_persistence(user_ids=[*CROWD, USER])
    await bot.saves()


def crowd_in(database: Any) -> int:
    return int(database.user_data.count_documents({"data.n": {"$gte": CROWD[0]}}))


# -- what the server refuses -------------------------------------------------------------------------------


async def test_a_unique_index_refuses_one_document_of_five_hundred_and_the_error_names_its_field(
    bot: Bot, database: Any, sent: Sent
) -> None:
    database.user_data.insert_one({"_id": 1, "data": {"email": SECRET}})
    await bot.hears(stores(email=SECRET, name="Ada"))

    await saves_together_with_a_crowd(bot)

    assert sent.sizes[0] == 500
    assert set(sent.sizes[1:]) == {1}  # its other changes
    assert crowd_in(database) == 499
    assert database.user_data.find_one({"_id": USER})["data"] == {"name": "Ada"}
    assert "unique index" in the_error(bot.errors, path="data.email").reason


async def test_a_validator_refuses_one_document_of_five_hundred(bot: Bot, database: Any, sent: Sent) -> None:
    await bot.hears(stores(age=200, email=SECRET))

    await saves_together_with_a_crowd(bot)

    assert sent.sizes[0] == 500
    assert set(sent.sizes[1:]) == {1}
    assert crowd_in(database) == 499
    assert "validation" in the_error(bot.errors, path="data.age").reason


async def test_what_is_too_large_by_itself_is_found_before_anything_is_sent_and_499_others_are_saved(
    bot: Bot, database: Any, sent: Sent
) -> None:
    await bot.hears(stores(text=SECRET + "x" * (16 * MEGABYTE)))

    await saves_together_with_a_crowd(bot)

    assert sent.sizes == [499]
    assert crowd_in(database) == 499
    assert "16,777,216" in the_error(bot.errors).reason


async def test_what_is_too_large_with_what_others_have_put_beside_it_fails_alone(bot: Bot, database: Any) -> None:
    await bot.hears(stores(name="Ada"))
    await bot.saves()
    database.user_data.update_one({"_id": USER}, {"$set": {"archive": "x" * (10 * MEGABYTE)}})
    await bot.hears(stores(text=SECRET + "y" * (8 * MEGABYTE)))

    await saves_together_with_a_crowd(bot)

    assert crowd_in(database) == 499
    assert "larger" in the_error(bot.errors, path="data.text").reason
    assert database.user_data.find_one({"_id": USER}, {"archive": 0})["data"] == {"name": "Ada"}


async def test_an_update_that_is_too_large_for_its_many_long_paths_is_saved_in_parts(bot: Bot, database: Any) -> None:
    long = "k" * 50_000
    await bot.hears(stores(**{long: dict.fromkeys(map(str, range(400)), 0)}))
    await bot.saves()
    await bot.hears(lambda context: context.user_data[long].update(dict.fromkeys(map(str, range(400)), 1)))

    await saves_together_with_a_crowd(bot)

    assert crowd_in(database) == 499
    assert database.user_data.find_one({"_id": USER})["data"] == {long: dict.fromkeys(map(str, range(400)), 1)}
    assert bot.errors == []


# -- many changes in one document ----------------------------------------------------------------------------


def numbered(count: int, value: int) -> dict[str, Any]:
    return {f"{number:06}": {"score": value, "text": "x" * 20} for number in range(count)}


async def test_twenty_thousand_changes_in_one_document_are_saved_soon_and_together_with_the_others(
    bot: Bot, database: Any, sent: Sent
) -> None:
    await bot.hears(stores(scores=numbered(20_000, 1), name="Ada"))
    await bot.saves()
    sent.sizes.clear()

    await bot.hears(lambda context: [one.update(score=2) for one in context.user_data["scores"].values()])
    await bot.hears(stores(n=1), user=1)
    await asyncio.wait_for(bot.saves(), 4)

    assert sent.sizes == [2]
    assert database.user_data.find_one({"_id": USER})["data"] == {"scores": numbered(20_000, 2), "name": "Ada"}
    assert database.user_data.find_one({"_id": 1})["data"] == {"n": 1}
    assert bot.errors == []


async def test_an_edit_that_meets_twenty_thousand_changes_is_not_lost(bot: Bot, database: Any) -> None:
    await bot.hears(stores(scores=numbered(20_000, 1)))
    await bot.saves()
    await bot.hears(lambda context: [one.update(score=2) for one in context.user_data["scores"].values()])

    edits = {"data.scores.000005.theirs": 1, "data.theirs": 1, "data.scores.new": {"score": 9}}
    database.user_data.update_one({"_id": USER}, {"$set": edits})
    await bot.saves()

    stored = database.user_data.find_one({"_id": USER})["data"]
    expected = numbered(20_000, 2)
    expected["000005"]["theirs"] = 1
    assert stored == {"scores": {**expected, "new": {"score": 9}}, "theirs": 1}
    assert bot.errors == []


async def test_a_new_user_with_twenty_thousand_keys_is_saved(bot: Bot, database: Any) -> None:
    await bot.hears(stores(**numbered(20_000, 1)))

    await asyncio.wait_for(bot.saves(), 4)

    assert database.user_data.find_one({"_id": USER})["data"] == numbered(20_000, 1)


async def test_thousands_of_changes_in_a_document_that_is_too_large_to_be_replaced_are_saved(
    bot: Bot, database: Any
) -> None:
    filling = {f"f{number}": "x" * MEGABYTE for number in range(10)}
    await bot.hears(stores(all={**numbered(2000, 1), **filling}))
    await bot.saves()

    await bot.hears(
        lambda context: [one.update(score=2) for one in context.user_data["all"].values() if type(one) is dict]
    )
    await bot.saves()

    assert bot.errors == []
    assert database.user_data.find_one({"_id": USER})["data"] == {"all": {**numbered(2000, 2), **filling}}


# -- reported once, and saved when it is mended ------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        pytest.param({"age": 200}, "data.age", id="validator"),
        pytest.param({"email": SECRET}, "data.email", id="unique index"),
        pytest.param({"text": "x" * (17 * MEGABYTE)}, "", id="too large"),
        pytest.param({"call": [print]}, "data.call.0", id="unencodable"),
    ],
)
async def test_a_document_that_cannot_be_saved_is_reported_once_and_saved_when_it_is_fixed(
    bot: Bot, database: Any, bad: dict[str, Any], path: str
) -> None:
    database.user_data.insert_one({"_id": 1, "data": {"email": SECRET}})
    await bot.hears(stores(name="Ada"))
    await bot.saves()

    for _ in range(3):
        await bot.hears(stores(**bad))
        await bot.saves()
    the_error(bot.errors, path=path)
    assert database.user_data.find_one({"_id": USER})["data"] == {"name": "Ada"}

    await bot.hears(lambda context: [context.user_data.pop(key) for key in bad])
    await bot.hears(stores(mended=True))
    await bot.saves()

    assert database.user_data.find_one({"_id": USER})["data"] == {"name": "Ada", "mended": True}
    assert len(bot.errors) == 1


async def test_the_same_trouble_after_it_was_fixed_is_reported_again(bot: Bot) -> None:
    for age in (200, 20, 200):
        await bot.hears(stores(age=age))
        await bot.saves()

    assert len(bot.errors) == 2


async def test_what_is_refused_does_not_hold_up_what_comes_after_it(bot: Bot, database: Any) -> None:
    await bot.hears(stores(age=200))
    await bot.saves()

    await bot.hears(stores(n=1), user=1)
    await bot.saves()

    assert database.user_data.find_one({"_id": 1})["data"] == {"n": 1}
    assert bot.persistence.health().waiting == bot.persistence.health().refused == 1


async def test_keyboards_that_cannot_be_stored_are_each_reported_once(
    mongo_persistence: Any, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    persistence = mongo_persistence()
    offline_application(persistence)
    await persistence.get_callback_data()
    good, bad, worse = "g" * 32, "b" * 32, "w" * 32
    cache = ([(good, 1.0, {"x": "fine"}), (bad, 1.0, {"y": [print]}), (worse, 1.0, {"z": {"a": print}})], {})

    with pytest.raises(DocumentError) as caught:
        await persistence.update_callback_data(cache)
    await persistence.update_callback_data(cache)
    await persistence.update_callback_data(([], {}))

    await persistence.flush()
    assert (caught.value.document_id, caught.value.path) == (bad, "objects.0.0")
    (line,) = [record.getMessage() for record in caplog.records if "Not saved" in record.getMessage()]
    assert f"callback_data, _id {worse!r}, at objects.0.a: " in line
    assert database.callback_data.count_documents({}) == 0


async def test_every_keyboard_that_the_server_refuses_is_reported(
    mongo_persistence: Any, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.create_collection("callback_data", validator={"accessed_at": {"$lt": 5}})
    persistence = mongo_persistence()
    offline_application(persistence)
    await persistence.get_callback_data()

    with pytest.raises(DocumentError) as caught:
        await persistence.update_callback_data(
            ([(uuid * 32, at, {"x": "y"}) for uuid, at in {"a": 6, "b": 1, "c": 7}.items()], {})
        )

    with pytest.raises(UnsavedDataError, match="documents not saved: 2"):
        await persistence.flush()
    assert caught.value.document_id == "a" * 32
    assert f"Not saved: callback_data, _id {'c' * 32!r}" in caplog.text
    assert [document["_id"] for document in database.callback_data.find()] == ["b" * 32]


# -- errors that come when nobody waits --------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedMongo]:
    with EmbeddedMongo() as server:
        yield server


async def test_an_error_of_a_document_that_was_handed_over_while_the_server_was_away_is_logged_with_its_id(
    server: EmbeddedMongo, caplog: pytest.LogCaptureFixture
) -> None:
    with MongoClient(server.uri) as client:
        client.handed_over.create_collection("user_data", validator={"data.age": {"$not": {"$gt": 150}}})
    quick = f"{server.uri}&serverSelectionTimeoutMS=300&heartbeatFrequencyMS=500"
    bot = Bot(MongoPersistence(quick, "handed_over"))
    await bot.application.initialize()
    server.kill()
    await bot.hears(stores(age=200))
    await bot.hears(stores(age=20), user=1)
    await bot.saves()
    assert bot.persistence.health().waiting == 2

    await asyncio.to_thread(server.start)
    await until(lambda: bot.persistence.health().refused == 1)

    with pytest.raises(UnsavedDataError):
        await bot.application.shutdown()
    assert bot.errors == []
    (line,) = [record.getMessage() for record in caplog.records if "Not saved" in record.getMessage()]
    assert f"user_data, _id {USER}, at data.age: " in line
    assert "validation" in line
    with MongoClient(server.uri) as client:
        assert [document["_id"] for document in client.handed_over.user_data.find()] == [1]


async def test_an_error_of_a_document_that_is_saved_at_the_flush_alone_is_logged_with_its_id(
    mongo_persistence: Any, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.create_collection("user_data", validator={"data.age": {"$not": {"$gt": 150}}})
    bot = Bot(mongo_persistence(on_flush=True))

    await bot.application.initialize()
    await bot.hears(stores(age=200))
    await bot.hears(stores(age=20), user=1)
    with pytest.raises(UnsavedDataError):
        await bot.application.shutdown()

    assert f"Not saved: user_data, _id {USER}, at data.age: " in caplog.text
    assert [document["_id"] for document in database.user_data.find()] == [1]


# -- no permission -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A `mongod` with access control and no replica set; gives the connection string of a user."""
    with guarded_mongod(tmp_path_factory.mktemp("guarded"), PASSWORD) as port:
        yield lambda user: f"mongodb://{user}:{PASSWORD}@127.0.0.1:{port}/?authSource=admin"


@pytest.fixture
def root(guarded: Callable[[str], str]) -> Iterator[Any]:
    with MongoClient(guarded("root")) as client:
        client.admin.command("createUser", "bot", pwd=PASSWORD, roles=[{"role": "readWrite", "db": "shop"}])
        yield client
        client.admin.command("dropUser", "bot")


async def test_a_permission_lost_while_the_bot_runs_is_reported_once_and_all_of_it_is_saved_later(
    root: Any, guarded: Callable[[str], str]
) -> None:
    bot = Bot(MongoPersistence(guarded("bot"), "shop", refresh="off"))
    async with bot.application:
        root.admin.command("updateUser", "bot", roles=[{"role": "read", "db": "shop"}])
        for _ in range(3):
            await bot.hears(stores(name=SECRET))
            await bot.saves()

        (error,) = bot.errors
        assert isinstance(error, RefusedError)
        assert "not authorized on shop" in str(error)
        assert PASSWORD not in str(error)
        root.admin.command("updateUser", "bot", roles=[{"role": "readWrite", "db": "shop"}])
        await bot.hears(stores(n=1))
        await bot.saves()
        await bot.persistence.flush()

        assert root.shop.user_data.find_one({"_id": USER})["data"] == {"name": SECRET, "n": 1}
        assert len(bot.errors) == 1
