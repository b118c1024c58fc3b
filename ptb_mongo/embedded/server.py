"""One `mongod` process: its start, its end, and a guard that ends it if nobody else does.

It knows nothing about other servers; `replica_set` combines several.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from ptb_mongo.embedded.binary import find_mongod
from ptb_mongo.embedded.process import Guard, connect, free_port, spawn
from ptb_mongo.errors import EmbeddedServerError

if TYPE_CHECKING:
    from typing_extensions import Self  # of no use, and perhaps not there, at run time

__all__ = ["POLL_INTERVAL", "EmbeddedMongo", "mongodb_uri"]

_PORT_ATTEMPTS: Final = 5
POLL_INTERVAL: Final = 0.02
_STOP_TIMEOUT: Final = 10.0
_LOG_LINES: Final = 10
_LOG_LINE_WIDTH: Final = 400
_EXIT_PORT_TAKEN: Final = 48
_ALREADY_INITIALIZED: Final = 23
_CAN_PAUSE: Final = hasattr(signal, "SIGSTOP")  # Windows cannot


@contextlib.contextmanager
def mongodb_uri() -> Iterator[str]:
    """A MongoDB to work with: the one in the environment variable MONGODB_URI, or else an `EmbeddedMongo`.

    Yields:
        The connection string. An embedded server stops when the context ends.
    """
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
        return
    with EmbeddedMongo() as server:
        yield server.uri


class EmbeddedMongo:
    """One `mongod`, by default as its own replica set, so that it has change streams and transactions.

    Use it as a context manager, or call `start` and `close`. `start` blocks until the server accepts writes; in a
    coroutine, await it through `asyncio.to_thread`.

    Args:
        data_dir: Folder for the data, created if it is missing and kept. By default, a temporary one, which is removed
            at the end.
        port: Port on 127.0.0.1. By default, a free one, which stays the same until `close`.
        replica_set: Name of the replica set; `None` starts a standalone server.
        startup_timeout: How many seconds `start` waits for the server.

    Attributes:
        options: More options of `mongod`, for the next start.
        credentials: The PyMongo options with which a client may do everything on this server.
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
        self.options: Sequence[str] = ()
        self.credentials: Mapping[str, Any] = {}
        self._given_data_dir = None if data_dir is None else Path(data_dir).absolute()
        self._given_port = port
        self._startup_timeout = startup_timeout
        self._data_dir = self._given_data_dir
        self._port = port
        self._was_up = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
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
        """Whether the process is alive, even if it is paused."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, or start it again with the same port and data; return when it accepts writes.

        Does nothing if it is running.

        Raises:
            EmbeddedServerError: There is no `mongod`, or it did not start; includes an excerpt of its log.
        """
        if self.is_running:
            return
        binary = find_mongod()
        deadline = time.monotonic() + self._startup_timeout
        may_choose_port = self._given_port is None and not self._was_up
        try:
            for _ in range(_PORT_ATTEMPTS if may_choose_port else 1):
                if may_choose_port:
                    self._port = free_port()
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
        """Stop the server cleanly, or by force if that takes long; `start` uses its data and port again."""
        if self._process is None:
            return
        self._process.terminate()
        if _CAN_PAUSE:
            self._process.send_signal(signal.SIGCONT)  # a paused server would not notice
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """Stop the server as a power cut would; `start` uses its data and port again."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze the server: connections stay open but get no answers, as if the network were cut.

        Raises:
            EmbeddedServerError: This system cannot pause processes, as is the case on Windows.
        """
        if not _CAN_PAUSE:
            raise EmbeddedServerError("A server cannot be paused here: this system has no SIGSTOP.")
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)  # its threads do not all stop at once

    def resume(self) -> None:
        """Let a paused server continue."""
        if not _CAN_PAUSE:
            return
        os.kill(self.pid, signal.SIGCONT)

    def close(self, *, keep_log: bool = False) -> None:
        """Stop the server; if its data folder is temporary, remove it (with `keep_log`, all but the log)."""
        if self._given_data_dir:
            self.stop()
        else:
            self.kill()  # a clean stop takes a second, for data that nobody will read
            self._remove_data(keep_log=keep_log)
        self._dismiss_guard()
        self._data_dir = self._given_data_dir
        self._was_up = False

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        if self._data_dir is None:
            self._data_dir = Path(tempfile.mkdtemp(prefix="ptb-mongo-"))
        self._data_dir.mkdir(parents=True, exist_ok=True)
        folder_to_remove = "" if self._given_data_dir else str(self._data_dir)
        options = ["--dbpath", str(self._data_dir), "--port", str(self.port), *self.options]
        if self.replica_set:
            options += ["--replSet", self.replica_set]
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process, guard = spawn(binary, options, log, folder_to_remove)
        self._dismiss_guard()
        self._guard = guard
        return self._process

    def _comes_up(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Wait until the server is ready; `False` if its port is taken."""
        trouble: Exception | None = None
        while (exit_code := process.poll()) is None:
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {self._startup_timeout:g} s") from trouble
            try:
                with connect(self.port, **self.credentials) as client:
                    # Another server may have taken the port first.
                    is_ours = client.admin.command("serverStatus")["pid"] == process.pid
                    if is_ours and self._is_ready(client):
                        return True
            except (OSError, PyMongoError) as error:
                trouble = error
            time.sleep(POLL_INTERVAL)
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
            # The data folder was last used with a different port.
            if len(config["members"]) == 1 and config["members"][0]["host"] != self.host:
                client.admin.command("replSetReconfig", {**config, "members": members}, force=True)

    def _failure(self, reason: str) -> EmbeddedServerError:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        # The cause may be further up, as mongod goes on to log its shutdown.
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
            self._guard.dismiss()
            self._guard = None
