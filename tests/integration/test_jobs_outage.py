"""Jobs while the server is unreachable or its answers are lost: in the end, the database equals the memory, and nothing

has run twice.
The kinds: jobs that are added, run, changed and removed throughout an outage, by a bot and by two workers; runs that
begin before it and end during or after it; lost answers for each kind of write.

The outages take seconds; in the deep form, `HYPOTHESIS_PROFILE=deep pytest tests/integration/test_jobs_outage.py`,
a minute.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bots import until
from deep import IS_DEEP
from job_bots import RAN, alarm, counts, queue, running
from pymongo import MongoClient
from workers import SharedBot

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedMongo
from ptb_mongo.errors import UnsavedDataError

DATABASE = "jobs_outage"
SOON = "&serverSelectionTimeoutMS=500&connectTimeoutMS=1000&heartbeatFrequencyMS=500&socketTimeoutMS=2000"
SECONDS = 60 if IS_DEEP else 1.5
STEPS = 60 if IS_DEEP else 8
LEASE = 2.0  # a machine that is busy may stop a process for a second


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@pytest.fixture
def server() -> Iterator[EmbeddedMongo]:
    with EmbeddedMongo() as server:
        yield server


def in_memory(jobs: Any) -> list[Any]:
    return sorted((job.job.id, job.data, int(job.next_t.timestamp())) for job in jobs.jobs())


def in_database(uri: str, database: str) -> list[Any]:
    with MongoClient(uri, tz_aware=True) as client:
        found = client[database].jobs.find({"buried": {"$exists": False}})
        return sorted((one["_id"], one.get("data"), int(one["next_run"].timestamp())) for one in found)


class Program:
    """What a bot does with its jobs, all the time: adds some that soon run, adds others, moves and removes them.

    Args:
        jobs: Its queue.
        name: Tells its jobs from those of others.
    """

    def __init__(self, jobs: Any, name: str) -> None:
        self.jobs, self.name = jobs, name
        self.due: list[str] = []
        self.left: list[str] = []

    def step(self, number: int, pause: float) -> None:
        """One of its steps."""
        self.due.append(f"{self.name} due {number}")
        self.jobs.run_once(alarm, pause / 2, data=self.due[-1])
        made = f"{self.name} later {number}"
        self.jobs.run_once(alarm, 3600 + number, data=made, job_kwargs={"id": made})
        self.left.append(made)
        if number % 3 == 1:
            self.jobs.scheduler.get_job(self.left.pop(0)).remove()
        elif number % 3 == 2:
            moved = self.jobs.scheduler.get_job(self.left[0])
            moved.modify(next_run_time=moved.next_run_time.replace(minute=number % 60))

    async def lives(self, seconds: float, steps: int, begin: int = 0) -> None:
        for number in range(begin, begin + steps):
            self.step(number, seconds / steps)
            await asyncio.sleep(seconds / steps)


def ran_once(programs: list[Program]) -> None:
    """Each job that came due has run once."""
    times = collections.Counter(one for one in RAN if isinstance(one, str))
    assert times == dict.fromkeys([one for program in programs for one in program.due], 1)


async def test_what_happens_to_jobs_during_an_outage_is_stored_afterwards(server: EmbeddedMongo) -> None:
    persistence: Any = MongoPersistence(server.uri + SOON, DATABASE)
    async with running(persistence) as jobs:
        program = Program(jobs, "bot")
        jobs.run_repeating(counts, 0.3, data={"count": 0}, job_kwargs={"id": "repeats"})
        await program.lives(0.5, 5)
        await until(lambda: persistence.health().waiting == 0)

        server.kill()
        before = len(RAN)
        await program.lives(SECONDS, STEPS, begin=5)
        assert len(RAN) > before + STEPS  # nothing waits for the server
        await asyncio.to_thread(server.start)
        jobs.scheduler.get_job("repeats").modify(next_run_time=jobs.scheduler.get_job(program.left[0]).next_run_time)
        await until(lambda: persistence.health().connected and persistence.health().waiting == 0, 60)

        assert sorted(one for one, *_ in in_memory(jobs)) == sorted([*program.left, "repeats"])
        await until(lambda: in_database(server.uri, DATABASE) == in_memory(jobs))
    ran_once([program])
    counted = [one for one in RAN if isinstance(one, int)]
    assert counted == list(range(1, len(counted) + 1))
    stored = in_database(server.uri, DATABASE)
    async with running(MongoPersistence(server.uri, DATABASE)) as jobs:
        assert in_memory(jobs) == stored


GATE: dict[str, asyncio.Event] = {}


async def gated(context: Any) -> None:
    RAN.append(context.job.data)
    await GATE["here"].wait()


@contextlib.asynccontextmanager
async def two_workers(uri: str) -> AsyncIterator[list[SharedBot]]:
    made = [
        SharedBot(MongoPersistence(uri + SOON, DATABASE), job_queue=queue(alarm, counts, gated), lease_timeout=LEASE)
        for _ in range(2)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for one in made:
            await stack.enter_async_context(one.application)
            await one.application.start()
            stack.push_async_callback(one.application.stop)
        yield made


def queue_of(bot: SharedBot) -> Any:
    return bot.application.job_queue


async def settled(bots: list[SharedBot], uri: str) -> None:
    """All workers know what is stored."""
    for bot in bots:
        await until(lambda bot=bot: bot.persistence.health().connected and bot.persistence.health().waiting == 0, 60)
    for bot in bots:
        await until(lambda bot=bot: in_database(uri, DATABASE) == in_memory(queue_of(bot)), 60)


async def test_what_happens_to_jobs_of_two_workers_during_an_outage_is_the_same_in_both_afterwards(
    server: EmbeddedMongo,
) -> None:
    async with two_workers(server.uri) as bots:
        programs = [Program(queue_of(bot), f"worker {number}") for number, bot in enumerate(bots)]
        await asyncio.gather(*(program.lives(0.5, 5) for program in programs))
        await settled(bots, server.uri)
        for bot in bots:
            queue_of(bot).run_once(alarm, 3600, job_kwargs={"id": f"of {bots.index(bot)}"})
        for bot in bots:
            await until(lambda bot=bot: all(queue_of(bot).scheduler.get_job(f"of {number}") for number in range(2)))

        server.kill()
        await asyncio.gather(*(program.lives(SECONDS, STEPS, begin=5) for program in programs))
        queue_of(bots[0]).scheduler.get_job("of 1").remove()
        queue_of(bots[1]).scheduler.get_job("of 0").remove()
        await asyncio.to_thread(server.start)

        due = [one for program in programs for one in program.due]
        await until(lambda: {one for one in RAN if isinstance(one, str)} >= set(due), 60)
        await settled(bots, server.uri)
        await asyncio.sleep(2 * LEASE)
        await settled(bots, server.uri)
        left = sorted(one for program in programs for one in program.left)
        assert [one for one, *_ in in_memory(queue_of(bots[0]))] == left
    ran_once(programs)


@pytest.mark.parametrize("ends", ["in the outage", "afterwards"])
async def test_a_run_in_progress_when_an_outage_begins_is_not_handed_on_when_that_is_over(
    server: EmbeddedMongo, ends: str
) -> None:
    GATE["here"] = asyncio.Event()
    async with two_workers(server.uri) as bots:
        for number in range(20):
            queue_of(bots[number % 2]).run_once(gated, 0.1, data=number)
        await until(lambda: len(RAN) >= 20)
        await until(lambda: all(bot.persistence.health().waiting == 0 for bot in bots))
        server.kill()
        await asyncio.sleep(max(SECONDS, 1.5 * LEASE))
        if ends == "in the outage":
            GATE["here"].set()
            await asyncio.sleep(0.1)
        await asyncio.to_thread(server.start)
        if ends == "afterwards":
            await until(lambda: all(bot.persistence.health().connected for bot in bots))
            await asyncio.sleep(LEASE / 2)
            GATE["here"].set()
        await until(lambda: in_database(server.uri, DATABASE) == [], 60)
        assert sorted(RAN) == list(range(20))


@pytest.mark.parametrize("command", ["update", "delete"])
async def test_a_lost_answer_makes_no_job_run_twice_and_brings_none_back(
    traffic: Any, mongodb_database: str, mongodb_server_uri: str, command: str
) -> None:
    persistence: Any = MongoPersistence(traffic.uri, mongodb_database)
    async with running(persistence) as jobs:
        await traffic.does("lose_answer", commands=[command], times=3)
        for number in range(10):
            jobs.run_once(alarm, 0.05 + number / 50, data=number)
        jobs.run_once(alarm, 3600, data="stays")
        await until(lambda: len(RAN) == 10)
        await until(lambda: len(in_database(mongodb_server_uri, mongodb_database)) == 1)
        await until(lambda: persistence.health().waiting == 0)
        assert in_database(mongodb_server_uri, mongodb_database) == in_memory(jobs)
    assert sorted(RAN) == list(range(10))


async def stops_in_an_outage(server: EmbeddedMongo, persistence: Any) -> None:
    """Jobs are added, moved, run and removed in an outage that the bot does not outlive."""
    async with running(persistence) as jobs:
        for name in ("moved", "removed", "stays"):
            jobs.run_once(alarm, 3600, data=name, job_kwargs={"id": name})
        jobs.run_once(alarm, 1, data="run", job_kwargs={"id": "run"})
        await until(lambda: len(in_database(server.uri, DATABASE)) == 4)
        server.kill()
        await until(lambda: RAN == ["run"])
        jobs.run_once(alarm, 3600, data="added", job_kwargs={"id": "added"})
        jobs.run_once(alarm, 0.5, data="due", job_kwargs={"id": "due"})
        moved, other = jobs.scheduler.get_job("moved"), jobs.scheduler.get_job("stays")
        moved.modify(next_run_time=other.next_run_time.replace(year=2100))
        jobs.scheduler.get_job("removed").remove()
        OUTLIVED[:] = in_memory(jobs)


OUTLIVED: list[Any] = []


async def test_jobs_that_a_stop_in_an_outage_has_spilled_are_there_at_the_next_start(
    server: EmbeddedMongo, tmp_path: Path
) -> None:
    options: Any = {"spill_dir": tmp_path, "shutdown_timeout": 0.5}
    with pytest.raises(UnsavedDataError):
        await stops_in_an_outage(server, MongoPersistence(server.uri + SOON, DATABASE, **options))
    await asyncio.to_thread(server.start)
    assert RAN == ["run"]

    async with running(MongoPersistence(server.uri, DATABASE, **options)) as jobs:
        await until(lambda: RAN == ["run", "due"])
        expected = [one for one in OUTLIVED if one[0] != "due"]
        await until(lambda: in_memory(jobs) == in_database(server.uri, DATABASE) == expected)
    assert RAN == ["run", "due"]
