"""Three-way merges of plain documents: pure functions.

The rule of a merge: what only one side changed since `base` is kept, whichever side that is; what both changed alike
is kept once; what both changed differently is a conflict, decided for that path alone.

- Documents merge field by field, at every level; so do the attributes of objects, the fields of named tuples, and
  the entries of `OrderedDict`, `Counter` and `defaultdict`, and of subclasses. A subclass's elements and its own
  attributes are merged one by one.
- Sets merge element by element: what either side added is kept, what either side removed is gone. No conflicts.
- Lists and deques merge as in diff3: edits in different places are kept. What both inserted at the same place follows
  one after the other, the database's first; what both removed is removed. Only overlapping edits are a conflict:
  element by element if all three sides have the same number of elements there, otherwise as one stretch.
- Everything else is one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from ptb_mongo.codec import TAG, escape, sort_elements
from ptb_mongo.replica.sequences import hunks
from ptb_mongo.replica.values import (
    MISSING,
    Document,
    Elements,
    Keys,
    comparable,
    elements_inside,
    fingerprints,
    same,
    without_state,
)

__all__ = ["Resolve", "Resolver", "Side", "merge"]

Side = Literal["local", "remote"]

Resolve = Callable[[Keys, Any, Any, Any], Any]
"""Decides a conflict: the keys, then the values of base, local and remote (`MISSING` for none)."""


@runtime_checkable
class Resolver(Protocol):
    """Decides conflicts."""

    def __call__(self, keys: Keys, base: Any, local: Any, remote: Any, /) -> Any:
        """The value to use; `MISSING` for none."""

    def accumulates(self, keys: Keys, /) -> bool:
        """Whether to ask about this value, or one inside it, even if both sides made the same change."""

    def hunk_of(self, keys: Keys, /) -> Side | None:
        """The side whose edit stays if two edits of a list overlap; `None` to be asked with the whole lists."""


class _Asked:
    """A plain function as a resolver."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def __call__(self, keys: Keys, base: Any, local: Any, remote: Any, /) -> Any:
        return self._resolve(keys, base, local, remote)

    def accumulates(self, _: Keys, /) -> bool:
        return False

    def hunk_of(self, _: Keys, /) -> None:
        return None


def merge(base: Document, local: Document, remote: Document, resolve: Resolver | Resolve) -> Document:
    """Merges two changed versions of a document.

    All three must be in the form that we store: another form of the same value counts as a change.

    Args:
        base: The version that both sides started from.
        local: The bot's version.
        remote: The database's version.
        resolve: Decides what both sides changed differently, and nothing else, except for what accumulates. A plain
            function is asked about each conflict, with whole lists if edits of a list overlap.
    """
    return _merge_fields(base, local, remote, (), resolve if isinstance(resolve, Resolver) else _Asked(resolve))


def _merge_fields(base: Document, local: Document, remote: Document, keys: Keys, resolve: Resolver) -> Document:
    merged: Document = {}
    for key in _merged_order(base, local, remote):
        value = _merge_value(
            base.get(key, MISSING), local.get(key, MISSING), remote.get(key, MISSING), (*keys, key), resolve
        )
        if value is not MISSING:
            merged[key] = value
    return merged


def _merge_value(base: Any, local: Any, remote: Any, keys: Keys, resolve: Resolver) -> Any:
    alike = same(local, remote)
    if alike and (same(base, local) or not resolve.accumulates(keys)):
        return local
    if not alike and same(base, remote):
        return local
    if not alike and same(base, local):
        return remote
    if inside := comparable(local, remote):
        inner, mine, theirs = inside
        known = comparable(base, local)
        fields = _merge_fields(known[1] if known else {}, mine, theirs, keys, resolve)
        return {**local, inner[0]: fields} if inner else fields
    if not alike and (ours := elements_inside(local)) and (others := elements_inside(remote)) and ours.is_like(others):
        merged = _merge_elements(base, ours, others, keys, resolve)
        if merged is not None:
            return {**local, ours.inner[0]: merged} if ours.inner else merged
    if not alike and (parts := _parts(base, local, remote)) is not None:
        (before, old_state), (mine, my_state), (theirs, their_state) = parts
        merged_base = _merge_value(before, mine, theirs, keys, resolve)
        if type(merged_base) is not dict or merged_base.get("cls") != mine["cls"]:
            return merged_base  # a strategy has decided for another value
        state = _merge_fields(old_state, my_state, their_state, keys, resolve)
        return {**merged_base, "state": state} if state else merged_base
    return resolve(keys, base, local, remote)


