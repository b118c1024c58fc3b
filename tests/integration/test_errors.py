"""Everything that can go wrong before a bot has started is a clear error, which never shows the password.

A failed start leaves nothing open, as PTB calls `flush` only after a successful one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from guarded import guarded_mongod
from motor.motor_asyncio import AsyncIOMotorClient
from offline import BOT_ID, TOKEN, offline_application
from pymongo import AsyncMongoClient, MongoClient

import ptb_mongo
from ptb_mongo import (
    ConfigurationError,
    FormatError,
    MongoPersistence,
    PersistenceError,
    RefusedError,
    UnavailableError,
    WatchUnavailableError,
)
from ptb_mongo.sync.format import proof

PART = "6e44889686f8e16f"
"""Stands in each password of these tests, and nowhere else; the same in each run, as it is in the names of tests."""
OWN_CODE = str(Path(ptb_mongo.__file__).parent)


@pytest.fixture(autouse=True)
def no_password_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert PART not in caplog.text


def shown(error: BaseException) -> str:
    """An error's text, after a look at everything that a log would show of it."""
    assert PART not in "".join(traceback.format_exception(error))
    assert PART not in repr(error)
    return str(error)


def refused(*args: Any, **options: Any) -> str:
    """The text of the error with which a persistence refuses to be made."""
    with pytest.raises(ConfigurationError) as caught:
        MongoPersistence(*args, **options)
    return shown(caught.value)


def own_tasks() -> list[str]:
    """What this package has running; clients that were passed in have tasks, too."""
    running = [task for task in asyncio.all_tasks() if not task.done()]
    return [repr(task) for task in running if OWN_CODE in task.get_coro().cr_code.co_filename]


async def failed_start(persistence: Any, error_type: type[PersistenceError]) -> str:
    """The text of the error with which an application fails to start; nothing of it is left open."""
    assert PART not in repr(persistence)
    gc.collect()
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always")
        with pytest.raises(error_type) as caught:
            await offline_application(persistence).initialize()
        text = shown(caught.value)
        del caught
        gc.collect()
    assert [str(warning.message) for warning in unclosed] == []
    assert own_tasks() == []
    return text


async def starts(persistence: Any) -> None:
    application = offline_application(persistence)
    await application.initialize()
    await application.shutdown()


# -- connection strings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", ["", "localhost:27017", "mongodb://", f"http://bot:{PART}@db", f"mongo://bot:{PART}@db", f"bot:{PART}@db"]
)
def test_what_is_no_connection_string_is_refused_with_an_example_of_one(uri):
    assert '"mongodb://localhost:27017"' in refused(uri)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("maxPoolSize=lots", "maxpoolsize"),
        ("readPreference=sometimes", "sometimes"),
        ("w=-1", "w must be"),
        ("authMechanism=NOPE", "authmechanism"),
        ("tlss=true", "tlss"),
        ("appName", "key=value"),
        ("tls=true&tlsCAFile=/does/not/exist", "/does/not/exist"),
        (f"tls=true&tlsCertificateKeyFilePassword={PART}&nope=1", "nope"),
    ],
)
@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
def test_a_bad_option_in_a_connection_string_is_named(scheme, option, named):
    text = refused(f"{scheme}://bot:{PART}@db.example/my_bot?{option}")

    assert named in text
    assert f"{scheme}://***@db.example/my_bot?" in text


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
@pytest.mark.parametrize("character", list("@/:?"))
def test_a_password_that_is_not_escaped_is_refused_with_the_way_to_escape_it(scheme, character):
    text = refused(f"{scheme}://bot:{PART}{character}{PART}@db.example/my_bot")

    assert "urllib.parse.quote_plus" in text


@pytest.mark.parametrize("port", ["port", "99999999"])
def test_a_port_that_is_none_is_refused(port):
    assert "ort" in refused(f"mongodb://bot:{PART}@db.example:{port}/")


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://bot:{PART}@db.example/my_bot",
        f"mongodb+srv://bot:{PART}@db.example/my_bot",
        f"mongodb://bot:{PART}@db.example,other.example:27018/my_bot?tls=true&tlsCertificateKeyFilePassword={PART}",
        f"mongodb://AWSKEY:{PART}@db.example/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{PART}",
        f"mongodb://{PART}:@db.example/my_bot",
    ],
)
def test_a_persistence_does_not_show_its_password(uri):
    text = repr(MongoPersistence(uri))

    assert PART not in text
    assert "db.example" in text


# -- arguments -----------------------------------------------------------------------------------------------

