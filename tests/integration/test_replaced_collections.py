"""One of our collections is replaced, emptied or dropped: every loaded document is read again.

If everything is gone at once, that is not a deletion: see `test_vanished`.

The kind of fault: an operation changes a collection as a whole, so that no event names its documents: `$out`, a rename
onto it or away from it, a drop. Documents that are copied completely keep their `rev`, which therefore says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bots import USER, Bot, turns, until
from deep import IS_DEEP
from ptb_private import conversation_state
from telegram import Update
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import SharedBot, running, text

OTHER = 7

Change = dict[str, Any]
"""The stages of a pipeline that makes the new documents from the old ones."""


def aggregated(database: Any, name: str, change: Change) -> None:
    """The usual way: a pipeline whose last stage is `$out`."""
    database[name].aggregate([change, {"$out": name}])


def _copied(source: Any, target: Any, change: Change) -> None:
    source.aggregate([change, {"$out": {"db": target.database.name, "coll": target.name}}])


def aggregated_from_another_collection(database: Any, name: str, change: Change) -> None:
    _copied(database[name], database.backup, change)
    database.backup.aggregate([{"$out": name}])


def aggregated_from_another_database(database: Any, name: str, change: Change) -> None:
    other = database.client[f"{database.name}_other"]
    try:
        _copied(database[name], other.backup, change)
        _copied(other.backup, database[name], {"$match": {}})
    finally:
        database.client.drop_database(other.name)


def renamed_onto_it(database: Any, name: str, change: Change) -> None:
    _copied(database[name], database.made, change)
    database.made.rename(name, dropTarget=True)


def renamed_onto_it_from_another_database(database: Any, name: str, change: Change) -> None:
    other = database.client[f"{database.name}_other"]
    try:
        _copied(database[name], other.made, change)
        command = {"renameCollection": f"{other.name}.made", "to": f"{database.name}.{name}", "dropTarget": True}
        database.client.admin.command(command)
    finally:
        database.client.drop_database(other.name)


def swapped_by_two_renames(database: Any, name: str, change: Change) -> None:
    _copied(database[name], database.made, change)
    database[name].rename("old")
    database.made.rename(name)


def renamed_away_and_back(database: Any, name: str, change: Change) -> None:
    database[name].rename("elsewhere")
    _copied(database.elsewhere, database.elsewhere, change)
    database.elsewhere.rename(name)


def dropped_and_put_back(database: Any, name: str, change: Change) -> None:
    documents = list(database[name].aggregate([change]))
    database[name].drop()
    database[name].insert_many(documents)


def dropped_with_the_database(database: Any, name: str, change: Change) -> None:
    documents = list(database[name].aggregate([change]))
    database.client.drop_database(database.name)
    database[name].insert_many(documents)


def merged(database: Any, name: str, change: Change) -> None:
    database[name].aggregate([change, {"$merge": {"into": name, "whenMatched": "replace"}}])


def made_capped(database: Any, name: str, change: Change) -> None:
    _copied(database[name], database.made, change)
    database.made.rename(name, dropTarget=True)
    database.command("convertToCapped", name, size=1_000_000)


WAYS = [
    aggregated,
    aggregated_from_another_collection,
    aggregated_from_another_database,
    renamed_onto_it,
    renamed_onto_it_from_another_database,
    swapped_by_two_renames,
    renamed_away_and_back,
    dropped_and_put_back,
    dropped_with_the_database,
    merged,
    made_capped,
]
AWAY = {
    "$out of nothing": lambda database: database.user_data.aggregate([{"$match": {"_id": 0}}, {"$out": "user_data"}]),
    "drop": lambda database: database.user_data.drop(),
    "rename": lambda database: database.user_data.rename("elsewhere"),
}

# Where nothing is followed, or both ways of loading or of being consistent do the same, a few ways stand for all.
FEW = WAYS if IS_DEEP else WAYS[::4]


def ways(name: str, all_of: str, few_of: str) -> pytest.MarkDecorator:
    """All ways with one value of another parameter, which may be that of a fixture, and a few with another value."""
    cases = [*((way, all_of) for way in WAYS), *((way, few_of) for way in FEW)]
    return pytest.mark.parametrize(("replaced", name), cases, indirect=[name] if name == "mode" else [])


in_both_modes = ways("mode", "watch", "read")


@pytest.fixture
async def bot(start: Callable[..., Any], mode: str) -> Bot:
    """A bot that knows two users, whose data is saved."""
    bot: Bot = await start(refresh=mode)
    for user in (USER, OTHER):
        await bot.hears(lambda context: context.user_data.update(balance=10, name="Ada"), user=user)
    await bot.saves()
    return bot


def balance(number: int) -> Change:
    return {"$set": {"data.balance": number}}


def stored(database: Any, user: int = USER) -> Any:
    return (database.user_data.find_one({"_id": user}) or {}).get("data")


@in_both_modes
async def test_what_is_in_the_new_collection_is_seen_and_no_old_value_is_written_over_it(
    replaced: Callable[..., None], bot: Bot, database: Any
) -> None:
    replaced(database, "user_data", balance(500))

    for user in (USER, OTHER):
        await bot.sees(lambda data: data["balance"] == 500, user=user)
        await bot.hears(lambda context: context.user_data.update(balance=context.user_data["balance"] + 1), user=user)
    await bot.saves()

    assert stored(database) == stored(database, OTHER) == {"balance": 501, "name": "Ada"}
    assert bot.errors == []


@in_both_modes
async def test_a_change_that_was_not_saved_yet_is_merged_into_the_new_collection(
    replaced: Callable[..., None], bot: Bot, database: Any
) -> None:
    await bot.hears(lambda context: context.user_data.update(name="Grace"))
    replaced(database, "user_data", balance(500))

    await bot.saves()
    await bot.sees(lambda data: data["balance"] == 500)

    assert bot.application.user_data[USER] == {"balance": 500, "name": "Grace"}
    assert stored(database) == {"balance": 500, "name": "Grace"}
    assert bot.errors == []


@in_both_modes
async def test_edits_of_the_new_collection_are_seen(replaced: Callable[..., None], bot: Bot, database: Any) -> None:
    replaced(database, "user_data", balance(500))
    await bot.sees(lambda data: data["balance"] == 500)

    for number in (600, 700):
        database.user_data.update_one({"_id": USER}, {"$set": {"data.balance": number}})
        await bot.sees(lambda data, number=number: data["balance"] == number)


@in_both_modes
async def test_a_user_known_only_to_the_new_collection_does_not_start_over(
    replaced: Callable[..., None], bot: Bot, database: Any
) -> None:
    replaced(database, "user_data", balance(500))
    await bot.sees(lambda data: data["balance"] == 500)
    copies = list(database.user_data.find({}, {"_id": 0}))
    database.made.insert_many([{"_id": user, **copies[0]} for user in (USER, OTHER, 8)])
    database.made.rename("user_data", dropTarget=True)

    await bot.sees(lambda data: data.get("balance") == 500, user=8)
    await bot.hears(lambda context: context.user_data.update(name="Grace"), user=8)
    await bot.saves()

    assert stored(database, 8) == {"balance": 500, "name": "Grace"}


@pytest.mark.parametrize("gone", AWAY.values(), ids=AWAY)
async def test_what_is_gone_with_its_collection_is_gone_from_memory(
    gone: Callable[[Any], Any], bot: Bot, database: Any
) -> None:
    held = bot.application.user_data[USER]

    gone(database)
    await bot.sees(lambda data: not data)
    await bot.saves()

    assert held == {}
    assert stored(database) is None

    await bot.hears(lambda context: context.user_data.update(balance=1))
    await bot.saves()
    assert stored(database) == {"balance": 1}


@pytest.mark.parametrize("scope", ["chat_data", "bot_data"])
@in_both_modes
async def test_chat_data_and_bot_data_are_read_again_as_well(
    replaced: Callable[..., None], scope: str, bot: Bot, database: Any
) -> None:
    def live(context: Any) -> Any:
        return getattr(context, scope)

    await bot.hears(lambda context: live(context).update(balance=10))
    await bot.saves()

    replaced(database, scope, balance(500))
    seen: list[int] = []
    for _ in range(1500):  # the stream has no event that a test could wait for
        await bot.hears(lambda context: seen.append(live(context).get("balance")))
        if seen[-1] == 500:
            break
        await asyncio.sleep(0.002)
    await bot.hears(lambda context: live(context).update(balance=live(context)["balance"] + 1))
    await bot.saves()

    assert [one["data"]["balance"] for one in database[scope].find({"data.balance": {"$exists": True}})] == [501]


# -- what only workers follow ----------------------------------------------------------------------------


def steps() -> ConversationHandler[Any]:
    """start -> 1 -> 2 -> ... -> 9."""

    def says(pattern: str, result: int) -> MessageHandler[Any, Any]:
        async def callback(update: Update, _: Any) -> int:
            return result

        return MessageHandler(filters.Regex(f"^{pattern}$"), callback)

    states: Any = {number: [says("next", number + 1)] for number in range(1, 9)}
    return ConversationHandler([says("start", 1)], states, [], name="steps", persistent=True)


@ways("loading", "eager", "lazy")
async def test_a_worker_goes_on_where_the_new_collection_says_that_a_conversation_is(
    replaced: Callable[..., None], loading: str, worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream", [handler := steps()], loading=loading)
    async with running(bot):
        await bot.takes(text("start"))
        replaced(database, "conversations", {"$set": {"state": 5}})

        for _ in range(1500):  # the stream has no event that a test could wait for
            await bot.takes(text("nothing"))
            if conversation_state(handler, (USER, USER)) == 5:
                break
        await bot.takes(text("next"))

        assert conversation_state(handler, (USER, USER)) == 6
        assert [one["state"] for one in database.conversations.find()] == [6]
        assert bot.errors == []


@ways("consistency", "stream", "strict")
async def test_a_worker_sees_what_is_in_the_new_collection(
    replaced: Callable[..., None], consistency: str, worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker(consistency)
    async with running(bot):
        await bot.hears(lambda context: context.user_data.update(balance=10))
        replaced(database, "user_data", balance(500))

        for _ in range(1500):
            data = await bot.hears()
            if data["balance"] == 500:
                break
        await bot.hears(lambda context: context.user_data.update(balance=context.user_data["balance"] + 1))

        assert stored(database) == {"balance": 501}
        assert bot.errors == []


ENDS = {
    "drop": lambda database: database.leases.drop(),
    "rename": lambda database: database.leases.rename("elsewhere"),
    "rename onto it": lambda database: (
        database.made.insert_one({"_id": "x", "waiting": []}),
        database.made.rename("leases", dropTarget=True),
    ),
    "$out": lambda database: database.leases.aggregate([{"$match": {"_id": 0}}, {"$out": "leases"}]),
    "dropDatabase": lambda database: database.client.drop_database(database.name),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_update_that_waits_for_a_lease_asks_again_when_all_leases_are_gone(
    end: Callable[[Any], Any], mongo_persistence: Callable[..., Any], database: Any
) -> None:
    holder, other = (SharedBot(mongo_persistence(), exclusive=True, lease_timeout=3600) for _ in range(2))
    async with running(holder, other):
        held, released = asyncio.Event(), asyncio.Event()

        async def hold(_: Update, __: Any) -> None:
            held.set()
            await released.wait()

        first = asyncio.create_task(holder.takes(text(), hold))
        await held.wait()
        second = asyncio.create_task(other.takes(text()))
        await until(lambda: database.leases.count_documents({"waiting.0": {"$exists": True}}) == 1)

        end(database)

        try:
            await asyncio.wait_for(asyncio.shield(second), 30)
        finally:
            released.set()
            await asyncio.wait({first, second}, timeout=30)
        await turns()
