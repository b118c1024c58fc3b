"""Reads the pickles of most Telegram objects in a fifth of the time that `Restorer` takes, and in no other way.

It knows what `telegram_writer` writes: plain values, times, members of PTB's enums, and Telegram objects whose classes
have a plan. Each attribute is checked as `telegram_object` does it. Of what stands in two places it knows texts and
objects alone, and keeps account of what these stand for. Whatever else a pickle may hold, and all that is wrong with
one, is left to `Restorer`, which begins anew.
"""

from __future__ import annotations

import datetime as dtm
import enum
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

import telegram

from ptb_mongo.codec.pickling import OWN_BOT, restore
from ptb_mongo.codec.standard import check_date
from ptb_mongo.codec.telegram_plans import Plan, plan_of
from ptb_mongo.codec.trust import DEFAULT_NONE, Trust
from ptb_mongo.codec.versions import member_or_value
from ptb_mongo.errors import DecodeError

__all__ = ["TelegramReader"]

_LARGEST: Final = 60_000  # bytes
_DEEPEST: Final = 20  # objects in objects: PTB can copy them
_SHARED_AT_MOST: Final = 2**16  # parts that stand in more than one place: less than any pickle may stand for
_MADE_AT_LEAST: Final = 2**14
_MADE_PER_BYTE: Final = 64
_OPENING: Final = pickle.PROTO + b"\x05" + pickle.FRAME
_AFTER_OPENING: Final = len(_OPENING) + 8
_TEXT: Final = pickle.SHORT_BINUNICODE[0]
_MEMOIZE: Final = pickle.MEMOIZE[0]
_GET: Final = pickle.BINGET[0]
_LONG_GET: Final = pickle.LONG_BINGET[0]
_BYTE: Final = pickle.BININT1[0]
_MARK: Final = pickle.MARK[0]
_SET: Final = pickle.SETITEMS[0]
_SETS: Final = frozenset({_SET, pickle.SETITEM[0]})
_DICT: Final = pickle.EMPTY_DICT[0]
_TUPLES: Final = {pickle.TUPLE1[0]: 1, pickle.TUPLE2[0]: 2, pickle.TUPLE3[0]: 3, pickle.TUPLE[0]: 0}
_CALLED: Final = pickle.MEMOIZE + pickle.REDUCE + pickle.MEMOIZE
_FILLED: Final = pickle.MEMOIZE + pickle.MARK
_BOT: Final = pickle.BINPERSID[0]
_STOP: Final = pickle.STOP[0]
_NUMBERS: Final = {
    pickle.BININT2[0]: struct.Struct("<H"),
    pickle.BININT[0]: struct.Struct("<i"),
    pickle.BINFLOAT[0]: struct.Struct(">d"),
}
_LONG_TEXT: Final = pickle.BINUNICODE[0]
_BYTES: Final = pickle.SHORT_BINBYTES[0]
_SIZED: Final = frozenset({pickle.LONG1[0], _BYTES})
_GLOBAL: Final = pickle.STACK_GLOBAL[0]
_CONSTANTS: Final = {
    pickle.NEWTRUE[0]: True,
    pickle.NEWFALSE[0]: False,
    pickle.NONE[0]: None,
    pickle.EMPTY_TUPLE[0]: (),
}
_RESTORE: Final = (restore.__module__, restore.__name__)
_ONCE: Final = frozenset({dict, bytes})
_ONLY_TEXT: Final = {str}
_ONLY_INT: Final = {int}
_DATETIME: Final[Callable[[bytes, dtm.tzinfo], dtm.datetime]] = dtm.datetime  # type: ignore[assignment]
_NO_OFFSET: Final = dtm.timedelta(0)
_LARGEST_VALUE: Final = 128  # bytes that a value takes which is no Telegram object
_NOWHERE: Final = object()  # stands in the memo for what must not stand in another place
_PLACE_OF_BOT: Final = object()
_UTC: Final = dtm.timezone.utc


class _OtherError(Exception):
    """There is something that only `Restorer` can do."""


