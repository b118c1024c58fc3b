"""Writes the pickle of a Telegram object without Python's pickler, byte for byte what `pickling.dumps` would write.

The pickler asks for each part of each object what it is to do with it. Most messages consist of a few kinds of parts
alone: these are written here, by the plans of their classes. Whatever else is met ends the attempt, and the pickler
does it all.
"""

from __future__ import annotations

import datetime as dtm
import enum
import pickle
import struct
from typing import Any, ClassVar, Final

import telegram

from ptb_mongo.codec.parts import enum_key
from ptb_mongo.codec.telegram_plans import Plan, plan_of
from ptb_mongo.codec.trust import DEFAULT_NONE, Trust

__all__ = ["written"]

_LARGEST: Final = 60_000  # bytes; what is larger has several frames
_DEEPEST: Final = 30
_HEADER: Final = pickle.PROTO + b"\x05" + pickle.FRAME
_SHORT: Final = 256
_INT8, _INT16, _INT31 = 1 << 8, 1 << 16, 1 << 31
_GET: Final = [pickle.BINGET + bytes([index]) for index in range(_SHORT)]
_TEXT: Final = [pickle.SHORT_BINUNICODE + bytes([size]) for size in range(_SHORT)]
_CALL: Final = _GET[2]  # what all calls begin with, but the first one, which says whom they call
_KIND: Final = 3  # where the memo has the word that a Telegram object is called by
_GLOBAL: Final = pickle.STACK_GLOBAL + pickle.MEMOIZE
_CONSTANTS: Final[dict[Any, bytes]] = {True: pickle.NEWTRUE, False: pickle.NEWFALSE, None: pickle.NONE}
_SET_ONE: Final = {0: (b"", b""), 1: (b"", pickle.SETITEM)}
_SET_MANY: Final = (pickle.MARK, pickle.SETITEMS)
_TUPLES: Final = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
_MADE: Final = pickle.REDUCE + pickle.MEMOIZE
_MEMBERS: Final[dict[int, tuple[enum.Enum, tuple[Any, ...]]]] = {}  # of PTB's enums; by `id`, as some are equal
_UTC: Final = dtm.timezone.utc
_EMPTY: Final[tuple[()]] = ()  # one object, which may stand wherever a tuple may: see `Plan.accepts`
_NO_OFFSET: Final = _UTC.utcoffset(None)  # the object that it holds itself


def _text(text: str) -> bytes:
    """A short text that was not written before."""
    data = text.encode()
    return _TEXT[len(data)] + data + pickle.MEMOIZE


def _long_get(at: int) -> bytes:
    return pickle.LONG_BINGET + struct.pack("<I", at)


class _OtherError(Exception):
    """There is something that only the pickler can do."""


def written(obj: telegram.TelegramObject, trust: Trust, bot: telegram.Bot | None, restore: Any) -> bytes | None:
    """The pickle of a Telegram object; `None` if it is left to the pickler.

    Args:
        obj: The object.
        trust: Which classes may be stored.
        bot: The running bot.
        restore: The function that the pickle calls.
    """
    plan = plan_of(type(obj))
    if plan is None:
        return None
    writer = _Writer(trust, bot, restore)
    try:
        writer.whole(obj, plan, 0)
    except (_OtherError, AttributeError, UnicodeEncodeError):
        return None
    data = b"".join(writer.parts)
    if len(data) > _LARGEST:
        return None
    return _HEADER + struct.pack("<Q", len(data) + 1) + data + pickle.STOP


