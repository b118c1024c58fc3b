"""A `mongod` that requires passwords, for tests of users with few or no permissions."""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from ptb_mongo.embedded import find_mongod
from ptb_mongo.embedded.process import connect, free_port, spawn
from ptb_mongo.errors import EmbeddedServerError


@contextlib.contextmanager
def guarded_mongod(
    folder: pathlib.Path, password: str, replica_set: str = "", parameters: Sequence[str] = ()
) -> Iterator[int]:
    """A server with access control; gives its port.

    Args:
        folder: Where its data goes.
        password: That of its only user, "root", who is made from this machine, as is allowed.
        replica_set: Name of the replica set whose only node it is; none, if empty.
        parameters: What is passed with `--setParameter`: "enableTestCommands=1" for fail points, say.
    """
    try:
        mongod = find_mongod()
    except EmbeddedServerError as error:  # such a server must be one of our own: that of MONGODB_URI will not do
        pytest.skip(str(error))
    port = free_port()
    options = ["--auth", "--dbpath", str(folder), "--port", str(port)]
    options += [word for parameter in parameters for word in ("--setParameter", parameter)]
    if replica_set:
        key = folder / "key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        options += ["--replSet", replica_set, "--keyFile", str(key)]
    with (folder / "mongod.log").open("ab") as log:
        process, guard = spawn(mongod, options, log, "")
    try:
        if replica_set:
            members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            _command(port, "replSetInitiate", {"_id": replica_set, "members": members})
        _command(port, "createUser", "root", pwd=password, roles=["root"])
        yield port
    finally:
        process.kill()
        process.wait()
        guard.dismiss()


def _command(port: int, *words: Any, **fields: Any) -> None:
    """Sends a command, as soon as the server takes it."""

    def sent() -> None:
        with connect(port) as client:
            client.admin.command(*words, **fields)

    until_it_works(sent)


def until_it_works(attempt: Callable[[], Any], seconds: float = 20) -> Any:
    """What an attempt gives that fails for a while because a server is not ready."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (OSError, PyMongoError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)