def _parts(*versions: Any) -> list[tuple[Document, Document]] | None:
    """The elements and attributes of a value, if it is an object of a subclass with attributes in all versions."""
    parts = [part for value in versions if (part := without_state(value)) is not None]
    if len(parts) < len(versions) or not any(state for _, state in parts):
        return None
    return parts if len({(str(one.get(TAG)), str(one["cls"])) for one, _ in parts}) == 1 else None


def _merged_order(base: Mapping[str, Any], local: Mapping[str, Any], remote: Mapping[str, Any]) -> Iterable[str]:
    """The database's order, followed by what is new here; but our order if only we have changed it."""
    shared = [key for key in local if key in base]
    reordered = shared != [key for key in base if key in local] or list(remote) == list(base)
    first, second = (local, remote) if reordered else (remote, local)
    return dict.fromkeys((*first, *second))


def _merge_elements(base: Any, local: Elements, remote: Elements, keys: Keys, resolve: Resolver) -> list[Any] | None:
    """The merged elements; `None` if the whole value is in conflict."""
    found = elements_inside(base)
    known = found if found is not None and found.kind == local.kind else None
    if local.is_set:
        return _merge_sets(known.items if known else [], local.items, remote.items)
    if known is None and not (base is MISSING or base is None):
        return None  # both have replaced something else by a list
    merged = _merge_lists(known.items if known else [], local.items, remote.items, keys, resolve)
    if merged is not None and local.maxlen is not None:
        del merged[: max(len(merged) - local.maxlen, 0)]
    return merged


def _merge_sets(base: list[Any], local: list[Any], remote: list[Any]) -> list[Any]:
    known, ours, theirs = _by_element(base), _by_element(local), _by_element(remote)
    merged = []
    for element in {**ours, **theirs}:
        mine, other = ours.get(element, MISSING), theirs.get(element, MISSING)
        before = known.get(element, MISSING)
        if before is not MISSING and (mine is MISSING or other is MISSING):
            continue  # removed
        # One that both sides have may differ in form, such as 1 and True: to Python, they are the same element.
        merged.append(other if mine is MISSING or same(before, mine) else mine)
    sort_elements(merged)
    return merged


def _by_element(items: list[Any]) -> dict[object, Any]:
    """Elements by what identifies them in a set: numbers by equality."""
    numbers = {bool, int, float}
    return {
        item if type(item) in numbers else mark: item for item, mark in zip(items, fingerprints(items), strict=True)
    }


def _merge_lists(
    base: list[Any], local: list[Any], remote: list[Any], keys: Keys, resolve: Resolver
) -> list[Any] | None:
    marks = fingerprints(base), fingerprints(local), fingerprints(remote)
    merged: list[Any] = []
    position = 0
    for hunk in hunks(*marks):
        merged += base[position : hunk.base.start]
        position = hunk.base.stop
        before, ours, theirs = base[hunk.base], local[hunk.local], remote[hunk.remote]
        if not hunk.by_remote or (hunk.by_local and marks[1][hunk.local] == marks[2][hunk.remote]):
            merged += ours
        elif not hunk.by_local:
            merged += theirs
        elif not before:
            merged += theirs + ours
        elif hunk.only_removed:
            continue
        elif len(before) == len(ours) == len(theirs):
            for index, (one, mine, other) in enumerate(zip(before, ours, theirs, strict=True), hunk.base.start):
                value = _merge_value(one, mine, other, (*keys, str(escape(index))), resolve)
                if value is not MISSING:
                    merged.append(value)
        elif side := resolve.hunk_of(keys):
            merged += ours if side == "local" else theirs
        else:
            return None
    return merged + base[position:]
