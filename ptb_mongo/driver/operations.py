"""What is to be done to one document, and why it was refused: between the writer and the driver; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

__all__ = ["Delete", "Failure", "Insert", "Operation", "Upsert"]


class Update(Protocol):
    """What is to be changed in a document."""

    def update(self, rev: str) -> Any:
        """Operators, or a pipeline."""

    def guard(self) -> dict[str, Any]:
        """What must be so for the update to apply; else it fails as *outdated*."""

    def steps(self, rev: str, now: datetime) -> list[dict[str, Any]]:
        """The same without pipelines."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """Update one document, or make it.

    Attributes:
        id: Its `_id`.
        changes: What to change.
        rev: Who writes this, and his which write it is.
    """

    id: Any
    changes: Update
    rev: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one document, if it is there.

    Attributes:
        id: Its `_id`.
        guard: What must be so for that; else the document stays, which is no failure.
        mark: What is set first, in one command with the other writes: whoever is killed before the deletion has
            left it marked. Nothing is, if this is empty.
        rev: The `rev` that is set with that.
    """

    id: Any
    guard: Mapping[str, Any] = field(default_factory=dict)
    mark: Mapping[str, Any] = field(default_factory=dict)
    rev: str = ""


@dataclass(frozen=True, slots=True)
class Insert:
    """Make one document; where there is one already, that fails as *outdated*.

    Attributes:
        id: Its `_id`.
        fields: What is in it.
    """

    id: Any
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one write of several was refused.

    Attributes:
        reason: What the server said, without any of the document's content.
        outdated: The document is not as the update supposed: read it, merge, and save again.
        oversized: The update is too large to be sent.
        path: Where in the document, if that is known.
    """

    reason: str
    outdated: bool = False
    oversized: bool = False
    path: str = ""


Operation = Upsert | Delete | Insert
