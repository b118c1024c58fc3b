"""What every storage does for a bot: the same cases on each driver, and, if they apply, on `PicklePersistence`.

Intentional differences are tested on MongoDB only: `PicklePersistence` compares with `==` before it writes, so it
misses a new order of keys and a new type, and it stores the state `None` instead of deleting it.
"""

from __future__ import annotations

import asyncio
import copy
import datetime as dtm
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from offline import BOT_ID, message_from, offline_application
from telegram import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, User
from telegram.ext import ContextTypes, MessageHandler, PersistenceInput, filters


def on(*storages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("storage", storages, indirect=True)


on_mongodb = on("a URI", "a Motor client", "a PyMongo client", "mongomock")


@dataclass
class Profile:
    name: str = ""
    score: int = 0
    tags: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Room:
    topic: str = "none"
    members: set[int] = field(default_factory=set)


class Counters:
    """A plain class whose attributes lie in slots."""

    __slots__ = ("cache", "total")

    def __init__(self) -> None:
        self.total = 0

    def __repr__(self) -> str:
        return f"Counters(total={self.total!r}, cache={getattr(self, 'cache', 'unset')!r})"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]


CONTEXT_TYPES = ContextTypes(user_data=Profile, chat_data=Room, bot_data=Counters)

SAMPLE = {
    "zoo": 1,
    "apple": 1.0,
    "flag": True,
    "nothing": None,
    "text": "κείμενο",
    "pair": (1, [2, (3,)]),
    "nested": {"b": {"y": 1, "x": 2}, "a": {}},
    7: "an int",
    "7": "a text",
    "": "empty",
    "a.b": {"$set": {"%": 0}},
    (1, "two"): {"inner": [{}, []]},
    "set": {1, 2, 3},
    "when": dtm.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=dtm.timezone(dtm.timedelta(hours=2))),
    "naive": dtm.datetime(2024, 2, 29),  # noqa: DTZ001
    "day": dtm.date(2024, 2, 29),
    "price": Decimal("19.90"),
    "large": 2**80,
    "bytes": b"\x00\xff",
}


def assert_exactly(found: object, expected: object) -> None:
    """Equal in value, in every type and in the order of keys: a `repr` shows them all."""
    assert found == expected
    assert repr(found) == repr(expected)


# -- user, chat and bot data ---------------------------------------------------------------------------------


async def test_an_empty_storage_loads_as_empty(storage):
    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {})
        assert_exactly(bot.chat_data, {})
        assert_exactly(bot.bot_data, {})
        assert bot.callback_data is None
        assert_exactly(await bot.persistence.get_conversations("order"), {})


async def test_user_chat_and_bot_data_come_back_exactly(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, copy.deepcopy(SAMPLE))
        await bot.persistence.update_user_data(2**52, {"id": "a large one"})
        await bot.persistence.update_chat_data(-1001234567890, copy.deepcopy(SAMPLE))
        await bot.persistence.update_bot_data(copy.deepcopy(SAMPLE))

    async with storage.opened() as bot:
        assert_exactly(bot.user_data[1], SAMPLE)
        assert_exactly(bot.user_data[2**52], {"id": "a large one"})
        assert_exactly(bot.chat_data, {-1001234567890: SAMPLE})
        assert_exactly(bot.bot_data, SAMPLE)
    assert all(type(user_id) is int for user_id in bot.user_data)


async def test_objects_of_context_types_come_back_exactly(storage):
    profile = Profile("Ada", 10, ["math"], {"b": 1, "a": {"deep": [1]}})
    counters = Counters()
    counters.cache = {"z": 1, "a": 2}
    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        assert_exactly(bot.bot_data, Counters())
        await bot.persistence.update_user_data(1, copy.deepcopy(profile))
        await bot.persistence.update_chat_data(-5, Room("tea", {3, 1}))
        await bot.persistence.update_bot_data(copy.deepcopy(counters))

    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        assert_exactly(bot.user_data, {1: profile})
        assert_exactly(bot.chat_data, {-5: Room("tea", {1, 3})})
        assert_exactly(bot.bot_data, counters)


