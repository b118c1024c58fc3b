"""Finds everything in a value that cannot be stored, after its encoding has stopped at the first of it.

The value is walked without recursion, and each object once; what has no parts to walk through is given to an encoder
that takes every class for trusted, and notes those that are not.
"""

from __future__ import annotations

import collections
import enum
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import telegram

from ptb_mongo.codec.encoder import Encoder
from ptb_mongo.codec.objects import attributes_of, is_plain
from ptb_mongo.codec.troubles import Place, Trouble
from ptb_mongo.codec.trust import Trust, class_name
from ptb_mongo.errors import EncodeError

__all__ = ["survey"]

_MOST_LOOKED_AT: Final = 300_000
_SIMPLE: Final = frozenset({type(None), bool, int, float, str, bytes})
_ELEMENTS: Final = frozenset({list, tuple, set, frozenset, collections.deque})
_DICTS: Final = frozenset({dict, collections.OrderedDict, collections.Counter, collections.defaultdict})
_KEYS: Final = frozenset({str, int, bool, type(None)})
_FUNCTIONS: Final = frozenset({"function", "builtin_function_or_method", "method", "generator", "coroutine"})

Child = tuple[Any, Any, bool]  # key, value, whether it is named


class _Noting(Trust):
    """Trusts what might be trusted, and notes what is not."""

    def __init__(self, trust: Trust) -> None:
        vars(self).update(vars(trust))
        self.noted: dict[type, str] = {}

    def name_of(self, cls: type) -> str:
        try:
            return super().name_of(cls)
        except EncodeError as error:
            if cls.__module__.partition(".")[0] in sys.stdlib_module_names:
                raise
            self.noted[cls] = error.reason
            return class_name(cls)


def survey(
    value: Any,
    trust: Trust,
    bot: Callable[[], telegram.Bot | None],
    refused: Callable[[Any], tuple[str, str] | None] = lambda _: None,
) -> Iterator[Trouble | None]:
    """What cannot be stored of a value, in its order; `None` at the end if not all of it was looked at.

    Args:
        value: The value.
        trust: Which classes may be stored.
        bot: Returns the running bot.
        refused: Gives the name of what is known to be unstorable, and the reason; `None` for everything else.
    """
    return _Survey(trust, bot, refused).of(value)


class _Survey:
    def __init__(
        self,
        trust: Trust,
        bot: Callable[[], telegram.Bot | None],
        refused: Callable[[Any], tuple[str, str] | None],
    ) -> None:
        self._trust = trust
        self._noting = _Noting(trust)
        self._encoder = Encoder(self._noting, bot)
        self._refused = refused
        self._seen: set[int] = set()
        self._reasons: dict[type, str | None] = {}

    def of(self, value: Any) -> Iterator[Trouble | None]:
        yield from self._at(value, None)
        todo: list[tuple[Place | None, Any, Iterator[Child]]] = [(None, value, self._children(value))]
        for _ in range(_MOST_LOOKED_AT):
            if not todo:
                return
            above, holder, children = todo[-1]
            child = next(children, None)
            if child is None:
                todo.pop()
                continue
            key, item, is_named = child
            if type(item) in _SIMPLE:
                continue
            place = Place.below(above, holder, key, is_named=is_named)
            yield from self._at(item, place)
            todo.append((place, item, self._children(item)))
        yield None

    def _at(self, value: Any, place: Place | None) -> Iterator[Trouble]:
        """What is wrong with a value itself, or with what cannot be walked through."""
        cls = type(value)
        if (known := self._refused(value)) is not None:
            reason = self._reason(value if isinstance(value, type) else cls)
            yield Trouble("never", *known, place, instead_of=reason or "")
        elif cls in _SIMPLE or cls in _ELEMENTS or (cls in _DICTS and cls is not collections.defaultdict):
            return
        elif cls is collections.defaultdict:
            yield from self._encoded(collections.defaultdict(value.default_factory), place)
        elif _is_walked_through(value):
            yield from self._named(cls, place)
        else:
            yield from self._encoded(value, place)

    def _named(self, cls: type, place: Place | None) -> Iterator[Trouble]:
        if (reason := self._reason(cls)) is not None:
            yield self._trouble(cls, reason, place)

    def _reason(self, cls: type) -> str | None:
        """Why objects of a class cannot be stored; `None` if they can."""
        if cls not in self._reasons:
            try:
                self._trust.name_of(cls)
                self._reasons[cls] = None
            except EncodeError as error:
                self._reasons[cls] = error.reason
        return self._reasons[cls]

    def _encoded(self, value: Any, place: Place | None) -> Iterator[Trouble]:
        self._noting.noted.clear()
        try:
            self._encoder.document(value)
        except EncodeError as error:
            untrusted = self._noting.noted.pop(type(value), "")  # to trust it would not help
            yield Trouble("never", _name(value), error.reason, place, error.path, untrusted)
        for cls, reason in self._noting.noted.items():
            yield self._trouble(cls, reason, place)

    def _trouble(self, cls: type, reason: str, place: Place | None) -> Trouble:
        name = class_name(cls)
        if "<locals>" in name or cls.__module__.partition(".")[0] in sys.stdlib_module_names:
            return Trouble("never", name, reason, place)
        return Trouble("class" if self._trust.covers(cls.__module__) else "untrusted", name, reason, place)

    def _children(self, value: Any) -> Iterator[Child]:
        if self._refused(value) is not None:
            return iter(())
        cls = type(value)
        is_dict = cls in _DICTS
        if not is_dict and cls not in _ELEMENTS and not _is_walked_through(value):
            return iter(())
        if id(value) in self._seen:
            return iter(())
        self._seen.add(id(value))
        if is_dict:
            return _of_dict(value)
        if cls in _ELEMENTS:
            return ((index, item, False) for index, item in enumerate(value))
        if isinstance(value, tuple):
            return ((name, item, False) for name, item in zip(cls._fields, value, strict=False))
        return ((name, item, True) for name, item in attributes_of(value).items())


def _of_dict(value: dict[Any, Any]) -> Iterator[Child]:
    for key, item in value.items():
        has_name = type(key) in _KEYS
        if not has_name:
            yield key, key, False
        yield key, item, has_name


def _is_walked_through(value: Any) -> bool:
    """Whether an object is stored as its fields."""
    if isinstance(value, (enum.Enum, telegram.TelegramObject, type)):
        return False
    cls = type(value)
    if isinstance(value, tuple):
        return isinstance(getattr(cls, "_fields", None), tuple) and not getattr(value, "__dict__", None)
    return is_plain(cls)


def _name(value: Any) -> str:
    """What a value is called: a function by its own name, anything else by its class's."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    if type(value).__name__ in _FUNCTIONS:
        return f"{getattr(value, '__module__', None) or ''}.{getattr(value, '__qualname__', None) or ''}".strip(".")
    if type(value) is collections.defaultdict and value.default_factory is not None:
        return _name(value.default_factory)
    return class_name(value if isinstance(value, type) else type(value))
