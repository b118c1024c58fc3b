"""Pickles of a few bytes that stand for much, or are deep, and large ones of many parts: what has to be bounded."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

from assembler import literal, made, restore, text
from choices import Choices
from honest_values import CLASSES
from opcodes import RESTORE, recalled, scalar

__all__ = ["Growing", "Memo"]

_COLLIDING: Final = 2**61 - 1
_HERE: Final = b"here\0and nowhere else"


class Memo:
    """How many values of a pickle can be recalled."""

    def __init__(self) -> None:
        self.size = 0

    def kept(self) -> bytes:
        """The opcodes that recall what is to be memoised now."""
        self.size += 1
        return recalled(self.size - 1)


class Growing:
    """Makes opcodes.

    Args:
        choices: Decides.
        memo: Of the pickle that they are a part of.
        size: How many bytes there may be, about.
    """

    def __init__(self, choices: Choices, memo: Memo, size: int) -> None:
        self._choices = choices
        self._memo = memo
        self._bytes_left = size

    def times(self, *numbers: int, each: int) -> int:
        """How often something stands that takes some bytes each time."""
        number = max(1, min(self._choices.one(numbers), self._bytes_left // each))
        self._bytes_left -= number * each
        return number

    def _any_number(self, each: int) -> int:
        return self.times(3, 20, 60, 300, 1200, 10_000, 100_000, each=each)

    def value(self) -> bytes:
        """What grows, and something around it."""
        choices = self._choices
        inner = choices.one(
            (
                self._deep,
                self._chain,
                self._many,
                self._colliding,
                self._number,
                self._nested,
                self._repeated,
                self._text,
            )
        )()
        return choices.one(_AROUND)(inner, choices.one(choices.one(CLASSES)))

    def _deep(self) -> bytes:
        before, innermost, after = self._choices.one(
            ((b"]", b"N", b"a"), (b"}K\x01", b"N", b"s"), (b"", b")", b"\x85"), (b"", b"N", b"N\x86"))
        )
        number = self._any_number(len(before + after))
        return before * number + innermost + after * number

    def _chain(self) -> bytes:
        """Each holds the next one twice."""
        choices = self._choices
        name = choices.one(choices.one(CLASSES)) if choices.percent(30) else ""
        opened, closed, names = choices.one(_PAIRS)
        opcodes = literal(0) if name else pickle.EMPTY_LIST
        for _ in range(self.times(3, 20, 60, 200, each=20)):
            again = self._memo.kept()
            opcodes += pickle.MEMOIZE + pickle.POP
            if name:
                opcodes += (
                    made(name, again, again) if self._memo.size % 2 else made(name, state={"a": again, "b": again})
                )
            else:
                opcodes += opened + names[0] + again + names[1] + again + closed
        return opcodes

    def _many(self) -> bytes:
        one, is_memoised = self._choices.one(
            ((b"]", 0), (b"}", 0), (b")", 0), (b"K\x01", 0), (b"]\x94", 1), (b"(t", 0), (b"N\x85", 0), (b"C\x01x", 0))
        )
        number = self._any_number(len(one))
        self._memo.size += number * is_memoised
        return pickle.MARK + one * number + pickle.TUPLE

    def _colliding(self) -> bytes:
        """Keys or elements that have one hash."""
        numbers = [literal(number * _COLLIDING) for number in range(self.times(3, 300, 1500, 5000, each=12))]
        if self._choices.percent(30):
            numbers = [b"(" + number + b"K\x01t" for number in numbers]
        elif self._choices.percent(40):  # each holds one of two that are equal, and not the same
            part = self._choices.one((literal((1,) * 300), b"(" + restore("fraction", 1, 3) * 100 + b"t"))
            twins = [self._memo.kept(), self._memo.kept()]
            numbers = [twins[index % 2] + number + pickle.TUPLE2 for index, number in enumerate(numbers)]
            return 2 * (part + pickle.MEMOIZE + pickle.POP) + self._filled(numbers)
        return self._filled(numbers)

    def _filled(self, numbers: list[bytes]) -> bytes:
        kind = self._choices.below(4)
        if kind == 0:
            return b"}(" + b"".join([number + b"N" for number in numbers]) + b"u"
        if kind == 1:
            return b"}" + b"".join([number + b"Ns" for number in numbers])
        if kind == 2:
            return text("set") + b"](" + b"".join(numbers) + b"e\x86Q"
        pairs = b"](" + b"".join([number + b"N\x86" for number in numbers]) + b"e"
        return made("collections.OrderedDict", pairs=pairs)

    def _number(self) -> bytes:
        number = self._any_number(1)
        return pickle.LONG4 + struct.pack("<I", number) + b"\x7f" * number

    def _text(self) -> bytes:
        unit = self._choices.one(
            ("[\u0400-\uffff]", "x", "()", "(?i:[\\w-\uffff])", "a{9}", "(", "1", "0.0.0.0/", "\0")
        )
        made = unit * self._any_number(len(unit.encode()))
        flags = self._choices.one((32, 34, 0))
        return self._choices.one((restore("pattern", made, flags), text(made)))

    def _nested(self) -> bytes:
        """Objects in objects."""
        choices = self._choices
        name = choices.one(choices.one(CLASSES))
        parts: tuple[Any, ...] = choices.one(
            (
                ("object", name, False, (_HERE,)),
                ("object", name, True, (_HERE,)),
                ("object", name, False, (None, _HERE, None)),
                ("object", name, False, (), None, {"a": _HERE}),
                ("object", name, False, (), None, None, [_HERE]),
                ("telegram", "telegram.Message", {"reply_to_message": _HERE}),
            )
        )
        head, call = self._short(parts)
        before, after = call.split(_HERE)
        number = self._any_number(len(call) - len(_HERE))
        return head + before * number + pickle.NONE + after * number

    def _repeated(self) -> bytes:
        """Many objects of one class."""
        choices = self._choices
        name = choices.one(choices.one(CLASSES))
        parts: tuple[Any, ...] = choices.one(
            (
                ("telegram", name, {}),
                ("object", name, False, ()),
                ("object", name, True, ()),
                ("object", name, False, ("x",)),
                ("class", name),
            )
        )
        head, call = self._short(parts)
        return head + pickle.MARK + call * self._any_number(len(call)) + pickle.TUPLE

    def shared(self) -> bytes:
        """Something that holds many objects, or sets, which are made of one part."""
        return made("types.SimpleNamespace", state={"a": self._shared()})

    def _shared(self) -> bytes:
        choices = self._choices
        part = choices.one((self._numbers, self._pairs, self._names, self._long_text, self._chain))()
        head, again = part + pickle.MEMOIZE + pickle.POP, self._memo.kept()
        if choices.percent(20):
            kind = text(choices.one(("set", "frozenset")))
            call = kind + again + pickle.TUPLE2 + pickle.BINPERSID
        else:
            name = choices.one(choices.one(CLASSES))
            parts: tuple[Any, ...] = choices.one(
                (
                    ("object", name, False, (_HERE,)),
                    ("object", name, True, (_HERE,)),
                    ("object", name, False, (), None, _HERE),
                    ("object", name, True, (), None, {"a": _HERE}),
                    ("object", name, True, (), None, _HERE),
                    ("object", name, False, (), _HERE),
                    ("object", name, False, (), None, None, _HERE),
                    ("object", name, False, (), None, None, None, _HERE),
                    ("object", "bson.code.Code", True, ("x",), None, {"_Code__scope": _HERE}),
                    ("object", "bson.dbref.DBRef", True, (), None, {**_REFERENCE, "_DBRef__id": _HERE}),
                    ("telegram", name, _HERE),
                    ("telegram", "telegram.User", {"api_kwargs": {"a": _HERE}}),
                    ("telegram", "telegram.PollAnswer", {"option_ids": _HERE}),
                    ("fraction", _HERE, _HERE),
                )
            )
            before, call = self._short(parts)
            head, call = head + before, call.replace(_HERE, again)
        if choices.percent(30):
            call += pickle.POP
        return head + pickle.MARK + call * self._any_number(len(call)) + pickle.TUPLE

    def _numbers(self) -> bytes:
        return b"](" + b"".join([b"M" + struct.pack("<H", n % 65536) for n in range(self._any_number(3))]) + b"e"

    def _pairs(self) -> bytes:
        count = self._any_number(5)
        return b"](" + b"".join([b"M" + struct.pack("<H", n % 65536) + b"N\x86" for n in range(count)]) + b"e"

    def _names(self) -> bytes:
        return b"}(" + b"".join([text(f"a{n}") + b"N" for n in range(self._any_number(12))]) + b"u"

    def _long_text(self) -> bytes:
        return text(self._choices.one(("a/", "x", "9")) * self._any_number(2))

    def _short(self, parts: tuple[Any, ...]) -> tuple[bytes, bytes]:
        """Opcodes that memoise what is needed for a call, and a call that recalls it."""
        head, recalls = b"", []
        for part in (RESTORE, *map(text, [part for part in parts if type(part) is str])):
            recalls.append(self._memo.kept())
            head += part + pickle.MEMOIZE + pickle.POP
        rest = b"".join([literal(part) for part in parts if type(part) is not str])
        return head, recalls[0] + pickle.MARK + b"".join(recalls[1:]) + rest + pickle.TUPLE + pickle.REDUCE


_REFERENCE: Final = {"_DBRef__collection": "c", "_DBRef__database": None, "_DBRef__kwargs": {}}
_PAIRS: Final = (
    (b"](", b"e", (b"", b"")),
    (b"(", b"t", (b"", b"")),
    (b"}(", b"u", (text("a"), text("b"))),
    (b"}(", b"u", (b"", b"K\x01")),
)
_AROUND: Final[tuple[Callable[[bytes, str], bytes], ...]] = (
    lambda inner, _: made("types.SimpleNamespace", state={"a": inner}),
    lambda inner, _: restore("telegram", "telegram.InlineKeyboardButton", {"text": "x", "callback_data": inner}),
    lambda inner, _: made("samples.Stateful", bare=True, state=["state", inner]),
    lambda inner, name: made(name, inner),
    lambda inner, name: made(name, inner, bare=True),
    lambda inner, name: made(name, bare=True, state=inner),
    lambda inner, name: made(name, bare=True, state={"a": inner}),
    lambda inner, name: made(name, items=b"](" + inner + b"e"),
    lambda inner, name: made(name, pairs=b"](" + inner + b"N\x86e"),
    lambda inner, _: made("types.SimpleNamespace", state={"a": b"}" + inner + b"Ns"}),
    lambda inner, _: made("types.SimpleNamespace", state={"a": text("frozenset") + b"](" + inner + b"e\x86Q"}),
    lambda inner, _: made("bson.code.Code", "x", state={"_Code__scope": b"}" + text("a") + inner + b"s"}),
    lambda inner, _: restore("telegram", "telegram.User", {"id": 1, "api_kwargs": b"}" + text("a") + inner + b"s"}),
    lambda inner, _: restore("telegram", "telegram.Message", {"photo": inner}),
    lambda inner, _: restore("enum", "samples.Right", inner),
    lambda inner, _: restore("zone", inner),
    lambda inner, _: restore("pattern", inner, 32),
    lambda inner, _: restore("fraction", inner, scalar(3**20_000)),
    lambda inner, _: restore(inner),  # type: ignore[arg-type]
    lambda inner, _: inner + text("x") + pickle.STACK_GLOBAL,
    lambda inner, _: inner,
)
"""Something that holds what grows, or is made of it."""
