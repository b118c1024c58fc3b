"""Jobs while the server is away, or its answers are: in the end all is as in memory, and nothing has run twice.

The kinds: jobs that are added, run, changed and removed during an outage; answers that are lost for each kind of write.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterator
from typing import Any

import pytest
from bots import until
from deep import IS_DEEP
from job_bots import RAN, alarm, counts, running
from pymongo import MongoClient

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedMongo

DATABASE = "jobs_outage"
SOON = "&serverSelectionTimeoutMS=500&connectTimeoutMS=1000&heartbeatFrequencyMS=500&socketTimeoutMS=2000"
SECONDS = 60 if IS_DEEP else 1.5


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


async def test_what_happens_to_jobs_during_an_outage_is_stored_afterwards(server: EmbeddedMongo) -> None:
    persistence: Any = MongoPersistence(server.uri + SOON, DATABASE)
    async with running(persistence) as jobs:
        for number in range(5):
            jobs.run_once(alarm, 3600, data=f"before {number}", job_kwargs={"id": f"before {number}"})
        jobs.run_once(alarm, 0.7, data="due")
        jobs.run_repeating(counts, 0.3, data={"count": 0}, job_kwargs={"id": "repeats"})
        await until(lambda: bool(RAN) and persistence.health().waiting == 0)

        server.kill()
        jobs.run_once(alarm, 0.1, data="added and run")
        added = [jobs.run_once(alarm, 3600, data=f"added {n}", job_kwargs={"id": f"added {n}"}) for n in range(5)]
        for job in (added[0], jobs.scheduler.get_job("before 0")):
            (job.job if hasattr(job, "job") else job).remove()
        jobs.scheduler.get_job("before 1").modify(
            args=jobs.scheduler.get_job("before 1").args, next_run_time=added[1].next_t
        )
        await asyncio.sleep(SECONDS)
        await asyncio.to_thread(server.start)
        jobs.scheduler.get_job("repeats").pause()
        jobs.scheduler.get_job("repeats").modify(next_run_time=added[2].next_t)
        await until(lambda: persistence.health().connected and persistence.health().waiting == 0)

        assert len(in_memory(jobs)) == 9
        await until(lambda: in_database(server.uri, DATABASE) == in_memory(jobs))
    assert collections.Counter(str(one) for one in RAN).most_common(1)[0][1] == 1
    assert {"due", "added and run"} <= {one for one in RAN if isinstance(one, str)}
    before = in_database(server.uri, DATABASE)
    async with running(MongoPersistence(server.uri, DATABASE)) as jobs:
        assert in_memory(jobs) == before


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
