"""The longest time for which the event loop is blocked: during that time, every user waits."""

from __future__ import annotations

import asyncio
import copy
import gc
import statistics
import time
from collections.abc import Awaitable
from typing import Any

from suite.bot import application, remember
from suite.core import Line, Results, Run, Work, alternate, at_most, scaled, within
from suite.subjects import CLIENTS, DOCUMENT, IDLE, OURS, Idle, Ours, Raw, Subject, client_of, raw

WORK = "event loop"
TICK = 0.001
AT_ONCE = 64
FEW = 10_000
ONE, FIND = "bulk_write", "find().to_list()"
ACCEPTED = 25  # on a shared machine, a single interval without the processor is enough


async def longest_block(work: Awaitable[Any]) -> float:
    """The longest delay of a timer during some work, in seconds."""
    loop = asyncio.get_running_loop()
    longest = 0.0

    def tick() -> None:
        nonlocal longest, due, handle
        now = time.perf_counter()
        longest = max(longest, now - due)
        due = now + TICK
        handle = loop.call_later(TICK, tick)

    due = time.perf_counter() + TICK
    handle = loop.call_later(TICK, tick)
    await work
    handle.cancel()
    return max(longest, time.perf_counter() - due)


def saving(subject: Subject, users: dict[int, Any] | None = None) -> Work:
    """One round: the longest block while all users are saved; PTB's copies are made before.

    Each round loads everything again, so that nobody pays for others' objects, and saves twice, as the first save opens
    connections.
    """

    async def once() -> float:
        await subject.open()
        known = users if users is not None else subject.users(await subject.load())
        for score in (1, 2):
            for data in known.values():
                data["score"] = score
            copies = copy.deepcopy(known)
            gc.collect()
            await asyncio.sleep(0)
            longest = await longest_block(subject.save(copies))
        await subject.close()
        return longest

    return once


def preloading(run: Run, name: str, count: int) -> Work:
    """One round: the longest block while a running bot loads users that are new to it."""

    async def once() -> float:
        subject = Ours(run, name, loading="lazy")
        persistence: Any = subject.made()
        app = application(persistence, remember)
        await app.initialize()
        await asyncio.sleep(0.1)  # the change stream opens meanwhile
        longest = await longest_block(persistence.preload(app, user_ids=range(count)))
        assert len(app.user_data) == count
        await app.shutdown()
        await subject.close()
        return longest

    return once


def finding(subject: Subject) -> Work:
    """One round of a raw driver."""

    async def once() -> float:
        await asyncio.sleep(0)
        return await longest_block(subject.load())

    return once


async def saves(run: Run, count: int, rounds: int) -> Results:
    """Blocks while many users are saved."""
    subjects: list[Subject] = [Ours(run, name) for name in OURS]
    if count <= FEW:  # with more, only PTB's own work is a reference, and takes long enough
        subjects += [Raw(run, driver, ONE) for driver in CLIENTS]
    for subject in subjects:
        subject.database += f"_{count}"
        await subject.fill(count)
    works = {subject.name: saving(subject) for subject in subjects}
    works[IDLE] = saving(Idle(run, IDLE), {number: copy.deepcopy(DOCUMENT) for number in range(count)})
    return lines(f"save of {count:,}", await alternate(works, rounds), ONE, f"save_block_{count}")


def storming(run: Run, name: str, count: int) -> Work:
    """One round: the longest block after others have changed all users and each has an update."""

    async def once() -> float:
        subject = Ours(run, name, refresh="watch")
        persistence: Any = subject.made()
        app = application(persistence, remember)
        await app.initialize()
        await persistence.refresh_user_data(0, app.user_data[0])
        await asyncio.sleep(0.3)  # the change stream opens meanwhile
        async with client_of(OURS[name], run.uri) as client:
            edit = {"$inc": {"data.score": 1}, "$unset": {"rev": ""}}
            longest = await longest_block(client[subject.database].user_data.update_many({}, edit))

        async def refreshed() -> None:
            users = iter(range(count))

            async def one_after_the_other() -> None:
                for user in users:
                    await persistence.refresh_user_data(user, app.user_data[user])

            await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))

        longest = max(longest, await longest_block(refreshed()))
        await app.shutdown()
        await subject.close()
        return longest

    return once


async def storms(run: Run) -> Results:
    """Blocks while everybody's data is read again."""
    count = run.of(100_000, 1000)
    works = {}
    for name in OURS:
        subject = Ours(run, name)
        await subject.fill(count)
        works[name] = storming(run, name, count)
    times = scaled(await alternate(works, run.of(2, 1)), 1e3)
    results = Results(series={"storm_block": times})
    for name, driver in OURS.items():
        line = Line(WORK, f"longest block, refresh storm of {count:,}", driver)
        results.figures.append(line.counts(statistics.median(times[name]), "ms", within(20)))
    return results


async def loads(run: Run) -> Results:
    """Blocks while a running bot loads many users."""
    count = run.of(100_000, 2000)
    works = {}
    subjects = [Raw(run, driver, FIND) for driver in CLIENTS]
    for name in OURS:
        await Ours(run, name).fill(count)
        works[name] = preloading(run, name, count)
    for subject in subjects:
        await subject.fill(count)
        await subject.open()
        works[subject.name] = finding(subject)
    times = await alternate(works, run.of(3, 1))
    for subject in subjects:
        await subject.close()
    return lines(f"preload of {count:,}", times, FIND, "load_block")


def lines(what: str, times: dict[str, list[float]], how: str, series: str) -> Results:
    """The table's lines."""
    times = scaled(times, 1e3)
    results = Results(series={series: times})
    for name, driver in OURS.items():
        line = Line(WORK, f"longest block, {what}", driver)
        if raw(driver, how) in times:
            results.figures.append(line.compare("ms", times, name, raw(driver, how), within(20)))
        if IDLE in times:
            results.figures.append(line.compare("ms", times, name, IDLE, at_most(1.5, ACCEPTED)))
    return results


async def measure(run: Run) -> Results:
    """Measures."""
    results = await saves(run, run.of(10_000, 1000), run.of(5, 1))
    if not run.small:
        results.add(await saves(run, 100_000, 1))
    results.add(await loads(run))
    results.add(await storms(run))
    return results