BAD_NAMES = [
    "",
    "a b",
    "a.b",
    "a/b",
    "a\\b",
    'a"b',
    "a$b",
    "a*b",
    "a<b",
    "a:b",
    "a|b",
    "a?b",
    "a\0b",
    "x" * 64,
    "é" * 32,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_database_name_that_mongodb_refuses_is_refused_at_once(name):
    assert "database" in refused(f"mongodb://bot:{PART}@localhost", name)


@pytest.mark.parametrize("name", ["a.b", "a b", "a$b", "x" * 64])
def test_a_database_name_in_a_connection_string_is_checked_too(name):
    assert "database" in refused(f"mongodb://bot:{PART}@localhost/{name}")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"loading": "fast"}, "'eager', 'lazy'"),
        ({"refresh": "poll"}, "'auto', 'watch', 'read', 'off'"),
        ({"on_conflict": "theirs"}, '"local", "remote"'),
        ({"exclude": {"users": {"cache"}}}, "'user_data', 'chat_data', 'bot_data'"),
        ({"exclude": {"user_data": "cache"}}, "{'user_data': {'cache'}}"),
        ({"trusted": "mybot"}, "('mybot',)"),
        ({"trusted": [5]}, "int"),
    ],
)
def test_an_unknown_value_of_an_option_is_refused_with_those_that_are_known(options, named):
    assert named in refused("mongodb://localhost", **options)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="colection_prefix"):
        MongoPersistence("mongodb://localhost", colection_prefix="x")


def test_a_blocking_client_is_refused_with_those_that_are_not():
    with MongoClient(connect=False) as client:
        assert "AsyncMongoClient" in refused(client)


@pytest.mark.parametrize("client", [None, 5, b"mongodb://localhost", {"host": "localhost"}], ids=repr)
def test_what_is_no_client_is_refused_with_what_is_one(client):
    text = refused(client)

    assert "AsyncMongoClient" in text
    assert type(client).__name__ in text


def test_every_refusal_is_a_persistence_error_and_a_value_error():
    assert issubclass(ConfigurationError, PersistenceError)
    assert issubclass(ConfigurationError, ValueError)


# -- servers that do not answer ------------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, and at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


QUICK = "serverSelectionTimeoutMS=200"


@pytest.mark.parametrize("options", [{}, {"loading": "lazy"}, {"refresh": "off"}], ids=repr)
async def test_a_refused_connection_is_named(closed_port, options):
    persistence = MongoPersistence(f"mongodb://bot:{PART}@127.0.0.1:{closed_port}/?{QUICK}", **options)

    text = await failed_start(persistence, UnavailableError)

    assert f"127.0.0.1:{closed_port}" in text
    assert len(text) < 200


@contextlib.asynccontextmanager
async def passed_in(make_client: Callable[[str], Any], uri: str) -> AsyncIterator[Any]:
    client = make_client(uri)
    try:
        yield client
    finally:
        closing = client.close()
        if closing is not None:
            await closing
        del client, closing
        with warnings.catch_warnings():  # PyMongo's may forget a socket that it was about to connect
            warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
            gc.collect()


@pytest.mark.parametrize("make_client", [AsyncIOMotorClient, AsyncMongoClient])
async def test_a_refused_connection_of_a_passed_in_client_is_named(closed_port, make_client):
    uri = f"mongodb://bot:{PART}@127.0.0.1:{closed_port}/?{QUICK}"
    async with passed_in(make_client, uri) as client:
        text = await failed_start(MongoPersistence(client), UnavailableError)

    assert f"127.0.0.1:{closed_port}" in text


@pytest.mark.parametrize("make_client", [AsyncIOMotorClient, AsyncMongoClient])
async def test_a_client_that_is_closed_already_is_named(mongodb_server_uri, make_client):
    async with passed_in(make_client, mongodb_server_uri) as client:
        pass

    assert "after close" in await failed_start(MongoPersistence(client), UnavailableError)


async def test_a_refused_connection_is_a_connection_error_to_those_who_do_not_know_this_package(closed_port):
    persistence = MongoPersistence(f"mongodb://127.0.0.1:{closed_port}/?{QUICK}")

    with pytest.raises(ConnectionError):
        await offline_application(persistence).initialize()


# -- servers that refuse -------------------------------------------------------------------------------------


