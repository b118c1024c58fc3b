"""Update operators: what they make of a document, which paths they touch, and what they refuse."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bson.int64 import Int64
from bson.timestamp import Timestamp

from mongod.errors import (
    BAD_VALUE,
    CONFLICT,
    DOLLAR_PREFIXED,
    EMPTY_FIELD_NAME,
    FAILED_TO_PARSE,
    PATH_NOT_VIABLE,
    TYPE_MISMATCH,
    StatementError,
)
from mongod.expressions import Scope, add
from mongod.matching import matches, split
from mongod.values import MISSING, Document, compare, identical, is_number, type_name

__all__ = ["Change", "Changed", "Path", "changed", "parsed"]

Path = tuple[str, ...]
Change = tuple[Path, str, Any]
"""Where, by which operator, and its argument."""


class Changed(NamedTuple):
    """What operators made of a document.

    Attributes:
        document: The new version; the old one itself, if nothing changed.
        written: The paths whose values the change stream tells; those of new documents end where they begin.
        removed: The paths that are gone.
    """

    document: Document
    written: Sequence[Path]
    removed: Sequence[Path]


def changed(document: Document, changes: Sequence[Change], now: dtm.datetime, *, inserting: bool = False) -> Changed:
    """Applies operators.

    Args:
        document: What they are applied to; it is left as it is.
        changes: The single changes, from `parsed`.
        now: For `$currentDate`.
        inserting: Whether the document is one that an upsert makes.
    """
    work = _Work(document, now)
    for path, name, argument in changes:
        if name == "$setOnInsert":
            if not inserting:
                continue
            name = "$set"  # noqa: PLW2901
        _OPERATORS[name](work, path, argument)
    return Changed(work.document, work.written, work.removed)


def parsed(update: Mapping[str, Any]) -> list[Change]:
    """The single changes that operators stand for, in the order in which the server makes them.

    Raises:
        StatementError: If they are refused whatever the document is.
    """
    changes: list[Change] = []
    taken: set[Path] = set()
    inner: set[Path] = set()
    for name, fields in update.items():
        if name not in _OPERATORS and name != "$setOnInsert":
            raise StatementError(FAILED_TO_PARSE, f"Unknown modifier: {name}")
        if type(fields) is not dict:
            raise StatementError(FAILED_TO_PARSE, f"Modifiers operate on fields but we found type {type_name(fields)}")
        check = _CHECKS.get(name)
        for field, argument in fields.items():
            path = split(field)
            _check_path(field)
            if check is not None:
                check(argument)
            _check_conflict(path, taken, inner)
            changes.append((path, name, argument))
    if len(changes) > 1:
        changes.sort(key=_place)
    return changes


def _check_conflict(path: Path, taken: set[Path], inner: set[Path]) -> None:
    before = [path[:end] for end in range(1, len(path))]
    if path in taken or path in inner or not taken.isdisjoint(before):
        raise StatementError(CONFLICT, f"Updating the path '{'.'.join(path)}' would create a conflict")
    taken.add(path)
    inner.update(before)


@lru_cache(maxsize=10_000)
def _check_path(field: str) -> None:
    for part in split(field):
        if not part:
            raise StatementError(
                EMPTY_FIELD_NAME, f"The update path '{field}' contains an empty field name, which is not allowed."
            )
        if part[0] == "$":
            raise StatementError(DOLLAR_PREFIXED, f"The dollar ($) prefixed field '{part}' is not allowed")


def _place(change: Change) -> tuple[tuple[bool, int, str], ...]:
    return tuple(map(_place_of, change[0]))


@lru_cache(maxsize=10_000)
def _place_of(part: str) -> tuple[bool, int, str]:
    return (False, int(part), part) if part.isdecimal() and part.isascii() else (True, 0, part)


class _Work:
    """A document that is being changed: containers are copied when something in them changes first."""

    def __init__(self, document: Document, now: dtm.datetime) -> None:
        self.document = document
        self.now = now
        self.written: list[Path] = []
        self.removed: list[Path] = []
        self._created: set[Path] = set()
        self._fresh: dict[int, Any] = {}

    def value(self, path: Path, *, lenient: bool = False) -> Any:
        """What is at a path; one that leads through what holds no such fields is refused, unless `lenient`."""
        value: Any = self.document
        for position, part in enumerate(path):
            if type(value) is dict:
                value = value.get(part, MISSING)
                if value is MISSING:
                    return MISSING
            elif type(value) is list and _is_index(part):
                index = int(part)
                if index >= len(value):
                    return MISSING
                value = value[index]
            elif lenient:
                return MISSING
            else:
                raise StatementError(
                    PATH_NOT_VIABLE,
                    f"Cannot create field '{part}' in element {{{path[position - 1]}: {value!r}}}",
                )
        return value

    def put(self, path: Path, value: Any) -> None:
        """Sets a value, with what is missing on the way; notes where that begins."""
        node = self._changed_root()
        last = len(path) - 1
        for position, part in enumerate(path):
            where: Any = int(part) if type(node) is list else part
            is_new = where >= len(node) if type(node) is list else part not in node
            if position == last or is_new:
                for name in reversed(path[position + 1 :]):
                    value = {name: value}
                if type(node) is list and is_new:
                    node.extend([None] * (where - len(node)))
                    node.append(value)
                else:
                    node[where] = value
                self._note(path[: position + 1], path)
                return
            node = self._changed(node, where)

    def _note(self, written: Path, path: Path) -> None:
        if self._created and any(written[:end] in self._created for end in range(1, len(written))):
            return  # the document around it is new, too
        self.written.append(written)
        if len(written) < len(path):
            self._created.add(written)

    def remove(self, path: Path) -> None:
        """Removes a field."""
        node = self._changed_root()
        for part in path[:-1]:
            node = self._changed(node, int(part) if type(node) is list else part)
        if type(node) is list:  # the places of the others stay
            node[int(path[-1])] = None
            self.written.append(path)
        else:
            del node[path[-1]]
            self.removed.append(path)

    def _changed_root(self) -> Document:
        if not self._fresh:
            self.document = dict(self.document)
            self._fresh[id(self.document)] = self.document
        return self.document

    def _changed(self, node: Any, where: Any) -> Any:
        inner = node[where]
        if id(inner) not in self._fresh:
            inner = node[where] = inner.copy()
            self._fresh[id(inner)] = inner
        return inner


def _is_index(part: str) -> bool:
    return part.isdecimal() and part.isascii()


# -- operators --------------------------------------------------------------------------------------------


def _set(work: _Work, path: Path, value: Any) -> None:
    before = work.value(path)
    if before is MISSING or not identical(before, value):
        work.put(path, value)


def _unset(work: _Work, path: Path, _: Any) -> None:
    if work.value(path, lenient=True) is not MISSING:
        work.remove(path)


def _inc(work: _Work, path: Path, amount: Any) -> None:
    before = work.value(path)
    if before is MISSING:
        work.put(path, amount)
        return
    if not is_number(before):
        raise StatementError(
            TYPE_MISMATCH, f"Cannot apply $inc to a value of non-numeric type, at '{'.'.join(path)}': {before!r}"
        )
    total = add(before, amount)
    if type(total) is int and not -(2**31) <= total < 2**31:
        raise StatementError(BAD_VALUE, f"Failed to apply $inc operations to current value ({before})")
    if not identical(before, total):
        work.put(path, total)


def _extreme(sign: int) -> Callable[[_Work, Path, Any], None]:
    def extreme(work: _Work, path: Path, value: Any) -> None:
        before = work.value(path)
        if before is MISSING or compare(value, before) * sign > 0:
            work.put(path, value)

    return extreme


def _current_date(work: _Work, path: Path, wanted: Any) -> None:
    work.value(path)
    is_timestamp = type(wanted) is dict and wanted.get("$type") == "timestamp"
    work.put(path, Timestamp(int(work.now.timestamp()), 1) if is_timestamp else work.now)


def _each(argument: Any) -> list[Any] | None:
    return argument["$each"] if type(argument) is dict and "$each" in argument else None


def _array(work: _Work, path: Path, refusal: int = BAD_VALUE) -> list[Any] | None:
    before = work.value(path)
    if before is MISSING:
        return None
    if type(before) is not list:
        raise StatementError(
            refusal,
            f"The field '{'.'.join(path)}' must be an array but is of type {type_name(before)}",
        )
    return before


def _push(work: _Work, path: Path, argument: Any) -> None:
    new, modifiers = _each(argument), argument
    if new is None:
        new, modifiers = [argument], {}
    array = _array(work, path)
    before = [] if array is None else array
    position = modifiers.get("$position", len(before))
    after = [*before[:position], *new, *before[position:]]
    if (limit := modifiers.get("$slice")) is not None:
        after = after[:limit] if limit >= 0 else after[limit:]
    if array is None:
        work.put(path, after)
        return
    appended = len(after) == len(before) + len(new) and position >= len(before)
    if not new and len(after) == len(before):
        return
    if appended and before:
        for number, item in enumerate(new, len(before)):
            work.put((*path, str(number)), item)
    else:
        work.put(path, after)


def _add_to_set(work: _Work, path: Path, argument: Any) -> None:
    each = _each(argument)
    array = _array(work, path)
    after = list(array or ())
    for item in [argument] if each is None else each:
        if not any(compare(item, other) == 0 for other in after):
            after.append(item)
    if array is None or len(after) > len(array):
        work.put(path, after)


def _pull(work: _Work, path: Path, condition: Any) -> None:
    array = _array(work, path)
    if array is None:
        return
    after = [item for item in array if not _is_pulled(item, condition, work.now)]
    if len(after) < len(array):
        work.put(path, after)


def _is_pulled(item: Any, condition: Any, now: dtm.datetime) -> bool:
    scope = Scope(now)
    if type(condition) is dict and next(iter(condition), "")[:1] != "$":
        return type(item) is dict and matches(item, condition, scope)
    if type(item) is list:  # a value is compared with the elements themselves, not with what is in them
        return type(condition) is list and compare(item, condition) == 0
    return matches({"": item}, {"": condition}, scope)


def _pop(work: _Work, path: Path, which: Any) -> None:
    array = _array(work, path, TYPE_MISMATCH)
    if array:
        work.put(path, array[1:] if which == -1 else array[:-1])


# -- what is wrong with an argument, whatever the document is ---------------------------------------------


def _check_number(argument: Any) -> None:
    if not is_number(argument):
        raise StatementError(TYPE_MISMATCH, "Cannot increment with non-numeric argument")


def _check_push(argument: Any) -> None:
    each = _each(argument)
    if each is None:
        return
    if type(each) is not list:
        raise StatementError(BAD_VALUE, "The argument to $each in $push must be an array")
    for name, value in argument.items():
        if name not in {"$each", "$slice", "$position"}:
            raise StatementError(BAD_VALUE, f"Unrecognized clause in $push: {name}")
        if name != "$each" and type(value) not in {int, Int64}:
            raise StatementError(BAD_VALUE, f"The value for {name} must be an integer value")


def _check_each(argument: Any) -> None:
    each = _each(argument)
    if each is not None and type(each) is not list:
        raise StatementError(TYPE_MISMATCH, "The argument to $each in $addToSet must be an array")


def _check_pop(argument: Any) -> None:
    if argument not in {1, -1}:
        raise StatementError(FAILED_TO_PARSE, "$pop expects 1 or -1")


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "$inc": _check_number,
    "$push": _check_push,
    "$addToSet": _check_each,
    "$pop": _check_pop,
}
_OPERATORS: Final[Mapping[str, Callable[[_Work, Path, Any], None]]] = {
    "$set": _set,
    "$unset": _unset,
    "$inc": _inc,
    "$min": _extreme(-1),
    "$max": _extreme(1),
    "$currentDate": _current_date,
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
    "$pop": _pop,
}
