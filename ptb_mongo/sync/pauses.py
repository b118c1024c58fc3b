"""How long to leave alone what was refused: longer each time. Pure: the times are passed in."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Pauses"]

K = TypeVar("K", bound=Hashable)


class _Pause(NamedTuple):
    seconds: float
    until: float


class Pauses(Generic[K]):
    """Doubling pauses, one for each key.

    Args:
        first: The first pause, in seconds.
        longest: The longest pause, in seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._pauses: dict[K, _Pause] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._pauses)

    def begin(self, key: K, now: float) -> None:
        """Begins a pause: something was refused, for the first time or again."""
        before = self._pauses.get(key)
        seconds = self._first if before is None else min(2 * before.seconds, self._longest)
        self._pauses[key] = _Pause(seconds, now + seconds)

    def end(self, key: K) -> None:
        """Ends a pause: it was not refused, so the next pause is a short one."""
        if self._pauses:
            self._pauses.pop(key, None)

    def until(self, key: K) -> float:
        """When the pause is over; in the past if there is none."""
        pause = self._pauses.get(key)
        return float("-inf") if pause is None else pause.until

    def interrupt(self, key: K) -> None:
        """Ends a pause now; the next one is as long as it would have been."""
        if (pause := self._pauses.get(key)) is not None:
            self._pauses[key] = _Pause(pause.seconds, float("-inf"))

    def interrupt_all(self) -> None:
        """Ends all pauses now."""
        for key in list(self._pauses):
            self.interrupt(key)
