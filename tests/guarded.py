"""A `mongod` that asks for passwords, for tests of users who may do little or nothing."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from ptb_mongo.embedded import find_mongod
from ptb_mongo.errors import EmbeddedServerError


@contextlib.contextmanager
def guarded_mongod(folder: pathlib.Path, password: str) -> Iterator[int]:
    """A server with access control and no replica set; gives its port.

    Args:
        folder: Where its data goes.
        password: That of its only user, "root", who is made from this machine, as is allowed.
    """
    try:
        mongod = find_mongod()
    except EmbeddedServerError as error:  # such a server must be one of our own: that of MONGODB_URI will not do
        pytest.skip(str(error))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [mongod, "--auth", "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    with subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 20
            with MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=100) as client:
                while True:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    with contextlib.suppress(AutoReconnect):
                        client.admin.command("createUser", "root", pwd=password, roles=["root"])
                        break
            yield port
        finally:
            process.kill()
