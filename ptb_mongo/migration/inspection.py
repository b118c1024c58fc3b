"""Inspects a server and a bot's database: what it is, what this user may do, and which documents are bad.

It leaves nothing behind: it tests permissions with operations that the server checks first, and that then fail or
match nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ptb_mongo.codec import Codec, load
from ptb_mongo.codec.troubles import UNREADABLE
from ptb_mongo.errors import DecodeError, PersistenceError, RefusedError
from ptb_mongo.migration.data import KINDS, STORED, Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.privileges import WATCH, granting, missing_actions

__all__ = ["Examination", "Server", "bad_documents", "examine", "inspect_server", "is_gone", "is_untrusted"]

_BATCH: Final = 1000
_NOTHING: Final[dict[str, Any]] = {"_id": {"$in": []}}
_UNTRUSTED: Final = re.compile("the (?:class|function) '(.+?)' (?:is not trusted|does not exist)")
_GONE: Final = re.compile("the class '.+?' does not exist")
_UNAUTHORIZED: Final = "(error 13)"


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and what this user may do in the bot's database.

    Attributes:
        version: MongoDB's version.
        topology: The kind of server, in words.
        rights: Why each of "read", "write", "index" and "watch" is impossible; `None` if it is possible.
        missing: The actions that this user lacks, each with the collections concerned.
        granting: The `mongosh` commands that grant them.
    """

    version: str
    topology: str
    rights: dict[str, str | None]
    missing: dict[str, list[str]] = field(default_factory=dict)
    granting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Examination:
    """The result of reading every document.

    Attributes:
        documents: How many documents of each kind there are.
        decoded: How many were tried.
        unreadable: How many of these cannot be read.
        problems: The errors of those that the bot would quarantine.
        untrusted: Classes and functions that must be trusted, or found, before documents can be read, each with the
            number of documents.
        ways: The remedy for each of them; see `Trouble.kind`.
    """

    documents: dict[Kind, int] = field(default_factory=dict)
    decoded: dict[Kind, int] = field(default_factory=dict)
    unreadable: dict[Kind, int] = field(default_factory=dict)
    problems: list[DecodeError] = field(default_factory=list)
    untrusted: dict[str, int] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)


async def inspect_server(database: Database) -> Server:
    """Asks a server what it is, and tests what this user may do.

    Raises:
        UnavailableError: If no server answers.
        ConfigurationError: If it refuses the credentials.
    """
    hello = await database.driver.hello()
    build = await database.driver.command({"buildInfo": 1})
    status = await _connection_status(database)
    data = [database.scopes[kind].collection for kind in KINDS]
    indexed = database.scopes["conversations"].collection
    missing = missing_actions(status, database.name, data, database.format_collection, indexed)
    if not _may_watch(hello):
        missing.pop(WATCH, None)
    return Server(
        version=build["version"],
        topology=_topology(hello),
        rights=await _rights(database, hello),
        missing=missing,
        granting=granting(status, database.name, missing),
    )


async def _connection_status(database: Database) -> dict[str, Any]:
    try:
        status = await database.driver.command({"connectionStatus": 1, "showPrivileges": True})
    except ConnectionError:
        raise
    except PersistenceError:  # then testing the permissions must suffice
        return {}
    found: dict[str, Any] = status["authInfo"]
    return found


def _may_watch(hello: Mapping[str, Any]) -> bool:
    """Whether this kind of server has change streams."""
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def _topology(hello: Mapping[str, Any]) -> str:
    if hello.get("msg") == "isdbgrid":
        return "a sharded cluster"
    if "setName" not in hello:
        return "a single server, no replica set"
    members = len(hello.get("hosts", ())) + len(hello.get("passives", ()))
    return f"replica set {hello['setName']}, {members} {'member' if members == 1 else 'members'}"


