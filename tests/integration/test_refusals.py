"""A server that refuses: everything for a while, or one document because of its content.

The kind of fault: errors are classified by a list of temporary ones, so that every other refusal is blamed on the
document, and the bot's change is dropped: write blocking, a changed role, a quota, throttling, any unknown code. Also:
a refusal drops an update although the data is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bots import USER, Bot, until
from guarded import guarded_mongod
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import OperationFailure
from workers import SharedBot, running, text

from ptb_mongo import (
    DocumentError,
    MongoPersistence,
    PersistenceError,
    RefusedError,
    UnavailableError,
    UnsavedDataError,
    WatchUnavailableError,
)
from ptb_mongo.driver.streams import why_none
from ptb_mongo.migration.database import Database
from ptb_mongo.migration.inspection import inspect_server

PASSWORD = secrets.token_hex(8)
DATABASE = "refusals"
ACTIONS = ["find", "insert", "update", "remove", "createIndex", "changeStream"]
BLOCKED, UNAUTHORIZED, THROTTLED, ATLAS = 371, 13, 16500, 8000
FOR_EVERYBODY = [BLOCKED, UNAUTHORIZED, THROTTLED, ATLAS, 24, 64, 79, 96, 100, 112, 14031, 1, 8, 99999]


class Guarded:
    """A server with passwords and fail points, and the hand of its administrator."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.root: MongoClient[dict[str, Any]] = MongoClient(self.uri("root"))
        self.database = self.root[DATABASE]

    def uri(self, user: str = "bot") -> str:
        return f"mongodb://{user}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}?authSource=admin&replicaSet=rs0"

    def make_user(self) -> None:
        self.root.admin.command("createUser", "bot", pwd=PASSWORD, roles=["bots"])

    def allows(self, *actions: str) -> None:
        """Gives the role of the bot's user these actions, and no others."""
        privileges = [{"resource": {"db": DATABASE, "collection": ""}, "actions": list(actions)}]
        self.root.admin.command("updateRole", "bots", privileges=privileges)

    def refuses(self, code: int, *commands: str) -> None:
        """Refuses some commands of the bot with a code, until it is told otherwise."""
        data = {
            "failCommands": list(commands or ("update", "delete")),
            "errorCode": code,
            "namespace": f"{DATABASE}.user_data",
        }
        self.root.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)

    def refuses_statements(self) -> None:
        """Refuses each update in a command of its own accord, not the command, until it is told otherwise."""
        self.root.admin.command("configureFailPoint", "failAllUpdates", mode="alwaysOn")

    def refuses_streams(self, code: int) -> None:
        """Refuses to open change streams with a code, until it is told otherwise."""
        data = {"failCommands": ["aggregate"], "errorCode": code, "namespace": f"{DATABASE}.$cmd.aggregate"}
        self.root.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)

    def calms_down(self) -> None:
        """Refuses nothing any more."""
        for name in ("failCommand", "failAllUpdates"):
            self.root.admin.command("configureFailPoint", name, mode="off")
        self.root.admin.command("setUserWriteBlockMode", 1, **{"global": False})
        self.allows(*ACTIONS)

    def stored(self, user: int = USER) -> Any:
        document = self.database.user_data.find_one({"_id": user})
        return None if document is None else document["data"]


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("refusing")
    with guarded_mongod(folder, PASSWORD, "rs0", parameters=["enableTestCommands=1"]) as port:
        server = Guarded(port)
        server.root.admin.command("createRole", "bots", privileges=[], roles=[])
        server.make_user()
        with server.root:
            yield server


@pytest.fixture
def server(shared_server: Guarded) -> Iterator[Guarded]:
    shared_server.calms_down()
    shared_server.root.drop_database(DATABASE)
    yield shared_server
    shared_server.calms_down()


@pytest.fixture(params=["motor", "pymongo"])
async def client(request: pytest.FixtureRequest, server: Guarded) -> AsyncIterator[Any]:
    """What a bot is given: a URI, for Motor, or a client of PyMongo's."""
    if request.param == "motor":
        yield server.uri()
    else:
        async with AsyncMongoClient(server.uri()) as client:
            yield client


@pytest.fixture
async def bot(client: Any, server: Guarded) -> AsyncIterator[Bot]:
    """A bot that has a user with a balance of 10."""
    bot = Bot(MongoPersistence(client, DATABASE, shutdown_timeout=20))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(balance=10))
        await bot.saves()
        yield bot
        server.calms_down()
    assert bot.persistence.health().waiting == 0