async def test_changed_attributes_of_objects_are_saved(storage):
    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        await bot.persistence.update_user_data(1, Profile("Ada", 10, ["math"], {"a": 1, "b": 2}))
        await bot.persistence.update_chat_data(-5, Room("tea", {1}))
    changed = Profile("Ada", 11, ["math", "poetry"], {"b": 3})
    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        await bot.persistence.update_user_data(1, copy.deepcopy(changed))
        await bot.persistence.update_chat_data(-5, Room("coffee", {1, 2}))

    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        assert_exactly(bot.user_data, {1: changed})
        assert_exactly(bot.chat_data, {-5: Room("coffee", {1, 2})})


@on_mongodb
async def test_an_object_that_was_never_changed_has_no_document(storage):
    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        await bot.persistence.update_user_data(1, Profile())
        await bot.persistence.update_bot_data(Counters())

    assert await storage.collections() == set()


CHANGES: dict[str, list[dict[Any, Any]]] = {
    "another value": [{"a": 1}, {"a": 2}],
    "a new key": [{"a": 1}, {"a": 1, "b": 2}],
    "new keys in their own order": [{"m": 1}, {"m": 1, "z": 2, "a": 3, "k": 4}],
    "a key deleted": [{"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 3}],
    "all keys deleted": [{"a": 1, "b": 2}, {}],
    "a deep key deleted": [{"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"d": 2}}}],
    "a nested dict emptied": [{"a": {"b": 1}}, {"a": {}}],
    "a list shortened": [{"a": [1, 2, 3]}, {"a": [1, 3]}],
    "a dict in a list changed": [{"a": [{"b": 1}]}, {"a": [{"b": 2}]}],
    "a dict becomes a number": [{"a": {"b": 1}}, {"a": 5}],
    "a number becomes a dict": [{"a": 5}, {"a": {"b": 1}}],
    "a dict becomes a list": [{"a": {"b": 1}}, {"a": [1]}],
    "a list becomes a dict with a number as its key": [{"a": [1]}, {"a": {"0": 2}}],
    "a tuple becomes a dict": [{"a": (1, 2)}, {"a": {"b": (1, 2)}}],
    "a dict becomes a tuple and a dict again": [{"a": {"b": 1}}, {"a": (1, 2)}, {"a": {"c": 1}}],
    "keys that no field can hold": [{"a": {"b": 1}}, {"a": {(1, 2): 1}}, {"a": {"b": 2}}],
    "a number becomes None": [{"a": 1}, {"a": None}],
    "an int and a text as keys": [{1: "x", "1": "y"}, {1: "y", "1": "x"}],
    "keys that MongoDB refuses": [{"a.b": 1, "$x": {"": 1}}, {"a.b": 2, "$x": {"": 2, "%": 3}}],
    "keys that look like places in a list": [{"0": {"1": 1}}, {"0": {"1": 2, "0": 1}}],
    "keys that look like ours": [{"_py": "tuple", "v": [1]}, {"_py": "set", "v": [2]}],
    "a key that goes and comes back": [{"a": 1}, {"a": 1, "b": 2}, {"a": 1}, {"b": 2, "a": 1}],
}
CHANGES_THAT_COMPARE_EQUAL: dict[str, list[dict[Any, Any]]] = {
    "keys in another order": [{"a": 1, "b": 2, "c": 3}, {"c": 3, "a": 1, "b": 2}],
    "nested keys in another order": [{"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}],
    "a new key in front": [{"a": 1, "b": 2}, {"c": 3, "b": 2, "a": 1}],
    "an equal value of another type": [{"a": 1}, {"a": 1.0}, {"a": True}],
    "minus zero": [{"a": 0.0}, {"a": -0.0}],
    "an equal value of another type in a list": [{"a": [1]}, {"a": [True]}],
}


async def assert_saved_exactly(storage: Any, cases: dict[str, list[dict[Any, Any]]]) -> None:
    """Each case is a user, whose data goes from version to version, each saved by a run of its own."""
    for number in range(max(map(len, cases.values()))):
        async with storage.opened() as bot:
            for user_id, versions in enumerate(cases.values()):
                if number < len(versions):
                    await bot.persistence.update_user_data(user_id, copy.deepcopy(versions[number]))
    async with storage.opened() as bot:
        found = {case: repr(bot.user_data[user_id]) for user_id, case in enumerate(cases)}
    assert found == {case: repr(versions[-1]) for case, versions in cases.items()}


async def test_changes_are_saved_exactly(storage):
    await assert_saved_exactly(storage, CHANGES)


@on_mongodb
async def test_changes_that_compare_equal_are_saved_too(storage):
    await assert_saved_exactly(storage, CHANGES_THAT_COMPARE_EQUAL)


@on_mongodb
async def test_changes_within_one_run_are_saved_exactly(storage):
    for cases in (CHANGES, CHANGES_THAT_COMPARE_EQUAL):
        async with storage.opened() as bot:
            for user_id, versions in enumerate(cases.values()):
                await bot.persistence.drop_user_data(user_id)
                for version in versions:
                    await bot.persistence.update_user_data(user_id, copy.deepcopy(version))
        async with storage.opened() as bot:
            found = {case: repr(bot.user_data[user_id]) for user_id, case in enumerate(cases)}
        assert found == {case: repr(versions[-1]) for case, versions in cases.items()}


async def test_all_versions_of_one_run_may_be_saved_one_after_another(storage):
    async with storage.opened() as bot:
        for score in range(20):
            await bot.persistence.update_user_data(1, {"score": score, f"level{score}": True})

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"score": 19, "level19": True}})


async def test_many_users_are_saved_at_once(storage):
    async with storage.opened() as bot:
        await asyncio.gather(*(bot.persistence.update_user_data(n, {"n": n}) for n in range(300)))

    async with storage.opened() as bot:
        assert bot.user_data == {n: {"n": n} for n in range(300)}


async def test_a_loaded_object_belongs_to_the_application(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"list": [1]})

    async with storage.opened() as bot:
        bot.user_data[1]["list"].append(2)  # a handler changes it and nothing was saved yet
        await bot.persistence.update_user_data(1, copy.deepcopy(bot.user_data[1]))

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"list": [1, 2]}})


