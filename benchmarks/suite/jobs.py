"""Stored jobs, compared with PTB's own queue, which keeps them in memory."""

from __future__ import annotations

import asyncio
import datetime as dtm
import time
from typing import Any

from apscheduler.jobstores.memory import MemoryJobStore
from pymongo import MongoClient
from telegram.ext import JobQueue

from ptb_mongo import MongoJobQueue, MongoPersistence
from suite.bot import App, application, remember
from suite.core import Line, Results, Run, Work, alternate, at_most, scaled, within

WORK = "jobs"
PTB = "PTB's JobQueue"
OURS = "MongoJobQueue"
_ADDED = 500
_LOOKS = 50


async def alarm(_: Any) -> None:
    """A callback that never runs."""


def documents(number: int) -> list[dict[str, Any]]:
    """Stored jobs: a third runs once, a third repeats, a third runs on some days of the week."""
    later = dtm.datetime.now(dtm.timezone.utc) + dtm.timedelta(hours=5)
    rules: list[dict[str, Any]] = [
        {"kind": "once", "at": later, "zone": "UTC"},
        {"kind": "repeating", "interval": 3600, "first": later, "zone": "UTC"},
        {"kind": "daily", "time": "08:00:00", "days": ["mon", "fri"], "zone": "Europe/Berlin"},
    ]
    return [
        {
            "_id": f"job-{one}",
            "callback": f"{__name__}:alarm",
            "name": f"job {one}",
            "chat_id": one,
            "data": {"what": "tea", "number": one},
            "trigger": rules[one % 3],
            "next_run": later + dtm.timedelta(seconds=one),
        }
        for one in range(number)
    ]


async def started(persistence: Any, queue: Any) -> tuple[App, float]:
    """A bot, and the CPU seconds of its start."""
    made = application(persistence, remember, job_queue=queue)
    begun = time.process_time()
    await made.initialize()
    await made.start()
    return made, time.process_time() - begun


def adding(queue: Any) -> Work:
    """Adds jobs and removes them again; returns the CPU seconds for one until it is stored."""

    async def once() -> float:
        begun = time.process_time()
        jobs = [queue.run_once(alarm, 3600, data={"what": "tea", "number": n}, chat_id=n) for n in range(_ADDED)]
        await asyncio.sleep(0.3)
        taken = (time.process_time() - begun) / _ADDED
        for job in jobs:
            job.schedule_removal()
        await asyncio.sleep(0.3)
        return taken

    return once


def looking(store: Any) -> Work:
    """What a run of the scheduler requests from its store."""

    async def once() -> float:
        now = dtm.datetime.now(dtm.timezone.utc)
        begun = time.perf_counter()
        for _ in range(_LOOKS):
            store.get_due_jobs(now)
            store.get_next_run_time()
        return (time.perf_counter() - begun) / _LOOKS

    return once


async def measure(run: Run) -> Results:
    """Measures."""
    number = run.of(10_000, 2_000)
    database, empty = f"{run.database}jobs", f"{run.database}no_jobs"
    with MongoClient[dict[str, Any]](run.uri) as client:
        client[database].jobs.insert_many(documents(number))
    theirs, without = await started(MongoPersistence(run.uri, empty), JobQueue())
    ours, taken = await started(MongoPersistence(run.uri, database), MongoJobQueue(callbacks=[alarm]))
    memory = MemoryJobStore()
    assert theirs.job_queue is not None
    theirs.job_queue.scheduler.add_jobstore(memory, "memory")
    for one in range(number):
        at = {"chat_id": one, "data": {"what": "tea"}, "job_kwargs": {"jobstore": "memory"}}
        theirs.job_queue.run_once(alarm, 18_000 + one, **at)
    queues: dict[str, Any] = {PTB: theirs.job_queue, OURS: ours.job_queue}
    added = await alternate({name: adding(queue) for name, queue in queues.items()}, run.of(15, 5))
    stores: dict[str, Any] = {PTB: memory, OURS: queues[OURS].store}
    looked = await alternate({name: looking(store) for name, store in stores.items()}, run.of(40, 10))
    for bot in (theirs, ours):
        await bot.stop()
        await bot.shutdown()
    more = (min(added[OURS]) - min(added[PTB])) * 1e6  # of CPU time: whatever else the machine does only adds to it
    line = Line(WORK, f"{number:,} stored, start, CPU", "PyMongo")
    add = Line(WORK, f"add one of {_ADDED}, CPU", "PyMongo")
    look = Line(WORK, f"{number:,} stored, a run of the scheduler", "PyMongo")
    return Results(
        [
            line.counts((taken - without) * 1e3, "ms", within(2000)),
            add.compare("us", scaled(added, 1e6), OURS, PTB),
            Line(WORK, f"add one of {_ADDED}, more than PTB's, CPU", "PyMongo").counts(more, "us", within(50)),
            look.compare("us", scaled(looked, 1e6), OURS, PTB, at_most(1.2)),
        ]
    )
