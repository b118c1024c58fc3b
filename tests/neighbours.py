"""An honest user among documents that strangers have planted: loaded, refreshed and saved in every scope."""

from __future__ import annotations

from typing import Any

from bots import Bot
from offline import BOT_ID
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import ConversationHandler, MessageHandler, filters

from ptb_mongo.errors import DocumentError, QuarantinedError

__all__ = ["DATA", "KEYBOARD", "OTHER", "Talking", "neighbours", "serves_the_neighbour", "states"]

OTHER = 43
KEYBOARD = {"position": 0, "accessed_at": 1.0, "buttons": {"b" * 32: 0}, "objects": ["buy"]}
DATA = ("user_data", "chat_data", "bot_data")


def neighbours(database: Any) -> None:
    """Honest documents of somebody else."""
    for scope in DATA:
        database[scope].insert_one({"_id": BOT_ID if scope == "bot_data" else OTHER, "data": {"name": "Ada"}})
    database.callback_data.insert_one({"_id": "g" * 32, **KEYBOARD, "position": 1})
    conversation = {"handler": "order", "key": [OTHER, OTHER]}
    database.conversations.insert_one({"_id": conversation, **conversation, "state": 2})


def states(held: list[Any]) -> ConversationHandler[Any]:
    """A conversation that notes the states in which it hears something."""

    async def begin(*_: object) -> int:
        held.append(None)
        return 1

    def at(state: int) -> Any:
        async def go_on(*_: object) -> int:
            held.append(state)
            return state % 99 + 1

        return go_on

    steps = {state: [MessageHandler(filters.TEXT, at(state))] for state in range(1, 100)}
    return ConversationHandler([MessageHandler(filters.TEXT, begin)], steps, [], name="order", persistent=True)


class Talking(Bot):
    """A bot with a conversation beside its handler."""

    def __init__(self, persistence: Any) -> None:
        super().__init__(persistence)
        self.states: list[Any] = []
        self.application.add_handler(states(self.states), group=1)


async def serves_the_neighbour(bot: Talking, database: Any, n: int) -> None:
    """The neighbour is refreshed and saved in every scope, and their keyboard and conversation are there.

    Args:
        bot: The bot.
        database: Its database.
        n: A number that is new.
    """
    application = bot.application
    for scope in DATA:
        database[scope].update_one({"_id": BOT_ID if scope == "bot_data" else OTHER}, {"$set": {"data.edit": n}})
    await bot.sees(lambda data: data.get("edit") == n, user=OTHER)
    await bot.sees(lambda _: application.chat_data[OTHER].get("edit") == n, user=OTHER)
    await bot.sees(lambda _: application.bot_data.get("edit") == n, user=OTHER)

    def note(context: Any) -> None:
        for data in (context.user_data, context.chat_data, context.bot_data):
            data["n"] = n

    await bot.hears(note, user=OTHER)
    cache = application.bot.callback_data_cache
    cache.process_keyboard(InlineKeyboardMarkup.from_button(InlineKeyboardButton("x", callback_data=("new", n))))
    await bot.saves()
    for scope in DATA:
        stored = database[scope].find_one({"_id": BOT_ID if scope == "bot_data" else OTHER}, {"data": 1})
        assert stored["data"] == {"name": "Ada", "edit": n, "n": n}
    keyboards = [uuid for uuid, *_ in cache.persistence_data[0]]
    assert "g" * 32 in keyboards
    for uuid in keyboards:
        assert database.callback_data.find_one({"_id": uuid}, {"position": 1}) is not None
    state = database.conversations.find_one({"_id": {"handler": "order", "key": [OTHER, OTHER]}}, {"state": 1})
    assert state["state"] == (bot.states[-1] or 0) % 99 + 1
    unexpected = [error for error in bot.errors if not is_of_another(error)]
    assert not unexpected, unexpected


def is_of_another(error: BaseException) -> bool:
    """Whether an error is the trouble of a document that is not the neighbour's."""
    is_named = isinstance(error, DocumentError) and "_id " in str(error) and f"_id {OTHER}" not in str(error)
    return is_named or isinstance(error, QuarantinedError)
