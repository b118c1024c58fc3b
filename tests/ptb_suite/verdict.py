"""Whether a run of PTB's tests is good: compares each result with the list of tests that are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Outcome", "Verdict", "judge", "read_left_out"]

Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]
"""Of a listed test: "xfailed" or "xpassed". Of any other: "passed", or it does not hold."""


@dataclass
class Verdict:
    """What is to be said of a run.

    Attributes:
        held: The tests that hold.
        problems: Why the run fails; empty if it does not.
        hints: What may be taken off the list.
    """

    held: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def read_left_out(text: str) -> dict[str, str]:
    """Reads the list: each reason stands in brackets above its tests, and a `#` begins a comment.

    Returns:
        The reason for each test.

    Raises:
        ValueError: If a test has no reason, or is listed twice.
    """
    listed: dict[str, str] = {}
    reason = ""
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            reason = line.strip("[] ")
        elif not reason:
            raise ValueError(f"{line}: no reason stands above it")
        elif line in listed:
            raise ValueError(f"{line}: it is listed twice")
        else:
            listed[line] = reason
    return listed


def judge(outcomes: Mapping[str, Outcome], left_out: Mapping[str, str], at_least: int) -> Verdict:
    """Decides whether a run is good.

    Args:
        outcomes: What came of each test that ran.
        left_out: The listed tests, with their reasons.
        at_least: So many tests must hold.
    """
    verdict = Verdict()
    for test, outcome in sorted(outcomes.items()):
        if outcome == "passed":
            verdict.held.add(test)
        elif outcome == "xpassed":
            verdict.hints.append(f"is on the list, and holds: {test}")
        elif outcome == "failed" or (outcome == "xfailed" and test not in left_out):
            verdict.problems.append(f"does not hold: {test}")
    verdict.problems += [f"is on the list, and did not run: {test}" for test in left_out if test not in outcomes]
    if len(verdict.held) < at_least:
        verdict.problems.append(f"only {len(verdict.held)} tests hold, and {at_least} should")
    return verdict
