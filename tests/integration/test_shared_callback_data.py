"""A button that one worker has created works in another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from bots import until
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Message, Update, User
from telegram.ext import CallbackDataCache, InvalidCallbackData
from workers import USER, SharedBot, click, message, running, text

from ptb_mongo import MongoPersistence, UnavailableError

BOT = User(123456, "Offline", is_bot=True)


@pytest.fixture
def worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    def make(consistency: str = "strict", buttons: int | bool = True, **options: Any) -> SharedBot:
        return SharedBot(mongo_persistence(**options), buttons=buttons, consistency=consistency)

    return make


async def keyboard(bot: SharedBot, *objects: Any) -> InlineKeyboardMarkup:
    """A keyboard as it looks at Telegram, made in an update."""
    made: list[InlineKeyboardMarkup] = []

    def act(_: Update, __: Any) -> None:
        row = [InlineKeyboardButton(str(number), callback_data=value) for number, value in enumerate(objects)]
        made.append(bot.application.bot.callback_data_cache.process_keyboard(InlineKeyboardMarkup([row])))

    await bot.takes(text(), act)
    return made[0]


def with_keyboard(markup: InlineKeyboardMarkup) -> Message:
    sent = message()
    rows = [
        [InlineKeyboardButton(button.text, callback_data=button.callback_data) for button in row]
        for row in markup.inline_keyboard
    ]
    return Message(5, sent.date, sent.chat, from_user=BOT, text="choose", reply_markup=InlineKeyboardMarkup(rows))


async def clicked(bot: SharedBot, markup: InlineKeyboardMarkup, number: int = 0, act: Any = None) -> Update:
    """A click, as PTB's updater or a webhook hands it over; gives the update that the handler got."""
    update = click(markup.inline_keyboard[0][number].callback_data, on=with_keyboard(markup))
    bot.application.bot.insert_callback_data(update)
    got: list[Update] = []

    def note(update: Update, context: Any) -> None:
        got.append(update)
        if act is not None:
            act(update, context)

    await bot.takes(update, note)
    return got[0]


@pytest.mark.parametrize("consistency", ["stream", "strict"])
@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_a_click_that_lands_in_another_worker_finds_its_object(worker, consistency, loading):
    one, two = worker(consistency, loading=loading), worker(consistency, loading=loading)
    async with running(one, two):
        markup = await keyboard(one, ("tea", 1), {"amount": 2})

        update = await clicked(two, markup, 1)

        assert update.callback_query.data == {"amount": 2}
        buttons = update.callback_query.message.reply_markup.inline_keyboard[0]
        assert [button.callback_data for button in buttons] == [("tea", 1), {"amount": 2}]
        assert update.effective_user.id == USER
        assert update.callback_query.get_bot() is two.application.bot


async def test_buttons_in_a_message_that_is_answered_to_find_their_objects_in_another_worker(worker):
    one, two = worker(), worker()
    async with running(one, two):
        markup = await keyboard(one, ("tea", 1))
        answered = with_keyboard(markup)
        words = message()
        update = Update(
            10**6,
            message=Message(9, words.date, words.chat, from_user=words.from_user, text="?", reply_to_message=answered),
        )
        two.application.bot.insert_callback_data(update)

        await two.takes(update)

        assert answered.reply_markup.inline_keyboard[0][0].callback_data == ("tea", 1)


async def test_a_button_that_nobody_knows_stays_invalid(worker):
    one, two = worker(), worker()
    async with running(one, two):
        markup = await keyboard(one, "x")
        rows = [[InlineKeyboardButton("?", callback_data="0" * 64), InlineKeyboardButton("?", callback_data="lie")]]
        unknown = InlineKeyboardMarkup(rows)

        update = await clicked(two, unknown)
        assert isinstance(update.callback_query.data, InvalidCallbackData)
        update = await clicked(two, unknown, 1)
        assert isinstance(update.callback_query.data, InvalidCallbackData)
        assert (await clicked(two, markup)).callback_query.data == "x"


