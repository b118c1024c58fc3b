"""Conversations continue in whichever worker gets the next update."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bots import until
from ptb_private import conversation_state
from telegram import Update
from telegram.ext import CallbackQueryHandler, ConversationHandler, MessageHandler, filters
from workers import USER, SharedBot, click, running, text

from ptb_mongo import MongoPersistence, UnsavedDataError
from ptb_mongo.driver import Driver
from ptb_mongo.replica.collection import Collection

END = ConversationHandler.END
KEY = (USER, USER)


@pytest.fixture
def workers(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., list[SharedBot]]:
    def make(
        handler: Callable[[], Any], number: int = 2, consistency: str = "strict", loading: str = "eager"
    ) -> list[SharedBot]:
        return [
            SharedBot(mongo_persistence(loading=loading), [handler()], consistency=consistency) for _ in range(number)
        ]

    return make


def says(pattern: str, result: Any, *, block: bool = True) -> MessageHandler[Any, Any]:
    async def callback(update: Update, _: Any) -> Any:
        return result

    return MessageHandler(filters.Regex(f"^{pattern}$"), callback, block=block)


def steps(**options: Any) -> ConversationHandler[Any]:
    """start -> 1 -> 2 -> ... -> 9; "stop" ends it."""
    return ConversationHandler(
        [says("start", 1)],
        {number: [says("next", number + 1 if number < 9 else END)] for number in range(1, 10)},
        [says("stop", END)],
        name="steps",
        persistent=True,
        **options,
    )


def state(bot: SharedBot, key: tuple[int | str, ...] = KEY) -> object:
    (handler,) = bot.application.handlers[0]
    return conversation_state(handler, key)


MODES = [("stream", "eager"), ("stream", "lazy"), ("strict", "eager"), ("strict", "lazy")]


async def told(bot: SharedBot, name: str = "steps", key: tuple[int | str, ...] = KEY) -> None:
    """Waits until the change stream has told a worker of a conversation."""
    scope = bot.persistence.session.scopes.conversations
    await until(lambda: scope.outdated(name, key, read=False) is not None)


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_each_step_may_be_taken_by_another_worker(workers, database, loading):
    bots = workers(steps, number=3, loading=loading)
    async with running(*bots):
        await bots[0].takes(text("start"))
        for number in range(1, 9):
            bot = bots[number % 3]
            await bot.takes(text("next"))
            assert state(bot) == number + 1
            assert database.conversations.find_one()["state"] == number + 1


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_with_stream_a_step_is_seen_as_soon_as_the_stream_tells(workers, loading):
    one, two = workers(steps, consistency="stream", loading=loading)
    async with running(one, two):
        await two.takes(text("nothing"))
        await one.takes(text("start"))
        await told(two)

        await two.takes(text("next"))

        assert state(two) == 2


@pytest.mark.parametrize(("consistency", "loading"), MODES)
async def test_a_conversation_that_ended_in_another_worker_is_over_here(workers, database, consistency, loading):
    one, two = workers(steps, consistency=consistency, loading=loading)
    async with running(one, two):
        await one.takes(text("start"))
        await told(two) if consistency == "stream" else None
        await two.takes(text("next"))
        await told(one) if consistency == "stream" else None
        await one.takes(text("stop"))
        await told(two) if consistency == "stream" else None

        await two.takes(text("next"))

        assert state(two) is None
        assert database.conversations.count_documents({"buried": None}) == 0


async def test_an_ended_conversation_can_be_started_again_in_another_worker(workers, database):
    one, two = workers(steps)
    async with running(one, two):
        for _ in range(3):
            await one.takes(text("start"))
            await two.takes(text("next"))
            await one.takes(text("stop"))
            await two.takes(text("start"))
            await one.takes(text("next"))
            await two.takes(text("stop"))
        await one.takes(text("start"))

        document = database.conversations.find_one()
        assert (document["handler"], document["key"], document["state"]) == ("steps", [USER, USER], 1)


@pytest.mark.parametrize("consistency", ["stream", "strict"])
async def test_what_a_worker_saw_just_before_it_was_deleted_does_not_undo_a_new_beginning_in_another(
    workers, database, monkeypatch, consistency
):
    document_id = {"handler": "steps", "key": [USER, USER]}
    database.conversations.insert_one({"_id": document_id, **document_id, "state": None, "rev": "other:1"})
    monkeypatch.setattr("ptb_mongo.replica.collection.Collection.told", lambda *_, **__: None)
    one, two = workers(steps, consistency=consistency)
    async with running(one):
        database.conversations.delete_one({"_id": document_id})
        async with running(two):
            await two.takes(text("start"))

            await one.takes(text("something else"))

            assert database.conversations.find_one()["state"] == 1


async def test_a_conversation_that_a_killed_worker_was_about_to_delete_is_over_and_can_be_started_again(
    workers, database
):
    document_id = {"handler": "steps", "key": [USER, USER]}
    database.conversations.insert_one({"_id": document_id, **document_id, "state": None, "rev": "other:1"})
    (bot,) = workers(steps, 1)
    async with running(bot):
        await bot.takes(text("next"))
        assert state(bot) is None

        await bot.takes(text("start"))

        assert database.conversations.find_one()["state"] == 1
        await bot.takes(text("stop"))
        assert database.conversations.find_one({"buried": None}) is None


def deletion_to_be_told(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """It is set when a worker is told of a deletion."""
    told, was_told = Collection.told, asyncio.Event()

    def noted(self: Any, document_id: Any, *, deleted: bool = False) -> None:
        told(self, document_id, deleted=deleted)
        if deleted:
            was_told.set()

    monkeypatch.setattr(Collection, "told", noted)
    return was_told


async def test_a_deletion_that_is_told_before_an_older_read_is_answered_is_not_forgotten(
    workers, database, monkeypatch
):
    document_id = {"handler": "steps", "key": [USER, USER]}
    stored = {"_id": document_id, **document_id, "state": 2, "rev": "other:1"}
    read = Driver.raw_documents

    async def overtaken(self: Driver, wanted: Any, **options: Any) -> list[list[bytes]]:
        found = await read(self, wanted, **options)
        if any(one.collection == "conversations" and raws for one, raws in zip(wanted, found, strict=True)):
            monkeypatch.undo()
            told_of_deletion = deletion_to_be_told(monkeypatch)
            database.conversations.delete_one({"_id": document_id})
            await told_of_deletion.wait()
        return found

    monkeypatch.setattr(Driver, "raw_documents", overtaken)
    (bot,) = workers(steps, 1, "stream")
    async with running(bot):
        database.conversations.insert_one(stored)
        await told(bot)

        await bot.takes(text("something else"))

        assert state(bot) is None


async def test_a_state_that_ptb_noted_before_an_update_does_not_undo_it(workers, database):
    (bot,) = workers(steps, number=1)
    async with running(bot):
        await bot.takes(text("start"))
        await bot.takes(text("next"))

        await bot.persistence.update_conversation("steps", KEY, 1)

        assert database.conversations.find_one()["state"] == 2


def nested() -> ConversationHandler[Any]:
    inner = ConversationHandler(
        [says("inside", "A")],
        {"A": [says("next", "B")], "B": [says("out", "OUT"), says("over", "OVER")]},
        [],
        name="inner",
        persistent=True,
        map_to_parent={"OUT": "UP", "OVER": END},
    )
    return ConversationHandler(
        [says("start", "IN")], {"IN": [inner], "UP": [inner, says("stop", END)]}, [], name="outer", persistent=True
    )


async def test_a_nested_conversation_goes_on_in_another_worker_and_leads_back_to_its_parent(workers, database):
    one, two = workers(nested)
    async with running(one, two):
        await one.takes(text("start"))
        await two.takes(text("inside"))
        await one.takes(text("next"))
        await two.takes(text("out"))
        assert {
            document["handler"]: document["state"] for document in database.conversations.find({"buried": None})
        } == {"outer": "UP"}
        await one.takes(text("inside"))
        await two.takes(text("next"))
        await one.takes(text("over"))

        await two.takes(text("start"))

        assert {
            document["handler"]: document["state"] for document in database.conversations.find({"buried": None})
        } == {"outer": "IN"}
        assert state(two) == "IN"


# -- a worker that is killed while it saves ----------------------------------------------------------------


class Stopped:
    """Stops a worker just before it sends something: what a worker that is killed has sent until then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, collection: str) -> None:
        self.there = asyncio.Event()
        self._go_on = asyncio.Event()
        send = getattr(Driver, method)

        async def stopped(driver: Driver, target: str, operations: Any) -> Any:
            if target == collection:
                self.there.set()
                await self._go_on.wait()
            return await send(driver, target, operations)

        monkeypatch.setattr(Driver, method, stopped)

    async def go_on(self, task: asyncio.Task[None]) -> None:
        self._go_on.set()
        await task


