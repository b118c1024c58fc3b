"""One worker at a time handles the updates of a user."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from telegram import Update
from telegram.ext import ConversationHandler
from workers import USER, SharedBot, click, running, text

from ptb_mongo import ConfigurationError, MongoPersistence, WatchUnavailableError
from ptb_mongo.driver import Driver, connect
from ptb_mongo.health import Counters
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.change_stream import ChangeStream, just_after
from ptb_mongo.sync.leases import Leases

KEY = "user:42"


# -- leases by themselves --------------------------------------------------------------------------------


@pytest.fixture
async def party(mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Callable[..., Any]]:
    """Makes workers that have leases, and a change stream that tells of them."""
    made: list[Any] = []

    async def make(name: str, timeout: float = 10) -> Leases:
        driver: Driver = await connect(mongodb_server_uri, mongodb_database)
        leases = Leases(driver, "leases", name, timeout)
        hello = await driver.hello()
        watcher = ChangeStream(driver, name, {}, just_after(hello), Availability(Counters()), leases)
        made.append((watcher, leases, driver))
        return leases

    yield make
    for watcher, leases, driver in made:
        await watcher.close()
        await leases.close()
        await driver.close()


class Hold:
    """A lease that a test takes and gives up."""

    def __init__(self, leases: Leases, update_id: int, keys: tuple[str, ...] = (KEY,)) -> None:
        self.got, self._enough = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run(leases, update_id, keys))

    async def _run(self, leases: Leases, update_id: int, keys: tuple[str, ...]) -> None:
        async with leases.hold(keys, update_id):
            self.got.set()
            await self._enough.wait()

    async def release(self) -> None:
        self._enough.set()
        await self.task


def waiting(database: Any, number: int) -> Callable[[], bool]:
    def enough() -> bool:
        document = database.leases.find_one(KEY)
        return document is not None and len(document["waiting"]) == number

    return enough


async def test_a_lease_is_held_by_one_and_gone_when_it_was_released(party, database):
    leases = await party("a")

    async with leases.hold([KEY], 1):
        assert database.leases.find_one(KEY)["holder"].startswith("a:")

    await until(lambda: database.leases.count_documents({}) == 0)


async def test_the_next_holder_is_the_one_with_the_smallest_update(party, database):
    one, two = await party("a"), await party("b")
    first = Hold(one, 5)
    await first.got.wait()
    holds = []
    for place, (leases, update_id) in enumerate([(two, 9), (one, 7), (two, 6), (one, 8)]):
        holds.append((update_id, Hold(leases, update_id)))
        await until(waiting(database, place + 1))

    await first.release()
    order = []
    for update_id, hold in sorted(holds):
        await hold.got.wait()
        order.append(update_id)
        assert sum(other.got.is_set() for _, other in holds) == len(order)
        await hold.release()

    assert order == [6, 7, 8, 9]
    await until(lambda: database.leases.count_documents({}) == 0)


async def test_a_holder_that_has_died_is_passed_over(party, database):
    one = await party("a", timeout=0.5)
    database.leases.insert_one({"_id": KEY, "holder": "dead:1", "until": now(database, 700), "waiting": []})

    async with leases_of(one):
        assert database.leases.find_one(KEY)["holder"].startswith("a:")

    await until(lambda: database.leases.count_documents({}) == 0)


def leases_of(leases: Leases) -> Any:
    return leases.hold([KEY], 1)


def now(database: Any, milliseconds: int) -> Any:
    import datetime as dtm

    said: dtm.datetime = database.command("hello")["localTime"]
    return said + dtm.timedelta(milliseconds=milliseconds)


async def test_one_that_died_while_it_waited_is_passed_over(party, database):
    one, two = await party("a", timeout=0.6), await party("b", timeout=0.6)
    first = Hold(one, 1)
    await first.got.wait()
    database.leases.update_one(
        {"_id": KEY}, {"$push": {"waiting": {"update_id": 0, "ticket": "dead:1", "until": now(database, 300)}}}
    )
    hold = Hold(two, 2)
    await until(waiting(database, 2))
    await first.release()

    await hold.got.wait()

    await hold.release()
    await until(lambda: database.leases.count_documents({}) == 0)


async def test_a_lease_that_is_held_for_long_is_not_taken_away(party, database):
    one, two = await party("a", timeout=1.5), await party("b", timeout=1.5)
    first = Hold(one, 1)
    await first.got.wait()
    second = Hold(two, 2)
    before = database.leases.find_one(KEY)["until"]

    await until(lambda: (database.leases.find_one(KEY)["until"] - before).total_seconds() > 1.6)

    assert not second.got.is_set()
    await first.release()
    await second.got.wait()
    await second.release()


async def test_one_that_is_cancelled_while_it_waits_or_holds_leaves_nothing_behind(party, database):
    one, two = await party("a"), await party("b")
    first = Hold(one, 1)
    await first.got.wait()
    second, third = Hold(two, 2), Hold(two, 3)
    await until(waiting(database, 2))

    second.task.cancel()
    await until(waiting(database, 1))
    first.task.cancel()
    await third.got.wait()
    third.task.cancel()
    await asyncio.wait({first.task, second.task, third.task})

    await until(lambda: database.leases.count_documents({}) == 0)


@pytest.mark.parametrize("turns", range(1, 6))
async def test_one_that_is_cancelled_while_the_server_is_asked_leaves_nothing_behind(party, database, turns):
    one = await party("a")
    await one._driver.hello()
    hold = Hold(one, 1)
    for _ in range(turns):
        await asyncio.sleep(0)

    hold.task.cancel()
    await asyncio.wait({hold.task})
    await one.close()  # which waits for what is being released

    assert database.leases.find_one() is None


async def test_a_server_that_is_silent_once_keeps_no_lease_forever(party, database, monkeypatch):
    delete, silent = Driver.delete_each, [True]

    async def silent_once(self: Driver, *arguments: Any) -> int:
        if silent:
            silent.clear()
            await asyncio.Event().wait()
        return await delete(self, *arguments)

    one = await party("a")
    hold = Hold(one, 1)
    await hold.got.wait()
    monkeypatch.setattr(Driver, "delete_each", silent_once)
    monkeypatch.setattr("ptb_mongo.sync.leases._PATIENCE", 0.5)

    await hold.release()

    await until(lambda: database.leases.find_one() is None)


async def test_leases_of_many_users_are_taken_together(party, database):
    def asked(command: str) -> int:
        found: int = database.command("serverStatus")["metrics"]["commands"][command]["total"]
        return found

    one = await party("a")
    before = asked("update"), asked("delete")
    holds = [Hold(one, number, (f"user:{number}",)) for number in range(50)]
    await asyncio.gather(*(hold.got.wait() for hold in holds))
    assert database.leases.count_documents({}) == 50
    await asyncio.gather(*(hold.release() for hold in holds))

    await until(lambda: database.leases.count_documents({}) == 0)
    assert asked("update") - before[0] <= 2
    assert asked("delete") - before[1] <= 2


async def test_those_who_take_several_leases_do_not_wait_in_a_circle(party, database):
    one, two = await party("a"), await party("b")

    async def take(leases: Leases, update_id: int, keys: list[str]) -> None:
        async with leases.hold(keys, update_id):
            await asyncio.sleep(0)

    await asyncio.gather(
        *(
            take(leases, number, keys)
            for number in range(10)
            for leases, keys in ((one, ["user:1", "chat:2"]), (two, ["chat:2", "user:1"]))
        )
    )

    await until(lambda: database.leases.count_documents({}) == 0)


async def test_a_waiting_update_does_not_ask_again_and_again(party, database):
    one, two = await party("a"), await party("b")
    first = Hold(one, 1)
    await first.got.wait()
    second = Hold(two, 2)
    await until(waiting(database, 1))

    def asked() -> int:
        found: int = database.command("serverStatus")["metrics"]["commands"]["update"]["total"]
        return found

    before = asked()
    await asyncio.sleep(1)
    assert asked() == before

    await first.release()
    await second.got.wait()
    assert asked() == before + 1
    await second.release()


async def test_when_the_stream_has_missed_something_who_waits_asks_again(party, database):
    one = await party("a")
    database.leases.insert_one({"_id": KEY, "holder": "b:1", "until": now(database, 60_000), "waiting": []})
    hold = Hold(one, 1)
    await until(waiting(database, 1))
    database.leases.update_one({"_id": KEY}, {"$set": {"until": now(database, -1)}})

    one.ask_again()

    await hold.got.wait()
    await hold.release()


async def test_a_lease_that_was_lost_is_named(party, database, caplog):
    one = await party("a", timeout=0.5)
    hold = Hold(one, 1)
    await hold.got.wait()

    database.leases.update_one({"_id": KEY}, {"$set": {"holder": "b:1", "until": now(database, 60_000)}})

    await until(lambda: "was lost" in caplog.text)
    assert [record.levelno for record in caplog.records if "lost" in record.getMessage()] == [logging.ERROR]
    assert KEY in caplog.text
    await hold.release()
    assert database.leases.find_one(KEY)["holder"] == "b:1"


async def test_a_lease_that_is_granted_while_renewals_are_checked_is_not_mistaken_for_lost(
    party, database, caplog, monkeypatch
):
    one = await party("a", timeout=0.5)
    database.leases.insert_one({"_id": KEY, "holder": "b:1", "until": now(database, 60_000), "waiting": []})
    find, asked, looked = Driver.find, asyncio.Event(), asyncio.Event()

    async def granted_meanwhile(self: Driver, *query: Any) -> AsyncIterator[dict[str, Any]]:
        found = [document async for document in find(self, *query)]
        if asked.is_set():
            one.granted("a:1")
            await hold.got.wait()
            looked.set()
        asked.set()
        for document in found:
            yield document

    monkeypatch.setattr(Driver, "find", granted_meanwhile)
    hold = Hold(one, 1)
    await asked.wait()
    database.leases.update_one({"_id": KEY}, {"$set": {"waiting": []}})  # so that one renewal finds no place

    await looked.wait()
    await asyncio.sleep(0)  # what was found is looked at
    assert "lost" not in caplog.text
    await hold.release()


# -- in an application ------------------------------------------------------------------------------------


@pytest.fixture
def worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    def make(handlers: Any = (), lease_timeout: float = 10, consistency: str = "stream", **options: Any) -> SharedBot:
        return SharedBot(
            mongo_persistence(**options),
            handlers,
            consistency=consistency,
            exclusive=True,
            lease_timeout=lease_timeout,
        )

    return make


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_workers_that_count_in_one_key_lose_no_count(worker, database, loading):
    bots = [worker(loading=loading), worker(loading=loading), worker(loading=loading)]
    async with running(*bots):

        async def count(_: Update, context: Any) -> None:
            before = context.user_data.get("n", 0)
            await asyncio.sleep(random.random() / 500)
            context.user_data["n"] = before + 1

        for _ in range(6):
            await asyncio.gather(*(random.choice(bots).delivers(text(), count) for _ in range(50)))

        assert database.user_data.find_one(USER)["data"] == {"n": 300}
        await until(lambda: database.leases.count_documents({}) == 0)


async def test_under_a_lease_is_read_what_the_stream_has_not_told_yet(worker, monkeypatch):
    monkeypatch.setattr("ptb_mongo.replica.collection.Collection.told", lambda *_, **__: None)
    one, two = worker(), worker()
    async with running(one, two):
        for number in range(1, 5):
            bot = (one, two)[number % 2]
            await bot.hears(lambda context: context.user_data.update(n=context.user_data.get("n", 0) + 1))
            assert bot.application.user_data[USER] == {"n": number}


async def test_updates_of_two_users_are_handled_side_by_side(worker):
    one, two = worker(), worker()
    async with running(one, two):
        both = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None
        if both is None:
            pytest.skip("asyncio has no Barrier before Python 3.11")

        async def meet(_: Update, __: Any) -> None:
            await asyncio.wait_for(both.wait(), 20)

        await asyncio.gather(one.takes(text(user=1), meet), two.takes(text(user=2), meet))

        assert not one.errors
        assert not two.errors


async def test_a_lease_is_released_when_a_handler_raises_or_is_cancelled(worker, database):
    bot = worker()
    async with running(bot):

        def fail(_: Update, __: Any) -> None:
            raise ZeroDivisionError

        await bot.takes(text(), fail)
        await until(lambda: database.leases.count_documents({}) == 0)

        begun = asyncio.Event()

        async def hang(_: Update, __: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(bot.takes(text(), hang))
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})

        await until(lambda: database.leases.count_documents({}) == 0)


async def test_an_update_that_a_handler_hands_to_the_application_does_not_wait_for_itself(worker):
    bot = worker()
    async with running(bot):
        handled: list[str] = []

        async def hand_over(_: Update, context: Any) -> None:
            await bot.takes(text(), lambda _, __: handled.append("inner"))
            handled.append("outer")

        await asyncio.wait_for(bot.takes(text(), hand_over), 20)

        assert handled == ["inner", "outer"]


async def test_a_conversation_of_a_whole_chat_is_held_for_all_of_its_users(worker, database):
    async def look(_: Update, __: Any) -> None:
        seen.append({document["_id"] for document in database.leases.find()})

    seen: list[set[str]] = []
    handler = ConversationHandler([], {}, [], per_user=False, name="chat", persistent=True)
    bot = worker([handler])
    async with running(bot):
        await bot.takes(text(), look)
        await bot.takes(text(chat=-7), look)
        await bot.takes(click("x"), look)

    assert seen == [{KEY}, {KEY, "chat:-7"}, {KEY}]


async def test_an_update_of_nobody_needs_no_lease(worker, database):
    bot = worker()
    async with running(bot):
        await bot.takes(Update(1), lambda _, __: None)
        await bot.takes(Update(2))

        assert not bot.errors


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"exclusive": "yes"}, {}),
        ({"exclusive": True, "lease_timeout": 0}, {}),
        ({"exclusive": True, "lease_timeout": "10"}, {}),
        ({"exclusive": True}, {"refresh": "read"}),
    ],
)
def test_what_a_lease_cannot_be_had_with_is_refused_at_once(mongo_persistence, options, settings):
    with pytest.raises(ConfigurationError):
        SharedBot(mongo_persistence(**settings), **options)


async def test_without_a_change_stream_there_are_no_leases(worker, monkeypatch):
    async def cannot(*_: Any) -> str:
        return "it is not a replica set"

    monkeypatch.setattr(Driver, "can_watch", cannot)
    bot = worker()

    with pytest.raises(WatchUnavailableError, match="replica set"):
        await bot.application.initialize()
