"""Makes objects of subclasses of built-in types, by the methods of those types and none of their own."""

from __future__ import annotations

import collections
import datetime as dtm
from collections.abc import Callable
from typing import Any, Final

__all__ = ["ALIKE", "BASE_TAGS", "MADE_FROM"]


def _deque(cls: Any, value: collections.deque[Any]) -> Any:
    made = collections.deque.__new__(cls)
    collections.deque.__init__(made, value, value.maxlen)
    return made


def _list(cls: Any, value: list[Any]) -> Any:
    made = list.__new__(cls)
    list.extend(made, value)
    return made


def _set(cls: Any, value: set[Any]) -> Any:
    made = set.__new__(cls)
    set.update(made, value)
    return made


def _dict(cls: Any, value: dict[Any, Any]) -> Any:
    made = dict.__new__(cls)
    dict.update(made, value)
    return made


def _ordered(cls: Any, value: dict[Any, Any]) -> Any:
    made = collections.OrderedDict.__new__(cls)
    for key, item in value.items():
        collections.OrderedDict.__setitem__(made, key, item)
    return made


def _defaultdict(cls: Any, value: collections.defaultdict[Any, Any]) -> Any:
    made = collections.defaultdict.__new__(cls)
    collections.defaultdict.__init__(made, value.default_factory)
    dict.update(made, value)
    return made


def _datetime(cls: Any, value: dtm.datetime) -> Any:
    date = value.year, value.month, value.day
    time = value.hour, value.minute, value.second, value.microsecond
    return dtm.datetime.__new__(cls, *date, *time, value.tzinfo, fold=value.fold)


def _time(cls: Any, value: dtm.time) -> Any:
    parts = value.hour, value.minute, value.second, value.microsecond
    return dtm.time.__new__(cls, *parts, value.tzinfo, fold=value.fold)


MADE_FROM: Final[dict[type, Callable[[Any, Any], Any]]] = {
    **{base: base.__new__ for base in (str, bytes, int, float, tuple, frozenset)},
    list: _list,
    set: _set,
    dict: _dict,
    collections.Counter: _dict,
    collections.OrderedDict: _ordered,
    collections.defaultdict: _defaultdict,
    collections.deque: _deque,
    dtm.datetime: _datetime,
    dtm.date: lambda cls, value: dtm.date.__new__(cls, value.year, value.month, value.day),
    dtm.time: _time,
    dtm.timedelta: lambda cls, value: dtm.timedelta.__new__(cls, value.days, value.seconds, value.microseconds),
}
"""Makes an object of a class from a value of just its base type, by the base's own methods."""

BASE_TAGS: Final = {base.__name__: base for base in MADE_FROM}
"""The tags of forms that may be of a subclass."""

ALIKE: Final[tuple[dict[type, Callable[[Any], Any]], ...]] = (
    {list: list, tuple: tuple, collections.deque: collections.deque},
    {set: set, frozenset: frozenset},
    {dict: dict, collections.OrderedDict: collections.OrderedDict, collections.Counter: dict},
)
"""Classes whose base was changed to another of these hold the same elements in another way."""
