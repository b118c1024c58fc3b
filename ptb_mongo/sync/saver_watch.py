"""The shell of `Heartbeat`: its timers, the single log message, and what a stop reports.

While PTB's saver is dead, this saves the objects that updates have used in its place: only a restart revives the saver,
and would lose them. Deletions and conversation states stay in PTB, out of reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping
from itertools import islice
from typing import Any, Final

from ptb_mongo.log import get_logger
from ptb_mongo.sync.heartbeat import Heartbeat, Key, uncopyable

__all__ = ["EACH_TIME", "SaverWatch"]

_LOGGER = get_logger(__name__)
_CONFIRM: Final = 5.0  # seconds between a suspicion and the alarm, during which the event loop must not be blocked
_LATE: Final = 1.0  # seconds of a timer's delay that show that the event loop was blocked
EACH_TIME: Final = "bot_data"  # every update and every job gets it
_SHORTEST: Final = 1.0  # seconds at least between two saves in place of PTB's
_TRIED_AT_MOST: Final = 2000
_NAMED_AT_MOST: Final = 5

_BROKE_OFF: Final = "its last save broke off"
_WHAT_TO_DO: Final = (
    "PTB copies user_data, chat_data, bot_data and the data of buttons before it hands them over, and its saver ends "
    "without a word at what cannot be copied: a lock, a connection or cursor, an open file, a task, a Job. Keep such "
    "objects elsewhere (exclude comes too late for them), and restart the bot: until then the data of users, chats and "
    "the bot is saved in place of PTB, as far as it can be stored, but no deletion, button or conversation is"
)


class SaverWatch:
    """Raises the alarm if PTB's saver has died.

    Args:
        interval: Returns the seconds between two saves.
        others: Returns more objects that PTB copies, by their names.
        save: Saves a live object: a scope, an id and the object.

    Attributes:
        is_saver_alive: Whether PTB hands over changes, as far as is known.
        heartbeat: What is known of the saver.
    """

    def __init__(
        self,
        interval: Callable[[], float],
        others: Callable[[], Mapping[str, Any]],
        save: Callable[[str, int, Any], Coroutine[Any, Any, None]],
    ) -> None:
        self._interval = interval
        self._others = others
        self._save = save
        self.heartbeat = Heartbeat()
        self._timer: asyncio.TimerHandle | None = None
        self._standing_in: asyncio.Task[None] | None = None
        self._refused: set[Key] = set()
        self._has_broken_off = False  # a save was aborted, but it is too early for the alarm
        self.is_saver_alive = True

    def starts(self) -> None:
        """Notes that an application loads the data: it has its own saver, and objects that nobody has changed yet."""
        self._end()
        self._refused, self._has_broken_off, self.is_saver_alive = set(), False, True

    @property
    def is_alarmed(self) -> bool:
        """Whether each update needs attention."""
        return self._has_broken_off or not self.is_saver_alive

    # -- what PTB does ----------------------------------------------------------------------------------

    def gives(self, scope: str, key: int, live: Any) -> None:
        """Notes that an update or a job gets an object."""
        if scope != EACH_TIME:
            self.heartbeat.gives((scope, key), live)
            return
        self.heartbeat.gives((scope, key), live, asyncio.get_running_loop().time())
        if not self.is_saver_alive:
            self._begin_standing_in()  # again, if `flush` has ended it and the bot keeps running
        elif self._timer is None and (self._has_broken_off or self.heartbeat.overdue(self._interval()) is not None):
            self._suspect()

    def hands_over(self, scope: str, key: int) -> None:
        """Notes that PTB has copied an object."""
        self.heartbeat.hands_over((scope, key))

    def begins(self, saved: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        """Notes that a save has begun.

        Args:
            saved: The coroutine that PTB would await.

        Returns:
            The coroutine for PTB to await instead.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return saved  # the caller is not PTB's saver
        if not self.heartbeat.begins():
            self._alarm(_BROKE_OFF)
        self._suspect()
        return _Told(saved, self._awaits)

    def _awaits(self) -> None:
        self.heartbeat.awaits()
        self._has_broken_off = False
        self._end_timer()
        if not self.is_saver_alive:
            self.is_saver_alive = True
            _LOGGER.warning("PTB saves again")

    # -- in its place -----------------------------------------------------------------------------------

    def _begin_standing_in(self) -> None:
        if self._standing_in is None or self._standing_in.done():
            self._standing_in = asyncio.get_running_loop().create_task(self._stand_in(), name="ptb_mongo saver")

    async def _stand_in(self) -> None:
        while not self.is_saver_alive:
            await self.save_unsaved()
            await asyncio.sleep(max(self._interval(), _SHORTEST))

    async def save_unsaved(self) -> None:
        """Saves what PTB has not handed over, if its last save was aborted."""
        self._note_broken_off()
        if self.is_saver_alive and not self.heartbeat.lost:
            return
        unsaved = {**self.heartbeat.lost, **self.heartbeat.given}
        self.heartbeat.lost, self.heartbeat.given = {}, {}
        # What cannot be stored raises an error only once, but PTB still cannot copy it.
        still = {key for key in self._refused & unsaved.keys() if any(uncopyable({"": unsaved[key]}))}
        saved = [self._save(*key, live) for key, live in unsaved.items()]
        for (key, live), error in zip(
            unsaved.items(), await asyncio.gather(*saved, return_exceptions=True), strict=True
        ):
            if isinstance(error, Exception):
                _LOGGER.error("Not saved in place of PTB: %s", error)
            if isinstance(error, Exception) or key in still:
                self.heartbeat.lost[key] = live
        self._refused = set(self.heartbeat.lost)

    # -- the alarm --------------------------------------------------------------------------------------

    def _suspect(self) -> None:
        self._end_timer()
        loop = asyncio.get_running_loop()
        due = loop.time() + _CONFIRM
        self._timer = loop.call_at(due, self._confirm, due)

    def _confirm(self, due: float) -> None:
        self._timer = None
        if asyncio.get_running_loop().time() - due > _LATE:
            self._suspect()  # the loop was blocked, and so was PTB's saver
        elif self._has_broken_off or not self.heartbeat.is_awaited:
            self.heartbeat.breaks_off()
            self._alarm(_BROKE_OFF)
        elif (seconds := self.heartbeat.overdue(self._interval())) is not None:
            self._alarm(f"updates have been handled for {seconds:.0f} s since its last save")

    def _alarm(self, why: str) -> None:
        if self.is_saver_alive:
            self.is_saver_alive = False
            _LOGGER.error("PTB does not save any more: %s. %s%s", why, _WHAT_TO_DO, self._found())
        self._begin_standing_in()

    def _note_broken_off(self) -> None:
        self._has_broken_off = self._has_broken_off or not self.heartbeat.is_awaited
        self.heartbeat.breaks_off()

    def _found(self) -> str:
        known = {**self.heartbeat.lost, **self.heartbeat.given}
        objects = {**self._others(), **{_name(*key): live for key, live in islice(known.items(), _TRIED_AT_MOST)}}
        found = list(islice(uncopyable(objects), _NAMED_AT_MOST))
        return f". Found: {'; '.join(found)}" if found else ""

    # -- the end ----------------------------------------------------------------------------------------

    def close(self) -> str | None:
        """Ends the timers; returns what is unsaved because PTB has not handed it over, or `None`.

        PTB does not say whether a `flush` is the last one. So for a bot that keeps running, a dead saver stays dead,
        and its substitute starts again with the next update. `starts` resets that.
        """
        self._note_broken_off()
        lost, found = [_name(*key) for key in self.heartbeat.lost], self._found() if self.heartbeat.lost else ""
        self._end()
        if not lost:
            return None
        named = ", ".join(lost[:_NAMED_AT_MOST]) + (", ..." if len(lost) > _NAMED_AT_MOST else "")
        forgotten = f"PTB's saver has died, and this could not be saved in its place: {len(lost)} ({named})"
        return f"{forgotten}. {_WHAT_TO_DO}{found}"

    def _end(self) -> None:
        self._end_timer()
        if self._standing_in is not None:
            self._standing_in.cancel()
            self._standing_in = None
        self.heartbeat = Heartbeat()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Told(Coroutine[Any, Any, None]):
    """A coroutine that reports when it begins, or is cancelled before that.

    A coroutine function that awaits `wrapped` would never do so if its task is cancelled before the first step, and
    Python would warn of that.

    Args:
        wrapped: The coroutine.
        tell: Called once.
    """

    def __init__(self, wrapped: Coroutine[Any, Any, None], tell: Callable[[], None]) -> None:
        self._wrapped = wrapped
        self._tell: Callable[[], None] | None = tell

    def _begin(self) -> None:
        if self._tell is not None:
            tell, self._tell = self._tell, None
            tell()

    def send(self, value: Any) -> Any:
        self._begin()
        return self._wrapped.send(value)

    def throw(self, *error: Any) -> Any:
        self._begin()
        return self._wrapped.throw(*error)

    def close(self) -> None:
        self._wrapped.close()

    def __await__(self) -> Generator[Any, Any, None]:
        self._begin()
        return self._wrapped.__await__()


def _name(scope: str, key: int) -> str:
    return scope if scope == "bot_data" else f"{scope} {key}"
