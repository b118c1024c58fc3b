"""The difference between two versions of a document, as an update for MongoDB and its guard; no I/O."""

from __future__ import annotations

import datetime as dtm
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ptb_mongo.replica.values import MISSING, Document, Path, addressable, comparable, fields_inside, same

__all__ = ["Changes", "diff"]

_EQUAL_IS_SAME: Final = frozenset({str, int, bool, bytes, type(None)})  # a short cut past `same`
# What `$type` may not be at a field that an update goes through (a missing field is created).
_NOT_A_DOCUMENT: Final = [
    *("array", "string", "int", "long", "double", "decimal", "bool", "null", "date", "binData"),
    *("objectId", "regex", "timestamp", "javascript", "minKey", "maxKey"),
]


@dataclass(slots=True)
class Changes:
    """What turns one document into another.

    Attributes:
        sets: Fields and their new values, in the order in which new fields are to stand.
        unsets: Fields to remove.
        created: Those of `sets` that are new and have fields of their own: somebody else may create them, too.
        last: For a document in which fields move, the names and values of those that are to stand at its end.
        replaced: Those of `sets` that stand for many changes inside, and what they were: only that may be replaced.
        ordered: Whether an update must keep the order of `sets`.
        at_most: How many paths may change inside one document before it is replaced.
    """

    sets: list[tuple[Path, Any]] = field(default_factory=list)
    unsets: list[Path] = field(default_factory=list)
    created: list[Path] = field(default_factory=list)
    last: dict[Path, Document] = field(default_factory=dict)
    replaced: dict[Path, Any] = field(default_factory=dict)
    ordered: bool = False
    at_most: float = math.inf

    def __bool__(self) -> bool:
        return bool(self.sets or self.unsets or self.last)

    def paths(self) -> Iterator[Path]:
        """Every path that is written."""
        for path, _ in self.sets:
            yield path
        yield from self.unsets

    def set_whole(self, name: str, value: Any) -> None:
        """Sets a field at the top with all that is in it, whatever of it has changed."""
        self.sets = [(path, new) for path, new in self.sets if path[0] != name]
        self.unsets = [path for path in self.unsets if path[0] != name]
        self.created = [path for path in self.created if path[0] != name]
        self.last = {path: names for path, names in self.last.items() if path[:1] != (name,)}
        self.replaced = {path: was for path, was in self.replaced.items() if path[0] != name}
        self.sets.append(((name,), value))

    def update(self, rev: str) -> Document | list[Document]:
        """The update for MongoDB: idempotent, and touching nothing but the changed paths.

        `$set` adds new fields in lexicographic order; where that is not the order wanted, the update is a
        pipeline, which adds them in the order given (MongoDB manual, `$set`).

        Args:
            rev: Who writes this, and his which write it is.
        """
        if not self.ordered:
            update: Document = {"$set": {".".join(path): value for path, value in self.sets}}
            update["$set"]["rev"] = rev
            if self.unsets:
                update["$unset"] = {".".join(path): "" for path in self.unsets}
            update["$currentDate"] = {"updated_at": True}
            return update
        sets = {".".join(path): {"$literal": value} for path, value in self.sets}
        return [
            *([{"$unset": [".".join(path) for path in self.unsets]}] if self.unsets else []),
            {"$set": {**sets, "rev": {"$literal": rev}, "updated_at": "$$NOW"}},
            *({"$set": {".".join(parent): _reordered(parent, names)}} for parent, names in self.last.items()),
        ]

    def steps(self, rev: str, now: dtm.datetime) -> list[Document]:
        """The same for a database that knows no pipelines, and keeps the order of `$set`: one update after another."""
        last = {
            ".".join((*parent, name)): value for parent, fields in self.last.items() for name, value in fields.items()
        }
        sets = {".".join(path): value for path, value in self.sets}
        gone = [*(".".join(path) for path in self.unsets), *last]
        own = [path for path in last if not any(path.startswith(f"{other}.") for other in last)]
        kept = {
            path: value for path, value in sets.items() if not any(f"{path}.".startswith(f"{other}.") for other in own)
        }
        return [
            *([{"$unset": dict.fromkeys(gone, "")}] if gone else []),
            {"$set": {**kept, **{path: last[path] for path in own}, "rev": rev, "updated_at": now}},
        ]

    def guard(self) -> Document:
        """A filter under which the update does what it says.

        Through an array or a scalar, a pipeline and a numeric key would not fail but write somewhere else; and a
        document that somebody else has created meanwhile must be merged, not replaced.
        """
        through = {
            path[:end]
            for path in (*self.paths(), *((*parent, "") for parent in self.last))
            for end in range(1, len(path))
            if self.ordered or path[end].isdigit()
        }
        guard: Document = {".".join(path): {"$not": {"$type": _NOT_A_DOCUMENT}} for path in sorted(through)}
        guard |= {".".join(path): {"$exists": False} for path in self.created}
        return guard | {".".join(path): {"$eq": was} for path, was in self.replaced.items()}


