"""What one statement of an `update` makes of a document: operators, a pipeline, or another document in its place."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from mongod import stages
from mongod.errors import FAILED_TO_PARSE, IMMUTABLE_FIELD, NOT_SINGLE_VALUE, StatementError
from mongod.expressions import Scope
from mongod.matching import equalities, split
from mongod.operators import Change, Path, changed, parsed
from mongod.values import MISSING, Document, identical

__all__ = ["Update", "Updated"]


class Updated(NamedTuple):
    """A new version of a document, and how the change stream tells of it.

    Attributes:
        document: The new version.
        operation: "update", "transform" or "replace".
        written: By an update, the paths that have a new value.
        removed: The paths that are gone.
    """

    document: Document
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
            result = Updated(made.document, "update", made.written, made.removed)
        else:
            result = self._replaced(document)
            if identical(document, result.document):
                return None
        if not identical(document["_id"], result.document.get("_id", MISSING)):
            raise StatementError(
                IMMUTABLE_FIELD, "Performing an update on the path '_id' would modify the immutable field '_id'"
            )
        return result

    def _replaced(self, document: Document) -> Updated:
        change = self._change
        if type(change) is list:
            return Updated(stages.transformed(document, self._stages, Scope(self._now)), "transform")
        return Updated(change if "_id" in change else {"_id": document["_id"], **change}, "replace")

    def upserted(self, query: Mapping[str, Any]) -> Document:
        """The document that is made if none matches."""
        if self._operators is None and type(self._change) is dict:
            wanted = dict(equalities(query)).get("_id", MISSING)
            return self._change if "_id" in self._change or wanted is MISSING else {"_id": wanted, **self._change}
        document: Document = {}
        before: Path = ()
        for field, value in sorted(equalities(query), key=itemgetter(0)):
            path = split(field)
            if before and path[: len(before)] == before:
                raise StatementError(NOT_SINGLE_VALUE, f"both paths '{field}' and '{'.'.join(before)}' are matched")
            _put(document, path, value)
            before = path
        if self._operators is None:
            return stages.transformed(document, self._stages, Scope(self._now))
        return changed(document, self._operators, self._now, inserting=True).document


def _put(document: Document, path: Path, value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value
