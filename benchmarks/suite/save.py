"""Save many: a field changed in the data of every loaded user."""

from __future__ import annotations

import copy

from suite.core import Line, Results, Run, Times, Work, alternate, at_least, at_most, scaled, timed
from suite.subjects import CHUNK, CLIENTS, OTHER, OURS, PICKLE, Raw, Subject, persistences, raw

UNGUARDED, ONE = "bulk_write without guards", "bulk_write"
CHUNKS, UNGUARDED_CHUNKS = "bulk_write in parallel chunks", "bulk_write in parallel chunks without guards"
# With 2,000 users, where the fixed cost of a save weighs more, 1.3 to 1.6, 3.4 to 3.9 and 5.3 to 5.8 were measured.
ACCEPTED_ONE, ACCEPTED_CHUNKS, ACCEPTED_OTHER = 2.2, 5.0, 3.5


def saving(subject: Subject, users: dict[int, dict[str, object]]) -> Work:
    """One round of a subject: seconds for all users, extrapolated from fewer if it is too slow."""

    async def once() -> float:
        nonlocal number
        number += 1
        some = dict(list(users.items())[: subject.affordable // (5 if subject.run.small else 1)])
        for data in some.values():
            data["score"] = number
        seconds = await timed(subject.save(copy.deepcopy(some)))
        return seconds * len(users) / len(some)

    number = 1000
    return once


def figures(times: Times, users: int) -> Results:
    """The table's lines."""
    results = Results(series={"save": {"users": users, "seconds": times}})
    times = scaled(times, 1e3)
    for ours, driver in OURS.items():
        line = Line("save", f"{users:,} of {users:,} users, a field each", driver)
        for peer, target in (
            (raw(driver, UNGUARDED), None),  # the cost of never undoing others' writes
            (raw(driver, ONE), at_most(0.9, ACCEPTED_ONE)),
            (raw(driver, CHUNKS), None),
            (raw(driver, UNGUARDED_CHUNKS), at_most(1.3, ACCEPTED_CHUNKS)),
            (OTHER, at_least(10, ACCEPTED_OTHER)),
            (PICKLE, at_least(15)),
        ):
            results.figures.append(line.compare("ms", times, ours, peer, target))
    return results


async def measure(run: Run) -> Results:
    """Measures."""
    count = run.of(10_000, 2000)
    subjects = persistences(run)
    for driver in CLIENTS:
        subjects += [
            Raw(run, driver, UNGUARDED),
            Raw(run, driver, ONE, is_guarded=True),
            Raw(run, driver, CHUNKS, CHUNK, is_guarded=True),
            Raw(run, driver, UNGUARDED_CHUNKS, CHUNK),
        ]
    works = {}
    for subject in subjects:
        await subject.fill(count)
        await subject.open()
        works[subject.name] = saving(subject, subject.users(await subject.load()))
    times = await alternate(works, run.of(9, 2))
    for subject in subjects:
        await subject.close()
    return figures(times, count)
