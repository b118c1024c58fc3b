"""Start with `loading="lazy"`: it should take the same time however many users are stored."""

from __future__ import annotations

import statistics

from suite.core import Line, Results, Run, Work, alternate, at_most, scaled, timed, within
from suite.subjects import MOTOR, OTHER, OURS, PICKLE, Other, Ours, Persistence, Pickle

WORK = "start, lazy"
EAGER = "ours, eager"


def starting(subject: Persistence) -> Work:
    """One round: everything that `Application.initialize` requests from a persistence, without an open connection."""

    async def start() -> None:
        await subject.open()
        persistence = subject.persistence
        await persistence.get_user_data()
        await persistence.get_chat_data()
        await persistence.get_callback_data()
        await persistence.get_conversations("order")

    async def once() -> float:
        seconds = await timed(start())
        await subject.close()
        return seconds

    return once


def key(name: str, size: int) -> str:
    """The name of a start with this many users."""
    return f"{name}, {size:,} users"


async def measure(run: Run) -> Results:
    """Measures."""
    sizes = [1000, 20_000] if run.small else [1000, 100_000, 1_000_000]
    most_for_others = 0 if run.small else 100_000
    works = {}
    for size in sizes:
        lazy = [Ours(run, name, loading="lazy") for name in OURS]
        for subject in lazy:
            subject.database = f"{run.database}start_{size}"  # a start changes nothing: one database serves both
            works[key(subject.name, size)] = starting(subject)
        await lazy[0].fill(size)
        if size <= most_for_others:
            eager, pickle, other = Ours(run, MOTOR), Pickle(run, PICKLE), Other(run, OTHER)
            eager.database = lazy[0].database
            for subject in (pickle, other):
                subject.database += f"_{size}"
                await subject.fill(size)
            works |= {
                key(EAGER, size): starting(eager),
                key(PICKLE, size): starting(pickle),
                key(OTHER, size): starting(other),
            }
    times = await alternate(works, run.of(5, 2))
    series = {
        name: {size: times[key(name, size)] for size in sizes if key(name, size) in times}
        for name in (*OURS, EAGER, PICKLE, OTHER)
    }
    results = Results(series={"start": series})
    times = scaled(times, 1e3)
    fewest, most = sizes[0], sizes[-1]
    for name, driver in OURS.items():
        line = Line(WORK, f"{most:,} users", driver)
        ours = key(name, most)
        results.figures += [
            line.compare("ms", times, ours, key(name, fewest), at_most(1.5)),
            line.counts(statistics.median(times[ours]), "ms", within(300)),
        ]
    return results