async def saves(bot: Bot, balance: int, user: int = USER) -> None:
    await bot.hears(lambda context: context.user_data.update(balance=balance), user)
    await bot.saves()


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def refusals_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("MongoDB refuses")]


# -- for a while, to everybody --------------------------------------------------------------------------


@pytest.mark.parametrize("code", FOR_EVERYBODY)
async def test_what_is_refused_to_everybody_is_kept_said_once_and_saved_when_it_is_accepted(
    bot: Bot, server: Guarded, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    server.refuses(code)

    for number in range(99, 104):
        await saves(bot, number)
        await saves(bot, number, user=7)

    health = bot.persistence.health()
    assert [type(error) for error in bot.errors] == [RefusedError]
    assert f"(error {code})" in str(bot.errors[0])
    assert health.connected
    assert health.waiting == 2
    assert health.refused == 0  # neither of them is blamed
    assert "MongoDB refuses to save user_data" in str(health.reason)
    server.calms_down()
    await until(lambda: bot.persistence.health().waiting == 0)
    assert server.stored() == server.stored(7) == {"balance": 103}
    assert bot.persistence.health().reason is None
    begins, ends = refusals_logged(caplog)[0], [one for one in caplog.messages if "no longer refuses" in one]
    assert len(refusals_logged(caplog)) == 1
    assert "MongoDB refuses to save user_data; nothing is lost, and it is tried again" in begins
    assert ends == ["MongoDB no longer refuses to save user_data"]


async def test_a_refusal_for_a_moment_is_no_news(bot: Bot, server: Guarded) -> None:
    data = {"failCommands": ["update"], "errorCode": BLOCKED}
    server.root.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=data)

    await saves(bot, 99)

    assert bot.errors == []
    assert server.stored() == {"balance": 99}


async def test_a_database_whose_writes_are_blocked_is_waited_for(bot: Bot, server: Guarded) -> None:
    server.root.admin.command("setUserWriteBlockMode", 1, **{"global": True})
    await saves(bot, 99)
    await bot.hears(lambda context: context.chat_data.update(x=1))
    bot.application.drop_user_data(7)
    await bot.saves()

    assert {type(error) for error in bot.errors} == {RefusedError}
    server.calms_down()

    await until(lambda: bot.persistence.health().waiting == 0)
    assert server.stored() == {"balance": 99}
    assert server.database.chat_data.find_one()["data"] == {"x": 1}


@pytest.mark.parametrize("lost", ["update", "insert", "find", "remove"])
async def test_a_role_that_loses_an_action_for_a_while_loses_no_change(bot: Bot, server: Guarded, lost: str) -> None:
    await saves(bot, 1, user=7)
    server.allows(*set(ACTIONS) - {lost})

    await saves(bot, 99)
    await saves(bot, 1, user=8)
    await bot.hears(user=7)
    bot.application.drop_user_data(7)
    await bot.saves()

    server.allows(*ACTIONS)
    await until(lambda: bot.persistence.health().waiting == 0)
    assert [server.stored(user) for user in (USER, 7, 8)] == [{"balance": 99}, None, {"balance": 1}]


async def test_other_collections_are_saved_at_once_while_one_is_refused(bot: Bot, server: Guarded) -> None:
    server.refuses(BLOCKED)
    await saves(bot, 99)

    for number in range(20):
        await bot.hears(lambda context, n=number: context.chat_data.update(n=n))
        await bot.saves()
        assert server.database.chat_data.find_one()["data"] == {"n": number}


async def test_what_is_refused_until_the_stop_is_named_and_kept_for_the_next_start(
    client: Any, server: Guarded, tmp_path: Path
) -> None:
    bot = Bot(MongoPersistence(client, DATABASE, shutdown_timeout=1, spill_dir=tmp_path))
    await bot.application.initialize()
    await saves(bot, 10)
    server.refuses(BLOCKED)
    await saves(bot, 99)

    with pytest.raises(
        UnsavedDataError, match=r"MongoDB refuses to save user_data: .* \(user_data 42\); they are kept in"
    ):
        await bot.application.shutdown()

    server.calms_down()
    again = Bot(MongoPersistence(server.uri(), DATABASE))
    again.persistence._lifecycle.settings = bot.persistence._lifecycle.settings
    async with again.application:
        assert again.application.user_data[USER] == {"balance": 99}
    assert server.stored() == {"balance": 99}
    assert files(tmp_path) == []


