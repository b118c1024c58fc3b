"""Fixtures for testing a bot on a real MongoDB.

A line in the `conftest.py` of the project's root enables them::

    pytest_plugins = ["ptb_mongo.testing"]

They are not registered with pytest automatically: every pytest run wherever this package is installed would import it.

The server is the one in the environment variable MONGODB_URI; without it, one is started once for the whole run, or
with pytest-xdist once for each worker.
With `run_bot` as your own helper that builds the Application, handles the updates and shuts down::

    async def test_the_cart_survives_a_restart(mongo_persistence):
        await run_bot(mongo_persistence(), "/add tea")
        replies = await run_bot(mongo_persistence(loading="lazy"), "/cart")
        assert replies == ["1 x tea"]
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final

import pytest
from pymongo import MongoClient
from telegram.ext import PersistenceInput

from ptb_mongo.embedded import mongodb_uri
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.session import Session

__all__ = ["mongo_persistence", "mongodb_database", "mongodb_server_uri"]

_AT_THE_END: Final = dict[MongoPersistence[Any, Any, Any], AsyncGenerator[None, None]]()
"""What closes a persistence. It is held here, as the garbage collector would start closing it without waiting."""


@pytest.fixture(scope="session")
def mongodb_server_uri() -> Iterator[str]:
    """The URI of the server that all tests of this run share, or with pytest-xdist all tests of this worker."""
    with mongodb_uri() as uri:
        yield uri


@pytest.fixture(scope="session")
def _mongodb_client(mongodb_server_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """One client that drops all databases: connecting takes longer than everything else that a short test does."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_server_uri)
    with client:
        yield client


@pytest.fixture
def mongodb_database(_mongodb_client: MongoClient[dict[str, Any]]) -> Iterator[str]:
    """The name of this test's own database, which is dropped after the test."""
    name = f"ptb_mongo_test_{secrets.token_hex(6)}"
    yield name
    _mongodb_client.drop_database(name)


@pytest.fixture
def mongo_persistence(mongodb_server_uri: str, mongodb_database: str) -> Callable[..., MongoPersistence[Any, Any, Any]]:
    """Creates a `MongoPersistence` on this test's database; each call creates another one, like each start of a bot.

    It takes the arguments of `MongoPersistence` except for the first two. A persistence that the test has not flushed,
    for example because it failed before that, is closed when the event loop ends, without saving.
    """

    def make(**options: Any) -> MongoPersistence[Any, Any, Any]:
        persistence = MongoPersistence(mongodb_server_uri, mongodb_database, **options)
        _close_with_the_loop(persistence)
        return persistence

    return make


def _close_with_the_loop(persistence: MongoPersistence[Any, Any, Any]) -> None:
    """Closes a persistence on the loop that opened it, before that ends: no fixture is certain to run on that loop."""
    lifecycle = persistence._lifecycle  # noqa: SLF001  (of this package)
    opened = lifecycle.open

    async def closed_at_the_end() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:  # a loop that ends closes the generators that were started on it
            if persistence.session is not None:
                await persistence.session.close()
            _AT_THE_END.pop(persistence, None)

    async def opens(loads: PersistenceInput | None = None) -> Session:
        if persistence.session is None:
            _AT_THE_END[persistence] = closed_at_the_end()
            await anext(_AT_THE_END[persistence])
        return await opened(loads)

    lifecycle.open = opens  # type: ignore[method-assign]
