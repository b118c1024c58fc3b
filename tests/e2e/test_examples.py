"""The examples, run as readers would run them; the bot that needs Telegram talks to the tests' stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from botapi import FakeBotAPI
from bots import until
from pymongo import MongoClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from botapi import User

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT = 60
ON_THE_STAND_IN = """\
import runpy, sys
from telegram.ext import ApplicationBuilder
def _init(self, original=ApplicationBuilder.__init__):
    original(self)
    self.base_url({base_url!r}).base_file_url({base_file_url!r})
ApplicationBuilder.__init__ = _init
sys.path.insert(0, {folder!r})
runpy.run_path({path!r}, run_name="__main__")
"""


def run(name: str, uri: str | None) -> str:
    """Runs an example without a token; gives what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "BOT_TOKEN"}
    if uri is not None:
        environment["MONGODB_URI"] = uri
    finished = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        env={**environment, "PYTHONUTF8": "1", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def positions(text: str, *parts: str) -> list[int]:
    """Where each part stands; none may be missing."""
    found = [text.find(part) for part in parts]
    assert -1 not in found, f"{parts[found.index(-1)]!r} is not in\n{text}"
    return found


class TestDemo:
    def test_it_tells_its_story_to_the_end(self) -> None:
        # when run as the README says, on a server of its own
        output = run("demo.py", None)
        # then the bot goes on after the kill, knows of the edit, and has saved both
        order = positions(
            output,
            "How many tins of Sencha?",
            "kill -9 ",
            "edits its message",
            "1 x Assam, 2 x Sencha",
            "How many tins of Earl Grey?",
            "cart: { Assam: 1 } }",
            "{'$set': {'data.plan': 'premium'}}",
            "Both changes are there",
            "cart: { Assam: 1, Sencha: 2, 'Earl Grey': 3 }",
            "cls: 'telegram.Message'",
            "state: 'choosing'",
            "cls: 'tea_shop.Tea'",
            "{ _id: 'Earl Grey', tins: 3 }",
            "Done in ",
        )
        assert order[:5] == sorted(order[:5])

    async def test_it_leaves_nothing_on_a_server_of_the_users_own(self, mongodb_server_uri: str) -> None:
        with MongoClient(mongodb_server_uri) as client:

            def databases() -> set[str]:
                return {name for name in client.list_database_names() if name.startswith("ptb_mongo_example")}

            # given
            before = databases()
            # when
            run("demo.py", mongodb_server_uri)
            # then; what other tests run on this server at the same time removes its own
            made = databases() - before
            await until(lambda: not made & databases())


class TestLiveEdit:
    def test_neither_change_is_lost(self, mongodb_server_uri: str) -> None:
        # when
        output = run("live_edit.py", mongodb_server_uri)
        # then
        told = ("has not saved", "'premium'", "premium, 20 %", "Both changes are there", "plan: 'premium'")
        order = positions(output, *told)
        assert order == sorted(order)
        assert "cart: { 'Earl Grey': 3 }" in output


class TestConversationBot:
    @pytest.fixture
    async def api(self) -> AsyncIterator[FakeBotAPI]:
        async with FakeBotAPI() as server:
            yield server

    @pytest.fixture
    def ada(self, api: FakeBotAPI) -> User:
        return api.user(1815, "Ada")

    def test_without_a_token_it_says_what_to_do(self) -> None:
        # when
        finished = subprocess.run(
            [sys.executable, EXAMPLES / "conversation_bot.py"],
            env={key: value for key, value in os.environ.items() if key != "BOT_TOKEN"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        # then
        assert finished.returncode == 1
        assert "@BotFather" in finished.stderr
        assert "examples/demo.py" in finished.stderr

    async def test_an_order_goes_on_after_ctrl_c_and_a_new_start(
        self, api: FakeBotAPI, ada: User, mongodb_server_uri: str, mongodb_database: str
    ) -> None:
        # given an order for which the bot waits
        uri = urlsplit(mongodb_server_uri)._replace(path=f"/{mongodb_database}").geturl()
        async with conversation_bot(api, uri):
            await ada.sends("/start")
            menu = await ada.receives()
            await ada.clicks("Sencha 6.50 €", menu)
            await ada.receives()
        # when it is stopped and started
        async with conversation_bot(api, uri):
            cart = await ada.talks("2")
            await ada.clicks("Pay", menu)
            paid = await ada.receives()
        # then
        assert "2 x Sencha" in cart.text
        assert "Paid" in paid.text


@contextlib.asynccontextmanager
async def conversation_bot(api: FakeBotAPI, uri: str) -> AsyncIterator[None]:
    """Runs the bot, and stops it with Ctrl-C."""
    program = ON_THE_STAND_IN.format(
        base_url=api.base_url,
        base_file_url=api.base_file_url,
        folder=str(EXAMPLES),
        path=str(EXAMPLES / "conversation_bot.py"),
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={**os.environ, "BOT_TOKEN": api.token, "MONGODB_URI": uri},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), TIMEOUT) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
