"""Whatever a client's options are, a bot works with it, or is refused with an error that says what to change.

The kind of fault: an option of a borrowed client, or of a URI, silently makes saves get lost or hang.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from bots import USER, Bot
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from commands import Commands
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import CommandStartedEvent
from pymongo.server_api import ServerApi
from pymongo.uri_parser import parse_uri

from ptb_mongo import ConfigurationError, MongoPersistence, PersistenceError
from ptb_mongo.driver import options as client_options
from ptb_mongo.embedded import EmbeddedMongo, EmbeddedReplicaSet

WORK: dict[str, dict[str, Any]] = {
    "none": {},
    "two connections": {"maxPoolSize": 2},
    "any number of connections": {"maxPoolSize": 0},
    "connections that are closed at once": {"maxIdleTimeMS": 1},
    "connections that are opened at once": {"minPoolSize": 3},
    "one connection opened at a time": {"maxConnecting": 1},
    "little patience for a connection": {"waitQueueTimeoutMS": 100},
    "one server's acknowledgement": {"w": 1},
    "a majority and a time limit": {"w": "majority", "wtimeoutMS": 5000},
    "a time limit for writes alone": {"wtimeoutMS": 5000},
    "with journal": {"journal": True},
    "without journal": {"journal": False},
    "secondaries": {"readPreference": "secondary"},
    "secondaries that are not too old": {"readPreference": "secondaryPreferred", "maxStalenessSeconds": 90},
    "read concern local": {"readConcernLevel": "local"},
    "read concern available": {"readConcernLevel": "available"},
    "read concern majority": {"readConcernLevel": "majority"},
    "read concern linearizable": {"readConcernLevel": "linearizable"},
    "read concern snapshot": {"readConcernLevel": "snapshot"},
    "no retries": {"retryWrites": False, "retryReads": False},
    "dates with time zone": {"tz_aware": True},
    "dates as milliseconds": {"datetime_conversion": DatetimeConversion.DATETIME_MS},
    "another form of UUIDs": {"uuidRepresentation": "pythonLegacy"},
    "text that is not valid": {"unicode_decode_error_handler": "ignore"},
    "another class of documents": {"document_class": SON},
    "raw documents": {"document_class": RawBSONDocument},
    "compression": {"compressors": "zlib"},
    "the stable API": {"server_api": ServerApi("1")},
    "only the stable API": {"server_api": ServerApi("1", strict=True, deprecation_errors=True)},
    "polling of servers": {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500},
    "no connection before it is needed": {"connect": False},
    # shorter than the stream waits for events: it breaks again and again, and is opened again
    "a time limit of all": {"timeoutMS": 400},
    "a time limit of sockets": {"socketTimeoutMS": 400},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one connection": ({"maxPoolSize": 1}, r'maxPoolSize=1: .*maxPoolSize=2 or more, or refresh="read"'),
    "too many servers": ({"w": 5}, r"w=5 can never be met by this server \(.*\).*leave it out"),
    "no such tag": ({"w": "everywhere"}, r"w='everywhere' can never be met by this server \(.*\).*leave it out"),
    "too many, and a time limit": ({"w": 5, "wtimeoutMS": 50}, r"w=5, wtimeout=50 can never be met"),
    "no acknowledgement": ({"w": 0}, "w=0, MongoDB does not say .* Leave it out"),
    "nor a journal": ({"w": 0, "journal": False}, "w=0"),
    "a load balancer that is none": ({"loadBalanced": True}, "load balanc"),
    "no such user": ({"username": "nobody", "password": "secret"}, "refuses the user name or the password"),
}


class Sent(Commands):
    """Notes the commands that a client sends."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(event.command)


BY_URI = {"maxPoolSize", "w", "wtimeoutMS", "journal", "loadBalanced"}


@pytest.fixture(params=["motor", "pymongo"])
async def made(request: pytest.FixtureRequest, mongodb_server_uri: str) -> AsyncIterator[Callable[..., Any]]:
    """Makes clients of the server."""
    async with contextlib.AsyncExitStack() as stack:

        def make(uri: str = mongodb_server_uri, **options: Any) -> Any:
            client: Any = (AsyncIOMotorClient if request.param == "motor" else AsyncMongoClient)(uri, **options)

            async def close() -> None:
                closing = client.close()
                if asyncio.iscoroutine(closing):
                    await closing

            stack.push_async_callback(close)
            return client

        yield make


