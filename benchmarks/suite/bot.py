"""A complete `Application` without network, and the updates for it."""

from __future__ import annotations

import asyncio
import datetime as dtm
import json
from typing import Any

from telegram import Chat, Message, Update, User
from telegram.ext import Application, BasePersistence, CallbackContext, ExtBot, MessageHandler, filters
from telegram.request import BaseRequest

from suite.subjects import TOKEN

App = Application[Any, Any, Any, Any, Any, Any]
_DATE = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)


class NoNetwork(BaseRequest):
    """Answers `getMe` with a bot and everything else with a message."""

    @property
    def read_timeout(self) -> float:
        """See `BaseRequest`."""
        return 1

    async def initialize(self) -> None:
        """See `BaseRequest`."""

    async def shutdown(self) -> None:
        """See `BaseRequest`."""

    async def do_request(self, url: str, *_: Any, **__: Any) -> tuple[int, bytes]:
        """See `BaseRequest`."""
        await asyncio.sleep(0)
        result: dict[str, Any] = {"message_id": 1, "date": 0, "chat": {"id": 1, "type": "private"}, "text": "sent"}
        if url.endswith("/getMe"):
            result = {"id": 123456, "is_bot": True, "first_name": "Benchmark", "username": "benchmark_bot"}
        return 200, json.dumps({"ok": True, "result": result}).encode()


async def remember(update: Update, context: CallbackContext[Any, Any, Any, Any]) -> None:
    """A typical handler: reads and writes the user's data."""
    message = update.message
    if message is None or context.user_data is None:
        return
    data = context.user_data
    data["score"] = data.get("score", 0) + 1
    data["last"] = message.text


async def answer(update: Update, context: CallbackContext[Any, Any, Any, Any]) -> None:
    """The same handler, with an answer."""
    await remember(update, context)
    if update.effective_chat is not None and context.user_data is not None:
        await context.bot.send_message(update.effective_chat.id, f"Your score: {context.user_data['score']}")


def application(
    persistence: BasePersistence[Any, Any, Any] | None,
    handler: Any,
    concurrent_updates: int = 1,
    job_queue: Any = None,
) -> App:
    """An application that is built but not initialized yet."""
    bot = ExtBot(TOKEN, request=NoNetwork(), get_updates_request=NoNetwork(), arbitrary_callback_data=True)
    builder = Application.builder().bot(bot).updater(None).job_queue(job_queue).concurrent_updates(concurrent_updates)
    if persistence is not None:
        builder = builder.persistence(persistence)
    made: App = builder.build()
    made.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, handler))
    return made


def update_from(user_id: int) -> Update:
    """The update when a user writes to the bot in private."""
    user = User(user_id, "Ada", is_bot=False)
    chat = Chat(user_id, Chat.PRIVATE, first_name="Ada")
    return Update(user_id + 1, message=Message(1, _DATE, chat, from_user=user, text="hello"))