# -- dropping ------------------------------------------------------------------------------------------------


async def test_dropped_data_is_gone(storage):
    async with storage.opened() as bot:
        for number in (1, 2):
            await bot.persistence.update_user_data(number, {"a": 1})
            await bot.persistence.update_chat_data(number, {"a": 1})

    async with storage.opened() as bot:
        await bot.persistence.drop_user_data(1)
        await bot.persistence.drop_chat_data(2)
        await bot.persistence.drop_user_data(404)

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {2: {"a": 1}})
        assert_exactly(bot.chat_data, {1: {"a": 1}})


async def test_what_is_stored_after_a_drop_is_new(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"old": 1, "both": 1})
        await bot.persistence.drop_user_data(1)
        await bot.persistence.update_user_data(1, {"both": 1})

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"both": 1}})


@on_mongodb
async def test_a_dropped_document_is_deleted(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"a": 1})
        await bot.persistence.drop_user_data(1)

        assert await storage.documents("user_data") == []


@on_mongodb
async def test_new_data_in_the_interval_of_a_drop_is_saved(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"old": 1})
    async with storage.opened() as bot:
        await bot.persistence.refresh_user_data(user_id=1, user_data=bot.user_data[1])
        fresh: dict[str, Any] = {}  # PTB has dropped the old object; an update of that user makes a new one
        await bot.persistence.refresh_user_data(user_id=1, user_data=fresh)
        fresh["new"] = 2
        await bot.persistence.drop_user_data(1)  # PTB hands over nothing else

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"new": 2}})


