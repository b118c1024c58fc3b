"""Applies an update to a document, without a server: the model for tests of differences."""

from __future__ import annotations

from typing import Any

from ptb_mongo.replica.elements import Add, ArrayChange, Remove
from ptb_mongo.replica.update import Changes
from ptb_mongo.replica.values import MISSING, Document, Path, fingerprints, value_at


def apply_changes(document: Document, changes: Changes) -> Document:
    """What an update makes of a document; the document itself is left as it is.

    A value on the way that is no document any more is replaced by one.
    """
    result = dict(document)
    for path in changes.unsets:
        _replace_at(result, path, MISSING)
    for path, value in changes.sets:
        _replace_at(result, path, value)
    for path, change in changes.arrays.items():
        _replace_at(result, path, _changed(value_at(result, path), change))
    for parent, names in changes.last.items():
        fields: Any = result
        for key in parent:
            fields = fields[key]
        moved = {name: fields[name] for name in names if name in fields}
        _replace_at(result, parent, {name: value for name, value in fields.items() if name not in moved} | moved)
    return result


def _changed(array: list[Any], change: ArrayChange) -> list[Any]:
    here, those = fingerprints(array), fingerprints(change.items)
    new = [item for item, mark in zip(change.items, those, strict=True) if mark not in here]
    if isinstance(change, Add):
        return [*array, *new]
    if isinstance(change, Remove):
        return [item for item, mark in zip(array, here, strict=True) if mark not in those]
    pushed = [*array, *change.items]
    return pushed if change.keep is None else pushed[len(pushed) - change.keep :]


def _replace_at(document: Document, path: Path, value: Any) -> None:
    if not path:
        document.clear()
        document.update(value)
        return
    *way, last = path
    for key in way:
        inner = document.get(key)
        if type(inner) is not dict:
            if value is MISSING:
                return
            inner = {}
        document[key] = document = dict(inner)
    if value is MISSING:
        document.pop(last, None)
    else:
        document[last] = value
