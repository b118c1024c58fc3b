"""Telegram without Telegram: a stand-in for the Bot API in this process, and the bot in its own process.

The two communicate through a pipe instead of HTTPS: one line of JSON for each call by the bot, one for each answer. The
bot does not notice: it polls for updates, sends messages and gets callback queries as usual. This file contains both
ends of the pipe; run as a program, it is the bot's end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tea_shop import add_handlers
from telegram.ext import Application
from telegram.request import BaseRequest, RequestData

from ptb_mongo import MongoPersistence

JSON = dict[str, Any]

TOKEN = "123456:not-a-token"  # noqa: S105  (nobody checks it)
BOT = {"id": 123456, "is_bot": True, "first_name": "Tea shop", "username": "tea_shop_bot"}
PATIENCE = 15.0  # seconds to wait for the bot


# -- the bot's end of the pipe: stdin and stdout ------------------------------------------------------------


class PipeRequest(BaseRequest):
    """Sends the bot's calls to stdout, and reads the answers from stdin."""

    def __init__(self) -> None:
        self._numbers = count()
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def read_timeout(self) -> float | None:
        """See `BaseRequest`."""
        return PATIENCE

    async def initialize(self) -> None:
        """See `BaseRequest`."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())

    async def shutdown(self) -> None:
        """See `BaseRequest`."""
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *_: Any, **__: Any
    ) -> tuple[int, bytes]:
        """See `BaseRequest`."""
        del method
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        parameters = request_data.parameters if request_data else {}
        print(json.dumps([number, url.rpartition("/")[2], parameters]), flush=True)
        try:
            return 200, json.dumps({"ok": True, "result": await answer}).encode()
        finally:
            del self._open[number]

    async def _read(self) -> None:
        stream = asyncio.StreamReader(limit=2**20)
        protocol = asyncio.StreamReaderProtocol(stream)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(os.dup(0)))
        try:
            while line := await stream.readline():
                number, result = json.loads(line)
                if number in self._open and not self._open[number].done():
                    self._open[number].set_result(result)
        finally:
            pipe.close()
        signal.raise_signal(signal.SIGKILL)  # the process that played Telegram is gone, and with it the database


def run_bot(uri: str, database: str, save_every: float) -> None:
    """The same bot as in `conversation_bot.py`, except for where its requests go."""
    persistence = MongoPersistence(uri, database, update_interval=save_every, trusted=["tea_shop"])
    pipe = PipeRequest()
    application = (
        Application.builder()
        .token(TOKEN)
        .request(pipe)
        .get_updates_request(pipe)
        .persistence(persistence)
        .arbitrary_callback_data(True)
        .build()
    )
    add_handlers(application)
    application.run_polling()


# -- Telegram's end of the pipe -----------------------------------------------------------------------------


@dataclass
class Reply:
    """A message from the bot, as its reader sees it.

    Attributes:
        text: Its text.
        buttons: What Telegram sends back for each button, by the button's label.
        edited: Whether it replaces an earlier text.
        content: The whole message, in Telegram's form.
    """

    text: str
    buttons: dict[str, str]
    edited: bool
    content: JSON


@dataclass
class Person:
    """Somebody in a private chat with the bot."""

    id: int
    name: str
    telegram: Telegram
    inbox: asyncio.Queue[Reply] = field(default_factory=asyncio.Queue)

    async def writes(self, text: str) -> Reply:
        """Sends a text, or a command, and waits for the bot's answer."""
        message = self.telegram.message(self.chat, self.user, text)
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.partition(" ")[0])}]
        return await self._answer({"message": message})

    async def presses(self, button: str, reply: Reply) -> Reply:
        """Presses a button under a message, and waits for the bot's answer."""
        query = {
            "id": self.telegram.new_id(),
            "from": self.user,
            "message": reply.content,
            "chat_instance": str(self.id),
            "data": reply.buttons[button],
        }
        return await self._answer({"callback_query": {**query, "id": str(query["id"])}})

    async def _answer(self, update: JSON) -> Reply:
        self.telegram.updates.append({"update_id": self.telegram.new_id(), **update})
        self.telegram.news.set()
        return await asyncio.wait_for(self.inbox.get(), PATIENCE)

    @property
    def user(self) -> JSON:
        """The person, in Telegram's form."""
        return {"id": self.id, "is_bot": False, "first_name": self.name}

    @property
    def chat(self) -> JSON:
        """The chat with the bot, in Telegram's form."""
        return {"id": self.id, "type": "private", "first_name": self.name}


