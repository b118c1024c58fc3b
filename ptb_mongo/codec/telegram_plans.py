"""How Telegram objects of one class are taken apart and put together: found out once a class, then only looked up.

A plan is a short cut for `telegram_state` and `telegram_object`, and does the same in a tenth of the time: it reads and
sets the slots themselves. It is made only for PTB's own classes, and only if what it does is what PTB's `__getstate__`
and `__setstate__` do, whatever the version of PTB.
"""

from __future__ import annotations

import datetime as dtm
import operator
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import telegram

from ptb_mongo.codec.objects import slots_of
from ptb_mongo.codec.telegram_objects import accepts

__all__ = ["Plan", "plan_of"]

_PLANS: Final[WeakKeyDictionary[type, Plan | None]] = WeakKeyDictionary()
_OWN: Final = ("_bot", "api_kwargs")  # which are not like the other attributes
_METHODS: Final = ("__getstate__", "__setstate__", "__setattr__", "__getattribute__", "__new__", "get_bot", "set_bot")
_REMEMBERED: Final = 8  # types of one attribute
_BY_TYPE: Final = frozenset({str, int, bool, float, dtm.datetime, dtm.timedelta})
_SHORT: Final = 256


class Plan(NamedTuple):
    """How objects of one class are taken apart, and put together.

    Attributes:
        cls: The class.
        names: The attributes that are stored, in the order of PTB's `__getstate__`.
        values: Gives the values of these, of an object that has them all.
        opcodes: By the name of an attribute, how a pickle names it for the first time.
        accepted: The types that each attribute is known to hold, whatever the value is.
        nothing: All slots, without a value.
        setters: What sets each of these.
        known: The same types by the names of the attributes.
        size: How large an object is, in bytes.
        weight: How many parts it counts, beside what its attributes hold: see `proportion`.
    """

    cls: Any
    names: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    opcodes: dict[str, bytes]
    accepted: tuple[set[Any], ...]
    nothing: dict[str, Any]
    setters: tuple[Callable[[Any, Any], None], ...]
    known: dict[str, set[Any]]
    size: int
    weight: int

    def accepts(self, name: str, known: set[Any], value: Any) -> bool:
        """Whether an object can hold a value, other than `None`, in this attribute."""
        if not accepts(self.cls, name, value):
            return False
        kind = type(value)
        # Of a container, what it holds decides; of these types, the type does.
        if len(known) < _REMEMBERED and (kind in _BY_TYPE or kind.__module__.startswith("telegram.")):
            known.add(kind)
        return True

    def made(self, state: Mapping[str, Any], bot: telegram.Bot | None) -> Any:
        """An object of its attributes; each must be one of `names`, and of a kind that it accepts."""
        obj = self.cls.__new__(self.cls)
        values = {**self.nothing, **state}
        values["_bot"] = bot
        values["_frozen"] = values["_frozen"] is True
        values["api_kwargs"] = types.MappingProxyType({})
        for put, value in zip(self.setters, values.values(), strict=True):
            put(obj, value)
        return obj


def plan_of(cls: type) -> Plan | None:
    """The plan of a class; `None` if its objects take another way."""
    try:
        return _PLANS[cls]
    except KeyError:
        plan = _PLANS[cls] = _plan(cls)
        return plan


def _plan(cls: Any) -> Plan | None:
    base = telegram.TelegramObject
    if (
        not issubclass(cls, base)
        or not cls.__module__.startswith("telegram.")
        or cls.__dictoffset__
        or issubclass(cls, telegram.File)  # whose path is not stored as it is
        or any(getattr(cls, name) is not getattr(base, name) for name in _METHODS)
    ):
        return None
    slots = dict.fromkeys(slots_of(cls))
    found = [next(vars(owner)[name] for owner in cls.__mro__ if name in vars(owner)) for name in slots]
    obj = cls.__new__(cls)
    for one in found:
        if type(one) is not types.MemberDescriptorType:
            return None
        one.__set__(obj, None)
    obj.api_kwargs = {}
    names = tuple(name for name in obj.__getstate__() if name not in _OWN)
    if {*names, *_OWN} != slots.keys() or len(names) < 2:  # noqa: PLR2004  (then `attrgetter` gives no tuple)
        return None
    accepted: tuple[set[Any], ...] = tuple([set() for _ in names])
    plan = Plan(
        cls,
        names,
        operator.attrgetter(*names),
        {name: _opcode(name) for name in names},
        accepted,
        {**slots, "_frozen": False},
        tuple([one.__set__ for one in found]),
        dict(zip(names, accepted, strict=True)),
        sys.getsizeof(obj),
        1 + len(slots),
    )
    states: tuple[dict[str, Any], ...] = ({}, {"_frozen": None}, dict.fromkeys(names, True))
    return plan if all(_does_the_same(plan, state) for state in states) else None


def _opcode(text: str) -> bytes:
    data = text.encode()
    assert len(data) < _SHORT, "a name in Python is short"  # noqa: S101
    return pickle.SHORT_BINUNICODE + bytes([len(data)]) + data + pickle.MEMOIZE


def _does_the_same(plan: Plan, state: Mapping[str, Any]) -> bool:
    """Whether an object is made as PTB would make it."""
    ours, theirs = plan.made(state, None), plan.cls.__new__(plan.cls)
    theirs.__setstate__({**dict.fromkeys(plan.names), **state})
    return all(
        type(getattr(ours, name)) is type(getattr(theirs, name)) and getattr(ours, name) == getattr(theirs, name)
        for name in plan.nothing
    )
