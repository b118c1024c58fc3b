"""Counts what is in a bot's database; the server does the counting."""

from __future__ import annotations

import datetime as dtm
from dataclasses import dataclass
from typing import Any, Final

from ptb_mongo.codec import TAG, unescape
from ptb_mongo.codec.shapes import PYDANTIC_SLOTS
from ptb_mongo.errors import RefusedError
from ptb_mongo.migration.data import STORED, Kind
from ptb_mongo.migration.database import Database

__all__ = ["KeyUse", "Storage", "conversation_states", "key_uses", "storage", "writes_by_day"]

_MAPPINGS: Final = ["dict", "OrderedDict", "defaultdict", "Counter"]
_PYTHON_NAMES: Final = {
    "string": "str",
    "int": "int",
    "long": "int",
    "double": "float",
    "object": "dict",
    "array": "list",
    "date": "datetime",
    "binData": "bytes",
    "null": "None",
}


@dataclass(frozen=True, slots=True)
class Storage:
    """The amount of data of one kind.

    Attributes:
        documents: The number of documents.
        size: Their size in bytes; `None` if this user may not know it.
        on_disk: Their compressed size on disk.
        indexes: The size of the indexes.
    """

    documents: int
    size: int | None = None
    on_disk: int | None = None
    indexes: int | None = None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key of the data.

    Attributes:
        key: The key, as the bot sees it.
        documents: How many documents have it.
        types: How many of its values have each type.
    """

    key: object
    documents: int
    types: dict[str, int]


async def storage(database: Database) -> dict[Kind, Storage]:
    """The number of documents and their size."""
    result: dict[Kind, Storage] = {}
    for kind in STORED:
        collection = database.scopes[kind].collection
        try:
            (stats,) = [
                one async for one in database.driver.aggregate(collection, [{"$collStats": {"storageStats": {}}}])
            ]
        except RefusedError:  # no such collection, or no permission
            documents = (await database.driver.command({"count": collection}))["n"]
            if documents or kind != "jobs":
                result[kind] = Storage(documents)
            continue
        found = stats["storageStats"]
        result[kind] = Storage(found["count"], found["size"], found["storageSize"], found["totalIndexSize"])
    return result


async def writes_by_day(database: Database, kind: Kind, days: int) -> dict[dtm.date, int]:
    """How many documents were last written on each of the last days, including days with none."""
    today = dtm.datetime.now(dtm.timezone.utc).date()
    first = today - dtm.timedelta(days=days - 1)
    since = dtm.datetime.combine(first, dtm.time(), dtm.timezone.utc)
    pipeline: list[dict[str, Any]] = [
        {"$match": {"updated_at": {"$gte": since, "$lt": since + dtm.timedelta(days=days + 1)}}},
        {"$match": _of_type("$updated_at", "date")},
        {"$group": {"_id": {"$dateToString": {"format": "%Y-%m-%d", "date": "$updated_at"}}, "n": {"$sum": 1}}},
    ]
    found = {
        dtm.date.fromisoformat(one["_id"]): one["n"]
        async for one in database.driver.aggregate(database.scopes[kind].collection, pipeline)
    }
    return {(day := first + dtm.timedelta(days=number)): found.get(day, 0) for number in range(days)}


async def key_uses(database: Database, kind: Kind, *, most: int, sample: int | None = None) -> list[KeyUse]:
    """The keys that most documents have, and the types of their values.

    Args:
        database: The database.
        kind: "user_data", "chat_data" or "bot_data".
        most: How many keys to return.
        sample: How many randomly chosen documents to examine; by default, all.
    """
    tag = f"$field.v.{TAG}"
    kind_of_value = {"$cond": [_is_text(tag), _text("$field.v.cls", tag), {"$type": "$field.v"}]}
    # The attributes of an object, the entries of a subclass of `dict`.
    fields = {
        "$switch": {
            "branches": [
                {"case": {"$eq": [f"$data.{TAG}", "object"]}, "then": "$data.state"},
                {"case": {"$in": [f"$data.{TAG}", _MAPPINGS]}, "then": "$data.v"},
            ],
            "default": "$data",
        }
    }
    pipeline: list[dict[str, Any]] = [
        *([{"$sample": {"size": sample}}] if sample else []),
        {"$project": {"data": fields}},
        {"$match": {**_of_type("$data", "object"), f"data.{TAG}": {"$exists": False}}},
        {"$project": {"field": {"$objectToArray": "$data"}}},
        {"$unwind": "$field"},
        {"$match": {"field.k": {"$nin": [*PYDANTIC_SLOTS]}}},  # what pydantic keeps besides the fields of a model
        {"$group": {"_id": {"key": "$field.k", "type": kind_of_value}, "n": {"$sum": 1}}},
        {"$sort": {"n": -1, "_id": 1}},
        {"$group": {"_id": "$_id.key", "n": {"$sum": "$n"}, "types": {"$push": {"type": "$_id.type", "n": "$n"}}}},
        {"$sort": {"n": -1, "_id": 1}},
        {"$limit": most},
    ]
    result = []
    async for one in database.driver.aggregate(database.scopes[kind].collection, pipeline):
        types: dict[str, int] = {}
        for found in one["types"]:
            name = _PYTHON_NAMES.get(found["type"], found["type"])
            types[name] = types.get(name, 0) + found["n"]
        result.append(KeyUse(unescape(one["_id"]), one["n"], types))
    return result


async def conversation_states(database: Database) -> dict[str, dict[str, int]]:
    """How many conversations of each handler are in each state."""
    tag = f"$state.{TAG}"
    state = {"$cond": [_is_text(tag), _text("$state.name", _text("$state.cls", tag)), "$state"]}
    pipeline: list[dict[str, Any]] = [
        {"$group": {"_id": {"handler": "$handler", "state": state}, "n": {"$sum": 1}}},
    ]
    counted: dict[str, dict[str, int]] = {}
    async for one in database.driver.aggregate(database.scopes["conversations"].collection, pipeline):
        states = counted.setdefault(str(one["_id"].get("handler")), {})
        name = str(one["_id"].get("state"))
        states[name] = states.get(name, 0) + one["n"]
    # Not sorted by the server, which cannot sort by two arrays: a stranger may have stored one in each field.
    return {
        handler: dict(sorted(states.items(), key=lambda one: (-one[1], one[0])))
        for handler, states in sorted(counted.items())
    }


def _of_type(path: str, kind: str) -> dict[str, Any]:
    """A filter for values that have this type themselves: `$type` in a query also finds arrays that contain one."""
    return {"$expr": {"$eq": [{"$type": path}, kind]}}


def _is_text(path: str) -> dict[str, Any]:
    return {"$eq": [{"$type": path}, "string"]}


def _text(path: str, otherwise: Any) -> dict[str, Any]:
    """The value at a path if it is text, as somebody may have stored something else there."""
    return {"$cond": [_is_text(path), path, otherwise]}
