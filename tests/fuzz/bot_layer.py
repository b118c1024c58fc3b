"""Plays the cases of `bot_case` on a server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bot_case import BotCase, make
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from choices import Choices
from hostile_documents import Planted
from judging import Finding, of_error
from neighbours import OTHER, Talking, neighbours, states
from offline import BOT_ID
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError
from serving import Alone, Shared
from workers import SharedBot, running

from ptb_mongo import MongoPersistence
from ptb_mongo.errors import UnsavedDataError
from ptb_mongo.printable import printable
from ptb_mongo.sync import spill

__all__ = ["BotLayer"]

_OF_THE_PROCESSOR: Final = 4.0, 400e-6  # seconds, and seconds for a byte
_WAITING: Final = 60.0  # seconds that a case may take beside those, on a busy machine


class BotLayer:
    """See `hunting.Layer`.

    Args:
        uri: The server.
    """

    name = "bot"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def make(self, choices: Choices) -> BotCase:
        """See `Layer.make`."""
        return make(choices)

    def size(self, made: BotCase) -> int:
        """See `Layer.size`."""
        return made.size

    def shown(self, made: BotCase) -> str:
        """See `Layer.shown`."""
        return "\n".join(f"{name}: {value!r:.3000}" for name, value in made._asdict().items() if value)

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[BotCase, int], Finding | None]]:
        """See `Layer.open`."""
        warnings.simplefilter("ignore")
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        name = f"fuzz_{os.getpid()}_{secrets.token_hex(4)}"
        with MongoClient(self._uri, tz_aware=True) as client:
            asynchronous: Any = AsyncMongoClient(self._uri)
            try:
                stage = _Stage(client[name], asynchronous)
                yield lambda case, _: loop.run_until_complete(stage.play(case))
            finally:
                loop.run_until_complete(asynchronous.close())
                client.drop_database(name)
                loop.close()
                asyncio.set_event_loop(None)


class _Stage:
    """Where cases are played one after the other.

    Args:
        database: As others see it.
        client: What the bots connect with.
    """

    def __init__(self, database: Any, client: Any) -> None:
        self._database = database
        self._client = client
        self._folder = Path()
        self._number = 0

    async def play(self, case: BotCase) -> Finding | None:
        """Plays a case."""
        for name in self._database.list_collection_names():
            self._database[name].delete_many({})
        unhandled: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(repr(context)))
        self._folder = Path(tempfile.mkdtemp(prefix="ptb-mongo-fuzz-"))
        began, log = time.thread_time(), _Log()
        fixed, each = _OF_THE_PROCESSOR
        limit = fixed + each * case.size
        try:
            with log:
                await asyncio.wait_for(self._play(case), limit + _WAITING)
        except asyncio.TimeoutError:
            return Finding("a case takes for ever", "")
        except Exception as error:  # noqa: BLE001  (that is what we look for)
            return of_error("a bot", error)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        seconds = time.thread_time() - began
        left = [task for task in asyncio.all_tasks() if _is_of_ours(task)]
        if left or unhandled:
            return Finding("something goes on after the end", f"{left} {unhandled}"[:2000])
        if log.wrong:
            return Finding("the log is wrong", log.wrong)
        if seconds > limit:
            return Finding("a bot is slow", f"{seconds:.1f} s for {case.size:,} bytes")
        return None

    async def _play(self, case: BotCase) -> None:
        neighbours(self._database)
        for planted in case.before:
            self._put(planted)
        state = await self._run(case, 2, case.running)
        if case.spilled:
            self._spill(case)
        await self._run(case, state, [])

    def _put(self, planted: Planted) -> None:
        """Writes a document, if MongoDB takes it; one of the neighbour's is never written over."""
        collection = self._database[planted.collection].with_options(CodecOptions(document_class=RawBSONDocument))
        now = dtm.datetime.now(dtm.timezone.utc)
        document_id = planted.document["_id"]
        with contextlib.suppress(PyMongoError, BSONError):
            raw = RawBSONDocument(planted.raw(now))
            if type(document_id) in {int, str} and document_id not in {BOT_ID, OTHER, "g" * 32}:
                collection.replace_one({"_id": document_id}, raw, upsert=True)
            else:
                collection.insert_one(raw)

    def _spill(self, case: BotCase) -> None:
        path = spill.write(self._folder, self._database.name, "", "stranger", case.spilled, lambda *_: None)
        raw = bytearray(path.read_bytes())
        for at, value in case.damage:
            raw[at % len(raw)] = value
        path.write_bytes(raw)

    def _persistence(self, case: BotCase) -> Any:
        options: Any = {"loading": case.loading, "refresh": case.refresh, "trusted": ["samples"]}
        return MongoPersistence(
            self._client, self._database.name, shutdown_timeout=5, spill_dir=self._folder, **options
        )

    async def _run(self, case: BotCase, state: int, planted: list[Planted]) -> int:
        """One run of the bot; returns the state in which the neighbour's conversation is then."""
        run = self._alone if not case.shared else self._shared
        async with run(case) as serve:
            first = await serve.neighbour()
            assert first == state, f"the conversation went on at {first}, and was at {state}"
            await serve.strangers()
            for one in planted:
                self._put(one)
            await serve.strangers()
            await serve.strangers()
            await serve.neighbour()
            return serve.state

    @contextlib.asynccontextmanager
    async def _alone(self, case: BotCase) -> AsyncIterator[Alone]:
        bot = Talking(self._persistence(case))
        await bot.application.initialize()
        try:
            yield Alone(bot, self._database, case, self._next)
        finally:
            with _unsaved():
                await bot.application.shutdown()

    @contextlib.asynccontextmanager
    async def _shared(self, case: BotCase) -> AsyncIterator[Shared]:
        held: list[Any] = []
        exclusive = case.shared == "exclusive"
        consistency = "strict" if exclusive else case.shared
        bot = SharedBot(
            self._persistence(case), [states(held)], consistency=consistency, exclusive=exclusive, lease_timeout=1
        )
        with _unsaved():
            async with running(bot):
                yield Shared(bot, self._database, case, self._next, held)

    def _next(self) -> int:
        self._number += 1
        return self._number


def _is_of_ours(task: asyncio.Task[Any]) -> bool:
    """Whether a task belongs to the bot, and not to the client that all cases share."""
    code: Any = getattr(task.get_coro(), "cr_code", None)
    return code is not None and any(name in Path(code.co_filename).parts for name in ("ptb_mongo", "telegram"))


@contextlib.contextmanager
def _unsaved() -> Iterator[None]:
    """A stop may name what strangers have made impossible to save."""
    try:
        yield
    except UnsavedDataError as error:
        if re.search(rf"_id ({OTHER}|{BOT_ID})\b", str(error)):
            raise


class _Log(logging.Handler):
    """What ptb_mongo logs: harmless lines, and no error that nobody expects."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.wrong = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info or printable(message) != message:
            self.wrong = self.wrong or f"{message!r:.500} {record.exc_info}"

    def __enter__(self) -> None:
        logger = logging.getLogger("ptb_mongo")
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        logger.propagate = logging.getLogger("telegram").propagate = False

    def __exit__(self, *_: object) -> None:
        logging.getLogger("ptb_mongo").removeHandler(self)
