"""What `ptb-mongo` shows of a database, and how it repairs it; on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_models import Account, Basket, Coin, Level, Place
from guarded import guarded_mongod
from offline import BOT_ID, offline_application
from pymongo import MongoClient
from rich.table import Table
from typer.testing import CliRunner, Result

from ptb_mongo.cli.app import app
from ptb_mongo.codec import Codec
from ptb_mongo.migration.database import Database

HERE = Path(__file__).parent
NOW = dtm.datetime(2026, 1, 1, 12, tzinfo=dtm.timezone.utc)
Run = Callable[..., Result]


@pytest.fixture
def run(mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ptb-mongo` in this process, on this test's database, with the classes of these tests trusted."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)

    def invoke(*words: str, trust: bool = True, **options: Any) -> Result:
        trusted = ["--trust", "cli_models"] if trust and words[0] in {"check", "show", "repair"} else []
        words = (*words, "--database", mongodb_database, *trusted)
        result = CliRunner().invoke(app, words, catch_exceptions=False, **options)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def db(database: Any) -> Any:
    return database


USERS: dict[int, Any] = {
    1: {"name": "Ada", "basket": Basket({"tea": 2}, Level.GOLD, Place("Elm", 5)), "tags": {"a"}},
    2: {"name": "Alan", "score": 1},
    3: {"name": "Grace", "score": 1.5},
}


@pytest.fixture
def stored(mongo_persistence: Callable[..., Any]) -> None:
    """What a bot has stored before it was stopped."""

    async def live() -> None:
        persistence = mongo_persistence(trusted=["cli_models"])
        offline_application(persistence)  # tells it its bot
        await persistence.get_user_data()
        for user, data in USERS.items():
            await persistence.update_user_data(user, data)
        await persistence.update_chat_data(-1005, {"visits": 2, "since": NOW})
        await persistence.update_bot_data({"admins": [1]})
        for user in range(5):
            await persistence.update_conversation("order", (user, user), "menu" if user else Level.GOLD)
        await persistence.update_conversation("survey", ("x",), 7)
        await persistence.update_callback_data(([("uuid", 1.5, {"button": "buy"})], {"query": "uuid"}))
        await persistence.flush()

    asyncio.run(live())


def in_json(result: Result) -> Any:
    return json.loads(result.stdout)


pytestmark = pytest.mark.usefixtures("stored")


# -- check ---------------------------------------------------------------------------------------------------


def test_check_of_a_healthy_database_says_all_that_matters(run):
    result = run("check")

    assert result.exit_code == 0, result.output
    for part in ("MongoDB ", "replica set", f"format 1 of bot {BOT_ID}", "✓ read", "✓ write", "✓ index", "✓ watch"):
        assert part in result.output
    assert "All is well." in result.output


def test_check_leaves_nothing_behind(run, db):
    def everything() -> dict[str, Any]:
        return {name: list(db[name].find()) for name in sorted(db.list_collection_names())}

    before = everything()
    run("check")
    run("check", "--collection-prefix", "other_")

    assert everything() == before


def test_check_names_what_would_be_quarantined(run, db):
    db.user_data.update_one({"_id": 2}, {"$set": {"data.at": {"_py": "nonsense"}}})
    db.conversations.update_one({"handler": "survey"}, {"$unset": {"state": 1}})

    result = run("check")
    assert result.exit_code == 1
    assert "user_data, _id 2, data.at" in result.output
    told = in_json(run("check", "--json"))
    assert [(one["collection"], one["_id"], one["path"]) for one in told["problems"]] == [
        ("user_data", 2, "data.at"),
        ("conversations", {"handler": "survey", "key": ["x"]}, ""),
    ]
    assert told["documents"] == {"user_data": 3, "chat_data": 1, "bot_data": 1, "conversations": 6, "callback_data": 2}
    assert told["rights"] == {"read": True, "write": True, "index": True, "watch": True}


def test_check_names_the_classes_that_must_be_trusted(run):
    result = run("check", trust=False)

    assert result.exit_code == 1
    assert "--trust cli_models" in result.output
    assert in_json(run("check", "--json", trust=False))["untrusted"] == {
        "cli_models.Basket": 1, "cli_models.Level": 2, "cli_models.Place": 1
    }  # fmt: skip


def test_check_looks_at_a_sample(run):
    told = in_json(run("check", "--sample", "2", "--json"))

    assert told["decoded"] == {"user_data": 2, "chat_data": 1, "bot_data": 1, "conversations": 2, "callback_data": 2}


def test_check_of_a_newer_format_is_an_error(run, db):
    db.ptb_mongo.update_one({"_id": "format"}, {"$set": {"version": 2}})

    result = run("check")

    assert result.exit_code == 1
    assert "install a newer one" in result.output.replace("\n", " ")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A server that asks for passwords and is no replica set: gives the URI of one of its users."""
    password = secrets.token_hex(8)
    with guarded_mongod(tmp_path_factory.mktemp("guarded"), password) as port:
        with MongoClient(f"mongodb://root:{password}@127.0.0.1:{port}") as client:
            for role in ("read", "readWrite"):
                roles = [{"role": role, "db": "my_bot"}]
                client.admin.command("createUser", role, pwd=password, roles=roles)
        yield lambda user: f"mongodb://{user}:{password}@127.0.0.1:{port}/my_bot?authSource=admin"


