"""Writes as statements of MongoDB's `update` and `delete` commands."""

from __future__ import annotations

from typing import Any, Final

from ptb_mongo.driver.operations import Delete, Insert, Operation

__all__ = ["deletion", "rev_of", "update"]

# Matches no document, so an upsert either inserts one or fails because there is one.
_NO_DOCUMENT: Final[dict[str, Any]] = {"rev": {"$in": []}}

_NOW: Final = {"updated_at": "$$NOW"}


def update(operation: Operation) -> dict[str, Any] | None:
    """The statement of an `update` command; `None` for a deletion that marks nothing."""
    if isinstance(operation, Insert):
        # A pipeline, because update operators would sort the fields by name.
        made = [{"$set": {**{name: {"$literal": value} for name, value in operation.fields.items()}, **_NOW}}]
        return {"q": {"_id": operation.id, **_NO_DOCUMENT}, "u": made, "upsert": True}
    if isinstance(operation, Delete):
        if not operation.mark:
            return None
        marked = {"$set": {**operation.mark, "rev": operation.rev}, "$currentDate": {"updated_at": True}}
        return {"q": {"_id": operation.id, **operation.guard}, "u": marked}
    guard = {"_id": operation.id, **operation.guard, **operation.changes.guard()}
    return {"q": guard, "u": operation.changes.update(operation.rev, operation.extra)}


def deletion(operation: Operation) -> dict[str, Any] | None:
    """The statement of a `delete` command; `None` for a write that deletes nothing."""
    if not isinstance(operation, Delete):
        return None
    guard = {"rev": operation.rev} if operation.mark else operation.guard
    return {"q": {"_id": operation.id, **guard}, "limit": 1}


def rev_of(operation: Operation) -> Any:
    """The `rev` that a document has after a write."""
    return operation.fields["rev"] if isinstance(operation, Insert) else operation.rev
