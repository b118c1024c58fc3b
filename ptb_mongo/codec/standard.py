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
import types
import uuid
from collections.abc import Callable
from typing import Any, Final

from ptb_mongo.codec.bson_values import BSON_VALUES
from ptb_mongo.codec.described import Described, made_of

__all__ = ["STANDARD", "check_date"]

_SCALARS: Final = (type(None), bool, int, float, str, bytes)
_MAX_TEXT: Final = 1000


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


STANDARD: Final[dict[type, Callable[[Described], Any]]] = {
    complex: made_of((int, float), (int, float)),
    slice: _slice,
    object: made_of(),
    collections.Counter: _counter,
    collections.OrderedDict: _ordered,
    collections.defaultdict: _defaultdict,
    collections.deque: _deque,
    dtm.date: _date,
    dtm.datetime: _date,
    dtm.time: _date,
    dtm.timedelta: made_of(int, int, int),
    dtm.timezone: _timezone,
    decimal.Decimal: made_of(str),
    **dict.fromkeys((ipaddress.IPv4Address, ipaddress.IPv6Address), _address),
    **dict.fromkeys((ipaddress.IPv4Interface, ipaddress.IPv6Interface), _short_text),
    **dict.fromkeys((ipaddress.IPv4Network, ipaddress.IPv6Network), _short_text),
    **dict.fromkeys((pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path())), _path),
    types.SimpleNamespace: _namespace,
    uuid.UUID: _uuid,
    **BSON_VALUES,
}
"""How each type is made. Pathlib's other classes are never stored: they name what a path is on this system."""
