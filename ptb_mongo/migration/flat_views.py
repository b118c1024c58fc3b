"""Views for analysts: the stored documents without what only Python needs, computed by MongoDB when they are read.

A view is a pipeline, and a pipeline cannot call itself. So the expression that unwraps a value contains itself, a few
levels deep; what is deeper stays in its stored form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ptb_mongo.codec import BURIED_FIELD, TAG
from ptb_mongo.driver import Driver
from ptb_mongo.errors import PersistenceError
from ptb_mongo.migration.data import Kind

__all__ = ["FlatView", "apply", "flat_views", "value_of"]

_LEVELS: Final = 6
"""How deep values are unwrapped. The server accepts 200 levels in a pipeline, and each of these takes ten."""
_SUFFIX: Final = "_flat"
_DATA: Final[tuple[Kind, ...]] = ("user_data", "chat_data", "bot_data")
_BESIDE: Final = ("updated_at", "seen_at")
_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "conversations": ("handler", "key", "state"),
    "jobs": ("name", "callback", "chat_id", "user_id", "data", "trigger", "next_run", "last_run"),
}
_OPENED: Final = ("key", "state", "data")

Expression = Any
"""An aggregation expression of MongoDB."""


@dataclass(frozen=True, slots=True)
class FlatView:
    """A view and its state.

    Attributes:
        name: Its name.
        source: The collection that it shows.
        pipeline: Its pipeline.
        status: Whether it exists, in the right form or in another one.
    """

    name: str
    source: str
    pipeline: list[dict[str, Any]]
    status: Literal["missing", "different", "there"]


def _peeled(value: str) -> Expression:
    """The content of a tagged value; any other value itself."""

    def tagged(*tags: str) -> Expression:
        return {"$in": [f"{value}.{TAG}", list(tags)]}

    return {
        "$switch": {
            "branches": [
                {"case": {"$ne": [{"$type": value}, "object"]}, "then": value},
                {"case": {"$ne": [{"$type": f"{value}.{TAG}"}, "string"]}, "then": value},
                {"case": tagged("object"), "then": {"$ifNull": [f"{value}.state", value]}},
                {"case": tagged("telegram"), "then": {"$ifNull": [f"{value}.view", value]}},
                {"case": tagged("enum"), "then": {"$ifNull": [f"{value}.name", f"{value}.v"]}},
                {"case": tagged("pickle"), "then": {"$ifNull": [f"{value}.cls", None]}},
            ],
            # A date in the first hours of the year 1 has no `v`.
            "default": {"$ifNull": [f"{value}.v", {"$ifNull": [f"{value}.iso", value]}]},
        }
    }


def value_of(value: str, levels: int = _LEVELS) -> Expression:
    """A value without tags: dates are dates, objects become their attributes, sets and tuples arrays.

    Args:
        value: Its path, such as `"$data"`.
        levels: How many levels of documents and arrays to unwrap.
    """
    if levels == 0:
        return _peeled(value)
    is_array = {"$isArray": ["$$peeled"]}
    items = {"$map": {"input": "$$peeled", "as": "item", "in": {"v": "$$item"}}}
    entries = {"$cond": [is_array, items, {"$objectToArray": "$$peeled"}]}
    opened = {"$map": {"input": entries, "as": "one", "in": {"k": "$$one.k", "v": value_of("$$one.v", levels - 1)}}}
    closed = {"$cond": [is_array, "$$opened.v", {"$arrayToObject": "$$opened"}]}
    return {
        "$let": {
            "vars": {"peeled": _peeled(value)},
            "in": {
                "$cond": [
                    {"$in": [{"$type": "$$peeled"}, ["object", "array"]]},
                    {"$let": {"vars": {"opened": opened}, "in": closed}},
                    "$$peeled",
                ]
            },
        }
    }


def _data_pipeline() -> list[dict[str, Any]]:
    is_document = {"$eq": [{"$type": "$data"}, "object"]}
    data = {"$cond": [is_document, "$data", {"data": "$data"}]}  # otherwise, one bad document would make the query fail
    return [
        {"$match": {"data": {"$exists": True}}},
        {"$project": {"data": value_of("$data"), **dict.fromkeys(_BESIDE, 1)}},
        {"$replaceWith": {"$mergeObjects": [data, {name: f"${name}" for name in ("_id", *_BESIDE)}]}},
    ]


def _fields_pipeline(fields: tuple[str, ...]) -> list[dict[str, Any]]:
    shown = {name: value_of(f"${name}") if name in _OPENED else 1 for name in (*fields, *_BESIDE)}
    return [{"$match": {BURIED_FIELD: {"$exists": False}}}, {"$project": shown}]


def _wanted() -> Iterator[tuple[Kind, list[dict[str, Any]]]]:
    for kind in _DATA:
        yield kind, _data_pipeline()
    for kind, fields in _FIELDS.items():
        yield kind, _fields_pipeline(fields)


async def flat_views(driver: Driver, prefix: str) -> list[FlatView]:
    """The wanted views, each with its state.

    Raises:
        PersistenceError: If a collection has the name of a view.
    """
    wanted = {f"{prefix}{kind}{_SUFFIX}": (f"{prefix}{kind}", pipeline) for kind, pipeline in _wanted()}
    listed = await driver.command({"listCollections": 1, "filter": {"name": {"$in": list(wanted)}}})
    there = {one["name"]: one for one in listed["cursor"]["firstBatch"]}
    found = []
    for name, (source, pipeline) in wanted.items():
        status: Literal["missing", "different", "there"] = "missing"
        if (one := there.get(name)) is not None:
            if one["type"] != "view":
                raise PersistenceError(f"{name} is a collection, and not a view: rename it, or drop it")
            options = one["options"]
            is_same = options.get("viewOn") == source and options.get("pipeline") == pipeline
            status = "there" if is_same else "different"
        found.append(FlatView(name, source, pipeline, status))
    return found


async def apply(driver: Driver, view: FlatView) -> None:
    """Creates a view, or changes an existing one.

    Raises:
        RefusedError: If this user may not do that.
    """
    command = "create" if view.status == "missing" else "collMod"
    await driver.command({command: view.name, "viewOn": view.source, "pipeline": view.pipeline})
