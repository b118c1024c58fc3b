"""Turns: the guarantees of an update, for jobs, for somebody else's data, and for whatever a program does itself.

Also, how several turns interact: those of one group, one inside another, and one that is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from telegram import Update
from telegram.ext import ConversationHandler, JobQueue, MessageHandler, TypeHandler, filters
from workers import USER, SharedBot, running, text

from ptb_mongo import ConfigurationError, LeaseError, MongoPersistence

GROUP = -100
OTHER = 7


def count(_: object, context: Any) -> None:
    context.user_data["n"] = context.user_data.get("n", 0) + 1


@pytest.fixture
def any_worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    def make(handlers: Any = (), *, loading: Any = "eager", **options: Any) -> SharedBot:
        return SharedBot(mongo_persistence(loading=loading), handlers, **{"exclusive": True, **options})

    return make


def counted(database: Any, user: int = USER) -> Any:
    return (database.user_data.find_one(user) or {}).get("data", {}).get("n")


# -- turns by themselves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"exclusive": False}, {"exclusive": False, "consistency": "strict"}, {}])
async def test_a_turn_sees_what_others_have_saved_and_saves_what_it_changes(any_worker, database, options):
    one, two = any_worker(**options), any_worker(**options)
    async with running(one, two):
        await one.delivers(text(), count)
        if options == {"exclusive": False}:
            scope = two.persistence.session.scopes.user_data
            await until(lambda: scope.outdated(USER, read=False) is not None)

        async with two.application.turn(user_id=USER, chat_id=GROUP) as turn:
            assert not turn.lost.is_set()
            two.application.user_data[USER]["n"] += 1
            two.application.chat_data[GROUP]["topic"] = "tea"

        assert counted(database) == 2
        assert database.chat_data.find_one(GROUP)["data"] == {"topic": "tea"}


async def test_a_turn_that_raises_has_changed_nothing(any_worker, database):
    bot = any_worker()
    async with running(bot):
        await bot.delivers(text(), count)

        with pytest.raises(ZeroDivisionError):
            await fails_in_a_turn(bot)

        assert bot.application.user_data[USER] == {"n": 1}
        await bot.application.update_persistence()
        assert counted(database) == 1


async def fails_in_a_turn(bot: SharedBot) -> None:
    async with bot.application.turn(user_id=USER):
        bot.application.user_data[USER]["n"] += 1
        bot.application.user_data[USER].setdefault("tags", []).append("b")
        raise ZeroDivisionError


async def test_a_turn_waits_for_an_update_of_the_same_user_and_updates_for_it(any_worker, database):
    one, two = any_worker(), any_worker()
    async with running(one, two):

        async def slowly(update: Update, context: Any) -> None:
            before = context.user_data.get("n", 0)
            await asyncio.sleep(0.02)
            context.user_data["n"] = before + 1

        async def turn(bot: SharedBot) -> None:
            async with bot.application.turn(user_id=USER):
                data = bot.application.user_data[USER]
                before = data.get("n", 0)
                await asyncio.sleep(0.02)
                data["n"] = before + 1

        await asyncio.gather(*(bot.delivers(text(), slowly) for bot in (one, two)), *(turn(bot) for bot in (one, two)))

        assert counted(database) == 4


async def test_a_turn_needs_somebody_whose_data_it_changes(any_worker):
    bot = any_worker()
    with pytest.raises(RuntimeError, match="not initialized"):
        await enter(bot, user_id=USER)
    async with running(bot):
        with pytest.raises(ConfigurationError, match="user_id"):
            await enter(bot)


async def enter(bot: SharedBot, **ids: int) -> None:
    async with bot.application.turn(**ids):
        pass


# -- turns inside turns ----------------------------------------------------------------------------------


async def test_somebody_elses_data_is_changed_in_a_turn_inside_a_handler(any_worker, database):
    one, two = any_worker(), any_worker()
    async with running(one, two):

        async def refers(_: Update, context: Any) -> None:
            context.user_data["refers"] = OTHER
            async with context.application.turn(user_id=OTHER):
                friend = context.application.user_data[OTHER]
                before = friend.get("n", 0)
                await asyncio.sleep(0.01)
                friend["n"] = before + 1

        await asyncio.gather(
            *(bot.delivers(text(user=user), refers) for bot in (one, two) for user in (1, 2, 3)),
            *(bot.delivers(text(user=OTHER), count) for bot in (one, two)),
        )

        assert counted(database, OTHER) == 8


async def test_two_handlers_that_want_each_others_users_do_not_wait_forever(any_worker, database):
    one, two = any_worker(lease_timeout=0.6), any_worker(lease_timeout=0.6)
    begun = [asyncio.Event(), asyncio.Event()]
    errors: list[LeaseError] = []
    async with running(one, two):

        def wants(number: int, other: int) -> Any:
            async def act(update: Update, context: Any) -> None:
                count(update, context)
                begun[number].set()
                await begun[1 - number].wait()
                try:
                    async with context.application.turn(user_id=other):
                        context.application.user_data[other]["gift"] = 1
                except LeaseError as error:
                    errors.append(error)

            return act

        await asyncio.gather(
            one.delivers(text(user=USER), wants(0, OTHER)), two.delivers(text(user=OTHER), wants(1, USER))
        )

        assert errors
        for error in errors:
            assert f"user:{USER}" in str(error)
            assert f"user:{OTHER}" in str(error)
        assert (counted(database), counted(database, OTHER)) == (1, 1)


async def test_a_turn_inside_one_of_the_same_user_is_a_part_of_it(any_worker, database):
    bot = any_worker()
    async with running(bot):

        async def act(update: Update, context: Any) -> None:
            count(update, context)
            async with context.application.turn(user_id=USER):
                count(update, context)

        await bot.delivers(text(), act)

        assert counted(database) == 2


async def test_the_innermost_of_three_leaves_what_the_outermost_has_in_hand_to_that(any_worker, database):
    bot = any_worker()
    async with running(bot):
        await bot.delivers(text(), count)

        async def act(update: Update, context: Any) -> None:
            count(update, context)
            async with context.application.turn(user_id=OTHER), context.application.turn(user_id=USER):
                count(update, context)
            assert counted(database) == 1
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await bot.delivers(text(), act)

        assert bot.application.user_data[USER] == {"n": 1}
        assert counted(database) == 1


@pytest.mark.parametrize("between", [(), (OTHER,)], ids=["of the handler", "of a turn in it"])
async def test_a_turn_in_a_task_of_a_handler_has_its_own_lease_and_outlives_that(any_worker, database, between):
    one, two = any_worker(), any_worker()
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def later() -> None:
        async with one.application.turn(user_id=USER) as turn:
            assert f"user:{USER}" in turn.leases
            await go_on.wait()
            one.application.user_data[USER]["n"] += 1

    async def act(update: Update, context: Any) -> None:
        count(update, context)
        async with contextlib.AsyncExitStack() as stack:
            for user in between:
                await stack.enter_async_context(context.application.turn(user_id=user))
            tasks.append(asyncio.create_task(later()))
            await asyncio.sleep(0)

    async with running(one, two):
        await one.delivers(text(), act)
        other = asyncio.create_task(two.delivers(text(), count))
        go_on.set()
        await asyncio.gather(other, *tasks)

        assert counted(database) == 3


async def test_a_handler_that_waits_for_a_turn_of_its_own_user_in_a_task_does_not_wait_forever(any_worker):
    bot = any_worker(lease_timeout=0.6)
    errors: list[BaseException] = []

    async def act(_: Update, context: Any) -> None:
        async def task() -> None:
            async with context.application.turn(user_id=USER):
                pass

        async with context.application.turn(user_id=OTHER):
            begun = asyncio.create_task(task())
            await asyncio.sleep(0)
        errors.extend(await asyncio.gather(begun, return_exceptions=True))

    async with running(bot):
        await bot.delivers(text(), act)

    assert [type(error) for error in errors] == [LeaseError]
    assert f"'user:{USER}' was not free" in str(errors[0])


# -- groups ----------------------------------------------------------------------------------------------


async def test_with_chat_the_counters_of_a_group_are_exact(any_worker, database):
    workers = [any_worker(exclusive="chat") for _ in range(3)]

    async def adds(_: Update, context: Any) -> None:
        before = context.chat_data.get("n", 0)
        await asyncio.sleep(0)
        context.chat_data["n"] = before + 1

    async with running(*workers):
        await asyncio.gather(
            *(bot.delivers(text(user=user, chat=GROUP), adds) for bot in workers for user in range(1, 9))
        )

        assert database.chat_data.find_one(GROUP)["data"] == {"n": 24}
        await until(lambda: database.leases.count_documents({}) == 0)


@pytest.mark.parametrize("exclusive", ["everybody", 1, None, ""])
def test_what_exclusive_cannot_be_is_refused(mongo_persistence, exclusive):
    with pytest.raises(ConfigurationError, match="exclusive"):
        SharedBot(mongo_persistence(), exclusive=exclusive)


# -- updates that come again -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"exclusive": False}, {"exclusive": False, "consistency": "strict"}, {}])
@pytest.mark.parametrize("same", [True, False])
async def test_an_update_that_was_done_is_not_handled_again(any_worker, database, options, same):
    one, two = any_worker(**options), any_worker(**options)
    async with running(one, two):
        update = text()
        await one.delivers(update, count)
        await until(lambda: database.updates.count_documents({"_id": update.update_id}) == 1)

        await (one if same else two).delivers(update, count)

        assert counted(database) == 1
        await one.delivers(text(), count)
        assert counted(database) == 2


async def test_of_an_update_that_comes_twice_at_once_one_is_handled(any_worker, database):
    one, two = any_worker(), any_worker()
    async with running(one, two):
        update = text()

        async def slowly(update: Update, context: Any) -> None:
            await asyncio.sleep(0.05)
            count(update, context)

        await asyncio.gather(*(bot.delivers(update, slowly) for bot in (one, two)))

        assert counted(database) == 1


async def test_an_update_that_failed_is_handled_when_it_is_repeated(any_worker, database):
    bot = any_worker(lease_timeout=0.6)
    async with running(bot):
        update = text()

        async def loses(update: Update, context: Any) -> None:
            count(update, context)
            database.leases.update_one({"_id": f"user:{USER}"}, {"$set": {"holder": "another:1"}})
            await context.application.current_turn.lost.wait()

        with pytest.raises(LeaseError):
            await bot.delivers(update, loses)
        database.leases.delete_many({})
        await bot.delivers(update, count)

        assert counted(database) == 1


@pytest.mark.parametrize("options", [{"exclusive": False}, {}, {"exclusive": "chat", "once": "transaction"}])
async def test_updates_count_once_beside_a_value_that_the_server_refuses(any_worker, database, options):
    bot = any_worker(**{"consistency": "strict", **options})
    async with running(bot):
        await bot.delivers(text(), count)
        database.command({"collMod": "user_data", "validator": {"data.email": {"$not": {"$type": "int"}}}})
        await bot.delivers(text(), lambda _, context: context.user_data.update(email=1))  # would be refused again
        assert "error 121" in str(bot.errors)

        for _ in range(12):
            await bot.delivers(text(), count)

        assert database.user_data.find_one(USER)["data"] == {"n": 13}
        await bot.delivers(text(), lambda _, context: context.user_data.update(email="ada"))
        assert database.user_data.find_one(USER)["data"] == {"n": 13, "email": "ada"}


async def test_what_is_done_is_forgotten_after_a_day(any_worker, database):
    async with running(any_worker()):
        index = database.updates.index_information()["at_1"]

    assert index["expireAfterSeconds"] == dtm.timedelta(days=1).total_seconds()


async def test_nothing_is_remembered_where_nobody_wants_it(any_worker, database):
    bot = any_worker(once=False)
    async with running(bot):
        update = text()
        for _ in range(2):
            await bot.delivers(update, count)

        assert counted(database) == 2
    assert "updates" not in database.list_collection_names()


@pytest.mark.parametrize("options", [{}, {"exclusive": "chat", "once": "transaction"}])
async def test_what_strangers_have_planted_among_the_updates_stops_nobody(any_worker, database, options):
    bot = any_worker(**options)
    async with running(bot):
        now = dtm.datetime.now(dtm.timezone.utc)
        no_marks: list[dict[str, Any]] = [{}, {"at": None}, {"at": ["x"] * 1000}, {"at": [now]}, {"at": {"a": now}}]
        planted = [text() for _ in no_marks]
        for update, fields in zip(planted, no_marks, strict=True):
            database.updates.insert_one({"_id": float(update.update_id), **fields})
        database.updates.insert_many([{"_id": "7"}, {"_id": {"a": 1}, "at": now}])

        for update in [*planted, *planted]:
            await bot.delivers(update, count)

        assert counted(database) == len(planted)
        marked = text()
        database.updates.insert_one({"_id": marked.update_id, "at": now})
        await bot.delivers(marked, count)  # whoever may write there may say that it is done
        assert counted(database) == len(planted)


# -- jobs ------------------------------------------------------------------------------------------------


@pytest.fixture
async def with_jobs(mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Callable[..., Any]]:
    """Makes workers with a job queue, which run."""
    bots: list[SharedBot] = []

    async def make(handlers: Any = (), uri: str = mongodb_server_uri, **options: Any) -> SharedBot:
        persistence: Any = MongoPersistence(uri, mongodb_database, update_interval=3600, shutdown_timeout=4)
        bot = SharedBot(persistence, handlers, job_queue=JobQueue(), **options)
        await bot.application.initialize()
        await bot.application.start()
        bots.append(bot)
        return bot

    yield make
    for bot in bots:
        await bot.application.stop()
        await bot.application.shutdown()


@pytest.mark.parametrize("options", [{"exclusive": True}, {"consistency": "strict"}])
async def test_what_a_job_changes_is_saved_when_it_is_over_and_undoes_nothing(with_jobs, database, options):
    one, two = await with_jobs(**options), await with_jobs(**options)
    await one.delivers(text(), count)
    for _ in range(3):
        await two.delivers(text(), count)
    done = asyncio.Event()

    async def job(context: Any) -> None:
        count(None, context)
        done.set()

    one.application.job_queue.run_once(job, 0, user_id=USER, chat_id=USER)
    await done.wait()
    await until(lambda: counted(database) == 5)

    await two.delivers(text(), count)
    await one.application.update_persistence()
    assert counted(database) == 6


async def test_jobs_and_updates_of_a_user_go_one_after_the_other(with_jobs, database):
    one, two = await with_jobs(exclusive=True), await with_jobs(exclusive=True)

    async def job(context: Any) -> None:
        before = context.user_data.get("n", 0)
        await asyncio.sleep(0.01)
        context.user_data["n"] = before + 1

    async def slowly(_: Update, context: Any) -> None:
        await job(context)

    for bot in (one, two):
        for _ in range(3):
            bot.application.job_queue.run_once(job, 0, user_id=USER)
    await asyncio.gather(*(bot.delivers(text(), slowly) for bot in (one, two) for _ in range(3)))

    await until(lambda: counted(database) == 12)


async def test_a_job_that_comes_due_in_the_handler_that_has_added_it_waits_for_it(with_jobs, database):
    one, two = await with_jobs(exclusive=True, lease_timeout=0.6), await with_jobs(exclusive=True)
    done = asyncio.Event()

    async def job(context: Any) -> None:
        before = context.user_data["n"]
        await asyncio.sleep(0.1)
        context.user_data["n"] = before + 1
        done.set()

    async def act(update: Update, context: Any) -> None:
        context.job_queue.run_once(job, 0, user_id=USER)
        await asyncio.sleep(1)  # for longer than a turn inside this one would wait
        assert not done.is_set()
        count(update, context)

    await one.delivers(text(), act)
    await two.delivers(text(), count)
    await until(done.is_set)

    await until(lambda: counted(database) == 3)
    assert not one.errors


async def test_a_job_that_fails_tells_the_error_handlers_and_what_it_had_changed_is_saved(with_jobs, database):
    bot = await with_jobs(exclusive=True)

    async def job(context: Any) -> None:
        count(None, context)
        raise ZeroDivisionError

    bot.application.job_queue.run_once(job, 0, user_id=USER)

    await until(lambda: [type(error) for error in bot.errors] == [ZeroDivisionError])
    assert counted(database) == 1


async def test_a_job_of_nobody_runs_as_ever(with_jobs, database):
    bot = await with_jobs(exclusive=True)
    ran = asyncio.Event()

    async def job(context: Any) -> None:
        assert context.application.current_turn is None
        ran.set()

    bot.application.job_queue.run_once(job, 0)
    await ran.wait()


async def test_a_job_of_nobody_is_no_part_of_the_handler_that_has_added_it(with_jobs, database):
    bot = await with_jobs(exclusive=True, lease_timeout=0.6)
    ran, turns = asyncio.Event(), []

    async def job(context: Any) -> None:
        turns.append(context.application.current_turn)
        ran.set()
        async with context.application.turn(user_id=USER):
            count(None, Context(context.application.user_data[USER]))

    async def act(update: Update, context: Any) -> None:
        context.job_queue.run_once(job, 0)
        await ran.wait()
        await asyncio.sleep(0.8)  # for longer than a turn inside this one would wait for its lease
        count(update, context)

    await bot.delivers(text(), act)
    await until(lambda: counted(database) == 2)
    assert turns == [None]
    assert bot.errors == []


class Context:
    """As much of one as `count` needs."""

    def __init__(self, user_data: Any) -> None:
        self.user_data = user_data


async def test_a_timeout_that_falls_into_an_outage_ends_its_conversation_after_it(
    with_jobs, traffic, database, monkeypatch, caplog
):
    monkeypatch.setattr("ptb_mongo.workers.timeouts._AGAIN", 0.1)
    ended: list[object] = []

    def conversation() -> ConversationHandler[Any]:
        async def start(_: Update, __: Any) -> int:
            return 1

        async def timeout(_: Update, context: Any) -> None:
            ended.append(context)

        at_timeout = {ConversationHandler.TIMEOUT: [TypeHandler(Update, timeout)]}
        return ConversationHandler(
            [MessageHandler(filters.ALL, start)],
            {1: [], **at_timeout},
            [],
            name="order",
            persistent=True,
            conversation_timeout=0.3,
        )

    bot = await with_jobs([conversation()], traffic.uri, exclusive=True)
    await bot.delivers(text("start"))
    assert database.conversations.find_one()["state"] == 1
    await traffic.does("refuse", "cut")
    await until(lambda: "be tried again" in caplog.text)
    await traffic.does("forward")

    await until(lambda: database.conversations.find_one({"state": {"$exists": True}}) is None)

    assert len(ended) == 1


# -- leases ----------------------------------------------------------------------------------------------


async def test_a_waiter_that_was_killed_does_not_keep_the_lease_for_a_period_of_its_own(any_worker, database):
    bot = any_worker(lease_timeout=2)
    async with running(bot):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def waits(_: Update, __: Any) -> None:
            begun.set()
            await go_on.wait()

        first = asyncio.create_task(bot.delivers(text(), waits))
        await begun.wait()
        soon = database.command("hello")["localTime"] + dtm.timedelta(milliseconds=700)
        database.leases.update_one(
            {"_id": f"user:{USER}"}, {"$push": {"waiting": {"update_id": 0, "ticket": "killed:1", "until": soon}}}
        )
        go_on.set()
        await first
        await until(lambda: (database.leases.find_one() or {}).get("holder") == "killed:1")
        began = asyncio.get_running_loop().time()

        await bot.delivers(text(), count)

        assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_lease_that_was_lost_is_named_in_the_log_and_in_the_error(any_worker, database, caplog):
    bot = any_worker(lease_timeout=0.6)
    async with running(bot):

        async def loses(_: Update, context: Any) -> None:
            database.leases.update_one({"_id": f"user:{USER}"}, {"$set": {"holder": "another:1"}})
            await context.application.current_turn.lost.wait()

        with pytest.raises(LeaseError, match=f"'user:{USER}' was lost"):
            await bot.delivers(text(), loses)

        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert any(f"'user:{USER}' was lost" in record.getMessage() for record in errors)


# -- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_conversations_that_are_over_do_not_stay_in_memory(any_worker, monkeypatch, loading):
    monkeypatch.setattr("ptb_mongo.scopes.conversations._MOST_ENDED", 20)

    def conversation() -> ConversationHandler[Any]:
        async def start(_: Update, __: Any) -> int:
            return 1

        async def end(_: Update, __: Any) -> int:
            return ConversationHandler.END

        return ConversationHandler(
            [MessageHandler(filters.Regex("start"), start)],
            {1: [MessageHandler(filters.Regex("end"), end)]},
            [],
            name="order",
            persistent=True,
        )

    bot = any_worker([conversation()], loading=loading, exclusive=False, consistency="strict")
    async with running(bot):
        for user in range(1, 61):
            await bot.delivers(text("hello", user=user))
        for user in range(1, 6):
            await bot.delivers(text("start", user=user))

        replicas = bot.persistence.session.scopes.conversations.replicas
        assert len(replicas) <= 25
        for user in range(1, 6):
            assert replicas["order", (user, user)].base is not None
            await bot.delivers(text("end", user=user))
        assert not bot.errors
