"""Makes values of the standard library and of `bson` that a pickle describes, from checked arguments.

A pickle says which class is to be called with what, and which state it is to get. Whoever assembles one by hand
can leave the state out, or give it another type: such an object raises when it is copied, or discloses memory
when it is stored again. So each type is made by its own constructor, of what its own pickle can hold, or not at
all.
"""

from __future__ import annotations

import collections
import datetime as dtm
import decimal
import ipaddress
import pathlib
import struct
import types
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

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
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.errors import DecodeError

__all__ = ["STANDARD", "Described", "check_date"]

_SCALARS: Final = (type(None), bool, int, float, str, bytes)
_MAX_TEXT: Final = 1000
_SUBTYPES: Final = 256
_BSON_OWN: Final = frozenset(
    {*_SCALARS, dtm.datetime, uuid.UUID, Binary, Code, DatetimeMS, DBRef, Decimal128, Int64}
    | {MaxKey, MinKey, ObjectId, Regex, Timestamp}
)


class Described(NamedTuple):
    """An object as its pickle describes it.

    Attributes:
        cls: Its class.
        args: What the class is called with.
        kwargs: The same, by name.
        state: What it is given then.
        items: What is appended to it.
        pairs: Which keys are set to what.
    """

    cls: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    state: Any = None
    items: list[Any] | None = None
    pairs: list[Any] | None = None

    def arguments(self, *kinds: type | tuple[type, ...], least: int | None = None) -> tuple[Any, ...]:
        """The arguments, if there is nothing else, and each has just the type that is wanted.

        Args:
            kinds: The type of each argument, or several.
            least: How many there must be; all of them, if it is `None`.

        Raises:
            DecodeError: If not.
        """
        if self.kwargs or self.state or self.items or self.pairs:
            raise self.refused()
        return self.typed(self.args, *kinds, least=least)

    def attributes(self, **kinds: type | tuple[type, ...]) -> list[Any]:
        """The values of a state, if it has these attributes and there is nothing else but arguments.

        Raises:
            DecodeError: If not.
        """
        state = self.state
        if type(state) is tuple and len(state) == 2 and state[0] is None:  # noqa: PLR2004  (attributes, and slots)
            state = state[1]
        if self.kwargs or self.items or self.pairs or type(state) is not dict or state.keys() != kinds.keys():
            raise self.refused()
        return list(self.typed(tuple(state[name] for name in kinds), *kinds.values()))

    def typed(
        self, values: tuple[Any, ...], *kinds: type | tuple[type, ...], least: int | None = None
    ) -> tuple[Any, ...]:
        """These values, if each has just the type that is wanted.

        Raises:
            DecodeError: If not.
        """
        if not (len(kinds) if least is None else least) <= len(values) <= len(kinds):
            raise self.refused()
        for value, kind in zip(values, kinds, strict=False):
            if type(value) not in (kind if type(kind) is tuple else (kind,)):
                raise self.refused()
        return values

    def refused(self) -> DecodeError:
        """Why it is not made."""
        return DecodeError(f"a {self.cls.__qualname__} in a pickle is not made of what such a value is made of")


def _plain(*kinds: type | tuple[type, ...], least: int | None = None) -> Callable[[Described], Any]:
    """Makes a value of arguments of these types."""
    return lambda described: described.cls(*described.arguments(*kinds, least=least))


def _short_text(described: Described) -> Any:
    (text,) = described.arguments(str)
    if len(text) > _MAX_TEXT:
        raise described.refused()
    return described.cls(text)


def _address(described: Described) -> Any:
    (address,) = described.arguments((int, str))
    if type(address) is str and len(address) > _MAX_TEXT:
        raise described.refused()
    return described.cls(address)


def _uuid(described: Described) -> uuid.UUID:
    if described.args or type(described.state) is not dict:
        raise described.refused()
    described = described._replace(state={"is_safe": None, **described.state})
    safe, number = described.attributes(is_safe=(int, type(None)), int=int)
    return uuid.UUID(int=number, is_safe=uuid.SafeUUID(safe))


def _counter(described: Described) -> Any:
    return collections.Counter(*described.arguments(dict, least=0))


def _ordered(described: Described) -> Any:
    described._replace(pairs=None).arguments()
    return described.cls(_pairs(described))


def _defaultdict(described: Described) -> Any:
    (factory,) = described._replace(pairs=None, args=()).arguments() or described.args or (None,)
    if factory is not None and not isinstance(factory, type):  # which may be of a metaclass
        raise described.refused()
    return collections.defaultdict(factory, _pairs(described))