class _Writer:
    """Writes one pickle.

    Attributes:
        parts: What was written.
    """

    def __init__(self, trust: Trust, bot: telegram.Bot | None, restore: Any) -> None:
        self.parts: list[bytes] = []
        self._trust = trust
        self._bot = bot
        self._opening = _text(restore.__module__) + _text(restore.__qualname__) + _GLOBAL + _text("telegram")
        # By `id`, where something stands that may come again: the function's own names are such texts, too.
        self._memo: dict[int, int] = {id(restore.__module__): 0, id(restore.__qualname__): 1}
        self._count = 0  # what the reader's memo holds
        self._texts: dict[str, str] = {}  # equal strings as one: see `pickling`

    def whole(self, obj: Any, plan: Plan, depth: int) -> None:
        """Writes a Telegram object."""
        if depth > _DEEPEST:
            raise _OtherError
        state = self._state(obj, plan)
        with_bot = self._has_bot(obj)
        opening, closing = _SET_ONE.get(len(state) + with_bot, _SET_MANY)
        self._head(plan)
        parts, memo, opcodes = self.parts, self._memo, plan.opcodes
        parts.append(pickle.EMPTY_DICT + pickle.MEMOIZE + opening)
        self._count += 1
        for name, value, kind in state:
            at = memo.get(id(name))
            if at is None:
                memo[id(name)] = self._count
                self._count += 1
                parts.append(opcodes[name])
            else:
                parts.append(_GET[at] if at < _SHORT else _long_get(at))
            if kind is str:
                at = memo.get(id(value))
                if at is None:
                    self._new_text(value)
                else:
                    parts.append(_GET[at] if at < _SHORT else _long_get(at))
            elif kind is bool:
                parts.append(pickle.NEWTRUE if value else pickle.NEWFALSE)
            elif value is _EMPTY:
                parts.append(pickle.EMPTY_TUPLE)
            elif kind is int:
                self._int(value, 0)
            else:
                self._value(value, depth)
        if with_bot:
            self._tail()
        parts.append(closing + pickle.TUPLE3 + pickle.MEMOIZE + _MADE)
        memo[id(obj)] = self._count + 1
        self._count += 2

    def _state(self, obj: Any, plan: Plan) -> list[tuple[str, Any, type]]:
        """The attributes that are not `None`, and the types of their values."""
        if obj.api_kwargs:
            raise _OtherError
        state = []
        # First all, as the pickler does it: it tells which of equal strings is the one that is written.
        one_of = self._texts.setdefault
        for name, accepted, value in zip(plan.names, plan.accepted, plan.values(obj), strict=True):
            if value is not None:
                kind = type(value)
                if kind not in accepted and not plan.accepts(name, accepted, value):
                    raise _OtherError
                state.append((one_of(name, name), one_of(value, value) if kind is str else value, kind))
        return state

    def _head(self, plan: Plan) -> None:
        """The call, the kind, and the name of the class."""
        if self._count:
            self.parts.append(_CALL + _GET[_KIND])
        else:
            self.parts.append(self._opening)
            self._memo[id(self._texts.setdefault("telegram", "telegram"))] = _KIND
            self._count = _KIND + 1
        self._text(self._trust.name_of(plan.cls))

    def _tail(self) -> None:
        """The bot that the object belongs to."""
        self._text("_bot")
        self._text("bot")
        self.parts.append(pickle.BINPERSID)

    def _has_bot(self, obj: telegram.TelegramObject) -> bool:
        try:
            bot = obj.get_bot()
        except RuntimeError:
            return False
        if bot is not self._bot:
            raise _OtherError
        return True

    def _value(self, value: Any, depth: int) -> None:
        kind = type(value)
        if (write := self._SIMPLE.get(kind)) is not None:
            write(self, value, depth)
        elif (at := self._memo.get(id(value))) is not None:
            self.parts.append(_GET[at] if at < _SHORT else _long_get(at))
        elif (write := self._KINDS.get(kind)) is not None:
            write(self, value, depth)
        elif (plan := plan_of(kind)) is not None:
            self.whole(value, plan, depth + 1)
        elif isinstance(value, enum.Enum):
            self._enum(value)
        else:
            raise _OtherError

    def _text(self, text: str) -> None:
        """A string that stands for all that are equal to it."""
        self._exactly(self._texts.setdefault(text, text))

    def _exactly(self, text: str, _: int = 0) -> None:
        """A string that stands for itself, even if there is an equal one."""
        at = self._memo.get(id(text))
        if at is None:
            self._new_text(text)
        else:
            self.parts.append(_GET[at] if at < _SHORT else _long_get(at))

    def _new_text(self, text: str) -> None:
        data = text.encode()  # what has lone surrogates is left to the pickler
        size = len(data)
        opcode = _TEXT[size] if size < _SHORT else pickle.BINUNICODE + struct.pack("<I", size)
        self.parts.append(opcode + data + pickle.MEMOIZE)
        self._memo[id(text)] = self._count
        self._count += 1

    def _remember(self, value: object) -> None:
        self._memo[id(value)] = self._count
        self._count += 1

    def _int(self, value: int, _: int) -> None:
        if 0 <= value < _INT16:
            one = value < _INT8
            data = pickle.BININT1 + bytes([value]) if one else pickle.BININT2 + struct.pack("<H", value)
        elif -_INT31 <= value < _INT31:
            data = pickle.BININT + struct.pack("<i", value)
        else:
            digits = pickle.encode_long(value)
            if len(digits) >= _SHORT:
                raise _OtherError
            data = pickle.LONG1 + bytes([len(digits)]) + digits
        self.parts.append(data)

    def _float(self, value: float, _: int) -> None:
        self.parts.append(pickle.BINFLOAT + struct.pack(">d", value))

    def _constant(self, value: Any, _: int) -> None:
        self.parts.append(_CONSTANTS[value])

    def _tuple(self, value: tuple[Any, ...], depth: int) -> None:
        if depth > _DEEPEST:
            raise _OtherError
        count = len(value)
        if not count:
            self.parts.append(pickle.EMPTY_TUPLE)
            return
        end = _TUPLES.get(count)
        if end is None:
            self.parts.append(pickle.MARK)
        for part in value:
            self._value(part, depth + 1)
        self.parts.append((end or pickle.TUPLE) + pickle.MEMOIZE)
        self._remember(value)

    def _datetime(self, value: dtm.datetime, _: int) -> None:
        if value.tzinfo is not _UTC:
            raise _OtherError
        packed: Any = value.__reduce_ex__(5)[1][0]
        self._begin_object("datetime.datetime")
        self.parts.append(pickle.SHORT_BINBYTES + bytes([len(packed)]) + packed + pickle.MEMOIZE)
        self._count += 1
        if (at := self._memo.get(id(_UTC))) is not None:
            self.parts.append(_GET[at] if at < _SHORT else _long_get(at))
        else:
            self._begin_object("datetime.timezone")
            self._timedelta(_NO_OFFSET, 0)
            self._end_object(_UTC, pickle.TUPLE1)
        self._end_object(value, pickle.TUPLE2)

    def _timedelta(self, value: dtm.timedelta, _: int) -> None:
        self._begin_object("datetime.timedelta")
        for number in (value.days, value.seconds, value.microseconds):
            self._int(number, 0)
        self._end_object(value, pickle.TUPLE3)

    def _begin_object(self, name: str) -> None:
        self.parts.append(_CALL + pickle.MARK)
        self._text("object")
        self._text(name)
        self.parts.append(pickle.NEWFALSE)

    def _end_object(self, value: Any, arguments: bytes) -> None:
        self.parts.append(arguments + pickle.MEMOIZE + pickle.TUPLE + pickle.MEMOIZE + _MADE)
        self._count += 2
        self._remember(value)

    def _enum(self, value: enum.Enum) -> None:
        self.parts.append(_CALL + pickle.MARK)
        one_of = self._texts.setdefault
        for part in [one_of(part, part) if type(part) is str else part for part in self._parts_of(value)]:
            self._value(part, 0)
        self.parts.append(pickle.TUPLE + pickle.MEMOIZE + _MADE)
        self._count += 1
        self._remember(value)

    def _parts_of(self, member: enum.Enum) -> tuple[Any, ...]:
        if (known := _MEMBERS.get(id(member))) is None:
            key, value = enum_key(member), member.value
            if not type(member).__module__.startswith("telegram.") or {type(key), type(value)} - {str, int}:
                raise _OtherError
            known = _MEMBERS[id(member)] = (member, ("enum", self._trust.name_of(type(member)), key, value))
        return known[1]

    def _default(self, value: Any, _: int) -> None:
        if value.value is not None:
            raise _OtherError
        self.parts.append(_CALL)
        self._text("default")
        self.parts.append(pickle.TUPLE1 + pickle.MEMOIZE + _MADE)
        self._count += 1
        self._remember(value)

    _SIMPLE: ClassVar[dict[type, Any]] = {
        str: _exactly,
        int: _int,
        bool: _constant,
        type(None): _constant,
        float: _float,
    }
    _KINDS: ClassVar[dict[type, Any]] = {
        tuple: _tuple,
        dtm.datetime: _datetime,
        dtm.timedelta: _timedelta,
        type(DEFAULT_NONE): _default,
    }
