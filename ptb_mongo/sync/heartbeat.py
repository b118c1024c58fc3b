"""Notices that PTB's saver has died: nothing reports it, but its regular calls stop.

PTB deep-copies the data before it hands it over. If a copy fails, its saver ends silently and for good, and what it was
about to hand over is forgotten. `update_bot_data`, which comes with every save, is the heartbeat: it stops; or it comes
but is never awaited, because the copy of a user or a chat failed after it.

Pure: the times are passed in, and are those of the event loop.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["Heartbeat", "Key", "uncopyable"]

_GRACE: Final = 60.0  # seconds on top of two intervals: a save may wait for the server and for PTB's error handlers
_DEEPEST: Final = 8

Key = tuple[str, int]
"""A scope and the id of a user, a chat or the bot."""


class Heartbeat:
    """The objects that updates may have changed, and what PTB has handed over since.

    Attributes:
        given: The live objects that updates and jobs have received since the last save.
        taken: Those that the save in progress covers.
        lost: Those that an aborted save did not hand over: PTB has forgotten them.
    """

    def __init__(self) -> None:
        self.given: dict[Key, Any] = {}
        self.taken: dict[Key, Any] = {}
        self.lost: dict[Key, Any] = {}
        self.is_awaited = True
        self._since: float | None = None
        self._latest = 0.0

    def gives(self, key: Key, live: Any, now: float | None = None) -> None:
        """Notes that an update or a job gets an object, which it may change: a save is due.

        Args:
            key: The object's key.
            live: The object.
            now: The time; `None` if the same update or job gives it with another object.
        """
        self.given[key] = live
        if now is not None:
            self._since = now if self._since is None else self._since
            self._latest = now

    def gives_again(self, key: Key, live: Any, now: float) -> bool:
        """The same, unless this is the first update since a save, or the last save may be overdue.

        Returns:
            Whether it was noted.
        """
        if self._since is None or now - self._since > _GRACE:
            return False
        self.given[key] = live
        self._latest = now
        return True

    def begins(self) -> bool:
        """Notes that a save has begun, as PTB has copied the bot's data; returns whether the last one was awaited."""
        was_awaited = self.is_awaited
        self.breaks_off()
        self.is_awaited = False
        self.taken, self.given = self.given, {}
        self._since = None
        return was_awaited

    def hands_over(self, key: Key) -> None:
        """Notes that PTB has copied an object."""
        self.given.pop(key, None)
        if self.taken or self.lost:
            self.taken.pop(key, None)
            self.lost.pop(key, None)

    def awaits(self) -> None:
        """Notes that PTB has copied everything."""
        self.is_awaited = True
        self.taken = {}

    def breaks_off(self) -> None:
        """Notes that a save that has begun, if it was not awaited yet, never will be."""
        if not self.is_awaited:
            self.lost |= self.taken
            self.awaits()

    def overdue(self, interval: float) -> float | None:
        """For how many seconds updates have been handled without a save, if one is overdue; otherwise `None`."""
        seconds = 0.0 if self._since is None else self._latest - self._since
        return seconds if seconds > 2 * interval + _GRACE else None


def uncopyable(objects: Mapping[str, Any]) -> Iterator[str]:
    """What cannot be copied, and where: "user_data 42 at db.lock (TypeError: cannot pickle '_thread.lock' object)".

    Args:
        objects: Objects by their names.
    """
    for name, value in objects.items():
        if (error := _failure(value)) is not None:
            path = ".".join(map(str, _path_to_failure(value)))
            # Any other error comes from the object's own code, and its text may contain users' data.
            text = f": {error}" if isinstance(error, (TypeError, AttributeError)) else ""
            yield f"{name}{path and f' at {path:.100}'} ({type(error).__name__}{text:.200})"


def _failure(value: Any) -> Exception | None:
    try:
        copy.deepcopy(value)
    except Exception as error:  # noqa: BLE001  (an object's own code may do anything)
        return error
    return None


def _path_to_failure(value: Any) -> list[Any]:
    path: list[Any] = []
    while isinstance(value, dict) and len(path) < _DEEPEST:
        found = next((key for key, one in value.items() if _failure(one) is not None), None)
        if found is None:
            break
        path.append(found)
        value = value[found]
    return path
