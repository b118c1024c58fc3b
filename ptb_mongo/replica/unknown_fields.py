"""Fields that another version of a class has stored, and this one does not know, stay when it stores an object. Pure.

While a bot is being updated, an old and a new version of a class write the same objects. The old one has no room for a
new field, and the new one sets a default for a field that the old one does not store. Neither is a change by the
program, so it is not written; otherwise, the two would undo each other's work forever.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from ptb_mongo.codec import TAG
from ptb_mongo.replica.values import MISSING, Document, fingerprints, same

__all__ = ["as_stored"]

_CLASS: Final = "cls"


def as_stored(before: Any, known: Any, after: Any) -> Any:
    """The value to store: with fields that are unknown here, and without defaults that are not stored yet.

    The caller must check that it restores to `after`: a class with a `__setstate__` may make something else of it.

    Args:
        before: What is stored.
        known: The same, in the form that we store.
        after: The wanted value, in that form.
    """
    if same(known, after):
        return before
    if type(before) is dict and type(known) is dict and type(after) is dict:
        kinds = {str(one.get(TAG)) for one in (before, known, after)}
        return _fields(before, known, after) if len(kinds) == 1 and known.get(_CLASS) == after.get(_CLASS) else after
    if type(before) is list and type(known) is list and type(after) is list and len(before) == len(known):
        return _elements(before, known, after)
    return after


def _fields(before: Document, known: Document, after: Document) -> Document:
    names = [name for name in after if name in before or not same(known.get(name, MISSING), after[name])]
    unknown = {name: None for name in before if name not in known and name not in after}
    common = [name for name in known if name in after]
    if common == list(after)[: len(common)]:  # the stored order with new fields at the end: nothing moves
        names = [*(name for name in before if name in after or name in unknown), *names]
    return {name: _field(name, before, known, after) for name in dict.fromkeys((*names, *unknown))}


def _field(name: str, before: Document, known: Document, after: Document) -> Any:
    if name not in after:
        return before[name]
    if name not in before or name not in known or name == _CLASS:
        return after[name]
    return as_stored(before[name], known[name], after[name])


def _elements(before: list[Any], known: list[Any], after: list[Any]) -> list[Any]:
    """Matches elements by their content; changed ones by their position, if their number is the same as before."""
    stored: dict[bytes, deque[Any]] = {}
    for mark, element in zip(fingerprints(known), before, strict=True):
        stored.setdefault(mark, deque()).append(element)
    result = []
    for index, (mark, element) in enumerate(zip(fingerprints(after), after, strict=True)):
        if stored.get(mark):
            result.append(stored[mark].popleft())
        elif len(known) == len(after):
            result.append(as_stored(before[index], known[index], element))
        else:
            result.append(element)
    return result
