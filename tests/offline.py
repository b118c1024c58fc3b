"""A whole `Application` without any network: the Bot API is played by a request class that answers everything."""

from __future__ import annotations

import datetime as dtm
import itertools
import json
from typing import Any

from telegram import Chat, Message, Update, User
from telegram.ext import Application, ExtBot
from telegram.request import BaseRequest

TOKEN = "123456:OFFLINE-token"
BOT_ID = 123456
_UPDATE_IDS = itertools.count(1)


class OfflineRequest(BaseRequest):
    """Answers `getMe` with a bot, and everything else with a message."""

    @property
    def read_timeout(self) -> float:
        return 1

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def do_request(self, url: str, *_: Any, **__: Any) -> tuple[int, bytes]:
        if url.endswith("/getMe"):
            result: Any = {"id": BOT_ID, "is_bot": True, "first_name": "Offline", "username": "offline_bot"}
        elif "/send" in url:
            result = {"message_id": 1, "date": 0, "chat": {"id": 1, "type": "private"}, "text": "sent"}
        else:
            result = True
        return 200, json.dumps({"ok": True, "result": result}).encode()


def offline_application(
    persistence: Any, *handlers: Any, callback_data_cache: bool | int = True, **builder: Any
) -> Application[Any, Any, Any, Any, Any, Any]:
    """An application that is built, and not initialized yet."""
    bot: Any = ExtBot(
        TOKEN,
        request=OfflineRequest(),
        get_updates_request=OfflineRequest(),
        arbitrary_callback_data=callback_data_cache,
    )
    made = Application.builder().bot(bot).updater(None).persistence(persistence)
    for name, value in builder.items():
        made = getattr(made, name)(value)
    application = made.build()
    application.add_handlers(list(handlers))
    return application


def message_from(user_id: int, text: str = "hello") -> Update:
    """What arrives when a user writes to the bot in private."""
    user = User(user_id, "Ada", is_bot=False)
    chat = Chat(user_id, Chat.PRIVATE, first_name="Ada")
    date = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)
    return Update(next(_UPDATE_IDS), message=Message(1, date, chat, from_user=user, text=text))
