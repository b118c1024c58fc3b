"""When the server gets another chance to accept what it has refused. Pure: the times are passed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.pauses import Pauses
from ptb_mongo.sync.tickets import Waiting

__all__ = ["Retries"]

_PAUSES_OF_COLLECTIONS: Final = 0.1, 5.0  # seconds: the first and the longest
_PAUSES_OF_DOCUMENTS: Final = 1.0, 300.0


class Retries:
    """Which of the waiting documents are due.

    Attributes:
        collections: The pauses of those of which everything was refused, by name.
        documents: The pauses of those that were refused because of their content.
    """

    def __init__(self) -> None:
        self.collections: Pauses[str] = Pauses(*_PAUSES_OF_COLLECTIONS)
        self.documents: Pauses[Replica] = Pauses(*_PAUSES_OF_DOCUMENTS)

    def interrupt_all(self) -> None:
        """Makes everything due."""
        self.collections.interrupt_all()
        self.documents.interrupt_all()

    def is_paused(self, replica: Replica, now: float) -> bool:
        """Whether a document was refused because of its content, has not changed since, and is not due yet."""
        return replica.is_refused and self.documents.until(replica) > now

    def due(self, waiting: Mapping[Replica, Waiting], now: float) -> dict[Replica, Waiting]:
        """What is to be written now."""
        if not self.collections and not self.documents:
            return dict(waiting)
        return {
            replica: one
            for replica, one in waiting.items()
            if self.collections.until(one.collection.collection) <= now and not self.is_paused(replica, now)
        }

    def next_at(self, waiting: Mapping[Replica, Waiting]) -> float:
        """When the first of the waiting documents is due; in the past if one is due already, or none is waiting."""
        times = [
            max(
                self.collections.until(one.collection.collection),
                self.documents.until(replica) if replica.is_refused else 0.0,
            )
            for replica, one in waiting.items()
        ]
        return min(times, default=0.0)
