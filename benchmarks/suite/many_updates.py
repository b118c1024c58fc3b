"""Many updates: 64 handlers at once, a save every second, and the development of the memory."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Iterator

from telegram import Update

from suite.bot import App, answer, application, update_from
from suite.core import Line, Results, Run, Work, alternate, at_least, at_most, in_a_process, resident
from suite.subjects import IDLE, OURS, Idle, Ours, Persistence

WORK = "many updates"
NONE = "no persistence"
CONCURRENT = 64
BATCH = 10 * CONCURRENT
ACCEPTED = 0.4  # nearly every update changes a user, who is saved within the same second


def handling(app: App, updates: Iterator[Update], seconds: float) -> Work:
    """One round: seconds for one update, measured for some seconds; then, all changes are saved."""

    async def once() -> float:
        begun = time.perf_counter()
        handled = 0
        while time.perf_counter() - begun < seconds:
            for update in itertools.islice(updates, BATCH):
                await app.update_queue.put(update)
            await app.update_queue.join()
            handled += BATCH
        await app.update_persistence()
        return (time.perf_counter() - begun) / handled

    return once


class Memory:
    """Notes the memory of this process after each round."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def after(self, work: Work) -> Work:
        """The same work, followed by a note."""

        async def once() -> float:
            seconds = await work()
            gc.collect()
            self.megabytes.append(resident() / 1e6)
            return seconds

        return once


async def measure(run: Run) -> Results:
    """Measures in a fresh process, as memory that other works have freed would hide growth."""
    return in_a_process(measure_here, run)


async def measure_here(run: Run) -> Results:
    """Measures in this process."""
    users, rounds, seconds, interval = run.of(20_000, 500), run.of(12, 2), 5.0, 1.0
    if run.small:
        seconds, interval = 0.2, 0.05
    subjects: list[Persistence] = [*(Ours(run, name, update_interval=interval) for name in OURS), Idle(run, IDLE)]
    applications = {NONE: application(None, answer, CONCURRENT)}
    for subject in subjects:
        await subject.fill(users)
        applications[subject.name] = application(subject.made(), answer, CONCURRENT)
    memory = Memory()
    works = {}
    everybody = [update_from(user) for user in range(users)]
    for name, app in applications.items():
        await app.initialize()
        await app.start()
        for update in everybody:  # from here on, nobody is new
            await app.process_update(update)
        await app.update_persistence()
        works[name] = handling(app, itertools.cycle(everybody), seconds)
    works[list(OURS)[-1]] = memory.after(works[list(OURS)[-1]])
    times = await alternate(works, rounds)
    for app in applications.values():
        assert len(app.user_data) == users
        await app.stop()
        await app.shutdown()
    for subject in subjects:
        await subject.close()
    throughput = {name: [1 / value for value in values] for name, values in times.items()}
    results = Results(series={"many": {"seconds": seconds, "updates": throughput, "megabytes": memory.megabytes}})
    what = f"{CONCURRENT} at once, {users:,} users, a save every {interval:g} s"
    for name, driver in OURS.items():
        line = Line(WORK, what, driver)
        results.figures.append(line.compare("updates/s", throughput, name, NONE, counts=True))
        results.figures.append(line.compare("updates/s", throughput, name, IDLE, at_least(0.8, ACCEPTED), counts=True))
    third = len(memory.megabytes) // 3  # the first third fills pools and caches
    middle, end = (statistics.median(part) for part in (memory.megabytes[third:-third], memory.megabytes[-third:]))
    line = Line(WORK, f"memory in the last third of {len(memory.megabytes)} rounds of {seconds:g} s", "")
    results.figures.append(line.against(end, "MB", "in the second third", middle, at_most(1.05)))
    return results
