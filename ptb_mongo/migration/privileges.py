"""What a database user must be allowed to do for a bot, what of that is missing, and the commands that grant it.

Pure: it is given what the server says of the user. The commands are for `mongosh`, by an administrator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["ACTIONS", "WATCH", "granting", "missing_actions"]

WATCH: Final = "changeStream"
"""The one action that a bot can do without: it reads before each update instead."""

_DATA: Final = ("find", "insert", "update", "remove")
_FORMAT: Final = ("find", "insert", "update")
_INDEX: Final = "createIndex"
ACTIONS: Final = (*_DATA, _INDEX, WATCH)
"""The actions of the role that is documented, in its order."""

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
    """The actions that a user is missing, each with the collections that it is missing for.

    Args:
        status: What `connectionStatus` says of the user, with `showPrivileges`.
        database: The database.
        data: The collections of data.
        form: The collection of the format document.
        indexed: The collection that gets an index.

    Returns:
        By action; for the change stream, which is that of the whole database, without a collection. Empty as well if
        nobody has logged in: the server may ask for no password at all.
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
    # A stream of a database needs both for all of its collections, those of others as well.
    if not all(_may(privileges, action, database, "") for action in (WATCH, "find")):
        found[WATCH] = []
    return found


def _may(privileges: Iterable[Mapping[str, Any]], action: str, database: str, collection: str) -> bool:
    """Whether an action is allowed in a collection; in the whole database, if its name is empty."""
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
    """The commands that let a user do what is missing: by a role of the user's, or by a new one if all are built in.

    Args:
        status: What `connectionStatus` says of the user.
        database: The database.
        missing: The actions.
    """
    lacking = set(missing)
    if not lacking:
        return []
    if WATCH in lacking:
        lacking.add("find")
    for role in status.get("authenticatedUserRoles", ()):
        # A role may only speak of its own database, unless that is "admin".
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
