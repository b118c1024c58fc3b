"""Looks for what must not be in a value, wherever it could be."""

from __future__ import annotations

import collections
import types
from collections.abc import Iterable
from typing import Any, Final

import telegram

from ptb_mongo.codec.objects import attributes_of

__all__ = ["holds"]

_SEQUENCES: Final = (list, tuple, set, frozenset, collections.deque)
_MAPPINGS: Final = (dict, types.MappingProxyType)


def holds(value: Any, kind: type) -> bool:
    """Whether an object of this kind is a part of a value; the bot that a Telegram object belongs to is none."""
    seen: dict[int, Any] = {}
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, kind):
            return True
        if id(one) not in seen and not isinstance(one, (type, str, bytes, int, float)):
            seen[id(one)] = one
            todo += _parts(one)
    return False


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, _SEQUENCES):
        yield from value
    if isinstance(value, _MAPPINGS):
        yield from value
        yield from value.values()
    if isinstance(value, BaseException):
        yield from value.args
    if isinstance(value, slice):
        yield from (value.start, value.stop, value.step)
    belongs = "_bot" if isinstance(value, telegram.TelegramObject) else None
    yield from (part for name, part in attributes_of(value).items() if name != belongs)