def _reordered(parent: Path, names: Iterable[str]) -> Document:
    """An expression: the document at `parent` as it is, but with some of its fields at its end.

    A pipeline that removes a field and sets it again leaves it where it was (seen on MongoDB 6.0), so the
    document is taken apart and put together again, with whatever others have done to it.
    """
    fields = {"$objectToArray": {"$ifNull": ["$" + ".".join(parent), {}]}}

    def those(condition: Document) -> Document:
        return {"$filter": {"input": fields, "cond": condition}}

    others = those({"$not": {"$in": ["$$this.k", {"$literal": list(names)}]}})
    last = [those({"$eq": ["$$this.k", {"$literal": name}]}) for name in names]
    return {"$arrayToObject": {"$concatArrays": [others, *last]}}


def diff(
    base: Document,
    local: Document,
    canonical: Callable[[Any], Any] | None = None,
    *,
    at_most: float = math.inf,
) -> Changes:
    """The changes that turn `base` into `local`.

    Args:
        base: A plain document.
        local: Another.
        canonical: Gives the form that we would store for a value of `base`, which may have been written by
            somebody else, or by another version: another form of the same value is no change.
        at_most: How many paths may change inside one document; if there are more, the document is replaced,
            provided that nobody else has changed it. MongoDB takes the square of their number.
    """
    changes = Changes(at_most=at_most)
    _diff_fields(base, local, (), changes, canonical)
    return changes


def _diff_fields(
    base: Document, local: Document, path: Path, changes: Changes, canonical: Callable[[Any], Any] | None
) -> bool:
    """Adds the changes between two documents at `path`; `False` if they cannot be addressed one by one."""
    if list(base) != list(local) and not _diff_keys(base, local, path, changes):
        return False
    for key, after in local.items():
        before = base.get(key, MISSING)
        if before is MISSING:
            continue
        if before == after:
            # In C, but blind for types and for the order of keys.
            kind = type(before)
            if kind is type(after) and (kind in _EQUAL_IS_SAME or same(before, after)):
                continue
        if addressable(key):
            _diff_value(before, after, (*path, key), changes, canonical)
        elif not same(before, after):
            return False
    return True


def _diff_keys(base: Document, local: Document, path: Path, changes: Changes) -> bool:
    """Adds what is new, gone or in another place; `False` if it cannot be addressed."""
    kept = _kept(base, local)
    appended = [key for key in local if key not in kept]
    new = [key for key in appended if key not in base]
    removed = [key for key in base if key not in local]
    if not all(map(addressable, (*appended, *removed))):
        return False
    changes.unsets += [(*path, key) for key in removed]
    changes.sets += [((*path, key), local[key]) for key in new]
    changes.created += [(*path, key) for key in new if fields_inside(local[key]) is not None]
    if len(new) < len(appended):
        changes.last[path] = {key: local[key] for key in appended}
        changes.ordered = True
    elif len(new) > 1 and not _is_lexicographic(new):
        changes.ordered = True
    return True


def _diff_value(before: Any, after: Any, path: Path, changes: Changes, canonical: Callable[[Any], Any] | None) -> None:
    if inside := comparable(before, after):
        inner, old, new = inside
        known = len(changes.sets), len(changes.unsets), len(changes.created)
        known_as = dict(changes.last), dict(changes.replaced), changes.ordered
        one_by_one = _diff_fields(old, new, path + inner, changes, canonical)
        many = len(changes.sets) + len(changes.unsets) - known[0] - known[1] > changes.at_most
        if one_by_one and not many:
            return
        del changes.sets[known[0] :], changes.unsets[known[1] :], changes.created[known[2] :]
        changes.last, changes.replaced, changes.ordered = known_as
        if one_by_one:
            changes.replaced[path] = before
    elif same(before, after) or (canonical and type(before) in {dict, list} and same(canonical(before), after)):
        return
    changes.sets.append((path, after))


def _kept(base: Document, local: Document) -> dict[str, None]:
    """The first keys of `local`, as far as they stand in `base` in that order; what follows must be appended."""
    kept: dict[str, None] = {}
    positions = iter(base)
    for key in local:
        if key not in base or all(position != key for position in positions):
            break
        kept[key] = None
    return kept


def _is_lexicographic(keys: list[str]) -> bool:
    return not any(key.isdigit() for key in keys) and keys == sorted(keys, key=str.encode)
