"""What one statement of an `update` makes of a document: operators, a pipeline, or another document in its place."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from mongod import stages
from mongod.errors import DOLLAR_PREFIXED, FAILED_TO_PARSE, IMMUTABLE_FIELD, NOT_SINGLE_VALUE, StatementError
from mongod.expressions import Scope
from mongod.matching import equalities, split
from mongod.operators import changed
from mongod.parsing import Change, parsed
from mongod.values import MISSING, Document, equal, identical
from mongod.work import Path

__all__ = ["Update", "Updated"]


class Updated(NamedTuple):
    """A new version of a document, and how the change stream tells of it.

    Attributes:
        document: The new version.
        told: The same as it goes into the oplog: with the `_id` where the update has put it, if it has.
        operation: "update", "transform" or "replace".
        written: By an update, the paths that have a new value.
        removed: The paths that are gone.
    """

    document: Document
    told: Document
    operation: str
    written: Sequence[Path] = ()
    removed: Sequence[Path] = ()


class Update:
    """What a statement says is to be done.

    Args:
        change: Operators, a pipeline or a document.
        now: The server's time.
        multi: Whether it is for all documents that match.

    Raises:
        StatementError: If it is refused whatever the documents are.
    """

    def __init__(self, change: Any, now: dtm.datetime, *, multi: bool = False) -> None:
        self._now = now
        self._change = change
        self._operators: Sequence[Change] | None = None
        if type(change) is dict and next(iter(change), "")[:1] == "$":
            self._operators = parsed(change)
        elif type(change) is list:
            self._stages = stages.parsed(change)
        elif multi:
            raise StatementError(FAILED_TO_PARSE, "multi update is not supported for replacement-style update")

    def of(self, document: Document) -> Updated | None:
        """The new version of a document; `None` if nothing changes."""
        if self._operators is not None:
            made = changed(document, self._operators, self._now)
            if not (made.written or made.removed):
                return None
            return Updated(made.document, made.document, "update", made.written, made.removed)
        result = self._replaced(document)
        if identical(document, result):
            return None
        after = _with_id_of(document, result)
        if type(self._change) is list:
            return Updated(after, result, "transform")
        for name in result:
            if name[:1] == "$":
                raise StatementError(DOLLAR_PREFIXED, f"The dollar ($) prefixed field '{name}' is not allowed")
        return Updated(after, result, "replace")

    def _replaced(self, document: Document) -> Document:
        if type(self._change) is dict:
            return self._change
        return stages.transformed(document, self._stages, Scope(self._now))

    def upserted(self, query: Mapping[str, Any]) -> Document:
        """The document that is made if none matches."""
        document = _described(query)
        if self._operators is None:
            return _with_id_of(document, self._replaced(document))
        return changed(document, self._operators, self._now, inserting=True).document


def _with_id_of(document: Document, result: Document) -> Document:
    """A new version with the `_id` of the old one, in front; that of the new one may be another kind of number."""
    wanted = document.get("_id", MISSING)
    got = result.get("_id", wanted)
    if got is MISSING:
        return result
    if wanted is not MISSING and not equal(wanted, got):
        text = "After applying the update, the (immutable) field '_id' was found to have been altered"
        raise StatementError(IMMUTABLE_FIELD, text)
    return result if next(iter(result), "") == "_id" else {"_id": got, **result}


def _described(query: Mapping[str, Any]) -> Document:
    """The document that has what a filter says is equal."""
    document: Document = {}
    before: Path = ()
    for field, value in sorted(equalities(query), key=itemgetter(0)):
        path = split(field)
        if before and path[: len(before)] == before:
            raise StatementError(NOT_SINGLE_VALUE, f"both paths '{field}' and '{'.'.join(before)}' are matched")
        _put(document, path, value)
        before = path
    return document


def _put(document: Document, path: Path, value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value
