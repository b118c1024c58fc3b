"""Numbers and dates in expressions: sums and differences."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from mongod.errors import TYPE_MISMATCH, StatementError, mismatch
from mongod.values import OPTIONS, is_nothing, is_number

__all__ = ["add", "difference", "total"]


def add(one: Any, other: Any) -> Any:
    """The sum of two numbers, of the type that MongoDB gives it; an `int` of Python that fits no type is too large."""
    if Decimal128 in {type(one), type(other)}:
        return Decimal128(_decimal(one) + _decimal(other))
    if float in {type(one), type(other)}:
        return float(one) + float(other)
    number = int(one) + int(other)
    is_long = Int64 in {type(one), type(other)} or not -(2**31) <= number < 2**31
    return Int64(number) if is_long and -(2**63) <= number < 2**63 else number


def _decimal(number: Any) -> Decimal:
    return number.to_decimal() if type(number) is Decimal128 else Decimal(number)


def total(values: Iterable[Any]) -> Any:
    """The sum of numbers, and of one date at most; what comes after one that is nothing is not looked at."""
    date: dtm.datetime | None = None
    so_far: Any = 0
    for value in values:
        if is_nothing(value):
            return None
        if type(value) is dtm.datetime:
            if date is not None:
                raise StatementError(16612, "only one date allowed in an $add expression")
            date = value
        elif is_number(value):
            so_far = _representable(add(so_far, value))
        else:
            raise mismatch(16554, "$add", value)
    return so_far if date is None else _date(_decimal(_milliseconds(date)) + _decimal(so_far))


def _representable(number: Any) -> Any:
    return float(number) if type(number) is int and not -(2**63) <= number < 2**63 else number


def _milliseconds(date: dtm.datetime) -> int:
    return int(DatetimeMS(date))


def _date(milliseconds: Any) -> dtm.datetime:
    return DatetimeMS(int(milliseconds)).as_datetime(OPTIONS)


def difference(one: Any, other: Any) -> Any:
    """What is left of a number or a date."""
    if is_nothing(one) or is_nothing(other):
        return None
    if type(one) is dtm.datetime:
        if type(other) is dtm.datetime:
            return Int64(_milliseconds(one) - _milliseconds(other))
        if is_number(other):
            return _date(_milliseconds(one) - int(_decimal(other)))
    if not is_number(one) or not is_number(other):
        raise mismatch(TYPE_MISMATCH, "$subtract", other if is_number(one) else one)
    return _representable(add(one, _negative(other)))


def _negative(number: Any) -> Any:
    return Decimal128(-number.to_decimal()) if type(number) is Decimal128 else type(number)(-number)
