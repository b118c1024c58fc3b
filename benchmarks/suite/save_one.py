"""Save one of many loaded users: the others should cost nothing."""

from __future__ import annotations

import copy
import statistics
from typing import Any

from suite.core import Line, Results, Run, Work, alternate, at_least, at_most, scaled, timed
from suite.subjects import OTHER, OURS, PICKLE, Subject, persistences


def one(subject: Subject, users: dict[int, Any]) -> Work:
    """One round: the median of several saves of one user, or a single save for a subject that rewrites everything."""

    async def once() -> float:
        nonlocal number
        seconds = []
        for _ in range(1 if subject.name == PICKLE else subject.run.of(50, 15)):
            number += 1
            users[1]["score"] = number
            seconds.append(await timed(subject.save({1: copy.deepcopy(users[1])})))
        return statistics.median(seconds)

    number = 1000
    return once


async def measure(run: Run) -> Results:
    """Measures."""
    sizes = [1000, 5000] if run.small else [1000, 10_000, 100_000]
    works, subjects = {}, []
    for size in sizes:
        for subject in persistences(run):
            subject.database += f"_{size}"
            await subject.fill(size)
            await subject.open()
            works[key(subject.name, size)] = one(subject, subject.users(await subject.load()))
            subjects.append(subject)
    times = await alternate(works, run.of(7, 2))
    for subject in subjects:
        await subject.close()
    names = [*OURS, PICKLE, OTHER]
    series = {"sizes": sizes, "seconds": {name: [times[key(name, size)] for size in sizes] for name in names}}
    results = Results(series={"save_one": series})
    times = scaled(times, 1e3)
    fewest, most = sizes[0], sizes[-1]
    for name, driver in OURS.items():
        line = Line("save, one of many", f"1 of {most:,} loaded users", driver)
        for peer, target in (
            (key(name, fewest), at_most(1.2)),
            (key(PICKLE, most), at_least(15)),
            (key(OTHER, most), None),
        ):
            results.figures.append(line.compare("ms", times, key(name, most), peer, target))
    return results


def key(name: str, size: int) -> str:
    """The name of a subject with this many users."""
    return f"{name}, {size:,} loaded"
