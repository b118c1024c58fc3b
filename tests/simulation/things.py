"""What the simulated bots and services store: values that are unique, their stored forms, and their leaves.

A leaf is the smallest thing that is written by one side or another: a value, or the presence of an element in a set
or a list. `flatten` gives the leaves of data by their paths.
"""

from __future__ import annotations

import collections
import datetime as dtm
import enum
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128

from ptb_mongo.codec import Codec

__all__ = [
    "ABSENT",
    "CODEC",
    "CONTAINERS",
    "COUNT",
    "ELEMENT",
    "FORMS",
    "IS_THERE",
    "LOG",
    "TYPED",
    "UNSTORABLE",
    "Basket",
    "Leaves",
    "Level",
    "Path",
    "Unstorable",
    "can_be_cut",
    "flatten",
    "number_of",
    "plain_set",
]

Path = tuple[Hashable, ...]
Leaves = dict[Path, Hashable]

ABSENT: Final = None
"""The value of a leaf that is not there."""
ELEMENT: Final = "∋"
"""Stands in a path before an element of a set or a list."""
IS_THERE: Final = "<is there>"
"""The value of the path of a container."""
COUNT: Final = "count"
"""The key of a number that all sides add to. Each adds another power of 16, so its digits tell what was added."""
CONTAINERS: Final = ("n", "m", "tags", "log", "basket", COUNT)
"""Top keys whose values have leaves inside."""

Level = enum.Enum("Level", {f"L{number}": f"level {number}" for number in range(600)}, module=__name__)  # type: ignore[misc]


@dataclass
class Basket:
    """An object of a plain class."""

    total: str = ""
    items: dict[str, str] = field(default_factory=dict)


UNSTORABLE: Final = "bad"
"""The key of a value that cannot be stored."""


class Unstorable:
    """Of a class that nobody trusts."""


CODEC: Final = Codec((Basket, Level))

_DAY: Final = dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc)


def _zero(number: int) -> dtm.datetime:
    return _DAY + dtm.timedelta(days=number)


def plain_set(elements: list[str]) -> dict[str, Any]:
    """A stored set, in an order that the bot would not choose."""
    return {"_py": "set", "v": sorted(elements, reverse=True)}


LOG: Final = ("l0", "l1", "l2", "l3", "l4", "l5")
"""What a list holds at first."""


def can_be_cut(log: Any) -> bool:
    """Whether the first element of a list may be removed: the last that all sides know stays, so edits do not meet."""
    return bool(log) and log[0] in LOG[:-1]


TYPED: Final[Mapping[str, Callable[[int], Any]]] = {
    "dec": lambda number: Decimal(f"{number}.5"),
    "when": lambda number: (
        dtm.datetime(2024, 1, 1, 0, 0, 0, 7)  # noqa: DTZ001  (one without a zone)
        + dtm.timedelta(seconds=number)
    ),
    "day": lambda number: _zero(number).date(),
    "level": lambda number: list(Level)[number],
    "span": lambda number: dtm.timedelta(seconds=number, microseconds=5),
    "big": lambda number: number,
    "pair": lambda number: (number, "x"),
    "deq": lambda number: collections.deque([number, number + 1], 2),
}
"""Values of many types, by the key that holds them; each number makes another one."""


def number_of(value: Any) -> int:
    """The number that a value was made of."""
    match value:
        case Decimal():
            return int(value)
        case dtm.datetime():
            return int((value - TYPED["when"](0)).total_seconds())
        case dtm.date():
            return int((value - _DAY.date()).days)
        case Level():
            return int(value.name[1:])
        case dtm.timedelta():
            return value.seconds
        case tuple() | collections.deque():
            return int(value[0])
        case _:
            return int(value)


FORMS: Final[Mapping[str, Callable[[int], list[Any]]]] = {
    "dec": lambda number: [{"_py": "decimal", "v": f"{number}.5"}, {"v": Decimal128(f"{number}.5"), "_py": "decimal"}],
    "when": lambda number: [{"_py": "datetime", "iso": TYPED["when"](number).isoformat()}],
    "day": lambda number: [{"v": _zero(number).replace(hour=5), "_py": "date"}],
    "level": lambda number: [{"_py": "enum", "cls": f"{Level.__module__}.Level", "name": f"L{number}"}],
    "span": lambda number: [{"_py": "timedelta", "v": number, "days": 0, "seconds": number, "microseconds": 5}],
    "big": lambda number: [{"_py": "int", "v": str(number)}],
    "pair": lambda number: [{"v": [number, "x"], "_py": "tuple"}],
    "deq": lambda number: [{"_py": "deque", "maxlen": 2, "v": [0, number, number + 1]}],
}
"""Stored forms of the same values that are valid, and not those that the bot writes."""


def flatten(data: Any, without: frozenset[str] = frozenset()) -> Leaves:
    """The leaves of a user's, chat's or bot's data.

    Args:
        data: The data.
        without: Keys at the top that do not count.
    """
    leaves: Leaves = {}
    for key, value in data.items():
        if key not in without:
            _flatten(value, (key,), leaves)
    return leaves


def _flatten(value: Any, path: Path, leaves: Leaves) -> None:  # noqa: C901  (a dispatch)
    kind = type(value)
    if kind is str:
        leaves[path] = value
    elif kind is dict:
        leaves[path] = IS_THERE
        for key, inner in value.items():
            _flatten(inner, (*path, key), leaves)
    elif kind is set:
        leaves[path] = IS_THERE
        for element in value:
            leaves[(*path, ELEMENT, element)] = 1
    elif kind is list:
        leaves[path] = IS_THERE
        for element in value:
            place = (*path, ELEMENT, element)
            leaves[place] = leaves.get(place, 0) + 1  # type: ignore[operator]
    elif path == (COUNT,):
        leaves[path] = IS_THERE
        digits = reversed(f"{value:x}")
        leaves.update({(*path, ELEMENT, place): int(digit, 16) for place, digit in enumerate(digits) if digit != "0"})
    elif kind is Basket:
        leaves[path] = IS_THERE
        for name, inner in vars(value).items():
            _flatten(inner, (*path, name), leaves)
    elif kind is collections.deque:
        leaves[path] = ("deque", *value)
    else:
        leaves[path] = (kind.__name__, value)
