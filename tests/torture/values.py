"""What is stored beside texts and dicts: lists, sets, objects, and values in forms that the bot never writes.

The histories, and the checker, know none of those: for them each document is a `tree` of dicts. A list or set is a dict
there, with its elements as keys and how often each occurs as values, as each element is somebody's own.
"""

from __future__ import annotations

import datetime as dtm
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Keys = tuple[str, ...]
"""The keys that lead to a value in a document."""
Value = Any
"""A text, a number, a dict of them, or `None` where there is nothing."""

EXCLUDED: Final = "cache"
"""The key of each document that bots fill, and must never store."""
SECRET: Final = "never stored: "
TRUSTED: Final = ("values",)
"""The module of the classes of what is stored."""


@dataclass
class Thing:
    """An object that is stored; each bot and service has an attribute of its own."""

    log: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    items: dict[str, str] = field(default_factory=dict)
    bot0: str | None = None
    bot1: str | None = None
    bot2: str | None = None
    service0: str | None = None
    service1: str | None = None


@dataclass(frozen=True)
class Container:
    """A list or a set that all share, each with elements of their own.

    Attributes:
        path: Where it is for the bot.
        field: And where the array is in MongoDB.
        cutter: Who cuts a list off at the front; as nobody else removes anything, and the end is left alone, edits
            never overlap. Sets need none: there, everybody removes what is their own.
    """

    path: Keys
    kind: Literal["list", "set"]
    field: str
    cutter: str = ""


CONTAINERS: Final = (
    Container(("l0",), "list", "data.l0", "bot0"),
    Container(("l1",), "list", "data.l1", "service0"),
    Container(("c", "l2"), "list", "data.c.l2", "bot1"),
    Container(("o", "log"), "list", "data.o.state.log", "service1"),
    Container(("t0",), "set", "data.t0.v"),
    Container(("c", "t1"), "set", "data.c.t1.v"),
    Container(("o", "tags"), "set", "data.o.state.tags.v"),
)
LISTS: Final = tuple(container.path for container in CONTAINERS if container.kind == "list")
CUT_ABOVE: Final = 16  # elements of a list
CUT_TO: Final = 12


def seed() -> dict[str, Any]:
    """A document's data in the beginning, as a service writes it."""

    def empty_set() -> dict[str, Any]:
        return {"_py": "set", "v": []}

    thing = {"log": [], "tags": empty_set(), "items": {}}
    return {
        "l0": [],
        "l1": [],
        "c": {"l2": [], "t1": empty_set()},
        "t0": empty_set(),
        "o": {"_py": "object", "cls": "values.Thing", "state": thing},
    }


def field_of(path: Keys) -> str:
    """Where a value is in MongoDB."""
    first, *rest = path
    return ".".join(("data", first, *(["state"] if first == "o" and rest else []), *rest))


def tree(value: object) -> Value:
    """A value as the histories have it."""
    if isinstance(value, Mapping):
        return {key: tree(inner) for key, inner in value.items()}
    if isinstance(value, Thing):
        return {key: tree(inner) for key, inner in vars(value).items() if inner is not None}
    if isinstance(value, list | set):
        return dict(Counter(map(_text, value)))
    return value if value is None else _text(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | deque):
        return f"{type(value).__name__} {' '.join(map(_text, value))}"
    return f"{type(value).__name__} {value}"


def exact(value: object) -> Value:
    """A value as JSON, with types and the order of lists, to compare what is in memory with what is stored."""
    if isinstance(value, Mapping):
        return {key: exact(inner) for key, inner in value.items()}
    if isinstance(value, Thing):
        return {"Thing": exact(vars(value))}
    if isinstance(value, set):
        return {"set": sorted(map(_text, value))}
    if isinstance(value, list):
        return [exact(inner) for inner in value]
    return value if value is None else _text(value)


def without_excluded(data: Any) -> Any:
    """A document's data as it may be stored."""
    return {key: value for key, value in data.items() if key != EXCLUDED} if isinstance(data, Mapping) else data


def leaves(data: Value, path: Keys = ()) -> Iterator[tuple[Keys, Value]]:
    """The values of a tree that are no dicts, with their paths."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif data is not None:
        yield path, data


# -- forms that docs/storage-format.md allows, and the bot never writes -------------------------------------


def _number(text: str) -> int:
    return int(text.rpartition(":")[2])


FORMS: Final[tuple[Callable[[str], tuple[Any, Value]], ...]] = (
    lambda text: ({"v": [text], "_py": "tuple"}, f"tuple {text}"),
    lambda text: ({"_py": "deque", "maxlen": 1, "v": ["old", text]}, f"deque {text}"),
    lambda text: ({"_py": "dict", "v": [["k", text]]}, {"k": text}),
    lambda text: (["a", {"v": [text], "_py": "tuple"}], {"a": 1, f"tuple {text}": 1}),
    lambda text: ({"_py": "set", "v": [text, "a"]}, {"a": 1, text: 1}),
    lambda text: ({"_py": "decimal", "v": f"{_number(text)}.50"}, f"Decimal {_number(text)}.50"),
    lambda text: (
        {"_py": "timedelta", "days": 0, "seconds": _number(text), "microseconds": 0, "v": _number(text)},
        f"timedelta {dtm.timedelta(seconds=_number(text))}",
    ),
    lambda text: (
        {"_py": "datetime", "iso": f"2026-01-01T00:00:00.{_number(text):06}"},
        f"datetime {dtm.datetime(2026, 1, 1, microsecond=_number(text))}",  # noqa: DTZ001 - it has no zone
    ),
)
"""What a service stores, and the tree of it, for a text that ends with a number."""


def excluded_in(stored: Collection[bytes]) -> int:
    """How many of these documents hold what must not be stored."""
    return sum(SECRET.encode() in document for document in stored)
