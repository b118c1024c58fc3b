"""The ids of users and chats, as they may be stored."""

from __future__ import annotations

from typing import Any

from bson.decimal128 import Decimal128

__all__ = ["whole_number"]


def whole_number(value: Any) -> int | None:
    """An integer in any of BSON's numeric types, which MongoDB does not tell apart in an `_id`."""
    if type(value) is int:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # an `Int64` in what the change stream says
    if isinstance(value, Decimal128):
        value = value.to_decimal()
        return int(value) if value.is_finite() and value == value.to_integral_value() else None
    return int(value) if isinstance(value, float) and value.is_integer() else None
