"""Telegram without Telegram, for a bot of several workers: a Bot API on loopback, and updates pushed to webhooks.

Like Telegram, it repeats an update until a worker has answered 200; a person's updates come in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

JSON = dict[str, Any]

BOT = {"id": 123456, "is_bot": True, "first_name": "Tea tasting", "username": "tea_tasting_bot"}
TOKEN = "123456:not-a-token"  # noqa: S105  (nobody checks it)
PAUSE = 0.1  # seconds until an update is repeated; Telegram waits longer
PATIENCE = 20.0  # seconds to wait for a worker's answer


@dataclass
class Person:
    """Somebody in a private chat with the bot.

    Attributes:
        last: The bot's last message, in Telegram's form.
    """

    id: int
    name: str
    telegram: StandIn
    last: JSON = field(default_factory=dict)
    queue: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def writes(self, text: str) -> None:
        """Sends a text or a command, and waits until a worker has handled it."""
        message = self.telegram.message(self, self.user, text)
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
        await self._update({"message": message})

    async def presses(self, button: str) -> None:
        """Presses a button of the bot's last message, and waits until a worker has handled that."""
        rows = self.last.get("reply_markup", {"inline_keyboard": []})["inline_keyboard"]
        data = {found["text"]: found["callback_data"] for row in rows for found in row}
        if button not in data:
            raise LookupError(f"{self.name} looks for {button!r} under {self.last['text']!r}, and finds {list(data)}")
        query = {
            "id": str(self.telegram.new_id()),
            "from": self.user,
            "message": self.last,
            "chat_instance": str(self.id),
            "data": data[button],
        }
        await self._update({"callback_query": query})

    async def _update(self, content: JSON) -> None:
        update = {"update_id": self.telegram.new_id(), **content}
        async with self.queue:
            await self.telegram.deliver(update)

    @property
    def user(self) -> JSON:
        """The person, in Telegram's form."""
        return {"id": self.id, "is_bot": False, "first_name": self.name}


class StandIn:
    """Keeps the chats, and pushes updates to random workers.

    Args:
        secret: The secret by which the workers recognize Telegram.

    Attributes:
        url: The address of the Bot API.
        webhooks: The workers' addresses, by their names.
        handled: How many updates each worker has answered.
        redelivered: How many deliveries failed.
    """

    def __init__(self, secret: str) -> None:
        self.url = ""
        self.webhooks: dict[str, str] = {}
        self.handled: Counter[str] = Counter()
        self.redelivered = 0
        self._secret = secret
        self._people: dict[int, Person] = {}
        self._ids = count(1)
        self._chance = random.Random(7)  # noqa: S311  (a fair choice is enough)
        self._internet = httpx.AsyncClient(
            trust_env=False, timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def person(self, user_id: int, name: str) -> Person:
        """A new person."""
        person = self._people[user_id] = Person(user_id, name, self)
        return person

    def new_id(self) -> int:
        """A unique number, for a message or an update."""
        return next(self._ids)

    def message(self, person: Person, sender: JSON, text: str) -> JSON:
        """A new message in the chat with somebody, in Telegram's form."""
        chat = {"id": person.id, "type": "private", "first_name": person.name}
        return {"message_id": self.new_id(), "date": int(time.time()), "chat": chat, "from": sender, "text": text}

    async def deliver(self, update: JSON) -> None:
        """Sends an update to random workers until one answers that it has been handled."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": self._secret}
        while True:
            worker = self._chance.choice(list(self.webhooks))
            with contextlib.suppress(httpx.TransportError):  # it is unreachable, or was killed meanwhile
                answer = await self._internet.post(self.webhooks[worker], json=update, headers=headers)
                if answer.is_success:
                    self.handled[worker] += 1
                    return
            self.redelivered += 1
            await asyncio.sleep(PAUSE)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serves the Bot API on a local port of this machine."""
        routes = [Route("/bot{token}/{method}", self._call, methods=["GET", "POST"])]
        server = uvicorn.Server(
            uvicorn.Config(Starlette(routes=routes), log_level="warning", access_log=False, lifespan="off")
        )
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            running = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                async with self._internet:
                    yield
            finally:
                server.should_exit = True
                await running

    async def _call(self, request: Request) -> JSONResponse:
        parameters = {name: texts[0] for name, texts in parse_qs((await request.body()).decode()).items()}
        result: Any = True  # Telegram's answer to nearly everything else
        if request.path_params["method"] == "getMe":
            result = BOT
        elif request.path_params["method"] == "sendMessage":
            person = self._people[int(parameters["chat_id"])]
            result = self.message(person, BOT, parameters["text"])
            if "reply_markup" in parameters:
                result["reply_markup"] = json.loads(parameters["reply_markup"])
            person.last = result
        return JSONResponse({"ok": True, "result": result})
