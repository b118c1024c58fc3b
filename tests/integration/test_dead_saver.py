"""PTB's saver ends silently at a value that cannot be copied: we notice it, report it once, and again at the stop.

The kind of fault: something that others do for us regularly stops happening, and everything looks fine. The reverse is
just as dangerous: a false alarm if it merely happens rarely, late, or by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from bots import USER, Bot, turns, until
from mongomock_motor import AsyncMongoMockClient
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import PersistenceInput
from workers import SharedBot, running

from ptb_mongo import MongoPersistence, UnsavedDataError
from ptb_mongo.sync import heartbeat, saver_watch
from ptb_mongo.sync.saver_watch import SaverWatch

OTHER = 7
INTERVAL = 0.02

pytestmark = [  # PTB leaves the awaitables of a save that breaks off alone
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(saver_watch, "_CONFIRM", 0.1)
    monkeypatch.setattr(heartbeat, "_GRACE", 0.1)
    yield
    gc.collect()  # the awaitables are collected where Python's warnings of them are expected


def persistence(mongodb_database: str, **options: Any) -> Any:
    client: Any = AsyncMongoMockClient()
    return MongoPersistence(client, mongodb_database, **{"update_interval": INTERVAL, **options})


@contextlib.asynccontextmanager
async def started(bot: Bot) -> AsyncIterator[Bot]:
    """A bot with PTB's real saver; its own error at the stop is PTB's business."""
    await bot.application.initialize()
    await bot.application.start()
    yield bot
    with contextlib.suppress(Exception):
        await bot.application.stop()


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors in the log, without those of documents that cannot be stored."""
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    return [line for line in lines if not line.startswith("Not saved in place of PTB: ")]


async def never(*_: Any) -> None:
    raise AssertionError("nothing is to be saved")


def lives(bot: Bot) -> bool:
    return bot.persistence.health().saver_alive


async def is_noticed(bot: Bot) -> None:
    """Handles updates until it is noticed."""
    for _ in range(3000):
        if not lives(bot):
            return
        await bot.hears(user=1)
        await asyncio.sleep(0.005)
    raise AssertionError("nothing is noticed")


