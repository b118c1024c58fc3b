"""What a few schedules additionally contain: a server that refuses something, and connections that swallow everything.

It is drawn separately, so that the schedules without it stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from features import Features
from schedule import Action
from validating import PATHS

__all__ = ["Trouble"]

_REFUSES: Final = 0.15
"""How many schedules hold something that is refused for now."""
_HALF_OPEN: Final = 0.1
_VALIDATES: Final = 0.12
_CODES: Final = (13, 13, 371, 371, 8000, 16500, 4711, 20)
"""Of whole commands: those that are known to be everybody's, and some that are not known at all."""
_CODES_OF_STATEMENTS: Final = (16500, 16500, 371, 13, 4711)
_COLLECTIONS: Final = ("", "", "user_data", "chat_data", "bot_data", "conversations")


class Trouble:
    """Adds to the actions of a schedule.

    Args:
        seed: That of the schedule.
        features: What it may hold.
        bots: How many there are.
    """

    def __init__(self, seed: int, features: Features, bots: int) -> None:
        self._draw = Random(f"{seed}/trouble")
        self._bots = bots
        draw = self._draw
        self.refuses = features.refusals and draw.random() < _REFUSES
        self.is_half_open = features.half_open and draw.random() < _HALF_OPEN
        self.borrows = self.is_half_open and draw.random() < 0.5
        self.validates = features.rules and draw.random() < _VALIDATES

    def add(self, actions: list[Action], names: Sequence[str], user: int, token: Callable[[str], str]) -> None:
        """Adds what goes wrong, at any place.

        Args:
            actions: What happens.
            names: The keys that it is about.
            user: The user whom it is about.
            token: Makes values.
        """
        draw = self._draw
        if self.validates:
            for _ in range(draw.choice([1, 1, 2])):
                self._add_rule(actions, [name for name in names if name in PATHS] or ["a"], user, token)
        if self.refuses:
            for _ in range(draw.choice([1, 1, 2, 4])):
                self._insert(actions, [self._refusal()])
        if self.is_half_open:
            for _ in range(draw.choice([1, 2, 3])):
                half_open = ("half open", draw.randrange(self._bots), draw.random() < 0.7)
                pause = ("wait", round(draw.choice([0.02, 1.0, 4.0, 12.0]) * draw.uniform(0.8, 1.2), 4))
                self._insert(actions, [half_open, pause])

    def _insert(self, actions: list[Action], some: list[Action]) -> None:
        place = self._draw.randint(0, len(actions))
        actions[place:place] = some

    def _refusal(self) -> Action:
        draw = self._draw
        seconds = draw.choice([0.05, 0.5, 3.0, 8.0, 20.0])
        collection = draw.choice(_COLLECTIONS)
        if draw.random() < 0.4:
            share = draw.choice([0.2, 0.5, 0.9])
            return ("refuse", "write", draw.choice(_CODES_OF_STATEMENTS), seconds, collection, share)
        target = draw.choice(["write", "write", "write", "read", "read", "stream", "any"])
        return ("refuse", target, draw.choice(_CODES), seconds, "" if target == "stream" else collection, 1.0)

    def _add_rule(self, actions: list[Action], names: Sequence[str], user: int, token: Callable[[str], str]) -> None:
        """A rule, and what may break it, together with something else."""
        draw, name = self._draw, self._draw.choice(names)
        where = draw.choice(["user", "user", "user", "chat", "bot"])
        seconds = draw.choice([0.5, 5.0, 60.0, float("inf"), float("inf")])
        some: list[Action] = [("rule", f"{where}_data", name, draw.choice([None, None, 0, 1]), seconds)]
        for _ in range(draw.choice([0, 1, 2])):
            bot = draw.randrange(self._bots)
            steps = [(where, *_breaking(name, token("v")))]
            if draw.random() < 0.5:
                steps.append((where, "set", draw.choice(["a", "b"]), token("v")))
            some += [("update", bot, user, tuple(steps), 0), ("save", bot)]
            some.append(("wait", round(draw.choice([0.005, 0.1, 3.0]) * draw.uniform(0.8, 1.2), 4)))
        self._insert(actions, some)


def _breaking(name: str, value: str) -> tuple[str, ...]:
    """What a handler does that a rule refuses."""
    if name == "n":
        return "set in n", "x", value
    return ("total", value) if name == "basket" else ("set", name, value)