async def test_what_a_click_changes_in_an_object_is_seen_by_the_worker_that_reads_it_later(worker):
    one, two, three = worker(), worker(), worker()
    async with running(one, two, three):
        shared = ["a"]
        markup = await keyboard(one, shared, shared)
        await clicked(two, markup, 0, lambda update, _: update.callback_query.data.append("b"))

        update = await clicked(three, markup, 1)

        buttons = update.callback_query.message.reply_markup.inline_keyboard[0]
        assert update.callback_query.data == ["a", "b"]
        assert buttons[0].callback_data is buttons[1].callback_data


async def test_a_button_that_lies_does_no_harm(worker, database):
    one, two = worker(), worker()
    async with running(one, two):
        await clicked(one, await keyboard(one, "x"))
        query = database.callback_data.find_one({"keyboard": {"$exists": True}})
        lie = InlineKeyboardMarkup([[InlineKeyboardButton("?", callback_data=query["_id"])]])

        update = await clicked(two, lie)
        await two.application.update_persistence()

        assert isinstance(update.callback_query.data, InvalidCallbackData)
        assert database.callback_data.find_one(query["_id"]) == query


async def test_what_a_click_elsewhere_has_changed_in_an_object_is_kept_and_seen_with_the_click_after(worker, database):
    one, two = worker("stream"), worker("stream")
    async with running(one, two):
        markup = await keyboard(one, ["a"])
        uuid = markup.inline_keyboard[0][0].callback_data[:32]
        await clicked(two, markup, 0, lambda update, _: update.callback_query.data.append("b"))
        await until(lambda: one.persistence.session.scopes.callback_data.replicas[uuid].is_stale)

        await clicked(one, markup)

        assert database.callback_data.find_one(uuid)["objects"] == [["a", "b"]]
        assert (await clicked(one, markup)).callback_query.data == ["a", "b"]


async def test_a_keyboard_that_is_no_longer_needed_here_stays_if_it_was_used_in_another_worker(worker, database):
    one, two = worker(buttons=2), worker(buttons=100)
    async with running(one, two):
        used, unused = await keyboard(one, "used"), await keyboard(one, "unused")
        await clicked(two, used)

        await keyboard(one, "new")
        await keyboard(one, "newer")

        assert database.callback_data.count_documents({"objects": ["used"]}) == 1
        assert database.callback_data.count_documents({"objects": ["unused"]}) == 0
        assert (await clicked(two, used)).callback_query.data == "used"
        assert isinstance((await clicked(one, unused)).callback_query.data, InvalidCallbackData)
        await two.application.update_persistence()
        assert database.callback_data.count_documents({"buttons": {"$exists": True}}) == 3
        assert (await clicked(one, used)).callback_query.data == "used"


MODES = [{"consistency": "stream"}, {"consistency": "strict"}, {"exclusive": True}]


@pytest.fixture
def any_worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    return lambda **options: SharedBot(mongo_persistence(), **options)


def drops(update: Update, context: Any) -> None:
    context.drop_callback_data(update.callback_query)


def clears(_: Update, context: Any) -> None:
    context.bot.callback_data_cache.clear_callback_data()


@pytest.mark.parametrize("act", [drops, clears])
@pytest.mark.parametrize("mode", MODES)
async def test_a_keyboard_that_was_dropped_in_another_worker_is_valid_nowhere(any_worker, database, mode, act):
    one, two, three = any_worker(**mode), any_worker(**mode), any_worker(**mode)
    async with running(one, two, three):
        markup, left = await keyboard(one, "buy"), await keyboard(one, "left")
        uuid = CallbackDataCache.extract_uuids(markup.inline_keyboard[0][0].callback_data)[0]
        assert (await clicked(three, markup)).callback_query.data == "buy"

        assert (await clicked(two, markup, act=act)).callback_query.data == "buy"

        assert database.callback_data.count_documents({"_id": uuid, "buttons": {"$exists": True}}) == 0
        if mode == MODES[0]:  # after its window
            for bot in (one, three):
                scope = bot.persistence.session.scopes.callback_data
                await until(lambda scope=scope: scope.replicas[uuid].is_stale)
        for bot in (one, two, three):
            assert isinstance((await clicked(bot, markup)).callback_query.data, InvalidCallbackData)
        assert database.callback_data.count_documents({"_id": uuid, "buttons": {"$exists": True}}) == 0
        assert (await clicked(one, left)).callback_query.data == "left"


