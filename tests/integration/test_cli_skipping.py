"""An import reports everything that cannot be stored in one run, and can leave it out: no value blocks another one.

The kind: a refused value in each kind of data and each kind of container; with `--skip`, with `--drop-path`, and with
neither.
"""

from __future__ import annotations

import asyncio
import collections
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import telegram
from cli_models import Basket, Level, Place
from offline import BOT_ID
from typer.testing import Result

from ptb_mongo.codec import Codec
from ptb_mongo.codec.trust import Trust
from ptb_mongo.migration.skipping import leave_out, refused_value
from ptb_mongo.migration.unpickler import ForeignPickle

Run = Callable[..., Result]
LOCK = asyncio.Lock()
OF_PTB_13 = Path(__file__).parent.parent / "unit" / "ptb13" / "ptb13"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    data = {
        "user_data": {
            1: {"name": "Ada", "session": {"lock": LOCK, "n": 1}, "all": [1, LOCK, 2], "basket": Basket()},
            2: {"name": "Grace"},
        },
        "chat_data": {-1: {"lock": LOCK}},
        "bot_data": {"locks": {5: LOCK, 6: "x"}},
        "conversations": {"order": {(1, 1): LOCK, (2, 2): "menu"}},
        "callback_data": ([("k", 1.0, {"b": LOCK}), ("l", 2.0, {"b": 1})], {}),
    }
    (tmp_path / "bot.pickle").write_bytes(pickle.dumps(data))
    return tmp_path / "bot.pickle"


def importing(run: Run, file: Path, *words: str) -> Any:
    result = run("import", "pickle", str(file), "--bot-id", str(BOT_ID), "--apply", "--json", *words)
    return result.exit_code, json.loads(result.stdout)


def test_without_a_wish_all_that_is_wrong_is_named_and_everything_else_comes_in(run, database, file):
    code, report = importing(run, file)

    assert code == 1
    problems = {(one["collection"], str(one["_id"])): one["reason"] for one in report["problems"]}
    assert set(problems) == {
        ("user_data", "1"),
        ("chat_data", "-1"),
        ("bot_data", str(BOT_ID)),
        ("conversations", "{'handler': 'order', 'key': [1, 1]}"),
        ("callback_data", "k"),
    }
    of_ada = problems["user_data", "1"]
    assert "asyncio.locks.Lock (at session.lock, and 1 more)" in of_ada
    assert "cli_models.Basket (at basket)" in of_ada
    assert of_ada.startswith("it holds what cannot be stored: asyncio.locks.Lock")
    assert "--drop-path user_data.all --drop-path user_data.basket --drop-path user_data.session.lock" in of_ada
    assert all("--skip" in reason for name, reason in problems.items() if name[0] != "callback_data")
    assert set(report["refused"]) == {"asyncio.locks.Lock", "cli_models.Basket", "cli_models.Level"}
    assert [one["_id"] for one in database.user_data.find()] == [2]
    assert database.conversations.count_documents({}) == database.callback_data.count_documents({}) == 1


def test_the_summary_names_classes_and_ways_and_accuses_nobody(run, file):
    output = run("import", "pickle", str(file), "--bot-id", str(BOT_ID)).output

    assert "at session.lock" in output
    assert "--trust cli_models" in output
    assert "--trust asyncio" not in output
    assert "run code" not in output


def test_with_skip_each_value_that_cannot_be_stored_is_left_out_and_named(run, database, file):
    _, report = importing(run, file, "--skip")

    assert database.user_data.find_one(1)["data"] == {"name": "Ada", "session": {"n": 1}, "all": [1, 2]}
    assert database.chat_data.find_one(-1) is None or database.chat_data.find_one(-1)["data"] == {}
    assert database.bot_data.find_one()["data"] == {"locks": {"%i6": "x"}}
    assert {(one["collection"], one["path"]) for one in report["left_out"]} == {
        ("user_data", "session.lock"),
        ("user_data", "all.1"),
        ("user_data", "basket"),
        ("chat_data", "lock"),
        ("bot_data", "locks.5"),
    }
    assert {one["collection"] for one in report["problems"]} == {"conversations", "callback_data"}  # nothing is left


