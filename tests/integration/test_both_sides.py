"""Both sides change the same thing at the same time, and both changes must be kept.

Examples are elements that two sides add to one list or set, and numbers that two bots count: if a container counts as
one value, or a change is not relative to what its side had seen, one of them is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from bots import USER, Bot
from offline import BOT_ID
from stored import data_in, edit, put

from ptb_mongo import MISSING
from ptb_mongo.codec import Codec


class Box:
    """An object whose attributes are stored."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]


CODEC = Codec([Box])


# -- elements ----------------------------------------------------------------------------------------------

# What was there, what the bot does to it, what a service does, and what is there then.
ELEMENTS: dict[str, tuple[Any, Callable[[Any], Any], dict[str, dict[str, Any]], Any]] = {
    "both append": ([1], lambda v: v.append("bot"), {"$push": {"": "panel"}}, [1, "panel", "bot"]),
    "both append to nothing": ([], lambda v: v.append("bot"), {"$push": {"": "panel"}}, ["panel", "bot"]),
    "the bot cuts": ([1, 2, 3], lambda v: v.pop(0), {"$push": {"": 4}}, [2, 3, 4]),
    "others cut": ([1, 2, 3], lambda v: v.append(4), {"$pop": {"": -1}}, [2, 3, 4]),
    "a history": ([1, 2, 3], lambda v: v.__setitem__(slice(None), [2, 3, 4]), {"$push": {"": 5}}, [2, 3, 5, 4]),
    "two elements": ([1, 2, 3], lambda v: v.__setitem__(0, "bot"), {"$set": {".2": "panel"}}, ["bot", 2, "panel"]),
    "in a dict": ({"a": [1]}, lambda v: v["a"].append(2), {"$push": {".a": 3}}, {"a": [1, 3, 2]}),
    "in an object": (Box(a=[1]), lambda v: v.a.append(2), {"$push": {".state.a": 3}}, Box(a=[1, 3, 2])),
    "a deque": (deque([1]), lambda v: v.append(2), {"$push": {".v": 3}}, deque([1, 3, 2])),
    "a set": ({1}, lambda v: v.add("bot"), {"$addToSet": {".v": "panel"}}, {1, "bot", "panel"}),
    "others discard": ({1, 2}, lambda v: v.add("bot"), {"$pull": {".v": 2}}, {1, "bot"}),
    "the bot discards": ({1, 2}, lambda v: v.discard(2), {"$addToSet": {".v": 3}}, {1, 3}),
    "a set in a dict": ({"a": {1}}, lambda v: v["a"].add(2), {"$addToSet": {".a.v": 3}}, {"a": {1, 2, 3}}),
}


@pytest.mark.parametrize("order", ["unseen", "unsaved", "saved"])
async def test_elements_that_both_sides_change_are_all_kept(
    start: Callable[..., Any], database: Any, mode: str, order: str
) -> None:
    put(database, {case: before for case, (before, _, _, _) in ELEMENTS.items()}, CODEC)
    expected = {case: after for case, (_, _, _, after) in ELEMENTS.items()}
    update: dict[str, dict[str, Any]] = {}
    for case, (_, _, operators, _) in ELEMENTS.items():
        for name, fields in operators.items():
            update.setdefault(name, {}).update({f"data.{case}{path}": value for path, value in fields.items()})

    def change(context: Any) -> None:
        for case, (_, act, _, _) in ELEMENTS.items():
            act(context.user_data[case])

    bot = await start(refresh=mode, trusted=[Box])
    await bot.hears(change)
    if order == "saved":
        await bot.saves()
        edit(database, update)
        expected = data_in(database, CODEC)  # the service has edited what the bot had saved
    else:
        edit(database, update)
        if order == "unsaved":
            await bot.sees(lambda data: data == expected)
        await bot.saves()

    assert data_in(database, CODEC) == expected
    await bot.sees(lambda data: data == expected)
    await bot.saves()
    assert data_in(database, CODEC) == expected


