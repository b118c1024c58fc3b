"""The plain forms of values that hold no others: text, numbers, bytes, and BSON's own types."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from decimal import Decimal, DecimalException
from fractions import Fraction
from typing import Any, Final

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.codec.parts import PARTS
from ptb_mongo.errors import EncodeError

__all__ = ["MAX_INT64", "MIN_INT64", "SCALARS", "Form", "text_form"]

Form = Callable[[Any, int], Any]
"""Gives the plain form of a value, and takes beside it at how many levels of BSON it stands."""

MIN_INT64: Final = -(2**63)
MAX_INT64: Final = 2**63 - 1
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DECIMAL_DIGITS: Final = 1000  # beyond, in hexadecimal: Python limits long decimal texts
_REGEX_FLAGS: Final = re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.UNICODE | re.VERBOSE
_OLD_UUID: Final = 3  # a subtype of BSON's binary
_UUID_SIZE: Final = 16


def text_form(value: str, _: int) -> Any:
    """The form of a text: binary, if it has surrogates, which BSON's text cannot hold."""
    if value.isascii() or not _SURROGATE.search(value):
        return value
    return {TAG: "str", "v": value.encode("utf-8", "surrogatepass")}


def _int_form(value: int, _: int) -> Any:
    if MIN_INT64 <= value <= MAX_INT64:
        return value
    return {TAG: "int", "v": str(value) if abs(value) < 10**_DECIMAL_DIGITS else hex(value)}


def _decimal_form(value: Decimal, _: int) -> Any:
    try:
        exact = Decimal128(value)
    except (DecimalException, ValueError, TypeError):
        return {TAG: "decimal", "v": str(value)}
    same = exact.to_decimal().as_tuple() == value.as_tuple()
    return {TAG: "decimal", "v": exact if same else str(value)}


def _integers_form(value: Fraction | range, depth: int) -> Any:
    try:
        tag, *parts = PARTS[type(value)](value)
    except ValueError as error:
        raise EncodeError(str(error)) from error
    return {TAG: tag, "v": [_int_form(part, depth) for part in parts]}


def _binary_form(value: Binary, _: int) -> Any:
    if value.subtype in {0, 4} or (value.subtype == _OLD_UUID and len(value) != _UUID_SIZE):
        # As they are, the first two would come back as bytes and as UUID, and the last not at all.
        return {TAG: "binary", "v": bytes(value), "subtype": value.subtype}
    return value


def _milliseconds_form(value: DatetimeMS, _: int) -> Any:
    if isinstance(value.as_datetime(OPTIONS), DatetimeMS):
        return value  # outside the years 1-9999, as others may write it: comes back as it is
    return {TAG: "milliseconds", "v": value}


def _regex_form(value: Regex[Any], _: int) -> Any:
    if not isinstance(value.pattern, str) or value.flags & ~_REGEX_FLAGS:
        raise EncodeError("BSON has only text as a pattern, with the flags i, l, m, s, u and x; use re.compile")
    return value


def _as_is(value: Any, _: int) -> Any:
    return value


_NATIVES: Final = (type(None), bool, float, bytes, ObjectId, Decimal128, Timestamp, MinKey, MaxKey, uuid.UUID)

SCALARS: Final[dict[type, Form]] = {
    **dict.fromkeys(_NATIVES, _as_is),
    str: text_form,
    int: _int_form,
    Decimal: _decimal_form,
    Fraction: _integers_form,
    range: _integers_form,
    bytearray: lambda value, _: {TAG: "bytearray", "v": bytes(value)},
    Int64: lambda value, _: {TAG: "int64", "v": Int64(value)},
    Binary: _binary_form,
    DatetimeMS: _milliseconds_form,
    Regex: _regex_form,
}
"""The form of each, by the exact type of the value."""
