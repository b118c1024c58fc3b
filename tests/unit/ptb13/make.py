"""Writes the pickles of PTB 13 that the tests read; run it where python-telegram-bot 13.15 is installed.

python make.py ptb13        # Python 3.8 or later: protocol 4
python make.py ptb13_py37   # Python 3.7: protocol 3
"""

import collections
import datetime as dtm
import sys

import telegram
from telegram import (
    CallbackQuery,
    Chat,
    ChatPermissions,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputTextMessageContent,
    Message,
    Update,
    User,
)
from telegram.ext import ExtBot, PicklePersistence

NAME = sys.argv[1]
BOT = ExtBot("123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", arbitrary_callback_data=True)
SENT = {
    "message_id": 5,
    "date": 1600000000,
    "chat": {"id": 7, "type": "private", "first_name": "Ada"},
    "from": {"id": 7, "is_bot": False, "first_name": "Ada", "language_code": "en"},
    "text": "Tea, please",
    "entities": [{"type": "bold", "offset": 0, "length": 3}],
    "forward_from": {"id": 8, "is_bot": False, "first_name": "Grace"},
    "forward_date": 1500000000,
    "reply_markup": {"inline_keyboard": [[{"text": "buy", "callback_data": "b"}]]},
    "reply_to_message": {
        "message_id": 4,
        "date": 1590000000,
        "chat": {"id": 7, "type": "private"},
        "voice_chat_ended": {"duration": 3},
        "photo": [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 2}],
    },
}

for single_file in (True, False):
    persistence = PicklePersistence(
        NAME if single_file else NAME + "_five", single_file=single_file, store_callback_data=True, on_flush=True
    )
    persistence.set_bot(BOT)
    message = Message.de_json(SENT, BOT)
    persistence.update_user_data(
        7,
        {
            "plain": {"a": [1, 2.5, None, True], "t": (1, "2"), "s": {1, 2}, "b": b"bytes", 5: "five"},
            "when": dtm.datetime(2020, 9, 13, 12, 26, 40, tzinfo=message.date.tzinfo),
            "naive": dtm.datetime(2020, 9, 13, 12, 26, 40, 5),  # noqa: DTZ001
            "order": collections.OrderedDict(b=1, a=2),
            "message": message,
            "again": message,
            "user": message.from_user,
        },
    )
    persistence.update_user_data(8, {})
    persistence.update_chat_data(
        -100,
        {
            "chat": Chat(-100, "supergroup", title="Tea", permissions=ChatPermissions(can_send_messages=True), bot=BOT),
            "seen": collections.defaultdict(list, {1: [2]}),
            "markup": InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data={"an": ("object",)})]]),
            "update": Update(1, callback_query=CallbackQuery("q", User(9, "Eve", False), "c", message, "d")),
            "content": InputTextMessageContent("*x*"),
            "error": telegram.error.Unauthorized("blocked"),
        },
    )
    persistence.update_bot_data({"admins": {7}, "since": dtm.date(2020, 1, 1)})
    persistence.update_conversation("order", (7, 7), "menu")
    persistence.update_conversation("order", (8, 8), 2)
    persistence.update_conversation("order", (9, 9), None)
    persistence.update_callback_data(([("keyboard", 1600000000.5, {"button": {"tea": 1}})], {"q": "keyboard"}))
    persistence.flush()
