"""How the oplog tells of an update by a pipeline: by its difference, if that is smaller than the new version.

The server walks through both versions at once, so a field that has moved counts as one that is new, and it estimates
the size of what it would write down. Both are done here as MongoDB 6.0 does them, to the byte, since it is by that
estimate that a change stream tells of an update or of a replacement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import bson

from mongod.values import OPTIONS, Document, identical

__all__ = ["Difference", "difference"]

_ENTRY: Final = 15  # around the difference in the oplog
_DOCUMENT: Final = 5
_ARRAY: Final = 9
_SECTION: Final = 8
_NAME: Final = 2  # besides the name itself
_NEW_LENGTH: Final = 7


@dataclass(slots=True)
class Difference:
    """What differs between two documents, or two arrays.

    Attributes:
        updated: The new values, by path.
        removed: The paths that are gone.
        truncated: The arrays that became shorter, and their lengths.
        size: What it takes in the oplog, in bytes.
    """

    size: int
    updated: dict[str, Any] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    truncated: list[dict[str, Any]] = field(default_factory=list)

    def include(self, name: str, inner: Difference) -> None:
        """Adds what differs inside a field."""
        self.updated |= {f"{name}.{path}": value for path, value in inner.updated.items()}
        self.removed += [f"{name}.{path}" for path in inner.removed]
        self.truncated += [
            {**one, "field": f"{name}.{one['field']}" if one["field"] else name} for one in inner.truncated
        ]


def difference(before: Document, after: Document) -> Difference | None:
    """What differs between two versions; `None` if the new version itself is smaller."""
    return _of_documents(before, after, _ENTRY)


def _of_documents(before: Document, after: Document, padding: int = 0) -> Difference | None:
    found = Difference(_DOCUMENT + padding)
    old, new = list(before.items()), list(after.items())
    sections = set()
    passed: set[str] = set()
    at, place = 0, 0
    while at < len(old) and place < len(new):
        (name, value), (new_name, new_value) = old[at], new[place]
        at += 1
        if name != new_name:
            passed.add(name)
            continue
        place += 1
        if identical(value, new_value):
            continue
        if (inner := _inside(value, new_value)) is not None:
            found.include(name, inner)
            found.size += _length(name) + _NAME + inner.size + 1
        else:
            found.updated[name] = new_value
            found.size += _length(name) + _NAME + _size(new_value)
            sections.add("updates")
    added = new[place:]
    gone = [name for name, _ in old[at:]]
    for name, value in added:
        found.updated[name] = value
        found.size += _length(name) + _NAME + _size(value)
        sections.add("inserts")
        passed.discard(name)
    for name in [*gone, *sorted(passed)]:
        found.removed.append(name)
        found.size += _length(name) + _NAME + 1
        sections.add("deletes")
    found.size += _SECTION * len(sections)
    return found if found.size < _size(after) else None


def _of_arrays(before: list[Any], after: list[Any]) -> Difference | None:
    found = Difference(_ARRAY)
    for index, value in enumerate(after):
        name = str(index)
        if index < len(before) and identical(before[index], value):
            continue
        inner = _inside(before[index], value) if index < len(before) else None
        if inner is not None:
            found.include(name, inner)
        else:
            found.updated[name] = value
        found.size += len(name) + 1 + _NAME + (inner.size if inner is not None else _size(value))
    if len(after) < len(before):
        found.truncated.append({"field": "", "newSize": len(after)})
        found.size += _NEW_LENGTH
    return found if found.size < _size(after) else None


def _inside(before: Any, after: Any) -> Difference | None:
    if type(before) is not type(after):
        return None
    if type(before) is dict:
        return _of_documents(before, after)
    return _of_arrays(before, after) if type(before) is list else None


def _length(name: str) -> int:
    return len(name.encode())


def _size(value: Any) -> int:
    """The bytes of a value; of a document, as many as when it stands alone."""
    return len(bson.encode({"": value}, codec_options=OPTIONS)) - 7
