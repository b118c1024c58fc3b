"""The databases of PTB's tests, and a look into them from outside.

PTB's tests ask a persistence for its data without `await`, in the middle of a running event loop. What they get is
what is stored: in a thread, another `MongoPersistence` opens the database and loads it, as a restarted bot would.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import telegram
from pymongo import AsyncMongoClient, MongoClient
from telegram.ext import ContextTypes, PersistenceInput

from ptb_mongo import MongoPersistence
from ptb_mongo.migration import BotData, Database, Importer

__all__ = ["KINDS", "NOTHING", "TRUSTED", "OwnDatabase"]

T = TypeVar("T")

KINDS: Final = ("user_data", "chat_data", "bot_data", "callback_data", "conversations")
NOTHING: Final[dict[str, Any]] = {
    "user_data": {},
    "chat_data": {},
    "bot_data": {},
    "callback_data": None,
    "conversations": {},
}
"""What is loaded where nothing is stored."""
TRUSTED: Final = ("tests.ext.test_basepersistence", "tests.ext.test_picklepersistence")
"""Modules of PTB whose objects its tests store."""

_TIMEOUT: Final = 60  # seconds, after which a test fails instead of hanging


class OwnDatabase:
    """A database that belongs to one test.

    Args:
        context_types: Those of the persistence that the test uses.

    Attributes:
        name: Its name.
        bot: The bot whose data it holds, if the persistence has been told.
    """

    made: Final[list[OwnDatabase]] = []
    """Those of the current test."""
    _by_path: Final[dict[Path, OwnDatabase]] = {}

    def __init__(self, context_types: ContextTypes[Any, Any, Any, Any] | None = None) -> None:
        self.name = f"ptb_suite_{secrets.token_hex(6)}"
        self.bot: telegram.Bot | None = None
        self._context_types = context_types
        self.made.append(self)

    @classmethod
    def of(cls, path: Path, context_types: ContextTypes[Any, Any, Any, Any] | None) -> tuple[OwnDatabase, bool]:
        """The database that stands for a file, and whether it is new."""
        is_new = path not in cls._by_path
        if is_new:
            cls._by_path[path] = cls(context_types)
        return cls._by_path[path], is_new

    @classmethod
    def drop_all(cls) -> None:
        """Drops those of the current test."""
        for database in cls.made:
            _client().drop_database(database.name)
        cls.made.clear()
        cls._by_path.clear()

    def options(self) -> dict[str, Any]:
        """The options with which a `MongoPersistence` uses this database."""
        return {
            "client": os.environ["MONGODB_URI"],
            "database": self.name,
            "trusted": TRUSTED,
            "context_types": self._context_types,
        }

    # -- from outside -----------------------------------------------------------------------------------

    def documents(self) -> dict[str, list[dict[str, Any]]]:
        """The documents of each kind as they are stored, with their `rev`: every write makes a difference."""
        database = _client()[self.name]
        return {kind: list(database[kind].find(sort=[("_id", 1)])) for kind in KINDS}

    def load(self, kind: str) -> Any:
        """What a restarted bot would load; blocks, whatever the caller's event loop does."""
        return self.load_kinds(kind)[kind]

    def load_kinds(self, *kinds: str) -> dict[str, Any]:
        """The same for several kinds."""
        return _in_thread(self._load(kinds))

    def store(self, data: dict[str, Any]) -> None:
        """Stores data of all kinds, as an earlier process of the bot would have done."""
        _in_thread(self._store(data))

    def take_in(self, data: BotData) -> None:
        """Imports what was read from PTB's files."""
        _in_thread(self._take_in(data))

    async def _load(self, kinds: tuple[str, ...]) -> dict[str, Any]:
        persistence = self._another_persistence()
        found: dict[str, Any] = {}
        try:
            for kind in kinds:
                if kind == "conversations":
                    names = _client()[self.name]["conversations"].distinct("handler")
                    found[kind] = {name: dict(await persistence.get_conversations(name)) for name in names}
                else:
                    found[kind] = await getattr(persistence, f"get_{kind}")()
        finally:
            await persistence.flush()
        return found

    async def _store(self, data: dict[str, Any]) -> None:
        persistence = self._another_persistence()
        try:
            await persistence.get_callback_data()  # so that keyboards that are gone are deleted
            for user_id, user_data in data["user_data"].items():
                await persistence.update_user_data(user_id, user_data)
            for chat_id, chat_data in data["chat_data"].items():
                await persistence.update_chat_data(chat_id, chat_data)
            await persistence.update_bot_data(data["bot_data"])
            if data["callback_data"] is not None:
                await persistence.update_callback_data(data["callback_data"])
            for name, states in data["conversations"].items():
                for key, state in states.items():
                    await persistence.update_conversation(name, key, state)
        finally:
            await persistence.flush()

    async def _take_in(self, data: BotData) -> None:
        database = await Database.open(_async_client(), self.name, trusted=TRUSTED, bot=self.bot)
        try:
            report = await Importer(database, apply=True, bot_id=self.bot.id if self.bot else 0).run(data)
        finally:
            await database.close()
        assert not report.problems, report.problems
        assert not report.refused, report.refused

    def _another_persistence(self) -> MongoPersistence[Any, Any, Any]:
        persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(
            **{**self.options(), "client": _async_client()},
            store_data=PersistenceInput(callback_data=False),  # lets any bot in, and hinders nothing below
            refresh="off",
        )
        if self.bot is not None:
            persistence.set_bot(self.bot)
        return persistence


# -- two clients and a thread for all tests of a process --------------------------------------------------

_shared: Final[dict[str, Any]] = {}


def _client() -> MongoClient[dict[str, Any]]:
    if "client" not in _shared:
        _shared["client"] = MongoClient(os.environ["MONGODB_URI"])
    client: MongoClient[dict[str, Any]] = _shared["client"]
    return client


def _async_client() -> AsyncMongoClient[dict[str, Any]]:
    """Belongs to the event loop of `_in_thread`."""
    if "async_client" not in _shared:
        _shared["async_client"] = AsyncMongoClient(os.environ["MONGODB_URI"])
    client: AsyncMongoClient[dict[str, Any]] = _shared["async_client"]
    return client


def _in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in an event loop of its own, and waits for it."""
    if "loop" not in _shared:
        _shared["loop"] = asyncio.new_event_loop()
        threading.Thread(target=_shared["loop"].run_forever, daemon=True).start()
    return asyncio.run_coroutine_threadsafe(coroutine, _shared["loop"]).result(_TIMEOUT)
