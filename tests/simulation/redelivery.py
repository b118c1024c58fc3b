"""Telegram: an update is repeated, to any worker, until it is answered with 200, and sometimes even after that.

A worker that has died, is frozen or takes too long has not answered: then the update is repeated while the first one
may still be handled. Under leases, each counts in its user's data (`TALLY`), which shows what has been done twice.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from steps import TALLY, Step
from turns import Delivery, Posted

if TYPE_CHECKING:
    from world import World

__all__ = ["Redelivery"]

_MOST_COUNTED: Final = 7  # of one user: as many as a number of 32 bits has digits
_REPEATED: Final = 0.2
"""How many updates come once more although they were answered."""
_OUTSIDE: Final = Context()  # of no process


class Redelivery:
    """See the module.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._counted: Counter[int] = Counter()
        self._all: list[Posted] = []
        self._is_calm = False
        self._coming = 0
        # Without leases, two that count at once write the same number: one that looks as if it came back.
        self._is_exact = all(options.shares == "exclusive" for options in world.schedule.bots)

    @property
    def is_over(self) -> bool:
        """Whether all updates were answered, and none is about to come once more."""
        return not self._coming and all(posted.is_answered for posted in self._all)

    def calm_down(self) -> None:
        """All faults have ended."""
        self._is_calm = True

    def post(self, bot: int, user_id: int, steps: Sequence[Step], pause: float) -> None:
        """Somebody writes to the bot.

        Args:
            bot: The worker that gets the update first.
            user_id: Who.
            steps: What its handlers do.
            pause: Seconds between two steps.
        """
        if self._is_exact and self._counted[user_id] < _MOST_COUNTED:
            steps = (("user", "tally", self._counted[user_id]), *steps)
            self._counted[user_id] += 1
        posted = Posted(next(self._world.update_ids), user_id, steps, pause)
        self._all.append(posted)
        self._try(posted, bot)

    def _draw(self, posted: Posted, what: str) -> float:
        text = f"{self._world.schedule.seed}/{posted.number}/{posted.tries}/{what}"
        return zlib.crc32(text.encode()) / 2**32

    def _later(self, seconds: float, function: Any, *args: Any) -> None:
        self._world.loop.call_later(seconds, function, *args, context=_OUTSIDE)

    def _again(self, posted: Posted) -> None:
        draw = self._draw(posted, "again")
        bot = int(draw * 1000) % len(self._world.bots)
        self._come(0.05 if self._is_calm else 0.01 + 2 * draw**3, posted, bot)

    def _come(self, seconds: float, posted: Posted, bot: int) -> None:
        self._coming += 1
        self._later(seconds, self._comes, posted, bot)

    def _comes(self, posted: Posted, bot: int) -> None:
        self._coming -= 1
        self._try(posted, bot)

    def _try(self, posted: Posted, bot: int) -> None:
        process = self._world.bots[bot].process
        posted.tries += 1
        if process is None or not self._world.bots[bot].is_reachable():
            self._again(posted)
            return
        self._world.run(process, self._deliver(posted, process))
        self._later(2 + 10 * self._draw(posted, "patience"), self._lose_patience, posted, posted.tries)

    def _lose_patience(self, posted: Posted, tries: int) -> None:
        if posted.tries == tries and not posted.is_answered:
            self._again(posted)

    async def _deliver(self, posted: Posted, process: Any) -> None:
        tries = posted.tries
        is_done = await process.take(posted)
        if is_done and not posted.is_answered:
            posted.is_answered = True
            if self._draw(posted, "repeat") < _REPEATED:
                bot = int(1000 * self._draw(posted, "again")) % len(self._world.bots)
                self._come(3 * self._draw(posted, "repeat at") ** 2, posted, bot)
        elif not is_done and not posted.is_answered and posted.tries == tries:
            self._again(posted)

    def check(self) -> None:
        """All is quiet: with transactions, no update was done twice."""
        for posted in self._all:
            done = [one for one in posted.attempts if _was_stored(one)]
            whole = [one for one in done if one.once == "transaction" and _in_a_transaction(one)]
            if len(done) > 1 and whole and done.index(whole[0]) < len(done) - 1:
                self._world.checker.violated("twice", f"update {posted.number} was done {len(done)} times")


def _tally(delivery: Delivery) -> Any:
    return next((node for node in delivery.nodes if node.path == (TALLY,)), None)


def _was_stored(delivery: Delivery) -> bool:
    node = _tally(delivery)
    return node is not None and node.stored_at is not None


def _in_a_transaction(delivery: Delivery) -> bool:
    node = _tally(delivery)
    return node.request is not None and node.request.name == "commitTransaction"
