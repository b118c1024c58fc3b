"""A document that is being changed: its parts are copied when something in them changes first."""

from __future__ import annotations

import datetime as dtm
from typing import Any

from mongod.errors import DOLLAR_PREFIXED, IMMUTABLE_FIELD, PATH_NOT_VIABLE, StatementError
from mongod.values import MISSING, Document

__all__ = ["Path", "Work"]

Path = tuple[str, ...]


class Work:
    """A document that is being changed.

    Args:
        document: The old version; it is left as it is.
        now: The server's time.
        inserting: Whether it is one that an upsert makes.

    Attributes:
        document: What it has become; the old version itself, if nothing changed.
        written: The paths whose values the change stream tells; those of new documents end where they begin.
        removed: The paths that are gone.
    """

    def __init__(self, document: Document, now: dtm.datetime, *, inserting: bool = False) -> None:
        self.document = document
        self.now = now
        self.inserting = inserting
        self.written: list[Path] = []
        self.removed: list[Path] = []
        self._created: set[Path] = set()
        self._fresh: dict[int, Any] = {}

    def value(self, path: Path, *, lenient: bool = False) -> Any:
        """What is at a path; one that leads through what holds no such fields is refused, unless `lenient`."""
        value: Any = self.document
        for position, part in enumerate(path):
            if type(value) is dict:
                value = value.get(part, MISSING)
                if value is MISSING:
                    return MISSING
            elif type(value) is list and _is_index(part):
                index = int(part)
                if index >= len(value):
                    return MISSING
                value = value[index]
            elif lenient:
                return MISSING
            else:
                raise StatementError(
                    PATH_NOT_VIABLE,
                    f"Cannot create field '{part}' in element {{{path[position - 1]}: {value!r}}}",
                )
        return value

    def put(self, path: Path, value: Any) -> None:
        """Sets a value, with what is missing on the way; notes where that begins."""
        self._check(path[0])
        node: Any = self._changed_root()
        last = len(path) - 1
        for position, part in enumerate(path):
            where: Any = int(part) if type(node) is list else part
            is_new = where >= len(node) if type(node) is list else part not in node
            if position == last or is_new:
                for name in reversed(path[position + 1 :]):
                    value = {name: value}
                if type(node) is list and is_new:
                    node.extend([None] * (where - len(node)))
                    node.append(value)
                else:
                    node[where] = value
                self._note(path[: position + 1], path)
                return
            node = self._changed(node, where)

    def _check(self, name: str, *, removed: bool = False) -> None:
        if name == "_id" and name in self.document:
            text = "Performing an update on the path '_id' would modify the immutable field '_id'"
            raise StatementError(IMMUTABLE_FIELD, text)
        if name[:1] == "$" and not self.inserting and not removed:
            raise StatementError(DOLLAR_PREFIXED, f"The dollar ($) prefixed field '{name}' is not allowed")

    def _note(self, written: Path, path: Path) -> None:
        if self._created and any(written[:end] in self._created for end in range(1, len(written))):
            return  # the document around it is new, too
        self.written.append(written)
        if len(written) < len(path):
            self._created.add(written)

    def remove(self, path: Path) -> None:
        """Removes a field."""
        self._check(path[0], removed=True)
        node: Any = self._changed_root()
        for part in path[:-1]:
            node = self._changed(node, int(part) if type(node) is list else part)
        if type(node) is list:  # the places of the others stay
            node[int(path[-1])] = None
            self.written.append(path)
        else:
            del node[path[-1]]
            self.removed.append(path)

    def _changed_root(self) -> Document:
        if not self._fresh:
            self.document = dict(self.document)
            self._fresh[id(self.document)] = self.document
        return self.document

    def _changed(self, node: Any, where: Any) -> Any:
        inner = node[where]
        if id(inner) not in self._fresh:
            inner = node[where] = inner.copy()
            self._fresh[id(inner)] = inner
        return inner


def _is_index(part: str) -> bool:
    return part.isdecimal() and part.isascii()
