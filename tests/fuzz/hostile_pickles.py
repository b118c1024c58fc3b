"""Pickles that a stranger writes: nearly those of ours, of values that are nearly right, or anything at all."""

from __future__ import annotations

import datetime as dtm
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from assembler import text
from choices import Choices
from growing import Growing, Memo
from honest_values import CALLED, CLASSES, HONEST, TELEGRAM, attributes, kinds
from opcodes import NOTHING, OPCODES, RESTORE, THE_BOT, recalled, scalar
from words import NUMBERS, WORDS

from ptb_mongo.codec.pickling import FOREIGN_BOT, OWN_BOT, _Pickler
from ptb_mongo.codec.trust import Trust

__all__ = ["HostilePickles"]

_REDUCER: Final = _Pickler(io.BytesIO(), Trust(["samples"]), None)
_DEEPEST: Final = 5
_DAMAGED: Final = ", damaged"
_MOST_ATTRIBUTES: Final = 6
_ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0.0, 1.5, float("nan"), float("inf"), b"", b"C\x0a\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00"),
    *((), [], {}, (1,), [1], [("a", 1)], ["ab", 5], {"a": 1}, {1: 2}, (None, {"_value": 4}), {"int": 5}, (1, 2)),
    *({"_DBRef__collection": "c"}, {"_Timestamp__inc": 1, "_Timestamp__time": -1}, {"args": ("x",)}, [[1]]),
)
_OF_ANY_KIND: Final = (
    ("telegram.CallbackQuery", "data"),
    ("telegram.InlineKeyboardButton", "callback_data"),
    ("telegram.User", "api_kwargs"),
    ("telegram.User", "_id_attrs"),
    ("telegram.User", "id"),
    ("samples.Letter", "note"),
    ("telegram.Message", "unknown"),
)
_TIMES: Final = (dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc), dtm.datetime.max.replace(tzinfo=dtm.timezone.min))


class _Called(NamedTuple):
    """A call of `restore`, in the place of what it gives."""

    parts: tuple[Any, ...]


class _Written(NamedTuple):
    """Opcodes that are made when it is their turn, as they may refer to what stands before them."""

    opcodes: Callable[[], bytes]


