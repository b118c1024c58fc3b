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

__all__ = ["Guard", "connect", "free_port", "spawn"]

_OPTIONS: Final = (
    *("--bind_ip", "127.0.0.1", "--quiet", "--wiredTigerCacheSizeGB", "0.25"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=500"),
    # Dropping a database waits for the journal, which by default is written every 100 ms: most of a short test's time.
    *("--journalCommitInterval", "10"),
)
# Below the range of ports that Linux and macOS use for outgoing connections: one of those could occupy the port of a
# stopped server that is to start again.
_PORTS: Final = range(20_000, 32_768)

# Becomes mongod after forking off a guard, which waits for the pipe on its stdin to close. As a child of mongod, the
# guard knows from `getppid` whether that pid is still the server's, and the server never runs unguarded. A byte before
# the end of the pipe means: leave the folder alone.
_LAUNCHER: Final = """
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


# The same for systems without fork: a second process, so the server runs unguarded for a moment.
_GUARD: Final = """
import os, shutil, signal, sys, time
server, folder = int(sys.argv[1]), sys.argv[2]
if not os.read(0, 1):
    try:
        os.kill(server, getattr(signal, "SIGKILL", signal.SIGTERM))
    except OSError:
        pass
    for _ in range(100 if folder else 0):  # until the files are let go of
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            break
        time.sleep(0.1)
"""
_PYTHON: Final = (sys.executable, "-I", "-S", "-c")


class Guard:
    """Ends a server when this process ends: it waits for a pipe to close.

    Args:
        write_end: Our end of the pipe.
        process: The process that waits, if it is a child of ours.
    """

    def __init__(self, write_end: int, process: subprocess.Popen[bytes] | None) -> None:
        self._write_end = write_end
        self._process = process

    def dismiss(self) -> None:
        """Ends the guard, which then leaves server and folder alone."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write_end, b"x")
        os.close(self._write_end)
        if self._process is not None:
            self._process.wait()


def spawn(
    binary: Path, options: Sequence[str], log: BinaryIO, folder_to_remove: str
) -> tuple[subprocess.Popen[bytes], Guard]:
    """Starts a `mongod` that ends when this process does, for whatever reason.

    Args:
        binary: The `mongod` to start.
        options: Its options, besides the common ones.
        log: The file for its output.
        folder_to_remove: What the guard removes after the server has ended; nothing if empty.

    Returns:
        The process, and its guard.
    """
    command = [str(binary), *options, *_OPTIONS]
    read_end, write_end = os.pipe()
    guard = None
    try:
        if hasattr(os, "fork"):
            launcher = [*_PYTHON, _LAUNCHER, folder_to_remove, *command, "--nounixsocket"]
            process = _started(launcher, stdin=read_end, stdout=log, stderr=log)
        else:
            process = _started(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            watching = [*_PYTHON, _GUARD, str(process.pid), folder_to_remove]
            guard = _started(watching, stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return process, Guard(write_end, guard)


def _started(command: Sequence[str], **files: Any) -> subprocess.Popen[bytes]:
    """Starts a process that Ctrl-C does not end: the bot gets the signal too, and still has to save its data."""
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    return subprocess.Popen(command, **files, **apart)  # noqa: S603 - no shell, and options of our own


def free_port() -> int:
    """A port that nobody is listening on."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def connect(port: int, timeout: float = 5, **options: Any) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client for this one server, regardless of its replica set; takes PyMongo's options."""
    # Checked first, as a client that finds no server takes half a second to close.
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
