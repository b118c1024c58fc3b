"""If an update fails, exactly what it has touched is withdrawn: no less, and nothing that others have touched.

The kind: two things that an update costs nothing for, `bot_data` and keyboards, and a failure between its handler and
the acknowledgement. What was compared before the failure says nothing after it, what another update has in hand stays
with that one, and what was changed by no update is written although the update with which it was saved has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from disturbed import WRITES, Traffic, soon_given_up
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from workers import SharedBot, click, message, running, text

from ptb_mongo import MongoPersistence, PersistenceError

MODES = [{"consistency": "stream"}, {"exclusive": "chat", "once": "transaction", "lease_timeout": 1}]
NAMES = ["stream", "transaction"]


@pytest.fixture
def cut_off(traffic: Traffic, mongodb_database: str) -> Callable[..., SharedBot]:
    """Makes a worker whose traffic may be disturbed."""

    def make(**options: Any) -> SharedBot:
        persistence: Any = MongoPersistence(traffic.uri, mongodb_database, shutdown_timeout=2)
        return SharedBot(persistence, concurrent=True, **options)

    return make


@pytest.fixture(autouse=True)
async def calm(traffic: Traffic, service: Any) -> AsyncIterator[None]:
    service.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 1})
    yield
    service.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 60})
    await traffic.calm()


def stored(database: Any) -> dict[str, Any]:
    return (database.bot_data.find_one() or {}).get("data", {})


def objects(database: Any) -> list[Any]:
    return [one["objects"] for one in database.callback_data.find({"objects": {"$exists": True}})]


def markup(*values: Any) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data=value) for value in values]])


async def goes_on(bot: SharedBot) -> None:
    health = bot.persistence.health
    await until(lambda: health().connected and health().waiting == 0)


class Failing:
    """An act of a handler, before whose save the worker is cut off."""

    def __init__(self, traffic: Traffic, act: Callable[[Any], Any]) -> None:
        self._traffic = traffic
        self._act = act

    async def __call__(self, _: Any, context: Any) -> None:
        self._act(context)
        await self._traffic.does("stall")


async def fails(bot: SharedBot, traffic: Traffic, act: Callable[[Any], Any], user: int = 1) -> None:
    with soon_given_up(), pytest.raises(PersistenceError):
        await bot.delivers(text(user=user), Failing(traffic, act))
    await traffic.does("cut", "forward")
    await goes_on(bot)


async def turn_that_fails(bot: SharedBot, **changes: int) -> None:
    async with bot.application.turn(user_id=1):
        if changes:
            bot.application.bot_data.update(changes)
        raise ZeroDivisionError


async def pressed(bot: SharedBot, *values: Any) -> Any:
    """The press of a button of a keyboard that an update has sent."""
    sent: list[Any] = []
    await bot.delivers(
        text(), lambda _, context: sent.append(context.bot.callback_data_cache.process_keyboard(markup(*values)))
    )
    update = click(sent[0].inline_keyboard[0][0].callback_data, on=message())
    bot.application.bot.insert_callback_data(update)
    return update


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_a_change_of_bot_data_that_was_withdrawn_is_saved_when_it_is_repeated(cut_off, traffic, database, mode):
    bot = cut_off(**mode)
    async with running(bot):
        for number in (1, 2):
            await bot.delivers(text(user=1), lambda _, context, n=number: context.bot_data.update(n=n))

        await fails(bot, traffic, lambda context: context.bot_data.update(n=3))
        assert bot.application.bot_data == {"n": 2}

        await bot.delivers(text(user=1), lambda _, context: context.bot_data.update(n=3))
        assert stored(database) == {"n": 3}


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_a_turn_that_has_not_asked_for_bot_data_withdraws_nothing_of_it(cut_off, traffic, database, mode):
    bot = cut_off(**mode)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Any, context: Any) -> None:
        context.bot_data["slow"] = 1
        begun.set()
        await go_on.wait()

    async with running(bot):
        await bot.delivers(text(user=1), lambda _, context: context.bot_data.update(n=1))
        first = asyncio.create_task(bot.delivers(text(user=2), slow))
        await begun.wait()
        with pytest.raises(ZeroDivisionError):
            await turn_that_fails(bot)
        go_on.set()
        await first

        assert stored(database) == {"n": 1, "slow": 1}


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_a_turn_that_has_not_asked_for_bot_data_does_not_fail_with_those_that_have(cut_off, database, mode):
    bot = cut_off(**mode)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Any, context: Any) -> None:
        context.user_data["slow"] = 1
        begun.set()
        await go_on.wait()

    async with running(bot):
        first = asyncio.create_task(bot.delivers(text(user=2), slow))
        await begun.wait()
        with pytest.raises(ZeroDivisionError):
            await turn_that_fails(bot, never=1)
        go_on.set()
        await first

        assert database.user_data.find_one(2)["data"] == {"slow": 1}
        assert bot.application.bot_data == {}


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_what_no_update_has_changed_is_written_although_the_update_fails_with_which_it_was_saved(
    cut_off, traffic, database, mode
):
    bot = cut_off(**mode)
    async with running(bot):
        await bot.delivers(text(user=1))
        bot.application.bot_data["by a job"] = 1
        bot.application.bot.callback_data_cache.process_keyboard(markup("by a job"))

        await fails(bot, traffic, lambda context: context.user_data.update(n=1))

        await until(lambda: stored(database) == {"by a job": 1})
        await until(lambda: objects(database) == [["by a job"]])
        assert bot.application.user_data[1] == {}


async def test_a_keyboard_that_no_update_has_made_is_stored_with_the_next_one(cut_off, database):
    bot = cut_off(consistency="stream")
    async with running(bot):
        await bot.delivers(text())
        bot.application.bot.callback_data_cache.process_keyboard(markup("by a job"))

        await bot.delivers(text())

        await until(lambda: objects(database) == [["by a job"]])


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_what_an_update_drops_is_deleted_when_it_is_done_and_not_with_others(cut_off, traffic, database, mode):
    bot = cut_off(**mode)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def drops(update: Any, context: Any) -> None:
        context.drop_callback_data(update.callback_query)
        begun.set()
        await go_on.wait()

    async with running(bot):
        pressing = asyncio.create_task(bot.delivers(await pressed(bot, "buy"), drops))
        await begun.wait()
        await bot.delivers(
            text(user=2), lambda _, context: context.bot.callback_data_cache.process_keyboard(markup("sell"))
        )
        assert sorted(objects(database)) == [["buy"], ["sell"]]
        go_on.set()
        await pressing
        assert objects(database) == [["sell"]]


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_a_keyboard_that_a_failed_update_has_dropped_is_there_when_it_is_repeated(
    cut_off, traffic, database, mode
):
    bot = cut_off(**mode)
    seen: list[Any] = []

    def drops(update: Any, context: Any) -> None:
        seen.append(update.callback_query.data)
        context.drop_callback_data(update.callback_query)

    async def is_cut_off(update: Any, context: Any) -> None:
        drops(update, context)
        await traffic.does("stall")

    async with running(bot):
        update = await pressed(bot, "buy")
        data = next(iter(bot.application.bot.callback_data_cache.persistence_data[0]))
        text_of_button = data[0] + next(iter(data[2]))
        with soon_given_up(), pytest.raises(PersistenceError):
            await bot.delivers(update, is_cut_off)
        await traffic.does("cut", "forward")
        await goes_on(bot)
        await bot.delivers(text(user=2), lambda _, context: context.bot.callback_data_cache.process_keyboard(markup(1)))
        assert ["buy"] in objects(database)

        again = click(text_of_button, on=message())
        bot.application.bot.insert_callback_data(again)
        await bot.delivers(again, drops)

        assert seen == ["buy", "buy"]
        assert objects(database) == [[1]]


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_a_keyboard_that_a_failed_update_has_made_is_stored_as_users_may_see_it(cut_off, traffic, database, mode):
    bot = cut_off(**mode)
    async with running(bot):
        await bot.delivers(text(user=1))

        await fails(bot, traffic, lambda context: context.bot.callback_data_cache.process_keyboard(markup("sent")))

        await until(lambda: objects(database) == [["sent"]])


async def test_a_keyboard_that_was_made_before_a_failure_is_stored_with_the_next_update(cut_off, database):
    bot = cut_off(consistency="stream")

    async def sends_and_fails() -> None:
        async with bot.application.turn(user_id=1):
            bot.application.bot.callback_data_cache.process_keyboard(markup("sent"))
            raise ZeroDivisionError

    async with running(bot):
        await bot.delivers(text(user=1))
        with pytest.raises(ZeroDivisionError):
            await sends_and_fails()

        await bot.delivers(text(user=2))

        await until(lambda: objects(database) == [["sent"]])


async def test_a_transaction_that_cannot_be_saves_all_that_was_changed_in_another_way(cut_off, database):
    bot = cut_off(**MODES[1])
    async with running(bot):
        await bot.delivers(text(user=1), lambda _, context: context.user_data.update(n=1))
        database.command("collMod", "user_data", validator={"data.n": {"$lt": 2}})
        bot.application.bot_data["by a job"] = 1

        await bot.delivers(text(user=1), lambda _, context: context.user_data.update(n=2))

        await until(lambda: stored(database) == {"by a job": 1})
        database.command("collMod", "user_data", validator={})


async def test_writes_that_are_under_way_are_waited_for_although_another_update_has_begun_them(
    cut_off, traffic, database
):
    bot = cut_off(consistency="stream")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Any, context: Any) -> None:
        context.bot_data["slow"] = 1
        begun.set()
        await go_on.wait()

    async with running(bot):
        await bot.delivers(text(user=1), lambda _, context: context.bot_data.update(n=1))
        first = asyncio.create_task(bot.delivers(text(user=2), slow))
        await begun.wait()
        await traffic.does("hold", commands=WRITES, collections=["bot_data"])
        other = asyncio.create_task(bot.delivers(text(user=1), lambda _, context: context.bot_data.update(n=2)))
        await until(lambda: bot.persistence.health().waiting > 0)
        go_on.set()
        await asyncio.sleep(0.1)
        assert not first.done()
        assert not other.done()
        await traffic.does("release")
        await asyncio.gather(first, other)
        assert stored(database) == {"n": 2, "slow": 1}
