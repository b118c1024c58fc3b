"""Others write a value in a form that is not the bot's: it is the same value, not a change by the bot.

If bytes were compared instead of their meaning, such a value would look as if the bot had changed it: the bot would
write it again, which undoes others' edits, and would see conflicts where there are none.
"""

from __future__ import annotations

import datetime as dtm
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import telegram
from bots import USER, Bot

from ptb_mongo import Conflict
from ptb_mongo.codec import Codec


class Level(enum.Enum):
    GOLD = "gold"


@dataclass
class Basket:
    tags: set[str] = field(default_factory=set)
    level: Level = Level.GOLD


LEVEL, BASKET = (f"{kind.__module__}.{kind.__qualname__}" for kind in (Level, Basket))
NEW_YEAR = dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc)
CODEC = Codec([Level, Basket])
EARLIER_USER = CODEC.encode(telegram.User(1, "Ada", is_bot=False))
EARLIER_USER["view"] = {"id": 1, "first_name": "Ada", "has_wings": False}  # as an earlier version of PTB had it

FORMS: dict[str, Any] = {
    "set, unsorted": {"_py": "set", "v": ["b", "a"]},
    "set, and _py is last": {"v": ["a"], "_py": "set"},
    "frozenset": {"_py": "frozenset", "v": [2, 1]},
    "enum without v": {"_py": "enum", "cls": LEVEL, "name": "GOLD"},
    "decimal as text": {"_py": "decimal", "v": "4.50"},
    "date, tagged": {"_py": "datetime", "v": NEW_YEAR, "iso": "2024-01-01T00:00:00+00:00"},
    "date without v": {"_py": "datetime", "iso": "2024-01-01T00:00:00.000001"},
    "date and hour": {"_py": "date", "v": NEW_YEAR + dtm.timedelta(hours=5)},
    "unescaped key": {"100%": 1},
    "timedelta with an int": {"_py": "timedelta", "v": 3600, "days": 0, "seconds": 3600, "microseconds": 0},
    "deque over its maxlen": {"_py": "deque", "maxlen": 2, "v": [1, 2, 3]},
    "int, tagged": {"_py": "int", "v": "5"},
    "dict, tagged": {"_py": "dict", "v": [["a", 1]]},
    "OrderedDict, and _py is last": {"v": {"a": 1}, "_py": "OrderedDict"},
    "object that holds some": {
        "state": {"level": {"_py": "enum", "name": "GOLD", "cls": LEVEL}, "tags": {"_py": "set", "v": ["b", "a"]}},
        "cls": BASKET,
        "_py": "object",
    },
    "of an earlier PTB": EARLIER_USER,
}
DATA = {
    **FORMS,
    "list": list(FORMS.values()),
    "dict": FORMS,
    "tuple": {"_py": "tuple", "v": list(FORMS.values())},
    "n": 0,
}


@pytest.fixture
def conflicts() -> list[Conflict]:
    """What the bot was asked to decide."""
    return []


@pytest.fixture
async def bot(start: Callable[..., Any], database: Any, mode: str, conflicts: list[Conflict]) -> Bot:
    """A bot that has loaded a user's data in the forms of others."""

    def decide(conflict: Conflict) -> Any:
        conflicts.append(conflict)
        return conflict.local

    database.user_data.insert_one({"_id": USER, "data": DATA})
    bot: Bot = await start(refresh=mode, trusted=[Level, Basket], on_conflict=decide)
    await bot.hears()
    return bot


def data_in(database: Any) -> Any:
    return (database.user_data.find_one({"_id": USER}) or {}).get("data")


Edit = dict[str, dict[str, Any]]
EDITS: dict[str, tuple[list[Edit], dict[str, Any]]] = {
    "none": ([], DATA),
    "beside": ([{"$set": {"data.new": 1}}], {**DATA, "new": 1}),
    "another value": (
        [{"$set": {f"data.{name}": "theirs" for name in FORMS}}],
        {**DATA, **dict.fromkeys(FORMS, "theirs")},
    ),
    "inside": (
        [
            {
                "$addToSet": {"data.set, unsorted.v": "c", "data.object that holds some.state.tags.v": "c"},
                "$push": {"data.deque over its maxlen.v": 4, "data.list": 4},
                "$set": {"data.dict.unescaped key.200%": 2, "data.unescaped key.b": 2},
                "$unset": {"data.dict.set, unsorted": ""},
            }
        ],
        {
            **DATA,
            "set, unsorted": {"_py": "set", "v": ["b", "a", "c"]},
            "object that holds some": {
                **FORMS["object that holds some"],
                "state": {**FORMS["object that holds some"]["state"], "tags": {"_py": "set", "v": ["b", "a", "c"]}},
            },
            "deque over its maxlen": {"_py": "deque", "maxlen": 2, "v": [1, 2, 3, 4]},
            "list": [*FORMS.values(), 4],
            "unescaped key": {"100%": 1, "b": 2},
            "dict": {
                name: {"100%": 1, "200%": 2} if name == "unescaped key" else value
                for name, value in FORMS.items()
                if name != "set, unsorted"
            },
        },
    ),
    "removal": ([{"$unset": {f"data.{name}": "" for name in DATA if name != "n"}}], {"n": 0}),
}


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "unseen"])
@pytest.mark.parametrize("edit", EDITS)
async def test_what_others_do_with_such_a_value_stays(
    bot: Bot, database: Any, conflicts: list[Conflict], edit: str, is_seen: bool
) -> None:
    updates, expected = EDITS[edit]
    if not is_seen:
        await bot.hears(lambda context: context.user_data.update(n=1))
    for update in updates:
        database.user_data.update_one({"_id": USER}, update)
    if is_seen:
        await bot.sees(lambda data: data == CODEC.decode(expected))
        await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.saves()

    assert data_in(database) == {**expected, "n": 1}
    await bot.sees(lambda data: data == CODEC.decode({**expected, "n": 1}))
    await bot.hears(lambda context: context.user_data.update(n=2))
    await bot.saves()
    assert data_in(database) == {**expected, "n": 2}
    assert conflicts == []


async def test_others_may_delete_all_of_it(bot: Bot, database: Any, conflicts: list[Conflict]) -> None:
    database.user_data.delete_one({"_id": USER})
    await bot.sees(lambda data: data == {})
    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.saves()

    assert data_in(database) == {"n": 1}
    assert conflicts == []


async def test_what_others_delete_does_not_come_back_with_an_unsaved_change(
    bot: Bot, database: Any, conflicts: list[Conflict]
) -> None:
    await bot.hears(lambda context: context.user_data.update(n=1))
    database.user_data.delete_one({"_id": USER})
    await bot.saves()

    assert data_in(database) == {"n": 1}
    assert [conflict.path for conflict in conflicts] == [("n",)]


async def test_others_remove_such_a_value_before_a_change_beside_it_is_sent(
    bot: Bot, database: Any, conflicts: list[Conflict]
) -> None:
    await bot.hears(lambda context: context.user_data["dict"].update(n=1))
    database.user_data.update_one({"_id": USER}, {"$unset": {f"data.dict.{name}": "" for name in FORMS}})
    await bot.saves()

    assert data_in(database)["dict"] == {"n": 1}
    assert conflicts == []


async def test_what_needs_no_write_is_not_counted_as_one(bot: Bot, database: Any) -> None:
    counted = bot.persistence.health().documents_written
    await bot.saves()  # which gives the document a rev, and nothing else
    before = database.user_data.find_one({"_id": USER})

    await bot.hears()
    await bot.saves()

    assert bot.persistence.health().documents_written == counted
    assert database.user_data.find_one({"_id": USER}) == before