def test_check_says_what_a_user_may_not_do(guarded):
    reader = CliRunner().invoke(app, ["check", "--uri", guarded("read")])
    writer = CliRunner().invoke(app, ["check", "--uri", guarded("readWrite")])

    assert reader.exit_code == 1
    assert "✓ read  ✗ write  ✗ index  ✗ watch" in reader.output
    assert "not authorized on my_bot" in reader.output
    assert writer.exit_code == 0
    assert "✓ read  ✓ write  ✓ index  ✗ watch" in writer.output
    assert "no watch: it is not a replica set" in writer.output
    assert "***@127.0.0.1" in writer.output
    with MongoClient(guarded("readWrite")) as client:
        assert client.my_bot.list_collection_names() == []


# -- show ----------------------------------------------------------------------------------------------------


def test_show_gives_a_users_data_as_the_bot_has_it(run):
    result = run("show", "user", "1")

    assert result.exit_code == 0
    for part in ("'name': 'Ada'", "Basket(", "<Level.GOLD: 'gold'>", "street='Elm'", "'tags': {", "updated_at", "rev "):
        assert part in result.output


def test_show_gives_the_attributes_of_an_object_that_does_not_show_itself(run, db):
    basket = Codec(["cli_models"]).encode(Account("Ada\x1b[31m", [Coin(1), Coin(2)]))
    db.user_data.update_one({"_id": 2}, {"$set": {"data.account": basket}})

    output = run("show", "user", "2").output

    assert "Account(" in output
    assert "value=2" in output
    assert "owner=" in output
    assert "object at 0x" not in output
    assert "\x1b[31m" not in output


def test_show_gives_chats_with_negative_ids_and_the_bot(run):
    assert "'since': datetime(2026, 1, 1, 12, 0, UTC)" in run("show", "chat", "-1005").output
    assert "'admins': [" in run("show", "bot").output


def test_show_gives_conversations_of_all_handlers_or_of_one(run):
    assert "survey" in run("show", "conversations").output
    one = run("show", "conversations", "order").output
    assert "survey" not in one
    assert "<Level.GOLD: 'gold'>" in one
    lines = [json.loads(line) for line in run("show", "conversations", "survey", "--json").stdout.splitlines()]
    assert [(line["key"], line["state"], line["error"]) for line in lines] == [(["x"], 7, None)]


