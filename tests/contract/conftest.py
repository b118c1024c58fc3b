"""The storages for the contract tests; each reopens what was saved with a new persistence object."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from offline import offline_application
from pymongo import AsyncMongoClient
from telegram.ext import Application, BasePersistence, PicklePersistence

from ptb_mongo import MongoPersistence


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
        database: Name of the database, which is the test's own.
        inspector: A client to look at it with, MongoDB's or the mock's; `None` for a file.
        passed_in: The client that persistences were given; `None` for a URI or a file.
    """

    make: Callable[..., BasePersistence[Any, Any, Any]]
    database: str = ""
    inspector: Any = None
    passed_in: Any = None

    @contextlib.asynccontextmanager
    async def opened(
        self, persistence: BasePersistence[Any, Any, Any] | None = None, **options: Any
    ) -> AsyncIterator[Opened]:
        """One run of a bot: loads everything as an `Application` does when it starts, and flushes when it stops.

        The persistence object is a new one unless one is given.
        """
        persistence = persistence or self.make(**options)
        offline_application(persistence)  # tells it its bot
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

    def application(self, *handlers: Any, **options: Any) -> Application[Any, Any, Any, Any, Any, Any]:
        """An application on a persistence of its own."""
        return offline_application(self.make(**options), *handlers)

    async def documents(self, collection: str) -> list[dict[str, Any]]:
        """What is stored, sorted by `_id`."""
        found = [document async for document in self.inspector[self.database][collection].find()]
        return sorted(found, key=lambda document: str(document["_id"]))

    async def collections(self) -> set[str]:
        """The collections that hold documents, but for that of the format."""
        names = await self.inspector[self.database].list_collection_names()
        return {name for name in names if await self.documents(name)} - {"ptb_mongo"}


@pytest.fixture(params=["a URI", "a Motor client", "a PyMongo client", "mongomock", "PicklePersistence"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    """An empty storage of each kind; PTB's own says what users expect."""
    if request.param == "PicklePersistence":
        path = request.getfixturevalue("tmp_path") / "bot.pickle"
        yield Storage(lambda **options: PicklePersistence(path, **options))
        return
    if request.param == "mongomock":
        mock = AsyncMongoMockClient()
        yield Storage(lambda **options: MongoPersistence(mock, "mock", **options), "mock", mock, mock)
        return
    uri = request.getfixturevalue("mongodb_server_uri")
    database = request.getfixturevalue("mongodb_database")
    async with contextlib.AsyncExitStack() as stack:
        inspector = await stack.enter_async_context(AsyncMongoClient(uri))
        passed_in: Any = None
        if request.param == "a Motor client":
            passed_in = AsyncIOMotorClient(uri)
            stack.callback(passed_in.close)
        elif request.param == "a PyMongo client":
            passed_in = await stack.enter_async_context(AsyncMongoClient(uri))
        # The server shows the name of the application with each connection.
        client = passed_in or f"{uri}{'&' if '?' in uri else '?'}appName={database}"
        yield Storage(lambda **options: MongoPersistence(client, database, **options), database, inspector, passed_in)