def test_what_is_dropped_is_no_trouble_any_more(run, database, file):
    drops = ["user_data.session.lock", "user_data.all", "chat_data.*", "bot_data.locks.5"]
    code, report = importing(
        run, file, "--trust", "cli_models", *(word for path in drops for word in ("--drop-path", path))
    )

    assert code == 1  # the conversation and the keyboard
    assert {one["collection"] for one in report["problems"]} == {"conversations", "callback_data"}
    ada = database.user_data.find_one(1)["data"]
    assert ada["session"] == {"n": 1}
    assert "all" not in ada
    assert ada["basket"]["cls"] == "cli_models.Basket"
    assert report["left_out"] == []


def test_what_is_dropped_stays_in_the_database_where_it_is_already(run, database, file):
    database.user_data.insert_one({"_id": 1, "data": {"session": {"n": 0, "lock": "theirs"}}, "rev": "x:1"})

    importing(run, file, "--overwrite", "--skip", "--drop-path", "user_data.session.lock")

    assert database.user_data.find_one(1)["data"]["session"] == {"n": 1, "lock": "theirs"}


@pytest.mark.parametrize(
    "path", ["session.lock", "user_data", "user_data.", "users.x", "user_data.a..b", "user_data.**"]
)
def test_a_path_that_names_nothing_is_wrong_usage(run, file, path):
    assert run("import", "pickle", str(file), "--drop-path", path).exit_code == 2


def test_a_file_of_ptb_13_moves_in(run, database):
    code, report = importing(run, OF_PTB_13)

    assert (code, report["problems"], report["refused"]) == (0, [], {})
    assert database.user_data.find_one(7)["data"]["message"]["view"]["text"] == "Tea, please"
    assert database.conversations.count_documents({}) == 2
    assert database.callback_data.count_documents({}) == 2


HOLDERS: dict[str, tuple[Any, Any]] = {
    "a dict": ({"a": LOCK, "b": 1}, {"b": 1}),
    "a key": ({"x": {LOCK: 1, 2: 3}}, {"x": {2: 3}}),
    "a list": ([LOCK, 1, LOCK, [LOCK]], [1, []]),
    "a tuple": ({"a": (1, LOCK), "b": 2}, {"b": 2}),
    "a tuple in a list": ([(1, LOCK), 2], [2]),
    "a set": ({"a": {LOCK, 5}}, {"a": {5}}),
    "a frozenset": ({"a": frozenset({LOCK, 5})}, {}),
    "a deque": ({"a": collections.deque([LOCK, 1], 5)}, {"a": collections.deque([1], 5)}),
    "an ordered dict": (collections.OrderedDict(a=LOCK, b=1), collections.OrderedDict(b=1)),
    "an object": (
        {"a": Basket({"tea": LOCK}, Level.GOLD, Place("Elm", 1))},
        {"a": Basket({}, Level.GOLD, Place("Elm", 1))},
    ),
    "a Telegram object": ({"a": telegram.InlineKeyboardButton("x", callback_data=LOCK), "b": 1}, {"b": 1}),
    "a factory": ({"a": collections.defaultdict(len, {1: 2}), "b": 1}, {"b": 1}),
    "twice the same": ([{"a": LOCK}] * 2, [{}, {}]),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_of_whatever_holds_it_the_smallest_thing_is_left_out(holder):
    value, rest = HOLDERS[holder]
    trusted = ["cli_models"]
    found = ForeignPickle(pickle.dumps(value), Trust(trusted), None).load()
    codec = Codec(trusted)

    left = leave_out(found, codec)

    assert left
    assert [*codec.troubles(found, refused_value)] == []
    assert codec.decode(codec.encode(found)) == rest
