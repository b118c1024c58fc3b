"""The privileges that a bot's database user needs, which of them are missing, and the commands that grant them.

Pure: it gets the server's description of the user. The commands are for an administrator, in `mongosh`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["ACTIONS", "WATCH", "granting", "missing_actions"]

WATCH: Final = "changeStream"
"""The only action that a bot does not need: without it, the bot reads before each update."""

_DATA: Final = ("find", "insert", "update", "remove")
_FORMAT: Final = ("find", "insert", "update")
_INDEX: Final = "createIndex"
ACTIONS: Final = (*_DATA, _INDEX, WATCH)
"""The actions of the documented role, in its order."""

_ROLE: Final = "telegramBot"
_BUILT_IN: Final = frozenset(
    {
        *("read", "readWrite", "dbAdmin", "userAdmin", "dbOwner", "backup", "restore", "root", "enableSharding"),
        *("readAnyDatabase", "readWriteAnyDatabase", "userAdminAnyDatabase", "dbAdminAnyDatabase"),
        *("clusterAdmin", "clusterManager", "clusterMonitor", "hostManager", "directShardOperations"),
        *("searchCoordinator", "atlasAdmin"),
    }
)


def missing_actions(
    status: Mapping[str, Any], database: str, data: Sequence[str], form: str, indexed: str
) -> dict[str, list[str]]:
    """The actions that a user lacks, each with the collections concerned.

    Args:
        status: The answer to `connectionStatus` with `showPrivileges`.
        database: The database.
        data: The collections of data.
        form: The collection of the format document.
        indexed: The collection that gets an index.

    Returns:
        The collections by action; none for the change stream, which covers the whole database. Also empty if nobody has
        logged in, as the server may not require a password.
    """
    if not status.get("authenticatedUsers"):
        return {}
    privileges = status.get("authenticatedUserPrivileges", ())
    needed = {action: [*data, *([form] if action in _FORMAT else [])] for action in _DATA}
    needed[_INDEX] = [indexed]
    missing = {
        action: [one for one in collections if not _may(privileges, action, database, one)]
        for action, collections in needed.items()
    }
    found = {action: collections for action, collections in missing.items() if collections}
    # A stream of a database needs both for all of its collections, including those of others.
    if not all(_may(privileges, action, database, "") for action in (WATCH, "find")):
        found[WATCH] = []
    return found


def _may(privileges: Iterable[Mapping[str, Any]], action: str, database: str, collection: str) -> bool:
    """Whether an action is allowed in a collection, or in the whole database if the name is empty."""
    return any(
        not {action, "anyAction"}.isdisjoint(privilege["actions"])
        and _covers(privilege["resource"], database, collection)
        for privilege in privileges
    )


def _covers(resource: Mapping[str, Any], database: str, collection: str) -> bool:
    if resource.get("anyResource"):
        return True
    return resource.get("db") in {"", database} and resource.get("collection") in {"", collection}


def granting(status: Mapping[str, Any], database: str, missing: Iterable[str]) -> list[str]:
    """The commands that grant the missing actions: by one of the user's roles, or a new one if all are built in.

    Args:
        status: The answer to `connectionStatus`.
        database: The database.
        missing: The actions.
    """
    lacking = set(missing)
    if not lacking:
        return []
    if WATCH in lacking:
        lacking.add("find")
    for role in status.get("authenticatedUserRoles", ()):
        # A role may only grant actions in its own database, unless that is "admin".
        if role["role"] not in _BUILT_IN and role["db"] in {"admin", database}:
            privileges = _privileges(database, [action for action in ACTIONS if action in lacking])
            return [f"{_in(role['db'])}.grantPrivilegesToRole({json.dumps(role['role'])}, {privileges})"]
    (user, *_) = status["authenticatedUsers"]
    privileges = _privileges(database, ACTIONS)
    role_of_admin = f'[{{ role: {json.dumps(_ROLE)}, db: "admin" }}]'
    return [
        f"{_in('admin')}.createRole({{ role: {json.dumps(_ROLE)}, privileges: {privileges}, roles: [] }})",
        f"{_in(user['db'])}.grantRolesToUser({json.dumps(user['user'])}, {role_of_admin})",
    ]


def _in(database: str) -> str:
    return f"db.getSiblingDB({json.dumps(database)})"


def _privileges(database: str, actions: Sequence[str]) -> str:
    return f'[{{ resource: {{ db: {json.dumps(database)}, collection: "" }}, actions: {json.dumps(actions)} }}]'
