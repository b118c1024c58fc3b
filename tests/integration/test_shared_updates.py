"""Side effects of an update are saved before it is over; what a webhook answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bots import until
from telegram import Update
from telegram.ext import ConversationHandler, MessageHandler, TypeHandler, filters
from workers import USER, SharedBot, running, text

from ptb_mongo import ConfigurationError, EncodeError, SharedApplication

OTHER = 7
GROUP = -100


# -- dropping, moving, marking ---------------------------------------------------------------------------


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_what_an_update_drops_is_gone_when_it_is_over_and_in_other_workers_too(worker, database, loading):
    one, two = worker(loading=loading), worker(loading=loading)
    async with running(one, two):
        await one.hears(lambda context: context.user_data.update(a=1))
        await two.hears()

        await two.hears(lambda context: context.application.drop_user_data(USER))

        assert database.user_data.find_one({"_id": USER, "buried": None}) is None
        assert await one.hears() == {}


async def test_what_a_handler_stores_after_a_drop_is_all_that_is_left(worker, database):
    bot = worker()
    async with running(bot):
        await bot.hears(lambda context: context.user_data.update(a=1, b=2))

        def anew(context: Any) -> None:
            context.application.drop_user_data(USER)
            context.user_data["c"] = 3

        await bot.hears(anew)

        assert database.user_data.find_one(USER)["data"] == {"c": 3}
        await bot.hears(lambda context: context.application.drop_user_data(USER))
        assert database.user_data.find_one({"_id": USER, "buried": None}) is None


async def test_the_data_of_a_chat_that_migrates_is_moved_when_the_update_is_over(worker, database):
    one, two = worker(), worker()
    async with running(one, two):
        await one.hears(lambda context: context.chat_data.update(topic="tea"), chat=GROUP)
        await two.hears(chat=GROUP)

        await two.hears(
            lambda context: context.application.migrate_chat_data(old_chat_id=GROUP, new_chat_id=OTHER), chat=GROUP
        )

        assert database.chat_data.find_one({"_id": GROUP, "buried": None}) is None
        assert database.chat_data.find_one(OTHER)["data"] == {"topic": "tea"}
        await one.hears(lambda context: context.chat_data.update(topic="coffee"), chat=OTHER)
        assert database.chat_data.find_one(OTHER)["data"] == {"topic": "coffee"}


async def test_a_chat_that_migrates_is_waited_for_although_ptbs_own_pass_has_given_up(worker, database, monkeypatch):
    async def gives_up(_: Any) -> None:
        return

    bot = worker()
    async with running(bot):
        await bot.hears(lambda context: context.chat_data.update(topic="tea"), chat=GROUP)

        with monkeypatch.context() as patched:
            patched.setattr(SharedApplication, "update_persistence", gives_up)
            moved = text("moved", chat=GROUP)
            await bot.delivers(
                moved, lambda _, context: context.application.migrate_chat_data(old_chat_id=GROUP, new_chat_id=OTHER)
            )
            assert database.chat_data.find_one(OTHER)["data"] == {"topic": "tea"}


async def test_what_is_marked_is_saved_when_the_update_is_over(worker, database):
    bot = worker()
    async with running(bot):

        def act(context: Any) -> None:
            context.application.user_data[OTHER]["gift"] = 1
            context.application.mark_data_for_update_persistence(user_ids=OTHER, chat_ids=[GROUP])
            context.application.chat_data[GROUP]["gift"] = 2

        await bot.hears(act)

        assert database.user_data.find_one(OTHER)["data"] == {"gift": 1}
        assert database.chat_data.find_one(GROUP)["data"] == {"gift": 2}


async def test_a_copy_that_ptb_made_before_an_update_does_not_undo_it(worker, database):
    bot = worker()
    async with running(bot):
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.hears(lambda context: context.user_data.update(n=2))

        await bot.persistence.update_user_data(USER, {"n": 1})

        assert database.user_data.find_one(USER)["data"] == {"n": 2}


# -- handlers that do not block --------------------------------------------------------------------------


@pytest.fixture
async def started(worker: Callable[..., SharedBot]) -> Any:
    """Starts workers, as non-blocking handlers want it, and stops them."""
    bots: list[SharedBot] = []

    async def start(*handlers: Any) -> SharedBot:
        bot = worker(handlers=handlers)
        await bot.application.initialize()
        await bot.application.start()
        bots.append(bot)
        return bot

    yield start
    for bot in bots:
        await bot.application.stop()
        await bot.application.shutdown()


async def test_what_a_non_blocking_handler_changes_is_saved_when_it_is_over(started, database):
    go_on = asyncio.Event()

    async def slow(_: Update, context: Any) -> None:
        await go_on.wait()
        context.user_data["slow"] = True

    bot = await started(TypeHandler(Update, slow, block=False))
    await bot.hears()
    assert database.user_data.find_one({"_id": USER, "buried": None}) is None

    go_on.set()

    await until(lambda: database.user_data.find_one(USER) is not None)
    assert database.user_data.find_one(USER)["data"] == {"slow": True}


async def test_a_step_of_a_conversation_that_does_not_block_is_seen_in_another_worker(started, database):
    go_on = asyncio.Event()

    def conversation() -> ConversationHandler[Any]:
        async def slow(_: Update, __: Any) -> int:
            await go_on.wait()
            return 1

        async def quick(_: Update, __: Any) -> int:
            return 2

        return ConversationHandler(
            [MessageHandler(filters.Regex("start"), slow, block=False)],
            {1: [MessageHandler(filters.Regex("next"), quick)], 2: [MessageHandler(filters.Regex("next"), slow)]},
            [],
            name="slow",
            persistent=True,
        )

    one, two = await started(conversation()), await started(conversation())
    await one.takes(text("start"))
    await one.takes(text("next"))  # not yet
    assert database.conversations.find_one() is None
    go_on.set()
    await until(lambda: database.conversations.find_one() is not None)

    await two.takes(text("next"))
    assert database.conversations.find_one()["state"] == 2
    await one.takes(text("next"))

    assert database.conversations.find_one()["state"] == 1


# -- errors ----------------------------------------------------------------------------------------------


async def test_data_that_cannot_be_stored_is_reported_once_and_all_else_is_saved(worker, database):
    bot = worker()
    async with running(bot):

        def act(context: Any) -> None:
            context.user_data["odd"] = lambda: None
            context.chat_data["topic"] = "tea"

        await bot.hears(act)
        await bot.hears()

        assert [type(error) for error in bot.errors] == [EncodeError]
        assert database.chat_data.find_one(USER)["data"] == {"topic": "tea"}
        bot.application.user_data[USER].clear()


async def test_an_error_in_a_handler_is_not_raised_to_the_webhook_and_what_was_changed_is_saved(worker, database):
    bot = worker()
    async with running(bot):

        def act(_: Update, context: Any) -> None:
            context.user_data["a"] = 1
            raise ZeroDivisionError

        await bot.delivers(text(), act)

        assert [type(error) for error in bot.errors] == [ZeroDivisionError]
        assert database.user_data.find_one(USER)["data"] == {"a": 1}


async def test_an_update_to_an_application_that_is_not_initialized_is_refused_as_ptb_does_it(worker):
    bot = worker()

    with pytest.raises(RuntimeError, match="not initialized"):
        await bot.delivers(text())


def test_a_shared_application_needs_a_mongo_persistence():
    from telegram.ext import Application, PicklePersistence

    from ptb_mongo import SharedApplication

    builder = Application.builder().token("1:a").updater(None).application_class(SharedApplication)
    with pytest.raises(ConfigurationError, match="MongoPersistence"):
        builder.persistence(PicklePersistence("x")).build()


@pytest.mark.parametrize(
    ("options", "settings"),
    [({"consistency": "sometimes"}, {}), ({}, {"refresh": "off"}), ({}, {"on_flush": True})],
)
def test_what_cannot_be_had_is_refused_at_once(mongo_persistence, options, settings):
    with pytest.raises(ConfigurationError):
        SharedBot(mongo_persistence(**settings), **options)
