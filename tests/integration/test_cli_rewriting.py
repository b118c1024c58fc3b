"""`ptb-mongo rename-class` and `migrate`, and `--alias` of all commands, on a real server.

The kind: a command rewrites stored data while the bot and others may also write it.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import USER, Bot, until
from bson.raw_bson import RawBSONDocument
from cli_models import Basket, Level, Notes, Place
from typer.testing import Result

from ptb_mongo.codec import Codec
from ptb_mongo.codec.renaming import Renaming

Run = Callable[..., Result]
RAW = bson.CodecOptions(document_class=RawBSONDocument)
CODEC = Codec(["cli_models"])
ALL = ("Basket", "Level", "Notes", "Place")


def old(value: Any) -> Any:
    """What was stored when the classes were in another module."""
    plain = CODEC.encode(value)
    for name in ALL:
        plain = Renaming(f"cli_models.{name}", f"old_models.{name}").of(plain)
    return plain


BASKET = Basket({"tea": 2}, Level.GOLD, Place("Elm", 5))
NESTED = {"basket": BASKET, "more": [{"deep": BASKET}], "notes": Notes({"a": BASKET})}


@pytest.fixture
def stored(database: Any) -> None:
    database.user_data.insert_many(
        [{"_id": 1, "data": old(NESTED), "rev": "bot:1"}, {"_id": 2, "data": {"name": "Ada"}}]
    )
    database.chat_data.insert_one({"_id": -5, "data": old({"baskets": {"a": BASKET}}), "mine": "stays"})
    database.bot_data.insert_one({"_id": 123456, "data": old({"best": BASKET})})
    key = {"handler": "order", "key": [1, 1]}
    database.conversations.insert_one({"_id": key, **key, "state": old(BASKET), "rev": "bot:2"})
    database.callback_data.insert_one(
        {
            "_id": "uuid",
            "position": 1,
            "accessed_at": 1.5,
            "buttons": {"b": 0},
            "objects": [old(BASKET)],
            "rev": "bot:3",
        }
    )


def everything(database: Any) -> dict[Any, bytes]:
    names = ("user_data", "chat_data", "bot_data", "conversations", "callback_data")
    return {(name, str(one["_id"])): one.raw for name in names for one in database[name].with_options(RAW).find()}


def rename_all(run: Run, *options: str) -> list[Result]:
    return [run("rename-class", f"old_models.{name}", f"cli_models.{name}", *options) for name in ALL]


@pytest.mark.usefixtures("stored")
def test_a_class_gets_its_new_name_wherever_it_is_stored(run: Run, database: Any) -> None:
    before = everything(database)
    result = run("rename-class", "old_models.Basket", "cli_models.Basket")
    assert result.exit_code == 0
    assert "5 documents, 7 values would be rewritten" in result.output
    assert "--apply" in result.output
    assert everything(database) == before
    for one in rename_all(run, "--apply"):
        assert one.exit_code == 0
        assert "rewritten" in one.output
    after = everything(database)
    assert not [key for key, raw in after.items() if b"old_models" in raw]
    assert CODEC.decode(database.user_data.find_one({"_id": 1})["data"]) == NESTED
    assert database.chat_data.find_one({})["mine"] == "stays"
    user = database.user_data.find_one({"_id": 1})
    assert user["rev"] != "bot:1"
    assert user["revs"][-1] == "bot:1"
    assert after["user_data", "2"] == before["user_data", "2"]
    assert "nothing to rewrite" in rename_all(run, "--apply")[0].output
    assert everything(database) == after


@pytest.mark.usefixtures("stored")
def test_what_others_write_meanwhile_is_kept(run: Run, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    edits: list[dict[str, Any]] = [
        {"$set": {"data.level": 7}},
        {"$set": {"data.plan": "gold", "rev": "other:1"}},
        {"$set": {"data.basket.state.items.cake": 1}},  # by a person, who does not touch `rev`
        {"$push": {"data.more": 5}},
    ]
    rename = Renaming.of

    def disturbed(self: Renaming, plain: Any, path: Any = ()) -> Any:
        if edits and not path and isinstance(plain, dict) and "basket" in plain.get("data", {}):
            database.user_data.update_one({"_id": 1}, edits.pop(0))
        return rename(self, plain, path)

    monkeypatch.setattr(Renaming, "of", disturbed)
    database.user_data.update_one({"_id": 1}, {"$set": {"data.level": old(Level.GOLD)}})
    assert run("rename-class", "old_models.Level", "cli_models.Level", "--apply").exit_code == 0
    for one in rename_all(run, "--apply"):
        assert one.exit_code == 0
    assert not edits
    assert "other:1" in database.user_data.find_one({"_id": 1})["revs"]
    data = CODEC.decode(database.user_data.find_one({"_id": 1})["data"])
    assert (data["plan"], data["level"]) == ("gold", 7)
    assert data["basket"] == Basket({"tea": 2, "cake": 1}, Level.GOLD, Place("Elm", 5))
    assert data["more"] == [{"deep": BASKET}, 5]


async def test_a_running_bot_sees_no_change_and_loses_none(run: Run, database: Any, start: Callable[..., Any]) -> None:
    database.user_data.insert_one({"_id": USER, "data": old(NESTED), "rev": "bot:1"})
    aliases = {f"old_models.{one.__name__}": one for one in (Basket, Level, Notes, Place)}
    bot: Bot = await start(aliases=aliases)
    assert await bot.hears() == NESTED
    await bot.saves()
    assert database.user_data.find_one({})["rev"] == "bot:1"  # loading alone writes nothing
    await bot.hears(lambda context: context.user_data["basket"].items.update(milk=1))
    results = await asyncio.to_thread(rename_all, run, "--apply")
    assert [one.exit_code for one in results] == [0] * 4
    await bot.saves()
    expected = {**NESTED, "basket": Basket({"tea": 2, "milk": 1}, Level.GOLD, Place("Elm", 5))}
    assert CODEC.decode(database.user_data.find_one({})["data"]) == expected
    assert not [key for key, raw in everything(database).items() if b"old_models" in raw]
    assert await bot.hears() == expected
    assert not bot.errors


async def test_two_versions_of_which_each_has_its_own_name_of_a_class_do_not_fight(
    database: Any, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling update: each reads what the other writes, and only what is changed is written."""
    moved: Any = types.ModuleType("moved_models")
    fields = {"items": dict}
    moved.Basket = dataclass(type("Basket", (), {"__annotations__": fields, "__module__": "moved_models"}))
    monkeypatch.setitem(sys.modules, "moved_models", moved)
    older: Bot = await start(trusted=["cli_models"], aliases={"moved_models.Basket": Basket})
    newer: Bot = await start(trusted=["cli_models"], aliases={"cli_models.Basket": moved.Basket})
    await older.hears(lambda context: context.user_data.update(basket=Basket({"tea": 1}), n=1))
    await older.saves()
    await newer.sees(lambda data: data.get("n") == 1)
    for name, bot in zip("abcd", (newer, older, newer, older), strict=True):
        rev = database.user_data.find_one({})["rev"]
        for one in (newer, older):
            await one.saves()
        assert database.user_data.find_one({})["rev"] == rev
        await bot.hears(lambda context, name=name: context.user_data["basket"].items.update({name: 1}))
        await bot.saves()
        for one in (newer, older):
            await one.sees(lambda data, name=name: name in data["basket"].items)
    assert database.user_data.find_one({})["data"]["basket"]["state"]["items"] == {"tea": 1, **dict.fromkeys("abcd", 1)}
    assert database.user_data.find_one({})["data"]["basket"]["cls"] == "cli_models.Basket"
    assert not older.errors + newer.errors