@on_mongodb
async def test_an_application_may_drop_a_user_who_comes_back_at_once(storage):
    async def remember(update, context):
        context.user_data["text"] = update.message.text

    app = storage.application(MessageHandler(filters.TEXT, remember))
    async with app:
        await app.process_update(message_from(7, "before"))
        await app.update_persistence()
        app.drop_user_data(7)
        await app.process_update(message_from(7, "after"))

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {7: {"text": "after"}})


# -- conversations -------------------------------------------------------------------------------------------


STATES = [0, 1, -1, True, False, "ASKING", "", (1, "two"), 1.5, [1, {"a": 2}], {"step": 3}, Decimal("1.0")]


async def test_a_conversation_goes_on_in_its_state_of_any_kind(storage):
    states = dict(enumerate(STATES))
    async with storage.opened() as bot:
        for number, state in states.items():
            await bot.persistence.update_conversation("order", (1, number), copy.deepcopy(state))

    async with storage.opened() as bot:
        found = await bot.persistence.get_conversations("order")
        assert {key[1]: repr(state) for key, state in found.items()} == {
            number: repr(state) for number, state in states.items()
        }


async def test_conversations_are_told_apart_by_handler_and_key(storage):
    states = {(1,): "a", (1, 1): "b", ("1",): "c", (1, "1"): "d", (-100, 2**40, "inline.$x"): "e"}
    async with storage.opened() as bot:
        for handler in ("order", "a.$strange%name", ""):
            for key, state in states.items():
                await bot.persistence.update_conversation(handler, key, f"{handler}-{state}")

    async with storage.opened() as bot:
        for handler in ("order", "a.$strange%name", ""):
            found = await bot.persistence.get_conversations(handler)
            in_order = {key: found[key] for key in states}  # a handler looks its states up, in no order
            assert_exactly(in_order, {key: f"{handler}-{state}" for key, state in states.items()})
            assert len(found) == len(states)
        assert await bot.persistence.get_conversations("another") == {}


@on_mongodb
async def test_the_state_none_deletes_a_conversation(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_conversation("order", (1, 1), 1)
        await bot.persistence.update_conversation("order", (2, 2), 2)
        await bot.persistence.update_conversation("order", (1, 1), None)
        await bot.persistence.update_conversation("order", (404, 404), None)
        assert [document["key"] for document in await storage.documents("conversations")] == [[2, 2]]

    async with storage.opened() as bot:
        assert_exactly(await bot.persistence.get_conversations("order"), {(2, 2): 2})


async def test_an_ended_conversation_may_begin_again(storage):
    async with storage.opened() as bot:
        for state in (1, None, 2):
            await bot.persistence.update_conversation("order", (1, 1), state)

    async with storage.opened() as bot:
        assert_exactly(await bot.persistence.get_conversations("order"), {(1, 1): 2})


async def test_a_handler_that_is_nested_twice_gets_its_states_twice(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_conversation("inner", (1, 1), "here")

    async with storage.opened() as bot:
        first = await bot.persistence.get_conversations("inner")
        second = await bot.persistence.get_conversations("inner")
        assert_exactly(first, {(1, 1): "here"})
        assert_exactly(second, {(1, 1): "here"})
        assert first is not second


@on_mongodb
async def test_a_state_that_is_offered_again_is_not_written_again(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_conversation("inner", (1, 1), (1, "here"))
    before = await storage.documents("conversations")
    async with storage.opened() as bot:
        await bot.persistence.get_conversations("inner")
        await bot.persistence.get_conversations("inner")
        await bot.persistence.update_conversation("inner", (1, 1), (1, "here"))

    assert before
    assert await storage.documents("conversations") == before


# -- callback data -------------------------------------------------------------------------------------------


def keyboards(opened: Any) -> list[tuple[str, float, dict[str, Any]]]:
    return opened.callback_data[0]


SHARED = {"page": 1}
CACHE = (
    [
        ("z" * 32, 1700000000.123456, {"b" * 32: "text", "a" * 32: ("pair", 1)}),
        ("a" * 32, 1600000000.5, {"d" * 32: SHARED, "c" * 32: SHARED, "e" * 32: {"page": 1}}),
        ("m" * 32, 1800000000.0, {"f" * 32: None, "g" * 32: 5}),
    ],
    {"900": "z" * 32, "10": "a" * 32, "55": "m" * 32},
)


async def test_the_callback_data_cache_comes_back_exactly(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))

    async with storage.opened() as bot:
        assert_exactly(bot.callback_data, CACHE)


async def test_buttons_of_one_keyboard_share_their_object_again(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))

    async with storage.opened() as bot:
        buttons = keyboards(bot)[1][2]
        assert buttons["d" * 32] is buttons["c" * 32]
        assert buttons["e" * 32] is not buttons["c" * 32]


async def test_a_changed_cache_comes_back_in_its_order(storage):
    first, second, third = CACHE[0]
    new = ("0" * 32, 1900000000.25, {"h" * 32: [1]})
    changed = (
        [second, (third[0], 1800000001.75, third[2]), new, first],
        {"55": "m" * 32, "1": "0" * 32, "900": "z" * 32},
    )
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))
        await bot.persistence.update_callback_data(copy.deepcopy(changed))

    async with storage.opened() as bot:
        assert_exactly(bot.callback_data, changed)