async def test_what_is_saved_at_the_stop_alone_is_not_lost_when_it_is_refused_then(
    client: Any, server: Guarded, tmp_path: Path
) -> None:
    bot = Bot(MongoPersistence(client, DATABASE, shutdown_timeout=1, spill_dir=tmp_path, on_flush=True))
    await bot.application.initialize()
    await saves(bot, 99)
    server.refuses(BLOCKED)

    with pytest.raises(UnsavedDataError, match="they are kept in"):
        await bot.application.shutdown()

    assert len(files(tmp_path)) == 1


async def test_an_update_whose_changes_are_refused_is_to_be_delivered_again(server: Guarded) -> None:
    worker = SharedBot(MongoPersistence(server.uri(), DATABASE, shutdown_timeout=20))
    async with worker.application:
        server.refuses(BLOCKED)

        async def changes(_: Any, context: Any) -> None:
            context.user_data["x"] = 1

        update = text()
        worker._acts[update.update_id] = changes
        with pytest.raises(UnavailableError, match="has not acknowledged"):
            await worker.application.deliver(update)
        server.calms_down()
        await until(lambda: worker.persistence.health().waiting == 0)


@pytest.mark.parametrize("whole", [True, False], ids=["commands", "statements"])
@pytest.mark.parametrize(
    "options",
    [
        {"consistency": "stream"},
        {"consistency": "strict"},
        {"exclusive": True},
        {"exclusive": True, "once": "transaction"},
    ],
    ids=["stream", "strict", "exclusive", "transaction"],
)
async def test_updates_that_come_again_are_handled_as_soon_as_nothing_is_refused_any_more(
    server: Guarded, options: dict[str, Any], whole: bool
) -> None:
    """Each is taken back when it fails, so that nothing may be left that waits, and could be tried again."""
    worker = SharedBot(MongoPersistence(server.uri(), DATABASE, shutdown_timeout=20), **options)
    has_come = asyncio.Event()
    async with running(worker):

        async def changes(_: Any, context: Any) -> None:
            context.user_data["x"] = context.user_data.get("x", 0) + 1
            if not has_come.is_set():
                has_come.set()
                if whole:
                    server.refuses(BLOCKED)
                else:
                    server.refuses_statements()

        update = text()
        for _ in range(3):
            with pytest.raises(PersistenceError):
                await worker.delivers(update, changes)
        server.calms_down()

        for _ in range(100):  # as Telegram sends it
            with contextlib.suppress(PersistenceError):
                await worker.delivers(update, changes)
                break
            await asyncio.sleep(0.05)
        assert server.stored() == {"x": 1}
        assert worker.persistence.health().reason is None


# -- reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refresh", ["watch", "read"])
async def test_an_update_of_somebody_who_is_loaded_is_handled_though_the_refresh_is_refused(
    client: Any, server: Guarded, caplog: pytest.LogCaptureFixture, refresh: Any
) -> None:
    bot = Bot(MongoPersistence(client, DATABASE, refresh=refresh, shutdown_timeout=20))
    async with bot.application:
        await saves(bot, 10)
        server.refuses(UNAUTHORIZED, "find", "aggregate")
        server.database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

        for _ in range(5):
            await bot.hears(lambda context: context.user_data.update(seen=True))
            await asyncio.sleep(0)  # the change stream has no event that a test could wait for

        assert bot.errors == []
        assert len(refusals_logged(caplog)) <= 1
        server.calms_down()
        await bot.sees(lambda data: data.get("plan") == "premium")
        await bot.saves()
        assert server.stored() == {"balance": 10, "plan": "premium", "seen": True}


async def test_a_worker_handles_an_update_of_somebody_who_is_loaded_though_the_read_is_refused(
    client: Any, server: Guarded
) -> None:
    bot = SharedBot(MongoPersistence(client, DATABASE, shutdown_timeout=20))
    handled: list[Any] = []
    async with running(bot):
        await bot.delivers(text(), lambda _, context: context.user_data.update(balance=10))
        server.refuses(UNAUTHORIZED, "find", "aggregate", "getMore")
        server.database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})

        for _ in range(5):
            await bot.takes(text(), lambda _, context: handled.append(dict(context.user_data)))

        assert len(handled) == 5
        assert bot.errors == []
        server.calms_down()


