"""Tells Motor, PyMongo's async API and mongomock-motor apart, and opens a database."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo.driver.database import Driver
from ptb_mongo.driver.mock import MockDriver
from ptb_mongo.driver.motor import IS_INSTALLED, is_motor, motor_client
from ptb_mongo.driver.options import check_acknowledged, check_versions
from ptb_mongo.driver.uri import DEFAULT_DATABASE, checked_name, clear_errors, database_in, options_in
from ptb_mongo.errors import ConfigurationError

__all__ = ["connect", "database_of"]

# For the clients that we create, unless the URI says otherwise. By default, a driver takes half a minute to notice
# that a server hangs, and waits for an answer forever, which would keep the process from ending.
_TIMEOUTS_MS: Final = {
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 5000,
    "heartbeatFrequencyMS": 5000,
    "socketTimeoutMS": 10_000,
}


def database_of(client: object, name: str | None) -> str:
    """The name of the database to use.

    Args:
        client: A URI or a client.
        name: The name asked for; `None` for the one in the URI.

    Raises:
        ConfigurationError: If the URI, the client or the name cannot be used, or if a driver is too old.
    """
    check_versions()
    if isinstance(client, str):
        in_uri = database_in(client)
        check_acknowledged(options_in(client).get("w"))
        name = in_uri if name is None else name
    elif isinstance(client, MongoClient):
        raise ConfigurationError(
            "a pymongo.MongoClient blocks the event loop; pass pymongo.AsyncMongoClient, a Motor client or a URI"
        )
    elif not _is_mock(client):
        if not is_motor(client) and not isinstance(client, AsyncMongoClient):
            raise ConfigurationError(
                "the first argument is a URI, a Motor client, a pymongo.AsyncMongoClient or a mongomock_motor client, "
                f"not {type(client).__name__}"
            )
        check_acknowledged(client.write_concern.document.get("w"))
    return checked_name(DEFAULT_DATABASE if name is None else name)


def _is_mock(client: object) -> bool:
    # Its class pretends to be Motor's; its base does not.
    return any(cls.__module__.partition(".")[0] == "mongomock_motor" for cls in type(client).__mro__)


async def connect(client: object, database: str) -> Driver:
    """Opens a database.

    Args:
        client: A URI, for which a client is created and later closed, Motor's if that is installed; or a client, which
                is left open.
        database: The database's name.
    """
    if _is_mock(client):
        return MockDriver(client, database, owned=False)
    if not isinstance(client, str):
        return Driver(client, database, owned=False)
    options = {name: value for name, value in _TIMEOUTS_MS.items() if name.lower() not in client.lower()}
    loop, uri = asyncio.get_running_loop(), client

    async def make() -> Any:
        return await asyncio.to_thread(_client, uri, loop, options)

    return Driver(await make(), database, owned=True, renew=make)


def _client(uri: str, loop: asyncio.AbstractEventLoop, options: dict[str, Any]) -> Any:
    """A client; called in a thread, as a mongodb+srv URI requires a DNS lookup."""
    with clear_errors(uri):
        return motor_client(uri, loop, options) if IS_INSTALLED else AsyncMongoClient(uri, **options)