def alone(uri: str) -> str:
    """The URI of a server without the name of its replica set."""
    host, port = parse_uri(uri)["nodelist"][0]
    return f"mongodb://{host}:{port}/"


async def saves_and_sees(bot: Bot, database: Any) -> None:
    """A bot saves what its handlers do, and sees what others do, at once and after a pause."""
    async with bot.application:
        assert bot.persistence.refresh_mode == "watch"
        for number in range(3):
            await bot.hears(lambda context, number=number: context.user_data.update(n=number))
            await bot.saves()
            assert database.user_data.find_one({"_id": USER})["data"]["n"] == number
            database.user_data.update_one({"_id": USER}, {"$set": {"data.seen": number}})
            await bot.sees(lambda data, number=number: data.get("seen") == number)
    assert bot.errors == []
    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 2, "seen": 2}


@pytest.mark.parametrize("options", WORK.values(), ids=WORK)
async def test_a_bot_works_on_a_client_with(
    options: dict[str, Any], made: Callable[..., Any], database: Any, mongodb_database: str
) -> None:
    await saves_and_sees(Bot(MongoPersistence(made(**options), mongodb_database)), database)


async def test_a_bot_works_on_a_client_that_knows_one_server_only(
    made: Callable[..., Any], database: Any, mongodb_database: str, mongodb_server_uri: str
) -> None:
    client = made(alone(mongodb_server_uri), directConnection=True)
    await saves_and_sees(Bot(MongoPersistence(client, mongodb_database)), database)


@pytest.mark.parametrize(("options", "sentence"), REFUSED.values(), ids=REFUSED)
async def test_a_bot_does_not_start_on_a_client_with(
    options: dict[str, Any], sentence: str, made: Callable[..., Any], mongodb_database: str, mongodb_server_uri: str
) -> None:
    uri = alone(mongodb_server_uri) if "loadBalanced" in options else mongodb_server_uri

    with pytest.raises(PersistenceError, match=sentence):
        await Bot(MongoPersistence(made(uri, **options), mongodb_database)).application.initialize()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [case for case in REFUSED.values() if case[0].keys() <= BY_URI and "loadBalanced" not in case[0]],
    ids=[name for name, case in REFUSED.items() if case[0].keys() <= BY_URI and "loadBalanced" not in case[0]],
)
async def test_nor_on_a_uri_with(
    options: dict[str, Any], sentence: str, mongodb_database: str, mongodb_server_uri: str
) -> None:
    words = "&".join(f"{name}={str(value).lower()}" for name, value in options.items())

    with pytest.raises(ConfigurationError, match=sentence):
        await Bot(MongoPersistence(f"{mongodb_server_uri}&{words}", mongodb_database)).application.initialize()


async def test_one_connection_is_enough_where_no_stream_is_followed(
    made: Callable[..., Any], database: Any, mongodb_database: str
) -> None:
    bot = Bot(MongoPersistence(made(maxPoolSize=1), mongodb_database, refresh="read"))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()
        assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1}


@pytest.mark.parametrize("options", [{}, {"journal": False}, {"journal": True}, {"wtimeoutMS": 5000}])
async def test_a_write_concern_that_leaves_open_how_many_servers_is_that_of_a_majority(
    options: dict[str, Any], made: Callable[..., Any], mongodb_database: str
) -> None:
    sent = Sent()
    bot = Bot(MongoPersistence(made(event_listeners=[sent], **options), mongodb_database))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()

    concerns = [command["writeConcern"] for command in sent.commands if "writeConcern" in command]
    for concern in concerns:
        concern.pop("wtimeout", None)  # with Motor, our own deadline takes its place
    expected = {"w": "majority", **({"j": options["journal"]} if "journal" in options else {})}
    assert concerns
    assert concerns == [expected] * len(concerns)


@pytest.mark.parametrize("level", ["majority", "linearizable", "snapshot", "available"])
async def test_what_a_bot_reads_at_its_start_is_never_older_than_what_it_wrote(
    level: str, made: Callable[..., Any], mongodb_database: str
) -> None:
    sent = Sent()
    bot = Bot(MongoPersistence(made(event_listeners=[sent], readConcernLevel=level), mongodb_database))
    async with bot.application:
        pass

    concerns = [command.get("readConcern") for command in sent.commands if "find" in command]
    assert concerns
    assert concerns == [{"level": "local"}] * len(concerns)


