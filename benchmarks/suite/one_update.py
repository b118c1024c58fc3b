"""One update from end to end: what a persistence adds to PTB's own work."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

from telegram import Update

from suite.bot import App, answer, application, remember, update_from
from suite.core import Line, Results, Run, Work, alternate, overhead, scaled
from suite.subjects import IDLE, OTHER, OURS, PICKLE, Idle, Other, Ours, Persistence, Pickle

WORK = "one update end to end"
NONE = "no persistence"
USERS = 20  # few, so that each comes again and again, and changes matter
# In an update of 85 µs, our three refreshes take 3 µs, and what PTB does for any persistence takes as much again. Here,
# where six applications share the processor's caches, 2 to 14 % were measured.
ACCEPTED = 0.2
AT_ONCE = 20  # so few that most rounds are not disturbed


def handling(app: App, updates: Iterator[Update], count: int) -> Work:
    """One round: seconds for one of several consecutive updates."""

    async def once() -> float:
        begun = time.perf_counter()
        for update in itertools.islice(updates, count):
            await app.process_update(update)
        return (time.perf_counter() - begun) / count

    return once


async def measure(run: Run) -> Results:
    """Measures."""
    results = Results()
    updates = [update_from(user) for user in range(USERS)]
    for what, handler in (("a handler that answers", answer), ("one that does not", remember)):
        subjects: list[Persistence] = [
            *(Ours(run, name, refresh="watch") for name in OURS),
            Idle(run, IDLE),
            Pickle(run, PICKLE),
            Other(run, OTHER),
        ]
        applications = {NONE: application(None, handler)}
        for subject in subjects:
            await subject.fill(USERS)
            applications[subject.name] = application(subject.made(), handler)
        for app in applications.values():
            await app.initialize()
            await app.process_update(updates[0])
        await asyncio.sleep(0.5)  # the change streams open meanwhile, as in a running bot
        works = {
            name: handling(app, itertools.cycle(updates), 2 if name == OTHER else AT_ONCE)
            for name, app in applications.items()
        }
        times = scaled(await alternate(works, run.of(400, 250), collect=False), 1e6)
        for name, app in applications.items():
            assert app.user_data[0]["last"] == "hello", f"the handler did not run: {name}"
            await app.shutdown()
        for subject in subjects:
            await subject.close()
        results.series.setdefault("one_update", {})[what] = times
        for name, driver in OURS.items():
            line = Line(WORK, what, driver)
            target = overhead(0.05, ACCEPTED) if handler is answer else None
            for peer in (NONE, IDLE):
                results.figures.append(line.compare("µs", times, name, peer, target))
            results.figures.append(line.compare("µs", times, name, OTHER))
    return results