async def test_a_cache_may_turn_empty(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))
        await bot.persistence.update_callback_data(([], {}))

    async with storage.opened() as bot:
        assert not bot.callback_data or bot.callback_data == ([], {})


@on_mongodb
async def test_one_click_rewrites_one_keyboard(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))
    before = {document["_id"]: document["rev"] for document in await storage.documents("callback_data")}
    async with storage.opened() as bot:
        (uuid, _, buttons), *others = keyboards(bot)
        clicked = [(uuid, 1700000009.0, buttons), *others]
        await bot.persistence.update_callback_data(copy.deepcopy((clicked, bot.callback_data[1])))

    after = {document["_id"]: document["rev"] for document in await storage.documents("callback_data")}
    assert len(before) == 6
    assert {document_id for document_id, rev in after.items() if before[document_id] != rev} == {"z" * 32}


@on_mongodb
async def test_evicted_keyboards_are_deleted_and_the_others_left_alone(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))
    before = {document["_id"]: document["rev"] for document in await storage.documents("callback_data")}
    async with storage.opened() as bot:
        await bot.persistence.update_callback_data(copy.deepcopy((CACHE[0][1:], {"10": "a" * 32})))

    after = {document["_id"]: document["rev"] for document in await storage.documents("callback_data")}
    assert after == {name: before[name] for name in ("a" * 32, "m" * 32, "query:10")}


async def test_a_button_works_after_a_restart(storage):
    app = storage.application()
    async with app:
        markup = InlineKeyboardMarkup.from_button(InlineKeyboardButton("Buy", callback_data=("buy", 7)))
        sent = app.bot.callback_data_cache.process_keyboard(markup).inline_keyboard[0][0].callback_data
        await app.update_persistence()

    app = storage.application()
    async with app:
        query = CallbackQuery("5", User(7, "Ada", is_bot=False), "chat", data=sent)
        app.bot.callback_data_cache.process_callback_query(query)
        assert_exactly(query.data, ("buy", 7))


# -- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["user_data", "chat_data", "bot_data", "callback_data", None])
async def test_only_the_kinds_of_data_are_stored_that_are_asked_for(storage, kept):
    kinds = ("user_data", "chat_data", "bot_data", "callback_data")
    only = PersistenceInput(**{kind: kind == kept for kind in kinds})

    async def remember(update, context):
        context.user_data["who"] = context.chat_data["who"] = context.bot_data["who"] = "Ada"
        button = InlineKeyboardButton("Buy", callback_data="buy")
        context.bot.callback_data_cache.process_keyboard(InlineKeyboardMarkup.from_button(button))

    app = storage.application(MessageHandler(filters.TEXT, remember), store_data=only)
    async with app:
        await app.process_update(message_from(7, "hello"))

    async with storage.opened() as bot:
        stored = {kind for kind in kinds if getattr(bot, kind)}
    assert stored == ({kept} if kept else set())