@pytest.mark.usefixtures("stored")
def test_what_cannot_be_rewritten_is_named_and_all_else_is_done(run: Run, database: Any) -> None:
    bad = {"_py": "pickle", "cls": "old_models.Basket", "v": b"\x80\x05old_models.Basket"}
    database.user_data.insert_one({"_id": 9, "data": {"bad": bad, "good": old(BASKET)}})
    result = run("rename-class", "old_models.Basket", "cli_models.Basket", "--apply", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["documents"] == {"user_data": 2, "chat_data": 1, "bot_data": 1, "conversations": 1, "callback_data": 1}
    assert [(one["_id"], one["path"]) for one in told["problems"]] == [(9, "data.bad.v")]
    found = database.user_data.find_one({"_id": 9})["data"]
    assert found["bad"] == bad
    assert found["good"]["cls"] == "cli_models.Basket"


# -- migrate ---------------------------------------------------------------------------------------------


@pytest.fixture
def people(database: Any) -> None:
    database.user_data.insert_many(
        [
            {"_id": 1, "data": {"name": "Ada"}},
            {"_id": 2, "data": {"title": "Alan"}, "schema": 1, "rev": "bot:1"},
            {"_id": 3, "data": {"title": "Grace", "n": 1}, "schema": 2},
            {"_id": 4, "data": {"names": "4111"}},
            {"_id": 5, "data": {"title": "Joan"}, "schema": 7},
            {"_id": 6, "mine": 1},
        ]
    )
    database.chat_data.insert_one({"_id": -5, "data": {}})


@pytest.mark.usefixtures("people")
def test_migrations_are_applied_to_all_documents(run: Run, database: Any) -> None:
    before = everything(database)
    result = run("migrate", "bot_migrations")
    assert result.exit_code == 1  # one cannot be
    assert "3 documents would be rewritten: user_data 2, chat_data 1" in result.output
    assert "the migration to_1 failed (KeyError)" in result.output
    assert everything(database) == before
    told = json.loads(run("migrate", "bot_migrations", "--apply", "--json").stdout)
    assert told["documents"] == {"user_data": 2, "chat_data": 1}
    assert [(one["_id"], one["reason"]) for one in told["problems"]] == [(4, "the migration to_1 failed (KeyError)")]
    assert [(one["_id"], one["data"], one["schema"]) for one in database.user_data.find({"_id": {"$in": [1, 2]}})] == [
        (1, {"title": "Ada", "n": 1}, 2),
        (2, {"title": "Alan", "n": 1}, 2),
    ]
    assert (database.chat_data.find_one({})["data"], database.chat_data.find_one({})["schema"]) == ({"n": 1}, 1)
    after = everything(database)
    for user in "3", "4", "5", "6":
        assert after["user_data", user] == before["user_data", user]
    assert "There is nothing else to rewrite" in run("migrate", "bot_migrations", "--apply").output
    assert everything(database) == after


async def test_a_bot_that_runs_takes_up_what_was_migrated(run: Run, database: Any, start: Callable[..., Any]) -> None:
    from bot_migrations import migrations

    database.user_data.insert_one({"_id": USER, "data": {"name": "Ada"}})
    older: Bot = await start()
    await older.hears(lambda context: context.user_data.update(own=1))
    await older.saves()
    assert (await asyncio.to_thread(run, "migrate", "bot_migrations", "--apply")).exit_code == 0
    await older.sees(lambda data: "title" in data)
    newer: Bot = await start(migrations=migrations)
    assert await newer.hears() == {"title": "Ada", "n": 1, "own": 1}
    await until(lambda: database.user_data.find_one({})["schema"] == 2)


@pytest.mark.usefixtures("people")
def test_the_dictionary_may_have_another_name(run: Run, database: Any) -> None:
    assert run("migrate", "bot_migrations:first_only", "--apply").exit_code == 1
    assert database.user_data.find_one({"_id": 1})["schema"] == 1


def test_what_the_bot_excludes_need_not_be_readable_and_stays(run: Run, database: Any) -> None:
    lock = {"_py": "object", "cls": "gone.Lock", "state": {}}
    database.user_data.insert_one({"_id": 1, "data": {"name": "Ada", "session": {"lock": lock, "n": 1}}})
    assert run("migrate", "bot_migrations", "--apply").exit_code == 1
    words = ("migrate", "bot_migrations", "--exclude", "user_data:session.lock", "--exclude", "chat_data:x")
    assert run(*words, "--apply").exit_code == 0
    found = database.user_data.find_one({"_id": 1})
    assert (found["data"]["title"], found["schema"]) == ("Ada", 2)
    assert found["data"]["session"] == {"lock": lock, "n": 1}


# -- aliases ---------------------------------------------------------------------------------------------


def aliases() -> list[str]:
    return [word for name in ALL for word in ("--alias", f"old_models.{name}=cli_models.{name}")]


@pytest.mark.usefixtures("stored")
def test_all_commands_that_decode_know_aliases(run: Run, database: Any, tmp_path: Path) -> None:
    before = everything(database)
    assert run("check").exit_code == 1
    assert run("check", *aliases()).exit_code == 0
    assert run("repair", *aliases()).exit_code == 0
    for what in (("user", "1"), ("chat", "-5"), ("bot",), ("conversations",)):
        result = run("show", *what, *aliases())
        assert result.exit_code == 0, result.output
        assert "Basket" in result.output
    file = tmp_path / "bot.pickle"
    assert run("export", "pickle", str(file), *aliases(), "--bot-id", "123456").exit_code == 0
    assert everything(database) == before
    moved = file.read_bytes().replace(b"\x8c\x0acli_models", b"\x8c\x0aold_models")
    assert pickle.loads(file.read_bytes())["user_data"][1] == NESTED
    file.write_bytes(moved)
    for name in ("user_data", "chat_data", "bot_data", "conversations", "callback_data"):
        database[name].drop()
    result = run("import", "pickle", str(file), *aliases(), "--bot-id", "123456", "--apply")
    assert result.exit_code == 0, result.output
    assert CODEC.decode(database.user_data.find_one({"_id": 1})["data"]) == NESTED


def test_a_class_that_was_renamed_twice_is_named_by_both_steps(run: Run, database: Any) -> None:
    database.user_data.insert_one({"_id": 1, "data": old({"level": Level.GOLD})})
    steps = ["--alias", "old_models.Level=between.Level", "--alias", "between.Level=cli_models.Level"]
    assert run("check", *steps).exit_code == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["rename-class", "Basket", "cli_models.Basket"], "with its module"),
        (["rename-class", "old.Basket", "cli_models.Nothing"], "no class"),
        (["rename-class", "old.Basket", "no_module_of_this_name.Basket"], "cannot be imported"),
        (["rename-class", "cli_models.Basket", "cli_models.Basket"], "differs from NEW"),
        (["migrate", "no_module_of_this_name"], "cannot be imported"),
        (["migrate", "cli_models"], "mapping such as"),
        (["migrate", "bot_migrations:to_1"], "mapping such as"),
        (["migrate", "bot_migrations", "--exclude", "session.lock"], "such as user_data:session.lock"),
        (["migrate", "bot_migrations", "--exclude", "user_data:a.**"], "is none of its keys"),
        (["check", "--alias", "old.Basket"], "OLD=NEW"),
        (["check", "--alias", "old.Basket=cli_models.Nothing"], "no class"),
        (["check", "--alias", "a.B=b.B", "--alias", "b.B=a.B"], "circle"),
        (["check", "--alias", "builtins.dict=cli_models.Basket"], "Python's"),
    ],
)
def test_wrong_usage_is_told_in_one_line(words: list[str], why: str, run: Run) -> None:
    result = run(*words, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert why in result.output
