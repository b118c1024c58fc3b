"""Whether the server can be reached, and what it refuses for now: kept in one place, logged once when it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ptb_mongo.health import Counters

__all__ = ["CONNECTING", "WATCHING", "Availability"]

_LOGGER = logging.getLogger(__name__)

CONNECTING: Final = "the connection"
"""What `mark_refused` says of logging in."""
WATCHING: Final = "to follow changes"
"""What `mark_refused` says of the change stream."""


class Availability:
    """Whether the server is known to be unreachable, and what it refuses though it answers.

    Args:
        counters: Keeps the last error.

    Attributes:
        is_unreachable: Whether the server is unreachable: then nothing waits for it.
        answers: How often it was seen to be reachable.
        refusals: What the server refuses for now, and why.
        on_unreachable: Called when it becomes unreachable.
        waiting: Returns the number of documents that wait to be written, for the log.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.is_unreachable = False
        self.answers = 0
        self.refusals: dict[str, str] = {}
        self.on_unreachable: list[Callable[[], None]] = []
        self.waiting: Callable[[], int] = lambda: 0

    @property
    def reason(self) -> str | None:
        """Why documents wait to be written or read; `None` if they need not wait."""
        if self.is_unreachable:
            return f"MongoDB is unreachable: {self._counters.last_error}"
        refused = [f"MongoDB refuses {what}: {error}" for what, error in self.refusals.items()]
        return "; ".join(refused) or None

    def mark_unreachable(self, error: BaseException, *, since: int | None = None) -> None:
        """The server did not answer.

        Args:
            error: Why that is believed.
            since: The number of `answers` when it was asked; if it has answered since, this says nothing any more.
        """
        self._counters.last_error = str(error)
        if self.is_unreachable or since not in {None, self.answers}:
            return
        self.is_unreachable = True
        _LOGGER.warning("MongoDB is unreachable; changes are kept and will be saved when it is back: %s", error)
        for callback in self.on_unreachable:
            callback()

    def mark_reachable(self) -> None:
        """The server has answered."""
        self.answers += 1
        if self.is_unreachable:
            self.is_unreachable = False
            _LOGGER.warning("MongoDB is back; %d documents were waiting", self.waiting())

    def mark_refused(self, what: str, error: BaseException) -> bool:
        """The server refuses something, and not for one document's sake; returns whether that is new.

        Args:
            what: What it refuses: `CONNECTING`, `WATCHING`, or to read or save a collection.
            error: Why.
        """
        self._counters.last_error = str(error)
        is_new = what not in self.refusals
        self.refusals[what] = str(error)
        if is_new:
            _LOGGER.error("MongoDB refuses %s; nothing is lost, and it is tried again: %s", what, error)
        return is_new

    def mark_accepted(self, what: str) -> None:
        """The server has done what it refused, or a part of it, or more."""
        self.answers += 1
        for refused in [one for one in self.refusals if one in what or what in one]:
            del self.refusals[refused]
            _LOGGER.warning("MongoDB no longer refuses %s", refused)
