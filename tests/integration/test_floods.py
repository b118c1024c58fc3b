"""Others write, delete or plant tens of thousands of documents: what the bot remembers of them is bounded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from bots import USER, until
from offline import offline_application
from telegram.ext import ConversationHandler
from workers import click, message, running

from ptb_mongo.replica.known import MOST_MADE_BY_OTHERS
from ptb_mongo.replica.quarantine import MOST_QUARANTINED

FLOOD = 2 * MOST_MADE_BY_OTHERS + 2_000
LARGE_FLOOD = 4 * MOST_MADE_BY_OTHERS
OTHER = 43
BROKEN = {"data": {"x": {"_py": "nonsense"}}}
KEYBOARD = {"position": 0, "buttons": {"b" * 32: 0}, "objects": ["buy"]}


def entries(bot: Any) -> dict[str, int]:
    """How many documents the bot remembers, by the place that they are remembered in."""
    session = bot.persistence.session
    found = {"waiting": len(session.writer.waiting), "pauses": len(session.writer._retries.documents._pauses)}
    for scope in session.scopes:
        for name in ("replicas", "quarantined", "unstorable"):
            found[f"{scope.collection}.{name}"] = len(getattr(scope, name))
    return found


async def has_seen_everything(bot: Any, database: Any) -> None:
    """Waits until the change stream has told of all that was written so far."""
    scope = bot.persistence.session.scopes.bot_data
    (replica,) = (one for one in scope.replicas.values() if one.live is not None)
    await bot.hears()
    assert not replica.is_stale
    database.bot_data.update_one({"_id": replica.id}, {"$inc": {"data.last": 1}}, upsert=True)
    await until(lambda: replica.is_stale, 60)


def insert(collection: Any, documents: list[dict[str, Any]]) -> None:
    for start in range(0, len(documents), 10_000):
        collection.insert_many(documents[start : start + 10_000], ordered=False)


@pytest.mark.parametrize("kind", ["readable", "broken", "no id of ours"])
@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_documents_that_others_make_and_delete_leave_nothing_behind(
    start: Callable[..., Any], database: Any, loading: str, kind: str
) -> None:
    bot = await start(refresh="watch", loading=loading)
    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.saves()
    await has_seen_everything(bot, database)
    before = entries(bot)
    data = {"data": {"n": 1}} if kind == "readable" else BROKEN
    ids = [f"x{number}" if kind == "no id of ours" else 10**6 + number for number in range(FLOOD)]

    for scope in ("user_data", "bot_data"):
        insert(database[scope], [{"_id": one, **data} for one in ids])
        database[scope].delete_many({"_id": {"$in": ids}})
    await has_seen_everything(bot, database)

    grown = {name: number - before[name] for name, number in entries(bot).items() if number - before[name] > 0}
    assert grown == {}


async def test_documents_that_others_make_are_remembered_up_to_a_number_and_found_all_the_same(
    start: Callable[..., Any], database: Any
) -> None:
    bot = await start(refresh="watch")
    await bot.hears()
    await has_seen_everything(bot, database)

    insert(database.user_data, [{"_id": 10**6 + number, "data": {"n": number}} for number in range(LARGE_FLOOD)])
    await has_seen_everything(bot, database)

    assert entries(bot)["user_data.replicas"] <= MOST_MADE_BY_OTHERS + 10
    for number in (0, LARGE_FLOOD // 2, LARGE_FLOOD - 1):
        assert await bot.hears(lambda context: context.user_data.update(m=1), user=10**6 + number) == {
            "n": number,
            "m": 1,
        }
    await bot.saves()
    assert database.user_data.find_one({"_id": 10**6})["data"] == {"n": 0, "m": 1}
    assert await bot.hears(user=OTHER) == {}


async def test_broken_documents_are_named_up_to_a_number_and_none_is_written_over(
    start: Callable[..., Any], database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    insert(database.user_data, [{"_id": 10**6 + number, **BROKEN} for number in range(FLOOD)])
    insert(database.chat_data, [{"_id": f"x{number}"} for number in range(FLOOD)])
    database.user_data.insert_one({"_id": USER, "data": {"name": "Ada"}})

    bot = await start(refresh="watch")

    found = entries(bot)
    assert found["user_data.quarantined"] == found["chat_data.quarantined"] == MOST_QUARANTINED
    assert found["user_data.replicas"] <= MOST_QUARANTINED + 10
    assert found["chat_data.replicas"] <= 10
    assert sum("Quarantined" in record.getMessage() for record in caplog.records) == 2 * MOST_QUARANTINED
    assert sum("not named" in record.getMessage() for record in caplog.records) == 2
    assert await bot.hears(lambda context: context.user_data.update(n=1)) == {"name": "Ada", "n": 1}
    for number in range(0, FLOOD, FLOOD // 10):
        await bot.hears(lambda context: context.user_data.update(n=1), user=10**6 + number)
    await bot.saves()
    assert database.user_data.count_documents(BROKEN) == FLOOD
    assert database.user_data.find_one({"_id": USER})["data"] == {"name": "Ada", "n": 1}
    database.user_data.delete_many({"_id": {"$gte": 10**6}})
    database.chat_data.delete_many({})
    await has_seen_everything(bot, database)
    found = entries(bot)
    assert found["user_data.quarantined"] <= 10
    assert found["chat_data.quarantined"] == 0
    assert found["user_data.replicas"] <= 20


async def test_broken_conversations_are_named_up_to_a_number_and_none_is_written_over(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    ids = [{"handler": "order", "key": [number, number]} for number in range(1, 5001)]
    insert(database.conversations, [{"_id": one, **one, "state": {"_py": "nonsense"}} for one in ids])
    persistence = mongo_persistence()
    offline_application(persistence)

    assert await persistence.get_conversations("order") == {}
    scope = persistence.session.scopes.conversations
    assert len(scope.quarantined) == MOST_QUARANTINED
    await persistence.update_conversation("order", (7000, 7000), 1)
    for number in (1, 5000):
        with pytest.raises(Exception, match="cannot be read"):
            await persistence.update_conversation("order", (number, number), 1)
    with pytest.raises(Exception, match="cannot be read"):
        await persistence.flush()

    assert database.conversations.count_documents({"state": {"_py": "nonsense"}}) == 5000
    assert database.conversations.find_one({"key": [7000, 7000]})["state"] == 1


async def test_of_planted_conversations_whose_keys_have_one_hash_only_some_are_let_in(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    same = itertools.product(*[[1 + number * (2**61 - 1) for number in range(5)]] * 6)
    keys = [list(key) for key in itertools.islice(same, 5000)]
    assert len({hash(tuple(key)) for key in keys}) == 1
    ids = [{"handler": "order", "key": key} for key in [*keys, [USER, USER]]]
    insert(database.conversations, [{"_id": one, **one, "state": 1} for one in ids])
    persistence = mongo_persistence()
    offline_application(persistence)

    states = await persistence.get_conversations("order")

    scope = persistence.session.scopes.conversations
    assert states[USER, USER] == 1
    assert len(states) == 101
    assert len(scope.replicas) <= 101 + MOST_QUARANTINED
    assert len(await persistence.get_conversations("order")) == 101
    await persistence.update_conversation("order", (USER, USER), 2)
    await persistence.flush()
    assert database.conversations.count_documents({"state": 1}) == 5000
    assert database.conversations.find_one({"key": [USER, USER]})["state"] == 2


async def test_conversations_that_others_make_and_delete_leave_nothing_behind_in_a_worker(
    worker: Callable[..., Any], database: Any
) -> None:
    handler = ConversationHandler([], {}, [], name="order", persistent=True)
    bot = worker("stream", [handler])
    async with running(bot):
        await bot.hears()
        await has_seen_everything(bot, database)
        before = entries(bot)["conversations.replicas"]
        ids = [{"handler": "order", "key": [number, number]} for number in range(FLOOD)]

        insert(database.conversations, [{"_id": one, **one, "state": 1} for one in ids])
        database.conversations.delete_many({})
        await has_seen_everything(bot, database)

        assert entries(bot)["conversations.replicas"] <= before + 10


async def test_clicks_on_buttons_of_nobody_leave_nothing_behind_even_when_they_cannot_be_read(
    worker: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = worker("stream")
    async with running(bot):
        for number in range(200):
            await bot.takes(click(f"{number:032x}{number:032x}", on=message()))
        assert entries(bot)["callback_data.replicas"] == 0
        availability = bot.persistence.session.availability
        availability.is_unreachable = True
        for number in range(200):
            try:
                await bot.takes(click(f"{number:032x}{number:032x}", on=message()))
            except ConnectionError:
                continue
        availability.is_unreachable = False
        assert entries(bot)["callback_data.replicas"] == 0


# -- keyboards ---------------------------------------------------------------------------------------------


def keyboards(first: int, number: int, accessed_at: float) -> list[dict[str, Any]]:
    return [
        {"_id": f"{one:032x}", **KEYBOARD, "position": one % 1000, "accessed_at": accessed_at + one / 1e6}
        for one in range(first, first + number)
    ]


@pytest.mark.parametrize("planted_at", [1.0, time.time() + 10**6, 1e300], ids=["old", "from the future", "for ever"])
async def test_of_planted_keyboards_no_more_are_loaded_than_the_cache_holds_and_the_honest_ones_first(
    mongo_persistence: Callable[..., Any], database: Any, planted_at: float
) -> None:
    honest = keyboards(0, 100, time.time() - 3600)
    queries = [{"_id": f"query:{number}", "position": number, "keyboard": "k"} for number in range(5000)]
    insert(database.callback_data, [*keyboards(10**6, 30_000, planted_at), *honest, *queries])
    application = offline_application(mongo_persistence(), callback_data_cache=1024)

    async with application:
        held, asked = application.bot.callback_data_cache.persistence_data
        scope = application.persistence.session.scopes.callback_data
        assert len(scope.replicas) == 2 * 1024
        assert len(held) == len(asked) == 1024
        assert {one["_id"] for one in honest} <= {uuid for uuid, *_ in held}
        assert set(asked) == {str(number) for number in range(5000 - 1024, 5000)}
        await application.update_persistence()

    assert database.callback_data.count_documents({}) == 35_100


async def test_what_is_no_keyboard_takes_the_place_of_none(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    now = time.time()
    honest = [*keyboards(0, 10, now - 3600), {"_id": "query:1", "position": 1, "keyboard": "k"}]
    junk = [
        {"accessed_at": now + 60},
        {**KEYBOARD, "accessed_at": now + 60, "position": 2**62 + 1},
        {**KEYBOARD, "accessed_at": now + 60, "buttons": {"b": 7}},
        {**KEYBOARD, "accessed_at": now + 1000},
        {"keyboard": "k", "position": 2**62 + 1},
        {"keyboard": "k", "position": 2**60},
        {"keyboard": 1, "position": 2},
    ]
    planted = [
        {"_id": ("query:" if "keyboard" in one else "") + f"{kind}x{number}", **one}
        for kind, one in enumerate(junk)
        for number in range(20)
    ]
    insert(database.callback_data, [*honest, *planted])
    application = offline_application(mongo_persistence(), callback_data_cache=10)

    async with application:
        held, asked = application.bot.callback_data_cache.persistence_data
        assert [uuid for uuid, *_ in held] == [one["_id"] for one in honest[:10]]
        assert "1" in asked


async def test_the_newest_keyboards_are_loaded_in_their_order(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    insert(database.callback_data, keyboards(0, 30, 1000.0)[::-1])
    application = offline_application(mongo_persistence(), callback_data_cache=10)

    async with application:
        held, _ = application.bot.callback_data_cache.persistence_data

    assert [uuid for uuid, *_ in held] == [f"{number:032x}" for number in range(20, 30)]


@pytest.mark.parametrize("position", [2**63 - 1, 2**62 + 1, -1])
async def test_a_keyboard_behind_which_there_is_no_place_is_left_alone(
    mongo_persistence: Callable[..., Any], database: Any, position: int
) -> None:
    database.callback_data.insert_one({"_id": "p" * 32, **KEYBOARD, "accessed_at": 1.0, "position": position})
    persistence = mongo_persistence()
    offline_application(persistence)
    assert await persistence.get_callback_data() is None

    await persistence.update_callback_data(([("n" * 32, 2.0, {"b" * 32: "x"})], {}))

    await persistence.flush()
    assert database.callback_data.find_one({"_id": "n" * 32})["objects"] == ["x"]
    assert database.callback_data.find_one({"_id": "p" * 32})["position"] == position


@pytest.mark.parametrize("position", [2**62, 2**62 - 1, 2**62 - 3])
async def test_keyboards_behind_the_last_place_that_there_is_come_back(
    mongo_persistence: Callable[..., Any], database: Any, position: int
) -> None:
    database.callback_data.insert_one({"_id": "p" * 32, **KEYBOARD, "accessed_at": 1.0, "position": position})
    database.callback_data.insert_one({"_id": "g" * 32, **KEYBOARD, "accessed_at": 1.0, "position": 1})
    order = ["p" * 32, *(letter * 32 for letter in "abcd"), "g" * 32]  # the last one was used
    queries = {"1": "a" * 32, "2": "b" * 32}
    for _ in range(2):
        persistence = mongo_persistence()
        offline_application(persistence)
        assert await persistence.get_callback_data() is not None

        await persistence.update_callback_data(([(uuid, 2.0, {"b" * 32: "x"}) for uuid in order], queries))
        await persistence.flush()

        persistence = mongo_persistence()
        offline_application(persistence)
        keyboards, found = await persistence.get_callback_data()
        assert [uuid for uuid, *_ in keyboards] == order
        assert found == queries
        await persistence.flush()
