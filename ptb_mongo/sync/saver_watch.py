"""The shell of `Heartbeat`: its timer, the one line in the log, and what a stop says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from itertools import islice
from typing import Any, Final

from ptb_mongo.sync.heartbeat import Heartbeat, uncopyable

__all__ = ["SaverWatch"]

_LOGGER = logging.getLogger(__name__)
_CONFIRM: Final = 5.0  # seconds between a suspicion and the alarm, in which the event loop must not have been blocked
_LATE: Final = 1.0  # seconds that a timer is late if the event loop was blocked
_TRIED_AT_MOST: Final = 2000
_NAMED_AT_MOST: Final = 5

_BROKE_OFF: Final = "its last save broke off"
_WHAT_TO_DO: Final = (
    "PTB copies user_data, chat_data, bot_data and the data of buttons before it hands them over, and its saver ends "
    "without a word at what cannot be copied: a lock, a connection or cursor, an open file, a task, a Job. Keep such "
    "objects elsewhere (exclude comes too late for them), and restart the bot: until then changes are in memory only"
)


class SaverWatch:
    """Raises the alarm if PTB's saver has died.

    Args:
        interval: Gives the seconds between two saves.
        others: Gives more objects that PTB copies, by their names.

    Attributes:
        is_saver_alive: Whether PTB hands over changes, as far as is known.
    """

    def __init__(self, interval: Callable[[], float], others: Callable[[], Mapping[str, Any]]) -> None:
        self._interval = interval
        self._others = others
        self._heartbeat = Heartbeat()
        self._timer: asyncio.TimerHandle | None = None
        self.is_saver_alive = True

    # -- what PTB does ----------------------------------------------------------------------------------

    def gives(self, scope: str, key: int, live: Any) -> None:
        """An update or a job gets an object."""
        self._heartbeat.gives((scope, key), live, asyncio.get_running_loop().time())
        if self._timer is None and self.is_saver_alive and self._heartbeat.overdue(self._interval()) is not None:
            self._suspect()

    def hands_over(self, scope: str, key: int) -> None:
        """An object was copied."""
        self._heartbeat.hands_over((scope, key))

    def begins(self, saved: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """A save has begun.

        Args:
            saved: What PTB is going to await.

        Returns:
            What it awaits instead.
        """
        if not self._heartbeat.begins():
            self._alarm(_BROKE_OFF)
        self._suspect()
        return self._awaits(saved)

    async def _awaits(self, saved: Coroutine[Any, Any, None]) -> None:
        self._heartbeat.awaits()
        self._end_timer()
        if not self.is_saver_alive:
            self.is_saver_alive = True
            _LOGGER.warning("PTB saves again")
        await saved

    # -- the alarm --------------------------------------------------------------------------------------

    def _suspect(self) -> None:
        self._end_timer()
        loop = asyncio.get_running_loop()
        due = loop.time() + _CONFIRM
        self._timer = loop.call_at(due, self._confirm, due)

    def _confirm(self, due: float) -> None:
        self._timer = None
        if asyncio.get_running_loop().time() - due > _LATE:
            self._suspect()  # the loop was blocked, and PTB's saver as well
        elif not self._heartbeat.is_awaited:
            self._heartbeat.breaks_off()
            self._alarm(_BROKE_OFF)
        elif (seconds := self._heartbeat.overdue(self._interval())) is not None:
            self._alarm(f"updates have been handled for {seconds:.0f} s since its last save")

    def _alarm(self, why: str) -> None:
        if self.is_saver_alive:
            self.is_saver_alive = False
            _LOGGER.error("PTB does not save any more: %s. %s%s", why, _WHAT_TO_DO, self._found())

    def _found(self) -> str:
        known = {**self._heartbeat.lost, **self._heartbeat.given}
        objects = {**self._others(), **{_name(*key): live for key, live in islice(known.items(), _TRIED_AT_MOST)}}
        found = list(islice(uncopyable(objects), _NAMED_AT_MOST))
        return f". Found: {'; '.join(found)}" if found else ""

    # -- the end ----------------------------------------------------------------------------------------

    def close(self) -> str | None:
        """Ends the watch; returns what PTB has forgotten to hand over, if there is anything."""
        self._end_timer()
        self._heartbeat.breaks_off()
        lost, found = [_name(*key) for key in self._heartbeat.lost], self._found() if self._heartbeat.lost else ""
        self._heartbeat, self.is_saver_alive = Heartbeat(), True
        if not lost:
            return None
        named = ", ".join(lost[:_NAMED_AT_MOST]) + (", ..." if len(lost) > _NAMED_AT_MOST else "")
        forgotten = f"a save of PTB broke off, and PTB has forgotten what it was about: {len(lost)} ({named})"
        return f"{forgotten}. {_WHAT_TO_DO}{found}"

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _name(scope: str, key: int) -> str:
    return scope if scope == "bot_data" else f"{scope} {key}"