class TelegramReader:
    """Reads pickles of Telegram objects.

    Args:
        trust: Which classes may be restored.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._plans: dict[str, Plan] = {}
        self._members: dict[tuple[Any, ...], enum.Enum] = {}

    def read(self, data: bytes, bot: telegram.Bot | None) -> telegram.TelegramObject | None:
        """The object of a pickle; `None` if it has to be read by `Restorer`.

        Args:
            data: The pickle; it is one of this version of PTB.
            bot: The running bot.
        """
        if len(data) > _LARGEST or not data.startswith(_OPENING):
            return None
        try:
            return _Reading(data, bot, self).read()
        except (_OtherError, DecodeError, LookupError, TypeError, ValueError, struct.error, AttributeError):
            return None

    def plan(self, name: Any) -> Plan:
        """The plan of the class of a name."""
        if type(name) is not str:
            raise _OtherError
        if (plan := self._plans.get(name)) is None:
            found = plan_of(self._trust.resolve(name))
            if found is None:
                raise _OtherError
            plan = self._plans[name] = found
        return plan

    def member(self, parts: tuple[Any, ...]) -> Any:
        """The member of one of PTB's enums."""
        kinds = [*map(type, parts)]
        if kinds[:2] != [str, str] or kinds[2:] not in ([str], [int]) or not parts[0].startswith("telegram.constants."):
            raise _OtherError
        if (found := self._members.get(parts)) is None:
            found = member_or_value(self._trust, *parts)
            if not isinstance(found, enum.Enum):
                raise _OtherError
            if found.value == parts[2]:  # what else a stranger writes there is not remembered
                self._members[parts] = found
        return found