async def test_a_bot_whose_user_was_dropped_and_made_again_goes_on(
    server: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.driver.connection._FIRST_RENEWAL", 0.05)
    bot = Bot(MongoPersistence(server.uri(), DATABASE, shutdown_timeout=20))
    async with bot.application:
        await saves(bot, 10)
        server.root.admin.command("dropUser", "bot")
        await saves(bot, 99)
        server.make_user()

        await until(lambda: bot.persistence.health().waiting == 0)
        assert server.stored() == {"balance": 99}
        server.database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})
        await bot.sees(lambda data: data.get("plan") == "premium")


async def test_a_client_of_a_user_whose_login_is_lost_is_named(server: Guarded) -> None:
    async with AsyncMongoClient(server.uri()) as client:
        bot = Bot(MongoPersistence(client, DATABASE, shutdown_timeout=0.5))
        await bot.application.initialize()
        await saves(bot, 10)
        server.root.admin.command("dropUser", "bot")
        try:
            await saves(bot, 99)

            assert "a client whose user was dropped and made again stays logged out" in str(
                bot.persistence.health().reason
            )
            with pytest.raises(UnsavedDataError):
                await bot.application.shutdown()
        finally:
            server.make_user()


# -- the change stream at the start ---------------------------------------------------------------------


@pytest.mark.parametrize("refresh", ["auto", "watch"])
@pytest.mark.parametrize("code", [THROTTLED, BLOCKED, ATLAS, 8, 112, 202, 402, 99999])
async def test_a_start_whose_stream_is_refused_for_now_fails_with_the_reason_and_the_next_one_watches(
    server: Guarded, refresh: Any, code: int
) -> None:
    server.refuses_streams(code)
    with pytest.raises(RefusedError, match=rf"\(error {code}\)"):
        await Bot(MongoPersistence(server.uri(), DATABASE, refresh=refresh)).application.initialize()

    server.calms_down()
    again = Bot(MongoPersistence(server.uri(), DATABASE, refresh=refresh))
    async with again.application:
        assert again.persistence.refresh_mode == "watch"


@pytest.mark.parametrize("refresh", ["auto", "watch"])
@pytest.mark.parametrize("code", [6, 50, 189, 262, 11602, 13436])
async def test_a_start_whose_stream_meets_a_server_that_is_away_says_so(
    server: Guarded, refresh: Any, code: int
) -> None:
    server.refuses_streams(code)

    with pytest.raises(UnavailableError):
        await Bot(MongoPersistence(server.uri(), DATABASE, refresh=refresh)).application.initialize()


@pytest.mark.parametrize("code", [2, UNAUTHORIZED, 59, 72, 115, 136, 238, 40324, 40573])
async def test_a_bot_whose_server_says_that_it_has_no_streams_reads(
    server: Guarded, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    server.refuses_streams(code)
    bot = Bot(MongoPersistence(server.uri(), DATABASE))
    async with bot.application:
        assert bot.persistence.refresh_mode == "read"
    assert "read once per update" in caplog.text

    with pytest.raises(WatchUnavailableError, match="no change stream"):
        await Bot(MongoPersistence(server.uri(), DATABASE, refresh="watch")).application.initialize()


class Answering:
    """A database that answers every command with an error."""

    def __init__(self, text: str, code: int) -> None:
        self._error = OperationFailure(text, code)

    async def command(self, *_: Any, **__: Any) -> None:
        raise self._error


async def test_a_connection_that_is_not_logged_in_says_nothing_of_streams() -> None:
    with pytest.raises(OperationFailure):
        await why_none(Answering("command aggregate requires authentication", UNAUTHORIZED))


async def test_a_server_of_another_maker_has_no_streams() -> None:  # a fail point with its code ends the connection
    assert await why_none(Answering("Feature not supported", 303)) == "it has none (303)"


async def test_a_stream_that_is_refused_while_the_bot_runs_is_opened_when_it_can_be(bot: Bot, server: Guarded) -> None:
    server.refuses_streams(THROTTLED)
    await bot.persistence.flush()
    await bot.hears(lambda context: context.user_data.update(balance=11))
    server.calms_down()

    await saves(bot, 12)
    assert bot.persistence.refresh_mode == "watch"
    server.database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}})
    await bot.sees(lambda data: data.get("plan") == "premium")


async def test_a_check_tells_why_a_stream_is_refused(server: Guarded) -> None:
    async with Bot(MongoPersistence(server.uri(), DATABASE)).application:
        pass
    server.refuses_streams(THROTTLED)

    database = await Database.open(server.uri(), DATABASE)
    try:
        found = await inspect_server(database)
    finally:
        await database.close()

    assert f"(error {THROTTLED})" in str(found.rights["watch"])


