"""Plays many schedules, and shows the shortest one that fails.

python tests/simulation/run.py --schedules 20000 --jobs 2
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager

from making import Features, make
from nodes import Violation
from schedule import Schedule, readable, shrunk
from world import Result, play

ALL = Features()


def main() -> None:
    options = _options()
    chosen = dict.fromkeys(options.without, False) | dict.fromkeys(options.also, True)
    features = Features(**chosen, bots=options.bots)
    ignored = frozenset(options.ignore)
    began, kinds, played = time.perf_counter(), Counter[str](), 0
    seeds = [options.seed] if options.seed is not None else range(options.start, options.start + options.schedules)
    first: dict[str, int] = {}
    for seed, kind in _played(list(seeds), features, ignored, options.jobs):
        played += 1
        if kind is not None:
            kinds[kind] += 1
            first.setdefault(kind, seed)
            if not options.keep_going:
                break
    took = time.perf_counter() - began
    print(f"{played} schedules in {took:.1f} s, {1000 * took / played:.1f} ms each; {dict(kinds)}")
    for kind, seed in first.items():
        print(f"\n{kind}: seed {seed}")
        show(seed, features, ignored, shrink=not options.no_shrinking, verbose=options.verbose)
    sys.exit(1 if kinds else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=1500)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--bots", type=int, default=3, help="at most")
    parser.add_argument("--without", nargs="*", default=[], help="names of Features that are left out")
    parser.add_argument("--also", nargs="*", default=[], help="names of Features that are off by default")
    parser.add_argument("--ignore", nargs="*", default=[], help="kinds of violations that do not count")
    parser.add_argument("--keep-going", action="store_true", help="after the first violation; shows one of each kind")
    parser.add_argument("--no-shrinking", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="show all that happens")
    return parser.parse_args()


def _played(
    seeds: list[int], features: Features, ignored: frozenset[str], jobs: int
) -> Iterator[tuple[int, str | None]]:
    if jobs == 1:
        yield from (_kind((seed, features, ignored)) for seed in seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_kind, [(seed, features, ignored) for seed in seeds], chunksize=20)


def _kind(work: tuple[int, Features, frozenset[str]]) -> tuple[int, str | None]:
    seed, features, ignored = work
    return seed, play(make(seed, features), ignored).kind


def find(
    mutation: AbstractContextManager[object], schedules: int, features: Features = ALL, start: int = 0
) -> int | None:
    """The first seed whose schedule fails while something is changed for the worse; `None` if none does.

    Args:
        mutation: What is changed: `mock.patch.object(Replica, "sending", …)`, say.
        schedules: How many are tried.
        features: What they may hold.
        start: The first seed.
    """
    with mutation:
        for seed in range(start, start + schedules):
            if play(make(seed, features)).violation is not None:
                return seed
    return None


def show(
    seed: int, features: Features, ignored: frozenset[str] = frozenset(), *, shrink: bool = True, verbose: bool = False
) -> None:
    """Prints the shortest schedule that fails as that of a seed does."""
    schedule = make(seed, features)
    result = play(schedule, ignored)
    if shrink and result.violation is not None:
        schedule = shortest(schedule, result, ignored)
        result = play(schedule, ignored)
    if isinstance(result.violation, Violation):
        print(result.violation)
    elif result.violation is not None:
        traceback.print_exception(result.violation)
    print("    " + readable(schedule).replace("\n", "\n    "))
    if verbose:
        for at, text in result.trace:
            print(f"    {at:10.4f}  {text}")


def shortest(schedule: Schedule, result: Result, ignored: frozenset[str]) -> Schedule:
    return shrunk(schedule, lambda other: play(other, ignored).kind == result.kind)


if __name__ == "__main__":
    main()
