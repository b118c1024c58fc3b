"""What one statement of an `update` makes of a document: operators, a pipeline, or another document in its place."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mongod.errors import FAILED_TO_PARSE, IMMUTABLE_FIELD, StatementError
from mongod.expressions import Scope
from mongod.matching import equalities, split
from mongod.operators import Path, changed
from mongod.stages import transformed
from mongod.values import MISSING, Document, identical

__all__ = ["Updated", "updated", "upserted"]


class Updated(NamedTuple):
    """A new version of a document, and how the change stream tells of it.

    Attributes:
        document: The new version.
        operation: "update" or "replace".
        written: The paths that have a new value.
        removed: The paths that are gone.
        truncated: The arrays that became shorter, and how long they are.
    """

    document: Document
    operation: str
    written: Sequence[Path] = ()
    removed: Sequence[Path] = ()
    truncated: Sequence[tuple[Path, int]] = ()


def updated(document: Document, change: Any, now: dtm.datetime, *, multi: bool = False) -> Updated | None:
    """The new version of a document; `None` if nothing changes."""
    if type(change) is list:
        result = Updated(transformed(document, change, Scope(now)), "replace")
    elif _is_operators(change):
        made = changed(document, change, now)
        if made.document is document or not (made.written or made.removed):
            return None
        result = Updated(made.document, "update", made.written, made.removed)
    else:
        if multi:
            raise StatementError(FAILED_TO_PARSE, "multi update is not supported for replacement-style update")
        result = Updated(_in_place_of(document, change), "replace")
    if result.operation == "replace" and identical(document, result.document):
        return None
    if not identical(document["_id"], result.document.get("_id", MISSING)):
        raise StatementError(
            IMMUTABLE_FIELD, "Performing an update on the path '_id' would modify the immutable field '_id'"
        )
    return result


def upserted(query: Mapping[str, Any], change: Any, now: dtm.datetime) -> Document:
    """The document that an upsert makes."""
    if type(change) is not list and not _is_operators(change):
        wanted = dict(equalities(query)).get("_id", MISSING)
        return change if "_id" in change or wanted is MISSING else {"_id": wanted, **change}
    document: Document = {}
    for path, value in equalities(query):
        _put(document, split(path), value)
    if type(change) is list:
        return transformed(document, change, Scope(now))
    return changed(document, change, now, inserting=True).document


def _put(document: Document, path: Path, value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _is_operators(change: Mapping[str, Any]) -> bool:
    return next(iter(change), "")[:1] == "$"


def _in_place_of(document: Document, change: Document) -> Document:
    return change if "_id" in change else {"_id": document["_id"], **change}
