"""How the cost of a save grows: with changed users, loaded users, the size of a document, the size of a change."""

from __future__ import annotations

import copy
import itertools
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from suite.core import Line, Results, Run, Work, alternate, scaled, timed
from suite.subjects import OURS, Ours

WORK = "how a save grows"
CHANGED, LOADED = "changed users", "loaded users, one changed"
SIZE, CHANGE = "kB of a document, a field changed", "kB changed in a large document"
SIZES = {
    CHANGED: ([1, 10, 100, 1000, 10_000], [1, 10, 100]),
    LOADED: ([100, 1000, 10_000, 100_000], [100, 1000]),
    SIZE: ([1, 10, 100, 1000], [1, 10]),
    CHANGE: ([1, 10, 100, 1000], [1, 10]),
}
KILOBYTE = 1000
FEW = 100
NUMBERS = itertools.count(1000)  # each one is new, even to a user that several works change
USER = 1


def document(kilobytes: int) -> dict[str, Any]:
    """A user of this size, in parts of one kilobyte."""
    return {"count": 0, "parts": {f"part{number}": "x" * KILOBYTE for number in range(kilobytes)}}


def saving(subject: Ours, users: Mapping[int, Any], change: Callable[[Any, int], None]) -> Work:
    """One round: seconds to save these users, all of whom have changed; for a short save, the median of several."""

    async def once() -> float:
        seconds = []
        for _ in range(subject.run.of(7, 3) if len(users) <= FEW else 1):
            number = next(NUMBERS)
            for data in users.values():
                change(data, number)
            seconds.append(await timed(subject.save(copy.deepcopy(users))))
        return statistics.median(seconds)

    return once


def count(data: Any, number: int) -> None:
    """Changes a field."""
    data["count"] = number


def rewrite(kilobytes: int) -> Callable[[Any, int], None]:
    """Changes this many kilobytes of a document."""

    def change(data: Any, number: int) -> None:
        for part in range(kilobytes):
            data["parts"][f"part{part}"] = str(number) + "y" * KILOBYTE

    return change


async def opened(run: Run, name: str, what: str, loaded: int) -> tuple[Ours, Any]:
    """A subject with this many users."""
    subject = Ours(run, name)
    subject.database += f"_{what}_{loaded}"
    await subject.fill(loaded)
    await subject.open()
    return subject, subject.users(await subject.load())


async def measure(run: Run) -> Results:
    """Measures."""
    name, driver = next(iter(OURS.items()))
    sizes = {what: small if run.small else full for what, (full, small) in SIZES.items()}
    works: dict[str, Work] = {}
    subject, users = await opened(run, name, "changed", max(sizes[CHANGED]))
    subjects = [subject]
    for some in sizes[CHANGED]:
        works[f"{CHANGED} {some}"] = saving(subject, dict(list(users.items())[:some]), count)
    for loaded in sizes[LOADED]:
        subject, users = await opened(run, name, "loaded", loaded)
        subjects.append(subject)
        works[f"{LOADED} {loaded}"] = saving(subject, {USER: users[USER]}, count)
    for what in (SIZE, CHANGE):
        for kilobytes in sizes[what]:
            subject = Ours(run, name)
            subject.database += f"_{'size' if what == SIZE else 'change'}_{kilobytes}"
            await subject.open()
            subjects.append(subject)
            data = document(kilobytes if what == SIZE else run.of(1000, 100))
            await subject.save({USER: copy.deepcopy(data)})
            change = count if what == SIZE else rewrite(kilobytes)
            works[f"{what} {kilobytes}"] = saving(subject, {USER: data}, change)
    times = await alternate(works, run.of(5, 2))
    for subject in subjects:
        await subject.close()
    series = {
        what: {"sizes": sizes[what], "seconds": [times[f"{what} {one}"] for one in sizes[what]]} for what in SIZES
    }
    results = Results(series={"growth": series})
    for what, steps in sizes.items():
        line = Line(WORK, f"{steps[-1]:,} {what}", driver)
        results.figures.append(line.compare("ms", scaled(times, 1e3), f"{what} {steps[-1]}", f"{what} {steps[0]}"))
    return results
