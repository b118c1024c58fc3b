"""Fixtures for testing a bot on a real MongoDB; pytest finds them by itself where ptb_mongo is installed.

The server is that of the environment variable MONGODB_URI, else one that is started once for the whole run; with
pytest-xdist, once for each worker.
With `run_bot` as your own helper that builds the Application, handles the updates and shuts down::

    async def test_the_cart_survives_a_restart(mongo_persistence):
        await run_bot(mongo_persistence(), "/add tea")
        replies = await run_bot(mongo_persistence(loading="lazy"), "/cart")
        assert replies == ["1 x tea"]

Every pytest run of anybody who has ptb_mongo imports this module: it must be cheap and do nothing by itself.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo import MongoClient

    from ptb_mongo import MongoPersistence

__all__ = ["mongo_persistence", "mongodb_database", "mongodb_server_uri"]


@pytest.fixture(scope="session")
def mongodb_server_uri() -> Iterator[str]:
    """Connection string of the server that all tests of this run share; of this worker, with pytest-xdist."""
    from ptb_mongo.embedded import mongodb_uri  # noqa: PLC0415 - see the module's docstring

    with mongodb_uri() as uri:
        yield uri


@pytest.fixture(scope="session")
def _mongodb_client(mongodb_server_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """Drops the databases: one client, as to connect takes longer than all that a short test does."""
    from pymongo import MongoClient  # noqa: PLC0415 - see the module's docstring

    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_server_uri)
    with client:
        yield client


@pytest.fixture
def mongodb_database(_mongodb_client: MongoClient[dict[str, Any]]) -> Iterator[str]:
    """Name of a database that is this test's own, and is dropped after it."""
    name = f"ptb_mongo_test_{secrets.token_hex(6)}"
    yield name
    _mongodb_client.drop_database(name)


@pytest.fixture
def mongo_persistence(mongodb_server_uri: str, mongodb_database: str) -> Callable[..., MongoPersistence[Any, Any, Any]]:
    """Makes a `MongoPersistence` on this test's database, each call another one, as each start of a bot does.

    Arguments are those of `MongoPersistence`, without the first two.
    """
    from ptb_mongo import MongoPersistence  # noqa: PLC0415 - see the module's docstring

    def make(**options: Any) -> MongoPersistence[Any, Any, Any]:
        return MongoPersistence(mongodb_server_uri, mongodb_database, **options)

    return make
