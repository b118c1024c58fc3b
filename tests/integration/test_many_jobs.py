"""Very many jobs, from an honest bot or a stranger: nothing else waits for them, and their memory is bounded.

The kinds: many jobs that are loaded, loaded again, reported by the change stream, due at once, added at once; megabytes
where a name is expected. The tests count how much is done without a pause, as times depend on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from job_bots import RAN, alarm, now, running

from ptb_mongo.jobs import arrivals
from ptb_mongo.jobs.store import MongoJobStore
from ptb_mongo.scopes.jobs import JobScope

MANY = 2500


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


def planted(number: int = MANY, **fields: Any) -> list[dict[str, Any]]:
    job = {"callback": "job_bots:alarm", "next_run": now(hours=1), **fields}
    return [{"_id": f"planted {one}", **job} for one in range(number)]


@contextlib.asynccontextmanager
async def most_at_once(count: Callable[[], int]) -> AsyncIterator[list[int]]:
    """How much a number grows at most between two turns of the event loop."""
    most, known = [0], count()

    async def look() -> None:
        nonlocal known
        while True:
            found = count()
            most[0], known = max(most[0], found - known), found
            await asyncio.sleep(0)

    task = asyncio.create_task(look())
    yield most
    task.cancel()


async def test_many_that_are_due_at_once_are_run_a_few_at_a_time(mongo_persistence, database):
    database.jobs.insert_many(planted(next_run=now(seconds=-1)))
    async with most_at_once(lambda: len(RAN)) as most, running(mongo_persistence()) as jobs:
        await until(lambda: len(RAN) == MANY)
        assert most[0] <= 200
        await until(lambda: jobs.jobs() == ())
    assert database.jobs.count_documents({}) == 0


async def test_many_are_decoded_a_few_at_a_time(mongo_persistence, database, monkeypatch):
    together: list[int] = []
    loaded = JobScope.loaded

    def noted(self: JobScope, raws: Any) -> Any:
        together.append(len(raws))
        return loaded(self, raws)

    monkeypatch.setattr(JobScope, "loaded", noted)
    database.jobs.insert_many(planted())
    persistence = mongo_persistence()
    async with running(persistence) as jobs:
        assert len(jobs.jobs()) == sum(together) == MANY
        persistence.session.scopes.jobs.told_all()
        await until(lambda: sum(together) >= 2 * MANY)
    assert max(together) <= 200


async def test_the_scheduler_looks_once_for_many_that_come_or_are_added_at_once(
    mongo_persistence, database, monkeypatch
):
    looks = [0]
    get_due_jobs = MongoJobStore.get_due_jobs

    def counted(self: MongoJobStore, moment: Any) -> Any:
        looks[0] += 1
        return get_due_jobs(self, moment)

    monkeypatch.setattr(MongoJobStore, "get_due_jobs", counted)
    async with running(mongo_persistence()) as jobs:
        for _ in range(500):
            jobs.run_once(alarm, 3600)
        jobs.run_once(alarm, 0.05, data="soon")
        await until(lambda: RAN == ["soon"])
        database.jobs.insert_many(planted(1000))
        await until(lambda: len(jobs.jobs()) == 1500)
        assert looks[0] < 150


async def test_a_job_that_another_thread_adds_or_changes_is_stored_and_runs(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        job = await asyncio.to_thread(jobs.run_once, alarm, 3600, data="soon")
        await until(lambda: database.jobs.count_documents({}) == 1)
        await asyncio.to_thread(job.job.modify, next_run_time=now(seconds=0.2))
        await until(lambda: RAN == ["soon"])
        await until(lambda: database.jobs.count_documents({}) == 0)


async def test_megabytes_of_a_stranger_are_bounded_and_told_of(mongo_persistence, database, monkeypatch, caplog):
    monkeypatch.setattr(arrivals, "MOST_BYTES", 100_000)
    database.jobs.insert_many(planted(50, data="x" * 10_000))
    async with running(mongo_persistence()) as jobs:
        assert len(jobs.jobs()) == 9
        jobs.run_once(alarm, 0.01, data="mine")
        await until(lambda: RAN == ["mine"])
        database.jobs.insert_many([{**one, "_id": f"more {one['_id']}"} for one in planted(50, data="x" * 10_000)])
        jobs.run_once(alarm, 0.2, data="more")
        await until(lambda: RAN == ["mine", "more"])
        assert len(jobs.jobs()) <= 10
        assert "MB of them, are stored" in caplog.text
        database.jobs.delete_many({})
        await until(lambda: jobs.jobs() == ())
        assert jobs.store.weight == 0
        database.jobs.insert_one({**planted(1)[0], "_id": "now there is room"})
        await until(lambda: [job.job.id for job in jobs.jobs()] == ["now there is room"])


async def test_those_that_were_left_alone_have_their_turn_when_the_others_have_run(
    mongo_persistence, database, monkeypatch
):
    monkeypatch.setattr(arrivals, "MOST_JOBS", 10)
    database.jobs.insert_many(planted(25, next_run=now(seconds=-1)))
    async with running(mongo_persistence()) as jobs:
        await until(lambda: len(RAN) == 25)
        await until(lambda: jobs.jobs() == ())
    assert database.jobs.count_documents({}) == 0


@pytest.mark.parametrize("name", ["x" * 1_000_000, ["a", "x" * 1_000_000], {"a": "x" * 1_000_000}, 5, None])
async def test_megabytes_in_the_place_of_a_callback_are_not_fetched(
    mongo_persistence, database, monkeypatch, caplog, name
):
    found: list[Any] = []

    database.jobs.insert_many(planted(30, callback=name))
    database.jobs.insert_one({"_id": "told of", "callback": "gone:alarm", "next_run": now()})
    persistence = mongo_persistence()
    async with running(persistence) as jobs:
        exchange = persistence.session.exchange
        some = exchange.some

        async def noted(*given: Any, **options: Any) -> AsyncIterator[Any]:
            async for one in some(*given, **options):
                found.append(one)
                yield one

        monkeypatch.setattr(exchange, "some", noted)
        persistence.session.scopes.jobs.told_all()
        await until(lambda: bool(found))
        jobs.run_once(alarm, 0.01, data="new")
        await until(lambda: RAN == ["new"])
    assert [one["callback"] for one in found] == ["gone:alarm"]
    assert "gone:alarm" in caplog.text
