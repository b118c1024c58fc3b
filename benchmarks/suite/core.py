"""Rounds, ratios and targets: pure functions, apart from the clock.

Absolute times mean little on a noisy machine. So all subjects do the same work in turns, in one run; each round yields
a ratio, and the median of the ratios counts.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

Result = TypeVar("Result")
Times = dict[str, list[float]]
Work = Callable[[], Awaitable[float]]


TOLERANCE = 1.5
"""How many times worse than its target a value may be in the small form."""


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        kind: What is judged: the ratio to a peer, an overhead (the ratio minus one), or our own figure, a count or a
            time.
        limit: The worst acceptable value.
        at_least: Whether more is better.
        accepted: What the small form accepts if the target is known to be missed: the measured value plus a margin, so
            that it cannot get worse unnoticed.
    """

    kind: Literal["ratio", "overhead", "count", "time"]
    limit: float
    at_least: bool = False
    accepted: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value reaches the target."""
        return value >= self.limit if self.at_least else value <= self.limit

    def far_off(self, value: float) -> bool:
        """Whether a value is worse than 1.5 times the target; a time never is, as it depends on the machine."""
        if self.kind == "time":
            return False
        worst = self.worst
        return value < worst if self.at_least else value > worst

    @property
    def worst(self) -> float:
        """The worst value that the small form accepts."""
        if self.accepted is not None:
            return self.accepted
        if self.kind == "overhead":
            return 1 + (self.limit - 1) * TOLERANCE
        return self.limit / TOLERANCE if self.at_least else self.limit * TOLERANCE


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        work: The work.
        measure: The amount of it.
        driver: Which of our two subjects did it.
        ours: Our time or count.
        unit: The unit of `ours` and `theirs`.
        peer: The subject of the comparison.
        theirs: The peer's time or count.
        ratio: The median of the rounds' ratios; how many times faster if the target says "at least".
        target: The target, if there is one.
    """

    work: str
    measure: str
    driver: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    target: Target | None = None

    @property
    def judged(self) -> float:
        """The value to compare with the target."""
        if self.ratio is None or self.target is None or self.target.kind in {"count", "time"}:
            return self.ours
        return self.ratio

    @property
    def met(self) -> bool | None:
        """Whether the target is met; `None` if there is none."""
        return None if self.target is None else self.target.met(self.judged)

    @property
    def far_off(self) -> bool:
        """Whether the target is missed by more than the small form accepts."""
        return self.target is not None and self.target.far_off(self.judged)


@dataclass
class Results:
    """The results of a group: lines for the table, and the series for the pictures."""

    figures: list[Figure] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)

    def add(self, others: Results) -> None:
        """Appends the results of another group, or of another part of this one."""
        self.figures += others.figures
        self.series |= others.series


@dataclass(frozen=True)
class Run:
    """What a group needs to know.

    Attributes:
        uri: The server.
        database: The beginning of each database's name; all are dropped afterwards.
        small: Whether this is the quick form.
        folder: A folder for files, which is removed afterwards.
    """

    uri: str
    database: str
    small: bool
    folder: str

    def of(self, full: int, small: int) -> int:
        """A number of documents or rounds, for the full or the small form."""
        return small if self.small else full


def at_most(ratio: float, accepted: float | None = None) -> Target:
    """The largest acceptable ratio to the peer."""
    return Target("ratio", ratio, accepted=accepted)


def at_least(ratio: float, accepted: float | None = None) -> Target:
    """How many times faster than the peer it must be."""
    return Target("ratio", ratio, at_least=True, accepted=accepted)


def overhead(share: float, accepted: float | None = None) -> Target:
    """The largest acceptable share of the peer's time as additional cost."""
    return Target("overhead", 1 + share, accepted=None if accepted is None else 1 + accepted)


def no_more_than(count: float, accepted: float | None = None) -> Target:
    """The largest acceptable count, for example of commands or documents."""
    return Target("count", count, accepted=accepted)


def within(time: float) -> Target:
    """The longest acceptable time, in the figure's unit."""
    return Target("time", time)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio in each round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


@dataclass(frozen=True)
class Line:
    """The common beginning of lines of the table; see `Figure`."""

    work: str
    measure: str
    driver: str

    def counts(self, ours: float, unit: str, target: Target | None = None) -> Figure:
        """A figure without a comparison."""
        return Figure(self.work, self.measure, self.driver, ours, unit, target=target)

    def against(self, ours: float, unit: str, peer: str, theirs: float, target: Target | None = None) -> Figure:
        """A comparison of two figures that need no rounds."""
        return Figure(self.work, self.measure, self.driver, ours, unit, peer, theirs, ours / theirs, target)

    def compare(
        self, unit: str, times: Times, ours: str, peer: str, target: Target | None = None, *, counts: bool = False
    ) -> Figure:
        """A comparison of two subjects that were measured in the same rounds.

        Args:
            unit: The unit of the times.
            times: The time of each round, by subject.
            ours: Our subject.
            peer: The other one.
            target: The target.
            counts: Whether the values are not times but amounts of work per time.
        """
        mine, theirs = times[ours], times[peer]
        faster = target is not None and target.at_least and not counts
        ratio = statistics.median(ratios(theirs, mine) if faster else ratios(mine, theirs))
        median = statistics.median
        return Figure(self.work, self.measure, self.driver, median(mine), unit, peer, median(theirs), ratio, target)


def scaled(times: Times, factor: float) -> Times:
    """The same times in another unit."""
    return {name: [value * factor for value in values] for name, values in times.items()}


def in_a_process(work: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
    """Does some work in a fresh process, whose memory is unused."""
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        return processes.submit(_run, work, *arguments).result()


def _run(work: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
    return asyncio.run(work(*arguments))


def resident() -> float:
    """The resident memory of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


async def timed(work: Awaitable[Any]) -> float:
    """The seconds that some work takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def alternate(works: Mapping[str, Work], rounds: int, *, collect: bool = True) -> Times:
    """Lets all subjects work in turns: one round to warm up, then those that count; nobody always comes first.

    Objects that exist before that are hidden from the garbage collector: the subjects share a process, and each would
    pay for what the others have loaded.

    Args:
        works: By name, functions that do the work once and return the time it took.
        rounds: How many rounds count.
        collect: Whether to collect garbage before each work; for short work with many rounds, chance decides who is
            affected.
    """
    times: Times = {name: [] for name in works}
    names = list(works)
    gc.collect()
    gc.freeze()
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if collect:
                gc.collect()
            taken = await works[name]()
            if number:
                times[name].append(taken)
    return times
