"""Excluded values inside a user's data stay unchanged, in the bot and in the database, however the data moves.

The kind: each way in which a live object gets data (the start, a lazy load, a refresh, a save's merge, another worker,
a spill file), with a value in it that belongs to the bot alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bots import USER, Bot
from workers import running

from ptb_mongo import UnsavedDataError

EXCLUDE = {"user_data": {"session.lock", "prefs.*.cache", "cache"}}


@dataclass
class Session:
    number: int = 0
    lock: Any = field(default=None, compare=False)


OPTIONS: dict[str, Any] = {"exclude": EXCLUDE, "trusted": [Session]}
STORED = {
    "session": {"_py": "object", "cls": f"{__name__}.Session", "state": {"number": 1, "lock": {"_py": "what"}}},
    "prefs": {"a": {"n": 1, "cache": "theirs"}, "b": {"n": 1}},
    "cache": {"_py": "object", "cls": "gone.Cache", "state": {}},
}


def puts(context: Any) -> Any:
    """Excluded values that cannot be stored, which PTB can copy."""
    data = context.user_data
    data["cache"] = data["session"].lock = data["prefs"]["a"]["cache"] = lock = asyncio.Lock()
    return lock


def excluded(data: Any) -> list[Any]:
    return [data["cache"], data["session"].lock, data["prefs"]["a"]["cache"]]


def contents(folder: Path) -> list[bytes]:
    found = [file.read_bytes() for file in folder.iterdir()]
    assert found
    return found


def others_edit(database: Any, number: int) -> None:
    change = {"data.session.state.number": number, "data.prefs.b.n": number, "data.prefs.a.cache": number}
    database.user_data.update_one({"_id": USER}, {"$set": change})


@pytest.mark.parametrize("loading", ["eager", "lazy"])
@pytest.mark.parametrize("refresh", ["watch", "read"])
async def test_excluded_values_inside_stay_what_they_are(mongo_persistence, database, loading, refresh):
    database.user_data.insert_one({"_id": USER, "data": STORED})
    bot = Bot(mongo_persistence(loading=loading, refresh=refresh, **OPTIONS))
    async with bot.application:
        data = await bot.hears()
        assert data == {"session": Session(1), "prefs": {"a": {"n": 1}, "b": {"n": 1}}}
        session = data["session"]
        locks: list[Any] = []
        await bot.hears(lambda context: locks.append(puts(context)))
        await bot.saves()

        others_edit(database, 2)
        await bot.sees(lambda data: data["session"].number == 2)
        assert excluded(data) == locks * 3
        assert (data["session"], data["prefs"]["b"]) == (session, {"n": 2})
        assert data["session"] is session

        def acts(context: Any) -> None:
            context.user_data["session"].number = 3
            context.user_data["prefs"]["a"]["n"] = 3

        await bot.hears(acts)
        others_edit(database, 4)
        await bot.saves()
        await bot.hears()
        assert excluded(data) == locks * 3
    assert bot.errors == []
    stored = database.user_data.find_one(USER)["data"]
    assert stored["session"]["state"]["lock"] == {"_py": "what"}
    assert stored["prefs"]["a"] == {"n": 3, "cache": 4}
    assert stored["cache"] == STORED["cache"]


async def test_a_bot_that_excludes_a_part_can_start_with_what_it_could_not_read(mongo_persistence, database):
    database.user_data.insert_one({"_id": USER, "data": STORED})

    async with Bot(mongo_persistence(trusted=[Session])).application as application:
        assert USER not in application.user_data
    async with Bot(mongo_persistence(**OPTIONS)).application as application:
        assert application.user_data[USER]["session"] == Session(1)
    assert database.user_data.find_one(USER)["data"] == STORED


async def test_what_is_replaced_as_a_whole_keeps_them_too(mongo_persistence, database):
    pairs = {"_py": "dict", "v": [[{"_py": "tuple", "v": [1, 2]}, "tea"], ["n", 1]]}
    database.user_data.insert_one({"_id": USER, "data": {"session": pairs}})
    bot = Bot(mongo_persistence(exclude={"user_data": {"session.lock"}}))
    async with bot.application:
        data = await bot.hears(lambda context: context.user_data["session"].update(lock=asyncio.Lock()))
        lock = data["session"]["lock"]
        await bot.saves()
        database.user_data.update_one({"_id": USER}, {"$set": {"data.session.v.1.1": 2}})

        await bot.sees(lambda data: data["session"]["n"] == 2)

        assert data["session"] == {(1, 2): "tea", "n": 2, "lock": lock}
        assert bot.errors == []


async def test_beside_what_could_not_be_read_other_forms_of_the_same_stay_as_they_are(mongo_persistence, database):
    tags = {"_py": "set", "v": [3, 1, 2]}  # others do not sort
    database.user_data.insert_one({"_id": USER, "data": {**STORED, "tags": tags}})
    bot = Bot(mongo_persistence(**OPTIONS))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()
    stored = database.user_data.find_one(USER)["data"]
    assert (stored["tags"], stored["n"], stored["cache"]) == (tags, 1, STORED["cache"])


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_each_worker_has_excluded_values_of_its_own(worker, database, loading):
    database.user_data.insert_one({"_id": USER, "data": STORED})
    workers = [worker(loading=loading, **OPTIONS) for _ in range(2)]
    async with running(*workers):
        locks: list[Any] = []
        for bot in workers:
            await bot.hears(lambda context: locks.append(puts(context)))
        for number in range(2, 6):

            def count(context: Any, number: int = number) -> None:
                context.user_data["session"].number = number

            await workers[number % 2].hears(count)
        for bot, lock in zip(workers, locks, strict=True):
            data = await bot.hears()
            assert data["session"].number == 5
            assert excluded(data) == [lock] * 3
        assert [bot.errors for bot in workers] == [[], []]
    assert database.user_data.find_one(USER)["data"]["session"]["state"]["lock"] == {"_py": "what"}


async def test_a_spill_file_holds_nothing_of_them(mongo_persistence, database, tmp_path: Path):
    database.create_collection("user_data", validator={"data.session.state.number": {"$ne": 7}})
    database.user_data.insert_one({"_id": USER, "data": STORED})
    bot = Bot(mongo_persistence(spill_dir=tmp_path, shutdown_timeout=1, **OPTIONS))
    await bot.application.initialize()
    await bot.hears(puts)

    def act(context: Any) -> None:
        context.user_data["session"].number = 7
        context.user_data["cache"] = "SECRET"

    await bot.hears(act)
    await bot.saves()
    with pytest.raises(UnsavedDataError):
        await bot.application.shutdown()
    assert all(b"SECRET" not in raw for raw in contents(tmp_path))
    database.command({"collMod": "user_data", "validator": {}})

    bot = Bot(mongo_persistence(spill_dir=tmp_path, **OPTIONS))
    async with bot.application:
        assert (await bot.hears())["session"] == Session(7)
    stored = database.user_data.find_one(USER)["data"]
    assert stored["session"]["state"] == {"number": 7, "lock": {"_py": "what"}}
    assert stored["cache"] == STORED["cache"]


# -- in objects of all kinds -----------------------------------------------------------------------------------


class Own(dict):  # type: ignore[type-arg]
    lock: Any = None


class Items(list):  # type: ignore[type-arg]
    lock: Any = None


class Stated:
    """Is given its state."""

    lock: Any = None

    def __init__(self, number: int) -> None:
        self.number = number

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state)


def kinds() -> dict[str, Any]:
    """An object of each kind, by the field that holds its number."""
    attrs, msgspec, pydantic = map(pytest.importorskip, ("attrs", "msgspec", "pydantic"))
    fields = {"number": (int, 1), "lock": (Any, None)}
    made = {
        "Model": pydantic.create_model("Model", **fields),
        "Defined": attrs.make_class(
            "Defined", {name: attrs.field(default=value) for name, (_, value) in fields.items()}
        ),
        "Struct": msgspec.defstruct("Struct", [(name, *field) for name, field in fields.items()]),
    }
    for name, cls in made.items():
        cls.__module__ = __name__
        globals()[name] = cls
    return {
        **{f"state.number of {name}": cls() for name, cls in made.items()},
        "state.number of Session": Session(1),
        "state.number of Stated": Stated(1),
        "v.number of Own": Own(number=1),
        "v.0 of Items": Items([1]),
    }


def number_of(value: Any) -> Any:
    return value[0] if type(value) is Items else value["number"] if type(value) is Own else value.number


async def test_an_excluded_attribute_of_an_object_of_any_kind_stays_what_it_is(mongo_persistence, database):
    objects = {name.rpartition(" ")[2]: (name.partition(" ")[0], value) for name, value in kinds().items()}
    options: dict[str, Any] = {
        "exclude": {"user_data": {"*.lock"}},
        "trusted": [type(one) for _, one in objects.values()],
    }
    bot = Bot(mongo_persistence(**options))
    async with bot.application:
        locks: dict[str, Any] = {}

        def puts_all(context: Any) -> None:
            context.user_data.update({name: value for name, (_, value) in objects.items()})
            for name, value in context.user_data.items():
                value.lock = locks[name] = asyncio.Lock()

        await bot.hears(puts_all)
        await bot.saves()
        stored = database.user_data.find_one(USER)["data"]
        assert [*stored] == [*objects]
        assert not any("lock" in (stored[name].get("state") or {}) for name in objects)

        changes = {f"data.{name}.{path}": 2 for name, (path, _) in objects.items()}
        database.user_data.update_one({"_id": USER}, {"$set": changes})
        data = await bot.sees(lambda data: number_of(data["Items"]) == 2)
        for name in objects:
            assert (name, number_of(data[name]), data[name].lock) == (name, 2, locks[name])
        await bot.hears(lambda context: setattr(context.user_data["Session"], "number", 3))
        await bot.saves()
    assert bot.errors == []

    bot = Bot(mongo_persistence(**options))
    async with bot.application:
        data = await bot.hears()
        for name in objects:
            assert (name, number_of(data[name]), data[name].lock) == (name, 3 if name == "Session" else 2, None)
    assert bot.errors == []
