"""What is stored of one person: found, and deleted, in all collections; for a running bot and for the command line."""

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
_PAUSE: Final = 0.2  # seconds, in which what other processes had sent arrives
_LEASE_AHEAD: Final = 3_600_000  # milliseconds: whoever says that a lease is in use for longer has planted it
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
        """Whether it is only the mark of a deleted document, which goes within a minute."""
        return self.document.get(BURIED_FIELD) is True and self.document.keys() <= _OF_A_MARK


@dataclass(slots=True)
class Erased:
    """What was found of a person, and what became of it.

    Attributes:
        found: How many documents of each collection were theirs.
        removed: How many of them are gone.
        marks: How many deleted ones leave a mark, of the `_id` alone, that is removed within a minute: an insertion
            that was sent before may still arrive.
        left: How many are there all the same: they came while it was going on, or are in use.
    """

    found: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    marks: int = 0
    left: int = 0

    def note_left(self, left: list[Found]) -> None:
        """Notes what is there afterwards."""
        there = counts(lasting(left))
        self.left = sum(there.values())
        self.marks = sum(one.is_mark for one in left)
        self.removed = {name: max(0, number - there.get(name, 0)) for name, number in self.found.items()}

    def note_spilled(self, number: int) -> None:
        """Notes what was unsaved in files, and is gone."""
        if number:
            self.found["spill_dir"] = self.removed["spill_dir"] = number

    @property
    def total(self) -> int:
        """How many documents are gone."""
        return sum(self.removed.values())


def names(prefix: str) -> list[tuple[str, str]]:
    """The kind and the name of each collection that may hold documents of people."""
    kinds = [(kind, f"{prefix}{kind}") for kind in COLLECTIONS]
    return kinds + [(kind, f"{name}{_QUARANTINE}") for kind, name in kinds if kind not in {"leases", "jobs"}]


async def find(driver: Driver, prefix: str, subject: Subject, parts: KeyParts = unknown) -> AsyncIterator[Found]:
    """The documents of one person, in all collections.

    Args:
        driver: The database.
        prefix: What the names of the collections begin with.
        subject: Whose.
        parts: What is known of the handlers of conversations.
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
    """Deletes what is stored of one person, until twice nothing is found: others may have sent something before.

    Args:
        driver: The database.
        prefix: What the names of the collections begin with.
        subject: Whose.
        found: What was found already.
        parts: What is known of the handlers of conversations.

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
    """Deletes documents, but for marks, and for leases that are in use: their holder gives them back."""
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
    """How many documents of each collection there are."""
    return dict(Counter(one.collection for one in found))


def lasting(found: list[Found]) -> list[Found]:
    """Those that are data: neither the mark of a deleted document, nor a lease, which its holder gives back."""
    return [one for one in found if not one.is_mark and one.kind != "leases"]