def test_show_gives_the_first_of_many_conversations_before_it_has_read_all(run, db, monkeypatch):
    ids = [{"handler": "many", "key": [number]} for number in range(1, 2001)]
    db.conversations.insert_many([{"_id": one, **one, "state": 1} for one in ids])
    read, shown = [], []
    decoded, row = Database.decoded, Table.add_row
    monkeypatch.setattr(Database, "decoded", lambda *args: read.append(1) or decoded(*args))
    monkeypatch.setattr(Table, "add_row", lambda *args: shown.append(len(read)) or row(*args))

    output = run("show", "conversations", "many").output

    assert output.count("many") == 2000
    assert output.count("updated_at") == 1
    assert min(shown) <= 500


def test_show_says_which_handlers_have_conversations_if_the_named_one_has_none(run, db):
    result = run("show", "conversations", "typo")
    assert result.exit_code == 1
    assert "No conversation of a handler named 'typo' is stored; there are some of 'order', 'survey'." in " ".join(
        result.output.split()
    )
    db.conversations.delete_many({})
    assert "No conversation is stored." in run("show", "conversations", "typo").output


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_show_gives_no_more_conversations_than_it_is_told_to(run, words):
    result = run("show", "conversations", "--limit", "1", *words)

    assert result.exit_code == 0
    assert result.output.count("order") + result.output.count("survey") == (2 if words else 1)
    assert "There are more than 1." in result.output


def test_show_as_json_gives_what_is_stored(run):
    told = in_json(run("show", "user", "1", "--json"))

    assert told["data"]["basket"]["cls"] == "cli_models.Basket"
    assert told["rev"]
    assert "$date" in told["updated_at"]


def test_show_of_nothing_and_of_what_cannot_be_read_fails(run, db):
    assert run("show", "user", "77").exit_code == 1
    db.user_data.update_one({"_id": 2}, {"$set": {"data.at": {"_py": "nonsense"}}})
    result = run("show", "user", "2")
    assert result.exit_code == 1
    assert "user_data, _id 2, data.at" in result.output


# -- stats ---------------------------------------------------------------------------------------------------


def test_stats_count_documents_keys_types_days_and_states(run, db):
    long_ago = dtm.datetime.now(dtm.timezone.utc) - dtm.timedelta(days=3)
    db.user_data.update_one({"_id": 3}, {"$set": {"updated_at": long_ago}})

    told = in_json(run("stats", "--json"))

    assert told["storage"]["user_data"]["documents"] == 3
    assert told["storage"]["user_data"]["size"] > 300
    assert told["storage"]["conversations"]["documents"] == 6
    assert [number for number in told["users_by_day"].values() if number] == [1, 2]
    assert len(told["users_by_day"]) == 14
    keys = {one["key"]: (one["documents"], one["types"]) for one in told["keys"]["user_data"]}
    assert keys == {
        "name": (3, {"str": 3}),
        "score": (2, {"float": 1, "int": 1}),
        "basket": (1, {"cli_models.Basket": 1}),
        "tags": (1, {"set": 1}),
    }
    assert told["states"] == {"order": {"menu": 4, "GOLD": 1}, "survey": {"7": 1}}


@pytest.mark.parametrize("cls", ["Basket", "Entries"])
def test_stats_name_the_fields_of_data_that_is_an_object(run, db, cls):
    fields = {"__pydantic_fields_set__": {"_py": "set", "v": []}} if cls == "Basket" else {}
    data = {"_py": "object", "state": {"name": "x", **fields}} if cls == "Basket" else {"_py": "dict", "v": {"name": 1}}
    db.user_data.delete_many({})
    db.user_data.insert_one({"_id": 1, "data": {**data, "cls": f"cli_models.{cls}"}})

    assert [one["key"] for one in in_json(run("stats", "--json"))["keys"]["user_data"]] == ["name"]


def test_stats_take_the_options_of_other_commands(run):
    assert run("stats", "--trust", "cli_models").exit_code == 0


@pytest.mark.parametrize("words", [(), ("check",), ("import",), ("import", "pickle"), ("show", "jobs"), ("erase",)])
def test_the_help_names_no_type_of_an_option_that_takes_no_value(words):
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "120"})
    assert "--help" in result.output
    assert "bool" not in result.output.lower()


