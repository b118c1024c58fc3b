"""Telegram's objects come back whole: their attributes, whether they are frozen, and the bot that they belong to."""

from __future__ import annotations

import datetime as dtm
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import samples
import telegram
import telegram.error
import telegram.ext
from hypothesis import given
from hypothesis import strategies as st
from ptb_mongo.codec import Codec, load
from roundtrip import portrait, restored, round_trip, stored
from strategies import texts
from telegram import constants

TOKEN = "123456:a-secret-token"
BOT = telegram.Bot(TOKEN)
OTHER_TOKEN = "654321:another-secret-token"
WITH_BOT = Codec(trusted=[samples.__name__], bot=lambda: BOT)

USER = {"id": 7, "is_bot": False, "first_name": "Ada", "username": "ada", "language_code": "en"}
CHAT = {"id": -1001, "type": "supergroup", "title": "Engines"}
MESSAGE = {
    "message_id": 5,
    "date": 1700000000,
    "chat": CHAT,
    "from": USER,
    "text": "hello https://example.org /start",
    "entities": [
        {"type": "url", "offset": 6, "length": 19},
        {"type": "bot_command", "offset": 26, "length": 6},
        {"type": "text_mention", "offset": 0, "length": 5, "user": USER},
    ],
    "photo": [{"file_id": f"file{n}", "file_unique_id": f"u{n}", "width": n, "height": n} for n in (90, 320, 800)],
    "reply_to_message": {"message_id": 4, "date": 1690000000, "chat": CHAT, "from": USER, "text": "hi"},
    "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "b"}, {"text": "c", "url": "https://c.d"}]]},
    "a_field_of_the_future": {"nested": [1, 2.5, None]},
}


def message(bot: telegram.Bot | None = None) -> telegram.Message:
    made = telegram.Message.de_json(MESSAGE, bot)
    assert made is not None
    return made


def objects(bot: telegram.Bot | None) -> Iterator[tuple[str, telegram.TelegramObject]]:
    yield "message", message(bot)
    update = {"update_id": 1, "message": MESSAGE}
    yield "update", telegram.Update.de_json(update, bot)
    query = {"id": "9", "from": USER, "chat_instance": "x", "message": MESSAGE, "data": "d"}
    yield "callback query", telegram.CallbackQuery.de_json(query, bot)
    member = {"status": "administrator", "user": USER, "can_be_edited": True, "is_anonymous": False}
    rights = {name: True for name in telegram.ChatMemberAdministrator.__slots__ if name.startswith("can_")}
    yield "chat member", telegram.ChatMember.de_json({**member, **rights}, bot)
    change = {"chat": CHAT, "from": USER, "date": 1700000000}
    left = {"old_chat_member": {"status": "member", "user": USER}, "new_chat_member": {"status": "left", "user": USER}}
    yield "chat member updated", telegram.ChatMemberUpdated.de_json({**change, **left}, bot)
    poll = {"id": "1", "question": "?", "total_voter_count": 0, "is_closed": False, "is_anonymous": True}
    kind = {"type": "regular", "allows_multiple_answers": False, "options": [{"text": "y", "voter_count": 0}]}
    yield "poll", telegram.Poll.de_json({**poll, **kind, "close_date": 1700000000}, bot)
    yield "location", telegram.Location(1.5, -2.25)
    yield "keyboard", telegram.ReplyKeyboardMarkup([["a", telegram.KeyboardButton("b", request_contact=True)]])
    yield "link preview options with a default value", telegram.LinkPreviewOptions(url="https://x.y")
    yield "link preview options", telegram.LinkPreviewOptions(is_disabled=True, show_above_text=False)
    yield "invalid callback data", telegram.InlineKeyboardMarkup.from_button(
        telegram.InlineKeyboardButton("x", callback_data=telegram.ext.InvalidCallbackData("uuid"))
    )
    yield "callback data", telegram.InlineKeyboardMarkup.from_button(
        telegram.InlineKeyboardButton("x", callback_data=samples.Plain({"page": (1, 2)}, {3, 1}))
    )
    yield "trusted subclass", samples.Letter([1, (2,)], telegram.User(1, "x", False), api_kwargs={"extra": {"a": 1}})
    yield "permissions", telegram.ChatPermissions.all_permissions()
    yield "awkward words", telegram.User(1, "text", False, last_name="bot", username="telegram")
    yield "input media", telegram.InputMediaPhoto("file id", caption="c", parse_mode=constants.ParseMode.HTML)
    yield "web app", telegram.MenuButtonWebApp("x", telegram.WebAppInfo("https://x.y"))


NAMES = [name for name, _ in objects(None)]
plain_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture(params=NAMES)
def make(request: pytest.FixtureRequest) -> Callable[[telegram.Bot | None], telegram.TelegramObject]:
    """Makes one Telegram object after the other, as they come with this bot, or without any."""
    return lambda bot: dict(objects(bot))[request.param]


type Make = Callable[[telegram.Bot | None], telegram.TelegramObject] if False else Any


def has_bot(obj: telegram.TelegramObject) -> bool:
    try:
        obj.get_bot()
    except RuntimeError:
        return False
    return True
