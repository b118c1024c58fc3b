"""Differences and three-way merges of plain documents: pure functions, no I/O.

The rule of a merge: what only one side changed since `base` is kept, from whichever side; what both changed
alike is kept once; what both changed differently is a conflict, decided for that path alone. Documents merge
field by field, at every level; lists and tagged values are replaced whole, but for the attributes of objects
and the entries of `OrderedDict`, `Counter` and `defaultdict`. Comparison is exact: 1, 1.0 and True differ,
and so do two orders of the same keys.
"""

from __future__ import annotations

import datetime as dtm
import marshal
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ptb_mongo.codec.documents import dump
from ptb_mongo.codec.keys import TAG

__all__ = ["MISSING", "Changes", "Path", "diff", "fields_inside", "merge", "same", "value_at"]

Path = tuple[str, ...]
"""The keys that lead to a field, as they are stored."""

Document = dict[str, Any]


class _Missing:
    """The value of a field that does not exist."""

    def __repr__(self) -> str:
        return "MISSING"

    def __deepcopy__(self, _: object) -> _Missing:
        return self

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()

_INNER: Final = {"object": "state", "OrderedDict": "v", "Counter": "v", "defaultdict": "v"}
_EQUAL_IS_SAME: Final = frozenset({str, int, bool, bytes, type(None)})  # a short cut past `same`
# What `$type` may not be at a field that an update goes through (a missing field is created).
_NOT_A_DOCUMENT: Final = [
    *("array", "string", "int", "long", "double", "decimal", "bool", "null", "date", "binData"),
    *("objectId", "regex", "timestamp", "javascript", "minKey", "maxKey"),
]


def same(one: object, other: object) -> bool:
    """Whether two plain values are the same: type, value, and order of keys at every level."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict or kind is list:
        return len(one) == len(other) and _same_contents(one, other)  # type: ignore[arg-type]
    if kind is float:
        if one != one:  # noqa: PLR0124  (NaN)
            return other != other  # noqa: PLR0124
        return one == other and math.copysign(1.0, one) == math.copysign(1.0, other)  # type: ignore[arg-type]
    return one == other


def _same_contents(one: object, other: object) -> bool:
    try:
        # As exact as BSON and three times as fast; up to this version of its format, equal values give equal bytes.
        return marshal.dumps(one, 2) == marshal.dumps(other, 2)  # type: ignore[arg-type]
    except ValueError:  # a date, say
        return dump({"": one}) == dump({"": other})


def fields_inside(value: object) -> tuple[Path, Document] | None:
    """The fields that a value is merged by, and where they lie in it; `None` for a value that is merged whole."""
    if type(value) is not dict:
        return None
    tag = value.get(TAG)
    if tag is None:
        return (), value
    inner = _INNER.get(tag) if isinstance(tag, str) else None
    fields = value.get(inner) if inner else None
    return ((inner,), fields) if inner and type(fields) is dict and TAG not in fields else None


def _comparable(one: object, other: object) -> tuple[Path, Document, Document] | None:
    """The fields of two values of the same kind, whose differences can be told field by field."""
    first, second = fields_inside(one), fields_inside(other)
    if first is None or second is None or first[0] != second[0]:
        return None
    if first[0]:
        inner = first[0][0]
        outside = [{key: item for key, item in value.items() if key != inner} for value in (one, other)]  # type: ignore[attr-defined]
        if not same(*outside):
            return None
    return first[0], first[1], second[1]


def value_at(document: Document, path: Path) -> Any:
    """What stands at a path; `MISSING` if nothing does."""
    value: Any = document
    for key in path:
        value = value.get(key, MISSING) if type(value) is dict else MISSING
    return value


def addressable(key: str) -> bool:
    """Whether a stored key can stand in an update path (all of ours can; other services may write any)."""
    return bool(key) and key[0] != "$" and "." not in key and "\0" not in key


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
    if inside := _comparable(before, after):
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


Resolve = Callable[[Path, Any, Any, Any], Any]
"""Decides a conflict: path, then the values of base, local and remote (`MISSING` where there is none)."""


def merge(base: Document, local: Document, remote: Document, resolve: Resolve) -> Document:
    """Brings two changed versions of a document together.

    Args:
        base: What both sides started from.
        local: The bot's version.
        remote: The database's version.
        resolve: Called for each path that both sides changed differently, and for nothing else.
    """
    return _merge_fields(base, local, remote, (), resolve)


def _merge_fields(base: Document, local: Document, remote: Document, path: Path, resolve: Resolve) -> Document:
    merged: Document = {}
    for key in _merged_order(base, local, remote):
        value = _merge_value(
            base.get(key, MISSING), local.get(key, MISSING), remote.get(key, MISSING), (*path, key), resolve
        )
        if value is not MISSING:
            merged[key] = value
    return merged


def _merge_value(base: Any, local: Any, remote: Any, path: Path, resolve: Resolve) -> Any:
    if same(base, remote) or same(local, remote):
        return local
    if same(base, local):
        return remote
    if inside := _comparable(local, remote):
        inner, mine, theirs = inside
        known = _comparable(base, local)
        fields = _merge_fields(known[1] if known else {}, mine, theirs, path + inner, resolve)
        return {**local, inner[0]: fields} if inner else fields
    return resolve(path, base, local, remote)


def _merged_order(base: Mapping[str, Any], local: Mapping[str, Any], remote: Mapping[str, Any]) -> Iterable[str]:
    """The database's order, then what is new here; but our own order where only we have changed it."""
    shared = [key for key in local if key in base]
    reordered = shared != [key for key in base if key in local]
    first, second = (local, remote) if reordered else (remote, local)
    return dict.fromkeys((*first, *second))