def test_stats_are_drawn_in_the_terminal(run):
    output = run("stats", "--keys", "2", "--sample", "2").output

    assert "Conversations of order" in output
    assert "████" in output
    assert "Keys of user_data" in output


def test_stats_of_a_new_database_are_nothing(run):
    assert run("stats", "--collection-prefix", "new_").exit_code == 0
    told = in_json(run("stats", "--collection-prefix", "new_", "--json"))
    assert told["storage"]["user_data"] == {"documents": 0, "size": None, "on_disk": None, "indexes": None}


# -- watch ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def watching_process(uri: str, database: str, *words: str) -> Iterator[Any]:
    """`ptb-mongo watch` in a process of its own."""
    command = [sys.executable, "-m", "ptb_mongo.cli", "watch", "--database", database, *words]
    environment = {**os.environ, "MONGODB_URI": uri, "PYTHONUNBUFFERED": "1"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_watch_shows_what_other_services_change(mongodb_server_uri, db):
    with watching_process(mongodb_server_uri, db.name) as watching:
        assert "Watching" in watching.stdout.readline()
        copy = db.user_data.find_one({"_id": 3})
        for number in range(3):
            db.user_data.update_one({"_id": 1}, {"$set": {"data.plan": number}, "$unset": {"data.tags": 1}})
            db.user_data.update_one({"_id": 2}, {"$set": {"data.score": number, "rev": f"abc:{number}"}})  # a bot
            db.user_data.replace_one({"_id": 3}, copy | {"n": number})
        db.chat_data.delete_one({"_id": -1005})
        shown = []
        while "delete" not in "".join(shown):
            shown.append(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0

    assert all("data.score" not in line for line in shown)
    assert any("user_data 1  another service  data.plan" in line for line in shown)
    assert any("user_data 3  another service" in line and "replace" in line for line in shown)


def test_watch_as_json_ends_after_a_count_and_tells_bots_apart(mongodb_server_uri, db):
    with watching_process(mongodb_server_uri, db.name, "--json", "--bots", "--count", "2") as watching:
        deadline, number = time.monotonic() + 30, 0
        while watching.poll() is None:
            assert time.monotonic() < deadline
            number += 1
            db.user_data.update_one({"_id": 2}, {"$inc": {"data.score": 1}, "$set": {"rev": f"abc:{number}"}})
            time.sleep(0.1)  # it says nothing before its first change
        lines = [json.loads(line) for line in watching.stdout.readlines()]
        assert watching.returncode == 0

    assert [(line["_id"], line["operation"], line["set"]) for line in lines] == [(2, "update", ["data.score"])] * 2
    assert [line["by"] for line in lines] == ["bot abc"] * 2


# -- repair --------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(db: Any, stored: None) -> None:
    """Documents with an attribute, an element of a set and a whole that cannot be read."""
    db.user_data.update_one({"_id": 1}, {"$set": {"data.basket.state.items": {"_py": "nonsense"}}})
    tags = {"_py": "set", "v": ["a", {"_py": "date", "v": "x"}]}
    db.user_data.update_one({"_id": 2}, {"$set": {"data.tags": tags, "data.more": {"deep": {"_py": 5}}}})
    db.user_data.insert_one({"_id": "text", "data": {"a": 1}})
    db.conversations.update_one({"handler": "survey"}, {"$unset": {"state": 1}})


@pytest.mark.usefixtures("damaged")
def test_repair_lists_and_changes_nothing_without_confirmation(run, db):
    before = list(db.user_data.find()), list(db.conversations.find())

    listed = run("repair")
    asked = run("repair", "--drop-path", input="n\n")
    aborted = run("repair", "--aside", input="")

    assert [result.exit_code for result in (listed, asked, aborted)] == [1, 1, 1]
    assert "--drop-path" in listed.output
    assert "drop data.basket.state.items of user_data, _id 1" in asked.output
    assert "Nothing was changed." in asked.output
    assert (list(db.user_data.find()), list(db.conversations.find())) == before
    assert run("repair", "--drop-path", "--aside").exit_code == 2
    assert run("repair", "--drop-path", "--json").exit_code == 2


@pytest.mark.usefixtures("damaged")
def test_repair_drops_bad_paths_and_keeps_the_rest(run, db):
    result = run("repair", "--drop-path", "--yes")

    assert result.exit_code == 1  # for the two of which only the whole could go
    codec = Codec(["cli_models"])
    one, two = (codec.decode(db.user_data.find_one({"_id": user})["data"]) for user in (1, 2))
    assert one["name"] == "Ada"
    assert one["basket"].place == Place("Elm", 5)
    assert one["basket"].items == {}  # its default
    assert two == {"name": "Alan", "score": 1, "more": {}}
    assert {
        (problem["collection"], str(problem["_id"])) for problem in in_json(run("repair", "--json"))["problems"]
    } == {
        ("user_data", "text"),
        ("conversations", "{'handler': 'survey', 'key': ['x']}"),
    }


@pytest.mark.usefixtures("damaged")
def test_repair_moves_documents_aside_as_they_are(run, db):
    before = {document["_id"]: document for document in db.user_data.find({"_id": {"$in": [1, 2, "text"]}})}

    result = run("repair", "--aside", input="y\n")

    assert result.exit_code == 0, result.output
    assert {document["_id"]: document for document in db.user_data_quarantine.find()} == before
    assert [document["_id"] for document in db.user_data.find()] == [3]
    assert db.conversations_quarantine.count_documents({}) == 1
    assert run("repair").exit_code == 0
    assert run("check").exit_code == 0


def test_repair_takes_nothing_away_because_a_class_is_not_trusted(run, db):
    before = list(db.user_data.find())

    for option in ("--aside", "--drop-path"):
        result = run("repair", option, "--yes", trust=False)
        assert result.exit_code == 1
        assert "--trust MODULE" in result.output
    assert list(db.user_data.find()) == before

    assert run("repair", "--drop-path", "--untrusted", "--yes", trust=False).exit_code == 1  # a conversation's state
    assert db.user_data.find_one({"_id": 1})["data"].keys() == {"name", "tags"}


@pytest.mark.usefixtures("damaged")
def test_repair_stops_at_a_class_that_is_not_trusted(run, db):
    db.user_data.update_one({"_id": 1}, {"$set": {"data.basket.state.items": {}, "data.aaa": {"_py": "nonsense"}}})
    db.user_data.update_one({"_id": 1}, [{"$set": {"data": {"aaa": "$data.aaa", "basket": "$data.basket"}}}])

    result = run("repair", "--drop-path", "--yes", "--json", trust=False)

    assert result.exit_code == 1
    assert "basket" in db.user_data.find_one({"_id": 1})["data"]


def test_a_bot_takes_up_a_repaired_user(run, db, mongo_persistence):
    db.user_data.update_one({"_id": 2}, {"$set": {"data.bad": {"_py": "nonsense"}}})
    run("repair", "--drop-path", "--yes")

    async def load() -> Any:
        application = offline_application(mongo_persistence(trusted=["cli_models"]))
        await application.initialize()
        loaded = dict(application.user_data)
        await application.shutdown()
        return loaded

    assert asyncio.run(load()) == USERS


def test_the_installed_command_runs(mongodb_server_uri, db):
    command = [sys.executable, "-m", "ptb_mongo.cli", "check", "--database", db.name, "--trust", "cli_models"]
    result = subprocess.run(
        command, env={**os.environ, "MONGODB_URI": mongodb_server_uri}, cwd=HERE,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (result.returncode, result.stderr) == (0, "")
    assert "All is well." in result.stdout
    assert (Path(sys.executable).parent / "ptb-mongo").exists()
