"""Documents with an `_id` or a `rev` that no bot writes do not affect anybody else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from bots import until
from bson.code import Code
from neighbours import DATA, KEYBOARD, OTHER, Talking, neighbours, serves_the_neighbour, states
from odd_values import NO_IDS, ODD, Raw, plant
from offline import message_from
from pymongo.errors import DuplicateKeyError
from workers import running

from ptb_mongo.errors import UnsavedDataError

USER = 42
IDS = [name for name in ODD if name not in NO_IDS]
REVS = [name for name in ODD if name != "null"]
AT_ONCE = 6


def several(names: list[str]) -> Any:
    """Cases of several odd values each: a start with many of them takes no longer than one with a few."""
    return pytest.mark.parametrize("names", [names[start::AT_ONCE] for start in range(AT_ONCE)], ids=", ".join)


def documents(odd: Any) -> list[tuple[str, dict[str, Any]]]:
    """A document of every scope in which something of the `_id` is odd."""
    return [
        *((scope, {"_id": odd, "data": {"odd": True}}) for scope in DATA),
        ("callback_data", {"_id": odd, **KEYBOARD}),
        ("conversations", {"_id": odd, "handler": "order", "key": [5], "state": 1}),
        *(
            ("conversations", {"_id": named, **named, "state": 1})
            for named in (
                {"handler": "order", "key": [odd, USER]},
                {"handler": odd, "key": [USER, USER]},
                {"handler": "order", "key": odd},
                {"handler": "order", "key": [USER, USER], "more": odd},
                {"key": [USER, USER], "handler": odd},
            )
        ),
        ("conversations", {"_id": {"handler": "order", "key": [6, 6]}, "handler": odd, "key": [odd], "state": 1}),
    ]


def plant_all(database: Any, names: list[str]) -> None:
    """The documents of several odd values."""
    for scope, document in (one for name in names for one in documents(ODD[name])):
        with contextlib.suppress(DuplicateKeyError):  # some are the same for several
            plant(database[scope], document)


@several(IDS)
async def test_odd_ids_in_any_scope_stop_neither_the_start_nor_anybody_else(
    mongo_persistence: Callable[..., Any], database: Any, names: list[str]
) -> None:
    plant_all(database, names)
    neighbours(database)

    state = 2
    for n in (1, 2):
        bot = Talking(mongo_persistence(refresh="watch"))
        async with bot.application:
            assert bot.application.user_data[OTHER]["name"] == "Ada"
            await serves_the_neighbour(bot, database, n)
            assert bot.states[0] == state  # it went on where it was
            state = bot.states[-1] % 99 + 1


@several(IDS)
async def test_odd_ids_that_appear_while_the_bot_runs_stop_nobody(
    mongo_persistence: Callable[..., Any], database: Any, names: list[str]
) -> None:
    neighbours(database)
    bot = Talking(mongo_persistence(refresh="watch"))
    async with bot.application:
        await serves_the_neighbour(bot, database, 1)
        follows = bot.persistence.session._stream
        await until(lambda: follows.is_following)
        batches = follows._batches
        plant_all(database, names)
        for scope in ("user_data", "chat_data", "bot_data", "conversations", "callback_data"):
            database[scope].delete_many({"data.odd": True})
        await until(lambda: follows._batches > batches + 1 or not follows.is_following)

        assert follows.is_following  # it was not opened anew
        await serves_the_neighbour(bot, database, 2)


@several(IDS)
async def test_workers_are_not_stopped_by_odd_ids(worker: Callable[..., Any], database: Any, names: list[str]) -> None:
    held: list[Any] = []
    bot = worker("stream", [states(held)])
    async with running(bot):
        await bot.application.deliver(message_from(USER, "a"))
        follows = bot.persistence.session._stream
        await until(lambda: follows.is_following)
        plant_all(database, names)
        for scope in (*DATA, "conversations", "callback_data"):
            database[scope].update_many({}, {"$set": {"touched": 1}})
        await bot.application.deliver(message_from(OTHER, "a"))
        await bot.application.deliver(message_from(USER, "a"))
        batches = follows._batches
        await until(lambda: follows._batches > batches + 2)

        assert follows.is_following
        assert held == [None, None, 1]


@several(REVS)
@pytest.mark.parametrize("mode", ["watch", "read"])
async def test_odd_revs_are_the_trouble_of_their_documents_alone(
    mongo_persistence: Callable[..., Any], database: Any, names: list[str], mode: str
) -> None:
    users = {USER + 100 + number: ODD[name] for number, name in enumerate(names)}

    def plant_data(user: int, odd: Any) -> None:
        for scope in ("user_data", "chat_data"):
            plant(database[scope], {"_id": user, "data": {"name": "Eve"}, "rev": odd, "revs": [odd, "a:1", odd]})

    neighbours(database)
    for user, odd in users.items():
        plant_data(user, odd)
        named = {"handler": "order", "key": [user, user]}
        plant(database.conversations, {"_id": named, **named, "state": 1, "rev": odd, "revs": odd})
        plant(database.callback_data, {"_id": f"{user:032}", **KEYBOARD, "rev": odd, "revs": odd})
    bot = Talking(mongo_persistence(refresh=mode))
    await bot.application.initialize()
    for n in (1, 2):
        for user in users:
            await bot.hears(lambda context, n=n: context.user_data.update(n=n), user=user)
        bot.states.clear()
        await serves_the_neighbour(bot, database, n)
        for user, odd in users.items():
            for scope in ("user_data", "chat_data"):
                database[scope].delete_one({"_id": user})
            plant_data(user, odd)
    try:
        await bot.application.shutdown()
    except UnsavedDataError as error:  # of one that MongoDB does not find by its own value
        assert "pointer" in names
        assert f"_id {OTHER}" not in str(error)  # noqa: PT017


LONG_REVS = {
    "fills the document": "x" * 6_000_000,
    "the writer's own, and fills it": "{writer}:" + "9" * 6_000_000,
    "a number that Python reads as no number": "{writer}:" + "9" * 5000,
}


@pytest.mark.parametrize("place", ["rev", "revs", "both"])
@pytest.mark.parametrize("rev", LONG_REVS.values(), ids=LONG_REVS)
async def test_what_a_bot_changes_is_stored_whatever_the_length_of_a_planted_rev(
    mongo_persistence: Callable[..., Any], database: Any, rev: str, place: str
) -> None:
    bot = Talking(mongo_persistence(refresh="read"))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(n=0), user=USER)
    await bot.saves()
    writer = database.user_data.find_one({"_id": USER})["rev"].partition(":")[0]
    rev = rev.replace("{writer}", writer)
    planted = {"rev": rev} if place == "rev" else {"revs": [rev, "other:1"]}
    database.user_data.update_one({"_id": USER}, {"$set": planted})
    if place == "both":
        database.user_data.update_one({"_id": USER}, {"$set": {"rev": "another:1"}})

    for n in (1, 2):
        await bot.hears(lambda context, n=n: context.user_data.update(n=n), user=USER)
        await bot.saves()

    stored = database.user_data.find_one({"_id": USER})
    assert stored["data"] == {"n": 2}
    assert len(stored["rev"]) < 64
    if place != "revs":  # where nobody else has written, they are left alone
        assert all(len(one) < 64 for one in stored.get("revs", []))
    await bot.application.shutdown()


def test_the_table_holds_every_type() -> None:
    kinds = {value.kind for value in ODD.values() if isinstance(value, Raw)}
    assert {0x02, 0x06, 0x0C, 0x0E, 0x13} <= kinds
    assert isinstance(ODD["code"], Code)