@pytest.mark.parametrize(("stopped_at", "stored"), [("user_data", (None, None)), ("conversations", ({"a": 1}, None))])
async def test_a_state_is_stored_when_all_else_is(workers, database, monkeypatch, stopped_at, stored):
    (bot,) = workers(steps, 1)
    async with running(bot):
        killed = Stopped(monkeypatch, "write", stopped_at)
        update = text("start")
        task = asyncio.create_task(bot.takes(update, lambda _, context: context.user_data.update(a=1)))
        await killed.there.wait()

        user, conversation = database.user_data.find_one(USER), database.conversations.find_one()

        assert (user and user["data"], conversation and conversation["state"]) == stored
        await killed.go_on(task)
        assert database.conversations.find_one()["state"] == 1


async def test_states_of_conversations_inside_each_other_change_together(workers, database, monkeypatch):
    (bot,) = workers(nested, 1)
    async with running(bot):
        for words in ("start", "inside", "next"):
            await bot.takes(text(words))
        commands: list[str] = []
        send = Driver._send

        async def noted(self: Driver, command: str, collection: str, *rest: Any) -> Any:
            commands.extend([command] if collection == "conversations" else [])
            return await send(self, command, collection, *rest)

        monkeypatch.setattr(Driver, "_send", noted)
        await bot.takes(text("out"))

        states = {one["handler"]: one["state"] for one in database.conversations.find({"buried": None})}
        assert states == {"outer": "UP"}
        assert commands == ["update"]


