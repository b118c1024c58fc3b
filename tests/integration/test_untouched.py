"""An update of a `SharedApplication` costs nothing for what it does not touch, and saves everything that it touches.

The kind of fault: work at each update for data that it may have changed, though hardly any does. So the tests count
what is encoded, and then try every way to `bot_data` and to a keyboard: what was changed on it is stored when the
update is acknowledged, or with the next save pass where only the program itself can know.
"""

from __future__ import annotations

import array
import asyncio
import datetime as dtm
from collections.abc import Callable
from typing import Any

import pytest
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import CallbackDataCache
from workers import SharedBot, click, message, running, text

from ptb_mongo.codec import Codec
from ptb_mongo.scopes.callback_data import CallbackDataScope

DAY = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)


def stored(database: Any) -> dict[str, Any]:
    return (database.bot_data.find_one() or {}).get("data", {})


def markup(*values: Any) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data=value) for value in values]])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is encoded."""
    values: list[Any] = []
    encode = Codec.encode
    monkeypatch.setattr(Codec, "encode", lambda codec, value: values.append(value) or encode(codec, value))
    return values


# -- what costs nothing ------------------------------------------------------------------------------------


async def test_an_update_that_asks_for_nothing_encodes_nothing_of_the_bot_and_looks_at_no_keyboard(
    worker: Callable[..., SharedBot], encoded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = worker("stream")
    async with running(bot):
        await bot.hears(lambda context: context.bot_data.update(large=["x"] * 1000))
        await bot.application.bot.send_message(1, "Choose!", reply_markup=markup(*range(10)))
        await bot.hears()
        encoded.clear()
        looked = []
        whole = CallbackDataCache.persistence_data.fget
        watched = property(lambda cache: looked.append(1) or whole(cache))
        monkeypatch.setattr(CallbackDataCache, "persistence_data", watched)

        await bot.hears(lambda context: context.user_data.update(n=1))

        assert not looked
        assert not any("large" in str(value) for value in encoded)


async def test_an_update_that_only_reads_what_belongs_to_the_bot_encodes_nothing_of_it(
    worker: Callable[..., SharedBot], encoded: list[Any]
) -> None:
    bot = worker("stream")
    async with running(bot):
        await bot.hears(lambda context: context.bot_data.update(large=["x"] * 1000, day=DAY))
        await bot.hears(lambda context: context.bot_data["large"])
        encoded.clear()

        await bot.hears(lambda context: context.bot_data["large"])

        assert not any("large" in str(value) for value in encoded)


async def test_of_many_keyboards_only_the_new_one_is_encoded(
    worker: Callable[..., SharedBot], monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = worker("stream")
    async with running(bot):
        for number in range(20):
            await bot.application.bot.send_message(1, "Choose!", reply_markup=markup(number))
        await bot.hears()
        counts: list[int] = []
        documents = CallbackDataScope.documents
        monkeypatch.setattr(
            CallbackDataScope, "documents", lambda scope, data: counts.append(len(data[0])) or documents(scope, data)
        )

        await bot.hears(lambda context: context.bot.send_message(1, "Choose!", reply_markup=markup("new")))

        assert counts == [1]


# -- every way to `bot_data` -------------------------------------------------------------------------------


def of_the_context(_: SharedBot, context: Any) -> Any:
    return context.bot_data


def of_the_application(bot: SharedBot, _: Any) -> Any:
    return bot.application.bot_data


def of_the_contexts_application(_: SharedBot, context: Any) -> Any:
    return context.application.bot_data


WAYS = [of_the_context, of_the_application, of_the_contexts_application]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", ["key", "inside", "type", "order", "object"])
async def test_what_an_update_changes_of_the_bot_is_stored_when_it_is_acknowledged(
    worker: Callable[..., SharedBot], database: Any, way: Callable[[SharedBot, Any], Any], change: str
) -> None:
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "key": lambda data: data.update(new=1),
        "inside": lambda data: data["a"]["b"].append(2),
        "type": lambda data: data.update(n=True),
        "order": lambda data: data.update(n=data.pop("n"), a=data.pop("a")),
        "object": lambda data: data.update(day=DAY + dtm.timedelta(days=1)),
    }
    bot = worker("stream")
    async with running(bot):
        await bot.hears(lambda context: context.bot_data.update(a={"b": [1]}, n=1, day=DAY))
        await bot.hears(lambda context: context.bot_data.get("n"))
        before = database.bot_data.find_one()

        await bot.delivers(text(), lambda _, context: changes[change](way(bot, context)))

        after = database.bot_data.find_one()
        assert after["rev"] != before["rev"]
        assert list(after["data"].items()) == list(Codec().encode({"data": bot.application.bot_data})["data"].items())


async def test_the_object_that_was_asked_for_before_a_pause_is_compared_at_the_end_whatever_others_do_meanwhile(
    worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream")
    go_on, has_begun = asyncio.Event(), asyncio.Event()

    async def slow(_: Any, context: Any) -> None:
        data = context.bot_data
        has_begun.set()
        await go_on.wait()
        data["slow"] = 1

    async with running(bot):
        one = asyncio.create_task(bot.delivers(text(user=1), slow))
        await has_begun.wait()
        await bot.delivers(text(user=2), lambda _, context: context.bot_data.update(quick=1))
        assert stored(database) == {"quick": 1}
        go_on.set()
        await one
        assert stored(database) == {"quick": 1, "slow": 1}


async def test_a_new_object_in_its_place_is_stored(worker: Callable[..., SharedBot], database: Any) -> None:
    bot = worker("stream")
    async with running(bot):
        await bot.hears(lambda context: context.bot_data.update(a=1))

        await bot.delivers(text(), lambda *_: setattr(bot.application, "bot_data", {"b": 2}))

        assert stored(database) == {"b": 2}


async def test_what_no_update_has_changed_is_stored_with_the_next_update_if_it_was_asked_for(
    worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream")
    async with running(bot):
        await bot.hears()
        bot.application.bot_data["by a job"] = 1

        await bot.delivers(text())

        assert stored(database) == {"by a job": 1}


async def test_what_is_changed_without_asking_is_stored_with_the_next_save_pass(
    worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream")
    async with running(bot):
        held = bot.application.bot_data
        await bot.hears()
        held["held"] = 1
        await bot.hears()

        await bot.application.update_persistence()

        assert stored(database) == {"held": 1}


async def test_what_is_changed_without_asking_outlives_a_change_of_another_worker(
    worker: Callable[..., SharedBot], database: Any
) -> None:
    one, other = worker(), worker()
    async with running(one, other):
        held = one.application.bot_data
        await one.hears()
        held["held"] = 1

        await other.delivers(text(), lambda _, context: context.bot_data.update(other=1))
        await one.hears()
        assert held == {"held": 1, "other": 1}
        await one.application.update_persistence()

        assert stored(database) == {"held": 1, "other": 1}


# -- every way to a keyboard -------------------------------------------------------------------------------


async def sends(bot: SharedBot, *values: Any) -> Any:
    """A message with buttons, which is on its way to a user; gives it as Telegram shows it."""
    sent = []

    async def send(_: Any, context: Any) -> None:
        cache = context.bot.callback_data_cache
        sent.append(cache.process_keyboard(markup(*values)))

    await bot.delivers(text(), send)
    shown = message()
    with shown._unfrozen():
        shown.reply_markup = sent[0]
        shown.from_user = bot.application.bot.bot
    return shown


async def presses(bot: SharedBot, shown: Any, act: Any = None) -> None:
    update = click(shown.reply_markup.inline_keyboard[0][0].callback_data, on=message())
    bot.application.bot.insert_callback_data(update)
    await bot.delivers(update, act)


async def test_a_keyboard_that_an_update_has_made_is_stored_when_it_is_acknowledged(
    worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream")
    async with running(bot):
        await sends(bot, "buy", "sell")
        assert database.callback_data.find_one()["objects"] == ["buy", "sell"]


async def test_the_object_of_a_pressed_button_is_stored_as_its_update_leaves_it_whatever_others_do_meanwhile(
    worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream")
    go_on, has_begun = asyncio.Event(), asyncio.Event()

    async def slow(update: Any, _: Any) -> None:
        has_begun.set()
        await go_on.wait()
        update.callback_query.data.append(2)

    async with running(bot):
        shown = await sends(bot, [1])
        pressing = asyncio.create_task(presses(bot, shown, slow))
        await has_begun.wait()
        await bot.delivers(text(user=2))
        go_on.set()
        await pressing
        assert database.callback_data.find_one({"objects": {"$exists": True}})["objects"] == [[1, 2]]
        assert database.callback_data.count_documents({"keyboard": {"$exists": True}}) == 1


@pytest.mark.parametrize("how", ["drop_callback_data", "clear_callback_data"])
async def test_a_keyboard_that_an_update_drops_is_deleted_when_it_is_acknowledged(
    worker: Callable[..., SharedBot], database: Any, how: str
) -> None:
    def drop(update: Any, context: Any) -> None:
        if how == "drop_callback_data":
            context.drop_callback_data(update.callback_query)
        else:
            context.bot.callback_data_cache.clear_callback_data()
            context.bot.callback_data_cache.clear_callback_queries()

    bot = worker("stream")
    async with running(bot):
        shown = await sends(bot, [1])
        await presses(bot, shown, drop)
        assert database.callback_data.count_documents({"buried": None}) == 0


@pytest.mark.parametrize("lacks", ["layout", "attributes"])
async def test_a_cache_that_does_not_tell_is_looked_through(
    worker: Callable[..., SharedBot],
    database: Any,
    monkeypatch: pytest.MonkeyPatch,
    lacks: str,
) -> None:
    if lacks == "layout":
        monkeypatch.setattr("ptb_mongo.workers.touched_keyboards._make_tell", lambda *_: False)
    else:
        monkeypatch.setattr("ptb_mongo.workers.touched_keyboards._held_in", lambda _: None)
    bot = worker("stream")
    async with running(bot):
        shown = await sends(bot, [1])
        assert database.callback_data.find_one()["objects"] == [[1]]
        await presses(bot, shown, lambda update, _: update.callback_query.data.append(2))
        assert database.callback_data.find_one({"objects": {"$exists": True}})["objects"] == [[1, 2]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (bytearray(b"abcd"), b"abcd"),
        (b"abcd", bytearray(b"abcd")),
        (array.array("i", [1]), array.array("f", array.array("i", [1]).tobytes())),
    ],
    ids=["bytes", "bytearray", "array"],
)
async def test_a_value_of_another_type_that_has_the_same_bytes_is_another_value(
    before: Any, after: Any, worker: Callable[..., SharedBot], database: Any
) -> None:
    bot = worker("stream")
    async with running(bot):
        await bot.hears(lambda context: context.bot_data.update(k=before))
        await bot.hears(lambda context: context.bot_data.update(k=before, z=1))
        stored = database.bot_data.find_one()["data"]["k"]

        await bot.hears(lambda context: context.bot_data.update(k=after))

        assert database.bot_data.find_one()["data"]["k"] != stored
