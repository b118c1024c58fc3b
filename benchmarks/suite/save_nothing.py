"""Save when nothing has changed: PTB offers what was used, not what has changed."""

from __future__ import annotations

import copy
from typing import Any

from suite.core import Line, Results, Run, Work, alternate, at_most, no_more_than, scaled, timed
from suite.save import saving
from suite.subjects import IDLE, OURS, Counted, Idle, Ours, Persistence

NOTHING = ", nothing changed"
ACCEPTED = 0.25  # with few users, the round trip of a save is the larger part


def offering(subject: Persistence, users: dict[int, Any]) -> Work:
    """One round: offers all users unchanged."""

    async def once() -> float:
        return await timed(subject.save(copy.deepcopy(users)))

    return once


async def commands(run: Run, name: str) -> int:
    """How many commands go to the server for unchanged users."""
    subject = Counted(run, name)
    await subject.open()
    users = await subject.load()
    subject.sent.take()
    await subject.save(copy.deepcopy(users))
    sent = len(subject.sent.take())
    await subject.close()
    return sent


async def measure(run: Run) -> Results:
    """Measures."""
    count = run.of(10_000, 2000)
    works = {}
    subjects = [Ours(run, name) for name in OURS]
    for subject in subjects:
        await subject.fill(count)
        await subject.open()
        users = await subject.load()
        works[subject.name] = saving(subject, users)
        works[subject.name + NOTHING] = offering(subject, users)
    idle = Idle(run, IDLE)
    await idle.open()
    works[IDLE] = offering(idle, users)
    times = await alternate(works, run.of(9, 2))
    results = Results()
    for subject in subjects:
        await subject.close()
        name = subject.name
        line = Line("save, nothing changed", f"{count:,} users offered", OURS[name])
        results.figures += [
            line.compare("ms", scaled(times, 1e3), name + NOTHING, name, at_most(0.1, ACCEPTED)),
            line.compare("ms", scaled(times, 1e3), name + NOTHING, IDLE, at_most(1.3)),
            line.counts(await commands(run, name), "commands", no_more_than(0)),
        ]
    return results
