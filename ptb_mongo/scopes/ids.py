"""The ids of users and chats, in the forms in which they may be stored.

Types are compared exactly: `Code` is a `str` that cannot be a dict key, and `bool` is an `int`.
"""

from __future__ import annotations

from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from ptb_mongo.codec.scalars import MAX_INT64, MIN_INT64

__all__ = ["whole_number"]


def whole_number(value: Any) -> int | None:
    """An integer in any of BSON's numeric types, which MongoDB does not distinguish in an `_id`."""
    kind = type(value)
    if kind is int or kind is Int64:  # the change stream uses `Int64`
        return int(value)
    if kind is float:
        return _in_64_bits(int(value)) if value.is_integer() else None
    if kind is not Decimal128:
        return None
    try:
        number = value.to_decimal()
        return _in_64_bits(int(number)) if number.is_finite() and number == number.to_integral_value() else None
    except (ArithmeticError, ValueError):  # not the bits of a valid decimal
        return None


def _in_64_bits(number: int) -> int | None:
    """The number, if a bot could have stored it: a stranger's may have thousands of digits."""
    return number if MIN_INT64 <= number <= MAX_INT64 else None