async def test_the_update_interval_is_told_to_the_application(storage):
    assert storage.make().update_interval == 60
    assert storage.make(update_interval=0.5).update_interval == 0.5


@on_mongodb
async def test_on_flush_writes_nothing_before_flush(storage):
    async with storage.opened(on_flush=True) as bot:
        await bot.persistence.update_user_data(1, {"a": 1})
        await bot.persistence.update_chat_data(1, {"a": 1})
        await bot.persistence.update_bot_data({"a": 1})
        await bot.persistence.update_callback_data(copy.deepcopy(CACHE))
        await bot.persistence.update_conversation("order", (1, 1), 1)
        assert await storage.collections() == set()

    assert await storage.collections() == {"user_data", "chat_data", "bot_data", "callback_data", "conversations"}


async def test_on_flush_saves_the_last_version(storage):
    async with storage.opened(on_flush=True) as bot:
        for score in range(3):
            await bot.persistence.update_user_data(1, {"score": score})
            await bot.persistence.update_user_data(2, {"score": score})
            await bot.persistence.update_conversation("order", (1, 1), score)
        await bot.persistence.drop_user_data(2)

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"score": 2}})
        assert_exactly(await bot.persistence.get_conversations("order"), {(1, 1): 2})


@on_mongodb
async def test_excluded_keys_are_never_stored(storage):
    exclude = {"user_data": {"cache"}, "bot_data": {"cache"}}
    data = {"cache": lambda: None, "name": "Ada", "inner": {"cache": 1}}
    async with storage.opened(exclude=exclude) as bot:
        await bot.persistence.update_user_data(1, data)
        await bot.persistence.update_chat_data(1, {"cache": 1})
        await bot.persistence.update_bot_data({"cache": 1})
        await bot.persistence.update_user_data(2, {"cache": 1})

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"name": "Ada", "inner": {"cache": 1}}})
        assert_exactly(bot.chat_data, {1: {"cache": 1}})
        assert_exactly(bot.bot_data, {})


@on_mongodb
async def test_excluded_attributes_are_never_stored(storage):
    counters = Counters()
    counters.total, counters.cache = 3, "large"
    options = {"context_types": CONTEXT_TYPES, "exclude": {"bot_data": {"cache"}}}
    async with storage.opened(**options) as bot:
        await bot.persistence.update_bot_data(counters)

    async with storage.opened(context_types=CONTEXT_TYPES) as bot:
        assert repr(bot.bot_data) == "Counters(total=3, cache='unset')"


@on_mongodb
async def test_what_is_stored_under_an_excluded_key_is_neither_loaded_nor_touched(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"name": "Ada", "cache": "somebody's"})
    async with storage.opened(exclude={"user_data": {"cache"}}) as bot:
        assert_exactly(bot.user_data, {1: {"name": "Ada"}})
        await bot.persistence.update_user_data(1, {"name": "Grace", "cache": "ours"})

    async with storage.opened() as bot:
        assert bot.user_data == {1: {"name": "Grace", "cache": "somebody's"}}


@on_mongodb
async def test_a_key_that_is_called_state_changes_nothing_about_what_is_excluded(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"state": {"cache": 1}, "cache": 2, "n": 1})

    async with storage.opened(exclude={"user_data": {"cache"}}) as bot:
        assert bot.user_data == {1: {"state": {"cache": 1}, "n": 1}}
        await bot.persistence.update_user_data(1, {"state": {"cache": 1}, "n": 2})

    (stored,) = await storage.documents("user_data")
    assert stored["data"] == {"state": {"cache": 1}, "cache": 2, "n": 2}