async def test_a_keyboard_that_is_dropped_is_not_kept_because_another_worker_was_clicked_later(any_worker, database):
    one, two = any_worker(consistency="strict"), any_worker(consistency="strict")
    async with running(one, two):
        markup = await keyboard(one, "buy")
        uuid = CallbackDataCache.extract_uuids(markup.inline_keyboard[0][0].callback_data)[0]
        click_in_two = await clicked(two, markup)
        await clicked(one, markup)  # which `two` has not heard of

        await two.takes(text(), lambda _, context: context.drop_callback_data(click_in_two.callback_query))

        assert database.callback_data.count_documents({"_id": uuid, "buttons": {"$exists": True}}) == 0
        assert isinstance((await clicked(one, markup)).callback_query.data, InvalidCallbackData)


async def test_of_two_clicks_at_once_only_one_finds_a_button_that_is_meant_for_once(any_worker):
    one, two = any_worker(exclusive=True), any_worker(exclusive=True)
    async with running(one, two):
        markup = await keyboard(one, "buy")
        await clicked(two, markup)

        def buys(update: Update, context: Any) -> None:
            if update.callback_query.data == "buy":
                context.drop_callback_data(update.callback_query)

        updates = await asyncio.gather(*(clicked(bot, markup, act=buys) for bot in (one, two, one, two)))

        assert [update.callback_query.data for update in updates].count("buy") == 1


async def test_a_click_that_is_repeated_finds_the_button_that_its_first_run_has_dropped(
    traffic, mongodb_database, database
):
    persistence: Any = MongoPersistence(traffic.uri, mongodb_database, shutdown_timeout=2)
    bot = SharedBot(persistence, consistency="strict")
    async with running(bot):
        markup = await keyboard(bot, "buy")
        update = click(markup.inline_keyboard[0][0].callback_data, on=with_keyboard(markup))
        bot.application.bot.insert_callback_data(update)

        async def fails(update: Update, context: Any) -> None:
            drops(update, context)
            context.user_data["bought"] = 1
            await traffic.does("stall")

        with pytest.raises(UnavailableError):
            await bot.delivers(update, fails)
        await traffic.does("cut", "forward")
        await until(lambda: bot.persistence.health().connected and not bot.persistence.health().waiting)
        again = click(markup.inline_keyboard[0][0].callback_data, on=with_keyboard(markup))
        bot.application.bot.insert_callback_data(again)
        seen: list[Any] = []

        await bot.delivers(again, lambda update, _: seen.append(update.callback_query.data))

        assert seen == ["buy"]
        assert database.user_data.find_one({"_id": USER, "data": {"$exists": True}}) is None


async def test_an_update_without_keyboards_writes_none(worker, database):
    bot = worker()
    async with running(bot):
        await keyboard(bot, "x")
        before = list(database.callback_data.find())

        await bot.hears()
        await bot.application.update_persistence()

        assert list(database.callback_data.find()) == before


async def test_a_worker_that_starts_knows_the_keyboards_that_were_used_last(worker, database):
    one = worker()
    async with running(one):
        markups = [await keyboard(one, number) for number in range(1, 5)]
        await clicked(one, markups[0])

    two = worker(buttons=2)
    async with running(two):
        held = two.application.bot.callback_data_cache.persistence_data[0]

        assert sorted(value for _, _, buttons in held for value in buttons.values()) == [1, 4]


async def test_a_keyboard_that_is_being_fetched_is_not_deleted_by_a_save_of_all(worker, database):
    made, fetching = worker(), worker()
    async with running(made, fetching):
        markup = await keyboard(made, "tea")
        uuid = markup.inline_keyboard[0][0].callback_data[:32]

        session = fetching.persistence.session
        scope = session.scopes.callback_data
        await session.reader.refresh({scope: [scope.replica(uuid, uuid)]}, every=True)  # it is not in PTB's cache yet
        await fetching.application.update_persistence()

        assert database.callback_data.count_documents({"_id": uuid}) == 1
