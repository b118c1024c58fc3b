"""How far the change stream lags behind: milliseconds, or more if the server, this machine or this process is busy.

Pure: the times are passed in. The clocks of the server and of this machine need not agree, so each event is compared
with the fastest one of the last minutes. After a failover to a server whose clock is behind, events seem delayed until
those minutes have passed.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Lag"]

_USUAL: Final = 0.01  # seconds more than the fastest event
_BACK_TO_NORMAL: Final = 1.0  # seconds after the last delayed event
_REMEMBERED: Final = 60.0  # seconds; the fastest event of this minute and the previous one is the reference


class Lag:
    """The delays of events; all times are seconds since the epoch."""

    def __init__(self) -> None:
        self._delayed_at = float("-inf")
        self._minute = float("-inf")
        self._quickest = self._quickest_before = float("inf")

    def note(self, happened: float, now: float) -> None:
        """Notes the arrival of an event.

        Args:
            happened: The time of the change, by the server's clock.
            now: The time of the event's arrival, by our clock.
        """
        if not 0 <= now - self._minute < _REMEMBERED:  # a minute later, or the clock was set
            self._minute = now
            self._quickest_before, self._quickest = self._quickest, float("inf")
        took = now - happened
        self._quickest = min(self._quickest, took)
        if took - min(self._quickest, self._quickest_before) > _USUAL:
            self._delayed_at = now

    def is_delayed(self, now: float) -> bool:
        """Whether events arrive later than usual at this time."""
        return 0 <= now - self._delayed_at < _BACK_TO_NORMAL