class HostilePickles:
    """Makes pickles.

    Args:
        choices: Decides.
        large: Whether they may be large.
    """

    def __init__(self, choices: Choices, *, large: bool = False) -> None:
        self._choices = choices
        self._large = large
        self._memo = Memo()
        self._growing = Growing(choices, self._memo, 0)
        self._parts_left = 0
        self._wrong = 0  # of a hundred parts
        self._restore = RESTORE

    def pickle(self) -> bytes:
        """One pickle."""
        choices = self._choices
        self._memo, self._restore, head = Memo(), RESTORE, b""
        self._parts_left, size = (400, choices.one((100_000, 300_000, 2_000_000))) if self._large else (40, 2000)
        self._growing = Growing(choices, self._memo, size)
        self._wrong = choices.one((3, 0, 10, 25, 40))
        if choices.percent(30):
            self._restore = self._memo.kept()
            head = RESTORE + pickle.MEMOIZE + pickle.POP
        label, make = choices.one(
            (
                ("a value", lambda: self._value(choices.one(CALLED), 0)),
                ("a value", lambda: self._value(choices.one(CALLED), 0)),
                ("a Telegram object", lambda: self._value(self._telegram(choices.one(tuple(TELEGRAM)), 0), 0)),
                ("an object of any class", lambda: self._value(self._object(0), 0)),
                ("what grows", self._growing.value),
                ("what grows", self._growing.value),
                ("a bot in two places", lambda: self._value(self._bot_twice(), 0)),
                ("shared parts", self._growing.shared),
                *[("shared parts", self._growing.shared)] * (5 if self._large else 0),
            )
        )
        choices.label = f"a pickle of {label}"
        made = b"\x80\x05" + head + make() + pickle.STOP
        return self.damaged(made) if choices.percent(20) else made

    def damaged(self, made: bytes) -> bytes:
        """Bytes of which a few were changed, left out, repeated or put in."""
        choices = self._choices
        choices.label = choices.label.removesuffix(_DAMAGED) + _DAMAGED
        for _ in range(choices.between(1, 4)):
            at, size = choices.below(len(made) + 1), choices.one((1, 0, 2, 5, 9, 40))
            old = made[at : at + size]
            new = choices.one((b"", old * 2, old[::-1], *OPCODES)) if choices.percent(70) else choices.content(3)
            made = made[:at] + new + made[at + size :]
        return made

    # -- what is in a pickle ------------------------------------------------------------------------------

    def _value(self, value: Any, depth: int) -> bytes:
        """The opcodes of a value, or of another one in its place; sometimes it can be recalled."""
        choices = self._choices
        self._parts_left -= 1
        is_other = depth and self._parts_left > 0 and choices.percent(self._wrong)
        if is_other:
            made = self._right(self._similar(value), depth) if choices.percent(40) else self._other(depth)
        else:
            made = self._right(value, depth)
        if choices.percent(15):
            made += choices.one(NOTHING) if choices.percent(20) else b""
            self._memo.kept()
            made += pickle.MEMOIZE
        return made

    def _right(self, value: Any, depth: int) -> bytes:
        kind = type(value)
        if kind is _Written:
            return value.opcodes()  # type: ignore[no-any-return]
        if kind is _Called:
            return self._restore + self._tuple(value.parts, depth) + pickle.REDUCE
        if (made := scalar(value)) is not None:
            return made
        if kind is tuple:
            return self._tuple(value, depth)
        if kind is list:
            return pickle.EMPTY_LIST + pickle.MARK + self._all(value, depth) + pickle.APPENDS
        if kind is dict:
            flat = [part for pair in value.items() for part in pair]
            return pickle.EMPTY_DICT + pickle.MARK + self._all(flat, depth) + pickle.SETITEMS
        if kind in {set, frozenset}:
            return self._tuple((kind.__name__, sorted(value, key=repr)), depth) + pickle.BINPERSID
        _, parts = _REDUCER.reducer_override(value)
        return self._right(_Called(parts), depth)

    def _tuple(self, parts: Iterable[Any], depth: int) -> bytes:
        return pickle.MARK + self._all(parts, depth) + pickle.TUPLE

    def _all(self, parts: Iterable[Any], depth: int) -> bytes:
        return b"".join([self._value(part, depth + 1) for part in parts])

    def _similar(self, value: Any) -> Any:
        """Another value of the same type."""
        choices = self._choices
        kind = type(value)
        if kind is str:
            return choices.one(WORDS)
        if kind is int:
            return choices.one(NUMBERS)
        if kind is bytes:
            return choices.one((b"", value[:-1], value + b"x", choices.content(14)))
        if kind is dict and value:
            left_out = choices.one(tuple(value))
            return {name: part for name, part in value.items() if name != left_out or choices.percent(20)}
        if kind in {list, tuple}:
            return kind(choices.one((value[1:], value * 2, value[::-1])))
        return self._scalar()

    def _other(self, depth: int) -> bytes:
        """Something else than what belongs there."""
        choices = self._choices
        if depth > _DEEPEST or self._parts_left < 0:
            return self._right(self._scalar(), depth)
        make = choices.one(
            (
                lambda: self._right(self._scalar(), depth),
                lambda: self._right(self._scalar(), depth),
                self._recalled,
                self._recalled,
                lambda: self._right(choices.one(HONEST), depth),
                lambda: self._right(self._object(depth), depth),
                lambda: self._right(self._telegram(choices.one(tuple(TELEGRAM)), depth), depth),
                self._growing.value,
                lambda: self._right(_Called(("class", choices.one(choices.one(CLASSES)))), depth),
                self._endless,
                lambda: text(choices.one((OWN_BOT, FOREIGN_BOT, "x"))) + pickle.BINPERSID,
                self._bot,
                lambda: choices.one(OPCODES),
            )
        )
        return make()

    def _recalled(self) -> bytes:
        """Something that stands before, once or many times."""
        choices = self._choices
        if not self._memo.size:
            return pickle.NONE
        one = recalled(choices.below(self._memo.size))
        if not choices.percent(20):
            return one
        number = self._growing.times(2, 30, 500, 5000, 40_000, each=2)
        return choices.one((pickle.MARK + one * number + pickle.TUPLE, b"](" + one * number + pickle.APPENDS))

    def _bot(self) -> bytes:
        """The bot, which may be recalled."""
        self._memo.kept()
        return THE_BOT + self._choices.one(NOTHING) + pickle.MEMOIZE

    def _endless(self) -> bytes:
        """A list or a dict that holds itself."""
        again = self._memo.kept()
        return self._choices.one((b"]\x94" + again + b"a", b"}\x94" + text("a") + again + b"s"))

    def _scalar(self) -> Any:
        choices = self._choices
        values: Any = choices.one((_ODD, WORDS, NUMBERS, None))
        return choices.content(14) if values is None else choices.one(values)

    def _object(self, depth: int) -> _Called:
        """An object of any class, of any parts."""
        choices = self._choices

        def anything() -> _Written:
            return _Written(lambda: self._other(depth + 2))

        args = tuple(choices.some(anything, 3))
        more = choices.some(lambda: choices.one((None, {choices.one(WORDS): self._scalar()}, anything())), 4)
        return _Called(("object", choices.one(choices.one(CLASSES)), choices.percent(50), args, *more))

    def _telegram(self, name: str, depth: int) -> _Called:
        """A Telegram object with some attributes of the kinds that PTB declares."""
        choices = self._choices
        known = attributes(name)
        state: dict[Any, Any] = {}
        for _ in range(choices.between(0, min(len(known), _MOST_ATTRIBUTES)) if depth < _DEEPEST else 0):
            attribute = choices.one(known)
            state[attribute.name] = self._of_kind(attribute.words, depth + 1)
        if choices.percent(30):
            state["_bot"] = _Written(lambda: THE_BOT if choices.percent(50) else self._bot())
        if choices.percent(self._wrong):
            other = known[choices.below(len(known))].name if known else "x"
            state["api_kwargs"] = {other: self._scalar(), choices.one(WORDS): _Written(lambda: self._other(depth + 2))}
        if choices.percent(self._wrong):
            state[choices.one(("api_kwargs", "_bot", "_id_attrs", "_frozen", *WORDS))] = self._scalar()
        return _Called(("telegram", name, state))

    def _bot_twice(self) -> _Called:
        """An object that belongs to the bot, which is recalled into another place."""
        name, attribute = self._choices.one(_OF_ANY_KIND)
        again: list[bytes] = []

        def the_bot() -> bytes:
            made = self._bot()
            again.append(recalled(self._memo.size - 1))
            return made

        place = _Written(lambda: again[-1] if again else THE_BOT)
        other = self._choices.one((place, [place], {"a": place}, (1, place)))
        both = [("_bot", _Written(the_bot)), (attribute, other)]
        return _Called(("telegram", name, dict(both[:: self._choices.one((1, -1))])))

    def _of_kind(self, words: frozenset[str], depth: int) -> Any:
        choices = self._choices
        one: Any
        if (objects := kinds(words)) and choices.percent(90):
            one = self._telegram(choices.one(objects), depth)
        elif "datetime" in words:
            one = choices.one(_TIMES)
        elif "timedelta" in words:
            one = dtm.timedelta(choices.below(5))
        elif "bool" in words:
            one = choices.percent(50)
        elif words & {"int", "float"}:
            one = choices.one(NUMBERS)
        else:
            one = choices.one(WORDS) if "str" in words else self._scalar()
        return (one,) * choices.between(0, 2) if "Sequence" in words else one
