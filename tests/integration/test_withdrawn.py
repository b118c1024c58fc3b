"""An update for which `deliver` has raised an error is repeated: none of its changes remain, or are saved later.

The kind: a worker was cut off, frozen, or not notified, and has unsaved changes that others have overtaken.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from disturbed import WRITES, Traffic, soon_given_up
from telegram import Update
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import USER, CountsAndWaits, SharedBot, count, running, text

from ptb_mongo import LeaseError, MongoPersistence, PersistenceError, UnavailableError

GROUP = -100
OTHER = 7
MODES = [{"consistency": "stream"}, {"consistency": "strict"}, {"exclusive": True}]
NAMES = ["stream", "strict", "exclusive"]


def conversation() -> ConversationHandler[Any]:
    async def start(_: Update, __: Any) -> int:
        return 1

    async def end(_: Update, __: Any) -> int:
        return ConversationHandler.END

    start_it, end_it = MessageHandler(filters.Regex("start"), start), MessageHandler(filters.Regex("end"), end)
    return ConversationHandler([start_it], {1: [end_it]}, [], name="order", persistent=True)


@pytest.fixture
def cut_off(traffic: Traffic, mongodb_database: str) -> Callable[..., SharedBot]:
    """Makes a worker whose traffic may be disturbed, and which soon gives up waiting."""

    def make(handlers: Any = (), **options: Any) -> SharedBot:
        persistence: Any = MongoPersistence(traffic.uri, mongodb_database, shutdown_timeout=2)
        return SharedBot(persistence, handlers, **options)

    return make


@pytest.fixture
def free(mongodb_server_uri: str, mongodb_database: str) -> Callable[..., SharedBot]:
    """Makes another worker, which nothing disturbs."""

    def make(handlers: Any = (), **options: Any) -> SharedBot:
        return SharedBot(MongoPersistence(mongodb_server_uri, mongodb_database), handlers, **options)

    return make


async def goes_on(bot: SharedBot) -> None:
    """Until a worker is connected again, and has nothing left to write."""
    health = bot.persistence.health
    await until(lambda: health().connected and health().waiting == 0)


@pytest.fixture(autouse=True)
async def calm(traffic: Traffic) -> AsyncIterator[None]:
    yield
    await traffic.calm()


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_a_worker_cut_off_before_a_save_does_not_undo_what_others_have_answered(
    cut_off, free, traffic, database, mode
):
    mode = {**mode, "lease_timeout": 1}
    one, two = cut_off([conversation()], **mode), free([conversation()], **mode)
    async with running(one, two):
        await one.delivers(text("start"), count)

        async def is_cut_off(update: Update, context: Any) -> None:
            count(update, context)
            await traffic.does("stall")

        again = text("end")
        with soon_given_up(), pytest.raises(PersistenceError):
            await one.delivers(again, is_cut_off)
        assert one.application.user_data[USER] == {"n": 1}
        await two.delivers(again, count)
        await two.delivers(text("start"), count)
        await two.delivers(text("end"), count)
        await traffic.does("cut", "forward")
        await goes_on(one)

        assert database.user_data.find_one(USER)["data"] == {"n": 4}
        assert database.conversations.find_one({"state": {"$exists": True}}) is None
        replica = one.persistence.session.scopes.user_data.replicas[USER]
        await until(lambda: replica.is_stale or replica.rev == database.user_data.find_one(USER)["rev"])
        await one.delivers(text("start"), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 5}
        assert database.conversations.find_one({"state": 1}) is not None


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
async def test_ptbs_own_save_leaves_alone_what_is_half_done(free, database, mode):
    bot = free(**mode)
    async with running(bot):
        await bot.delivers(text(), count)
        bot.application.mark_data_for_update_persistence(user_ids=USER)
        with contextlib.suppress(ZeroDivisionError):
            async with bot.application.turn(user_id=USER):
                bot.application.user_data[USER]["n"] += 1
                await bot.application.update_persistence()
                raise ZeroDivisionError

        assert database.user_data.find_one(USER)["data"] == {"n": 1}
        await bot.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 2}


@pytest.mark.parametrize("ends", ["as it was done before", "as its button cannot be read"])
async def test_ptbs_own_save_is_not_left_to_an_update_that_saves_nothing(free, database, monkeypatch, ends):
    """Something that is no update has changed the data, and it is saved while an update begins."""
    bot = free(consistency="strict")
    bring_in = bot.application._worker.keyboards.bring_in
    async with running(bot):
        update = text()
        await bot.delivers(update, count)

        async def job() -> None:
            bot.application.user_data[USER]["job"] = 1
            bot.application.mark_data_for_update_persistence(user_ids=USER)
            await bot.application.update_persistence()

        async def slowly(turn: Any, *args: Any, **options: Any) -> None:
            await contextvars.Context().run(asyncio.ensure_future, job())
            if not turn.is_done:
                raise UnavailableError("the button cannot be read")
            await bring_in(turn, *args, **options)

        monkeypatch.setattr(bot.application._worker.keyboards, "bring_in", slowly)
        if ends.startswith("as it was done"):
            await bot.delivers(update, count)
        else:
            with pytest.raises(UnavailableError, match="button"):
                await bot.delivers(text(), count)

        assert database.user_data.find_one(USER)["data"] == {"n": 1, "job": 1}


async def test_ptbs_own_save_leaves_a_state_alone_whose_update_is_not_done(free, database):
    bot = free([conversation()], exclusive=True)
    async with running(bot):

        async def loses(_: Update, context: Any) -> None:
            await context.application.update_persistence()
            assert database.conversations.count_documents({}) == 0
            database.leases.update_one({"_id": f"user:{USER}"}, {"$set": {"holder": "another:1"}})
            await context.application.current_turn.lost.wait()

        with pytest.raises(LeaseError):
            await bot.delivers(text("start"), loses)
        database.leases.delete_many({})

        assert database.conversations.count_documents({"buried": {"$exists": False}}) == 0


async def test_an_insertion_that_arrives_late_brings_nothing_back(cut_off, free, traffic, database):
    one, two = cut_off(consistency="strict"), free(consistency="strict")
    async with running(one, two):
        await traffic.does("hold", commands=WRITES, collections=["user_data"])
        with soon_given_up(), pytest.raises(UnavailableError):
            await one.delivers(text(), count)
        await goes_on(one)  # it has made sure that the first one can do nothing

        await traffic.does("release")

        assert database.user_data.find_one({"_id": USER, "data": {"$exists": True}}) is None
        await two.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 1}
        await one.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 2}


@pytest.mark.parametrize("mode", MODES[1:], ids=NAMES[1:])
async def test_what_has_arrived_although_its_answer_was_lost_is_found_and_not_written_again(
    cut_off, free, traffic, database, mode
):
    mode = {**mode, "lease_timeout": 1}
    one, two = cut_off(**mode), free(**mode)
    async with running(one, two):
        await one.delivers(text(), count)
        await traffic.does("lose_answer", commands=WRITES, collections=["user_data"], close=False)
        with soon_given_up(), pytest.raises(UnavailableError):
            await one.delivers(text(), count)
        for _ in range(3):
            await two.delivers(text(), count)
        await goes_on(one)

        assert database.user_data.find_one(USER)["data"] == {"n": 5}
        await one.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 6}


@pytest.mark.parametrize("first", ["start", "end"])
@pytest.mark.parametrize("mode", MODES[::2], ids=NAMES[::2])
async def test_a_state_that_is_stored_although_it_was_taken_back_is_not_undone_by_the_next_update(
    cut_off, free, traffic, database, mode, first
):
    """The server is slow, and acknowledges what `deliver` has no longer waited for."""
    one, two = cut_off([conversation()], **mode), free([conversation()], **mode)
    async with running(one, two):
        if first == "end":
            await one.delivers(text("start"))
        again = text(first)
        await traffic.does("hold", commands=WRITES, collections=["conversations"])
        with pytest.raises(UnavailableError):
            await one.delivers(again)
        await traffic.does("release")
        await goes_on(one)

        def is_going_on() -> bool:
            return database.conversations.find_one({"state": 1}) is not None

        assert is_going_on() == (first == "start")
        await two.delivers(again)  # it finds that it goes on, and changes nothing
        await one.delivers(text("hello"))
        assert is_going_on() == (first == "start")
        await one.delivers(text("end" if first == "start" else "start"))
        assert is_going_on() == (first == "end")


async def test_a_handler_that_blocks_the_loop_for_longer_than_its_lease_saves_nothing(free, database, caplog):
    mode = {"exclusive": True, "lease_timeout": 0.6}
    one, two = free(**mode), free(**mode)
    async with running(one, two):
        await one.delivers(text(), count)

        def blocks(update: Update, context: Any) -> None:
            count(update, context)
            time.sleep(0.9)  # nobody renews anything meanwhile
            # As another worker does, which has found the lease to be expired.
            database.leases.update_one({"_id": f"user:{USER}"}, {"$set": {"holder": "another:1"}})
            database.user_data.update_one({"_id": USER}, {"$set": {"data.n": 6, "rev": "another:1"}})

        with pytest.raises(LeaseError, match=f"user:{USER}"):
            await one.delivers(text(), blocks)

        assert database.user_data.find_one(USER)["data"] == {"n": 6}
        assert one.application.user_data[USER] == {"n": 1}
        assert f"user:{USER}" in caplog.text
        database.leases.delete_many({})
        await two.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 7}


@pytest.mark.parametrize("once", [True, "transaction"])
async def test_what_a_handler_has_changed_that_has_lost_its_lease_is_not_saved_by_the_next_update_here(
    free, database, once
):
    """As a worker finds it that was stopped for a while, in the middle of a handler."""
    bot = free(exclusive=True, lease_timeout=0.6, once=once, concurrent=True)
    begun, go_on = asyncio.Event(), asyncio.Event()
    async with running(bot):
        await bot.delivers(text(), count)

        async def slow(update: Update, context: Any) -> None:
            count(update, context)
            begun.set()
            await context.application.current_turn.lost.wait()
            await go_on.wait()

        again = text()
        first = asyncio.create_task(bot.delivers(again, slow))
        await begun.wait()
        database.leases.delete_many({})  # it has expired, and somebody else has held it since, and given it back
        second = asyncio.create_task(bot.delivers(text(), count))
        await until(lambda: database.leases.count_documents({"_id": f"user:{USER}", "holder": {"$ne": None}}) == 1)
        go_on.set()
        with pytest.raises(LeaseError):
            await first
        await second

        assert database.user_data.find_one(USER)["data"] == {"n": 2}
        await bot.delivers(again, count)
        assert database.user_data.find_one(USER)["data"] == {"n": 3}


async def test_a_handler_that_has_lost_its_lease_and_never_ends_keeps_nobody_waiting_forever(free, database):
    bot = free(exclusive=True, lease_timeout=0.6, concurrent=True)
    begun, go_on = asyncio.Event(), asyncio.Event()
    async with running(bot):

        async def slow(_: Update, __: Any) -> None:
            begun.set()
            await go_on.wait()

        first = asyncio.create_task(bot.delivers(text(), slow))
        await begun.wait()
        database.leases.delete_many({})
        with pytest.raises(LeaseError, match=f"user:{USER}.*still running"):
            await bot.delivers(text(), count)
        go_on.set()
        with pytest.raises(LeaseError):
            await first
        await bot.delivers(text(), count)

        assert database.user_data.find_one(USER)["data"] == {"n": 1}
        await until(lambda: database.leases.count_documents({}) == 0)


async def test_an_update_of_ptbs_own_updater_is_handled_although_another_one_has_lost_its_lease(free, database):
    """Neither comes again: an error would lose this one, and nothing of the other one is taken back."""
    bot = free(exclusive=True, lease_timeout=0.6, concurrent=True)
    slow = CountsAndWaits()
    async with running(bot):
        first = asyncio.create_task(bot.takes(text(), slow))
        await slow.begun.wait()
        database.leases.delete_many({})
        await bot.takes(text(), count)
        assert bot.errors == []
        slow.go_on.set()
        await first

        assert database.user_data.find_one(USER)["data"] == {"n": 2}
        await until(lambda: database.leases.count_documents({}) == 0)


async def test_a_handler_is_told_that_its_lease_was_lost(free, database):
    bot = free(exclusive=True, lease_timeout=0.6)
    async with running(bot):

        async def waits(update: Update, context: Any) -> None:
            count(update, context)
            database.leases.update_one({"_id": f"user:{USER}"}, {"$set": {"holder": "another:1"}})
            await context.application.current_turn.lost.wait()

        with pytest.raises(LeaseError):
            await bot.delivers(text(), waits)

        assert database.user_data.find_one({"_id": USER, "data": {"$exists": True}}) is None
        assert bot.application.user_data[USER] == {}
        assert bot.application.current_turn is None


async def test_a_write_under_a_lease_gives_way_to_another_workers_although_nobody_has_noticed(free, database):
    bot = free(exclusive=True)
    async with running(bot):
        await bot.delivers(text(), count)

        def overtaken(update: Update, context: Any) -> None:
            count(update, context)
            database.user_data.update_one({"_id": USER}, {"$set": {"data.n": 6, "rev": "another:1"}})

        with pytest.raises(LeaseError):
            await bot.delivers(text(), overtaken)

        assert database.user_data.find_one(USER)["data"] == {"n": 6}
        await bot.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 7}


async def test_an_edit_of_another_service_is_merged_under_a_lease_as_ever(free, database):
    bot = free(exclusive=True)
    async with running(bot):
        await bot.delivers(text(), count)

        def edited(update: Update, context: Any) -> None:
            count(update, context)
            database.user_data.update_one({"_id": USER}, {"$set": {"data.vip": True}})

        await bot.delivers(text(), edited)

        assert database.user_data.find_one(USER)["data"] == {"n": 2, "vip": True}


async def test_a_turn_with_the_same_object_in_hand_fails_with_it_and_is_repeated(cut_off, traffic, database):
    bot = cut_off(consistency="strict", concurrent=True)
    begun, go_on = asyncio.Event(), asyncio.Event()

    def add(name: str) -> Callable[[Any], None]:
        return lambda context: context.chat_data.update({name: 1})

    async with running(bot):

        async def slow(_: Update, context: Any) -> None:
            add("slow")(context)
            begun.set()
            await go_on.wait()

        update = text(user=OTHER, chat=GROUP)
        first = asyncio.create_task(bot.delivers(update, slow))
        await begun.wait()
        again = text(chat=GROUP)

        async def fails(_: Update, context: Any) -> None:
            add("quick")(context)
            await traffic.does("stall")

        with soon_given_up(), pytest.raises(UnavailableError):
            await bot.delivers(again, fails)
        await traffic.does("forward")
        await goes_on(bot)
        go_on.set()
        with pytest.raises(LeaseError):
            await first

        for one, name in ((update, "slow"), (again, "quick")):
            await bot.delivers(one, lambda _, context, name=name: add(name)(context))
        assert database.chat_data.find_one(GROUP)["data"] == {"slow": 1, "quick": 1}


async def test_what_is_not_repeated_is_kept_though_an_update_beside_it_fails(cut_off, traffic, database):
    bot = cut_off(consistency="strict", concurrent=True)
    async with running(bot):
        await bot.delivers(text(chat=GROUP), lambda _, context: context.chat_data.update(first=1))

        async def is_cut_off(_: Update, context: Any) -> None:
            context.chat_data["kept"] = 1
            await traffic.does("stall")

        await bot.takes(text(user=OTHER, chat=GROUP), is_cut_off)
        with soon_given_up(), pytest.raises(UnavailableError):
            await bot.delivers(text(chat=GROUP), lambda _, context: context.chat_data.update(never=1))
        await traffic.does("forward")
        await goes_on(bot)

        assert database.chat_data.find_one(GROUP)["data"] == {"first": 1, "kept": 1}


async def drops_in_a_turn(application: Any) -> None:
    async with application.turn(user_id=USER):
        application.drop_user_data(USER)
        raise ZeroDivisionError


@pytest.mark.parametrize("fails", ["before", "after"])
async def test_what_an_update_drops_that_fails_stays(cut_off, traffic, database, fails):
    bot = cut_off(consistency="strict")
    async with running(bot):
        await bot.delivers(text(), count)

        async def drops(_: Update, context: Any) -> None:
            context.application.drop_user_data(USER)
            context.application.user_data[USER]["anew"] = 1
            if fails == "after":
                await traffic.does("stall")

        if fails == "after":
            with soon_given_up(), pytest.raises(UnavailableError):
                await bot.delivers(text(), drops)
            await traffic.does("cut", "forward")
        else:
            with pytest.raises(ZeroDivisionError):
                await drops_in_a_turn(bot.application)
        await goes_on(bot)
        await bot.application.update_persistence()

        assert database.user_data.find_one(USER)["data"] == {"n": 1}
        await bot.delivers(text(), count)
        assert database.user_data.find_one(USER)["data"] == {"n": 2}
        await bot.delivers(text(), lambda _, context: context.application.drop_user_data(USER))
        assert database.user_data.find_one({"_id": USER, "data": {"$exists": True}}) is None
