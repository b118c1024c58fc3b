"""Finds and deletes what is stored about one person in all collections; for a running bot and the command line."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import bson

from ptb_mongo.codec import BURIED_FIELD
from ptb_mongo.driver import Driver
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.people.subject import COLLECTIONS, KeyParts, Subject, unknown

__all__ = ["Erased", "Found", "counts", "delete_all", "find", "lasting", "names"]

_QUARANTINE: Final = "_quarantine"
_AT_ONCE: Final = 1000
_ROUNDS: Final = 10
_PAUSE: Final = 0.2  # seconds, in which other processes' earlier writes arrive
_LEASE_AHEAD: Final = 3_600_000  # milliseconds: a lease that lasts longer was planted
_OF_A_MARK: Final = frozenset({"_id", "rev", "revs", "updated_at", "seen_at", BURIED_FIELD})


class Found(NamedTuple):
    """A document of one person.

    Attributes:
        kind: The kind of its collection, one of `COLLECTIONS`.
        collection: Its collection.
        raw: Its bytes.
        document: The same, decoded as BSON and no further.
    """

    kind: str
    collection: str
    raw: bytes
    document: Mapping[str, Any]

    @property
    def is_mark(self) -> bool:
        """Whether it is only the tombstone of a deleted document, which disappears within a minute."""
        return self.document.get(BURIED_FIELD) is True and self.document.keys() <= _OF_A_MARK


@dataclass(slots=True)
class Erased:
    """What was found about a person, and what happened to it.

    Attributes:
        found: How many documents of each collection were theirs.
        removed: How many of them are gone.
        marks: How many deleted ones leave a tombstone with only the `_id`, which is removed within a minute, as an
            earlier insertion may still arrive.
        left: How many remain nevertheless: they were added meanwhile, or are in use.
    """

    found: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    marks: int = 0
    left: int = 0

    def note_left(self, left: list[Found]) -> None:
        """Notes what remains."""
        there = counts(lasting(left))
        self.left = sum(there.values())
        self.marks = sum(one.is_mark for one in left)
        self.removed = {name: max(0, number - there.get(name, 0)) for name, number in self.found.items()}

    def note_spilled(self, number: int) -> None:
        """Notes how many unsaved documents were removed from files."""
        if number:
            self.found["spill_dir"] = self.removed["spill_dir"] = number

    @property
    def total(self) -> int:
        """How many documents are gone."""
        return sum(self.removed.values())


def names(prefix: str) -> list[tuple[str, str]]:
    """The kind and the name of each collection that may contain documents about people."""
    kinds = [(kind, f"{prefix}{kind}") for kind in COLLECTIONS]
    return kinds + [(kind, f"{name}{_QUARANTINE}") for kind, name in kinds if kind not in {"leases", "jobs"}]


async def find(driver: Driver, prefix: str, subject: Subject, parts: KeyParts = unknown) -> AsyncIterator[Found]:
    """The documents of one person, in all collections.

    Args:
        driver: The database.
        prefix: The beginning of the collections' names.
        subject: The person or chat.
        parts: What is known about the conversation handlers.
    """
    for kind, collection in names(prefix):
        if (query := subject.queries(kind)) is None:
            continue
        async for raws in driver.raw_batches(collection, query, ()):
            for raw in raws:
                document = bson.decode(raw, ANYTHING)
                if subject.owns(kind, document, parts):
                    yield Found(kind, collection, raw, document)


async def delete_all(
    driver: Driver, prefix: str, subject: Subject, found: list[Found], parts: KeyParts = unknown
) -> list[Found]:
    """Deletes what is stored about one person until twice nothing is found, as others' earlier writes may arrive.

    Args:
        driver: The database.
        prefix: The beginning of the collections' names.
        subject: The person or chat.
        found: The documents that were already found.
        parts: What is known about the conversation handlers.

    Returns:
        What is left.
    """
    left, clean = found, 0
    for _ in range(_ROUNDS):
        await _delete(driver, left)
        left = [one async for one in find(driver, prefix, subject, parts)]
        clean = 0 if lasting(left) else clean + 1
        if clean > 1:
            break
        await asyncio.sleep(_PAUSE)
    return left


async def _delete(driver: Driver, found: list[Found]) -> None:
    """Deletes documents, except for tombstones and for leases in use, which their holder releases."""
    by_collection: dict[str, list[Any]] = {}
    for one in found:
        if not one.is_mark and one.kind != "leases":
            by_collection.setdefault(one.collection, []).append(one.document["_id"])
    for collection, ids in by_collection.items():
        for start in range(0, len(ids), _AT_ONCE):
            await driver.delete_all(collection, {"_id": {"$in": ids[start : start + _AT_ONCE]}})
    leases = [one for one in found if one.kind == "leases"]
    for collection in {one.collection for one in leases}:
        ids = [one.document["_id"] for one in leases if one.collection == collection]
        within = [{"$gt": ["$until", "$$NOW"]}, {"$lte": ["$until", {"$add": ["$$NOW", _LEASE_AHEAD]}]}]
        is_in_use = {"$and": [{"$eq": [{"$type": "$until"}, "date"]}, *within]}
        await driver.delete_all(collection, {"_id": {"$in": ids}, "$expr": {"$not": [is_in_use]}})


def counts(found: list[Found]) -> dict[str, int]:
    """The number of documents of each collection."""
    return dict(Counter(one.collection for one in found))


def lasting(found: list[Found]) -> list[Found]:
    """The documents that are data: neither tombstones nor leases, which their holder releases."""
    return [one for one in found if not one.is_mark and one.kind != "leases"]
