"""Plain documents that a stranger writes: every form of the codec with fields that are right, nearly right, or not.

"Plain" as in the codec: what BSON holds. Some values are bytes of elements (`odd_values.Raw`), as PyMongo does not
write them.
"""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable
from typing import Any, Final

import samples
import telegram
from bson.decimal128 import Decimal128
from choices import Choices
from honest_values import CLASSES, HONEST
from hostile_pickles import HostilePickles
from odd_values import ODD, encoded
from words import DECIMALS, DIGITS, FLAGS, ISO, KEYS, NUMBERS, PATTERNS, WORDS, ZONES

from ptb_mongo.codec import TAG, Codec
from ptb_mongo.errors import EncodeError

__all__ = ["HostileValues"]

_CODEC: Final = Codec(samples.TRUSTED)
_DEEPEST: Final = 6
_FIRST: Final = dtm.datetime.min.replace(tzinfo=dtm.timezone.utc)
_LAST: Final = dtm.datetime.max.replace(tzinfo=dtm.timezone.utc)
_BSON_INTS: Final = tuple(number for number in NUMBERS if -(2**63) <= number < 2**63)
_TEXTS: Final = tuple(word for word in WORDS if word.isprintable())

Field = Callable[["HostileValues", int], Any]


class HostileValues:
    """Makes plain values.

    Args:
        choices: Decides.
        large: Whether they may be large.
    """

    def __init__(self, choices: Choices, *, large: bool = False) -> None:
        self.choices = choices
        self._pickles = HostilePickles(choices, large=large)
        self._levels_left = 170  # MongoDB takes no more
        self._left, self._bytes_left = (2000, 500_000) if large else (60, 5000)

    def plain(self, depth: int = 0) -> Any:
        """A value for a document."""
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return self.scalar()
        make = self.choices.one(
            (
                *[self.tagged] * (3 if depth else 8),
                self.nearly_honest,
                self.nearly_honest,
                self.items,
                self.fields,
                self._grown,
                *([self._any_scalar] * 4 if depth else ()),
            )
        )
        return make(depth)

    def _any_scalar(self, _: int) -> Any:
        return self.scalar()

    def scalar(self) -> Any:
        """A value of BSON's own."""
        choices = self.choices
        return choices.one(choices.one((_BSON_INTS, _TEXTS, tuple(ODD.values()))))

    def items(self, depth: int) -> list[Any]:
        """An array."""
        return self.choices.some(lambda: self.plain(depth + 1), 8)

    def fields(self, depth: int) -> dict[str, Any]:
        """A document."""
        return {self.key(): self.plain(depth + 1) for _ in range(self.choices.between(0, 4))}

    def key(self) -> str:
        """A name of a field."""
        return self.choices.one(KEYS if self.choices.percent(40) else KEYS[:4])

    def tagged(self, depth: int) -> dict[str, Any]:
        """A form of the codec's."""
        choices = self.choices
        tag = choices.one(_TAGS)
        made = {name: field(self, depth) for name, field in _FIELDS[tag].items()}
        if tag in _OF_A_SUBCLASS and choices.percent(30):
            made |= {"cls": choices.one(_SUBCLASSES), "state": self.fields(depth)}
        if made.get("cls") and tag == "enum" and choices.percent(70):
            made |= {"cls": "samples.Colour", "name": choices.one(("RED", "NONE", "GONE", 5))}
        if choices.percent(25):
            for _ in range(choices.between(1, 2)):
                made[choices.one((*made, "v", "cls", "fold", "tz", "maxlen", "factory"))] = self.plain(depth + 1)
        if made and choices.percent(6):
            del made[choices.one(tuple(made))]
        choices.label = choices.label or "a form"
        return {TAG: tag, **made}

    def nearly_honest(self, depth: int) -> Any:
        """What is stored of an honest value, but for some places of it."""
        choices = self.choices
        choices.label = choices.label or "nearly honest"
        try:
            made = _CODEC.encode(choices.one(HONEST))
        except EncodeError:
            return None
        for _ in range(choices.one((1, 0, 2, 4))):
            made = self._changed(made, depth)
        return made

    def _changed(self, plain: Any, depth: int) -> Any:
        """A value that differs in one place."""
        choices = self.choices
        if type(plain) is bytes and choices.percent(80):
            return self._pickles.damaged(plain)
        inside = list(plain) if type(plain) is dict else list(range(len(plain))) if type(plain) is list else []
        if not inside or choices.percent(20):
            other = choices.one((None, [plain], {TAG: "tuple", "v": [plain]}))
            return self.plain(depth + 1) if other is None else other
        made = plain.copy()
        at, other = choices.one(inside), choices.one(inside)
        if at == TAG and choices.percent(80):
            at = inside[-1]
        how = choices.one(("inside", "inside", "gone", "swapped", "the same", "more"))
        if how == "inside":
            made[at] = self._changed(made[at], depth + 1)
        elif how == "gone":
            del made[at]
        elif how == "more":
            made = {**made, self.key(): made[at]} if type(made) is dict else [*made, made[at]]
        else:
            made[at], made[other] = made[other], made[at] if how == "swapped" else made[other]
        return made

    def pickle(self) -> bytes:
        """A pickle."""
        return self._pickles.pickle() if self.choices.percent(95) else self.choices.content(60)

    def packed(self, depth: int) -> bytes:
        """BSON in binary."""
        made = encoded({"v": self.plain(depth + 2)})
        return self._pickles.damaged(made) if self.choices.percent(10) else made

    def _grown(self, depth: int) -> Any:
        """What is deep, or has many parts."""
        choices = self.choices
        number = choices.one((5, 40, 170, 2000, 20_000))
        kind = choices.below(6)
        if kind == 0:
            one = self.plain(depth + 1)
            return [one] * self._fitting(number, len(encoded({"": one})))
        if kind == 1:
            return self._deep(min(number, 170), depth)
        if kind == 2:
            ints = [{TAG: "int", "v": str(one * (2**61 - 1))} for one in range(self._fitting(min(number, 1500), 50))]
            return {TAG: choices.one(("set", "frozenset", "tuple")), "v": ints}
        if kind == 3:
            return {f"%i{one * (2**61 - 1)}": one for one in range(self._fitting(number, 25))}
        if kind == 4:
            return choices.one(("x", "\u0800", "%", "()")) * self._fitting(number, 3)
        return self._matryoshka(min(number // 5, 15))

    def _fitting(self, number: int, each: int) -> int:
        """As often as something stands that takes some bytes each time: so often, or less."""
        number = max(1, min(number, self._bytes_left // each))
        self._bytes_left -= number * each
        return number

    def _deep(self, levels: int, depth: int) -> Any:
        each, wrap = self.choices.one(
            (
                (1, lambda inner: [inner]),
                (1, lambda inner: {"a": inner}),
                (2, lambda inner: {TAG: "tuple", "v": [inner]}),
                (2, lambda inner: {TAG: "object", "cls": "samples.Bare", "state": {"a": inner}}),
                (3, lambda inner: {TAG: "dict", "v": [[1, inner]]}),
                (2, lambda inner: {TAG: "frozenset", "v": [inner]}),
            )
        )
        made = self.plain(depth + 3)
        levels = min(levels, self._levels_left)
        self._levels_left -= levels
        for _ in range(levels // each):
            made = wrap(made)
        return made

    def _matryoshka(self, levels: int) -> Any:
        """BSON in BSON in BSON."""
        made = self.plain(_DEEPEST)
        for _ in range(levels):
            made = {TAG: "bson", "v": encoded({"v": made})}
        return made


def _of(*values: Any) -> Field:
    return lambda made, _: made.choices.one(values)


def _integers(count: int) -> Field:
    def integer(made: HostileValues) -> Any:
        number = made.choices.one(NUMBERS)
        return number if number in _BSON_INTS else {TAG: "int", "v": hex(number)}

    return lambda made, _: [integer(made) for _ in range(count)]


def _zone(made: HostileValues, _: int) -> Any:
    tag = made.choices.one(("zoneinfo", "zoneinfo", "pytz", "dateutil.gettz", "pendulum.Timezone", "dateutil.tzoffset"))
    return {TAG: tag, "v": made.choices.one((60, 3600, -1)) if tag == "dateutil.tzoffset" else made.choices.one(ZONES)}


_DATE: Final = _of(dtm.datetime(2024, 1, 2, tzinfo=dtm.timezone.utc), _FIRST, _LAST)
_ITEMS: Final[Field] = lambda made, depth: made.items(depth)  # noqa: E731
_DOCUMENT: Final[Field] = lambda made, depth: made.fields(depth)  # noqa: E731
_CONTENT: Final[Field] = lambda made, _: made.choices.content(20)  # noqa: E731
_PICKLE: Final[Field] = lambda made, _: made.pickle()  # noqa: E731


_VERSION: Final = _of(telegram.__version__, "0", None)


def _cls(made: HostileValues, _: int) -> str:
    return made.choices.one(made.choices.one(CLASSES))


def _of_a_subclass(made: HostileValues, _: int) -> str:
    return made.choices.one(_SUBCLASSES)


def _pattern(made: HostileValues, _: int) -> str:
    return made.choices.one(PATTERNS) * made.choices.one((1, 1, 1, 1, 5, 200))


def _pairs(made: HostileValues, depth: int) -> list[Any]:
    return made.choices.some(lambda: [made.plain(depth + 2), made.plain(depth + 2)], 5)


def _delta(made: HostileValues, _: int) -> Any:
    return {TAG: "timedelta", "v": 0.0, **{name: made.choices.one((0, 1, -1, 86_399)) for name in _DELTA}}


def _inside(made: HostileValues, depth: int) -> Any:
    """What an iterator may go over: rather often another iterator."""
    return {TAG: "iterator", "v": made.items(depth)} if made.choices.percent(40) else made.plain(depth + 1)


_SUBCLASSES: Final = tuple(
    f"samples.{name}"
    for name, cls in vars(samples).items()
    if isinstance(cls, type) and cls.__mro__[-2] is not cls and cls.__module__ == "samples"
)
_DELTA: Final = ("days", "seconds", "microseconds")
_MINUTES: Final = _of(0, 60, -90, 1439, 1440, 2**62)
_SECONDS: Final = _of(0, 3600, -5400, 86_399, 86_400, 2**62)
_DTYPES: Final = (
    *("<f8", ">i4", "|b1", "|i1", "<U5", "<U99999999", "<M8[s]", "<c16", "|O", "i4,i4", "(9,)f8", "<f2", "x"),
    *("int64", "float32", "str", "bytes", "complex64", "bool", "object", "<m8[25us]"),
)
_FIELDS: Final[dict[str, dict[str, Field]]] = {
    "pickle": {"cls": _cls, "ptb": _VERSION, "v": _PICKLE},
    "telegram": {"cls": _cls, "base": _cls, "ptb": _VERSION, "pickle": _PICKLE, "view": _DOCUMENT},
    "tuple": {"v": _ITEMS},
    "set": {"v": _ITEMS},
    "frozenset": {"v": _ITEMS},
    "deque": {"v": _ITEMS, "maxlen": _of(None, 0, 5, -1, 2**62)},
    "dict": {"v": _pairs},
    "OrderedDict": {"v": _DOCUMENT},
    "Counter": {"v": _DOCUMENT},
    "defaultdict": {"v": _DOCUMENT, "factory": lambda made, _: {TAG: "class", "v": _cls(made, 0)}},
    "object": {"cls": _cls, "state": _DOCUMENT},
    **{
        base: {"cls": _of_a_subclass, "v": inside, "state": _DOCUMENT}
        for base, inside in (("list", _ITEMS), ("bytes", _CONTENT))
    },
    "float": {"cls": _of_a_subclass, "v": _of(1.5, float("nan"), 5)},
    "namedtuple": {
        "cls": _of("samples.Point", "samples.Place", "samples.Pair", *CLASSES[0], *CLASSES[2]),
        "v": _DOCUMENT,
    },
    "str": {"v": _CONTENT},
    "int": {"v": _of(*DIGITS)},
    "int64": {"v": _of(*_BSON_INTS)},
    "decimal": {"v": _of(*DECIMALS, *map(Decimal128, ("1.5", "NaN", "1E6111", "sNaN")))},
    "fraction": {"v": _integers(2)},
    "range": {"v": _integers(3)},
    "bytearray": {"v": _CONTENT},
    "binary": {"v": _CONTENT, "subtype": _of(0, 1, 2, 3, 4, 5, 9, 128, 255, 256, -1)},
    "bson": {"v": lambda made, depth: made.packed(depth)},
    "regex": {"v": _pattern, "flags": _of(*FLAGS)},
    "datetime": {"iso": _of(*ISO), "fold": _of(0, 1, 2), "tz": _zone},
    "milliseconds": {"v": _DATE},
    "date": {"v": _DATE},
    "time": {"v": _of(*ISO), "fold": _of(0, 1, 2), "tz": _zone},
    "timedelta": {"v": _of(0.0), **dict.fromkeys(_DELTA, _of(0, 1, -1, 999_999_999, 2**40))},
    "timezone": {"v": _delta, "name": _of("x", "", "UTC", "\0")},
    "zoneinfo": {"v": _of(*ZONES)},
    "pytz": {"v": _of("UTC", *ZONES), "offset": _of(3600, 0, 7200, -1), "dst": _of(0, 3600), "name": _of("CET", "x")},
    **{tag: {"v": _MINUTES, "name": _of("x", "")} for tag in ("pytz.FixedOffset", "bson.FixedOffset")},
    **{tag: {"v": _SECONDS, "name": _of("x", "")} for tag in ("dateutil.tzoffset", "pendulum.FixedTimezone")},
    **{tag: {"v": _of(*ZONES)} for tag in ("dateutil.gettz", "pendulum.Timezone")},
    **{tag: {"v": _of("UTC")} for tag in ("dateutil.tzutc", "dateutil.tzlocal")},
    "pendulum.DateTime": {"iso": _of(*ISO), "fold": _of(0, 1, 2), "tz": _zone},
    "pendulum.Date": {"v": _DATE},
    "pendulum.Time": {"v": _of(*ISO), "fold": _of(0, 1)},
    "pendulum.Duration": {**dict.fromkeys(_DELTA, _of(0, 1, -1, 2**40)), "years": _of(0, 1, -1, 10**6)},
    "path": {"v": _of(*_TEXTS), "pure": _of("posix", "windows", "x")},
    **{tag: {"v": _of("10.0.0.1", "10.0.0.0/8", "x")} for tag in ("IPv4Address", "IPv4Network", "IPv4Interface")},
    **{tag: {"v": _of("::1", "::/0", "fe80::1%x")} for tag in ("IPv6Address", "IPv6Network", "IPv6Interface")},
    "complex": {"v": _of([1.0, 2.0], [1], ["1", 2])},
    "slice": dict.fromkeys(("start", "stop", "step"), lambda made, depth: made.plain(depth + 1)),
    "array": {"type": _of("d", "b", "Q", "u", "x"), "v": _ITEMS, "size": _of(1, 8)},
    "iterator": {"kind": _of("zip", "enumerate", "reversed", "x"), "v": _inside, "at": _of(0, 1, -1, 2**62)},
    "numpy": {"dtype": _of(*_DTYPES), "v": _of(0, 1.5, "x", True, [1.0, 2.0], -(2**62))},
    "ndarray": {
        "dtype": _of(*_DTYPES),
        "shape": _of([], [0], [1], [2, 2], [-1], [2**40, 2**40], ["x"]),
        "v": _of([], [1], [1.5], ["x"] * 4, [1, 2, 3, 4], b"", b"12345678"),
        "order": _of("C", "F", "x"),
    },
    "enum": {"cls": _cls, "name": _of("RED", 5, "GONE")},
    "class": {"v": _cls},
    "bot": {"foreign": _of(False, True)},
    "no form at all": {"v": _ITEMS},
}
"""What stands in each form, if all is right."""
_CONTAINERS: Final = (
    "tuple",
    "set",
    "frozenset",
    "deque",
    "dict",
    "OrderedDict",
    "defaultdict",
    "object",
    "namedtuple",
)
_OF_A_SUBCLASS: Final = frozenset(
    {"tuple", "set", "frozenset", "deque", "dict", "OrderedDict", "defaultdict"}
    | {"str", "int", "datetime", "date", "time", "timedelta"}
)
_TAGS: Final = (*_FIELDS, *["pickle"] * 40, *["telegram"] * 8, *_CONTAINERS)
