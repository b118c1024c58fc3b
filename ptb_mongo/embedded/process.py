"""The `mongod` process with the guard that ends it, its port, and a client for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from pymongo import MongoClient

__all__ = ["connect", "dismiss", "free_port", "spawn"]

_OPTIONS: Final = (
    *("--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=500"),
    # To drop a database waits for the journal, which else is written every 100 ms: most of a short test's time.
    *("--journalCommitInterval", "10"),
)
# Below the range from which Linux and macOS take ports for outgoing connections: one of those could hold the
# port when a stopped server is to start again.
_PORTS: Final = range(20_000, 32_768)

# Turns into mongod, after it has forked off a guard that waits for the pipe on its stdin to close. As a child
# of mongod the guard knows from `getppid` whether that pid is still the server's, and there is no moment in
# which the server runs unguarded. A byte before the end of the pipe says: leave the folder alone.
_LAUNCHER = """
import os, shutil, signal, sys, time
server, folder = os.getpid(), sys.argv[1]
if os.fork():
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execv(sys.argv[2], sys.argv[2:])
os.setsid()
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
dismissed = os.read(0, 1)
while os.getppid() == server:
    os.kill(server, signal.SIGKILL)
    time.sleep(0.01)
if folder and not dismissed:
    shutil.rmtree(folder, ignore_errors=True)
"""


def spawn(
    binary: Path, options: Sequence[str], log: BinaryIO, folder_to_remove: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a `mongod` that ends when this process does, however that comes about.

    Args:
        binary: What to start.
        options: Its options beside those that all have.
        log: Takes its output.
        folder_to_remove: What the guard removes after the server has ended; nothing if empty.

    Returns:
        The process, and what its guard watches, for `dismiss`.
    """
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell, and options of our own
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, folder_to_remove, str(binary), *options, *_OPTIONS],
            stdin=read_end,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the bot, which has yet to save its data
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return process, write_end


def dismiss(guard: int) -> None:
    """Ends a guard, which leaves the folder alone."""
    with contextlib.suppress(BrokenPipeError):
        os.write(guard, b"x")
    os.close(guard)


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def connect(port: int, timeout: float = 5, **options: Any) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client for one server, whatever its replica set says; with options of PyMongo's."""
    # A client that finds nobody takes half a second to close.
    socket.create_connection(("127.0.0.1", port), timeout).close()
    milliseconds = int(timeout * 1000)
    client: MongoClient[dict[str, Any]] = MongoClient(
        "127.0.0.1",
        port,
        directConnection=True,
        connectTimeoutMS=milliseconds,
        serverSelectionTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
        **options,
    )
    with client:
        yield client