class Telegram:
    """Keeps chats and updates, like Telegram; it stays when the bot's process ends."""

    def __init__(self) -> None:
        self.updates: list[JSON] = []
        self.news = asyncio.Event()
        self.people: dict[int, Person] = {}
        self._ids = count(1)
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def person(self, user_id: int, name: str) -> Person:
        """A new person."""
        person = self.people[user_id] = Person(user_id, name, self)
        return person

    def new_id(self) -> int:
        """A unique number, for a message or an update."""
        return next(self._ids)

    def message(self, chat: JSON, sender: JSON, text: str) -> JSON:
        """A new message, in Telegram's form."""
        date = int(time.time())
        return {"message_id": self.new_id(), "date": date, "chat": chat, "from": sender, "text": text}

    # The bot's process

    async def start_bot(self, uri: str, database: str, save_every: float) -> int:
        """Starts the bot in its own process; returns the process id."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, uri, database, str(save_every)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only us, and we end it
        )
        self._in_background(self._serve(self._process))
        return self._process.pid

    async def kill_bot(self) -> None:
        """Ends the bot with SIGKILL: it has no time to save or even to notice."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop_bot(self) -> None:
        """Ends the bot with SIGTERM, as a server's shutdown does: it saves and exits."""
        if self._process is not None:
            self._process.terminate()
            status = await asyncio.wait_for(self._process.wait(), PATIENCE)
            if status:
                raise RuntimeError(f"the bot has ended with the exit status {status}")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The Bot API

    async def _serve(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while line := await process.stdout.readline():
            number, method, parameters = json.loads(line)
            self._in_background(self._call(process, number, method, parameters))

    async def _call(self, process: asyncio.subprocess.Process, number: int, method: str, parameters: JSON) -> None:
        answers = {"getUpdates": self._get_updates, "sendMessage": self._send, "editMessageText": self._edit}
        result: Any = True  # Telegram's answer to nearly everything else
        if method == "getMe":
            result = BOT
        elif method in answers:
            result = await answers[method](parameters)
        if process.stdin is not None and process.returncode is None:
            process.stdin.write(json.dumps([number, result]).encode() + b"\n")

    async def _get_updates(self, parameters: JSON) -> list[JSON]:
        offset, timeout = parameters.get("offset", 0), parameters.get("timeout", 0)
        self.updates = [update for update in self.updates if update["update_id"] >= offset]
        if not self.updates and timeout:
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), timeout)
            except asyncio.TimeoutError:
                return []
        return self.updates

    async def _send(self, parameters: JSON) -> JSON:
        person = self.people[parameters["chat_id"]]
        return self._deliver(person, self.message(person.chat, BOT, parameters["text"]), parameters)

    async def _edit(self, parameters: JSON) -> JSON:
        person = self.people[parameters["chat_id"]]
        message = self.message(person.chat, BOT, parameters["text"])
        message |= {"message_id": parameters["message_id"], "edit_date": message["date"]}
        return self._deliver(person, message, parameters)

    @staticmethod
    def _deliver(person: Person, message: JSON, parameters: JSON) -> JSON:
        keyboard = parameters.get("reply_markup", {}).get("inline_keyboard", [])
        if keyboard:
            message["reply_markup"] = {"inline_keyboard": keyboard}
        buttons = {button["text"]: button["callback_data"] for row in keyboard for button in row}
        person.inbox.put_nowait(Reply(message["text"], buttons, "edit_date" in message, message))
        return message


if __name__ == "__main__":
    run_bot(sys.argv[1], sys.argv[2], float(sys.argv[3]))
