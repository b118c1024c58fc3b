"""Update operators: what they make of a document, which paths they touch, and what they refuse."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bson.timestamp import Timestamp

from mongod.arithmetic import add
from mongod.errors import BAD_VALUE, TYPE_MISMATCH, StatementError
from mongod.expressions import Scope
from mongod.matching import matches
from mongod.parsing import Change, each_of
from mongod.values import MISSING, compare, identical, is_number, type_name
from mongod.work import Path, Work

__all__ = ["changed"]


def changed(document: dict[str, Any], changes: Sequence[Change], now: dtm.datetime, *, inserting: bool = False) -> Work:
    """Applies operators.

    Args:
        document: What they are applied to; it is left as it is.
        changes: The single changes, from `parsed`.
        now: For `$currentDate`.
        inserting: Whether the document is one that an upsert makes.
    """
    work = Work(document, now, inserting=inserting)
    for path, name, argument in changes:
        if name == "$setOnInsert":
            if not inserting:
                continue
            name = "$set"  # noqa: PLW2901
        _OPERATORS[name](work, path, argument)
    return work


# -- operators --------------------------------------------------------------------------------------------


def _set(work: Work, path: Path, value: Any) -> None:
    before = work.value(path)
    if before is MISSING or not identical(before, value):
        work.put(path, value)


def _unset(work: Work, path: Path, _: Any) -> None:
    if work.value(path, lenient=True) is not MISSING:
        work.remove(path)


def _inc(work: Work, path: Path, amount: Any) -> None:
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


def _extreme(sign: int) -> Callable[[Work, Path, Any], None]:
    def extreme(work: Work, path: Path, value: Any) -> None:
        before = work.value(path)
        if before is MISSING or compare(value, before) * sign > 0:
            work.put(path, value)

    return extreme


def _current_date(work: Work, path: Path, wanted: Any) -> None:
    work.value(path)
    is_timestamp = type(wanted) is dict and wanted.get("$type") == "timestamp"
    work.put(path, Timestamp(int(work.now.timestamp()), 1) if is_timestamp else work.now)


def _array(work: Work, path: Path, refusal: int = BAD_VALUE) -> list[Any] | None:
    before = work.value(path)
    if before is MISSING:
        return None
    if type(before) is not list:
        raise StatementError(
            refusal,
            f"The field '{'.'.join(path)}' must be an array but is of type {type_name(before)}",
        )
    return before


def _push(work: Work, path: Path, argument: Any) -> None:
    new, modifiers = each_of(argument), argument
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


def _add_to_set(work: Work, path: Path, argument: Any) -> None:
    each = each_of(argument)
    array = _array(work, path)
    after = list(array or ())
    for item in [argument] if each is None else each:
        if not any(compare(item, other) == 0 for other in after):
            after.append(item)
    if array is None or len(after) > len(array):
        work.put(path, after)


def _pull(work: Work, path: Path, condition: Any) -> None:
    array = _array(work, path)
    if array is None:
        return
    after = [item for item in array if not _is_pulled(item, condition, work.now)]
    if len(after) < len(array):
        work.put(path, after)


def _pull_all(work: Work, path: Path, items: Any) -> None:
    array = _array(work, path)
    if array is None:
        return
    after = [item for item in array if not any(compare(item, one) == 0 for one in items)]
    if len(after) < len(array):
        work.put(path, after)


def _is_pulled(item: Any, condition: Any, now: dtm.datetime) -> bool:
    scope = Scope(now)
    if type(condition) is dict and next(iter(condition), "")[:1] != "$":
        return type(item) is dict and matches(item, condition, scope)
    if type(item) is list:  # a value is compared with the elements themselves, not with what is in them
        return type(condition) is list and compare(item, condition) == 0
    return matches({"": item}, {"": condition}, scope)


def _pop(work: Work, path: Path, which: Any) -> None:
    array = _array(work, path, TYPE_MISMATCH)
    if array:
        work.put(path, array[1:] if which == -1 else array[:-1])


_OPERATORS: Final[Mapping[str, Callable[[Work, Path, Any], None]]] = {
    "$set": _set,
    "$unset": _unset,
    "$inc": _inc,
    "$min": _extreme(-1),
    "$max": _extreme(1),
    "$currentDate": _current_date,
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
    "$pullAll": _pull_all,
    "$pop": _pop,
}