def _pairs(described: Described) -> list[tuple[Any, Any]]:
    pairs = described.pairs or []
    if any(type(pair) is not tuple or len(pair) != 2 for pair in pairs):  # noqa: PLR2004
        raise described.refused()
    return pairs


def _deque(described: Described) -> Any:
    args = described._replace(items=None).arguments(tuple, (int, type(None)), least=0)
    if args and args[0]:
        raise described.refused()
    return collections.deque(described.items or (), *args[1:])


def _slice(described: Described) -> slice:
    """A slice of plain values, or tuples of them.

    Deep slices in slices end the process when they are freed: Python has no limit for them.
    """
    values = described.arguments(*[(*_SCALARS, tuple)] * 3)
    if any(type(part) not in _SCALARS for value in values if type(value) is tuple for part in value):
        raise described.refused()
    return slice(*values)


def _date(described: Described) -> Any:
    """A date or a time, of the bytes that it is packed into, and its zone."""
    zones = () if described.cls is dtm.date else (None,)
    args = described._replace(args=described.args[:1]).arguments(bytes)
    rest = described.args[1:]
    if len(rest) > len(zones) or any(zone is not None and not isinstance(zone, dtm.tzinfo) for zone in rest):
        raise described.refused()
    made = described.cls(*args, *rest)
    check_date(made)
    return made


def check_date(value: dtm.date | dtm.time) -> None:
    """Refuses a date or a time that does not exist: made of packed bytes, it is not checked.

    Raises:
        ValueError: If it does not.
    """
    if isinstance(value, dtm.date):
        dtm.date(value.year, value.month, value.day)
    if isinstance(value, (dtm.datetime, dtm.time)):
        dtm.time(value.hour, value.minute, value.second, value.microsecond)


def _timezone(described: Described) -> Any:
    return dtm.timezone(*described.arguments(dtm.timedelta, str, least=1))


def _path(described: Described) -> Any:
    described._replace(args=()).arguments()
    if any(type(part) is not str for part in described.args):
        raise described.refused()
    return described.cls(*described.args)


def _namespace(described: Described) -> Any:
    described._replace(state=None).arguments()
    attributes = {} if described.state is None else described.state
    if type(attributes) is not dict or any(type(name) is not str for name in attributes):
        raise described.refused()
    return types.SimpleNamespace(**attributes)


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


def _check_bson(value: Any, described: Described) -> None:
    """Refuses what BSON's own types cannot hold."""
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
        _check_bson(part, described)


def _storable(make: Callable[[Described], Any]) -> Callable[[Described], Any]:
    """Makes a value of BSON's own, which BSON also takes: it is stored as it is."""

    def made(described: Described) -> Any:
        value = make(described)
        bson.encode({"v": value}, codec_options=OPTIONS)
        return value

    return made


STANDARD: Final[dict[type, Callable[[Described], Any]]] = {
    complex: _plain((int, float), (int, float)),
    slice: _slice,
    object: _plain(),
    collections.Counter: _counter,
    collections.OrderedDict: _ordered,
    collections.defaultdict: _defaultdict,
    collections.deque: _deque,
    dtm.date: _date,
    dtm.datetime: _date,
    dtm.time: _date,
    dtm.timedelta: _plain(int, int, int),
    dtm.timezone: _timezone,
    decimal.Decimal: _plain(str),
    **dict.fromkeys((ipaddress.IPv4Address, ipaddress.IPv6Address), _address),
    **dict.fromkeys((ipaddress.IPv4Interface, ipaddress.IPv6Interface), _short_text),
    **dict.fromkeys((ipaddress.IPv4Network, ipaddress.IPv6Network), _short_text),
    **dict.fromkeys((pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path())), _path),
    types.SimpleNamespace: _namespace,
    uuid.UUID: _uuid,
    Binary: _storable(_binary),
    Code: _storable(_code),
    DatetimeMS: _storable(_milliseconds),
    DBRef: _storable(_reference),
    Decimal128: _storable(_decimal128),
    Int64: _storable(_int64),
    MaxKey: _plain(),
    MinKey: _plain(),
    ObjectId: _storable(_object_id),
    Regex: _storable(_regex),
    Timestamp: _storable(_timestamp),
}
"""How each type is made. Pathlib's other classes are never stored: they name what a path is on this system."""
