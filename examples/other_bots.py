"""Telegram's part for `webhook_demo.py` and `jobs_bot.py`: as in `offline.py`, but for any program, and with webhooks.

The program is started with OFFLINE=1 in its environment, and then builds its application with
`builder.request(PipeRequest())`. Updates for a webhook arrive as from Telegram: by HTTP.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
from offline import JSON, PATIENCE, TOKEN, PipeRequest, Telegram
from telegram.ext import Application, ApplicationBuilder

__all__ = ["AnyBot", "builder", "free_port"]

PAUSE = 0.1  # seconds between two attempts; Telegram waits longer


def builder() -> ApplicationBuilder[Any, Any, Any, Any, Any, Any]:
    """An `ApplicationBuilder` for the bot of BOT_TOKEN, or for an offline bot."""
    if not os.environ.get("OFFLINE"):
        return Application.builder().token(os.environ["BOT_TOKEN"])
    pipe = PipeRequest()
    return Application.builder().token(TOKEN).request(pipe).get_updates_request(pipe)


def free_port() -> int:
    """A port on this machine that nobody is listening on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class AnyBot(Telegram):
    """A `Telegram` for a bot in any program; calls the bot's webhook once it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._webhook: JSON = {}
        self._webhook_set = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._deliverer: asyncio.Task[None] | None = None

    async def start(self, program: Path, **environment: str) -> int:
        """Starts the program; returns its process id."""
        self._webhook_set.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program)),
            env={**os.environ, "OFFLINE": "1", **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches only us, and we end it
        )
        self._in_background(self._serve(self._process))
        return self._process.pid

    async def webhook(self) -> str:
        """Waits until the bot has set its webhook; returns the address."""
        await asyncio.wait_for(self._webhook_set.wait(), PATIENCE)
        return str(self._webhook["url"])

    async def confirmed(self) -> None:
        """Waits until the bot has confirmed all updates; unconfirmed ones are delivered again."""
        if self.updates:
            self._confirmed.clear()
            await asyncio.wait_for(self._confirmed.wait(), PATIENCE)

    async def terminate_bot(self) -> None:
        """Ends the bot with SIGTERM; it may exit with status 0 or, like uvicorn, with that signal."""
        if self._process is not None:
            self._process.terminate()
            status = await asyncio.wait_for(self._process.wait(), PATIENCE)
            if status not in {0, -signal.SIGTERM}:
                raise RuntimeError(f"the bot has ended with the exit status {status}")

    async def close(self) -> None:
        """Ends everything that is running."""
        if self._deliverer is not None:
            self._deliverer.cancel()
            await asyncio.wait({self._deliverer})
        await self.kill_bot()

    async def _call(self, process: asyncio.subprocess.Process, number: int, method: str, parameters: JSON) -> None:
        if method == "setWebhook":
            self._webhook = parameters
            self._webhook_set.set()
            self._deliverer = self._deliverer or asyncio.create_task(self._deliver_to_webhook())
        await super()._call(process, number, method, parameters)

    async def _get_updates(self, parameters: JSON) -> list[JSON]:
        offset = parameters.get("offset", 0)
        if all(update["update_id"] < offset for update in self.updates):
            self._confirmed.set()
        return await super()._get_updates(parameters)

    async def _deliver_to_webhook(self) -> None:
        """Delivers one update after the other, each until the bot answers 200, like Telegram."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            while True:
                if not self.updates:
                    self.news.clear()
                    await self.news.wait()
                    continue
                headers = {"X-Telegram-Bot-Api-Secret-Token": self._webhook["secret_token"]}
                try:
                    answer = await client.post(self._webhook["url"], json=self.updates[0], headers=headers)
                except httpx.TransportError:  # it is unreachable: try again later
                    await asyncio.sleep(PAUSE)
                    continue
                if answer.is_success:
                    del self.updates[0]
                else:
                    await asyncio.sleep(PAUSE)
