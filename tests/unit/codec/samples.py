"""The classes of an imaginary bot, one of each kind that the codec treats differently; the tests trust this module."""

from __future__ import annotations

import abc
import collections
import datetime as dtm
import enum
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import telegram

WITH_LIBRARIES = all(importlib.util.find_spec(name) for name in ("pydantic", "attrs", "msgspec"))
"""Whether the classes in `shaped` can be imported."""

TRUSTED = [__name__, *(["shaped"] if WITH_LIBRARIES else [])]

FIRED: list[object] = []
"""What planted data has managed to run: nothing, or a test fails."""


def fire(*args: object) -> None:
    """What planted data tries to reach."""
    FIRED.append(args)


class Colour(enum.Enum):
    RED = "red"
    GREEN = (0, 255, 0)
    BLUE = 3.5
    NONE = None
    ALIAS = "red"  # noqa: PIE796  (aliases are the point)


class Level(enum.IntEnum):
    LOW = 1
    HUGE = 10**30


class Word(str, enum.Enum):
    HELLO = "hello"
    DOLLAR = "$set"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    ALL = READ | WRITE


class Mode(enum.IntFlag):
    X = 1
    W = 2
    R = 4


class Shop:
    """A namespace, for classes that are nested in another."""

    class Size(enum.Enum):
        SMALL = "s"

    @dataclass
    class Item:
        sku: Any
        qty: Any = 1


@dataclass
class Plain:
    a: Any
    b: Any = None


@dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any = None


@dataclass(slots=True)
class Slotted:
    a: Any
    b: Any = None


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    a: Any
    b: Any = None


@dataclass
class Counting:
    a: Any
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made.append(1)


class Bare:
    """A plain class; whatever attributes it is given."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Hidden:
    """Slots with private names."""

    __slots__ = ("__secret", "open")

    def __init__(self, secret: Any, open: Any) -> None:  # noqa: A002  (the slot's name)
        self.__secret = secret
        self.open = open


class Mixed(Hidden):
    """Slots of its base class and of its own, and a `__dict__`."""

    __slots__ = ("__dict__", "__secret")

    def __init__(self, secret: Any, open: Any, **attributes: Any) -> None:  # noqa: A002  (as above)
        super().__init__(secret, open)
        self.__secret = [secret]
        vars(self).update(attributes)


class Guarded:
    """Refuses its attributes to be set, as values do."""

    def __init__(self, a: Any) -> None:
        vars(self)["a"] = a

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Reduced:
    """Says itself what it is made of."""

    def __init__(self, a: Any) -> None:
        self.a = a

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, (self.a,)


class Stateful:
    """Has a state of its own making."""

    def __init__(self, a: Any) -> None:
        self.a = a

    def __getstate__(self) -> Any:
        return ["state", self.a]

    def __setstate__(self, state: Any) -> None:
        self.a = state[1]


class Point(NamedTuple):
    x: Any
    y: Any = None


class Place(Point):
    """A named tuple with attributes beside its fields."""


Pair = collections.namedtuple("Pair", ["left", "right"], defaults=[7])  # noqa: PYI024  (the other way to make one)


class Title(str):
    __slots__ = ()


class Number(int):
    pass


class Blob(bytes):
    pass


class Row(list):
    pass


class Table(dict):
    pass


class Tags(set):
    pass


class Frost(frozenset):
    pass


class Ring(collections.deque):
    pass


class Moment(dtm.datetime):
    pass


class Migrated:
    """Takes whatever earlier versions of it have stored."""

    def __init__(self, a: Any) -> None:
        self.a = a
        self.version = 2

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.version = 2


class WithLock:
    """Leaves out of its state what cannot be stored."""

    def __init__(self, a: Any) -> None:
        self.a = a
        self.lock = object()

    def __getstate__(self) -> dict[str, Any]:
        return {"a": self.a}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.a = state["a"]
        self.lock = object()


class InSlots:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def __getstate__(self) -> tuple[Any, ...]:
        return self.a, self.b

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.a, self.b = state


class Named(list):
    """A list with an attribute."""

    def __init__(self, items: Any = (), name: Any = None) -> None:
        super().__init__(items)
        self.name = name


class Label(str):  # noqa: SLOT000  (the attribute is the point)
    """A text with an attribute."""

    note: Any


class Ratio(float):
    __slots__ = ("unit",)


class Vector(tuple):  # noqa: SLOT001  (a plain one)
    """Made of its parts."""

    def __new__(cls, *parts: Any) -> Vector:  # noqa: PYI034  (3.10 has no Self)
        return super().__new__(cls, parts)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class Day(dtm.date):
    pass


class Clock(dtm.time):
    pass


class Span(dtm.timedelta):
    pass


def label(text: str, note: Any) -> Label:
    made = Label(text)
    made.note = note
    return made


def ratio(value: float, unit: Any) -> Ratio:
    made = Ratio(value)
    made.unit = unit
    return made


class MishapError(Exception):
    pass


class LostModuleError(ImportError):
    pass


class Abstract(abc.ABC):  # noqa: B024  (it is its metaclass that counts)
    pass


class Letter(telegram.TelegramObject):
    """A Telegram object that is not PTB's."""

    __slots__ = ("note", "sender")

    def __init__(self, note: Any, sender: Any = None, *, api_kwargs: Any = None) -> None:
        super().__init__(api_kwargs=api_kwargs)
        self.note = note
        self.sender = sender
        self._id_attrs = (note,)
        self._freeze()


