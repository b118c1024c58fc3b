"""Until when what was refused is left alone: longer each time. Pure: the times are passed in."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Pauses"]

K = TypeVar("K", bound=Hashable)


class _Pause(NamedTuple):
    seconds: float
    until: float


class Pauses(Generic[K]):
    """Pauses that double, of several things.

    Args:
        first: Seconds of the first pause.
        longest: Seconds of the longest.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._pauses: dict[K, _Pause] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._pauses)

    def begin(self, key: K, now: float) -> None:
        """Something was refused, for the first time or again."""
        before = self._pauses.get(key)
        seconds = self._first if before is None else min(2 * before.seconds, self._longest)
        self._pauses[key] = _Pause(seconds, now + seconds)

    def end(self, key: K) -> None:
        """It was not refused: the next pause is a short one."""
        if self._pauses:
            self._pauses.pop(key, None)

    def until(self, key: K) -> float:
        """When its pause is over; in the past if it has none."""
        pause = self._pauses.get(key)
        return float("-inf") if pause is None else pause.until

    def interrupt(self, key: K) -> None:
        """A pause is over now; the next one is as long as it would have been."""
        if (pause := self._pauses.get(key)) is not None:
            self._pauses[key] = _Pause(pause.seconds, float("-inf"))

    def interrupt_all(self) -> None:
        """All pauses are over now."""
        for key in list(self._pauses):
            self.interrupt(key)
