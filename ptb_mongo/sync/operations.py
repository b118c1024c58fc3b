"""The next write of a document: the difference between the pending and the stored version, and its guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ptb_mongo.codec import BURIED_FIELD
from ptb_mongo.driver.operations import Delete, Insert, Operation, Update
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.update import Changes
from ptb_mongo.replica.versions import PARTIAL, Version

__all__ = ["DIVIDED", "OperationMaker", "Prepared"]

# Changed paths in one document. A server takes about 10 ms for a thousand, and a second for ten times as many: if there
# are more, an inner document is replaced as a whole. If that makes the update too large, or if others keep changing it,
# it is changed path by path after all.
_MANY_PATHS: Final = 1000
_MOST_PATHS: Final = 10_000
DIVIDED: Final = 4
"""The attempt from which a document is changed path by path."""


class Prepared(NamedTuple):
    """A write that is about to be sent.

    Attributes:
        rev: The `rev` that it gives the document.
        operation: The operation to send.
        is_first: Whether it only stamps a document that has no `rev`, so that the next write can expect one.
    """

    rev: str
    operation: Operation
    is_first: bool = False


class OperationMaker:
    """Creates the writes of a writer.

    Args:
        name: The first part of every `rev`.
        buries: Whether insertions of other processes may still arrive: then a deletion leaves a tombstone.
    """

    def __init__(self, name: str, buries: Callable[[], bool]) -> None:
        self._name = name
        self._buries = buries
        self._count = 0

    def rename(self, name: str) -> None:
        """Makes all further writes those of another writer: a document remembers the last write of each writer."""
        self._name = name

    @property
    def last_rev(self) -> str:
        """The `rev` of the last write, as if it was a complete one."""
        return f"{self._name}:{self._count}"

    @staticmethod
    def is_change(collection: Collection[Any], replica: Replica) -> bool:
        """Whether the pending version differs from the stored one, apart from its form."""
        version = replica.pending
        if version is None or version.plain is None or version.touch or replica.may_arrive:
            return replica.is_unsaved
        if replica.base is None:
            return version.plain != collection.canonical(None)
        return bool(collection.changes(replica.base, version.plain, _MANY_PATHS))

    def make(
        self, collection: Collection[Any], replica: Replica, version: Version | None, attempt: int
    ) -> Prepared | None:
        """The next write of a document; `None` if the database is already as wanted.

        Args:
            collection: Its collection.
            replica: The document; it notes the write.
            version: What to store: the pending version or a part of it; `None` to set only a `rev`.
            attempt: How many earlier writes did not match.
        """
        rev = f"{self._name}:{self._count + 1}"
        # A missing rev does not identify a version: a document that others delete and create again lacks it, too.
        is_first = replica.base is not None and type(replica.rev) is not str and version is not None
        if is_first or version is None or version is not replica.pending:
            rev += PARTIAL
        if is_first:
            self._count += 1
            replica.stamping(rev)
            return Prepared(rev, Update(replica.id, _has(replica.rev), Changes(), rev), is_first=True)
        deletes = version is not None and version.plain is None
        buries = deletes and not replica.is_buried and (replica.is_insertion_in_doubt or self._buries())
        operation: Operation | None
        if deletes:
            operation = _deletion(collection, replica, rev, buries=buries)
        elif replica.base is None:
            buries = version is None
            operation = _insertion(collection, replica, version, rev)
        else:
            operation = _update(collection, replica, version, rev, _MOST_PATHS if attempt >= DIVIDED else _MANY_PATHS)
        if operation is None:
            return None
        if collection.stamp is not None:
            operation = collection.stamp(replica, operation)
        self._count += 1
        is_exact = not (isinstance(operation, Update) and operation.changes.keeps_forms)
        replica.sending(rev, version, buries=buries, is_exact=is_exact)
        return Prepared(rev, operation)


def _insertion(collection: Collection[Any], replica: Replica, version: Version | None, rev: str) -> Operation | None:
    if version is None or version.plain is None:
        # An update that may still arrive will match no document, and an insertion will fail if there is a tombstone.
        # While a refused version is pending, an earlier version of it may arrive; the next one follows it.
        is_to_be_missing = replica.pending is None and replica.sent.may_insert
        return Insert(replica.id, {BURIED_FIELD: True, "rev": rev}) if is_to_be_missing else None
    if version.plain == collection.canonical(None) and not replica.may_arrive:
        return None  # it equals what a missing document represents
    return Insert(replica.id, {**version.plain, "rev": rev})


def _deletion(collection: Collection[Any], replica: Replica, rev: str, *, buries: bool) -> Operation | None:
    if replica.base is None:
        return Insert(replica.id, {BURIED_FIELD: True, "rev": rev}) if replica.is_insertion_in_doubt else None
    guard = {**_has(replica.rev), **collection.deletable(replica)}
    if buries:
        changes = Changes(unsets=[(name,) for name in collection.ours_only])
        return Update(replica.id, guard, changes, rev, {BURIED_FIELD: True, **_revs(replica, rev)})
    if replica.is_buried:
        guard |= {name: {"$exists": False} for name in collection.ours_only}
        return Delete(replica.id, guard)
    return Delete(replica.id, guard, collection.ended, rev)


def _update(
    collection: Collection[Any], replica: Replica, version: Version | None, rev: str, at_most: int
) -> Operation | None:
    changes = Changes()
    if replica.base is not None and version is not None and version.plain is not None:
        changes = collection.changes(replica.base, version.plain, at_most)
    if not changes and not replica.may_arrive and not (version is not None and version.touch):
        return None
    return Update(replica.id, _has(replica.rev), changes, rev, _revs(replica, rev))


def _revs(replica: Replica, rev: str) -> dict[str, Any]:
    """The `revs` to set if this is the first write after another writer's."""
    revs = replica.revs_after(rev)
    return {"revs": list(revs)} if revs != replica.revs else {}


def _has(rev: Any) -> dict[str, Any]:
    """A filter by `rev`; `None` matches a document without one."""
    return {"rev": rev if rev is None or type(rev) is str else {"$eq": rev}}
