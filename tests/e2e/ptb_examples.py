"""python-telegram-bot's own example bots, as its users run them: each in its own process, on our storage.

The examples come from the sdist of the very version that is installed, once, into `.cache/`; they are never a
part of this repository. What changes is changed in memory: the persistence, the token, and the address of the
Bot API. A text that no longer has the lines to change is an error, never a bot that runs without persistence.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from botapi import FakeBotAPI
    from pymongo import AsyncMongoClient

ROOT = Path(__file__).parents[2]
STOP_TIMEOUT = 20.0

_PROLOGUE = """\
from telegram.ext import ApplicationBuilder
from {module} import {name}
def _with_address(self, _init=ApplicationBuilder.__init__):
    _init(self)
    self.base_url({base_url!r}).base_file_url({base_file_url!r})
ApplicationBuilder.__init__ = _with_address
"""
_COMPLAINTS = re.compile(r"Traceback|ResourceWarning| - (?:ERROR|CRITICAL) - |never (?:awaited|retrieved)")


def examples_directory() -> Path:
    """Return where the installed version's examples lie, after fetching them if this is the first time."""
    release = version("python-telegram-bot")
    target = ROOT / ".cache" / f"python-telegram-bot-{release}-examples"
    if target.is_dir():
        return target
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        # What builds it may come as wheels: to build that as well takes ten times as long as all the rest.
        download = ["download", "--quiet", "--no-deps", "--no-binary", "python-telegram-bot", "--dest", scratch]
        subprocess.run([sys.executable, "-m", "pip", *download, f"python-telegram-bot=={release}"], check=True)
        unpacked = Path(scratch, "examples")
        unpacked.mkdir()
        with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as sdist:
            for member in sdist.getmembers():
                path = Path(member.name)
                if path.parent.name == "examples" and path.suffix == ".py" and (file := sdist.extractfile(member)):
                    (unpacked / path.name).write_bytes(file.read())
        # Two runs may come here at once. The rename is atomic and takes only one: the other's is as good.
        with contextlib.suppress(OSError):
            unpacked.rename(target)
    return target


@dataclass(frozen=True)
class Saved:
    """What is stored for one person: their data, and where they are in a conversation."""

    user_data: dict[str, Any] | None
    state: object


class Storage(ABC):
    """A persistence to run the examples with: how a bot's text names it, and what a look into it shows."""

    module: str
    name: str

    @abstractmethod
    def arguments(self) -> str:
        """Return the arguments that say where this persistence stores."""

    @abstractmethod
    async def look(self, user_id: int, conversation: str) -> Saved:
        """Return what is stored now for a person who talks with the bot in a private chat."""

    def call(self, update_interval: float, extra: str) -> str:
        """Return the expression that makes this persistence in a bot's text."""
        return f"{self.name}({self.arguments()}, update_interval={update_interval}{extra})"


class PickleStorage(Storage):
    """PTB's own persistence: what its users expect of any other."""

    module, name = "telegram.ext", "PicklePersistence"

    def __init__(self, file: Path) -> None:
        self._file = file

    def arguments(self) -> str:
        return f"filepath={str(self._file)!r}"

    async def look(self, user_id: int, conversation: str) -> Saved:
        try:
            content = pickle.loads(self._file.read_bytes())
        except (FileNotFoundError, EOFError, pickle.UnpicklingError):  # not there yet, or half written
            return Saved(None, None)
        states = content["conversations"].get(conversation, {})
        return Saved(content["user_data"].get(user_id), states.get((user_id, user_id)))


class MongoStorage(Storage):
    """Ours. What is stored is read from the server, as any other service would read it."""

    module, name = "ptb_mongo", "MongoPersistence"

    def __init__(self, uri: str, client: AsyncMongoClient[dict[str, Any]], database: str) -> None:
        self._uri = uri
        self._database = client[database]

    def arguments(self) -> str:
        return f"{self._uri!r}, {self._database.name!r}"

    async def look(self, user_id: int, conversation: str) -> Saved:
        user = await self._database["user_data"].find_one({"_id": user_id})
        talk = await self._database["conversations"].find_one({"handler": conversation, "key": [user_id, user_id]})
        return Saved(user["data"] if user else None, talk["state"] if talk else None)


def rewritten(source: str, storage: Storage, *, token: str, update_interval: float) -> str:
    """Return an example's text with this token and this persistence, which it may have had none of before.

    A bot that had none gets one for everything: its conversations get names and become persistent, and its
    context types are passed on, as the documentation of both tells users to do.
    """
    context_types = ", context_types=context_types" if "context_types = ContextTypes(" in source else ""
    call = storage.call(update_interval, context_types)
    source = _replaced(r'\.token\("TOKEN"\)', f".token({token!r})", source)
    if "PicklePersistence(" in source:
        return _replaced(r"PicklePersistence\([^()]*\)", call, source)
    source = _replaced(r"\.build\(\)", f".persistence({call}).build()", source)
    if "ConversationHandler(" in source:
        named = r'\1 = ConversationHandler(name="\1", persistent=True,'
        source = re.sub(r"\b(\w+) = ConversationHandler\(", named, source)
    return source


def _replaced(pattern: str, replacement: str, source: str) -> str:
    source, count = re.subn(pattern, lambda _: replacement, source)
    if count != 1:
        raise AssertionError(f"the example should have {pattern} once, but has it {count} times")
    return source


class ExampleBot:
    """One example bot: started, stopped and started again on the same storage, as its owner would."""

    def __init__(self, source: str, api: FakeBotAPI, storage: Storage, log: Path) -> None:
        self._api = api
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        prologue = _PROLOGUE.format(
            module=storage.module, name=storage.name, base_url=api.base_url, base_file_url=api.base_file_url
        )
        self._program = prologue + source

    @property
    def log(self) -> str:
        """All that the bot has said so far, over all its starts."""
        return self._log.read_text() if self._log.exists() else ""

    async def start(self) -> None:
        """Start the bot, and return when it asks Telegram for updates."""
        polls = self._api.polls
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-W",
                "always::ResourceWarning",
                "-c",
                self._program,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        polling = asyncio.ensure_future(self._api.polled(polls))
        ending = asyncio.ensure_future(self._process.wait())
        await asyncio.wait({polling, ending}, return_when=asyncio.FIRST_COMPLETED)
        polls_now = polling.done() and not polling.exception()
        for waiter in (polling, ending):
            waiter.cancel()
        await asyncio.gather(polling, ending, return_exceptions=True)
        if not polls_now:
            status = self._process.returncode
            what = "does not poll" if status is None else f"ended with {status}"
            raise AssertionError(f"the bot {what} after its start:\n{self.log}")

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the bot with a signal, as a service manager or Ctrl-C does; it must end well and in peace."""
        status = await self._end(how)
        if status != 0 or _COMPLAINTS.search(self.log):
            raise AssertionError(f"the bot ended with {status} and said:\n{self.log}")

    async def restart(self) -> None:
        """Stop the bot and start it again."""
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """End the bot without giving it a chance to save anything. One that is not running stays so."""
        if self._process is not None:
            await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            raise AssertionError("the bot is not running")
        if process.returncode is None:
            process.send_signal(how)
        try:
            status = await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
        except asyncio.TimeoutError:
            raise AssertionError(f"the bot does not stop upon {how.name}:\n{self.log}") from None
        self._process = None
        return status


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout: float = 10.0) -> None:
    """Wait until a condition holds that only another process brings about, and that nobody announces."""
    deadline = time.monotonic() + timeout
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout} s still not true: {what}")
        await asyncio.sleep(0.02)
