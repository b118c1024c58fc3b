"""`ptb-mongo erase` and `export user`: what is shown, what is changed, and what stays.

The kind of fault: a dry run changes something; somebody else's document is deleted; a mention is not found in one of
its stored forms; a stranger's document stops the search or acts on the terminal.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
import json
import stat
import struct
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import Bot, until
from bson.decimal128 import Decimal128
from offline import message_from, offline_application
from people import ADA, GROUP, SECRET, mentions
from test_cli_hostile_text import HOSTILE, offending
from typer.testing import Result

from ptb_mongo import MongoPersistence
from ptb_mongo.people.handing_out import readable
from ptb_mongo.people.traces import paths_in

Run = Callable[..., Result]
BOB = 77
WHEN = dtm.datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=dtm.timezone.utc)


@pytest.fixture
def stored(mongo_persistence: Callable[..., Any]) -> None:
    """What a bot has stored before it was stopped."""

    async def live() -> None:
        persistence = mongo_persistence()
        offline_application(persistence)
        await persistence.get_user_data()
        await persistence.update_user_data(
            ADA,
            {
                "note": SECRET,
                "since": WHEN,
                "price": Decimal("4.50"),
                "last": message_from(ADA, "hi"),
                1: "a",
                "1": "b",
            },
        )
        await persistence.update_user_data(BOB, {"friends": {ADA}, "log": f"met {ADA}, and {ADA}0"})
        await persistence.update_chat_data(ADA, {"place": SECRET})
        await persistence.update_conversation("order", (ADA, ADA), "amount")
        await persistence.update_conversation("order", (BOB, BOB), "amount")
        await persistence.update_callback_data(([("uuid", 1.5, {"button": {"user": ADA}})], {}))
        await persistence.flush()

    asyncio.run(live())


def everything(database: Any) -> list[Any]:
    return [list(database[name].find()) for name in sorted(database.list_collection_names()) if name != "ptb_mongo"]


@pytest.mark.usefixtures("stored")
def test_without_apply_nothing_changes(run: Run, database: Any) -> None:
    before = everything(database)
    shown = run("erase", "user", str(ADA), "--search")
    assert shown.exit_code == 0
    assert "Nothing was changed" in shown.output
    assert everything(database) == before


@pytest.mark.usefixtures("stored")
def test_what_is_theirs_goes_and_mentions_stay_and_are_named(run: Run, database: Any) -> None:
    shown = json.loads(run("erase", "user", str(ADA), "--search", "--apply", "--json").output)
    assert shown["removed"] == shown["found"] == {"user_data": 1, "chat_data": 1, "conversations": 1}
    assert shown["left"] == 0
    assert [(one["collection"], one["_id"], one["path"]) for one in shown["mentions"]] == [
        ("user_data", BOB, "data.friends.v.0"),
        ("user_data", BOB, "data.log"),
        ("callback_data", "uuid", "objects.0.user"),
    ]
    assert database.user_data.find_one({"_id": BOB})["data"]["friends"]["v"] == [ADA]
    left = mentions(database)
    assert {one.partition(":")[0] for one in left} == {"user_data", "callback_data"}
    assert run("erase", "user", str(ADA)).output.startswith("Nothing is stored of user")


def test_a_chat_with_a_negative_id_is_erased(run: Run, database: Any) -> None:
    database.chat_data.insert_many([{"_id": GROUP, "data": {}}, {"_id": -GROUP, "data": {}}])
    assert run("erase", "chat", str(GROUP), "--apply").exit_code == 0
    assert [one["_id"] for one in database.chat_data.find()] == [-GROUP]


async def test_a_bot_that_runs_forgets_whom_the_command_line_erases(
    run: Run, database: Any, mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]
) -> None:
    bot = Bot(mongo_persistence())
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(note=SECRET), user=ADA)
        await bot.saves()
        session: Any = bot.persistence.session
        await until(lambda: not session.must_read)
        await bot.hears(lambda context: context.user_data.update(unsaved=SECRET), user=ADA)
        ran = await asyncio.to_thread(run, "erase", "user", str(ADA), "--apply")
        assert "1 document erased" in ran.output
        await until(lambda: ADA not in bot.application.user_data)
        await bot.saves()
        assert mentions(database) == []


def test_documents_of_strangers_stop_nothing_and_act_on_no_terminal(run: Run, database: Any) -> None:
    odd: list[Any] = [
        {"_id": {"a": [ADA, HOSTILE]}, HOSTILE: str(ADA)},
        {"_id": HOSTILE, "data": {"x": [{HOSTILE: float(ADA)}]}},
        {"_id": bson.ObjectId(), "data": bson.DBRef("x", ADA)},
        {"_id": bson.MinKey(), "data": bson.Code("f", {"scope": ADA})},
        {"_id": bson.Timestamp(1, 1), "data": Decimal128(str(ADA))},
        {"_id": WHEN, "data": b"x" + struct.pack("<q", ADA)},
        {"_id": Decimal128("NaN"), f"{ADA}": None},
    ]
    database.user_data.insert_many(odd[:4])
    database.conversations.insert_many(odd[4:])
    database.conversations.insert_one({"_id": {"handler": HOSTILE, "key": [ADA, ADA]}, "state": ADA})
    database.conversations.insert_one({"_id": {"key": [ADA, ADA], "handler": "x"}})  # no form of ours: a mention
    for words in (("--search",), ("--search", "--json"), ("--apply",), ("--apply", "--search", "--limit", "2")):
        ran = run("erase", "user", str(ADA), *words)
        assert ran.exit_code == 0
        assert offending(ran.stdout_bytes) == []
    found = json.loads(run("erase", "user", str(ADA), "--search", "--json").output)
    assert len({repr(one["_id"]) for one in found["mentions"]}) == 8
    assert database.conversations.count_documents({}) == 4


FORMS: list[Any] = [ADA, float(ADA), str(ADA), f"tg://user?id={ADA}", Decimal128(f"{ADA}.0"), bson.Int64(ADA)]
NOT_THEM: list[Any] = [ADA + 1, f"{ADA}1", f"1{ADA}", True, None, ADA + 0.5, bson.ObjectId(), b"abc"]


def test_a_mention_is_found_in_every_form_and_nothing_else_is_one() -> None:
    for form in FORMS:
        assert list(paths_in({"a": [{"b": form}]}, ADA)) == ["a.0.b"]
    for form in NOT_THEM:
        assert list(paths_in({"a": [{"b": form}]}, ADA)) == []
    assert list(paths_in({str(ADA): 1}, ADA)) == [str(ADA)]


# -- handing out ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_everything_of_a_user_is_handed_out_readably(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ada.json"
    assert run("export", "user", str(ADA), "--json", str(file)).exit_code == 0
    made = json.loads(file.read_text())
    assert made["subject"] == {"user": ADA}
    (user,) = made["user_data"]
    assert user["data"]["since"] == WHEN.isoformat()
    assert user["data"]["price"] == "4.50"
    assert user["data"]["last"]["message"]["text"] == "hi"
    assert sorted(user["data"][key] for key in user["data"] if "1" in key) == ["a", "b"]
    assert made["chat_data"][0]["data"] == {"place": SECRET}
    assert made["conversations"][0]["state"] == "amount"
    assert str(BOB) not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("export", "user", str(ADA), "--json", str(file)).exit_code == 2
    assert run("export", "user", str(ADA), "--json", str(file), "--force").exit_code == 0
    assert run("export", "user", "1", "--json", str(tmp_path / "none.json")).exit_code == 1


@pytest.mark.usefixtures("stored")
def test_the_persistence_hands_out_the_same(run: Run, tmp_path: Path, mongo_persistence: Callable[..., Any]) -> None:
    run("export", "user", str(ADA), "--json", str(tmp_path / "ada.json"))
    persistence = mongo_persistence()

    async def export() -> Any:
        try:
            return await persistence.export(ADA)
        finally:
            await persistence.flush()

    made, expected = asyncio.run(export()), json.loads((tmp_path / "ada.json").read_text())
    assert {**json.loads(json.dumps(made)), "exported_at": 0} == {**expected, "exported_at": 0}


def test_whatever_a_stranger_has_stored_can_be_handed_out(run: Run, database: Any, tmp_path: Path) -> None:
    deep: Any = ADA
    for _ in range(90):
        deep = {"_py": "bson", "v": bson.encode({"x": deep})}
    database.user_data.insert_one(
        {
            "_id": ADA,
            "data": {
                "%uD800": HOSTILE,
                "nan": float("nan"),
                "big": 2**62,
                "many": [
                    {"_py": 5},
                    {"_py": "object"},
                    {"_py": "bson", "v": b"broken"},
                    {"_py": "telegram", "view": 1},
                ],
                "when": bson.DatetimeMS(2**60),
                "deep": deep,
                "all": [bson.MaxKey(), bson.Code("x"), bson.Timestamp(1, 1), bson.DBRef("a", HOSTILE)],
            },
        }
    )
    file = tmp_path / "ada.json"
    assert run("export", "user", str(ADA), "--json", str(file)).exit_code == 0
    data = json.loads(file.read_text())["user_data"][0]["data"]
    assert data["nan"] == "nan"
    assert data["big"] == str(2**62)
    assert offending(file.read_bytes()) == []
    assert readable({"_py": "enum", "cls": "x", "name": "GOLD", "v": 1}) == "GOLD"