@on_mongodb
async def test_two_bots_share_a_database_by_prefixes(storage):
    for prefix in ("tea_", "coffee_"):
        async with storage.opened(collection_prefix=prefix) as bot:
            assert_exactly(bot.user_data, {})
            await bot.persistence.update_user_data(1, {"bot": prefix})
            await bot.persistence.update_conversation("order", (1, 1), prefix)

    async with storage.opened(collection_prefix="tea_") as bot:
        assert_exactly(bot.user_data, {1: {"bot": "tea_"}})
        assert_exactly(await bot.persistence.get_conversations("order"), {(1, 1): "tea_"})
    assert await storage.documents("user_data") == []
    assert {"tea_user_data", "coffee_user_data"} <= await storage.collections()


@on_mongodb
async def test_the_documents_are_named_as_the_storage_format_says(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"a": 1})
        await bot.persistence.update_bot_data({"b": 2})
        await bot.persistence.update_conversation("order", (1, "x"), 3)

    (user,) = await storage.documents("user_data")
    assert (user["_id"], user["data"], sorted(user)) == (1, {"a": 1}, ["_id", "data", "rev", "updated_at"])
    assert isinstance(user["updated_at"], dtm.datetime)
    (bot_document,) = await storage.documents("bot_data")
    assert (bot_document["_id"], bot_document["data"]) == (BOT_ID, {"b": 2})
    (conversation,) = await storage.documents("conversations")
    assert conversation["_id"] == {"handler": "order", "key": [1, "x"]}
    assert (conversation["handler"], conversation["key"], conversation["state"]) == ("order", [1, "x"], 3)
    (format_document,) = await storage.documents("ptb_mongo")
    assert (format_document["_id"], format_document["bot_id"]) == ("format", BOT_ID)


# -- the life of a persistence and of its client -------------------------------------------------------------


async def test_one_persistence_may_be_started_again_after_its_flush(storage):
    persistence = storage.make()
    for run in range(3):
        async with storage.opened(persistence) as bot:
            assert bot.user_data == ({1: {"runs": run}} if run else {})
            await persistence.update_user_data(1, {"runs": run + 1})

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {1: {"runs": 3}})


async def test_an_application_may_be_initialized_again_after_its_shutdown(storage):
    async def count(update, context):
        context.user_data["n"] = context.user_data.get("n", 0) + 1

    app = storage.application(MessageHandler(filters.TEXT, count))
    for _ in range(2):
        await app.initialize()
        await app.process_update(message_from(7))
        await app.shutdown()

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {7: {"n": 2}})


async def test_a_flush_without_a_start_does_nothing(storage):
    persistence = storage.make()
    offline_application(persistence)

    await persistence.flush()

    async with storage.opened() as bot:
        assert_exactly(bot.user_data, {})


@on_mongodb
async def test_no_task_is_left_after_flush(storage):
    async with storage.opened() as bot:
        await bot.persistence.update_user_data(1, {"a": 1})
        running = {task for task in asyncio.all_tasks() if task.get_name().startswith("ptb_mongo")}

    assert [task for task in running if not task.done()] == []


@on("a Motor client", "a PyMongo client", "mongomock")
async def test_a_client_that_was_passed_in_is_left_open(storage):
    for run in range(2):
        async with storage.opened() as bot:
            await bot.persistence.update_user_data(1, {"runs": run})

    stored = await storage.passed_in[storage.database].user_data.find_one({"_id": 1})
    assert stored["data"] == {"runs": 1}


@on("a URI")
async def test_the_client_of_a_uri_is_closed_by_flush(storage):
    async def connections() -> int:
        pipeline = [
            {"$currentOp": {"allUsers": True, "idleConnections": True}},
            {"$match": {"appName": storage.database}},
        ]
        return len(await (await storage.inspector.admin.aggregate(pipeline)).to_list())

    async with storage.opened():
        assert await connections() > 0

    for _ in range(500):  # the server takes a moment to notice
        if not (left := await connections()):
            break
        await asyncio.sleep(0.02)
    assert left == 0
