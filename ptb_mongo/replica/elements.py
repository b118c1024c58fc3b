"""How a list or a set has changed, where that can be said by what came and what went; and guards. Pure.

Three versions are compared: the elements as they are stored (which may be in another form than ours), the same
in our form, and those that are wanted.
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
"""The largest document that stands in a guard, in bytes."""
_GUARDED: Final = 256 * 1024  # the same for every other value
_GUARDED_ELEMENT: Final = 2 * 1024  # and for the first and last element of a list
_WORTH: Final = 100  # bytes of a list that must stay for a push; below, it is set whole
_ATTEMPTS: Final = 50  # places at which what is left of a list is looked for


class Push(NamedTuple):
    """Elements that are appended to an array, and how much is cut off at its front.

    Attributes:
        items: What is appended.
        keep: How many elements there are afterwards, if some are cut off.
    """

    items: list[Any]
    keep: int | None

    def operator(self) -> tuple[str, Any]:
        """The operator of an update, and its operand."""
        return "$push", {"$each": self.items} if self.keep is None else {"$each": self.items, "$slice": -self.keep}

    def expression(self, array: str) -> Document:
        """The same as an expression of a pipeline, for the array that another expression gives."""
        pushed = {"$concatArrays": [array, {"$literal": self.items}]}
        return pushed if self.keep is None else {"$slice": [pushed, -self.keep]}


class Add(NamedTuple):
    """Elements that are added to the array of a set."""

    items: list[Any]

    def operator(self) -> tuple[str, Any]:
        """See `Push.operator`."""
        return "$addToSet", {"$each": self.items}

    def expression(self, array: str) -> Document:
        """See `Push.expression`."""
        return {"$concatArrays": [array, {"$setDifference": [{"$literal": self.items}, array]}]}


class Remove(NamedTuple):
    """Elements that are removed from the array of a set, in the form they are stored in."""

    items: list[Any]

    def operator(self) -> tuple[str, Any]:
        """See `Push.operator`."""
        return "$pullAll", self.items

    def expression(self, array: str) -> Document:
        """See `Push.expression`."""
        return {"$filter": {"input": array, "cond": {"$not": {"$in": ["$$this", {"$literal": self.items}]}}}}


ArrayChange = Push | Add | Remove


def pushed_as_stored(before: object, after: object) -> tuple[Path, list[Any], Push] | None:
    """How a list or a deque becomes another by `$push`, if all that stays is stored in our form; otherwise `None`.

    Nothing is taken apart for that: a long history is compared in C.

    Args:
        before: The value as it is stored.
        after: What it is to be.

    Returns:
        Where the array lies in the value, what is stored there, and the push.
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
    if not same(*kept) or (len(kept[0]) < _WORTH and _size(kept[0]) < _WORTH):  # each takes a byte at least
        return None
    return was.inner, old, Push(new[len(old) - cut :], len(new) if cut else None)


def pushed(known: list[Any], wanted: list[Any]) -> Push | None:
    """How one list becomes another by `$push`; `None` if it does not, or if that saves nothing.

    Args:
        known: The elements in our form. A deque may be stored with more than it can hold: these are the last, then.
        wanted: What they are to be.
    """
    old, new = fingerprints(known), fingerprints(wanted)
    cut = _cut(old, new)
    if cut is None or sum(map(len, old[cut:])) < _WORTH:
        return None
    items = wanted[len(old) - cut :]
    return Push(items, len(wanted) if cut else None)


def _cut(old: list[Any], new: list[Any]) -> int | None:
    """How many elements went at the front, if nothing but that and appending has happened."""
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
    """How one set becomes another; `None` if it both gains and loses elements, or they cannot be named."""
    old, new = dict(zip(fingerprints(known), known, strict=True)), dict(zip(fingerprints(wanted), wanted, strict=True))
    added = [element for mark, element in new.items() if mark not in old]
    lost = [mark for mark in old if mark not in new]
    if bool(added) == bool(lost):
        return None
    if added:
        return Add(added)
    found = dict(zip(fingerprints(stored), stored, strict=True))
    if len(stored) != len(known) or any(mark not in found for mark in lost):
        return None  # in another form, or in two
    return Remove([found[mark] for mark in lost])


def push_guard(path: Path, stored: list[Any], push: Push) -> dict[Path, Document]:
    """Under which a push does what it says: nobody else has appended anything, or cut anything off."""
    guard: dict[Path, Document] = {path: {"$size": len(stored)}}
    ends = {len(stored) - 1} if push.keep is None else {0, len(stored) - 1}
    for index in sorted(ends):
        if _size(stored[index]) <= _GUARDED_ELEMENT:
            # Nothing but `$eq`: an element that is a document may have a field of that number.
            guard |= {(*path, str(index)): {"$eq": stored[index]}}
    return guard


def set_guard(path: Path, tag: str) -> dict[Path, Document]:
    """Under which a set's array, which lies at a path, is a set's array."""
    return {(*path[:-1], TAG): {"$eq": tag}, path: {"$type": "array"}}


def fields_guard(path: Path, stored: Document, inner: Path) -> dict[Path, Document]:
    """Under which the fields of a value, which lies at a path, are still the fields of the same kind of value.

    A document at the top need not be there yet.
    """
    if inner:
        outside = [name for name in stored if name not in inner and addressable(name)]
        return {(*path, name): {"$eq": stored[name]} for name in outside}
    return {path: {"$type": "object"}, (*path, TAG): {"$exists": False}} if len(path) > 1 else {}


def _size(value: Any) -> int:
    """About how many bytes a value takes."""
    return len(fingerprints([value])[0])


def equal_to(path: Path, stored: Any, largest: int = _GUARDED) -> dict[Path, Document]:
    """A guard: the same value stands at a path, up to the type of a number.

    For a list of more than 256 kB it says only that it has as many elements, for any other value of that size nothing.
    """
    kind = type(stored)
    if kind in {dict, list, str, bytes} and _size(stored) > largest:
        found = elements_inside(stored)
        return {} if found is None else {path + found.inner: {"$size": len(found.items)}}
    if kind is list:
        return {path: {"$eq": stored, "$size": len(stored)}}  # `$eq` alone would also find it inside a list
    exists = {"$exists": True} if stored is None else {}
    return {path: {"$eq": stored, **exists, "$not": {"$type": "array"}}}