async def goes_on(bot: Bot, seconds: float = 0.8) -> None:
    """Handles updates for some time: longer than the alarm takes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await bot.hears(user=1)
        await asyncio.sleep(0.005)


def uncopyable(scope: str) -> Callable[[Any], Any]:
    return lambda context: getattr(context, scope).update(db={"lock": threading.Lock()})


def a_button(context: Any) -> None:
    button = InlineKeyboardButton("x", callback_data=("buy", threading.Lock()))
    context.bot.callback_data_cache.process_keyboard(InlineKeyboardMarkup.from_button(button))


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (uncopyable("user_data"), f"user_data {USER} at db.lock (TypeError: cannot pickle '_thread.lock' object)"),
        (uncopyable("chat_data"), f"chat_data {USER} at db.lock (TypeError: cannot pickle '_thread.lock' object)"),
        (uncopyable("bot_data"), "bot_data at db.lock (TypeError: cannot pickle '_thread.lock' object)"),
        (a_button, "Found: the data of buttons (TypeError: cannot pickle '_thread.lock' object)"),
        (lambda context: context.user_data.update(rows=sqlite3.connect(":memory:").cursor()), "sqlite3.Cursor"),
    ],
    ids=["user_data", "chat_data", "bot_data", "a button", "a cursor"],
)
@pytest.mark.parametrize("saves_before", [0, 3])
async def test_a_saver_that_died_is_noticed_and_what_it_could_not_copy_is_named_once(
    saves_before: int, act: Any, named: str, mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(Bot(persistence(mongodb_database))) as bot:
        if saves_before:
            await bot.hears(lambda context: context.user_data.update(n=1), user=1)
            await until(lambda: bot.persistence.health().saves >= 1)
        assert lives(bot)

        await bot.hears(act)
        await is_noticed(bot)
        await goes_on(bot)

        (alarm,) = alarms(caplog)
        assert "PTB does not save any more" in alarm
        assert named in alarm
        assert "restart the bot" in alarm
        assert "exclude comes too late" in alarm


async def test_a_bot_whose_data_never_could_be_copied_is_noticed(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    await bot.application.initialize()
    bot.application.bot_data["pool"] = threading.Lock()  # as a `post_init` does
    await bot.application.start()

    await is_noticed(bot)

    (alarm,) = alarms(caplog)
    assert "bot_data at pool" in alarm
    with contextlib.suppress(TypeError):
        await bot.application.stop()


async def test_what_an_excluded_key_holds_is_copied_all_the_same(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(Bot(persistence(mongodb_database, exclude={"user_data": {"db"}}))) as bot:
        await bot.hears(uncopyable("user_data"))
        await is_noticed(bot)

        assert f"user_data {USER} at db.lock" in alarms(caplog)[0]


async def test_the_stop_names_what_ptb_has_forgotten_to_hand_over(mongodb_database: str) -> None:
    bot = Bot(persistence(mongodb_database))
    async with started(bot):
        await bot.hears(uncopyable("user_data"))
        await is_noticed(bot)

    with pytest.raises(UnsavedDataError) as stopped:
        await bot.application.shutdown()

    assert f"(user_data {USER})" in str(stopped.value)
    assert f"user_data {USER} at db.lock" in str(stopped.value)
    assert lives(bot)


async def test_a_stop_right_after_it_broke_off_names_it_as_well(mongodb_database: str) -> None:
    bot = Bot(persistence(mongodb_database))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(n=1), user=OTHER)
    await bot.hears(uncopyable("user_data"))
    with pytest.raises(TypeError):
        await bot.saves()

    with pytest.raises(UnsavedDataError, match=f"user_data {USER}"):
        await bot.application.shutdown()


async def test_a_flush_by_hand_right_after_it_broke_off_names_it_as_well(mongodb_database: str) -> None:
    bot = Bot(persistence(mongodb_database))
    async with bot.application:
        await bot.hears(uncopyable("user_data"))
        with pytest.raises(TypeError):
            await bot.saves()

        with pytest.raises(UnsavedDataError, match=f"user_data {USER}"):
            await bot.persistence.flush()
        with pytest.raises(UnsavedDataError, match="a lock cannot be stored") as again:
            await bot.persistence.flush()
        assert "saver" not in str(again.value)  # that was said
        await bot.hears(lambda context: context.user_data.clear())


async def test_saves_by_hand_that_break_off_again_and_again_are_said_once(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    async with bot.application:
        for _ in range(4):
            await bot.hears(uncopyable("user_data"))
            with pytest.raises(TypeError):
                await bot.saves()
        assert not lives(bot)
        await bot.hears(lambda context: context.user_data.clear())
    assert len(alarms(caplog)) == 1


async def test_what_is_handed_over_in_the_end_is_not_named_by_the_stop(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    async with started(bot):
        await bot.hears(uncopyable("user_data"))
        await is_noticed(bot)
        await bot.hears(lambda context: context.user_data.clear())

    await bot.application.shutdown()

    assert "PTB saves again" in caplog.text


async def test_what_ptb_has_forgotten_is_saved_in_its_place(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver_watch, "_SHORTEST", 0.02)
    bot: Bot = await start(update_interval=INTERVAL, exclude={"user_data": {"db"}})
    await bot.application.start()

    def act(context: Any) -> None:
        context.user_data.update(n=1, db=threading.Lock())
        context.bot_data["n"] = 1

    def stored(collection: str, key: int) -> Any:
        return (database[collection].find_one({"_id": key}) or {}).get("data")

    await bot.hears(act)
    await bot.hears(lambda context: context.chat_data.update(n=1), user=OTHER)
    await is_noticed(bot)
    await until(lambda: stored("user_data", USER) == {"n": 1})
    await until(lambda: stored("chat_data", OTHER) == {"n": 1})

    await bot.hears(lambda context: context.user_data.update(n=2))
    await bot.hears(lambda context: context.bot_data.update(n=2), user=OTHER)
    await until(lambda: stored("user_data", USER) == {"n": 2})
    await until(lambda: stored("bot_data", bot.application.bot.id) == {"n": 2})

    assert not lives(bot)
    await bot.hears(lambda context: context.user_data.update(n=3))
    with pytest.raises(TypeError):
        await bot.application.stop()
    await bot.persistence.flush()
    assert stored("user_data", USER) == {"n": 3}
    bot.application.user_data[USER].clear()


async def test_a_saver_that_is_started_again_is_alive_again(mongodb_database: str) -> None:
    bot = Bot(persistence(mongodb_database))
    async with started(bot):
        await bot.hears(uncopyable("user_data"))
        await is_noticed(bot)
        await bot.hears(lambda context: context.user_data.clear())

    async with started(bot):
        await until(lambda: lives(bot))
        await goes_on(bot)
        assert lives(bot)
    await bot.application.shutdown()


# -- a flush, which may be the last or not ----------------------------------------------------------------


def standing_in() -> list[str]:
    """What stands in for a saver."""
    return [task.get_name() for task in asyncio.all_tasks() if "saver" in task.get_name()]


async def test_after_a_flush_by_hand_it_is_known_that_the_saver_is_dead_and_what_stands_in_for_it_goes_on(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(saver_watch, "_SHORTEST", 0.02)
    bot: Bot = await start(update_interval=INTERVAL, exclude={"user_data": {"db"}})
    await bot.application.start()
    await bot.hears(uncopyable("user_data"))
    await is_noticed(bot)

    monkeypatch.setattr(heartbeat, "_GRACE", 3600)  # nothing is to be noticed again
    for n in range(2):
        await bot.persistence.flush()
        assert not lives(bot)
        await turns()
        assert standing_in() == []
        await bot.hears(lambda context, n=n: context.user_data.update(n=n))
        assert standing_in() == ["ptb_mongo saver"]
        await until(lambda n=n: (database.user_data.find_one({"_id": USER}) or {}).get("data") == {"n": n})
        assert not lives(bot)

    assert len(alarms(caplog)) == 1
    bot.application.user_data[USER].clear()
    with pytest.raises(TypeError):
        await bot.application.stop()


async def test_a_flush_by_hand_before_the_alarm_only_delays_it(
    mongodb_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "_GRACE", 3600)
    monkeypatch.setattr(saver_watch, "_CONFIRM", 3600)
    async with started(Bot(persistence(mongodb_database))) as bot:
        await bot.hears(uncopyable("user_data"))
        await until(lambda: not bot.persistence._saver.heartbeat.is_awaited)
        with contextlib.suppress(UnsavedDataError):
            await bot.persistence.flush()
        assert alarms(caplog) == []
        monkeypatch.setattr(saver_watch, "_CONFIRM", 0.1)

        await is_noticed(bot)
        await bot.hears(lambda context: context.user_data.clear())


async def test_a_save_that_breaks_off_after_a_flush_by_hand_is_stood_in_for(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver_watch, "_SHORTEST", 0.02)
    monkeypatch.setattr(heartbeat, "_GRACE", 3600)
    bot: Bot = await start(update_interval=INTERVAL, exclude={"user_data": {"db"}})
    for n in range(3):
        await bot.hears(lambda context, n=n: context.user_data.update(n=n, db=threading.Lock()))
        with pytest.raises(TypeError):
            await bot.saves()
        if n:
            await until(lambda: not lives(bot))
            await until(lambda n=n: (database.user_data.find_one({"_id": USER}) or {}).get("data") == {"n": n})
        await bot.persistence.flush()

    assert not lives(bot)
    bot.application.user_data[USER].clear()


async def test_a_stop_leaves_nothing_running_and_a_second_start_begins_fresh(
    mongodb_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = Bot(persistence(mongodb_database))
    async with started(first):
        await first.hears(uncopyable("bot_data"))
        await is_noticed(first)
    with pytest.raises(TypeError):
        await first.application.shutdown()
    with pytest.raises(UnsavedDataError):
        await first.persistence.flush()
    await turns()
    assert standing_in() == []
    assert not lives(first)

    monkeypatch.setattr(heartbeat, "_GRACE", 3600)
    second = Bot(first.persistence)
    caplog.clear()
    async with started(second):
        assert lives(second)
        await goes_on(second)
        assert lives(second)
        assert standing_in() == []
    await second.application.shutdown()
    assert alarms(caplog) == []
    assert "PTB saves again" not in caplog.text


# -- no false alarm --------------------------------------------------------------------------------------


@pytest.fixture
async def bot(mongodb_database: str) -> AsyncIterator[Bot]:
    bot = Bot(persistence(mongodb_database))
    async with started(bot):
        yield bot
    await bot.application.shutdown()


async def test_a_saver_that_lives_is_alive(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    await goes_on(bot)
    assert lives(bot)
    assert alarms(caplog) == []


@pytest.mark.parametrize("seconds", [0.3, 0.9])
async def test_a_blocked_loop_is_no_death(seconds: float, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        await bot.hears(lambda _: time.sleep(seconds))
        await bot.hears()
        await turns()
    await goes_on(bot)
    assert lives(bot)
    assert alarms(caplog) == []


async def test_a_loop_that_is_blocked_when_the_alarm_is_due_gives_the_saver_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saver_watch, "_LATE", 0.05)
    monkeypatch.setattr(heartbeat, "_GRACE", 0.0)
    watch = SaverWatch(lambda: 0.0, dict, never)
    watch.gives("bot_data", USER, {})
    await asyncio.sleep(0.01)
    watch.gives("bot_data", USER, {})

    time.sleep(0.3)  # noqa: ASYNC251  (it is what is tested)
    await turns()
    assert watch.is_saver_alive

    await until(lambda: not watch.is_saver_alive)
    watch.close()


async def test_an_interval_of_hours_is_no_death(mongodb_database: str, caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot(persistence(mongodb_database, update_interval=7200))
    async with started(bot):
        await goes_on(bot)
        assert lives(bot)
    await bot.application.shutdown()
    assert alarms(caplog) == []


async def test_a_script_that_saves_by_hand_once_is_not_alarmed(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()
        await asyncio.sleep(0.5)  # the time in which nothing may happen
        assert lives(bot)
    assert alarms(caplog) == []


async def test_a_bot_that_saves_each_update_by_hand_is_not_alarmed(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    async with bot.application:
        for _ in range(4):
            await bot.hears(lambda context: context.user_data.update(n=1))
            await bot.saves()
            await asyncio.sleep(0.25)
        assert lives(bot)
    assert alarms(caplog) == []


async def test_a_flush_by_hand_ends_the_watch_until_more_is_handled(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.persistence.flush()
    await asyncio.sleep(0.5)
    await goes_on(bot)
    assert lives(bot)
    assert alarms(caplog) == []


async def test_a_bot_that_stores_no_bot_data_has_no_heartbeat_and_no_alarm(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database, store_data=PersistenceInput(bot_data=False), update_interval=0.02))
    async with bot.application:
        await goes_on(bot)
        assert lives(bot)
    assert alarms(caplog) == []


async def test_a_worker_saves_each_update_itself(
    mongo_persistence: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    worker = SharedBot(mongo_persistence(update_interval=INTERVAL))
    async with running(worker):
        for _ in range(100):
            await worker.hears(lambda context: context.user_data.update(n=1))
            await asyncio.sleep(0.005)
        assert worker.persistence.health().saver_alive
    assert alarms(caplog) == []


async def test_a_slow_save_is_no_death(
    mongodb_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    write = bot.persistence._lifecycle.save

    def slow(stage: Any) -> Any:
        saved = write(stage)

        async def later() -> None:
            await asyncio.sleep(0.2)
            await saved

        return later()

    monkeypatch.setattr(bot.persistence._lifecycle, "save", slow)
    monkeypatch.setattr(heartbeat, "_GRACE", 0.5)
    async with started(bot):
        await goes_on(bot, 1.5)
        assert lives(bot)
    await bot.application.shutdown()
    assert alarms(caplog) == []


async def test_a_save_that_is_cancelled_before_its_first_step_has_not_broken_off(
    mongodb_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot(persistence(mongodb_database))
    async with bot.application:
        await bot.hears(lambda context: context.bot_data.update(n=1))
        for _ in range(2):
            task = asyncio.ensure_future(bot.persistence.update_bot_data({"n": 1}))
            task.cancel()
            await asyncio.wait({task})
        assert lives(bot)
    assert alarms(caplog) == []
