"""A `mongod` that refuses commands on demand, by its fail points for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from ptb_mongo.embedded import EmbeddedMongo, find_mongod
from ptb_mongo.errors import EmbeddedServerError


@contextlib.contextmanager
def failing_mongod() -> Iterator[EmbeddedMongo]:
    """A server whose commands can be made to fail."""
    try:
        find_mongod()
    except EmbeddedServerError as error:  # such a server must be one of our own: that of MONGODB_URI will not do
        pytest.skip(str(error))
    server = EmbeddedMongo()
    server.options = ("--setParameter", "enableTestCommands=1")
    with server:
        yield server


@contextlib.contextmanager
def commands_fail(client: MongoClient[Any], commands: Collection[str], app_name: str, **how: Any) -> Iterator[None]:
    """Within this context the server lets commands fail.

    Args:
        client: Knows the server.
        commands: Their names.
        app_name: Whose commands.
        how: `errorCode` or what else `failCommand` takes.
    """
    data = {"failCommands": [*commands], "appName": app_name, **how}
    client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
    try:
        yield
    finally:
        client.admin.command("configureFailPoint", "failCommand", mode="off")
