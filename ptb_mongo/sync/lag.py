"""How late the change stream tells: milliseconds, but more where the server, this machine or this process is busy.

Pure: the times are given. The clocks of the server and of this machine need not agree, so what counts is how much
later a change is told than the quickest one of the last minutes. After a failover to a server whose clock is behind,
changes seem late until those minutes are over.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Lag"]

_USUAL: Final = 0.01  # seconds more than the quickest one
_BACK_TO_NORMAL: Final = 1.0  # seconds after the last late one
_REMEMBERED: Final = 60.0  # seconds; the quickest one of this minute and of the one before counts


class Lag:
    """How late changes were told; all times are seconds since the epoch."""

    def __init__(self) -> None:
        self._late_at = float("-inf")
        self._minute = float("-inf")
        self._quickest = self._quickest_before = float("inf")

    def note(self, happened: float, now: float) -> None:
        """A change was told.

        Args:
            happened: When it was made, by the server's clock.
            now: By ours.
        """
        if not 0 <= now - self._minute < _REMEMBERED:  # a minute later, or the clock was set
            self._minute = now
            self._quickest_before, self._quickest = self._quickest, float("inf")
        took = now - happened
        self._quickest = min(self._quickest, took)
        if took - min(self._quickest, self._quickest_before) > _USUAL:
            self._late_at = now

    def is_large(self, now: float) -> bool:
        """Whether changes are told late at this time."""
        return 0 <= now - self._late_at < _BACK_TO_NORMAL
