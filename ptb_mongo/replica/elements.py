"""How a list or a set has changed, if additions and removals can express it; and guards. Pure.

Compares three versions: the elements as they are stored (possibly in a form other than ours), the same elements in our
form, and the wanted ones.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ptb_mongo.codec import TAG
from ptb_mongo.replica.values import Document, Path, addressable, elements_inside, fingerprints, same

__all__ = [
    "GUARDED_DOCUMENT",
    "Add",
    "ArrayChange",
    "Push",
    "Remove",
    "equal_to",
    "fields_guard",
    "push_guard",
    "pushed",
    "pushed_as_stored",
    "set_change",
    "set_guard",
]

GUARDED_DOCUMENT: Final = 4 * 1024 * 1024
"""The largest document to put into a guard, in bytes."""
_GUARDED: Final = 256 * 1024  # the same for any other value
_GUARDED_ELEMENT: Final = 2 * 1024  # the same for the first and the last element of a list
_WORTH: Final = 100  # bytes of a list that must remain for a push; with less, the whole list is set
_ATTEMPTS: Final = 50  # positions at which to look for the rest of a list


class Push(NamedTuple):
    """Elements to append to an array, and how many to cut off at its front.

    Attributes:
        items: The elements to append.
        keep: How many elements remain in all, if some are cut off.
    """

    items: list[Any]
    keep: int | None

    def operator(self) -> tuple[str, Any]:
        """The update operator and its operand."""
        return "$push", {"$each": self.items} if self.keep is None else {"$each": self.items, "$slice": -self.keep}

    def expression(self, array: str) -> Document:
        """The same as a pipeline expression, for an array given as an expression."""
        pushed = {"$concatArrays": [array, {"$literal": self.items}]}
        return pushed if self.keep is None else {"$slice": [pushed, -self.keep]}


class Add(NamedTuple):
    """Elements to add to the array of a set."""

    items: list[Any]

    def operator(self) -> tuple[str, Any]:
        """See `Push.operator`."""
        return "$addToSet", {"$each": self.items}

    def expression(self, array: str) -> Document:
        """See `Push.expression`."""
        return {"$concatArrays": [array, {"$setDifference": [{"$literal": self.items}, array]}]}


class Remove(NamedTuple):
    """Elements to remove from the array of a set, in the form in which they are stored."""

    items: list[Any]

    def operator(self) -> tuple[str, Any]:
        """See `Push.operator`."""
        return "$pullAll", self.items

    def expression(self, array: str) -> Document:
        """See `Push.expression`."""
        return {"$filter": {"input": array, "cond": {"$not": {"$in": ["$$this", {"$literal": self.items}]}}}}


ArrayChange = Push | Add | Remove


def pushed_as_stored(before: object, after: object) -> tuple[Path, list[Any], Push] | None:
    """The `$push` that turns a list or a deque into another, if all that stays is stored in our form; otherwise `None`.

    It takes nothing apart: a long history is compared in C.

    Args:
        before: The value as it is stored.
        after: The wanted value.

    Returns:
        The path of the array in the value, the stored array, and the push.
    """
    was, wanted = elements_inside(before), elements_inside(after)
    if was is None or wanted is None or was.is_set or not was.is_like(wanted):
        return None
    old, new = was.items, wanted.items
    if was.maxlen is not None and len(old) > was.maxlen:
        return None
    cut = _cut(old, new)
    if cut is None:
        return None
    kept = old[cut:], new[: len(old) - cut]
    if not same(*kept) or (len(kept[0]) < _WORTH and _size(kept[0]) < _WORTH):  # each takes at least a byte
        return None
    return was.inner, old, Push(new[len(old) - cut :], len(new) if cut else None)


def pushed(known: list[Any], wanted: list[Any]) -> Push | None:
    """The `$push` that turns one list into another; `None` if there is none, or if it saves nothing.

    Args:
        known: The elements in our form. A deque may be stored with more than it can hold; then these are the last ones.
        wanted: The wanted elements.
    """
    old, new = fingerprints(known), fingerprints(wanted)
    cut = _cut(old, new)
    if cut is None or sum(map(len, old[cut:])) < _WORTH:
        return None
    items = wanted[len(old) - cut :]
    return Push(items, len(wanted) if cut else None)


def _cut(old: list[Any], new: list[Any]) -> int | None:
    """How many elements were removed at the front, if nothing else happened except appending."""
    at = max(len(old) - len(new), 0)
    for _ in range(_ATTEMPTS):
        if at >= len(old) or not new:
            return None
        if old[at:] == new[: len(old) - at]:
            return at
        try:
            at = old.index(new[0], at + 1)
        except ValueError:
            return None
    return None


def set_change(stored: list[Any], known: list[Any], wanted: list[Any]) -> Add | Remove | None:
    """How one set becomes another; `None` if it both gains and loses elements, or if they cannot be identified."""
    old, new = dict(zip(fingerprints(known), known, strict=True)), dict(zip(fingerprints(wanted), wanted, strict=True))
    added = [element for mark, element in new.items() if mark not in old]
    lost = [mark for mark in old if mark not in new]
    if bool(added) == bool(lost):
        return None
    if added:
        return Add(added)
    found = dict(zip(fingerprints(stored), stored, strict=True))
    if len(stored) != len(known) or any(mark not in found for mark in lost):
        return None  # stored in another form, or in two
    return Remove([found[mark] for mark in lost])


def push_guard(path: Path, stored: list[Any], push: Push) -> dict[Path, Document]:
    """The guard of a push: nobody else has appended anything, or cut anything off."""
    guard: dict[Path, Document] = {path: {"$size": len(stored)}}
    ends = {len(stored) - 1} if push.keep is None else {0, len(stored) - 1}
    for index in sorted(ends):
        if _size(stored[index]) <= _GUARDED_ELEMENT:
            # Only `$eq` is safe: the path also reaches a field of that name inside an element that is a document.
            guard |= {(*path, str(index)): {"$eq": stored[index]}}
    return guard


def set_guard(path: Path, tag: str) -> dict[Path, Document]:
    """The guard of a change to a set's array: there is still a set's array at the path."""
    return {(*path[:-1], TAG): {"$eq": tag}, path: {"$type": "array"}}


def fields_guard(path: Path, stored: Document, inner: Path) -> dict[Path, Document]:
    """The guard of changes to the fields of the value at a path: it is still a value of the same kind.

    A top-level document need not exist yet.
    """
    if inner:
        outside = [name for name in stored if name not in inner and addressable(name)]
        return {(*path, name): {"$eq": stored[name]} for name in outside}
    return {path: {"$type": "object"}, (*path, TAG): {"$exists": False}} if len(path) > 1 else {}


def _size(value: Any) -> int:
    """Roughly how many bytes a value takes."""
    return len(fingerprints([value])[0])


def equal_to(path: Path, stored: Any, largest: int = _GUARDED) -> dict[Path, Document]:
    """A guard: the same value is at a path, up to the type of a number.

    For a list of more than 256 kB it checks only the number of elements, for any other value of that size nothing.
    """
    kind = type(stored)
    if kind in {dict, list, str, bytes} and _size(stored) > largest:
        found = elements_inside(stored)
        return {} if found is None else {path + found.inner: {"$size": len(found.items)}}
    if kind is list:
        return {path: {"$eq": stored, "$size": len(stored)}}  # `$eq` alone would also find it inside a list
    exists = {"$exists": True} if stored is None else {}
    return {path: {"$eq": stored, **exists, "$not": {"$type": "array"}}}
