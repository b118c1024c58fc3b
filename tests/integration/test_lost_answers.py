"""A write whose answer was lost counts once: it is recognized as done, and not repeated.

Otherwise, later edits by others would look like changes of the bot, and be undone.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bots import USER, Bot, until
from disturbed import ALWAYS, READS, THINGS, WRITES, Thing, Traffic

from ptb_mongo import MISSING

# Two edits by a service for each field, and what both leave there.
EDITS: dict[str, tuple[dict[str, Any], dict[str, Any], Any]] = {
    "key": ({"$set": {"": "trial"}}, {"$set": {"": "premium"}}, "premium"),
    "list": ({"$push": {"": 1}}, {"$push": {"": 2}}, [1, 2]),
    "set": (
        {"$set": {"": {"_py": "set", "v": [1]}}},
        {"$addToSet": {".v": 2}},
        {"_py": "set", "v": [1, 2]},
    ),
    "number": ({"$inc": {"": 1}}, {"$inc": {"": 1}}, 2),
    "dict": ({"$set": {".y": 1}}, {"$set": {".y": 2, ".z": 3}}, {"y": 2, "z": 3}),
    "gone": ({"$set": {"": 1}}, {"$unset": {"": ""}}, MISSING),
}


def all_edits(thing: Thing, which: int) -> dict[str, Any]:
    """The first or second edits of all fields, as one update."""
    together: dict[str, Any] = {}
    for name, edits in EDITS.items():
        for operator, fields in edits[which].items():
            for rest, value in fields.items():
                together.setdefault(operator, {})[f"{thing.field}.{name}{rest}"] = value
    return together


@pytest.mark.parametrize("proxied", ["motor", "pymongo"], indirect=True)
@pytest.mark.parametrize("is_new", [True, False], ids=["insertion", "update"])
@pytest.mark.parametrize("name", THINGS)
async def test_a_lost_answer_makes_no_edit_of_others_a_change_of_the_bot(
    disturbed: Bot, traffic: Traffic, database: Any, name: str, is_new: bool
) -> None:
    thing = THINGS[name]
    only = {"collections": [thing.collection]}

    def edit(which: int) -> None:
        assert database[thing.collection].update_one({"_id": thing.id}, all_edits(thing, which)).matched_count

    if not is_new:
        await thing.write(disturbed, 0)
    await traffic.does("hold", commands=READS, **only)
    await traffic.does("lose_answer", commands=WRITES, times=ALWAYS, **only)
    first = asyncio.create_task(thing.write(disturbed, 1))
    await traffic.does("held")  # it is done, and about to be read
    edit(0)
    await traffic.does("forget_rules")
    await traffic.does("hold", commands=WRITES, times=ALWAYS, **only)
    if thing.is_refreshed:
        await traffic.does("release")
        await disturbed.sees(lambda data: data.get("key") == "trial")
    second = asyncio.create_task(thing.write(disturbed, 2))
    if not thing.is_refreshed:
        await traffic.does("release")
    await traffic.does("held")  # it never arrives
    edit(1)
    await traffic.does("forget_rules", "discard", "cut")
    await asyncio.gather(first, second)
    await until(lambda: disturbed.persistence.health().waiting == 0)

    stored = thing.stored(database)
    assert stored.pop("n") == (0 if name == "keyboard" else 2)
    assert stored == {name: value for name, (_, _, value) in EDITS.items() if value is not MISSING}


@pytest.mark.parametrize("by_a_service", [True, False], ids=["service", "another bot"])
@pytest.mark.parametrize("name", THINGS)
async def test_a_deletion_whose_answer_got_lost_does_not_delete_what_others_make_afterwards(
    disturbed: Bot, others: Bot, traffic: Traffic, database: Any, name: str, by_a_service: bool
) -> None:
    thing = THINGS[name]
    only = {"collections": [thing.collection]}
    await thing.write(disturbed, 0)
    document = database[thing.collection].find_one()
    del document["rev"]
    await traffic.does("hold", commands=["delete"], times=2, **only)  # what a driver sends at once in its stead, too
    ending = asyncio.create_task(thing.end(disturbed))
    await traffic.does("held")
    await traffic.does("cut")
    await traffic.does("held", count=2)
    await traffic.does("refuse", "cut", "release")
    assert thing.stored(database) is None
    if by_a_service:
        database[thing.collection].insert_one(document)
    else:
        await thing.write(others, 0)
    await traffic.does("forward")
    await ending
    await until(lambda: disturbed.persistence.health().waiting == 0)

    assert thing.stored(database) == {"n": 0}


async def test_what_was_read_before_the_write_arrived_is_no_change_of_the_bot_either(
    disturbed: Bot, traffic: Traffic, database: Any
) -> None:
    """A request is late, others edit, the bot sees that; then the request is done, its answer is lost, others edit."""
    thing = THINGS["user"]
    only = {"collections": [thing.collection]}
    await thing.write(disturbed, 0)
    await traffic.does("hold", commands=WRITES, **only)
    writing = asyncio.create_task(thing.write(disturbed, 1))
    await traffic.does("held")
    database.user_data.update_one({"_id": USER}, all_edits(thing, 0))
    await disturbed.sees(lambda data: data.get("key") == "trial")
    await traffic.does("refuse", "cut", "release")
    database.user_data.update_one({"_id": USER}, all_edits(thing, 1))
    await traffic.does("forget_rules", "forward")
    await writing
    await until(lambda: disturbed.persistence.health().waiting == 0)

    expected = {name: value for name, (_, _, value) in EDITS.items() if value is not MISSING}
    assert thing.stored(database) == {"n": 1, **expected}
