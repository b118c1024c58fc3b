"""Load everything at the start, and the memory that it takes."""

from __future__ import annotations

import gc

from suite.core import Line, Results, Run, Work, alternate, at_least, at_most, in_a_process, resident, scaled, timed
from suite.subjects import CLIENTS, OTHER, OURS, PICKLE, Ours, Raw, Subject, persistences, raw

FIND = "find().to_list()"


def everybody(run: Run) -> list[Subject]:
    """All subjects; those with the same documents use the same database."""
    subjects = [*persistences(run), *(Raw(run, driver, FIND) for driver in CLIENTS)]
    for subject in subjects:
        if isinstance(subject, (Ours, Raw)):
            subject.database = f"{run.database}load"
    return subjects


def loading(subject: Subject) -> Work:
    """One round of a subject: seconds to load all users, without connecting."""

    async def once() -> float:
        await subject.open()
        loaded = []

        async def load() -> None:
            loaded.append(await subject.load())

        seconds = await timed(load())
        await subject.close()
        return seconds

    return once


async def bytes_a_user(run: Run, name: str) -> float:
    """The memory of a loaded user in a process that has done nothing else."""
    subject = next(subject for subject in everybody(run) if subject.name == name)
    await subject.open()
    gc.collect()
    before = resident()
    loaded = await subject.load()
    gc.collect()
    taken = (resident() - before) / len(loaded)
    await subject.close()
    return taken


async def measure(run: Run) -> Results:
    """Measures."""
    count = run.of(100_000, 20_000)
    subjects = [subject for subject in everybody(run) if not (run.small and subject.name == PICKLE)]
    for subject in {subject.database: subject for subject in subjects}.values():
        await subject.fill(count)
    times = await alternate({subject.name: loading(subject) for subject in subjects}, run.of(7, 2))
    results = Results(series={"load": {"users": count, "seconds": times}})
    memory = {}
    if not run.small:
        memory = {subject.name: in_a_process(bytes_a_user, run, subject.name) for subject in subjects}
    if memory:
        results.series["memory"] = {"users": count, "bytes": memory}
    times = scaled(times, 1e3)
    for ours, driver in OURS.items():
        line = Line("load", f"{count:,} users", driver)
        least = raw(driver, FIND)
        targets = {least: at_most(1.0), OTHER: at_least(2), PICKLE: None}
        for peer, target in targets.items():
            if peer in times:
                results.figures.append(line.compare("ms", times, ours, peer, target))
        if memory:
            line = Line("load", f"memory for each of {count:,} users", driver)
            results.figures.append(line.against(memory[ours], "B", least, memory[least], at_most(1.12)))
    return results
