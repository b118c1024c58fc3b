"""Telegram objects as a class and the attributes that it declares, each of a kind that the class declares for it.

PTB's classes take whatever they are given. A planted message whose chat is a text, or a network of addresses, would
reach handlers, PTB's copies and `to_dict`. So an attribute that PTB declares as a Telegram object holds one of that
class; one that it declares as a text or a number holds a plain value; sequences and dicts hold what they say.
"""

from __future__ import annotations

import collections.abc
import contextlib
import datetime as dtm
import decimal
import enum
import re
import sys
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import telegram
import telegram.ext

from ptb_mongo.codec.objects import is_plain, slots_of
from ptb_mongo.codec.trust import DEFAULT_VALUE
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["accepts", "is_own_attribute", "telegram_object", "telegram_state", "without_token", "wrong_attributes"]

Check = Callable[[Any], bool]

_PLAIN: Final = frozenset({bool, int, float, str, bytes, dtm.datetime, dtm.timedelta, decimal.Decimal, DEFAULT_VALUE})
_LIKE_PLAIN: Final = (int, float, str, bytes, dtm.datetime, dtm.timedelta, decimal.Decimal, enum.Enum)
# PTB itself keeps a zone in opening hours, once they were looked at.
_SIMPLE: Final = frozenset({type(None), dtm.date, dtm.time, dtm.timezone, zoneinfo.ZoneInfo, uuid.UUID})
_UP_TO_THE_TOKEN: Final = re.compile(r"^.*\d[:~][^/\\]*[/\\]+", re.DOTALL)  # a server on Windows writes 1~SECRET
_NO_SIMPLE: Final = (object, types.SimpleNamespace)
_SEQUENCES: Final = (tuple, list)
_SETS: Final = (set, frozenset)
_DEEPEST: Final = 100  # what contains itself is deeper
_CHECKS: Final[WeakKeyDictionary[type, dict[str, Check]]] = WeakKeyDictionary()
# What the annotations of PTB may name beside the modules that they stand in.
_NAMES: Final[dict[str, Any]] = {
    **vars(collections.abc),
    **vars(typing),
    **vars(telegram),
    "dtm": dtm,
    "FileInput": str | telegram.InputFile,
}


def without_token(file_path: str) -> str:
    """The path of a file as Telegram's server has it: PTB puts the address before it, which holds the bot's token.

    A path is good for an hour, so little is lost: `get_file` gives the address again.
    """
    return _UP_TO_THE_TOKEN.sub("", file_path)


def telegram_state(obj: telegram.TelegramObject) -> dict[str, Any]:
    """The attributes that are not `None` (most are), and the bot that the object belongs to.

    Raises:
        EncodeError: If it could not be restored.
    """
    state = {name: value for name, value in obj.__getstate__().items() if value is not None}
    if not state.get("api_kwargs"):
        state.pop("api_kwargs", None)
    for name in wrong_attributes(type(obj), state):
        raise EncodeError(f"the {name} of a {type(obj).__qualname__} cannot be a {type(state[name]).__qualname__}")
    if isinstance(obj, telegram.File) and isinstance(path := state.get("file_path"), str):
        state["file_path"] = without_token(path)
    with contextlib.suppress(RuntimeError):  # it has none
        state["_bot"] = obj.get_bot()
    return state


def telegram_object(cls: type, state: Any) -> Any:
    """Restores a Telegram object; attributes that were left out are `None`.

    Raises:
        DecodeError: If its class does not declare such attributes.
    """
    if not issubclass(cls, telegram.TelegramObject):
        raise DecodeError(f"{cls.__qualname__} is not a class of Telegram objects")
    if type(state) is not dict or any(type(name) is not str for name in state):
        raise DecodeError(f"a {cls.__qualname__} in a pickle has no attributes")
    bot = state.pop("_bot", None)
    if bot is not None and not isinstance(bot, telegram.Bot):
        raise DecodeError("its bot is a different thing")
    if (wrong := next(wrong_attributes(cls, state), None)) is not None:
        raise DecodeError(f"a {cls.__qualname__} cannot have such a value in {wrong!r:.80}")
    obj = cls.__new__(cls)
    nothing: dict[str, object] = {name: None for name in slots_of(cls) if name != "api_kwargs"}
    known = state.get("api_kwargs")
    unknown = _not_to_be_set(cls, known) if known else None
    if unknown:
        state = state | {"api_kwargs": {n: value for n, value in state["api_kwargs"].items() if n not in unknown}}
    obj.__setstate__(nothing | state)
    obj.set_bot(bot)
    if unknown:
        object.__setattr__(obj, "api_kwargs", types.MappingProxyType({**obj.api_kwargs, **unknown}))
    return obj


def _not_to_be_set(cls: type, api_kwargs: dict[Any, Any]) -> dict[str, Any]:
    """Those of `api_kwargs` that stay there: PTB sets each that has become an attribute, whatever its value is."""
    slots = slots_of(cls)
    ours = {name: value for name, value in api_kwargs.items() if name in slots}
    # What is behind a property is not looked at there, and would be set as it is.
    hidden = {name: value for name, value in api_kwargs.items() if f"_{name}" in slots}
    return {name: ours[name] for name in {*wrong_attributes(cls, ours), *ours.keys() & {"_bot"}}} | hidden


