"""Where a generator takes its decisions from: chance, the bytes of a fuzzer, or what was decided before.

A case is nothing but its decisions. So whatever drives the generator, a case that fails can be played again, and be
made smaller by leaving decisions out: 0 is the simplest of every choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["Choices", "shorter"]

T = TypeVar("T")


class Choices:
    """Decisions, one after the other.

    Args:
        draw: Gives a number from 0 on, below the one it is given.

    Attributes:
        made: All decisions so far.
        label: What was decided on, for statistics.
    """

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw
        self.made: list[int] = []
        self.label = ""

    @classmethod
    def by_seed(cls, seed: str) -> Choices:
        """Those of chance, which are the same for the same seed."""
        chance = random.Random(seed).random
        return cls(lambda below: int(chance() * below))

    @classmethod
    def again(cls, made: Sequence[int]) -> Choices:
        """Those that were made before; all that is asked for beyond them is 0."""
        rest = iter(made)
        return cls(lambda below: min(next(rest, 0), below - 1))

    @classmethod
    def of_bytes(cls, data: bytes) -> Choices:
        """Those that bytes stand for; all that is asked for beyond them is 0."""
        at = 0

        def draw(below: int) -> int:
            nonlocal at
            size = ((below - 1).bit_length() + 7) // 8
            at += size
            return int.from_bytes(data[at - size : at], "little") % below

        return cls(draw)

    def below(self, limit: int) -> int:
        """A number from 0 on."""
        if limit <= 1:
            return 0
        number = self._draw(limit)
        self.made.append(number)
        return number

    def between(self, least: int, most: int) -> int:
        """A number; `most` can be it."""
        return least + self.below(most - least + 1)

    def percent(self, percent: int) -> bool:
        """Whether something happens that happens so often; not to happen is simplest."""
        return self.below(100) >= 100 - percent

    def one(self, of: Sequence[T]) -> T:
        """One of several; the first is simplest."""
        return of[self.below(len(of))]

    def some(self, make: Callable[[], T], most: int) -> list[T]:
        """A few of what is made, mostly one or two."""
        made = []
        while len(made) < most and self.below(5) > 1:
            made.append(make())
        return made

    def content(self, most: int) -> bytes:
        """Bytes."""
        return bytes(self.below(256) for _ in range(self.between(0, most)))


def shorter(made: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """Decisions of a case that fails just so, and as few of them as can be found.

    Args:
        made: Those of a case that fails.
        fails: Whether a case with other decisions fails likewise; it may raise `TimeoutError` to end the search.
    """
    best = list(made)
    try:
        is_better = True
        while is_better:
            is_better = False
            for candidate in _candidates(best):
                if _is_simpler(candidate, best) and fails(candidate):
                    best, is_better = candidate, True
                    break
    except TimeoutError:
        pass
    return best


def _is_simpler(one: Sequence[int], other: Sequence[int]) -> bool:
    return (len(one), list(one)) < (len(other), list(other))


def _candidates(made: list[int]) -> Iterator[list[int]]:
    """Simpler decisions: large steps first."""
    size = len(made)
    while size:
        for start in range(0, len(made), size):
            yield made[:start] + made[start + size :]
        size //= 2
    size = len(made)
    while size:
        for start in range(0, len(made), size):
            if any(made[start : start + size]):
                yield made[:start] + [0] * len(made[start : start + size]) + made[start + size :]
        size //= 2
    for at, number in enumerate(made):
        for smaller in (number // 2, number - 1):
            if 0 <= smaller < number:
                yield [*made[:at], smaller, *made[at + 1 :]]