class SealedLetter(Letter):
    """Has no dict to show."""

    __slots__ = ()

    def to_dict(self, recursive: bool = True) -> Any:
        raise ValueError("sealed")


class FunctionMade:
    """Restored by a function, which is refused."""

    def __reduce__(self) -> tuple[Any, ...]:
        return fire, ("reduced",)


class Disguised:
    """Comes back as an object of a class that is never called."""

    def __init__(self, a: Any) -> None:
        self.a = a

    def __reduce__(self) -> tuple[Any, ...]:
        return Plain, (self.a,)


class Journal:
    """A plain class that has methods of the names that fill a list or a dict."""

    def append(self, line: object) -> None:
        fire("append", line)

    def __setitem__(self, key: object, value: object) -> None:
        fire("setitem", key, value)


class StatefulJournal(Journal):
    """The same, with a state of its own making."""

    def __getstate__(self) -> object:
        return self.state

    def __setstate__(self, state: object) -> None:
        self.state = state


class Trap:
    """Runs something whenever it is used; a trusted class that planted data may name, but not use."""

    def __iter__(self) -> Iterator[int]:
        fire("iterated")
        return iter(())

    def __call__(self, *args: object) -> None:
        fire("called", *args)


class NamedDay(dtm.date):
    """Its constructor sets an attribute, as do those of the following."""

    name: str

    def __new__(cls, *args: Any) -> Any:
        self = super().__new__(cls, *args)
        self.name = f"{self.year}"
        return self


class Stamped(dtm.datetime):
    __slots__ = ("quarter",)

    def __new__(cls, *args: Any, **more: Any) -> Any:
        self = super().__new__(cls, *args, **more)
        self.quarter = (self.month - 1) // 3
        return self


class Shift(dtm.time):
    name: str

    def __new__(cls, *args: Any, **more: Any) -> Any:
        self = super().__new__(cls, *args, **more)
        self.name = f"{self.hour}"
        return self


class Term(dtm.timedelta):
    weeks: int

    def __new__(cls, *args: Any) -> Any:
        self = super().__new__(cls, *args)
        self.weeks = self.days // 7
        return self


class Limited(collections.Counter[Any]):
    def __init__(self, *args: Any) -> None:
        self.limit = 10
        super().__init__(*args)


class LimitedDefaults(collections.defaultdict[Any, Any]):
    def __init__(self, *args: Any) -> None:
        self.limit = 10
        super().__init__(*args)


class Counted(collections.Counter[Any]):
    """Has a constructor that sets nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)


class Naive:
    """Takes for granted that it is compared with its like."""

    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return bool(self.a == other.a)

    def __hash__(self) -> int:
        return hash(self.a)


class NaiveText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return bool(str.lower(self) == str.lower(other))

    def __hash__(self) -> int:
        return hash(str.lower(self))


class NaiveState:
    """Its state is such a value."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getstate__(self) -> Any:
        return self.state

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Refusing:
    """Can be compared with nothing, and has the hash of others."""

    def __eq__(self, other: object) -> bool:
        raise AttributeError("it is not compared")

    def __hash__(self) -> int:
        return 1


class Vague:
    """Gives itself when it is compared, and has no truth, as an array of numpy."""

    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> Any:
        return self

    __ne__ = __lt__ = __gt__ = __eq__
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth of it is ambiguous")


class StatefulError(Exception):
    """Has a state of its own making, which is no dict."""

    def __init__(self, state: Any) -> None:
        super().__init__("x")
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return StatefulError, ("x",), self.state

    def __setstate__(self, state: Any) -> None:
        self.state = state
