"""A stand-in for Telegram's Bot API server, on loopback, and the people who use the bot through it.

It speaks the part of the protocol that a bot needs to hold a conversation, closely enough that
python-telegram-bot cannot tell: long polling that wakes at once, offsets that confirm, messages that have ids
and keep them when they are edited, buttons that carry the data which the bot gave them. It knows nothing of
python-telegram-bot, of persistence or of MongoDB: a bot in this process or in another needs its address only.

    async with FakeBotAPI() as api:
        application = Application.builder().token(api.token).base_url(api.base_url).build()
        ...
        ada = api.user(36, "Ada")
        await ada.sends("/start")
        message = await ada.receives()
        await ada.clicks("Yes", message)

A message's text is stored without its HTML tags, and without the entities that they stand for.
"""

from __future__ import annotations

import asyncio
import copy
import html
import json
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

JSON = dict[str, Any]

TIMEOUT = 20.0
"""Seconds after which a user stops waiting for the bot: longer than a child process ever takes to start."""

_STRUCTURED = {
    "allowed_updates",
    "commands",
    "entities",
    "link_preview_options",
    "menu_button",
    "reply_markup",
    "reply_parameters",
    "scope",
}
_NUMBERS = {"chat_id", "message_id", "offset", "limit", "timeout", "user_id"}
_COMMAND = re.compile(r"(?<!\S)/\w{1,32}(?:@\w+)?")
_TAG = re.compile(r"</?[a-z][^>]*>")


@dataclass(frozen=True)
class Request:
    """One call of the bot: the method's name, and its parameters as the protocol types them."""

    method: str
    parameters: JSON


@dataclass(frozen=True)
class BotMessage:
    """A message as its reader sees it at this moment: sent, or edited."""

    json: JSON
    edited: bool = False
    reply_keyboard: JSON | None = None
    """What replaces the user's own keyboard. Telegram never returns it to the bot, so `json` lacks it."""

    @property
    def id(self) -> int:
        return int(self.json["message_id"])

    @property
    def text(self) -> str:
        return str(self.json.get("text", ""))

    @property
    def buttons(self) -> dict[str, str]:
        """The data of each inline button under its label."""
        rows = self.json.get("reply_markup", {}).get("inline_keyboard", [])
        return {button["text"]: button.get("callback_data", "") for row in rows for button in row}


class ApiError(Exception):
    """What Telegram answers to a call that it does not accept."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


class User:
    """A person with a private chat with the bot."""

    def __init__(self, api: FakeBotAPI, user_id: int, first_name: str) -> None:
        self.id = user_id
        self.first_name = first_name
        self._api = api

    @property
    def json(self) -> JSON:
        return {"id": self.id, "is_bot": False, "first_name": self.first_name, "language_code": "en"}

    @property
    def chat(self) -> JSON:
        return {"id": self.id, "type": "private", "first_name": self.first_name}

    async def sends(self, text: str) -> None:
        """Write a message, or a /command, to the bot."""
        message = self._api.new_message(chat=self.chat, sender=self.json, text=text)
        await self._api.push(message=message)

    async def clicks(self, button: str, message: BotMessage | None = None) -> None:
        """Press the button with this label under the bot's last message, or under an earlier one."""
        target = message or self._api.last_message(self.id)
        if button not in target.buttons:
            raise AssertionError(f"no button {button!r} under {target.text!r}, only {list(target.buttons)}")
        await self._api.push(
            callback_query={
                "id": str(self._api.new_id()),
                "from": self.json,
                "message": copy.deepcopy(target.json),
                "chat_instance": str(self.id),
                "data": target.buttons[button],
            }
        )

    async def receives(self, timeout: float = TIMEOUT) -> BotMessage:
        """Wait for the next message, or the next edit of one, that was not received yet."""
        inbox = self._api.inbox(self.id)
        try:
            return await asyncio.wait_for(inbox.get(), timeout)
        except asyncio.TimeoutError:
            calls = [request.method for request in self._api.requests[-5:]]
            raise AssertionError(
                f"{self.first_name} got no message within {timeout} s; the bot's last calls: {calls}"
            ) from None

    async def talks(self, *texts: str) -> BotMessage:
        """Send each text, wait for the reply to each, and return the last reply."""
        for text in texts:
            await self.sends(text)
            reply = await self.receives()
        return reply

    async def taps(self, *buttons: str) -> BotMessage:
        """Click each button under the message of that moment, wait for what it brings, return the last."""
        for button in buttons:
            await self.clicks(button)
            reply = await self.receives()
        return reply


