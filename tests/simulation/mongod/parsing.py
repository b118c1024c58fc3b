"""Update operators as they are sent: the single changes that they stand for, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from bson.int64 import Int64

from mongod.errors import (
    BAD_VALUE,
    CONFLICT,
    EMPTY_FIELD_NAME,
    FAILED_TO_PARSE,
    TYPE_MISMATCH,
    StatementError,
)
from mongod.matching import split
from mongod.values import is_number, type_name
from mongod.work import Path

__all__ = ["Change", "each_of", "parsed"]

Change = tuple[Path, str, Any]
"""Where, by which operator, and its argument."""


def parsed(update: Mapping[str, Any]) -> list[Change]:
    """The single changes that operators stand for, in the order in which the server makes them.

    Raises:
        StatementError: If they are refused whatever the document is.
    """
    changes: list[Change] = []
    taken: set[Path] = set()
    inner: set[Path] = set()
    for name, fields in update.items():
        if name not in _NAMES:
            raise NotImplementedError(name)
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
        if part == "$" or part[:2] == "$[":
            raise NotImplementedError("a place in an array that is found by a filter")


def _place(change: Change) -> tuple[tuple[bool, int, str], ...]:
    return tuple(map(_place_of, change[0]))


@lru_cache(maxsize=10_000)
def _place_of(part: str) -> tuple[bool, int, str]:
    return (False, int(part), part) if part.isdecimal() and part.isascii() else (True, 0, part)


def each_of(argument: Any) -> list[Any] | None:
    """The values of `$each`, if that is there."""
    return argument["$each"] if type(argument) is dict and "$each" in argument else None


# -- what is wrong with an argument, whatever the document is ---------------------------------------------


def _check_number(argument: Any) -> None:
    if not is_number(argument):
        raise StatementError(TYPE_MISMATCH, "Cannot increment with non-numeric argument")


def _check_push(argument: Any) -> None:
    each = each_of(argument)
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
    each = each_of(argument)
    if each is not None and type(each) is not list:
        raise StatementError(TYPE_MISMATCH, "The argument to $each in $addToSet must be an array")


def _check_pop(argument: Any) -> None:
    if argument not in {1, -1}:
        raise StatementError(FAILED_TO_PARSE, "$pop expects 1 or -1")


def _check_items(argument: Any) -> None:
    if type(argument) is not list:
        raise StatementError(BAD_VALUE, "$pullAll requires an array argument")


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "$inc": _check_number,
    "$push": _check_push,
    "$addToSet": _check_each,
    "$pullAll": _check_items,
    "$pop": _check_pop,
}
_NAMES: Final = frozenset(
    "$set $setOnInsert $unset $inc $min $max $currentDate $push $addToSet $pull $pullAll $pop".split()  # noqa: SIM905
)
