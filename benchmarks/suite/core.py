"""Rounds, ratios and targets: pure functions, and the clock.

Absolute times mean nothing on a noisy machine. So all subjects do the same work in turns, in one run; each round
gives a ratio, and what counts is the median of the ratios.
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
    """What must be reached.

    Attributes:
        kind: What is judged: the ratio to a peer, an overhead (the ratio less one), or our own figure, which counts
            something or is a time.
        limit: The worst that is good enough.
        at_least: Whether more is better.
        accepted: What the small form accepts where the target is known to be missed: what was measured there, and some
            room, so that it cannot get worse unnoticed.
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
        work: What is done.
        measure: How much of it.
        driver: Which of our two subjects did it.
        ours: What it took, or counts.
        unit: Of `ours` and `theirs`.
        peer: With whom it is compared.
        theirs: What the same took there.
        ratio: The median of the rounds' ratios; how many times faster where the target says "at least".
        target: What must be reached, if anything.
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
        """The value that the target is about."""
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
    """What a group has measured: lines for the table, and the series that the pictures show."""

    figures: list[Figure] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)

    def add(self, others: Results) -> None:
        """Appends what another group, or another part of this one, has measured."""
        self.figures += others.figures
        self.series |= others.series


@dataclass(frozen=True)
class Run:
    """What a group needs to know.

    Attributes:
        uri: The server.
        database: Begins the name of each database that is made; all are dropped afterwards.
        small: Whether this is the quick form.
        folder: A folder for files, removed afterwards.
    """

    uri: str
    database: str
    small: bool
    folder: str

    def of(self, full: int, small: int) -> int:
        """A number of documents or rounds: that of the full form, or of the small one."""
        return small if self.small else full


def at_most(ratio: float, accepted: float | None = None) -> Target:
    """The ratio to the peer may be that."""
    return Target("ratio", ratio, accepted=accepted)


def at_least(ratio: float, accepted: float | None = None) -> Target:
    """So many times faster than the peer."""
    return Target("ratio", ratio, at_least=True, accepted=accepted)


def overhead(share: float, accepted: float | None = None) -> Target:
    """It may cost that share of the peer's time on top."""
    return Target("overhead", 1 + share, accepted=None if accepted is None else 1 + accepted)


def no_more_than(count: float, accepted: float | None = None) -> Target:
    """A count, of commands or documents, may be that."""
    return Target("count", count, accepted=accepted)


def within(time: float) -> Target:
    """A time, in the figure's own unit, may be that."""
    return Target("time", time)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio within each round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


@dataclass(frozen=True)
class Line:
    """The beginning of some lines of the table: see `Figure`."""

    work: str
    measure: str
    driver: str

    def counts(self, ours: float, unit: str, target: Target | None = None) -> Figure:
        """What is not compared with anybody."""
        return Figure(self.work, self.measure, self.driver, ours, unit, target=target)

    def against(self, ours: float, unit: str, peer: str, theirs: float, target: Target | None = None) -> Figure:
        """Two figures that need no rounds."""
        return Figure(self.work, self.measure, self.driver, ours, unit, peer, theirs, ours / theirs, target)

    def compare(
        self, unit: str, times: Times, ours: str, peer: str, target: Target | None = None, *, counts: bool = False
    ) -> Figure:
        """Two subjects that were measured in the same rounds.

        Args:
            unit: Of what was measured.
            times: By subject, what each round took.
            ours: Our subject.
            peer: The other.
            target: What must be reached.
            counts: Whether it is no times that were measured, but how much was done in one.
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
    """Does something in a fresh process, whose memory nobody else has used."""
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        return processes.submit(_run, work, *arguments).result()


def _run(work: Callable[..., Coroutine[Any, Any, Result]], *arguments: Any) -> Result:
    return asyncio.run(work(*arguments))


def resident() -> float:
    """Bytes that this process holds."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


async def timed(work: Awaitable[Any]) -> float:
    """The seconds that something takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def alternate(works: Mapping[str, Work], rounds: int, *, collect: bool = True) -> Times:
    """Lets all work in turns: one round to warm up, then those that count; nobody is always the first.

    What all of them hold before that is hidden from the garbage collector: they share a process, and each would pay
    for what the others have loaded.

    Args:
        works: By name, what does the work once and returns what it took.
        rounds: How many rounds count.
        collect: Whether to collect garbage before each work; for short ones, of which there are many rounds, it is
            left to chance whom that meets.
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
