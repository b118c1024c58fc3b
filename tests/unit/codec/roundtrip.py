"""Takes a value through real bytes and back, and compares it more closely than `==`."""

from __future__ import annotations

import array
import collections
import copy
import datetime as dtm
import enum
import ipaddress
import itertools
import pathlib
import re
import struct
import types
import zoneinfo
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import samples
import telegram
from bson.binary import Binary
from bson.code import Code
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.codec.iterators import ITERATORS

CODEC = Codec(trusted=samples.TRUSTED)


def stored(value: object, codec: Codec = CODEC) -> bytes:
    """The bytes of a document that holds the value."""
    return dump({"data": codec.encode(value)})


def restored(raw: bytes, codec: Codec = CODEC) -> Any:
    """The value in such a document."""
    return codec.decode_body(raw, load(raw))["data"]


def round_trip(value: object, codec: Codec = CODEC) -> Any:
    return restored(stored(value, codec), codec)


def levels(plain: object) -> int:
    """How many documents and arrays stand inside each other."""
    parts = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else None
    return 0 if parts is None else 1 + max(map(levels, parts), default=0)


def portrait(value: object) -> Any:
    """A value as nested tuples that are equal only for equals: in type, bits, order and attributes, at every level."""
    kind = type(value)
    return (kind, _content(value), tuple(_attributes(value)))


_SELF_EVIDENT = (type(None), bool, type, types.BuiltinFunctionType)
_BY_VALUE = {
    float: lambda value: struct.pack(">d", value),
    complex: lambda value: struct.pack(">dd", value.real, value.imag),
    Decimal: lambda value: value.as_tuple(),
    Decimal128: lambda value: value.bid,
    ObjectId: lambda value: value.binary,
    Timestamp: lambda value: (value.time, value.inc),
    Binary: lambda value: (bytes(value), value.subtype),
    Code: lambda value: (str(value), portrait(value.scope)),
    DBRef: lambda value: portrait(dict(value.as_doc())),
    range: lambda value: (value.start, value.stop, value.step),
    slice: lambda value: (value.start, value.stop, value.step),
    re.Pattern: lambda value: (value.pattern, value.flags),
    zoneinfo.ZoneInfo: lambda value: value.key,
    dtm.timezone: lambda value: (value.utcoffset(None), value.tzname(None)),
    dtm.datetime: lambda value: (value.replace(tzinfo=None).isoformat(), value.fold, portrait(value.tzinfo)),
    dtm.time: lambda value: (value.replace(tzinfo=None).isoformat(), value.fold, portrait(value.tzinfo)),
    dtm.date: lambda value: value.toordinal(),
    dtm.timedelta: lambda value: (value.days, value.seconds, value.microseconds),
    types.MappingProxyType: lambda value: portrait(dict(value)),
    array.array: lambda value: (value.typecode, value.tobytes()),
    **dict.fromkeys(ITERATORS, lambda value: portrait(list(itertools.islice(copy.deepcopy(value), 9999)))),
}


def _content(value: Any) -> Any:
    kind = type(value)
    if isinstance(value, telegram.Bot):
        return id(value)
    if isinstance(value, enum.Enum):
        return (value.name, id(value) if value.name in kind.__members__ else value.value)
    if isinstance(value, _SELF_EVIDENT):
        return value
    if kind in _BY_VALUE:
        return _BY_VALUE[kind](value)
    if kind.__module__.partition(".")[0] == "numpy":
        return (value.dtype.str, value.shape, value.tobytes(), value.flags.f_contiguous)
    if isinstance(value, dtm.tzinfo):
        return repr(value)
    if isinstance(value, (dtm.date, dtm.time, dtm.timedelta)):  # of pendulum
        return (repr(value), _of_base(value))
    if isinstance(value, (pathlib.PurePath, ipaddress._BaseNetwork, ipaddress._BaseAddress)):
        return str(value)
    return _inside(value)


def _of_base(value: Any) -> Any:
    """A date, or the like, as a value of the base class has it."""
    base = next(base for base in (dtm.datetime, dtm.date, dtm.time, dtm.timedelta) if isinstance(value, base))
    names = (
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "microsecond",
        "fold",
        "days",
        "seconds",
        "microseconds",
    )
    fields = vars(dtm.date) | vars(base)
    return [fields[name].__get__(value) for name in names if name in fields and hasattr(base, name)]


def _inside(value: Any) -> Any:
    """What a value of a built-in type, or of a class made from one, holds."""
    if isinstance(value, (str, int, bytes, bytearray)):
        base = next(base for base in (str, int, bytes, bytearray) if isinstance(value, base))
        return base(value) if base is not str else str.__str__(value)
    if isinstance(value, dict):
        items = [(portrait(key), portrait(item)) for key, item in value.items()]
        return (getattr(value, "default_factory", None), tuple(items))
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(map(portrait, value), key=repr))
    if isinstance(value, (list, tuple, collections.deque)):
        return (getattr(value, "maxlen", None), tuple(map(portrait, value)))
    return portrait(value.args) if isinstance(value, BaseException) else None


_OWN_CACHES = (
    dtm.tzinfo,
    dtm.date,
    dtm.time,
    dtm.timedelta,
    pathlib.PurePath,
    ipaddress._IPAddressBase,
    telegram.Bot,
    enum.Enum,
    type,
)


def _attributes(value: Any) -> Iterator[Any]:
    """The slots that are set, and the `__dict__`; not what a library's class remembers for itself."""
    if isinstance(value, _OWN_CACHES):
        return
    for owner in type(value).__mro__:
        for name, slot in vars(owner).items():
            if isinstance(slot, types.MemberDescriptorType) and owner.__module__ not in {"builtins", "datetime"}:
                try:
                    yield owner, name, portrait(slot.__get__(value))
                except AttributeError:
                    yield owner, name, "not set"
    for name, item in getattr(value, "__dict__", {}).items():
        yield name, portrait(item)
