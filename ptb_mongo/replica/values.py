"""Plain documents as values: whether two are the same, and what is inside them.

Comparison is exact: 1, 1.0 and True differ, and so do the same keys in a different order.
"""

from __future__ import annotations

import marshal
import math
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

from ptb_mongo.codec.documents import dump
from ptb_mongo.codec.keys import TAG

__all__ = [
    "MISSING",
    "Document",
    "Elements",
    "Keys",
    "Path",
    "addressable",
    "common",
    "comparable",
    "elements_inside",
    "fields_inside",
    "fingerprints",
    "same",
    "value_at",
    "without_state",
]

Path = tuple[str, ...]
"""The keys that lead to a field, as they are stored."""

Keys = tuple[str, ...]
"""The keys that lead to a value, as a user sees it: each in the form that we store, but without the "state" or "v" that
the form of an object or a `Counter` inserts; the index of a list's element is the key of an integer."""

Document = dict[str, Any]


class _Missing:
    """The value of a field that does not exist."""

    def __repr__(self) -> str:
        return "MISSING"

    def __deepcopy__(self, _: object) -> _Missing:
        return self

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()

_SEQUENCES: Final = frozenset({"list", "deque", "set", "frozenset"})
_INNER: Final = {
    "object": "state",
    **dict.fromkeys(("namedtuple", "dict", "OrderedDict", "Counter", "defaultdict"), "v"),
}


def same(one: object, other: object) -> bool:
    """Whether two plain values are the same: type, value, and the order of keys at every level."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict or kind is list:
        return len(one) == len(other) and _same_contents(one, other)  # type: ignore[arg-type]
    if kind is float:
        if one != one:  # noqa: PLR0124  (NaN)
            return other != other  # noqa: PLR0124
        return one == other and math.copysign(1.0, one) == math.copysign(1.0, other)  # type: ignore[arg-type]
    return one == other


def _same_contents(one: object, other: object) -> bool:
    try:
        # As exact as BSON and three times as fast; up to version 2 of marshal's format, equal values give equal bytes.
        return marshal.dumps(one, 2) == marshal.dumps(other, 2)  # type: ignore[arg-type]
    except ValueError:  # for example, a date
        return dump({"": one}) == dump({"": other})


def fields_inside(value: object) -> tuple[Path, Document] | None:
    """The path and the fields by which a value is merged; `None` for a value that is merged as a whole."""
    if type(value) is not dict:
        return None
    tag = value.get(TAG)
    if tag is None:
        return (), value
    inner = _INNER.get(tag) if type(tag) is str else None
    fields = value.get(inner) if inner else None
    return ((inner,), fields) if inner and type(fields) is dict and TAG not in fields else None


class Elements(NamedTuple):
    """The elements by which a value is merged.

    Attributes:
        kind: The kind of their container.
        inner: Their path in the value.
        items: The elements themselves.
        maxlen: How many a deque can hold; `None` if there is no limit.
        beside: What a subclass has besides its elements: its name and its attributes.
    """

    kind: Literal["list", "deque", "set", "frozenset"]
    inner: Path
    items: list[Any]
    maxlen: int | None = None
    beside: Any = None

    @property
    def is_set(self) -> bool:
        """Whether their order has no meaning."""
        return self.kind == "set" or self.kind == "frozenset"  # noqa: PLR1714  (mypy narrows this)

    def is_like(self, other: Elements) -> bool:
        """Whether both can be merged: the same kind, the same limit, and the same class."""
        return self.kind == other.kind and self.maxlen == other.maxlen and same(self.beside, other.beside)


def elements_inside(value: object) -> Elements | None:
    """The elements of a list, a deque or a set, or of a subclass; `None` for every other value."""
    if type(value) is list:
        return Elements("list", (), value)
    if type(value) is not dict:
        return None
    tag = value.get(TAG)
    if type(tag) is not str or tag not in _SEQUENCES:
        return None
    items, maxlen = value.get("v"), value.get("maxlen") if tag == "deque" else None
    if type(items) is not list or not (maxlen is None or (type(maxlen) is int and maxlen >= 0)):
        return None
    beside = {key: value[key] for key in ("cls", "state") if key in value} or None
    return Elements(tag, ("v",), items, maxlen, beside)  # type: ignore[arg-type]


def without_state(value: object) -> tuple[Document, Document] | None:
    """A subclass's object without its own attributes, and these attributes; `None` for any other value."""
    if type(value) is not dict or "cls" not in value or "v" not in value or value.get(TAG) == "enum":
        return None
    state = value.get("state", {})
    if type(state) is not dict or TAG in state:
        return None
    return {key: part for key, part in value.items() if key != "state"}, state


def fingerprints(items: Iterable[object]) -> list[bytes]:
    """For each value, bytes that are equal if and only if the values are `same`."""
    return [_fingerprint(item) for item in items]


def _fingerprint(item: object) -> bytes:
    try:
        return marshal.dumps(item, 2)  # type: ignore[arg-type]
    except ValueError:
        return dump({"": item})


def comparable(one: object, other: object) -> tuple[Path, Document, Document] | None:
    """The fields of two values of the same kind that can be compared field by field."""
    first, second = fields_inside(one), fields_inside(other)
    if first is None or second is None or first[0] != second[0]:
        return None
    if first[0]:
        inner = first[0][0]
        outside = [{key: item for key, item in value.items() if key != inner} for value in (one, other)]  # type: ignore[attr-defined]
        if not same(*outside):
            return None
    return first[0], first[1], second[1]


def common(one: Any, other: Any) -> Any:
    """What two plain values have in common: equal fields, and the beginning of lists; `MISSING` if nothing."""
    if same(one, other):
        return one
    if type(one) is dict and type(other) is dict and TAG not in one and TAG not in other:
        both = {key: common(value, other[key]) for key, value in one.items() if key in other}
        return {key: value for key, value in both.items() if value is not MISSING}
    if type(one) is list and type(other) is list:
        shorter, longer = sorted((one, other), key=len)
        return shorter if same(shorter, longer[: len(shorter)]) else MISSING
    return MISSING


def value_at(document: Document, path: Path) -> Any:
    """The value at a path; `MISSING` if there is none."""
    value: Any = document
    for key in path:
        value = value.get(key, MISSING) if type(value) is dict else MISSING
    return value


def addressable(key: str) -> bool:
    """Whether a stored key can be part of an update path (all of ours can; other services may write any key)."""
    return bool(key) and key[0] != "$" and "." not in key and "\0" not in key
