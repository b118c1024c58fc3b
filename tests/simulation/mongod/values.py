"""Values of BSON: their types, their order, and two kinds of equality."""

from __future__ import annotations

import datetime as dtm
import math
import uuid
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any, Final

import bson
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.code import Code
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

__all__ = [
    "MISSING",
    "Document",
    "compare",
    "equal",
    "identical",
    "is_nothing",
    "is_number",
    "key",
    "normal",
    "type_name",
]

Document = dict[str, Any]

OPTIONS: Final[CodecOptions[Document]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


class _Missing:
    """The value of a field that does not exist."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()

_NUMBERS: Final = frozenset({int, float, Int64, Decimal128})
_NAMES: Final[dict[type, str]] = {
    MinKey: "minKey",
    _Missing: "missing",
    type(None): "null",
    int: "int",
    Int64: "long",
    float: "double",
    Decimal128: "decimal",
    str: "string",
    dict: "object",
    DBRef: "object",
    list: "array",
    bytes: "binData",
    Binary: "binData",
    uuid.UUID: "binData",
    ObjectId: "objectId",
    bool: "bool",
    dtm.datetime: "date",
    DatetimeMS: "date",
    Timestamp: "timestamp",
    Regex: "regex",
    Code: "javascript",
    MaxKey: "maxKey",
}
_ORDER: Final = (
    ("minKey",),
    ("missing",),
    ("null",),
    ("int", "long", "double", "decimal"),
    ("string",),
    ("object",),
    ("array",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("javascript",),
    ("maxKey",),
)
_PLACES: Final = {name: place for place, names in enumerate(_ORDER) for name in names}
_RANKS: Final[dict[type, int]] = {kind: _PLACES[name] for kind, name in _NAMES.items()}
_SIMPLE: Final = frozenset({str, int, bool, Int64, type(None), ObjectId, dtm.datetime, bytes})


def normal(document: Mapping[str, Any]) -> Document:
    """A document as the server gets it: with types of BSON only, and shared with nobody."""
    return bson.decode(bson.encode(document, codec_options=OPTIONS), OPTIONS)


def type_name(value: object) -> str:
    """The name of a value's type, as `$type` takes it."""
    return _NAMES[type(value)]


def rank(value: object) -> int:
    """Where values of this type stand among those of others; all numbers are of one rank."""
    return _RANKS[type(value)]


def is_number(value: object) -> bool:
    """Whether a value is of one of the four types of numbers."""
    return type(value) in _NUMBERS


def is_nothing(value: object) -> bool:
    """Whether a value is missing, or null."""
    return value is MISSING or value is None


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal for a filter: 1 and 1.0 are, two orders of the same fields are not."""
    kind = type(one)
    if kind is type(other) and kind in _SIMPLE:
        return bool(one == other)
    return compare(one, other) == 0


def compare(one: Any, other: Any) -> int:
    """Less than, equal to or greater than 0, as `one` stands before, at or behind `other`."""
    place, place_of_other = _RANKS[type(one)], _RANKS[type(other)]
    if place != place_of_other:
        return -1 if place < place_of_other else 1
    if type(one) is dict:
        return _compare_documents(one, other)
    if type(one) is list:
        for item, other_item in zip(one, other, strict=False):
            if result := compare(item, other_item):
                return result
        return len(one) - len(other)
    first, second = key(one), key(other)
    if first == second:
        return 0
    return -1 if first < second else 1  # type: ignore[operator]


def _compare_documents(one: Document, other: Document) -> int:
    for (name, item), (other_name, other_item) in zip(one.items(), other.items(), strict=False):
        if result := rank(item) - rank(other_item):
            return result
        if name != other_name:
            return -1 if name < other_name else 1
        if result := compare(item, other_item):
            return result
    return len(one) - len(other)


def key(value: Any) -> Hashable:
    """What is equal for equal values, and can be a key of a dict; for values of one rank it orders them, too."""
    kind = type(value)
    if kind is int or kind is str or kind is Int64:
        return value  # type: ignore[no-any-return]
    name = _NAMES[kind]
    if name == "object":
        return ("object", *((field, key(item)) for field, item in dict(value).items()))
    if name == "array":
        return ("array", *map(key, value))
    if name in {"double", "decimal"}:
        return _number(value)
    if name == "binData":
        return ("binData", *_binary(value))
    if name == "date":
        return ("date", _milliseconds(value))
    if name == "regex":
        return ("regex", value.pattern, value.flags)
    if name in {"null", "missing", "minKey", "maxKey"}:
        return (name,)
    return (name, value)


def _number(value: Any) -> Hashable:
    number: float | Decimal = value if type(value) is float else value.to_decimal()
    return _NAN if math.isnan(number) else number


class _NaN:
    """Equal to itself, and less than all other numbers."""

    def __lt__(self, other: object) -> bool:
        return other is not self

    def __gt__(self, other: object) -> bool:
        return False


_NAN: Final = _NaN()


def _binary(value: Any) -> tuple[int, int, bytes]:
    if type(value) is uuid.UUID:
        return 16, UUID_SUBTYPE, value.bytes
    return len(value), getattr(value, "subtype", 0), bytes(value)


def _milliseconds(value: Any) -> int:
    return int(value if type(value) is DatetimeMS else DatetimeMS(value))


def identical(one: Any, other: Any) -> bool:
    """Whether two values have the same bytes: then to set the one where the other is changes nothing."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _SIMPLE:
        return bool(one == other)
    if kind is dict:
        return len(one) == len(other) and all(
            name == other_name and identical(item, other_item)
            for (name, item), (other_name, other_item) in zip(one.items(), other.items(), strict=True)
        )
    if kind is list:
        return len(one) == len(other) and all(map(identical, one, other))
    return bson.encode({"": one}, codec_options=OPTIONS) == bson.encode({"": other}, codec_options=OPTIONS)
