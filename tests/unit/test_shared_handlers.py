"""The handlers that an update concerns and the keys of its conversations, the same as PTB finds."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import telegram
from ptb_private import conversation_state
from telegram import CallbackQuery, InlineQuery, Update, User
from telegram.ext import ConversationHandler, MessageHandler, TypeHandler, filters
from workers import click, message, text

from ptb_mongo import ConfigurationError, held_states
from ptb_mongo.held_states import check_ptb, conversation_handlers
from ptb_mongo.workers.conversations import conversation_key

ADA = User(42, "Ada", is_bot=False)
PTB_FAILS_FOR = [(False, True, True), (False, False, True)]
PARTS = [parts for parts in itertools.product((True, False), repeat=3) if any(parts)]
UPDATES = {
    "private": text(),
    "group": text(chat=-100),
    "click": click("x", number=5),
    "inline click": Update(1, callback_query=CallbackQuery("1", ADA, "c", data="x", inline_message_id="abc")),
    "game click": Update(1, callback_query=CallbackQuery("1", ADA, "c", game_short_name="g")),
    "channel": Update(1, channel_post=message(chat=-5)),
    "edited": Update(1, edited_message=message()),
    "inline query": Update(1, inline_query=InlineQuery("1", ADA, "tea", "")),
    "nobody": Update(1),
}


# For a click without a message, and no chat in the key, PTB itself fails.
KEYS = [(name, parts) for name in UPDATES for parts in PARTS if not (name == "game click" and parts in PTB_FAILS_FOR)]


@pytest.mark.parametrize(("name", "parts"), KEYS)
@pytest.mark.filterwarnings("ignore:If 'per_message=True' is used")
def test_the_key_of_a_conversation_is_that_of_ptb(name, parts):
    update = UPDATES[name]
    per_chat, per_user, per_message = parts
    taken = []
    handler = ConversationHandler([], {}, [], per_chat=per_chat, per_user=per_user, per_message=per_message)
    handler.entry_points.append(TypeHandler(Update, taken.append))

    check = handler.check_update(update)

    assert conversation_key(update, *parts) == (check[1] if check else None)


def test_nested_handlers_are_found_wherever_they_stand_and_each_once():
    def conversation(*entries, states=None, fallbacks=()):
        return ConversationHandler(list(entries), states or {}, list(fallbacks))

    innermost, inner, last = conversation(), conversation(), conversation()
    inner.entry_points.append(innermost)
    outer = conversation(inner, states={1: [inner], 2: [innermost]}, fallbacks=[last])
    plain = MessageHandler(filters.ALL, print)

    found = list(conversation_handlers([plain, outer, inner]))

    assert len(found) == 4
    assert {id(handler) for handler in found} == {id(handler) for handler in (outer, inner, innermost, last)}


def test_this_version_of_ptb_keeps_the_states_where_they_are_looked_for():
    try:
        check_ptb()
    except ConfigurationError:
        pytest.fail(
            f"python-telegram-bot {telegram.__version__} keeps no ConversationHandler._conversations any more: "
            "ptb_mongo.held_states.held_by needs another way to the states"
        )


def test_a_version_of_ptb_that_keeps_the_states_elsewhere_is_refused(monkeypatch):
    class Other:
        def __init__(self, *_):
            pass

    monkeypatch.setattr(held_states, "ConversationHandler", Other)

    with pytest.raises(ConfigurationError, match=f"python-telegram-bot {telegram.__version__}"):
        check_ptb()


async def test_a_handler_that_is_still_at_work_is_recognised_in_this_version_of_ptb():
    handler = ConversationHandler([], {}, [], name="name", persistent=True)
    task = asyncio.get_running_loop().create_future()

    async def wait():
        return await task

    running = asyncio.ensure_future(wait())
    handler._update_state(running, (1,))

    assert held_states._is_pending(conversation_state(handler, (1,)))
    task.set_result(None)
    await running