@dataclass
class _Chat:
    """What the server remembers of one chat."""

    inbox: asyncio.Queue[BotMessage] = field(default_factory=asyncio.Queue)
    messages: dict[int, BotMessage] = field(default_factory=dict)
    """The bot's messages by id, the one that was sent or edited last at the end."""


class FakeBotAPI:
    """The server of one bot. It outlives the bot, as Telegram does: updates wait until somebody polls."""

    def __init__(self, token: str = "123456:TEST-token") -> None:
        self.token = token
        self.bot_id = int(token.partition(":")[0])
        self.requests: list[Request] = []
        """Every call so far but the polls, which are only counted."""
        self.polls = 0
        self.url = ""
        self._users: dict[int, User] = {}
        self._chats: defaultdict[int, _Chat] = defaultdict(_Chat)
        self._pending: dict[int, JSON] = {}
        self._ids = iter(range(1, 2**31))
        self._changed = asyncio.Condition()
        self._closing = False
        self._runner: web.AppRunner | None = None
        self._methods: dict[str, Callable[[JSON], Any]] = {
            "getMe": lambda _: self.me,
            "getChat": self._get_chat,
            "getMyCommands": lambda _: [],
            "getWebhookInfo": self._get_webhook_info,
            "deleteWebhook": self._set_webhook,
            "setWebhook": self._set_webhook,
            "sendMessage": self._send_message,
            "editMessageText": self._edit_message,
            "editMessageReplyMarkup": self._edit_message,
        }

    # The server

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._answer)
        # A bot that goes away in the middle of a poll ends the poll; nothing else is left to wait for.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        await self._notify()
        if self._runner:
            await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """For `ApplicationBuilder.base_url`."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        """For `ApplicationBuilder.base_file_url`."""
        return f"{self.url}/file/bot"

    @property
    def me(self) -> JSON:
        return {
            "id": self.bot_id,
            "is_bot": True,
            "first_name": "Testbot",
            "username": "test_bot",
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    # What a test does

    def user(self, user_id: int, first_name: str) -> User:
        """Return the person with this id, who is the same for the same id."""
        return self._users.setdefault(user_id, User(self, user_id, first_name))

    def requests_to(self, method: str) -> list[JSON]:
        """Return the parameters of every call of this method so far."""
        return [request.parameters for request in self.requests if request.method == method]

    async def push(self, **content: JSON) -> int:
        """Offer an update of any kind, such as `message={...}`, to the bot; return its id."""
        update_id = self.new_id()
        self._pending[update_id] = {"update_id": update_id, **content}
        await self._notify()
        return update_id

    async def polled(self, more_than: int, timeout: float = TIMEOUT) -> None:
        """Wait until the bot has polled for updates more than so many times."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.polls > more_than), timeout)

    def new_id(self) -> int:
        """Return an id that was never used here, for an update, a message or a query."""
        return next(self._ids)

    def new_message(self, *, chat: JSON, sender: JSON, text: str) -> JSON:
        """Return a message as Telegram describes it, with the entities of its commands."""
        message = {
            "message_id": self.new_id(),
            "from": sender,
            "chat": chat,
            "date": int(time.time()),
            "text": text,
        }
        if entities := _commands(text):
            message["entities"] = entities
        return message

    def inbox(self, chat_id: int) -> asyncio.Queue[BotMessage]:
        """Return what the bot has sent to a chat and nobody has received yet."""
        return self._chats[chat_id].inbox

    def last_message(self, chat_id: int) -> BotMessage:
        """Return the bot's message that was sent or edited last in a chat."""
        messages = self._chats[chat_id].messages
        if not messages:
            raise AssertionError(f"the bot has sent nothing to {chat_id}")
        return list(messages.values())[-1]

    # The protocol

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            result = await self._call(request)
        except ApiError as error:
            body = {"ok": False, "error_code": error.code, "description": str(error)}
            return web.json_response(body, status=error.code)
        return web.json_response({"ok": True, "result": result})

    async def _call(self, request: web.Request) -> object:
        if request.match_info["token"] != self.token:
            raise ApiError(401, "Unauthorized")
        method = request.match_info["method"]
        parameters = await _parameters(request)
        if method == "getUpdates":
            return await self._get_updates(**parameters)
        self.requests.append(Request(method, parameters))
        known = self._methods.get(method)
        return known(parameters) if known else True

    async def _get_updates(self, offset: int = 0, limit: int = 100, timeout: int = 0, **_: object) -> list[JSON]:
        self._pending = {key: update for key, update in self._pending.items() if key >= offset}
        self.polls += 1
        this_poll = self.polls
        await self._notify()

        def over() -> bool:
            return bool(self._pending) or self._closing or self.polls != this_poll

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(over), timeout or 0.001)
            except asyncio.TimeoutError:
                return []
        if self.polls != this_poll:
            raise ApiError(409, "Conflict: terminated by other getUpdates request")
        return list(self._pending.values())[:limit]

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _get_chat(self, parameters: JSON) -> JSON:
        return {
            **self._chat_json(parameters["chat_id"]),
            "accent_color_id": 0,
            "max_reaction_count": 11,
            "accepted_gift_types": dict.fromkeys(
                [
                    "unlimited_gifts",
                    "limited_gifts",
                    "unique_gifts",
                    "premium_subscription",
                    "gifts_from_channels",
                ],
                False,
            ),
        }

    def _chat_json(self, chat_id: int) -> JSON:
        if chat_id in self._users:
            return self._users[chat_id].chat
        return {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup", "title": str(chat_id)}

    def _get_webhook_info(self, _: JSON) -> JSON:
        return {"url": "", "has_custom_certificate": False, "pending_update_count": len(self._pending)}

    def _set_webhook(self, parameters: JSON) -> bool:
        if parameters.get("drop_pending_updates") == "true":
            self._pending.clear()
        return True

    def _send_message(self, parameters: JSON) -> JSON:
        message = self.new_message(chat=self._chat_json(parameters["chat_id"]), sender=self.me, text=_text(parameters))
        return self._deliver(message, parameters, edited=False)

    def _edit_message(self, parameters: JSON) -> JSON:
        earlier = self._chats[parameters["chat_id"]].messages.pop(parameters["message_id"], None)
        if earlier is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        message = {key: value for key, value in earlier.json.items() if key != "reply_markup"}
        if "text" in parameters:
            message["text"] = _text(parameters)
        if _visible(message | _inline(parameters)) == _visible(earlier.json):
            self._chats[parameters["chat_id"]].messages[earlier.id] = earlier
            raise ApiError(400, "Bad Request: message is not modified")
        message["edit_date"] = int(time.time())
        return self._deliver(message, parameters, edited=True)

    def _deliver(self, message: JSON, parameters: JSON, *, edited: bool) -> JSON:
        """Put a message before its reader, and return it as the bot sees it."""
        message |= _inline(parameters)
        markup = parameters.get("reply_markup")
        seen = BotMessage(
            copy.deepcopy(message),
            edited=edited,
            reply_keyboard=None if "reply_markup" in message else markup,
        )
        chat = self._chats[parameters["chat_id"]]
        chat.messages[seen.id] = seen
        chat.inbox.put_nowait(seen)
        return message


async def _parameters(request: web.Request) -> JSON:
    """Read a call's parameters, which arrive as a form of texts, some of which are JSON."""
    parameters: JSON = {**request.query, **await request.post()}
    for name, value in parameters.items():
        if name in _STRUCTURED:
            parameters[name] = json.loads(value)
        elif name in _NUMBERS and re.fullmatch(r"-?\d+", value):
            parameters[name] = int(value)
    return parameters


def _text(parameters: JSON) -> str:
    text = str(parameters["text"])
    return html.unescape(_TAG.sub("", text)) if parameters.get("parse_mode") == "HTML" else text


def _inline(parameters: JSON) -> JSON:
    """Return the markup that becomes a part of the message: an inline keyboard, and no other."""
    markup = parameters.get("reply_markup") or {}
    return {"reply_markup": markup} if markup.get("inline_keyboard") else {}


def _visible(message: JSON) -> tuple[object, object]:
    return message.get("text"), message.get("reply_markup")


def _commands(text: str) -> list[JSON]:
    """Return the entities of a text's commands; Telegram counts in UTF-16 code units."""
    return [
        {
            "type": "bot_command",
            "offset": len(text[: match.start()].encode("utf-16-le")) // 2,
            "length": len(match.group()),
        }
        for match in _COMMAND.finditer(text)
    ]