def by_message() -> ConversationHandler[Any]:
    def pressed(pattern: str, result: Any) -> CallbackQueryHandler[Any, Any]:
        async def callback(update: Update, _: Any) -> Any:
            return result

        return CallbackQueryHandler(callback, pattern)

    return ConversationHandler(
        [pressed("a", 1)],
        {1: [pressed("b", 2)], 2: [pressed("c", END)]},
        [],
        per_message=True,
        name="m",
        persistent=True,
    )


async def test_conversations_of_single_messages_go_on_in_another_worker(workers, database):
    one, two = workers(by_message)
    async with running(one, two):
        await one.takes(click("a", number=7))
        await one.takes(click("a", number=8))
        await two.takes(click("b", number=7))

        stored = {
            tuple(document["key"]): document["state"] for document in database.conversations.find({"buried": None})
        }
        assert stored == {(USER, USER, 7): 2, (USER, USER, 8): 1}
        assert state(two, (USER, USER, 7)) == 2


async def test_a_handler_that_is_used_in_two_places_has_one_state(workers, database):
    one, two = workers(nested)
    async with running(one, two):
        await one.takes(text("start"))
        await one.takes(text("inside"))

        assert len(two.application._worker.conversations.of(text())) == 2


async def test_a_state_that_cannot_be_stored_is_reported_once(workers):
    def conversation() -> ConversationHandler[Any]:
        class Odd:
            pass

        odd = Odd()
        return ConversationHandler([says("start", odd)], {odd: []}, [], name="odd", persistent=True)

    (bot,) = workers(conversation, number=1)
    await bot.application.initialize()
    await bot.takes(text("start"))
    await bot.takes(text("x"))

    with pytest.raises(UnsavedDataError, match="cannot be stored and are lost: conversations"):
        await bot.application.shutdown()
    assert len(bot.errors) == 1
    assert "top level of a module" in str(bot.errors[0])


# -- timeouts -------------------------------------------------------------------------------------------


def timed() -> ConversationHandler[Any]:
    async def stay(_: Update, __: Any) -> None: ...

    async def say_over(_: Update, context: Any) -> None:
        context.chat_data["over"] = True

    return ConversationHandler(
        [says("start", 1)],
        {
            1: [MessageHandler(filters.Regex("^stay$"), stay)],
            ConversationHandler.TIMEOUT: [MessageHandler(filters.ALL, say_over)],
        },
        [],
        conversation_timeout=3600,
        name="timed",
        persistent=True,
    )