# -- as soon as possible ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "client",
    [
        lambda: "mongodb://localhost/?w=0",
        lambda: "mongodb+srv://ada:secret@cluster.example.org/my_bot?W=0",
        lambda: AsyncMongoClient("mongodb://localhost/?w=0"),
        lambda: AsyncIOMotorClient("mongodb://localhost", w=0),
    ],
    ids=["uri", "srv", "pymongo", "motor"],
)
async def test_what_is_never_acknowledged_is_refused_before_any_server_is_asked(client: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match="w=0") as refused:
        MongoPersistence(client(), "my_bot")
    assert "secret" not in str(refused.value)


def pretend(monkeypatch: pytest.MonkeyPatch, package: str, version: str) -> None:
    """Another version of a package is installed."""
    real = metadata.version
    monkeypatch.setattr(client_options, "_version", lambda name: version if name == package else real(name))


@pytest.mark.parametrize(
    ("package", "version"),
    [("pymongo", "4.10.1"), ("pymongo", "4.9"), ("pymongo", "3.13.0"), ("motor", "3.6.1"), ("motor", "3.6.0.dev1")],
)
def test_a_driver_that_blocks_the_event_loop_is_refused(
    monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    pretend(monkeypatch, package, version)

    with pytest.raises(ConfigurationError, match=rf"{package} {version} is too old.*pip install -U \"{package}>="):
        MongoPersistence("mongodb://localhost", "my_bot")


@pytest.mark.parametrize(("package", "version"), [("pymongo", "4.11"), ("pymongo", "5.0.0b1"), ("motor", "3.7.0")])
def test_a_newer_one_is_not(monkeypatch: pytest.MonkeyPatch, package: str, version: str) -> None:
    pretend(monkeypatch, package, version)

    MongoPersistence("mongodb://localhost", "my_bot")


def test_what_pip_installs_is_no_older() -> None:
    required = (Path(__file__).parents[2] / "pyproject.toml").read_text()

    assert '"motor>=3.7"' in required
    assert '"pymongo>=4.11"' in required


async def test_a_client_that_has_no_options_is_not_asked_for_any() -> None:
    bot = Bot(MongoPersistence(AsyncMongoMockClient(), "my_bot"))
    async with bot.application:
        assert bot.persistence.refresh_mode == "read"


# -- where it matters what kind of server it is ----------------------------------------------------------


@pytest.fixture(scope="module")
def single() -> Iterator[str]:
    """A server that is no replica set."""
    with EmbeddedMongo(replica_set=None) as server:
        yield server.uri


@pytest.mark.parametrize("w", [2, "everywhere"])
async def test_a_server_that_is_no_replica_set_cannot_meet(w: Any, single: str, made: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"w={w!r} can never be met"):
        await Bot(MongoPersistence(made(single, w=w), "my_bot")).application.initialize()


@pytest.mark.parametrize("w", [1, "majority"])
async def test_a_server_that_is_no_replica_set_can_meet(w: Any, single: str, made: Callable[..., Any]) -> None:
    bot = Bot(MongoPersistence(made(single, w=w), "my_bot"))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=w))
    with MongoClient(single) as client:
        assert client["my_bot"].user_data.find_one({"_id": USER})["data"] == {"n": w}


@pytest.fixture(scope="module")
def several() -> Iterator[EmbeddedReplicaSet]:
    """A replica set that has a secondary."""
    with EmbeddedReplicaSet(2) as servers:
        yield servers


async def test_a_way_that_leads_to_a_secondary_only_is_refused(
    several: EmbeddedReplicaSet, made: Callable[..., Any]
) -> None:
    primary = several.primary()
    other = next(member for member in several.members if member is not primary)
    client = made(alone(other.uri), directConnection=True, serverSelectionTimeoutMS=3000)

    with pytest.raises(ConfigurationError, match=rf"{other.port} is a secondary.*{primary.port}.*directConnection"):
        await Bot(MongoPersistence(client, "my_bot")).application.initialize()
