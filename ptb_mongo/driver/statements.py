"""Writes, as requests for a driver's bulk write and as statements of the commands that it would send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateOne

from ptb_mongo.driver.operations import Delete, Insert, Operation, Upsert

__all__ = ["can_be_updates", "request", "statement"]


def request(operation: Operation) -> UpdateOne | DeleteOne | InsertOne[dict[str, Any]]:
    """A write, for a bulk write."""
    if isinstance(operation, Delete):
        return DeleteOne({"_id": operation.id, **operation.guard})
    if isinstance(operation, Insert):
        return InsertOne({"_id": operation.id, **operation.fields})
    changes = operation.changes
    return UpdateOne({"_id": operation.id, **changes.guard()}, changes.update(operation.rev), upsert=True)


def can_be_updates(operations: Sequence[Operation]) -> bool:
    """Whether there is something to update, and all that is to be deleted beside it can be marked first."""
    deleted = [one for one in operations if isinstance(one, Delete)]
    updated = sum(isinstance(one, Upsert) for one in operations)
    return 0 < updated == len(operations) - len(deleted) and all(one.mark for one in deleted)


def statement(operation: Operation) -> dict[str, Any]:
    """An update, or the mark before a deletion, for the `update` command."""
    if isinstance(operation, Delete):
        marked = {"$set": {**operation.mark, "rev": operation.rev}, "$currentDate": {"updated_at": True}}
        return {"q": {"_id": operation.id, **operation.guard}, "u": marked}
    assert isinstance(operation, Upsert)  # noqa: S101  (for the type checker)
    changes = operation.changes
    return {"q": {"_id": operation.id, **changes.guard()}, "u": changes.update(operation.rev), "upsert": True}
