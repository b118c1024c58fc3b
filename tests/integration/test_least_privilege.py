"""The database user of `SECURITY.md` may do everything that a bot needs, and nothing else."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guarded import guarded_mongod
from offline import BOT_ID, message_from, offline_application
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import SharedBot
from workers import running as shared

from ptb_mongo import MongoPersistence, PersistenceError

SECURITY = Path(__file__).parents[2] / "SECURITY.md"
PASSWORD = secrets.token_hex(8)
DATABASE = "my_bot"
USER = 42
ACTIONS = ["find", "insert", "update", "remove", "createIndex", "changeStream"]


def documented_role() -> dict[str, Any]:
    """What `SECURITY.md` passes to `createRole`, with its JavaScript made JSON."""
    (found,) = re.findall(r"createRole\((\{.*?\n\})\)", SECURITY.read_text(), re.DOTALL)
    text = re.sub(r"(\w+):", r'"\1":', found)
    role: dict[str, Any] = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
    return role


@dataclass
class Guarded:
    """A replica set of one node with access control."""

    port: int

    def uri(self, user: str) -> str:
        return f"mongodb://{user}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}?authSource=admin&replicaSet=rs0"

    def make_user(self, name: str, actions: list[str]) -> str:
        """A user with the documented role, reduced to some actions; gives the connection string."""
        role = documented_role()
        with MongoClient(self.uri("root")) as client:
            privileges = [{**privilege, "actions": actions} for privilege in role["privileges"]]
            client.admin.command("createRole", name, privileges=privileges, roles=role["roles"])
            client.admin.command("createUser", name, pwd=PASSWORD, roles=[name])
        return self.uri(name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_mongod(tmp_path_factory.mktemp("guarded"), PASSWORD, replica_set="rs0") as port:
        yield Guarded(port)


@pytest.fixture
def root(server: Guarded) -> Iterator[Any]:
    """Another service that may do everything, and the eyes of the tests."""
    with MongoClient(server.uri("root")) as client:
        client.drop_database(DATABASE)
        yield client[DATABASE]


async def remember(_: object, context: Any) -> int:
    for data in (context.user_data, context.chat_data, context.bot_data):
        data["n"] = data.get("n", 0) + 1
    button = InlineKeyboardButton("x", callback_data=("buy", 1))
    await context.bot.send_message(1, "?", reply_markup=InlineKeyboardMarkup.from_button(button))
    return 1


def a_whole_bot(uri: str, **options: Any) -> tuple[Any, list[BaseException]]:
    """A bot that stores something of every kind at each message, and the errors that it gets."""
    handlers = [MessageHandler(filters.TEXT, remember)]
    order = ConversationHandler(handlers, {1: handlers}, [], name="order", persistent=True)
    application = offline_application(MongoPersistence(uri, **{"shutdown_timeout": 3, **options}), order)
    errors: list[BaseException] = []

    async def note(_: object, context: Any) -> None:
        errors.append(context.error)

    application.add_error_handler(note)
    return application, errors


@contextlib.asynccontextmanager
async def running(uri: str, **options: Any) -> AsyncIterator[Any]:
    """A bot that must not get any error."""
    application, errors = a_whole_bot(uri, **options)
    async with application:
        yield application
        await application.update_persistence()
    assert errors == []


async def sees(application: Any, number: int) -> None:
    """Handles updates until an edit of another service is there."""
    for _ in range(1500):
        await application.process_update(message_from(USER))
        if application.user_data[USER]["n"] > number:
            return
    raise AssertionError("not seen")


def test_the_documented_role_has_the_actions_that_are_tried_here() -> None:
    role = documented_role()

    assert [privilege["actions"] for privilege in role["privileges"]] == [ACTIONS]
    assert [privilege["resource"] for privilege in role["privileges"]] == [{"db": DATABASE, "collection": ""}]
    assert role["roles"] == []


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_a_whole_bot_runs_with_the_documented_role(server: Guarded, root: Any, loading: Any) -> None:
    uri = server.make_user(f"whole-{loading}", ACTIONS)

    async with running(uri, loading=loading) as application:
        assert application.persistence.refresh_mode == "watch"
        await application.process_update(message_from(USER))
        await application.process_update(message_from(7))
        await application.update_persistence()
        root.user_data.update_one({"_id": USER}, {"$set": {"data.n": 1000}})
        await sees(application, 1000)
        application.drop_user_data(7)
    async with running(uri, loading=loading) as application:
        await application.process_update(message_from(USER))
        assert application.user_data[USER]["n"] > 1000
        assert [user async for user in application.persistence.user_ids()] == [USER]

    assert set(root.list_collection_names()) == {
        *("user_data", "chat_data", "bot_data", "conversations", "callback_data", "ptb_mongo")
    }
    assert "handler_1" in root.conversations.index_information()
    assert root.user_data.count_documents({"_id": 7}) == 0
    assert root.bot_data.find_one({"_id": BOT_ID})["data"]["n"] > 1


@pytest.mark.parametrize("options", [{"consistency": "strict"}, {"exclusive": True}], ids=["strict", "exclusive"])
async def test_workers_run_with_the_documented_role(server: Guarded, root: Any, options: Any) -> None:
    uri = server.make_user(f"worker-{'-'.join(options)}", ACTIONS)
    workers = [SharedBot(MongoPersistence(uri), **options) for _ in range(2)]

    async with shared(*workers):
        for number in range(6):
            await workers[number % 2].hears(
                lambda context: context.user_data.update(n=context.user_data.get("n", 0) + 1)
            )

    assert [worker.errors for worker in workers] == [[], []]
    assert root.user_data.find_one({"_id": USER})["data"] == {"n": 6}


async def test_without_change_streams_the_bot_reads_at_each_update_and_one_line_in_the_log_says_so(
    server: Guarded, root: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ptb_mongo")
    uri = server.make_user("reading", [action for action in ACTIONS if action != "changeStream"])

    async with running(uri) as application:
        assert application.persistence.refresh_mode == "read"
        await application.process_update(message_from(USER))
        await application.update_persistence()
        root.user_data.update_one({"_id": USER}, {"$set": {"data.n": 1000}})
        await application.process_update(message_from(USER))
        assert application.user_data[USER]["n"] == 1001

    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert "Unauthorized" in line
    assert "read once per update" in line
    assert PASSWORD not in line


@pytest.mark.parametrize("missing", [action for action in ACTIONS if action != "changeStream"])
async def test_no_action_of_the_documented_role_can_be_done_without(server: Guarded, root: Any, missing: str) -> None:
    uri = server.make_user(f"without-{missing}", [action for action in ACTIONS if action != missing])
    application, errors = a_whole_bot(uri)

    try:
        async with application:
            await application.process_update(message_from(USER))
            await application.update_persistence()
            application.drop_user_data(USER)
            await application.update_persistence()
    except PersistenceError as error:
        errors.append(error)
        await application.bot.shutdown()

    assert root is not None
    assert errors
    assert all(isinstance(error, PersistenceError) for error in errors)
    assert any(f"not authorized on {DATABASE}" in str(error) for error in errors)
    assert all(PASSWORD not in str(error) for error in errors)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda client: client["another"].things.find_one(),
        lambda client: client["another"].things.insert_one({}),
        lambda client: client[DATABASE].drop_collection("user_data"),
        lambda client: client.drop_database(DATABASE),
        lambda client: client.admin.command("usersInfo", 1),
        lambda client: client.admin.command("createUser", "x", pwd="x", roles=["root"]),
    ],
    ids=["read another database", "write to another", "drop a collection", "drop the database", "users", "a new user"],
)
def test_the_documented_role_may_do_nothing_else(server: Guarded, root: Any, forbidden: Callable[[Any], Any]) -> None:
    root.user_data.insert_one({"_id": USER})
    with contextlib.suppress(OperationFailure):
        server.make_user("harmless", ACTIONS)  # it may be there already

    with MongoClient(server.uri("harmless")) as client, pytest.raises(OperationFailure, match="not authorized"):
        forbidden(client)
