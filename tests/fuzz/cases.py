"""Cases, what plays them, and what comes of many."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from choices import Choices
from judging import Finding

__all__ = ["Case", "Found", "Layer", "Play", "Statistics"]

_SHOWN: Final = 3


class Case(NamedTuple):
    """One case.

    Attributes:
        layer: What is tested.
        seed: That of the run.
        number: Which one.
    """

    layer: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.layer}/{self.seed}/{self.number}"

    def choices(self) -> Choices:
        """Its decisions."""
        return Choices.by_seed(str(self))


Play = Callable[[Any, int], Finding | None]
"""Plays what was made; its number says which costs are measured."""


class Layer(Protocol):
    """What is tested."""

    name: str

    def make(self, choices: Choices) -> Any:
        """What is planted: decided, and not played yet."""

    def size(self, made: Any) -> int:
        """The bytes of what is planted."""

    def open(self) -> contextlib.AbstractContextManager[Play]:
        """What plays; opened once in each process."""

    def shown(self, made: Any) -> str:
        """What is planted, for people."""


@dataclass
class Statistics:
    """Figures of a run."""

    cases: int = 0
    bytes: int = 0
    seconds: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, int, str]] = field(default_factory=list)
    largest: list[tuple[int, str]] = field(default_factory=list)
    peak: int = 0

    def note(self, case: Case, label: str, size: int, seconds: float) -> None:
        """One more case."""
        self.cases += 1
        self.bytes += size
        self.seconds += seconds
        self.labels[label] += 1
        self.slowest = sorted([*self.slowest, (seconds, size, str(case))])[-_SHOWN:]
        self.largest = sorted([*self.largest, (size, str(case))])[-_SHOWN:]

    def add(self, other: Statistics) -> None:
        """Those of another process."""
        self.cases += other.cases
        self.bytes += other.bytes
        self.seconds += other.seconds
        self.labels += other.labels
        self.slowest = sorted(self.slowest + other.slowest)[-_SHOWN:]
        self.largest = sorted(self.largest + other.largest)[-_SHOWN:]
        self.peak = max(self.peak, other.peak)


class Found(NamedTuple):
    """A finding, and the case that it was found by."""

    case: Case
    finding: Finding