class _Reading:
    """Reads one pickle."""

    def __init__(self, data: bytes, bot: telegram.Bot | None, reader: TelegramReader) -> None:
        self._data = data
        self._bot = bot
        self._reader = reader
        self._weights: dict[int, tuple[int, int]] = {}  # by `id`: how many parts an object has, and how many levels
        self._open_bots = 0  # not yet put into the objects that belong to the bot
        self._made = 0  # bytes

    def read(self) -> telegram.TelegramObject:  # noqa: C901, PLR0912, PLR0915  (a call for each opcode takes longer than what it does)
        """The object."""
        data = self._data
        at = _AFTER_OPENING
        stack: list[Any] = []
        marks: list[int] = []
        memo: list[Any] = []
        shared = 0
        while (code := data[at]) != _STOP:
            at += 1
            if code == _GET:
                value = memo[data[at]]
                at += 1
                if type(value) is str:
                    shared += len(value) >> 4
                elif value is not restore:
                    if value is _NOWHERE:
                        raise _OtherError
                    shared += self._weigh(value, 0)[0]
                stack.append(value)
            elif code == _TEXT:
                end = at + 1 + data[at]
                text = data[at + 1 : end].decode()
                stack.append(text)
                at = end
                if data[at] == _MEMOIZE:
                    memo.append(text)
                    at += 1
            elif code == _MEMOIZE:
                is_used_once = type(stack[-1]) in _ONCE or stack[-1] is _PLACE_OF_BOT
                memo.append(_NOWHERE if is_used_once else stack[-1])
            elif code == _BYTE:
                stack.append(data[at])
                at += 1
            elif code in _CONSTANTS:
                stack.append(_CONSTANTS[code])
            elif code == _MARK:
                marks.append(len(stack))
            elif code in _TUPLES:
                size = _TUPLES[code] or len(stack) - marks.pop()
                start = len(stack) - size
                is_called = data[at : at + 3] == _CALLED  # as nearly all are
                if start - is_called < (marks[-1] if marks else 0):
                    raise _OtherError
                parts = tuple(stack[start:])
                if is_called:
                    if stack[start - 1] is not restore:
                        raise _OtherError
                    made = self._restore(parts)
                    del stack[start:]
                    stack[-1] = made
                    memo += (_NOWHERE, made)
                    at += 3
                else:
                    stack[start:] = [parts]
            elif code == _DICT:
                stack.append({})
                if data[at : at + 2] == _FILLED:
                    memo.append(_NOWHERE)
                    marks.append(len(stack))
                    at += 2
            elif code in _SETS:
                start = marks.pop() if code == _SET else len(stack) - 2
                if start - 1 < (marks[-1] if marks else 0):
                    raise _OtherError
                _set_items(stack[start - 1], stack[start:])
                del stack[start:]
            elif code == _BOT:
                if stack.pop() != OWN_BOT:
                    raise _OtherError
                self._open_bots += 1
                stack.append(_PLACE_OF_BOT)
            elif code in _NUMBERS:
                form = _NUMBERS[code]
                stack.append(form.unpack_from(data, at)[0])
                at += form.size
            elif code in _SIZED:
                end = at + 1 + data[at]
                taken = data[at + 1 : end]
                stack.append(taken if code == _BYTES else int.from_bytes(taken, "little", signed=True))
                at = end
            elif code == _LONG_GET:
                value = memo[int.from_bytes(data[at : at + 4], "little")]
                at += 4
                if value is _NOWHERE:
                    raise _OtherError
                shared += self._weigh(value, 0)[0]
                stack.append(value)
            elif code == _LONG_TEXT:
                end = at + 4 + int.from_bytes(data[at : at + 4], "little")
                stack.append(data[at + 4 : end].decode())
                at = end
            elif code == _GLOBAL:
                name, module = stack.pop(), stack.pop()
                if (module, name) != _RESTORE:
                    raise _OtherError
                stack.append(restore)
            else:
                raise _OtherError
        (value,) = stack
        is_small = self._made <= _MADE_AT_LEAST + _MADE_PER_BYTE * len(data) and shared <= _SHARED_AT_MOST
        if self._open_bots or marks or not is_small or at != len(data) - 1:
            raise _OtherError
        if not isinstance(value, telegram.TelegramObject):
            raise _OtherError
        return value

    def _restore(self, arguments: tuple[Any, ...]) -> Any:
        """What a call stands for."""
        kind = arguments[0]
        if type(kind) is not str:
            raise _OtherError
        if kind == "telegram":
            _, name, state = arguments
            return self._telegram(self._reader.plan(name), state)
        self._made += _LARGEST_VALUE
        if kind == "object":
            _, name, bare, values = arguments
            if type(name) is not str or bare is not False or type(values) is not tuple:
                raise _OtherError
            return _TIMES[name](*values)
        if kind == "enum":
            return self._reader.member(arguments[1:])
        if arguments != ("default",):
            raise _OtherError
        return DEFAULT_NONE

    def _telegram(self, plan: Plan, state: Any) -> Any:
        """A Telegram object of its attributes."""
        if type(state) is not dict:
            raise _OtherError
        place = state.pop("_bot", None)
        if place is _PLACE_OF_BOT:
            self._open_bots -= 1
        elif place is not None:
            raise _OtherError
        weight, depth = plan.weight, 0
        for name, value in state.items():
            if value is None:
                continue
            kind, accepted = type(value), plan.known[name]
            if kind not in accepted and not plan.accepts(name, accepted, value):
                raise _OtherError
            if kind is str:
                weight += len(value) >> 4
            elif kind is not bool and kind is not int:
                more, below = self._weigh(value, 0)
                weight, depth = weight + more, max(depth, below)
        if depth > _DEEPEST:
            raise _OtherError
        obj = plan.made(state, None if place is None else self._bot)
        self._weights[id(obj)] = weight, depth + 1
        self._made += plan.size
        return obj

    def _weigh(self, value: Any, depth: int) -> tuple[int, int]:
        """How many parts a value has, each counted wherever it stands, and how many levels."""
        if (known := self._weights.get(id(value))) is not None:
            return known
        kind = type(value)
        if kind is str:
            return 1 + (len(value) >> 4), 0
        if kind is dict or value is restore:
            raise _OtherError
        if kind is not tuple or not value:
            return 1, 0
        if depth > _DEEPEST:
            raise _OtherError
        weight, deepest = 1, 0
        for part in value:
            more, below = self._weigh(part, depth + 1)
            weight, deepest = weight + more, max(deepest, below)
        self._weights[id(value)] = found = weight, deepest + 1
        return found


def _set_items(target: Any, items: list[Any]) -> None:
    names = items[::2]
    if type(target) is not dict or {*map(type, names)} != _ONLY_TEXT:
        raise _OtherError
    target.update(zip(names, items[1::2], strict=True))


def _datetime(packed: Any, zone: Any) -> dtm.datetime:
    if type(packed) is not bytes or zone is not _UTC:
        raise _OtherError
    made = _DATETIME(packed, zone)  # as Python's own pickles do it
    check_date(made)
    return made


def _timezone(offset: Any) -> dtm.timezone:
    if offset != _NO_OFFSET:
        raise _OtherError
    return _UTC


def _timedelta(days: Any, seconds: Any, microseconds: Any) -> dtm.timedelta:
    if {type(days), type(seconds), type(microseconds)} != _ONLY_INT:
        raise _OtherError
    return dtm.timedelta(days, seconds, microseconds)


_TIMES: Final[dict[str, Callable[..., Any]]] = {
    "datetime.datetime": _datetime,
    "datetime.timezone": _timezone,
    "datetime.timedelta": _timedelta,
}