async def test_an_update_in_another_worker_ends_the_timeout_here(workers):
    one, two = workers(timed)
    async with running(one, two):
        for bot in (one, two):
            await bot.application.job_queue.start()
        handler_one, handler_two = one.application.handlers[0][0], two.application.handlers[0][0]
        await one.takes(text("start"))
        assert KEY in handler_one.timeout_jobs

        await two.takes(text("stay"))

        await until(lambda: KEY not in handler_one.timeout_jobs)
        assert KEY in handler_two.timeout_jobs
        assert not one.application.job_queue.jobs()
        for bot in (one, two):
            await bot.application.job_queue.stop()


async def test_an_update_here_keeps_the_timeout_here(workers):
    one, two = workers(timed)
    async with running(one, two):
        await one.application.job_queue.start()
        handler = one.application.handlers[0][0]
        for _ in range(10):
            await one.takes(text("start"))
            await one.takes(text("stay"))
        await two.takes(text("nothing of it"))
        await one.takes(text("nothing of it"))

        assert KEY in handler.timeout_jobs
        await one.application.job_queue.stop()


async def test_an_update_that_changes_no_state_does_not_bring_back_a_conversation_that_has_ended_meanwhile(
    workers, database
):
    (bot,) = workers(steps, number=1)
    async with running(bot):
        await bot.takes(text("start"))
        scope = bot.persistence.session.scopes.conversations
        replica = scope.of("steps", KEY)
        database.conversations.delete_many({})
        replica.told()

        exchange = bot.persistence.session.exchange
        await exchange.outcome(exchange.offer(scope, scope.touch(replica)))

        assert database.conversations.count_documents({"buried": None}) == 0
        assert state(bot) is None


@pytest.mark.parametrize("consistency", ["stream", "strict"])
async def test_a_conversation_whose_time_is_over_is_over_in_all_workers(workers, database, consistency):
    one, two = workers(timed, consistency=consistency)
    async with running(one, two):
        await one.application.job_queue.start()
        await one.takes(text("start"))
        await one.takes(text("stay"))
        (job,) = one.application.handlers[0][0].timeout_jobs.values()

        await job.run(one.application)

        assert state(one) is None
        assert database.conversations.count_documents({"buried": None}) == 0
        assert database.chat_data.find_one()["data"] == {"over": True}
        await one.application.job_queue.stop()


async def test_the_handlers_of_a_timeout_run_in_its_turn(workers, database):
    turns = []

    async def over(_, context):
        turns.append(context.application.current_turn)
        context.bot_data["over"] = True

    def timed_by_hand():
        states = {1: [], ConversationHandler.TIMEOUT: [MessageHandler(filters.ALL, over)]}
        return ConversationHandler(
            [says("start", 1)], states, [], name="timed", persistent=True, conversation_timeout=3600
        )

    (bot,) = workers(timed_by_hand, number=1)
    async with running(bot):
        await bot.application.job_queue.start()
        await bot.takes(text("start"))
        (job,) = bot.application.handlers[0][0].timeout_jobs.values()

        await job.run(bot.application)

        assert [turn is not None and turn.user_ids for turn in turns] == [{USER}]
        assert database.bot_data.find_one()["data"] == {"over": True}
        await bot.application.job_queue.stop()


async def test_a_timeout_is_void_if_another_worker_has_gone_on_though_the_stream_has_not_told(
    workers, database, monkeypatch
):
    monkeypatch.setattr("ptb_mongo.replica.collection.Collection.told", lambda *_, **__: None)
    one, two = workers(timed)
    async with running(one, two):
        for bot in (one, two):
            await bot.application.job_queue.start()
        await one.takes(text("start"))
        (job,) = one.application.handlers[0][0].timeout_jobs.values()
        await two.takes(text("stay"))

        await job.run(one.application)

        assert state(one) == 1
        assert database.conversations.find_one()["state"] == 1
        assert database.chat_data.find_one() is None
        for bot in (one, two):
            await bot.application.job_queue.stop()


async def test_a_handler_that_is_not_persistent_is_named(workers, caplog):
    def conversation() -> ConversationHandler[Any]:
        return ConversationHandler([says("start", 1)], {1: []}, [], name="forgotten")

    (bot,) = workers(conversation, number=1)
    async with running(bot):
        assert "forgotten" in caplog.text


async def test_a_conversation_is_known_by_one_replica_while_it_is_read(workers):
    (bot,) = workers(steps, number=1)
    async with running(bot):
        scope = bot.persistence.session.scopes.conversations
        read = scope.outdated("steps", KEY, read=True)

        scope.stage("steps", KEY, None)  # PTB's own pass, which finds that it has ended here

        assert scope.of("steps", KEY) is read
