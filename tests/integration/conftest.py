"""What the tests with a server share: a bot to talk to, and another service that works on the same data."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from bots import Bot
from pymongo import AsyncMongoClient, MongoClient
from telegram.ext import ContextTypes
from workers import SharedBot

from ptb_mongo import MongoPersistence


@pytest.fixture
def database(mongodb_server_uri: str, mongodb_database: str) -> Iterator[Any]:
    """Another service, and the eyes of the tests."""
    with MongoClient(mongodb_server_uri, tz_aware=True) as client:
        yield client[mongodb_database]


@pytest.fixture
async def client(mongodb_server_uri: str) -> AsyncIterator[Any]:
    """What bots are given to connect with."""
    async with AsyncMongoClient(mongodb_server_uri) as client:
        yield client


@pytest.fixture
async def start(client: Any, mongodb_database: str) -> AsyncIterator[Callable[..., Any]]:
    """Starts a bot; all that were started are shut down at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def started(context_types: ContextTypes[Any, Any, Any, Any] | None = None, **options: Any) -> Bot:
            persistence: Any = MongoPersistence(client, mongodb_database, context_types=context_types, **options)
            bot = Bot(persistence, **({"context_types": context_types} if context_types else {}))
            await bot.application.initialize()
            stack.push_async_callback(bot.application.shutdown)
            return bot

        yield started


@pytest.fixture
def worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    """Makes one of several workers of a bot."""

    def make(consistency: str = "strict", handlers: Any = (), **options: Any) -> SharedBot:
        return SharedBot(mongo_persistence(**options), handlers, consistency=consistency)

    return make


@pytest.fixture(params=["watch", "read"])
def mode(request: pytest.FixtureRequest) -> str:
    """How a bot notices what others change."""
    return str(request.param)
