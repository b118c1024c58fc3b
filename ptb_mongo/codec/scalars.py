"""The plain forms of values that hold no others, and of what is stored for queries alone."""

from __future__ import annotations

import datetime as dtm
import re
from decimal import Decimal, DecimalException
from typing import Any, Final

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.regex import Regex

from ptb_mongo.codec.keys import TAG, escape
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.errors import EncodeError

__all__ = ["MAX_INT64", "MIN_INT64", "binary_form", "decimal_form", "milliseconds_form", "regex_form", "view_of"]

MIN_INT64: Final = -(2**63)
MAX_INT64: Final = 2**63 - 1
_DEEPEST_VIEW: Final = 80
_REGEX_FLAGS: Final = re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.UNICODE | re.VERBOSE
_OLD_UUID: Final = 3  # a subtype of BSON's binary
_UUID_SIZE: Final = 16


def decimal_form(value: Decimal, _: int) -> Any:
    """The form of a decimal: BSON's own where that is exact."""
    try:
        exact = Decimal128(value)
    except (DecimalException, ValueError, TypeError):
        return {TAG: "decimal", "v": str(value)}
    same = exact.to_decimal().as_tuple() == value.as_tuple()
    return {TAG: "decimal", "v": exact if same else str(value)}


def binary_form(value: Binary, _: int) -> Any:
    """The form of a binary value of a certain subtype."""
    if value.subtype in {0, 4} or (value.subtype == _OLD_UUID and len(value) != _UUID_SIZE):
        # As they are, the first two would come back as bytes and as UUID, and the last not at all.
        return {TAG: "binary", "v": bytes(value), "subtype": value.subtype}
    return value


def milliseconds_form(value: DatetimeMS, _: int) -> Any:
    """The form of a date in milliseconds."""
    if isinstance(value.as_datetime(OPTIONS), DatetimeMS):
        return value  # outside the years 1-9999, as others may write it: comes back as it is
    return {TAG: "milliseconds", "v": value}


def regex_form(value: Regex[Any], _: int) -> Any:
    """The form of one of BSON's regular expressions."""
    if not isinstance(value.pattern, str) or value.flags & ~_REGEX_FLAGS:
        raise EncodeError("BSON has only text as a pattern, with the flags i, l, m, s, u and x; use re.compile")
    return value


def view_of(value: Any, depth: int) -> Any:
    """A Telegram object's `to_dict()` for queries; it is not read back, so what BSON lacks is left out."""
    if isinstance(value, dict) and depth < _DEEPEST_VIEW:
        view = {}
        for key, item in value.items():
            name, plain = escape(key), view_of(item, depth + 1)
            if name is not None and plain is not None:
                view[name] = plain
        return view
    if isinstance(value, (list, tuple)) and depth < _DEEPEST_VIEW:
        return [view_of(item, depth + 1) for item in value]
    if isinstance(value, str):
        return str.__str__(value).encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if MIN_INT64 <= value <= MAX_INT64 else float(value)
    return value if type(value) in {bool, float, dtm.datetime} else None