class Guarded:
    """A server that asks for passwords and is no replica set."""

    def __init__(self, port: int) -> None:
        self._hosts = f"127.0.0.1:{port}"

    def uri(self, user: str = "bot", password: str = PART, options: str = "authSource=admin") -> str:
        return f"mongodb://{user}:{password}@{self._hosts}/my_bot?{options}"

    @property
    def uri_without_user(self) -> str:
        return f"mongodb://{self._hosts}/my_bot"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A `mongod` with access control, and two users."""
    with guarded_mongod(tmp_path_factory.mktemp("guarded"), PART) as port:
        server = Guarded(port)
        with MongoClient(server.uri("root")) as client:
            write, read = {"role": "readWrite", "db": "my_bot"}, {"role": "read", "db": "my_bot"}
            client.admin.command("createUser", "bot", pwd=PART, roles=[write])
            client.admin.command("createUser", "reader", pwd=PART, roles=[read])
        yield server


async def test_the_right_password_starts_the_bot(guarded):
    await starts(MongoPersistence(guarded.uri()))


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param({"password": f"{PART}x"}, id="password"),
        pytest.param({"user": "nobody"}, id="user"),
        pytest.param({"options": "authSource=my_bot"}, id="authSource"),
    ],
)
async def test_bad_credentials_are_named_as_such(guarded, credentials):
    text = await failed_start(MongoPersistence(guarded.uri(**credentials)), ConfigurationError)

    assert "user name or the password" in text
    assert "authSource" in text


async def test_missing_credentials_are_named_as_such(guarded):
    text = await failed_start(MongoPersistence(guarded.uri_without_user), RefusedError)

    assert "requires authentication" in text


@pytest.mark.parametrize(("user", "database"), [("reader", "my_bot"), ("bot", "another_bot")])
async def test_missing_rights_are_named_as_such(guarded, user, database):
    text = await failed_start(MongoPersistence(guarded.uri(user), database), RefusedError)

    assert f"not authorized on {database}" in text


async def test_watching_a_standalone_server_fails_with_the_way_to_a_replica_set(guarded):
    text = await failed_start(MongoPersistence(guarded.uri(), refresh="watch"), WatchUnavailableError)

    assert "--replSet" in text
    assert "rs.initiate()" in text
    assert 'refresh="read"' in text


async def test_a_standalone_server_is_read_at_each_update_and_one_line_in_the_log_says_so(guarded, caplog):
    await starts(MongoPersistence(guarded.uri(), refresh="auto"))

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert len(lines) == 1
    assert "replica set" in lines[0]


async def test_a_database_whose_name_exists_in_other_letters_is_refused(mongodb_server_uri, mongodb_database):
    other = mongodb_database.upper()
    with MongoClient(mongodb_server_uri) as client:
        client[mongodb_database].things.insert_one({})

    text = await failed_start(MongoPersistence(mongodb_server_uri, other), RefusedError)

    assert mongodb_database in text
    assert "different case" in text


@pytest.mark.parametrize("prefix", ["a$", "system.", ".a", "x" * 250])
async def test_a_prefix_that_mongodb_refuses_is_refused(mongodb_server_uri, mongodb_database, prefix):
    persistence = MongoPersistence(mongodb_server_uri, mongodb_database, collection_prefix=prefix)

    assert prefix in await failed_start(persistence, PersistenceError)


# -- what lies in the database -------------------------------------------------------------------------------


@pytest.fixture
def stored_format(database: Any) -> Callable[..., None]:
    """Writes what the database says of its own format."""

    def write(**fields: Any) -> None:
        found = {"_id": "format", "version": 1, "bot_id": BOT_ID, **fields}
        found["proof"] = proof(TOKEN, found["version"])
        database.ptb_mongo.replace_one({"_id": "format"}, found, upsert=True)

    return write


@pytest.mark.parametrize("version", [2, 9])
async def test_a_format_that_is_newer_is_refused_with_the_way_to_read_it(mongo_persistence, stored_format, version):
    stored_format(version=version)

    text = await failed_start(mongo_persistence(), FormatError)

    assert repr(version) in text
    assert "pip install -U ptb-mongo" in text


async def test_nothing_is_written_to_a_newer_format(
    mongo_persistence, stored_format, mongodb_server_uri, mongodb_database
):
    stored_format(version=2)

    await failed_start(mongo_persistence(), FormatError)

    with MongoClient(mongodb_server_uri) as client:
        assert client[mongodb_database].list_collection_names() == ["ptb_mongo"]
        assert client[mongodb_database].ptb_mongo.find_one() == {
            "_id": "format",
            "version": 2,
            "bot_id": BOT_ID,
            "proof": ANY,
        }


async def test_a_persistence_whose_start_has_failed_may_be_started_again(mongo_persistence, stored_format):
    persistence = mongo_persistence()
    stored_format(version=2)
    await failed_start(persistence, FormatError)
    stored_format(version=1)

    await starts(persistence)


async def test_another_bots_data_is_warned_of_once(mongo_persistence, stored_format, caplog):
    stored_format(bot_id=42)

    await starts(mongo_persistence())

    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "42" in warning
    assert str(BOT_ID) in warning
    assert "collection_prefix" in warning


async def test_the_bots_own_data_is_warned_of_by_nobody(mongo_persistence, caplog):
    for _ in range(2):
        await starts(mongo_persistence())

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