# -- for a document's own sake --------------------------------------------------------------------------


def demands(server: Guarded, **schema: Any) -> None:
    """Sets a validator for the data of users."""
    validator = {"$jsonSchema": {"properties": {"data": {"properties": schema}}}} if schema else {}
    server.database.command("collMod", "user_data", validator=validator)


async def test_all_other_changes_of_a_document_that_is_refused_are_saved_and_it_is_saved_when_it_can_be(
    bot: Bot, server: Guarded
) -> None:
    demands(server, balance={"minimum": 0})

    await bot.hears(lambda context: context.user_data.update(balance=-1, name="Ada", tags=["x"]))
    await saves(bot, 5, user=7)

    (error,) = bot.errors
    assert isinstance(error, DocumentError)
    assert re.match(r"user_data, _id 42, at data.balance: Document failed validation", str(error))
    assert server.stored() == {"balance": 10, "name": "Ada", "tags": ["x"]}
    assert server.stored(7) == {"balance": 5}
    health = bot.persistence.health()
    assert (health.waiting, health.refused, health.reason) == (1, 1, None)
    demands(server)
    await bot.persistence.flush()
    assert server.stored() == {"balance": -1, "name": "Ada", "tags": ["x"]}


async def test_what_a_unique_index_refuses_is_saved_when_its_cause_is_gone(
    bot: Bot, server: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.retries._PAUSES_OF_DOCUMENTS", (0.01, 0.05))
    server.database.user_data.create_index("data.email", unique=True, sparse=True)
    server.database.user_data.insert_one({"_id": 1, "data": {"email": "a@b.c"}})
    await bot.hears(lambda context: context.user_data.update(email="a@b.c", name="Ada"))
    await bot.saves()
    assert server.stored() == {"balance": 10, "name": "Ada"}

    server.database.user_data.delete_one({"_id": 1})

    await bot.persistence.flush()
    assert server.stored() == {"balance": 10, "email": "a@b.c", "name": "Ada"}


async def test_what_is_refused_because_of_its_content_is_named_at_the_stop_with_the_reason_and_kept(
    client: Any, server: Guarded, tmp_path: Path
) -> None:
    bot = Bot(MongoPersistence(client, DATABASE, spill_dir=tmp_path))
    await bot.application.initialize()
    await saves(bot, 10)
    demands(server, balance={"minimum": 0})
    await bot.hears(lambda context: context.user_data.update(balance=-1, name="Ada"))
    await bot.saves()

    with pytest.raises(
        UnsavedDataError, match=r"user_data, _id 42, at data.balance: Document failed validation.* kept in"
    ):
        await bot.application.shutdown()

    demands(server)
    again = Bot(MongoPersistence(server.uri(), DATABASE, spill_dir=tmp_path))
    async with again.application:
        assert again.application.user_data[USER] == {"balance": -1, "name": "Ada"}


async def test_a_change_that_cannot_be_stored_at_all_is_named_at_the_stop(client: Any, server: Guarded) -> None:
    bot = Bot(MongoPersistence(client, DATABASE))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(x=1, f=contextlib.nullcontext))
    await bot.saves()
    assert bot.persistence.health().refused == 1

    with pytest.raises(UnsavedDataError, match=r"cannot be stored and are lost: user_data, _id 42, at data.f"):
        await bot.application.shutdown()
    assert server.stored() == {"x": 1}  # all other changes are saved


async def test_a_value_that_cannot_be_stored_leaves_the_stored_one_and_is_saved_when_it_can_be(
    bot: Bot, server: Guarded
) -> None:
    await bot.hears(lambda context: context.user_data.update(balance=print, name="Ada"))
    await bot.saves()
    await bot.saves()

    (error,) = bot.errors
    assert str(error).startswith("user_data, _id 42, at data.balance: ")
    assert server.stored() == {"balance": 10, "name": "Ada"}
    await saves(bot, 11)
    assert server.stored() == {"balance": 11, "name": "Ada"}
    assert bot.persistence.health().refused == 0


@pytest.mark.parametrize("level", [logging.WARNING])
async def test_a_stop_with_everything_saved_says_nothing(
    bot: Bot, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    await saves(bot, 99)
    caplog.clear()

    await bot.application.shutdown()

    assert [record for record in caplog.records if record.levelno >= level] == []
    await bot.application.initialize()
