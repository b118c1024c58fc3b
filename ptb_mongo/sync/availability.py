"""Whether the server can be reached: kept in one place, and logged once when it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ptb_mongo.health import Counters

__all__ = ["Availability"]

_LOGGER = logging.getLogger(__name__)


class Availability:
    """Whether the server is known to be unreachable.

    Args:
        counters: Keeps the last error.

    Attributes:
        is_unreachable: Whether the server is unreachable: then nothing waits for it.
        on_unreachable: Called when it becomes unreachable.
        waiting: Returns the number of documents that wait to be written, for the log.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.is_unreachable = False
        self.on_unreachable: list[Callable[[], None]] = []
        self.waiting: Callable[[], int] = lambda: 0

    def mark_unreachable(self, error: BaseException) -> None:
        """The server did not answer."""
        self._counters.last_error = str(error)
        if self.is_unreachable:
            return
        self.is_unreachable = True
        _LOGGER.warning("MongoDB is unreachable; changes are kept and will be saved when it is back: %s", error)
        for callback in self.on_unreachable:
            callback()

    def mark_reachable(self) -> None:
        """The server has answered."""
        if self.is_unreachable:
            self.is_unreachable = False
            _LOGGER.warning("MongoDB is back; %d documents were waiting", self.waiting())
