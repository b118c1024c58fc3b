"""What runs outside of an update, or outlives it, meets another update that is half done, and comes again.

The kind: whatever has PTB or the persistence save while a turn has the same document in hand, with the context of a
turn that has ended, of one that goes on, or of none: tasks that a handler has left behind, handlers with `block=False`,
jobs, other turns, error handlers of a save pass, a program between two updates. None of them may store what is half
done, or it counts twice; what they have changed themselves is kept; and nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from bots import turns, until
from deep import IS_DEEP
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import ConversationHandler, InvalidCallbackData, MessageHandler, TypeHandler, filters
from workers import USER, CountsAndWaits, SharedBot, click, count, message, running, text

from ptb_mongo import LeaseError, MongoPersistence, PersistenceError

pytestmark = pytest.mark.filterwarnings("ignore:Tasks created via `Application.create_task` while")

OTHER, GROUP = 7, -100
MODES: list[dict[str, Any]] = [{"consistency": "stream"}, {"exclusive": True}]
NAMES = ["stream", "exclusive"]
if IS_DEEP:
    MODES, NAMES = [*MODES, {"consistency": "strict"}], [*NAMES, "strict"]
Saves = Callable[[Any, Any], Awaitable[object]]
each_mode = pytest.mark.parametrize("mode", MODES, ids=NAMES)


def stored(database: Any, key: int = USER, collection: str = "user_data") -> Any:
    return (database[collection].find_one(key) or {}).get("data")


@pytest.fixture
def worker(mongodb_server_uri: str, mongodb_database: str) -> Callable[..., SharedBot]:
    def make(handlers: Any = (), **options: Any) -> SharedBot:
        persistence: Any = MongoPersistence(mongodb_server_uri, mongodb_database)
        return SharedBot(persistence, handlers, **{"lease_timeout": 0.6, **options})

    return make


@contextlib.contextmanager
def fails() -> Iterator[None]:
    """An update that is cancelled, as by a web server whose client has gone."""
    with pytest.raises(asyncio.CancelledError):
        yield


# -- who saves ---------------------------------------------------------------------------------------------


async def a_save_pass(application: Any, _: Any) -> None:
    application.mark_data_for_update_persistence(user_ids=USER, chat_ids=GROUP)
    await application.update_persistence()


async def the_persistence(application: Any, persistence: Any) -> None:
    await persistence.update_user_data(USER, copy.deepcopy(application.user_data[USER]))
    await persistence.update_chat_data(GROUP, copy.deepcopy(application.chat_data[GROUP]))
    await persistence.update_bot_data(copy.deepcopy(application.bot_data))


async def a_flush(_: Any, persistence: Any) -> None:
    await persistence.flush()


async def a_save_pass_after_a_flush(application: Any, persistence: Any) -> None:
    await persistence.flush()
    await a_save_pass(application, persistence)


async def a_turn_that_drops_somebody(application: Any, _: Any) -> None:
    application.mark_data_for_update_persistence(user_ids=USER, chat_ids=GROUP)
    async with application.turn(user_id=OTHER):
        application.drop_user_data(OTHER)


async def an_update_of_somebody_else(application: Any, _: Any) -> None:
    await application.process_update(text(user=OTHER))


async def a_turn_that_marks_them(application: Any, _: Any) -> None:
    async with application.turn(user_id=OTHER):
        application.mark_data_for_update_persistence(user_ids=USER, chat_ids=GROUP)


WHO = [
    a_save_pass,
    the_persistence,
    a_flush,
    a_save_pass_after_a_flush,
    a_turn_that_drops_somebody,
    an_update_of_somebody_else,
    a_turn_that_marks_them,
]


class LeftBehind:
    """A task that a handler leaves behind, and which saves when it is told to."""

    def __init__(self, bot: SharedBot, saves: Saves, *, by: str) -> None:
        self._bot = bot
        self._saves = saves
        self._by = by
        self._go_on = asyncio.Event()
        self._task: asyncio.Task[object] | None = None

    async def _later(self) -> None:
        await self._go_on.wait()
        await self._saves(self._bot.application, self._bot.persistence)

    def __call__(self, _: object, context: Any) -> None:
        """What the handler does."""
        make: Any = context.application.create_task if self._by == "PTB" else asyncio.create_task
        self._task = make(self._later())

    async def goes_on(self) -> BaseException | None:
        """Has it save; returns its error."""
        assert self._task is not None
        self._go_on.set()
        await asyncio.wait_for(asyncio.wait({self._task}), 10)
        return self._task.exception()


@pytest.mark.parametrize(("saves", "by"), [(a_save_pass, "PTB"), *((one, "asyncio") for one in WHO)])
@each_mode
async def test_a_task_that_was_left_behind_does_not_store_what_another_update_has_half_done(
    worker, database, mode, saves, by
):
    bot = worker(**mode)
    left = LeftBehind(bot, saves, by=by)
    async with running(bot):
        await bot.delivers(text(chat=GROUP), left)
        errors: list[BaseException | None] = []

        def counts(_: object, context: Any) -> None:
            for data in (context.user_data, context.chat_data, context.bot_data):
                data["n"] = data.get("n", 0) + 1

        async def half_done(update: Update, context: Any) -> None:
            counts(update, context)
            errors.append(await left.goes_on())
            raise asyncio.CancelledError

        again = text(chat=GROUP)
        with fails():
            await bot.delivers(again, half_done)
        await bot.delivers(again, counts)
        await bot.application.update_persistence()

        # Who waits for an update that waits for it is told so, in time.
        assert [type(error) for error in errors] == [LeaseError if saves is a_turn_that_marks_them else type(None)]
        assert (stored(database), stored(database, GROUP, "chat_data")) == ({"n": 1}, {"n": 1})
        assert database.bot_data.find_one()["data"] == {"n": 1}


@pytest.mark.parametrize(
    ("mode", "saves"),
    [*((mode, saves) for mode in MODES for saves in WHO[:-1]), ({"exclusive": True, "once": "transaction"}, a_flush)],
    ids=lambda one: one.__name__ if callable(one) else " ".join(map(str, one.values())),
)
async def test_an_update_during_which_others_save_is_stored_and_is_known_to_be_done(worker, database, mode, saves):
    bot = worker(**mode)
    left = LeftBehind(bot, saves, by="asyncio")
    async with running(bot):
        await bot.delivers(text(), left)

        async def half_done(update: Update, context: Any) -> None:
            count(update, context)
            assert await left.goes_on() is None

        again = text()
        await bot.delivers(again, half_done)
        await bot.delivers(again, count)

        assert not bot.errors
        assert stored(database) == {"n": 1}


async def test_an_update_is_known_to_be_done_right_after_a_flush(worker, database):
    bot = worker()
    async with running(bot):
        again = text()
        await bot.delivers(again, count)
        await bot.persistence.flush()
        await bot.delivers(again, count)

        assert stored(database) == {"n": 1}


@pytest.mark.parametrize("which", ["of an earlier update", "of the same update"])
@each_mode
async def test_a_handler_that_blocks_nothing_does_not_store_what_an_update_has_half_done(worker, database, mode, which):
    begun, go_on, ended = (asyncio.Event() for _ in range(3))

    async def beside(update: Update, _: Any) -> None:
        if update.message.text == "beside":  # type: ignore[union-attr]
            begun.set()
            await go_on.wait()
            asyncio.get_running_loop().call_soon(ended.set)

    bot = worker([TypeHandler(Update, beside, block=False)], **mode)
    async with running(bot):
        if which == "of an earlier update":
            await bot.delivers(text("beside"))

        async def half_done(update: Update, context: Any) -> None:
            count(update, context)
            await begun.wait()
            go_on.set()
            await ended.wait()
            await turns()
            saving = bot.persistence.session.writer  # what it would have begun to write
            await until(lambda: not saving.waiting)
            raise asyncio.CancelledError

        again = text("half done" if which == "of an earlier update" else "beside")
        with fails():
            await bot.delivers(again, half_done)
        assert stored(database) is None
        await bot.delivers(again, count)

        assert stored(database) == {"n": 1}


@each_mode
async def test_a_mark_in_a_turn_waits_for_the_update_that_has_the_same_data_in_hand(worker, database, mode):
    bot = worker(**mode)
    slow = CountsAndWaits()
    async with running(bot):

        async def fails_then(update: Update, context: Any) -> None:
            await slow(update, context)
            raise asyncio.CancelledError

        again = text()
        first = asyncio.create_task(bot.delivers(again, fails_then))
        await slow.begun.wait()

        def gives(_: Update, context: Any) -> None:
            context.application.user_data[USER]["gift"] = 1
            context.application.mark_data_for_update_persistence(user_ids=USER)
            asyncio.get_running_loop().call_later(0.05, slow.go_on.set)

        gift = text(user=OTHER)
        with pytest.raises(LeaseError):  # it is taken back with that update, and both come again
            await bot.delivers(gift, gives)
        with fails():
            await first
        for update, act in ((again, count), (gift, gives)):
            await bot.delivers(update, act)

        assert stored(database) == {"n": 1, "gift": 1}


@pytest.mark.parametrize("exclusive", [False, True])
async def test_two_turns_that_mark_each_others_users_do_not_wait_for_ever(worker, database, exclusive):
    bot = worker(exclusive=exclusive)
    both = [asyncio.Event(), asyncio.Event()]
    async with running(bot):

        def marks(number: int, other: int) -> Any:
            async def act(update: Update, context: Any) -> None:
                count(update, context)
                both[number].set()
                await both[1 - number].wait()
                context.application.mark_data_for_update_persistence(user_ids=other)

            return act

        one, two = text(user=USER), text(user=OTHER)
        deliveries = bot.delivers(one, marks(0, OTHER)), bot.delivers(two, marks(1, USER))
        results = await asyncio.wait_for(asyncio.gather(*deliveries, return_exceptions=True), 10)
        assert LeaseError in map(type, results)
        for update, result in zip((one, two), results, strict=True):
            if result is not None:
                await bot.delivers(update, count)

        assert (stored(database), stored(database, OTHER)) == ({"n": 1}, {"n": 1})


# -- what is half done --------------------------------------------------------------------------------------


@pytest.mark.parametrize("saves", ["update_persistence", "flush"])
@each_mode
async def test_data_that_an_update_has_dropped_stays_if_it_fails(worker, database, mode, saves):
    bot = worker(**mode)
    async with running(bot):
        await bot.delivers(text(), count)

        async def drops(_: Update, context: Any) -> None:
            context.application.drop_user_data(USER)
            context.application.drop_chat_data(USER)
            await asyncio.create_task(
                bot.application.update_persistence() if saves == "update_persistence" else bot.persistence.flush()
            )
            raise asyncio.CancelledError

        again = text()
        with fails():
            await bot.delivers(again, drops)
        await bot.application.update_persistence()
        assert stored(database) == {"n": 1}
        await bot.delivers(again, count)

        assert stored(database) == {"n": 2}


@pytest.mark.parametrize("passes", ["before its end", "after it", "both"])
@each_mode
async def test_data_that_an_update_has_dropped_is_gone_when_that_is_done_and_new_data_stays(
    worker, database, mode, passes
):
    bot = worker(**mode)
    async with running(bot):
        await bot.delivers(text(), count)

        async def drops(_: Update, context: Any) -> None:
            context.application.drop_user_data(USER)
            if passes != "after it":
                await asyncio.create_task(bot.application.update_persistence())

        await bot.delivers(text(), drops)
        assert stored(database) is None
        await bot.delivers(text(), lambda _, context: context.user_data.update(anew=1))
        if passes != "before its end":
            await bot.application.update_persistence()
        assert stored(database) == {"anew": 1}
        bot.application.drop_user_data(USER)  # once more, and by no update
        await bot.application.update_persistence()

        assert stored(database) is None


@each_mode
async def test_a_button_that_an_update_has_dropped_is_there_again_if_it_fails(worker, database, mode):
    bot = worker(**mode)
    async with running(bot):
        shown: list[str] = []

        def shows(_: Update, context: Any) -> None:
            keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("buy", callback_data="bought")]])
            made = context.bot.callback_data_cache.process_keyboard(keyboard)
            shown.append(made.inline_keyboard[0][0].callback_data)

        await bot.delivers(text(), shows)
        found: list[object] = []

        def clicked() -> Update:
            update = click(shown[0], on=message())
            bot.application.bot.insert_callback_data(update)
            return update

        async def drops(update: Update, context: Any) -> None:
            found.append(update.callback_query.data)
            context.drop_callback_data(update.callback_query)
            if len(found) == 1:
                await asyncio.create_task(context.application.update_persistence())
                raise asyncio.CancelledError

        with fails():
            await bot.delivers(clicked(), drops)
        assert database.callback_data.count_documents({"buttons": {"$exists": True}}) == 1
        await bot.delivers(clicked(), drops)
        await bot.application.update_persistence()
        await bot.delivers(clicked(), lambda update, _: found.append(type(update.callback_query.data)))

        assert found == ["bought", "bought", InvalidCallbackData]


@each_mode
async def test_a_state_is_left_to_the_update_that_has_set_it(worker, database, mode):
    async def start(_: Update, __: Any) -> int:
        return 1

    async def end(_: Update, __: Any) -> int:
        return ConversationHandler.END

    entry, exit_ = MessageHandler(filters.Regex("start"), start), MessageHandler(filters.Regex("end"), end)
    bot = worker([ConversationHandler([entry], {1: [exit_]}, [], name="order", persistent=True)], **mode)
    async with running(bot):

        async def saves(_: Update, context: Any) -> None:
            await asyncio.create_task(context.application.update_persistence())
            raise asyncio.CancelledError

        again = text("start")
        with fails():
            await bot.delivers(again, saves)
        assert database.conversations.count_documents({"state": {"$exists": True}}) == 0
        await bot.delivers(again)
        with fails():
            await bot.delivers(text("end"), saves)

        assert database.conversations.count_documents({"state": 1}) == 1


# -- what others have changed -------------------------------------------------------------------------------


@each_mode
async def test_what_was_changed_by_no_update_is_not_taken_back_with_one_that_fails(worker, database, mode):
    bot = worker(**mode)
    async with running(bot):
        await bot.delivers(text(), count)
        bot.application.user_data[USER]["job"] = 1
        bot.application.mark_data_for_update_persistence(user_ids=USER)

        async def half_done(update: Update, context: Any) -> None:
            count(update, context)
            raise asyncio.CancelledError

        with fails():
            await bot.delivers(text(), half_done)
        assert bot.application.user_data[USER] == {"n": 1, "job": 1}

        await until(lambda: stored(database) == {"n": 1, "job": 1})


@each_mode
async def test_what_a_handler_has_changed_that_blocks_nothing_is_not_taken_back_with_another_update(
    worker, database, mode
):
    go_on = asyncio.Event()

    async def beside(update: Update, context: Any) -> None:
        if update.message.text == "beside":  # type: ignore[union-attr]
            await turns()
            context.user_data["beside"] = 1
            await go_on.wait()

    bot = worker([TypeHandler(Update, beside, block=False)], **mode)
    async with running(bot):
        await bot.delivers(text("beside"))
        await until(lambda: bot.application.user_data[USER] == {"beside": 1})

        async def half_done(update: Update, context: Any) -> None:
            count(update, context)
            raise asyncio.CancelledError

        with fails():
            await bot.delivers(text(), half_done)
        go_on.set()

        await until(lambda: stored(database) == {"beside": 1})


@each_mode
async def test_what_a_save_pass_leaves_to_an_update_that_was_done_before_is_saved_all_the_same(worker, database, mode):
    bot = worker(**mode)
    async with running(bot):
        again, saved = text(), asyncio.Event()
        await bot.delivers(again, count)
        bot.application.user_data[USER]["job"] = 1
        keyboards = bot.application._worker.keyboards
        bring_in = keyboards.bring_in

        async def saves(*args: Any, **options: Any) -> None:
            await bring_in(*args, **options)
            bot.application.user_data[USER]["late"] = 1
            bot.application.mark_data_for_update_persistence(user_ids=USER)
            await bot.application.update_persistence()
            saved.set()

        keyboards.bring_in = saves
        await bot.delivers(again, count)

        assert saved.is_set()
        await until(lambda: stored(database) == {"n": 1, "job": 1, "late": 1})


@each_mode
async def test_what_cannot_be_told_from_what_an_update_has_half_done_is_lost_with_it_but_not_in_silence(
    worker, database, mode, caplog
):
    bot = worker(**mode)
    go_on, done = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        await go_on.wait()
        bot.application.user_data[USER]["job"] = 1
        bot.application.mark_data_for_update_persistence(user_ids=USER)
        done.set()

    async with running(bot):
        await bot.delivers(text(), count)
        task = asyncio.create_task(job())

        async def half_done(update: Update, context: Any) -> None:
            count(update, context)
            go_on.set()
            await done.wait()
            raise asyncio.CancelledError

        with fails():
            await bot.delivers(text(), half_done)
        await task

        assert stored(database) == {"n": 1}
        assert [record.levelname for record in caplog.records if f"user_data, _id {USER}" in record.message] == [
            "ERROR"
        ]


# -- who waits for whom -------------------------------------------------------------------------------------


async def test_an_error_handler_of_a_save_pass_may_drop_and_save_and_the_bot_still_stops(worker, database):
    bot = worker(exclusive=True)
    told: list[object] = []

    async def drops_and_saves(_: object, context: Any) -> None:
        told.append(context.error)
        async with context.application.turn(user_id=OTHER):
            context.application.drop_user_data(OTHER)
        context.application.user_data[USER]["told"] = 1
        context.application.mark_data_for_update_persistence(user_ids=USER)
        await context.application.update_persistence()

    async with running(bot):
        bot.application.add_error_handler(drops_and_saves)
        await bot.delivers(text(), count)
        bot.application.user_data[OTHER]["bad"] = lambda: None
        bot.application.mark_data_for_update_persistence(user_ids=OTHER)
        await asyncio.wait_for(bot.application.update_persistence(), 10)

        assert told
        assert stored(database) == {"n": 1, "told": 1}


async def test_an_error_handler_that_wants_the_user_of_an_update_that_waits_for_the_save_is_told_so(worker, database):
    bot = worker(exclusive=True)
    begun = asyncio.Event()
    errors: list[Exception] = []

    async def wants(_: object, context: Any) -> None:
        begun.set()
        try:
            async with context.application.turn(user_id=USER):
                pass
        except PersistenceError as error:
            errors.append(error)

    async with running(bot):
        bot.application.add_error_handler(wants)

        async def waits(update: Update, context: Any) -> None:
            count(update, context)
            first = asyncio.create_task(context.application.update_persistence())
            await begun.wait()
            await context.application.update_persistence()
            await first

        bot.application.user_data[OTHER]["bad"] = lambda: None
        bot.application.mark_data_for_update_persistence(user_ids=OTHER)
        await asyncio.wait_for(bot.delivers(text(), waits), 10)
        bot.application.drop_user_data(OTHER)  # or the stop would name it

        assert stored(database) == {"n": 1}
        assert [type(error) for error in errors] == [LeaseError]
        assert f"user:{USER}" in str(errors[0])


async def test_a_handler_that_waits_for_a_task_that_wants_its_user_does_not_wait_for_ever(worker, database):
    bot = worker(exclusive=True)
    errors: list[BaseException | None] = []

    async def counts_too(application: Any, _: Any) -> None:
        async with application.turn(user_id=USER):
            application.user_data[USER]["n"] += 10

    left = LeftBehind(bot, counts_too, by="asyncio")
    async with running(bot):

        async def waits(update: Update, context: Any) -> None:
            count(update, context)
            left(update, context)
            errors.append(await left.goes_on())

        await bot.delivers(text(), waits)

        assert [type(error) for error in errors] == [LeaseError]
        assert stored(database) == {"n": 1}


async def test_a_program_may_take_turns_after_the_application_has_stopped_and_before_it_shuts_down(worker, database):
    """As in `post_stop`."""
    bot = worker(exclusive=True)
    async with running(bot):
        await bot.application.start()
        left = LeftBehind(bot, a_save_pass, by="PTB")
        await bot.delivers(text(chat=GROUP), left)
        await left.goes_on()
        await bot.application.stop()
        async with bot.application.turn(user_id=USER):
            bot.application.user_data[USER]["stopped"] = 1
            bot.application.drop_chat_data(GROUP)
        await asyncio.wait_for(bot.application.update_persistence(), 10)

        assert stored(database) == {"stopped": 1}