@pytest.mark.parametrize("is_known", [True, False], ids=["a user without tags", "a new user"])
@pytest.mark.parametrize("order", ["first", "beside what is unsaved", "later"])
@pytest.mark.parametrize(("kind", "operator", "add"), [(set, "$addToSet", set.add), (deque, "$push", deque.append)])
async def test_a_service_adds_to_a_set_or_a_deque_whether_or_not_it_is_stored_yet(
    start: Callable[..., Any],
    database: Any,
    mode: str,
    order: str,
    is_known: bool,
    kind: type[Any],
    operator: str,
    add: Callable[[Any, str], None],
) -> None:
    """By what docs/storage-format.md advises: it says what it is."""
    if is_known:
        put(database, {"name": "Ada"})

    def service_adds() -> None:
        update = {"$set": {"data.tags._py": kind.__name__}, operator: {"data.tags.v": "service"}}
        database.user_data.update_one({"_id": USER}, update, upsert=True)

    bot = await start(refresh=mode)
    if order == "first":
        service_adds()
        await bot.sees(lambda data: data.get("tags") == kind(["service"]))
    await bot.hears(lambda context: add(context.user_data.setdefault("tags", kind()), "bot"))
    if order == "beside what is unsaved":
        service_adds()
    await bot.saves()
    if order == "later":
        service_adds()

    await bot.sees(lambda data: {*data["tags"]} == {"bot", "service"} and type(data["tags"]) is kind)
    await bot.saves()
    stored = data_in(database)["tags"]
    assert type(stored) is kind
    assert sorted(stored) == ["bot", "service"]


# -- who decides a conflict --------------------------------------------------------------------------------


def gained(conflict: Any) -> Any:
    """What docs/how-to/several-workers.md recommends."""
    base = 0 if conflict.base is MISSING else conflict.base
    return conflict.local + conflict.remote - base


@pytest.mark.parametrize(("refresh", "strategy"), [("watch", gained), ("read", {"bot_data": {"count": "add"}})])
async def test_two_bots_that_count_lose_nothing(
    start: Callable[..., Any], database: Any, refresh: str, strategy: Any
) -> None:
    bots = [await start(refresh=refresh, on_conflict=strategy) for _ in range(2)]
    await bots[0].hears(lambda context: context.bot_data.update(count=0))
    await bots[0].saves()

    def count(context: Any) -> None:
        context.bot_data["count"] = context.bot_data.get("count", 0) + 1

    async def counts(bot: Bot) -> None:
        for _ in range(100):
            await bot.hears(count)
            await bot.saves()

    await asyncio.gather(*map(counts, bots))

    assert database.bot_data.find_one({"_id": BOT_ID})["data"] == {"count": 200}


# By what decides: what all started from, the bot's, the service's, and what it comes to.
CONFLICTS: list[tuple[Any, int, int, int, int]] = [
    ("add", 1, 3, 4, 6),
    ("add", 1, 2, 2, 3),
    ("add", 5, 3, 4, 2),
    ("max", 1, 3, 4, 4),
    ("max", 1, 4, 3, 4),
    ("min", 9, 3, 4, 3),
    ("min", 9, 4, 3, 3),
    ("remote", 1, 3, 4, 4),
    ("local", 1, 3, 4, 3),
    (gained, 1, 3, 4, 6),
    (gained, 1, 2, 2, 3),
]


@pytest.mark.parametrize("pattern", ["{}.count", "{}.*", "{}.**"])
@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "unseen"])
async def test_a_strategy_decides_by_path(
    start: Callable[..., Any], database: Any, mode: str, pattern: str, is_seen: bool
) -> None:
    cases = {f"case {number}": case for number, case in enumerate(CONFLICTS)}
    put(database, {name: {"count": base} for name, (_, base, _, _, _) in cases.items()})
    strategies = {pattern.format(name): strategy for name, (strategy, *_) in cases.items()}
    bot = await start(refresh=mode, on_conflict={"user_data": strategies})
    expected = {name: {"count": result} for name, (*_, result) in cases.items()}

    def change(context: Any) -> None:
        for name, (_, _, local, _, _) in cases.items():
            context.user_data[name]["count"] = local

    await bot.hears(change)
    edit(database, {"$set": {f"data.{name}.count": remote for name, (_, _, _, remote, _) in cases.items()}})
    if is_seen:
        await bot.sees(lambda data: data == expected)
    await bot.saves()

    assert data_in(database) == expected
    await bot.sees(lambda data: data == expected)