async def _rights(database: Database, hello: Mapping[str, Any]) -> dict[str, str | None]:
    user_data = database.scopes["user_data"].collection
    update = {"q": _NOTHING, "u": {"$set": {"rev": ""}}}
    tries: dict[str, list[dict[str, Any]]] = {
        "read": [{"find": user_data, "filter": _NOTHING}],
        "write": [
            {"update": user_data, "updates": [update]},
            {"delete": user_data, "deletes": [{"q": _NOTHING, "limit": 0}]},
            {"insert": user_data, "documents": [{"_id": ["no _id is an array: this is never stored"]}]},
        ],
        "index": [{"createIndexes": database.scopes["conversations"].collection, "indexes": []}],
    }
    rights: dict[str, str | None] = {}
    for right, commands in tries.items():
        rights[right] = None
        for command in commands:
            try:
                await database.driver.command(command)
            except ConnectionError:
                raise
            except PersistenceError as error:
                if right != "index" or _UNAUTHORIZED in str(error):  # without any index, it fails in any case
                    rights[right] = str(error)
    try:
        rights["watch"] = await database.driver.can_watch(hello)
    except RefusedError as error:
        rights["watch"] = str(error)
    return rights


async def examine(
    database: Database,
    *,
    sample: int | None = None,
    advance: Callable[[Kind, int, int], None] = lambda *_: None,
) -> Examination:
    """Decodes every document, or some of each kind.

    Args:
        database: The database.
        sample: How many of each kind; `None` for all.
        advance: Called now and then with the kind, the number of documents, and the total.
    """
    result = Examination()
    for kind in STORED:
        collection = database.scopes[kind].collection
        total = (await database.driver.command({"count": collection}))["n"]
        if kind == "jobs" and not total:
            continue
        result.documents[kind] = total
        wanted = total if sample is None else min(sample, total)
        seen, before = 0, len(result.problems)
        async for stored in _documents(database, kind, sample):
            seen += 1
            if seen % _BATCH == 0:
                advance(kind, _BATCH, wanted)
            if stored.error is not None:
                result.problems.append(stored.error)
                for name, way in _untrusted(database.codec, stored).items():
                    result.untrusted[name] = result.untrusted.get(name, 0) + 1
                    result.ways[name] = way
        result.decoded[kind] = seen
        result.unreadable[kind] = len(result.problems) - before
        advance(kind, seen % _BATCH, wanted)
    return result


async def bad_documents(
    database: Database, *, advance: Callable[[Kind, int], None] = lambda *_: None
) -> AsyncIterator[tuple[Kind, Stored]]:
    """The documents that cannot be read."""
    for kind in STORED:
        seen = 0
        async for stored in database.read(kind):
            seen += 1
            if seen % _BATCH == 0:
                advance(kind, _BATCH)
            if stored.error is not None:
                yield kind, stored


async def _documents(database: Database, kind: Kind, sample: int | None) -> AsyncIterator[Stored]:
    if sample is None:
        async for stored in database.read(kind):
            yield stored
        return
    pipeline: list[dict[str, Any]] = [{"$sample": {"size": sample}}, {"$project": {"_id": 1}}]
    collection = database.scopes[kind].collection
    ids = [document["_id"] async for document in database.driver.aggregate(collection, pipeline)]
    for start in range(0, len(ids), _BATCH):
        async for stored in database.read(kind, {"_id": {"$in": ids[start : start + _BATCH]}}):
            yield stored


def is_untrusted(reason: str) -> bool:
    """Whether the only problem is that classes are not trusted, or not found under their names."""
    return _UNTRUSTED.search(reason) is not None or reason.startswith(UNREADABLE.alone)


def is_gone(reason: str) -> bool:
    """Whether the problem is that a class is not found although its module is trusted."""
    return _GONE.search(reason) is not None


def _untrusted(codec: Codec, stored: Stored) -> dict[str, str]:
    """The classes and functions that keep a document from being read, each with the remedy."""
    names: dict[str, str] = {}
    if stored.error is not None:
        names.update(dict.fromkeys(_UNTRUSTED.findall(stored.error.reason), "untrusted"))
    try:
        plain = load(stored.raw)
    except DecodeError:
        return names
    names.update({trouble.name: trouble.kind for trouble in codec.unreadable(plain) if trouble is not None})
    return names
