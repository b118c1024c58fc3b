"""Writes of one document, and why one failed: the types between the writer and the driver; no I/O.

Every write is a compare-and-set: it expects its document in a certain state, and does nothing otherwise. Its `guard`
names the `rev` that the document must have; an insertion expects that there is no document.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from ptb_mongo.errors import RefusedError

__all__ = ["Delete", "Failure", "Insert", "Operation", "Update", "Updated"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Changes(Protocol):
    """The changes of a document."""

    keeps_forms: bool
    """Whether the document keeps values that are stored in a form other than ours."""

    def update(self, rev: str, extra: Mapping[str, Any] = ...) -> Any:
        """The operators or the pipeline, which also set `rev` and the extra fields."""

    def guard(self) -> dict[str, Any]:
        """A filter, besides the operation's own guard, under which the update means what it should."""

    def steps(self, rev: str, now: datetime, extra: Mapping[str, Any] = ...) -> list[dict[str, Any]]:
        """The same as several updates without pipelines."""


class Update(NamedTuple):
    """Change one document.

    Attributes:
        id: Its `_id`.
        guard: A filter that must match; otherwise the operation fails as *outdated*.
        changes: What to change, with its own guard.
        rev: The writer's id and the number of its write.
        extra: More top-level fields to set.
    """

    id: Any
    guard: Mapping[str, Any]
    changes: Changes
    rev: str
    extra: Mapping[str, Any] = _NOTHING


class Delete(NamedTuple):
    """Delete one document.

    Attributes:
        id: Its `_id`.
        guard: A filter that must match; otherwise the operation fails as *outdated*.
        mark: Fields that are set first, in one command with the other writes, so that the document is marked even if
            the process is killed before the deletion; may be empty.
        rev: The `rev` that is set with the mark.
    """

    id: Any
    guard: Mapping[str, Any]
    mark: Mapping[str, Any] = _NOTHING
    rev: str = ""


class Insert(NamedTuple):
    """Insert one document; fails as *outdated* if it exists.

    Attributes:
        id: Its `_id`.
        fields: Its fields, including `rev`; `updated_at` is added.
    """

    id: Any
    fields: Mapping[str, Any]


class Failure(NamedTuple):
    """Why one write of several was not done.

    Attributes:
        reason: What the server said, without any of the document's content.
        outdated: The document is not in the expected state, or has changed since: read it, merge, and save again.
        oversized: The update is too large to be sent.
        for_now: The reason may have nothing to do with the document.
        code: The server's error code, if there is one.
        path: The path in the document, if it is known.
    """

    reason: str
    outdated: bool = False
    oversized: bool = False
    for_now: bool = False
    code: int | None = None
    path: str = ""


Operation = Update | Delete | Insert


class Updated(NamedTuple):
    """The outcome of an update of several documents.

    Attributes:
        matched: How many documents matched or were inserted.
        made: The positions of the updates that inserted one.
        refused: Why the server refuses others, by their positions.
    """

    matched: int
    made: set[int]
    refused: Mapping[int, RefusedError] = {}
