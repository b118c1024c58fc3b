"""A bot moves in with its data, runs, and moves out again, by the documented commands."""

from __future__ import annotations

import asyncio
import datetime as dtm
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import telegram
from cli_models import Basket, Coin, Level, Names, Place
from offline import BOT_ID, TOKEN, message_from, offline_application
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import (
    ConversationHandler,
    DictPersistence,
    ExtBot,
    MessageHandler,
    PicklePersistence,
    filters,
)
from typer.testing import CliRunner, Result

from ptb_mongo.cli.app import app
from ptb_mongo.migration import Database, Importer, PickleSource

USERS = 300
HERE = Path(__file__).parent
Run = Callable[..., Result]


@pytest.fixture
def run(mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ptb-mongo` in this process, on this test's database."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)

    def invoke(*words: str, **options: Any) -> Result:
        database = [] if "--database" in words or "--help" in words else ["--database", mongodb_database]
        result = CliRunner().invoke(app, [*words, *database], catch_exceptions=False, **options)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def db(database: Any) -> Any:
    return database


def in_json(result: Result) -> Any:
    return json.loads(result.stdout)


# -- a bot ---------------------------------------------------------------------------------------------------

MENU, AMOUNT = "menu", 2


async def begin(update: Any, context: Any) -> Any:
    user = update.effective_user.id
    context.user_data.update(
        name=f"User {user}",
        basket=Basket({"tea": user % 5}, Level.GOLD if user % 2 else Level.FREE, Place("Elm", user)),
        coins={Coin(1), Coin(user)},
        names=Names(["a", user]),
        since=dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc) + dtm.timedelta(microseconds=user),
    )
    context.user_data["a.b$"] = {(user, 1): None, 5: b"bytes"}
    if user % 10 == 0:
        context.user_data["last"] = update.message
    context.chat_data["visits"] = context.chat_data.get("visits", 0) + 1
    context.bot_data.setdefault("users", {})[user] = Level.GOLD
    if user <= 5:
        button = InlineKeyboardButton("buy", callback_data=Basket({"tea": user}))
        await update.message.reply_text("?", reply_markup=InlineKeyboardMarkup([[button]]))
    return MENU if user % 3 else Level.GOLD


async def go_on(update: Any, context: Any) -> Any:
    context.user_data["basket"].items["coffee"] = 1
    return AMOUNT


async def end(update: Any, context: Any) -> Any:
    del context.user_data["coins"]
    return ConversationHandler.END


def shop(persistence: Any) -> Any:
    conversation = ConversationHandler(
        [MessageHandler(filters.Text(["begin"]), begin)],
        {
            MENU: [MessageHandler(filters.Text(["go on"]), go_on)],
            AMOUNT: [MessageHandler(filters.Text(["end"]), end)],
            Level.GOLD: [MessageHandler(filters.Text(["end"]), end)],
        },
        [],
        name="order",
        persistent=True,
    )
    return offline_application(persistence, conversation)


async def writes(application: Any, user: int, text: str) -> None:
    update = message_from(user, text)
    update.message.set_bot(application.bot)
    await application.process_update(update)


async def goes_on(persistence: Any) -> Any:
    """What happens after the move: some go on, some end, somebody is new."""
    async with shop(persistence) as application:
        assert application.bot.callback_data_cache.persistence_data[0]
        for user in (1, 2, 4):
            await writes(application, user, "go on")
        for user in (2, 3, 6):
            await writes(application, user, "end")
        await writes(application, USERS + 7, "begin")


def everything(path: Path) -> dict[str, Any]:
    """What PTB itself loads from a file."""
    persistence: Any = PicklePersistence(path)
    persistence.set_bot(ExtBot(TOKEN, arbitrary_callback_data=True))

    async def load() -> dict[str, Any]:
        return {
            "user_data": await persistence.get_user_data(),
            "chat_data": await persistence.get_chat_data(),
            "bot_data": await persistence.get_bot_data(),
            "callback_data": await persistence.get_callback_data(),
            "conversations": await persistence.get_conversations("order"),
        }

    return asyncio.run(load())


@pytest.fixture(scope="module")
def moved_out_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a bot that has run on a `PicklePersistence`."""
    path = tmp_path_factory.mktemp("old") / "bot.pickle"

    async def live() -> None:
        async with shop(PicklePersistence(path, on_flush=True)) as application:
            for user in range(1, USERS + 1):
                await writes(application, user, "begin")

    asyncio.run(live())
    return path


def test_a_bot_moves_in_runs_and_moves_out_and_nothing_is_lost(
    run, db, moved_out_of, mongo_persistence, tmp_path, monkeypatch
):
    monkeypatch.setenv("BOT_TOKEN", TOKEN)

    moved = run("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--apply")
    assert moved.exit_code == 0, moved.output
    assert db.user_data.count_documents({}) == USERS
    assert db.conversations.count_documents({"state": MENU}) == USERS * 2 // 3

    checked = run("check", "--trust", "cli_models")
    assert checked.exit_code == 0, checked.output

    # The same happens to a bot that stays where it was, and to the one that has moved.
    stayed = shutil.copy(moved_out_of, tmp_path / "stayed.pickle")
    asyncio.run(goes_on(PicklePersistence(stayed, on_flush=True)))
    asyncio.run(goes_on(mongo_persistence(trusted=["cli_models"])))

    exported = run("export", "pickle", str(tmp_path / "exported.pickle"), "--trust", "cli_models")
    assert exported.exit_code == 0, exported.output

    one, other = everything(tmp_path / "exported.pickle"), everything(stayed)
    assert one["user_data"].keys() == other["user_data"].keys()
    for user, data in other["user_data"].items():
        assert list(one["user_data"][user].items()) == list(data.items())
        assert {key: type(value) for key, value in one["user_data"][user].items()} == {
            key: type(value) for key, value in data.items()
        }
    assert one["user_data"][10]["last"].to_dict() == other["user_data"][10]["last"].to_dict()
    assert one["user_data"][10]["last"].get_bot() is not None
    assert "coins" not in one["user_data"][2]
    # PTB keeps `None` for a conversation that has ended, which is the same to it as none.
    for data in (one, other):
        data["conversations"] = {key: state for key, state in data["conversations"].items() if state is not None}
    assert len(one["conversations"]) == USERS + 1 - 3
    assert one == other
    assert len(one["callback_data"][0]) == 5


def test_a_dry_run_writes_nothing_and_says_what_it_would_write(run, db, moved_out_of):
    result = run("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--bot-id", "1", "--json")

    assert result.exit_code == 0
    told = in_json(result)
    assert told["applied"] is False
    assert told["kinds"]["user_data"] == {
        "found": USERS, "new": USERS, "same": 0, "different": 0, "unreadable": 0, "refused": 0, "written": 0
    }  # fmt: skip
    assert told["kinds"]["callback_data"]["new"] == 5
    assert db.list_collection_names() == []


def test_a_second_run_writes_only_what_is_missing(run, db, moved_out_of):
    words = ("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--bot-id", "1", "--apply", "--json")
    run(*words)
    db.user_data.delete_many({"_id": {"$gt": USERS - 10}})
    db.conversations.delete_one({"handler": "order"})
    before = list(db.user_data.find().sort("_id"))

    told = in_json(run(*words))

    assert told["kinds"]["user_data"]["same"] == USERS - 10
    assert {kind: tally["written"] for kind, tally in told["kinds"].items()} == {
        "user_data": 10, "chat_data": 0, "bot_data": 0, "conversations": 1, "callback_data": 0
    }  # fmt: skip
    assert list(db.user_data.find().sort("_id"))[: USERS - 10] == before


def test_what_is_newer_in_the_database_stays_unless_it_is_to_be_written_over(run, db, moved_out_of):
    words = ("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--bot-id", "1", "--apply")
    run(*words)
    original = db.user_data.find_one({"_id": 5})["data"]
    db.user_data.update_one({"_id": 5}, {"$set": {"data.name": "Newer", "data.plan": "gold", "mine": 1}})

    left = run(*words)
    assert left.exit_code == 0
    assert "newer there" in left.output
    assert db.user_data.find_one({"_id": 5})["data"]["name"] == "Newer"

    told = in_json(run(*words, "--overwrite", "--json"))
    assert told["kinds"]["user_data"]["different"] == told["kinds"]["user_data"]["written"] == 1
    document = db.user_data.find_one({"_id": 5})
    assert document["data"] == original
    assert document["mine"] == 1  # a field that is not the bot's


def test_a_document_that_cannot_be_read_is_never_written_over(run, db, moved_out_of):
    words = ("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--bot-id", "1", "--apply", "--overwrite")
    db.user_data.insert_one({"_id": 5, "data": {"x": {"_py": "nonsense"}}})

    result = run(*words)

    assert result.exit_code == 1
    assert "unreadable:" in result.output
    assert db.user_data.find_one({"_id": 5})["data"] == {"x": {"_py": "nonsense"}}
    assert db.user_data.count_documents({}) == USERS


def test_classes_that_are_not_trusted_are_named_with_the_option_that_trusts_them(run, db, moved_out_of):
    result = run("import", "pickle", str(moved_out_of), "--bot-id", "1", "--apply")

    assert result.exit_code == 1
    assert "--trust cli_models" in result.output
    assert "cannot be stored" in result.output
    assert db.user_data.count_documents({}) == 0
    assert db.chat_data.count_documents({}) == USERS  # they need no class


def test_a_file_that_wants_to_run_code_is_refused(run, db, tmp_path):
    (tmp_path / "bad.pickle").write_bytes(
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch /tmp/bad\x85R."  # os.system("touch /tmp/bad")
    )

    result = run("import", "pickle", str(tmp_path / "bad.pickle"), "--apply", "--trust", "os")

    assert result.exit_code == 1
    assert "to run code on this machine" in result.output.replace("\n", " ")
    assert not Path("/tmp/bad").exists()
    assert db.list_collection_names() == []


def test_the_bots_own_data_needs_its_id(run, moved_out_of, monkeypatch):
    monkeypatch.delenv("BOT_TOKEN", raising=False)
    words = ("import", "pickle", str(moved_out_of), "--trust", "cli_models")

    assert run(*words).exit_code == 2
    assert "--bot-id" in run(*words).output
    assert run(*words, "--token", "secret").exit_code == 2
    assert run(*words, "--bot-id", "5", "--apply").exit_code == 0
    assert run(*words).exit_code == 0  # the database knows it now
    other = run(*words, "--bot-id", "6")
    assert other.exit_code == 2
    assert "belong to bot 5" in other.output


def test_an_import_fits_a_running_bot_that_has_made_a_document_meanwhile(
    mongodb_server_uri, mongodb_database, db, moved_out_of
):
    async def race() -> Any:
        bot = telegram.Bot(TOKEN)
        database = await Database.open(mongodb_server_uri, mongodb_database, trusted=["cli_models"], bot=bot)
        data = PickleSource(moved_out_of, ["cli_models"], bot).read()
        importer = Importer(database, apply=True, bot_id=BOT_ID)
        write = database.driver.write

        async def late(collection: str, operations: Any) -> Any:
            if collection == "user_data":
                db.user_data.insert_one({"_id": 5, "data": {"name": "Faster"}})
            return await write(collection, operations)

        database.driver.write = late  # type: ignore[method-assign]
        report = await importer.run(data)
        await database.close()
        return report

    tally = asyncio.run(race()).tallies["user_data"]

    assert (tally.new, tally.different, tally.written) == (USERS - 1, 1, USERS - 1)
    assert db.user_data.find_one({"_id": 5})["data"] == {"name": "Faster"}


def test_a_document_that_is_too_large_is_named_and_the_others_are_imported(run, db, tmp_path):
    (tmp_path / "bot.json").write_text(json.dumps({"user_data": {"1": {"text": "x" * 17_000_000}, "2": {"a": 1}}}))

    result = run("import", "dict", str(tmp_path / "bot.json"), "--apply", "--json")

    assert result.exit_code == 1
    (problem,) = in_json(result)["problems"]
    assert (problem["collection"], problem["_id"]) == ("user_data", 1)
    assert [document["_id"] for document in db.user_data.find()] == [2]


def test_the_files_of_a_pickle_persistence_may_be_five(run, moved_out_of, tmp_path):
    run("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--bot-id", str(BOT_ID), "--apply")

    exported = run("export", "pickle", str(tmp_path / "bot"), "--trust", "cli_models", "--multi-file")
    assert exported.exit_code == 0, exported.output
    assert len(list(tmp_path.iterdir())) == 5

    again = in_json(run("import", "pickle", str(tmp_path / "bot"), "--trust", "cli_models", "--json"))
    assert all(tally["same"] == tally["found"] for tally in again["kinds"].values())
    assert again["kinds"]["user_data"]["found"] == USERS
    assert again["kinds"]["callback_data"]["found"] == 5


def test_an_export_replaces_no_file_and_leaves_nobody_out_unless_it_is_told_to(run, db, tmp_path):
    db.user_data.insert_many([{"_id": 1, "data": {"a": 1}}, {"_id": 2, "data": {"x": {"_py": "nonsense"}}}])
    file = tmp_path / "bot.pickle"

    assert run("export", "pickle", str(file)).exit_code == 1
    assert list(tmp_path.iterdir()) == []
    assert run("export", "pickle", str(file), "--incomplete").exit_code == 1
    assert everything(file)["user_data"] == {1: {"a": 1}}
    again = run("export", "pickle", str(file), "--incomplete")
    assert again.exit_code == 2
    assert "--force" in again.output
    assert run("export", "pickle", str(file), "--incomplete", "--force", "--json").exit_code == 1


def test_an_empty_database_gives_no_file(run, tmp_path):
    result = run("export", "pickle", str(tmp_path / "bot.pickle"))

    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_dict_persistence_moves_in(run, db, tmp_path):
    async def fill() -> dict[str, str]:
        persistence = DictPersistence()
        await persistence.update_user_data(1, {"name": "Ada", "cart": ["tea"]})
        await persistence.update_chat_data(-5, {"visits": 2})
        await persistence.update_bot_data({"admins": [1]})
        await persistence.update_conversation("order", (1, 1), "menu")
        kinds = ("user_data", "chat_data", "bot_data", "conversations", "callback_data")
        return {kind: getattr(persistence, f"{kind}_json") for kind in kinds}

    file = tmp_path / "bot.json"
    file.write_text(json.dumps(asyncio.run(fill())))

    result = run("import", "dict", str(file), "--bot-id", "9", "--apply", "--collection-prefix", "shop_")

    assert result.exit_code == 0, result.output
    assert db.shop_user_data.find_one({"_id": 1})["data"] == {"name": "Ada", "cart": ["tea"]}
    assert db.shop_chat_data.find_one({"_id": -5})["data"] == {"visits": 2}
    assert db.shop_bot_data.find_one({"_id": 9})["data"] == {"admins": [1]}
    assert db.shop_conversations.find_one()["_id"] == {"handler": "order", "key": [1, 1]}
    assert db.shop_ptb_mongo.find_one()["bot_id"] == 9


def test_a_bot_moves_in_from_mongopersistence(run, db, mongo_persistence):
    noon = dtm.datetime(2026, 1, 1, 12, tzinfo=dtm.timezone.utc)
    db.users.insert_many(
        [{"_id": 1, "name": "Ada", "since": noon, "a.b": {"$x": 1}}, {"_id": 2, "n": 2**40}, {"_id": "x", "n": 1}]
    )
    db.chats.insert_one({"_id": -5, "visits": 2})
    db.bots.insert_one({"_id": 0, "content": {"admins": [1]}})
    db.states.insert_one({"_id": "order", "(1, 1)": "menu", "(2, 'x')": 3, "(3,)": None, "nonsense": 1, "(1.5,)": 2})
    before = {name: list(db[name].find()) for name in ("users", "chats", "bots", "states")}
    words = ("import", "mongopersistence", "--user-data", "users", "--chat-data", "chats", "--bot-data", "bots")

    result = run(
        *words, "--conversations", "states", "--bot-id", str(BOT_ID), "--apply", "--json",
        "--source-database", db.name,
    )  # fmt: skip

    assert result.exit_code == 1  # for what is no user and no key
    told = in_json(result)
    assert {(problem["_id"], problem["path"]) for problem in told["problems"]} == {
        ("x", ""), ("order", "nonsense"), ("order", "(1.5,)")
    }  # fmt: skip
    assert {name: list(db[name].find()) for name in before} == before

    async def load() -> None:
        persistence = mongo_persistence()
        application = offline_application(persistence)
        await application.initialize()
        assert application.user_data[1] == {
            "name": "Ada",
            "since": dtm.datetime(2026, 1, 1, 12),  # noqa: DTZ001  (as that package's bots have it)
            "a.b": {"$x": 1},
        }
        assert application.user_data[2] == {"n": 2**40}
        assert application.chat_data[-5] == {"visits": 2}
        assert application.bot_data == {"admins": [1]}
        assert await persistence.get_conversations("order") == {(1, 1): "menu", (2, "x"): 3}
        await application.shutdown()

    asyncio.run(load())


def test_collections_are_not_read_and_written_at_once(run, db, mongodb_database):
    db.user_data.insert_one({"_id": 1, "name": "Ada"})
    words = ("import", "mongopersistence", "--user-data", "user_data", "--source-database", mongodb_database)

    result = run(*words, "--apply")

    assert result.exit_code == 2
    assert "--collection-prefix" in result.output
    assert run(*words, "--apply", "--collection-prefix", "new_").exit_code == 0
    assert db.new_user_data.find_one()["data"] == {"name": "Ada"}
    assert run("import", "mongopersistence").exit_code == 2


SCRIPT = """
import asyncio, sys
from dataclasses import dataclass
from telegram.ext import ExtBot, PersistenceInput, PicklePersistence

@dataclass
class Order:
    tea: int

if __name__ == "__main__":
    persistence = PicklePersistence("bot.pickle", PersistenceInput(callback_data=False))
    persistence.set_bot(ExtBot("1:x"))
    asyncio.run(persistence.update_user_data(1, {"order": Order(2)}))
"""


def ptb_mongo(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ptb_mongo.cli", *words]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_classes_of_a_script_are_found_and_keep_their_name(mongodb_server_uri, db, tmp_path):
    (tmp_path / "bot.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "bot.py"], cwd=tmp_path, check=True, timeout=60)
    target = ("--database", db.name, "--trust", "bot.py")

    moved = ptb_mongo(
        "import", "pickle", "bot.pickle", *target, "--apply", cwd=tmp_path, MONGODB_URI=mongodb_server_uri
    )
    assert moved.returncode == 0, moved.stdout + moved.stderr
    assert db.user_data.find_one()["data"]["order"] == {"_py": "object", "cls": "__main__.Order", "state": {"tea": 2}}

    out = ptb_mongo("export", "pickle", "out.pickle", *target, cwd=tmp_path, MONGODB_URI=mongodb_server_uri)
    assert out.returncode == 0, out.stdout + out.stderr
    assert b"__main__" in (tmp_path / "out.pickle").read_bytes()


def test_progress_is_shown_on_a_terminal_and_nothing_of_it_in_a_pipe(mongodb_server_uri, db, moved_out_of):
    words = ("import", "pickle", str(moved_out_of), "--trust", "cli_models", "--database", db.name, "--bot-id", "1")

    piped = ptb_mongo(*words, cwd=HERE, MONGODB_URI=mongodb_server_uri)
    shown = ptb_mongo(*words, cwd=HERE, MONGODB_URI=mongodb_server_uri, FORCE_COLOR="1")

    assert piped.returncode == shown.returncode == 0, shown.stderr
    assert piped.stderr == ""
    assert "reading bot.pickle" in shown.stderr
    assert f"{USERS}/{USERS}" in shown.stderr


def test_many_users_are_imported_fast(mongodb_server_uri, db):
    """A tenth of the 100,000 users that docs/command-line.md tells of."""
    users = {user: {"name": f"User {user}", "cart": [{"sku": "tea"}], "tags": {"a"}} for user in range(10_000)}

    async def move() -> float:
        from ptb_mongo.migration import BotData

        database = await Database.open(mongodb_server_uri, db.name)
        began = time.perf_counter()
        await Importer(database, apply=True).run(BotData(user_data=users))
        taken = time.perf_counter() - began
        await database.close()
        return taken

    assert asyncio.run(move()) < 20
    assert db.user_data.count_documents({}) == 10_000


@pytest.mark.parametrize("words", [["check"], ["stats"], ["show", "bot"], ["export", "pickle", "x"], ["repair"]])
def test_without_a_server_to_talk_to_the_usage_is_said(words, monkeypatch):
    monkeypatch.delenv("MONGODB_URI", raising=False)

    result = CliRunner().invoke(app, words)

    assert result.exit_code == 2
    assert "MONGODB_URI" in result.output


def test_passwords_are_never_shown(monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://bot:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=50")

    for words in (["check"], ["check", "--help"], ["import", "pickle", "--help"], ["stats", "--json"], ["check", "-x"]):
        result = CliRunner().invoke(app, words)
        assert "hunter2" not in result.output
    assert "Error: no MongoDB server answers" in CliRunner().invoke(app, ["check"]).output


def test_a_module_that_cannot_be_imported_is_wrong_usage(run):
    result = run("check", "--trust", "not_there_at_all")

    assert result.exit_code == 2
    assert "not_there_at_all" in result.output


def test_the_version_and_the_help_are_there(run):
    assert run("--version", "--help").exit_code == 0
    assert CliRunner().invoke(app, ["--version"]).output.startswith("ptb-mongo 0.")


def test_without_typer_the_command_says_how_to_install_it(tmp_path):
    code = "import sys; sys.modules['typer'] = None; from ptb_mongo.cli import main; main()"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    assert result.stderr.strip() == 'ptb-mongo needs typer: pip install ".[cli]" in a clone of the repository'
