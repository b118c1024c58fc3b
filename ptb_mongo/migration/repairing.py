"""Repairs documents that cannot be read: moves them aside as a whole, or removes the bad path.

A document that has become readable by the time of its turn is left alone.
"""

from __future__ import annotations

from typing import Any, Final

from ptb_mongo.codec import load
from ptb_mongo.driver.operations import Delete, Update
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.inspection import is_untrusted
from ptb_mongo.replica.update import Changes
from ptb_mongo.replica.values import Document, Path, addressable, fields_inside

__all__ = ["drop_bad_paths", "droppable", "move_aside", "quarantine_of"]

_SCOPES_WITH_DATA: Final = ("user_data", "chat_data", "bot_data")
_MOST_PATHS: Final = 1000  # of one document


def quarantine_of(database: Database, kind: Kind) -> str:
    """The collection into which bad documents are moved."""
    return f"{database.scopes[kind].collection}_quarantine"


def droppable(kind: Kind, stored: Stored) -> Path | None:
    """The path to remove in order to repair a document; `None` if only the whole document can be removed.

    An element of a list or of a tagged value is not removed alone: the field that contains it is removed.
    """
    if kind not in _SCOPES_WITH_DATA or stored.error is None or stored.key is None:
        return None
    try:
        value: Any = load(stored.raw)
    except DecodeError:
        return None
    way: list[str] = []
    rest = stored.error.path
    while rest and (inside := fields_inside(value)) is not None:
        inner, fields = inside
        if inner:
            if not rest.startswith(f"{inner[0]}."):
                break
            rest = rest[len(inner[0]) + 1 :]
        key = _first_key(fields, rest)
        if key is None or not addressable(key):
            break
        way += [*inner, key]
        value, rest = fields[key], rest[len(key) + 1 :]
    return tuple(way) or None


def _first_key(fields: Document, rest: str) -> str | None:
    return next((key for key in fields if rest == key or rest.startswith(f"{key}.")), None)


async def move_aside(database: Database, kind: Kind, stored: Stored) -> bool:
    """Moves a document into the quarantine collection, unchanged.

    Returns:
        Whether it was moved; it is not if it has become readable, or is gone.

    Raises:
        RefusedError: If the server refuses; then nothing is lost.
    """
    if await _still_bad(database, kind, stored) is None:
        return False
    collection = database.scopes[kind].collection
    into = {"into": quarantine_of(database, kind), "on": "_id", "whenMatched": "replace"}
    # $merge refuses an `_id` of null, so one such document would end the whole repair.
    renamed: list[dict[str, Any]] = [{"$set": {"_id": "null"}}] if stored.id is None else []
    pipeline = [{"$match": {"_id": {"$eq": stored.id}}}, *renamed, {"$merge": into}]
    async for _ in database.driver.aggregate(collection, pipeline):
        pass
    await _write(database, kind, Delete(stored.id, {}))
    return True


async def drop_bad_paths(database: Database, kind: Kind, stored: Stored, *, untrusted: bool = False) -> list[str]:
    """Removes everything that cannot be read from a document.

    Args:
        database: The database.
        kind: The document's kind.
        stored: The document.
        untrusted: Whether to remove objects that only need their class to be trusted.

    Returns:
        The removed paths.

    Raises:
        DocumentError: If it cannot be repaired in this way.
    """
    dropped: list[str] = []
    while (bad := await _still_bad(database, kind, stored)) is not None:
        if bad.error is not None and is_untrusted(bad.error.reason) and not untrusted:
            raise DocumentError(bad.error.reason, path=bad.error.path).located(
                database.scopes[kind].collection, stored.id
            )
        path = droppable(kind, bad)
        if path is None or len(dropped) == _MOST_PATHS:
            raise DocumentError("no path can be dropped to repair it; move it aside").located(
                database.scopes[kind].collection, stored.id
            )
        dropped.append(".".join(path))
        await _write(database, kind, Update(bad.id, {}, Changes(unsets=[path]), f"{database.writer}:{len(dropped)}"))
    return dropped


async def _still_bad(database: Database, kind: Kind, stored: Stored) -> Stored | None:
    async for found in database.read(kind, {"_id": {"$eq": stored.id}}):
        return found if found.error is not None else None
    return None


async def _write(database: Database, kind: Kind, operation: Update | Delete) -> None:
    collection = database.scopes[kind].collection
    for failure in (await database.driver.write(collection, [operation])).values():
        raise DocumentError(failure.reason).located(collection, operation.id)
