"""Migrations: each function written since a document was stored is applied to it once.

The kind: data stored by an earlier version of the bot, in every way of loading it, and two versions of the bot on one
database. Nothing is lost, nothing is done twice, nothing is undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from bots import USER, Bot, until
from telegram.ext import ContextTypes
from workers import SharedBot, running, text

from ptb_mongo import ConfigurationError, MongoPersistence, QuarantinedError, UnsavedDataError

CALLS: Counter[tuple[str, str]] = Counter()


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def to_1(data: dict[str, Any]) -> None:
    """A key is renamed, in place."""
    CALLS["to_1", data["name"]] += 1
    data["title"] = data.pop("name")


def to_2(data: dict[str, Any]) -> dict[str, Any]:
    """A list becomes a dict, in a new object."""
    CALLS["to_2", data["title"]] += 1
    return {**data, "cart": dict.fromkeys(data.get("cart", []), 1)}


ONE: Any = {"user_data": [to_1]}
BOTH: Any = {"user_data": [to_1, to_2]}
OLD = {"name": "Ada", "cart": ["tea", "cake"], "n": 1}
NEW = {"title": "Ada", "cart": {"tea": 1, "cake": 1}, "n": 1}


def stored(database: Any, user: int = USER) -> tuple[Any, Any]:
    found = database.user_data.find_one({"_id": user}) or {}
    return found.get("data"), found.get("schema")


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_a_document_goes_once_through_the_functions_when_it_is_loaded_and_is_saved(
    loading: Any, start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": OLD, "mine": "stays"})
    bot: Bot = await start(loading=loading, migrations=BOTH)
    assert await bot.hears() == NEW
    await until(lambda: stored(database) == (NEW, 2))
    await bot.hears(lambda context: context.user_data.update(n=2))
    await bot.saves()
    again: Bot = await start(loading=loading, migrations=BOTH)
    assert await again.hears() == {**NEW, "n": 2}
    assert stored(database) == ({**NEW, "n": 2}, 2)
    assert database.user_data.find_one({})["mine"] == "stays"
    assert CALLS == {("to_1", "Ada"): 1, ("to_2", "Ada"): 1}


async def test_a_document_of_which_some_functions_are_done_goes_through_the_others(
    start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "schema": 1, "data": {"title": "Ada", "cart": ["tea"]}})
    bot: Bot = await start(migrations=BOTH)
    assert await bot.hears() == {"title": "Ada", "cart": {"tea": 1}}
    await until(lambda: stored(database)[1] == 2)
    assert CALLS == {("to_2", "Ada"): 1}


async def test_a_new_document_has_been_through_all_functions_and_an_empty_one_through_none(
    start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": 7, "mine": "no data"})
    bot: Bot = await start(migrations=BOTH)
    await bot.hears(lambda context: context.user_data.update(title="Grace"))
    await bot.hears(lambda context: context.user_data.update(title="Alan"), user=7)
    await bot.saves()
    assert stored(database) == ({"title": "Grace"}, 2)
    assert stored(database, 7) == ({"title": "Alan"}, 2)
    bot.application.drop_user_data(USER)
    await bot.saves()
    assert database.user_data.find_one({"_id": USER, "data": {"$exists": True}}) is None
    await bot.hears(lambda context: context.user_data.update(title="Ada"))
    await bot.saves()
    assert stored(database) == ({"title": "Ada"}, 2)
    assert not CALLS


async def test_all_scopes_have_functions_of_their_own(start: Callable[..., Any], database: Any) -> None:
    def one(data: dict[str, Any]) -> None:
        data["n"] = data["n"] + 1

    database.chat_data.insert_one({"_id": USER, "data": {"n": 1}})
    database.bot_data.insert_one({"_id": 123456, "data": {"n": 1}})
    bot: Bot = await start(migrations={"chat_data": [one], "bot_data": [one, one]})
    assert (bot.application.chat_data[USER], bot.application.bot_data) == ({"n": 2}, {"n": 3})
    await until(lambda: (database.bot_data.find_one({}) or {}).get("schema") == 2)
    await until(lambda: (database.chat_data.find_one({}) or {}).get("schema") == 1)


async def test_what_others_store_in_the_old_form_while_the_bot_runs_is_brought_into_the_new_one(
    start: Callable[..., Any], database: Any, mode: str
) -> None:
    bot: Bot = await start(migrations=BOTH, refresh=mode)
    await bot.hears(lambda context: context.user_data.update(title="Grace", own=1))
    await bot.saves()
    database.user_data.replace_one({"_id": USER}, {"data": OLD, "rev": "other:1"})
    assert await bot.sees(lambda data: data.get("title") == "Ada") == NEW
    database.user_data.insert_one({"_id": 7, "data": {"name": "Alan"}})
    await bot.sees(lambda data: data.get("title") == "Alan", user=7)
    await until(lambda: stored(database) == (NEW, 2) and stored(database, 7)[1] == 2)
    assert not bot.errors


async def test_an_edit_by_others_while_the_migrated_document_is_saved_is_kept(
    client: Any, mongodb_database: str, database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": OLD})
    bot = Bot(MongoPersistence(client, mongodb_database, migrations=BOTH, on_flush=True))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=5))
        database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "gold", "rev": "other:1"}})
    assert stored(database) == ({**NEW, "n": 5, "plan": "gold"}, 2)


async def test_a_function_that_fails_costs_its_document_alone(
    start: Callable[..., Any], database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.user_data.insert_one({"_id": USER, "data": OLD})
    database.user_data.insert_one({"_id": 7, "data": {"names": "4111-1111"}})
    bot: Bot = await start(migrations=BOTH)
    assert await bot.hears() == NEW
    await until(lambda: stored(database)[1] == 2)
    (line,) = [one.getMessage() for one in caplog.records if "Quarantined" in one.getMessage()]
    assert line.endswith("user_data, _id 7, at data: the migration to_1 failed (KeyError)")
    assert "4111" not in caplog.text
    await bot.hears(lambda context: context.user_data.update(title="x"), user=7)
    with pytest.raises(QuarantinedError):
        await bot.persistence.update_user_data(7, {"title": "x"})
    assert stored(database, 7) == ({"names": "4111-1111"}, None)


def _makes_a_lock(data: dict[str, Any]) -> None:
    data["lock"] = asyncio.Lock()


def _makes_a_list(data: dict[str, Any]) -> list[Any]:
    return list(data)


def _makes_too_much(data: dict[str, Any]) -> None:
    data["text"] = "x" * 17_000_000


@pytest.mark.parametrize("function", [_makes_a_lock, _makes_a_list, _makes_too_much])
async def test_what_a_function_makes_and_the_bot_cannot_keep_is_refused_as_well(
    function: Any, start: Callable[..., Any], database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"a": 1}})
    bot: Bot = await start(migrations={"user_data": [function]})
    assert await bot.hears() == {}
    assert "after its migrations" in caplog.text
    assert stored(database) == ({"a": 1}, None)


@pytest.mark.parametrize(
    "nonsense", ["2", -1, 2**40, 2.5, True, [1], {"_py": "int", "v": "1"}, {"_py": "nonsense"}, float("nan")]
)
async def test_a_planted_number_that_is_none_stops_nothing(
    nonsense: Any, start: Callable[..., Any], database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.user_data.insert_one({"_id": 7, "data": OLD, "schema": nonsense})
    database.user_data.insert_one({"_id": USER, "data": {**OLD, "name": "Alan"}})
    bot: Bot = await start(migrations=BOTH)
    assert (await bot.hears())["title"] == "Alan"
    await bot.hears(user=7)
    if nonsense != {"_py": "int", "v": "1"}:  # which is a form of 1
        assert "_id 7, at schema" in caplog.text
        assert ("to_1", "Ada") not in CALLS
        assert stored(database, 7)[0] == OLD
    without: Bot = await start()
    assert await without.hears(user=7) == OLD or nonsense == {"_py": "int", "v": "1"}


async def test_a_number_in_another_form_counts(start: Callable[..., Any], database: Any) -> None:
    database.user_data.insert_one({"_id": USER, "schema": 2.0, "data": {"n": 1}})
    bot: Bot = await start(migrations=BOTH)
    assert await bot.hears(lambda context: context.user_data.update(n=2)) == {"n": 2}
    await bot.saves()
    assert stored(database) == ({"n": 2}, 2)
    assert not CALLS


# -- two versions of a bot -------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [{}, ONE], ids=["without", "with one"])
async def test_an_older_version_keeps_what_a_newer_one_has_done(
    older: Any, start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": NEW, "schema": 2, "rev": "newer:1"})
    bot: Bot = await start(migrations=older)
    assert await bot.hears(lambda context: context.user_data.update(n=2)) == {**NEW, "n": 2}
    await bot.saves()
    database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "gold"}})
    await bot.sees(lambda data: data.get("plan") == "gold")
    await bot.hears(lambda context: context.user_data.update(n=3))
    await bot.saves()
    assert stored(database) == ({**NEW, "n": 3, "plan": "gold"}, 2)
    assert not CALLS


@pytest.mark.parametrize("older", [{}, ONE], ids=["without", "with one"])
async def test_two_versions_at_once_undo_nothing_of_each_other(
    older: Any, start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": OLD})
    old: Bot = await start(migrations=older)
    await old.hears(lambda context: context.user_data.update(by_old=1))
    await old.saves()
    new: Bot = await start(migrations=BOTH)
    await new.hears(lambda context: context.user_data.update(by_new=1))
    await new.saves()
    await until(lambda: stored(database)[1] == 2)
    await old.sees(lambda data: "by_new" in data)
    await old.hears(lambda context: context.user_data.update(by_old=2))
    await old.saves()
    await new.sees(lambda data: data.get("by_old") == 2)
    await new.hears(lambda context: context.user_data.update(by_new=2))
    await new.saves()
    await old.sees(lambda data: data.get("by_new") == 2)
    await old.saves()
    await new.saves()
    assert stored(database) == ({**NEW, "by_old": 2, "by_new": 2}, 2)


@pytest.mark.parametrize("older", [{}, ONE], ids=["without", "with one"])
async def test_what_an_older_version_has_not_saved_yet_does_not_bring_back_the_old_shape(
    older: Any, start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"title": "Ada", "cart": ["tea"]}, "schema": 1})
    old: Bot = await start(migrations=older)
    await old.hears(lambda context: context.user_data["cart"].append("cake"))
    await start(migrations=BOTH)
    await until(lambda: stored(database)[1] == 2)
    await old.saves()
    await old.sees(lambda data: data["cart"] == {"tea": 1})
    await old.saves()
    assert stored(database) == ({"title": "Ada", "cart": {"tea": 1}}, 2)


async def test_what_the_older_version_stores_for_a_new_user_is_migrated_by_the_newer_one(
    start: Callable[..., Any], database: Any
) -> None:
    old: Bot = await start(migrations={})
    new: Bot = await start(migrations=BOTH)
    await old.hears(lambda context: context.user_data.update(OLD))
    await old.saves()
    assert await new.sees(lambda data: "title" in data) == NEW
    await until(lambda: stored(database) == (NEW, 2))
    await old.sees(lambda data: "title" in data)


async def test_what_an_older_version_could_not_save_is_migrated_before_it_is_merged(
    client: Any, mongodb_database: str, database: Any, tmp_path: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": OLD})
    options: Any = {"spill_dir": tmp_path}
    old = Bot(MongoPersistence(client, mongodb_database, migrations={}, shutdown_timeout=0.2, **options))
    await old.application.initialize()
    await old.hears(lambda context: context.user_data.update(n=9))
    database.command("collMod", "user_data", validator={"data.n": {"$ne": 9}}, validationLevel="strict")
    with pytest.raises(UnsavedDataError):
        await old.application.shutdown()
    database.command("collMod", "user_data", validator={})
    new = Bot(MongoPersistence(client, mongodb_database, migrations=BOTH, **options))
    async with new.application:
        assert await new.hears() == {**NEW, "n": 9}
    assert stored(database) == ({**NEW, "n": 9}, 2)


# -- several workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_workers_migrate_a_document_together(
    loading: Any, worker: Callable[..., SharedBot], database: Any
) -> None:
    database.user_data.insert_many([{"_id": user, "data": OLD} for user in range(1, 9)])
    adds: Any = {"user_data": {"n": "add"}}
    workers = [worker(migrations=BOTH, loading=loading, on_conflict=adds) for _ in range(2)]

    def count(_: Any, context: Any) -> None:
        context.user_data["n"] += 1

    async with running(*workers):
        for user in range(1, 9):
            await asyncio.gather(*(one.delivers(text(user=user), count) for one in workers))
        await until(lambda: all(stored(database, user) == ({**NEW, "n": 3}, 2) for user in range(1, 9)))
    assert workers[0].errors == workers[1].errors == []


# -- data of one's own -----------------------------------------------------------------------------------


@dataclass
class MyData:
    title: str = ""
    tags: set[str] = field(default_factory=set)


def to_class(data: dict[str, Any]) -> MyData:
    return MyData(data["name"], {"from dict"})


def to_upper(data: MyData) -> None:
    data.title = data.title.upper()


async def test_a_dict_becomes_an_object_of_a_class(start: Callable[..., Any], database: Any) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"name": "Ada"}})
    types = ContextTypes(user_data=MyData)
    bot: Bot = await start(context_types=types, migrations={"user_data": [to_class, to_upper]})
    assert await bot.hears(lambda context: context.user_data.tags.add("tea")) == MyData("ADA", {"from dict", "tea"})
    await bot.saves()
    assert stored(database)[1] == 2
    again: Bot = await start(context_types=types, migrations={"user_data": [to_class, to_upper]})
    assert await again.hears() == MyData("ADA", {"from dict", "tea"})


async def test_excluded_keys_and_a_part_that_cannot_be_stored_change_nothing(
    start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {**OLD, "cache": 5}})
    bot: Bot = await start(migrations=BOTH, exclude={"user_data": {"cache"}})
    await bot.hears(lambda context: context.user_data.update(cache=6, bad=print))
    await bot.hears(lambda context: context.user_data.update(n=2))
    with pytest.raises(Exception, match="bad"):
        await bot.persistence.update_user_data(USER, bot.application.user_data[USER])
    await until(lambda: stored(database) == ({**NEW, "n": 2, "cache": 5}, 2))
    await bot.hears(lambda context: context.user_data.pop("bad"))
    await bot.saves()


# -- the argument ----------------------------------------------------------------------------------------


async def _async(data: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([to_1], "mapping such as"),
        ({"users": [to_1]}, "none of user_data"),
        ({"conversations": [to_1]}, "none of user_data"),
        ({"user_data": to_1}, "list of functions"),
        ({"user_data": {to_1}}, "list of functions"),
        ({"user_data": ["to_1"]}, "function from the data"),
        ({"user_data": [_async]}, "not async"),
    ],
)
def test_migrations_that_cannot_be_used_are_refused_by_the_constructor(wrong: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        MongoPersistence("mongodb://localhost", migrations=wrong)


@pytest.fixture(autouse=True)
def _logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ptb_mongo")
