"""The storages that the contract is tested on; each reopens what was saved with a new persistence object."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from telegram.ext import Application, BasePersistence, ExtBot, PicklePersistence

from ptb_mongo import MongoPersistence

TOKEN = "123456:a-token-of-nobody"  # noqa: S105
BOT_ID = 123456


class OfflineBot(ExtBot):
    """A bot that does not talk to Telegram; enough for an `Application` that only handles updates."""

    async def initialize(self) -> None:
        """Does not ask Telegram who it is."""

    async def shutdown(self) -> None:
        """Has nothing to close."""


@dataclass
class Opened:
    """A persistence after the start of an `Application`, and what it has loaded."""

    persistence: BasePersistence[Any, Any, Any]
    user_data: dict[int, Any]
    chat_data: dict[int, Any]
    bot_data: Any
    callback_data: Any


@dataclass
class Storage:
    """A place where data lies between two runs of a bot.

    Attributes:
        make: Makes a persistence on it; takes the options that all have in common, or those of `MongoPersistence`.
        client: A client to look at it with, MongoDB's or the mock's; `None` for a file.
        database: Name of the database.
    """

    make: Callable[..., BasePersistence[Any, Any, Any]]
    client: Any = None
    database: str = ""

    @contextlib.asynccontextmanager
    async def opened(self, **options: Any) -> AsyncIterator[Opened]:
        """One run of a bot, with a persistence object of its own."""
        async with started(self.make(**options)) as opened:
            yield opened

    def application(self, **options: Any) -> Application:
        """An application on a persistence of its own."""
        persistence = self.make(**options)
        bot = OfflineBot(TOKEN, arbitrary_callback_data=True)
        return Application.builder().bot(bot).updater(None).persistence(persistence).build()

    async def documents(self, collection: str) -> list[dict[str, Any]]:
        """What is stored, sorted by `_id`."""
        found = [document async for document in self.client[self.database][collection].find()]
        return sorted(found, key=lambda document: str(document["_id"]))

    async def collections(self) -> set[str]:
        """The collections that hold users' data."""
        names = await self.client[self.database].list_collection_names()
        return {name for name in names if await self.documents(name)} - {"ptb_mongo"}


@contextlib.asynccontextmanager
async def started(persistence: BasePersistence[Any, Any, Any]) -> AsyncIterator[Opened]:
    """Loads everything as an `Application` does when it starts, and flushes when it stops."""
    persistence.set_bot(ExtBot(TOKEN, arbitrary_callback_data=True))
    opened = Opened(
        persistence,
        await persistence.get_user_data(),
        await persistence.get_chat_data(),
        await persistence.get_bot_data(),
        await persistence.get_callback_data(),
    )
    try:
        yield opened
    finally:
        await persistence.flush()


MONGO = ["a URI", "a Motor client", "a PyMongo client", "mongomock"]
REAL = MONGO[:-1]
ALL = [*MONGO, "PicklePersistence"]


@pytest.fixture(params=ALL)
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    """An empty storage of each kind; PTB's own says what users expect."""
    if request.param == "PicklePersistence":
        path = request.getfixturevalue("tmp_path") / "bot.pickle"
        yield Storage(lambda **options: PicklePersistence(path, **options))
        return
    if request.param == "mongomock":
        mock = AsyncMongoMockClient()
        yield Storage(lambda **options: MongoPersistence(mock, "mock", **options), mock, "mock")
        return
    uri = request.getfixturevalue("mongodb_server_uri")
    database = request.getfixturevalue("mongodb_database")
    async with contextlib.AsyncExitStack() as stack:
        inspector = await stack.enter_async_context(AsyncMongoClient(uri))
        client: Any = uri
        if request.param == "a Motor client":
            client = AsyncIOMotorClient(uri)
            stack.callback(client.close)
        elif request.param == "a PyMongo client":
            client = await stack.enter_async_context(AsyncMongoClient(uri))
        yield Storage(lambda **options: MongoPersistence(client, database, **options), inspector, database)
