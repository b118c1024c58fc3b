"""A value that `exclude` names may still be stored, which must not prevent any save.

The kind: everything that the bot may do to a container of an excluded value, and each conditional write, while the
value is in the database, where the bot itself had stored it before `exclude` named it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bots import USER, Bot


@dataclass
class Session:
    number: int = 0
    lock: Any = None


class Own(dict):  # type: ignore[type-arg]
    lock: Any = None


STORED = {
    "prefs": {"a": 1, "b": {"n": 1, "cache": "old"}, "cache": "old"},
    "session": {"_py": "object", "cls": f"{__name__}.Session", "state": {"number": 1, "lock": "old"}},
    "own": {"_py": "dict", "cls": f"{__name__}.Own", "v": {"n": 1}, "state": {"lock": "old", "x": 1}},
}
OPTIONS: dict[str, Any] = {
    "exclude": {"user_data": {"prefs.cache", "prefs.*.cache", "session.lock", "own.lock"}},
    "trusted": [Session, Own],
}


def becomes(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda data: data.update({name: value})


def many(data: Any) -> None:
    data["prefs"].update({f"k{i}": i for i in range(2000)})


CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], bool]]] = {
    **{
        f"{name} becomes {value!r}": (
            becomes(name, value),
            lambda stored, name=name: "old" not in repr(stored.get(name)),
        )
        for name in STORED
        for value in (None, 5, "text", [1], (1,), {1, 2}, b"x")
    },
    **{
        f"{name} is removed": (lambda data, name=name: data.pop(name), lambda stored, name=name: name not in stored)
        for name in STORED
    },
    "a dict becomes an object": (
        becomes("prefs", Session(5)),
        lambda stored: stored["prefs"].get("state") == {"number": 5, "lock": None},
    ),
    "an object becomes a dict": (
        becomes("session", {"n": 2}),
        lambda stored: stored["session"] == {"n": 2},
    ),
    "a dict inside becomes a list": (
        lambda data: data["prefs"].update(b=[1]),
        lambda stored: stored["prefs"]["b"] == [1],
    ),
    "an entry of a subclass": (lambda data: data["own"].update(n=2), lambda stored: stored["own"]["v"] == {"n": 2}),
    "an attribute of a subclass": (
        lambda data: setattr(data["own"], "x", 2),
        lambda stored: stored["own"]["state"].get("x") == 2,
    ),
    "many entries": (many, lambda stored: stored["prefs"].get("k1999") == 1999),
    "a key without a name": (lambda data: data["prefs"].update({(1, 2): 1}), lambda stored: "_py" in stored["prefs"]),
    "another order": (
        lambda data: data["prefs"].update(a=data["prefs"].pop("a")),
        lambda stored: [*stored["prefs"]][-1] == "a",
    ),
}


@pytest.mark.parametrize("on_conflict", ["local", "remote"])
async def test_whatever_is_changed_around_an_excluded_value_is_saved(mongo_persistence, database, on_conflict):
    database.user_data.insert_many({"_id": number, "data": STORED} for number, _ in enumerate(CHANGES, USER))
    bot = Bot(mongo_persistence(on_conflict=on_conflict, **OPTIONS))
    async with bot.application:
        for user, (change, _) in enumerate(CHANGES.values(), USER):
            await bot.hears(lambda context, change=change: change(context.user_data), user=user)
        await bot.saves()
        await bot.persistence.flush()
        refused = bot.persistence.health().last_error

    stored = {one["_id"]: one["data"] for one in database.user_data.find()}
    unsaved = {
        name: stored[user]
        for user, (name, (_, is_saved)) in enumerate(CHANGES.items(), USER)
        if not is_saved(stored[user])
    }
    assert (unsaved, refused, bot.errors) == ({}, None, [])


KEEPS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "an entry beside it": (lambda data: data["prefs"].update(a=2), True),
    "a new dict": (becomes("prefs", {"z": 1}), True),
    "a new object of the class": (becomes("session", Session(7)), True),
    "another order": (lambda data: data["prefs"].update(a=data["prefs"].pop("a")), True),
    "another order of what holds it": (lambda data: data.update(prefs=data.pop("prefs")), True),
    "another kind of dict": (lambda data: data.update(prefs=OrderedDict(data["prefs"])), False),
    "a key without a name": (lambda data: data["prefs"].update({(1, 2): 1}), False),
    "many entries": (many, False),
}


@pytest.mark.parametrize("change", KEEPS)
async def test_it_stays_where_what_holds_it_is_saved_field_by_field(mongo_persistence, database, change):
    changes, stays = KEEPS[change]
    stored = {"prefs": STORED["prefs"], "session": STORED["session"]}
    database.user_data.insert_one({"_id": USER, "data": stored})
    bot = Bot(mongo_persistence(**OPTIONS))
    async with bot.application:
        await bot.hears(lambda context: changes(context.user_data))
        await bot.saves()

    left = database.user_data.find_one(USER)["data"]
    assert left != stored or [*left] != [*stored] or [*left["prefs"]] != [*stored["prefs"]]
    assert (left["prefs"].get("cache") == "old") == stays
    assert left["session"]["state"]["lock"] == "old"
    assert bot.errors == []


async def test_what_migrations_make_of_it_is_saved(mongo_persistence, database):
    database.user_data.insert_one({"_id": USER, "data": STORED})

    def without_prefs(data: Any) -> None:
        data["prefs"] = [data["prefs"]["a"]]
        data["session"] = {"n": data["session"].number}

    bot = Bot(mongo_persistence(migrations={"user_data": [without_prefs]}, **OPTIONS))
    async with bot.application:
        await bot.hears()
        await bot.saves()

    stored = database.user_data.find_one(USER)
    assert (stored["data"]["prefs"], stored["data"]["session"]["n"], stored["schema"]) == ([1], 1, 1)
