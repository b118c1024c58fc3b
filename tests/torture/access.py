"""Servers that require passwords, the bots' users, and an actor that revokes their permissions."""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from actors import BotProcess
from nemesis import Nemesis
from proxy_process import ProxyProcess
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from ptb_mongo.embedded import EmbeddedReplicaSet

ACTIONS: Final = ("find", "insert", "update", "remove", "createIndex", "changeStream")  # see SECURITY.md
REFUSALS: Final = ("writes blocked", "rights taken from all bots", "roles revoked", "users dropped and made again")
"""What an `AccessNemesis` counts."""
_PASSWORD: Final = secrets.token_hex(8)
_INSISTS_FOR: Final = 120.0  # seconds
# Longer than any freeze: a command that nobody waits for any more must not be done after a later one.
_PATIENT: Final = {"serverSelectionTimeoutMS": 2000, "connectTimeoutMS": 2000, "socketTimeoutMS": 10_000}
_GONE_OR_THERE: Final = {11, 31, 51002, 51003}  # no such user, no such role, the role is there, the user is there


class GuardedReplicaSet(EmbeddedReplicaSet):
    """Servers with access control.

    Args:
        key_file: Holds what the members know of each other, by which one may do everything.
    """

    def __init__(self, key_file: pathlib.Path) -> None:
        super().__init__()
        self._key = key_file.read_text()
        self.credentials = {
            "username": "__system",
            "password": self._key,
            "authSource": "local",
            "authMechanism": "SCRAM-SHA-256",
        }
        for member in self.members:
            member.options = ("--auth", "--keyFile", str(key_file))
            member.credentials = self.credentials

    @property
    def uri(self) -> str:
        """Connection string for one who may do everything, also while writes are blocked."""
        return self.uri_of(member.host for member in self.members)

    def uri_of(self, hosts: Iterable[str], user: str = "") -> str:
        """Connection string for a bot's user; for one who may do everything, if none is named."""
        who = f"{user}:{_PASSWORD}" if user else f"__system:{self._key}"
        source = "authSource=admin" if user else "authSource=local&authMechanism=SCRAM-SHA-256"
        return f"mongodb://{who}@{','.join(hosts)}/?replicaSet={self.replica_set}&{source}"


@contextlib.contextmanager
def guarded_servers() -> Iterator[GuardedReplicaSet]:
    """Three servers with access control, while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="torture-key-") as folder:
        key_file = pathlib.Path(folder, "key")
        key_file.write_text(secrets.token_hex(32))
        key_file.chmod(0o600)
        with GuardedReplicaSet(key_file) as servers:
            yield servers


class Access:
    """What bots may do: the role that they have, their users, and whether anybody may write.

    Args:
        servers: The servers.
        database: The bots'.
        users: The names of their users.
    """

    def __init__(self, servers: GuardedReplicaSet, database: str, users: Sequence[str]) -> None:
        self._uri = servers.uri
        self._database = database
        self._role = f"bot of {database}"
        self._users = users

    def give_all(self) -> None:
        """Bots may do what they should, whatever they may do now."""
        self.block_writes(blocked=False)
        self._insist("createRole", self._role, privileges=[], roles=[])
        self.allow(ACTIONS)
        for user in self._users:
            self.create_user(user)
            self.grant(user)

    def block_writes(self, *, blocked: bool) -> None:
        """Whether users who may not get around that can write."""
        self._insist("setUserWriteBlockMode", 1, **{"global": blocked})

    def allow(self, actions: Sequence[str]) -> None:
        """What the role allows."""
        privilege = {"resource": {"db": self._database, "collection": ""}, "actions": [*actions]}
        self._insist("updateRole", self._role, privileges=[privilege] if actions else [], roles=[])

    def grant(self, user: str) -> None:
        """Gives a user the role."""
        self._insist("grantRolesToUser", user, roles=[self._role])

    def revoke(self, user: str) -> None:
        """Takes the role from a user."""
        self._insist("revokeRolesFromUser", user, roles=[self._role])

    def create_user(self, user: str) -> None:
        """Creates a user, or one again."""
        self._insist("createUser", user, pwd=_PASSWORD, roles=[self._role])

    def drop_user(self, user: str) -> None:
        """Drops a user; connections that are logged in are not any more, even if one of that name comes again."""
        self._insist("dropUser", user)

    def _insist(self, *command: Any, **fields: Any) -> None:
        """Sends a command until it is done: servers are killed meanwhile."""
        deadline = time.monotonic() + _INSISTS_FOR
        while True:
            try:
                with MongoClient(self._uri, w="majority", **_PATIENT) as client:
                    client.admin.command(*command, **fields)
            except OperationFailure as error:
                if error.code in _GONE_OR_THERE:
                    return
                if time.monotonic() > deadline:
                    raise
            except PyMongoError:
                if time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(0.1)


class AccessNemesis(Nemesis):
    """Blocks writes, and takes rights from the bots' users; gives all of it back.

    A client that was passed in keeps the connections that were logged in as a user who was dropped: somebody has to
    close them, as their owner, or a restart, does.

    Args:
        access: Who may do what.
        bots: Each has a user of its name.
        proxies: Those of the servers, if there are any.
        args: See `Nemesis`.
    """

    pause = (0.5, 2.5)

    def __init__(
        self, access: Access, bots: Sequence[BotProcess], proxies: Sequence[ProxyProcess] | None, *args: Any
    ) -> None:
        super().__init__(*args)
        self._access = access
        self._bots = bots
        self._proxies = proxies

    def actions(self) -> dict[Callable[[], None], int]:
        """See `Nemesis.actions`."""
        return {self._block_writes: 3, self._allow_less: 3, self._revoke: 2, self._drop_user: 2}

    def run(self) -> None:
        """See `Nemesis.run`; gives everything back."""
        try:
            super().run()
        finally:
            self._access.give_all()

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(0.2, 4))

    def _block_writes(self) -> None:
        self._access.block_writes(blocked=True)
        self._wait()
        self._access.block_writes(blocked=False)
        self._count("writes blocked")

    def _allow_less(self) -> None:
        missing = self._chance.sample(ACTIONS, self._chance.choice([1, 1, 2, len(ACTIONS)]))
        self._access.allow([action for action in ACTIONS if action not in missing])
        self._wait()
        self._access.allow(ACTIONS)
        self._count("rights taken from all bots")

    def _revoke(self) -> None:
        bot = self._chance.choice(self._bots)
        self._access.revoke(bot.name)
        self._wait()
        self._access.grant(bot.name)
        self._count("roles revoked")

    def _drop_user(self) -> None:
        mine = [bot for bot in self._bots if self._proxies is not None or bot.options["driver"] == "motor"]
        if not mine:
            return
        bot = self._chance.choice(mine)
        self._access.drop_user(bot.name)
        self._wait()
        self._access.create_user(bot.name)
        if bot.options["driver"] != "motor":
            for proxy in self._proxies or ():
                proxy.call("cut")
        self._count("users dropped and made again")
