"""Makes values of BSON's own types that a pickle describes, from checked arguments that BSON itself takes."""

from __future__ import annotations

import datetime as dtm
import struct
import uuid
from collections.abc import Callable
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from ptb_mongo.codec.bounds import PATTERN_FLAGS
from ptb_mongo.codec.described import Described, made_of
from ptb_mongo.codec.options import OPTIONS

__all__ = ["BSON_VALUES"]

_SUBTYPES: Final = 256
_DEEPEST: Final = 150
_BSON_OWN: Final = frozenset(
    {type(None), bool, int, float, str, bytes, dtm.datetime, uuid.UUID, Binary, Code, DatetimeMS, DBRef, Decimal128}
    | {Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp}
)


def _binary(described: Described) -> Binary:
    data, subtype = described.typed(described.args, bytes, int)
    (again,) = described.attributes(_Binary__subtype=int)
    if subtype != again or not 0 <= subtype < _SUBTYPES:
        raise described.refused()
    return Binary(data, subtype)  # type: ignore[no-any-return]


def _code(described: Described) -> Code:
    (text,) = described.typed(described.args, str)
    (scope,) = described.attributes(_Code__scope=(dict, type(None)))
    _check_bson(scope or {}, described)
    return Code(text, scope)  # type: ignore[no-any-return]


def _int64(described: Described) -> Int64:
    (number,) = described.arguments(int)
    if not -(2**63) <= number < 2**63:
        raise described.refused()
    return Int64(number)


def _milliseconds(described: Described) -> DatetimeMS:
    (number,) = described.attributes(_value=(int, Int64))
    if described.args or not -(2**63) <= number < 2**63:
        raise described.refused()
    return DatetimeMS(number)


def _reference(described: Described) -> DBRef:
    optional = (str, type(None))
    described.typed(described.args)
    ids = (*_BSON_OWN, dict, list)
    collection, database, id_, more = described.attributes(
        _DBRef__collection=str, _DBRef__database=optional, _DBRef__id=ids, _DBRef__kwargs=dict
    )
    for value in (id_, more):
        _check_bson(value, described)
    if more.keys() & {"collection", "id", "database", "_extra", "self"}:
        raise described.refused()
    return DBRef(collection, id_, database, **more)


def _decimal128(described: Described) -> Decimal128:
    described.typed(described.args)
    if described.kwargs or described.items or described.pairs or type(described.state) is not tuple:
        raise described.refused()
    high, low = described.typed(described.state, int, int)
    if not (0 <= high < 1 << 64 and 0 <= low < 1 << 64):
        raise described.refused()
    return Decimal128.from_bid(struct.pack("<QQ", low, high))


def _object_id(described: Described) -> ObjectId:
    described.typed(described.args)
    if described.kwargs or described.items or described.pairs or type(described.state) is not bytes:
        raise described.refused()
    return ObjectId(described.state)


def _regex(described: Described) -> Regex[Any]:
    described.typed(described.args)
    flags, pattern = described.attributes(flags=int, pattern=(str, bytes))
    if flags & ~PATTERN_FLAGS:
        raise described.refused()
    return Regex(pattern, flags)


def _timestamp(described: Described) -> Timestamp:
    described.typed(described.args)
    increment, time = described.attributes(_Timestamp__inc=int, _Timestamp__time=int)
    return Timestamp(time, increment)


def _check_bson(value: Any, described: Described, depth: int = 0) -> None:
    """Refuses what BSON's own types cannot hold."""
    if depth > _DEEPEST:
        raise described.refused()
    if type(value) is dict:
        if any(type(name) is not str or "\0" in name for name in value):
            raise described.refused()
        parts = list(value.values())
    elif type(value) is list:
        parts = value
    elif type(value) in _BSON_OWN and not (type(value) is int and not -(2**63) <= value < 2**63):
        return
    else:
        raise described.refused()
    for part in parts:
        _check_bson(part, described, depth + 1)


def _storable(make: Callable[[Described], Any]) -> Callable[[Described], Any]:
    """Makes a value of BSON's own, which BSON also takes: it is stored as it is."""

    def made(described: Described) -> Any:
        value = make(described)
        bson.encode({"v": value}, codec_options=OPTIONS)
        return value

    return made


BSON_VALUES: Final[dict[type, Callable[[Described], Any]]] = {
    Binary: _storable(_binary),
    Code: _storable(_code),
    DatetimeMS: _storable(_milliseconds),
    DBRef: _storable(_reference),
    Decimal128: _storable(_decimal128),
    Int64: _storable(_int64),
    MaxKey: made_of(),
    MinKey: made_of(),
    ObjectId: _storable(_object_id),
    Regex: _storable(_regex),
    Timestamp: _storable(_timestamp),
}
"""How each type is made."""
