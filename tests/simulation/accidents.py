"""What may go wrong in most schedules, each drawn by chance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from features import Features
from schedule import Action
from steps import BotOptions

__all__ = ["Accidents"]


class Accidents:
    """See the module; whoever makes schedules sets the attributes.

    Attributes:
        random: The chance.
        features: What schedules may hold.
        bots: The bots.
    """

    random: Random
    features: Features
    bots: Sequence[BotOptions]

    def _which_bot(self) -> int:
        return self.random.randrange(len(self.bots))

    def _fault(self) -> Action:
        draw = self.random
        held = ["hold", "hold", "duplicate"] if self.features.holds else []
        kind = draw.choice(["lose answer", "lose answer", "lose request", *held])
        target = draw.choices(["write", "read", "stream", "any"], [8, 2, 1, 1])[0]
        delay = (
            draw.choice([0.01, 0.2, 1.0, 3.0, 8.0]) if kind.startswith("lose") else draw.choice([0.05, 0.5, 3.0, 20.0])
        )
        return ("fault", self._which_bot(), kind, target, delay)

    def _deaf(self) -> Action:
        return ("deaf", self._which_bot(), self.random.choice([0.5, 3.0, 7.0, 15.0]))

    def _reset(self) -> Action:
        return ("reset", self._which_bot())

    def _freeze_server(self) -> Action:
        return ("freeze server", self.random.choice([0.1, 1.0, 3.0, 7.0, 12.0]))

    def _fail_over(self) -> Action:
        return ("fail over", self.random.choice([0.1, 1.0, 4.0, 8.0]))

    def _roll_back(self) -> Action:
        return ("roll back", self.random.choice([0.1, 1.0, 4.0]))

    def _slow_replication(self) -> Action:
        return ("slow replication", self.random.choice([0.002, 0.1, 1.0, 3.0]))

    def _slow_stream(self) -> Action:
        return ("slow stream", self.random.choice([0.1, 0.5, 2.0, 5.0]))

    def _freeze(self) -> Action:
        return ("freeze", self._which_bot(), self.random.choice([0.3, 3.0, 8.0, 15.0]))

    def _kill(self) -> Action:
        return ("kill", self._which_bot(), self.random.choice([0.01, 1.0, 5.0]))

    def _stop(self) -> Action:
        return ("stop", self._which_bot(), self.random.choice([0.01, 1.0, 5.0]))

    def _count_users(self) -> Action:
        return ("count users", self._which_bot())

    def _flush(self) -> Action:
        return ("flush", self._which_bot())
