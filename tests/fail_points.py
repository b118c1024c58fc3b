"""A `mongod` that refuses commands on demand, with the fail points that it has for tests."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from guarded import until_it_works
from pymongo import MongoClient

from ptb_mongo.embedded import find_mongod
from ptb_mongo.embedded.process import connect, dismiss, free_port, spawn
from ptb_mongo.errors import EmbeddedServerError

_REPLICA_SET = "rs0"


@contextlib.contextmanager
def failing_mongod(folder: pathlib.Path) -> Iterator[str]:
    """A replica set of one node, whose commands can be made to fail; gives its host and port.

    Args:
        folder: Where its data goes.
    """
    try:
        mongod = find_mongod()
    except EmbeddedServerError as error:  # such a server must be one of our own: that of MONGODB_URI will not do
        pytest.skip(str(error))
    port = free_port()
    options = ["--dbpath", str(folder), "--port", str(port), "--replSet", _REPLICA_SET]
    with (folder / "mongod.log").open("ab") as log:
        process, guard = spawn(mongod, [*options, "--setParameter", "enableTestCommands=1"], log, "")
    try:
        members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]

        def initiate() -> None:
            with connect(port) as client:
                client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": members})

        until_it_works(initiate)
        with MongoClient(f"mongodb://127.0.0.1:{port}/?replicaSet={_REPLICA_SET}") as client:
            client.admin.command("ping")  # waits for the primary
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        dismiss(guard)


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
