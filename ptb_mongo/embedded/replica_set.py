"""Several `mongod` that elect a primary among themselves."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ptb_mongo.embedded.process import connect
from ptb_mongo.embedded.server import POLL_INTERVAL, EmbeddedMongo
from ptb_mongo.errors import EmbeddedServerError

if TYPE_CHECKING:
    from typing_extensions import Self  # of no use, and perhaps not there, at run time

__all__ = ["EmbeddedReplicaSet"]

_SETTINGS: Final = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}


class _Member(EmbeddedMongo):
    """A server that its `EmbeddedReplicaSet` initiates; until then, it is ready as soon as it answers."""

    belongs_to_set = False

    def _is_ready(self, client: MongoClient[dict[str, Any]]) -> bool:
        return not self.belongs_to_set or _is_in_service(client.admin.command("hello"))

    def wait_for_service(self, deadline: float) -> None:
        """Wait until this member is the primary or a secondary in sync with it."""
        while not _is_in_service(_hello(self)):
            if time.monotonic() > deadline:
                raise self._failure("did not find together with the other members of its replica set")
            time.sleep(POLL_INTERVAL)


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
        """The servers; each can be killed, paused and started on its own."""
        return [*self._members]

    @property
    def uri(self) -> str:
        """Connection string that names all members."""
        hosts = ",".join(member.host for member in self._members)
        return f"mongodb://{hosts}/?replicaSet={self.replica_set}"

    def start(self) -> None:
        """Start the members that are not running; return when one is primary and the others are in sync.

        Raises:
            EmbeddedServerError: A member did not start, or the members did not form a replica set.
        """
        deadline = time.monotonic() + self._startup_timeout
        self._in_parallel(EmbeddedMongo.start)
        is_new = not self._members[0].belongs_to_set
        if is_new:
            self._initiate()
        for member in self._members:
            member.wait_for_service(deadline)
        self._on_primary(self._wait_for_sync, deadline)
        if is_new:
            self._on_primary(_allow_chaining, deadline)

    def stop(self) -> None:
        """Stop all members cleanly; `start` uses their data and ports again."""
        self._in_parallel(EmbeddedMongo.stop)

    def close(self, *, keep_log: bool = False) -> None:
        """Stop all members and remove their data; with `keep_log`, all but the logs."""
        for member in self._members:
            member.close(keep_log=keep_log)
            member.belongs_to_set = False

    def primary(self, timeout: float = 15) -> EmbeddedMongo:
        """The member that is primary; waits for the end of an election.

        Raises:
            EmbeddedServerError: There is no primary after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            answers = [(member, _hello(member)) for member in self._members]
            primaries = [(hello["electionId"], member) for member, hello in answers if _is_primary(hello)]
            if primaries:
                # One that was paused does not know yet that another one has been elected since.
                return max(primaries, key=lambda primary: primary[0])[1]
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The replica set has no primary after {timeout:g} s.")
            time.sleep(POLL_INTERVAL)

    def _initiate(self) -> None:
        """Make the members a replica set, for now without chained replication.

        At first, a secondary may find that the oplog of another one begins too late. It then refuses to sync from that
        one for a minute, even if that one becomes primary meanwhile, and no write reaches a majority.
        """
        members = [{"_id": number, "host": member.host} for number, member in enumerate(self._members)]
        config = {"_id": self.replica_set, "members": members, "settings": {**_SETTINGS, "chainingAllowed": False}}
        first = self._members[0]
        with connect(first.port, self._startup_timeout, **first.credentials) as client:
            client.admin.command("replSetInitiate", config)
        for member in self._members:
            member.belongs_to_set = True

    def _wait_for_sync(self, client: MongoClient[dict[str, Any]], timeout: float) -> None:
        """Wait until all members have the primary's data: one that has just started is a secondary even before that."""
        concern = {"w": len(self._members), "wtimeout": math.ceil(timeout * 1000)}
        client.admin.command("appendOplogNote", 1, data={"all": "in sync"}, writeConcern=concern)

    def _on_primary(self, action: Callable[[MongoClient[dict[str, Any]], float], None], deadline: float) -> None:
        """Do something on the primary; repeat it if another one is elected meanwhile."""
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                primary = self.primary(left)
                with connect(primary.port, left, **primary.credentials) as client:
                    return action(client, left)
            except (OSError, PyMongoError) as error:
                if time.monotonic() > deadline:
                    raise EmbeddedServerError("The members of the replica set did not get in sync.") from error
            time.sleep(POLL_INTERVAL)

    def _in_parallel(self, action: Callable[[EmbeddedMongo], None]) -> None:
        with ThreadPoolExecutor(len(self._members)) as pool:
            list(pool.map(action, self._members))


def _allow_chaining(client: MongoClient[dict[str, Any]], _: float) -> None:
    config = client.admin.command("replSetGetConfig")["config"]
    settings = {**config["settings"], "chainingAllowed": True}
    client.admin.command("replSetReconfig", {**config, "version": config["version"] + 1, "settings": settings})


def _hello(member: EmbeddedMongo) -> Mapping[str, Any]:
    """The member's description of itself; empty if it is dead or paused."""
    if member.is_running:
        with contextlib.suppress(OSError, PyMongoError), connect(member.port, timeout=0.5) as client:
            return client.admin.command("hello")
    return {}


def _is_primary(hello: Mapping[str, Any]) -> bool:
    return bool(hello.get("isWritablePrimary"))


def _is_in_service(hello: Mapping[str, Any]) -> bool:
    return _is_primary(hello) or bool(hello.get("secondary"))
