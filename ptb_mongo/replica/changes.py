"""Changes of a document, as an update for MongoDB and the guard that makes the update safe; no I/O."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ptb_mongo.replica.elements import ArrayChange
from ptb_mongo.replica.values import Document, Path

__all__ = ["Changes"]


@dataclass(slots=True)
class Changes:
    """The changes that turn one document into another.

    Attributes:
        sets: Fields and their new values; new fields in their intended order.
        unsets: Fields to remove.
        arrays: Arrays of lists, deques and sets, and what is added to them or removed from them.
        last: For a document in which fields move, the names and values of those that belong at its end.
        conditions: What the update requires of the stored document: filter conditions by path.
        ordered: Whether an update must keep the order of `sets`.
        keeps_forms: Whether some values stay stored in a form other than ours.
    """

    sets: list[tuple[Path, Any]] = field(default_factory=list)
    unsets: list[Path] = field(default_factory=list)
    arrays: dict[Path, ArrayChange] = field(default_factory=dict)
    last: dict[Path, Document] = field(default_factory=dict)
    conditions: dict[Path, Document] = field(default_factory=dict)
    ordered: bool = False
    keeps_forms: bool = False

    def __bool__(self) -> bool:
        return bool(self.sets or self.unsets or self.arrays or self.last)

    def paths(self) -> Iterator[Path]:
        """Every path that the update writes."""
        for path, _ in self.sets:
            yield path
        yield from self.unsets
        yield from self.arrays

    def mark(self) -> tuple[int, ...]:
        """A point to which `back_to` can return; its first number counts the paths up to there."""
        sets, unsets, arrays = len(self.sets), len(self.unsets), len(self.arrays)
        return sets + unsets + arrays, sets, unsets, arrays, len(self.last), len(self.conditions), self.ordered

    def back_to(self, mark: tuple[int, ...]) -> None:
        """Forgets all changes added since a mark."""
        _, sets, unsets, arrays, last, conditions, ordered = mark
        del self.sets[sets:], self.unsets[unsets:]
        counted: tuple[tuple[dict[Path, Any], int], ...] = (
            (self.arrays, arrays),
            (self.last, last),
            (self.conditions, conditions),
        )
        for fields, count in counted:
            while len(fields) > count:
                fields.popitem()
        self.ordered = bool(ordered)

    def set_whole(self, name: str, value: Any) -> None:
        """Sets a top-level field as a whole, whatever has changed in it."""
        self.sets = [(path, new) for path, new in self.sets if path[0] != name]
        self.unsets = [path for path in self.unsets if path[0] != name]
        by_path: tuple[dict[Path, Any], ...] = self.arrays, self.last, self.conditions
        for fields in by_path:
            for path in [path for path in fields if path[:1] == (name,)]:
                del fields[path]
        self.sets.append(((name,), value))

    def update(self, rev: str, extra: Mapping[str, Any] = {}) -> Document | list[Document]:
        """The update for MongoDB, which touches nothing but the changed paths.

        `$set` adds new fields in lexicographic order; if that is not the intended order, the update is a pipeline,
        which adds them in the given order (MongoDB manual, `$set`).

        Args:
            rev: The writer's id and the number of this write.
            extra: More top-level fields to set.
        """
        if self.ordered:
            return self._pipeline(rev, extra)
        sets = {".".join(path): value for path, value in self.sets}
        update: Document = {"$set": {**sets, "rev": rev, **extra}}
        if self.unsets:
            update["$unset"] = {".".join(path): "" for path in self.unsets}
        if self.arrays:
            update |= self._array_operators()
        update["$currentDate"] = {"updated_at": True}
        return update

    def _pipeline(self, rev: str, extra: Mapping[str, Any]) -> list[Document]:
        sets = {".".join(path): {"$literal": value} for path, value in self.sets}
        sets |= {".".join(path): change.expression("$" + ".".join(path)) for path, change in self.arrays.items()}
        own = {name: {"$literal": value} for name, value in {"rev": rev, **extra}.items()}
        return [
            *([{"$unset": [".".join(path) for path in self.unsets]}] if self.unsets else []),
            {"$set": {**sets, **own, "updated_at": "$$NOW"}},
            *({"$set": {".".join(parent): _reordered(parent, names)}} for parent, names in self.last.items()),
        ]

    def _array_operators(self, outside: Iterable[str] = ()) -> Document:
        """The operators that change arrays, except for arrays inside certain fields."""
        operators: dict[str, Document] = {}
        for path, change in self.arrays.items():
            name, operand = change.operator()
            if not _is_in(".".join(path), outside):
                operators.setdefault(name, {})[".".join(path)] = operand
        return operators

    def steps(self, rev: str, now: dtm.datetime, extra: Mapping[str, Any] = {}) -> list[Document]:
        """The same, as a series of updates, for a database that lacks pipelines but keeps the order of `$set`."""
        last = {
            ".".join((*parent, name)): value for parent, fields in self.last.items() for name, value in fields.items()
        }
        sets = {".".join(path): value for path, value in self.sets}
        gone = [*(".".join(path) for path in self.unsets), *last]
        own = [path for path in last if not any(path.startswith(f"{other}.") for other in last)]
        kept = {path: value for path, value in sets.items() if not _is_in(path, own)}
        moved = {path: last[path] for path in own}
        return [
            *([{"$unset": dict.fromkeys(gone, "")}] if gone else []),
            {
                "$set": {**kept, **moved, "rev": rev, "updated_at": now, **extra},
                **self._array_operators(outside=own),
            },
        ]

    def guard(self) -> Document:
        """A filter that makes the update safe.

        Through an array or a scalar, pipelines and numeric keys do not fail but write somewhere else; and what somebody
        else has created or changed meanwhile must be merged, not replaced.
        """
        through = {
            path[:end]
            for path in (*self.paths(), *((*parent, "") for parent in self.last))
            for end in range(1, len(path))
            if self.ordered or path[end].isdigit()
        }
        guard: Document = {".".join(path): condition for path, condition in self.conditions.items()}
        if through:
            guard["$nor"] = [no_document for path in sorted(through) for no_document in _no_document(".".join(path))]
        return guard


def _no_document(path: str) -> list[Document]:
    """Filters, one of which matches if the field exists and is not a document."""
    return [{path: {"$exists": True, "$not": {"$type": "object"}}}, {path: {"$type": "array"}}]


def _is_in(path: str, fields: Iterable[str]) -> bool:
    return any(f"{path}.".startswith(f"{name}.") for name in fields)


def _reordered(parent: Path, names: Iterable[str]) -> Document:
    """An expression for the document at `parent`, with some of its fields moved to the end.

    A pipeline that removes a field and sets it again leaves it in its place (seen on MongoDB 6.0), so the document is
    taken apart and reassembled, including whatever others have changed in it.
    """
    fields = {"$objectToArray": {"$ifNull": ["$" + ".".join(parent), {}]}}

    def those(condition: Document) -> Document:
        return {"$filter": {"input": fields, "cond": condition}}

    others = those({"$not": {"$in": ["$$this.k", {"$literal": list(names)}]}})
    last = [those({"$eq": ["$$this.k", {"$literal": name}]}) for name in names]
    return {"$arrayToObject": {"$concatArrays": [others, *last]}}
