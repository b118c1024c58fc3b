"""Three-way merges of plain documents: pure functions.

The rule of a merge: what only one side changed since `base` is kept, from whichever side; what both changed
alike is kept once; what both changed differently is a conflict, decided for that path alone. Documents merge
field by field, at every level; lists and tagged values are replaced whole, but for the attributes of objects
and the entries of `OrderedDict`, `Counter` and `defaultdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ptb_mongo.replica.values import MISSING, Document, Path, comparable, same

__all__ = ["Resolve", "merge"]

Resolve = Callable[[Path, Any, Any, Any], Any]
"""Decides a conflict: path, then the values of base, local and remote (`MISSING` where there is none)."""


def merge(base: Document, local: Document, remote: Document, resolve: Resolve) -> Document:
    """Brings two changed versions of a document together.

    Args:
        base: What both sides started from.
        local: The bot's version.
        remote: The database's version.
        resolve: Called for each path that both sides changed differently, and for nothing else.
    """
    return _merge_fields(base, local, remote, (), resolve)


def _merge_fields(base: Document, local: Document, remote: Document, path: Path, resolve: Resolve) -> Document:
    merged: Document = {}
    for key in _merged_order(base, local, remote):
        value = _merge_value(
            base.get(key, MISSING), local.get(key, MISSING), remote.get(key, MISSING), (*path, key), resolve
        )
        if value is not MISSING:
            merged[key] = value
    return merged


def _merge_value(base: Any, local: Any, remote: Any, path: Path, resolve: Resolve) -> Any:
    if same(base, remote) or same(local, remote):
        return local
    if same(base, local):
        return remote
    if inside := comparable(local, remote):
        inner, mine, theirs = inside
        known = comparable(base, local)
        fields = _merge_fields(known[1] if known else {}, mine, theirs, path + inner, resolve)
        return {**local, inner[0]: fields} if inner else fields
    return resolve(path, base, local, remote)


def _merged_order(base: Mapping[str, Any], local: Mapping[str, Any], remote: Mapping[str, Any]) -> Iterable[str]:
    """The database's order, then what is new here; but our own order where only we have changed it."""
    shared = [key for key in local if key in base]
    reordered = shared != [key for key in base if key in local]
    first, second = (local, remote) if reordered else (remote, local)
    return dict.fromkeys((*first, *second))