def wrong_attributes(cls: type, state: Mapping[str, Any]) -> Iterator[str]:
    """The names of what no object of this class can hold."""
    checks = _checks_of(cls)
    for name, value in state.items():
        if value is None:
            continue
        if not _check_of(cls, checks, name)(value):
            yield name


def accepts(cls: type, name: str, value: Any) -> bool:
    """Whether an object of this class can hold a value, other than `None`, in this attribute."""
    return _check_of(cls, _checks_of(cls), name)(value)


def _check_of(cls: type, checks: dict[str, Check], name: str) -> Check:
    check = checks.get(name) or checks.get(name.lstrip("_"))
    if check is None:
        return _is_anything if is_own_attribute(cls, name) else _is_simple
    return check


def is_own_attribute(cls: type, name: str) -> bool:
    """Whether a class of one's own has added this attribute to PTB's."""
    if name.startswith("__") and name.endswith("__"):
        return False
    for owner in cls.__mro__:
        if not owner.__module__.startswith("telegram.") and owner is not object:
            slots = vars(owner).get("__slots__")
            if slots is None or name in ((slots,) if isinstance(slots, str) else tuple(slots)):
                return True
    return False


def _checks_of(cls: type) -> dict[str, Check]:
    """The check of each attribute that PTB declares, by its name."""
    checks = _CHECKS.get(cls)
    if checks is None:
        checks = {}
        for owner in reversed(cls.__mro__):
            if owner.__module__.startswith("telegram.") and "__init__" in vars(owner):
                checks |= {name: _check(hint) for name, hint in _hints(owner).items()}
        checks |= {"_frozen": _is_flag, "api_kwargs": _is_simple_dict, "_id_attrs": _is_tuple}
        if issubclass(cls, telegram.CallbackQuery):
            checks["data"] = _is_anything  # PTB puts the object there that a button was given
        _CHECKS[cls] = checks
    return checks


def _hints(cls: type) -> dict[str, Any]:
    """The annotations of a class's arguments, which its attributes have the names of."""
    names = {**_NAMES, **vars(sys.modules[cls.__module__])}
    hints = {}
    for name, text in vars(cls.__init__).get("__annotations__", cls.__init__.__annotations__).items():  # type: ignore[misc]
        try:
            hints[name] = typing.get_type_hints(types.SimpleNamespace(__annotations__={name: text}), names)[name]
        except (NameError, TypeError, AttributeError):  # a name that PTB imports for type checkers alone
            continue
    return hints


def _check(hint: Any) -> Check:
    """What tells whether a value is of the kind that an annotation means."""
    if type(hint) is str:  # inside of `Sequence[...]`, Python 3.10 leaves it as the text that it is
        hint = vars(telegram).get(hint, hint)
    origin = typing.get_origin(hint)
    if hint in {Any, object}:
        return _is_anything
    if origin in {typing.Union, types.UnionType}:
        return _any_of([_check(part) for part in typing.get_args(hint) if part is not type(None)])
    if isinstance(hint, type) and issubclass(hint, (telegram.TelegramObject, telegram.InputFile)):
        return lambda value: isinstance(value, hint)
    if origin in {collections.abc.Sequence, list, tuple}:
        inside = _any_of([_check(part) for part in typing.get_args(hint) if part is not ...])
        return lambda value: type(value) in _SEQUENCES and all(map(inside, value))
    if origin in {dict, collections.abc.Mapping} or hint is dict:
        return _is_simple_dict
    if isinstance(hint, type) and (hint in _PLAIN or issubclass(hint, (enum.Enum, str))):
        return _is_plain
    return _is_simple


def _any_of(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def _is_anything(value: Any) -> bool:
    return not isinstance(value, telegram.Bot)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_plain(value: Any) -> bool:
    """A text, a number or a time; which of them, PTB does not mind."""
    cls = type(value)
    # Of one's own classes those that are no less plain; those of BSON pass for texts and numbers, and are none.
    return cls in _PLAIN or (isinstance(value, _LIKE_PLAIN) and not cls.__module__.startswith("bson."))


def _is_simple(value: Any, depth: int = 0) -> bool:
    """What an attribute of an unknown kind may hold: plain values, Telegram objects, and lists, sets and dicts of them.

    So may it objects that are nothing but their attributes, whatever these are: nobody looks into them.
    """
    cls = type(value)
    if cls in _SEQUENCES or cls in _SETS:
        return depth < _DEEPEST and all(_is_simple(part, depth + 1) for part in value)
    if cls is dict:
        return _is_simple_dict(value, depth)
    if isinstance(value, telegram.TelegramObject):
        return not isinstance(value, telegram.Bot)
    return (
        cls in _SIMPLE or _is_plain(value) or (is_plain(cls) and not isinstance(value, type) and cls not in _NO_SIMPLE)
    )


def _is_simple_dict(value: Any, depth: int = 0) -> bool:
    return (
        type(value) is dict
        and depth < _DEEPEST
        and all(type(key) in {str, int} and _is_simple(item, depth + 1) for key, item in value.items())
    )


def _is_tuple(value: Any) -> bool:
    return type(value) is tuple
