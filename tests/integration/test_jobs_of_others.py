"""Others' changes to the jobs of a running bot arrive, at any point of a run, and by either kind of notification."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bots import until
from job_bots import RAN, alarm, counts, now, running, waits
from telegram import Chat

from ptb_mongo.jobs import arrivals


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


async def stored(database: Any, **query: Any) -> Any:
    await until(lambda: database.jobs.count_documents(query) == 1)
    return database.jobs.find_one(query)


async def test_a_job_that_another_service_inserts_runs(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        database.jobs.insert_one(
            {"_id": "shop", "callback": "job_bots:alarm", "user_id": 42, "data": "noon", "next_run": now(seconds=0.2)}
        )
        await until(lambda: len(jobs.jobs()) == 1)
        assert jobs.jobs()[0].user_id == 42
        await until(lambda: RAN == ["noon"])
        await until(lambda: database.jobs.count_documents({}) == 0)


async def test_a_job_with_a_callback_that_is_not_registered_is_left_alone(mongo_persistence, database, caplog):
    async with running(mongo_persistence()) as jobs:
        database.jobs.insert_one({"_id": "x", "callback": "os:system", "data": "true", "next_run": now()})
        await until(lambda: "os:system" in caplog.text)
        assert jobs.jobs() == ()
    assert "rev" not in database.jobs.find_one()


async def test_another_time_another_data_and_a_deletion_arrive(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 3600, data="old", name="a")
        jobs.run_repeating(alarm, 3600, name="b")
        await stored(database, name="a")
        await stored(database, name="b")
        database.jobs.update_one({"name": "a"}, {"$set": {"data": "new", "next_run": now(seconds=0.05)}})
        database.jobs.delete_one({"name": "b"})
        await until(lambda: RAN == ["new"] and jobs.jobs() == ())
        await until(lambda: database.jobs.count_documents({}) == 0)


async def test_a_job_that_others_pause_does_not_run(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        job = jobs.run_once(alarm, 0.3)
        await stored(database)
        database.jobs.update_one({}, {"$set": {"next_run": None}})
        await until(lambda: job.next_t is None)
        await asyncio.sleep(0.35)
        assert RAN == []
        assert [one.next_t for one in jobs.jobs()] == [None]


async def test_edits_of_both_sides_are_kept(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        job = jobs.run_repeating(counts, 3600, first=0.2, data={"count": 0, "theirs": 0})
        await stored(database)
        database.jobs.update_one({}, {"$set": {"data.theirs": 5}})
        await until(lambda: RAN == [1])
        found = await stored(database, **{"data.count": 1})
        assert found["data"] == {"count": 1, "theirs": 5}
        await until(lambda: job.data == {"count": 1, "theirs": 5})


@pytest.mark.parametrize("is_once", [True, False])
async def test_a_job_that_others_postpone_while_it_runs_runs_again_then(mongo_persistence, database, is_once):
    gate = asyncio.Event()

    async with running(mongo_persistence(), gated) as jobs:
        GATES["here"] = gate
        _ = jobs.run_once(gated, 0.01) if is_once else jobs.run_repeating(gated, 3600, first=0.01)
        await until(lambda: RAN == ["began"])
        later = now(seconds=7200)
        database.jobs.update_one({}, {"$set": {"next_run": later}})
        await until(lambda: bool(jobs.jobs()) and abs((jobs.jobs()[0].next_t - later).total_seconds()) < 0.01)
        gate.set()
        await until(lambda: len(RAN) == 2)
        await asyncio.sleep(0.1)
        assert abs((jobs.jobs()[0].next_t - later).total_seconds()) < 0.01
    assert abs((database.jobs.find_one()["next_run"] - later).total_seconds()) < 0.01


GATES: dict[str, asyncio.Event] = {}


async def gated(_: Any) -> None:
    RAN.append("began")
    await GATES["here"].wait()
    RAN.append("ended")


@pytest.mark.parametrize("is_once", [True, False])
async def test_what_others_change_besides_while_a_job_runs_makes_it_run_no_second_time(
    mongo_persistence, database, is_once
):
    async with running(mongo_persistence(), gated) as jobs:
        GATES["here"] = gate = asyncio.Event()
        _ = jobs.run_once(gated, 0.01) if is_once else jobs.run_repeating(gated, 3600, first=0.01)
        await until(lambda: RAN == ["began"])
        await stored(database)
        database.jobs.update_one({}, {"$set": {"data": "other"}})
        gate.set()
        await until(lambda: len(RAN) == 2)
        await until(lambda: database.jobs.count_documents({"next_run": {"$lt": now()}}) == 0)
        await asyncio.sleep(0.1)
        assert RAN == ["began", "ended"]
        assert len(jobs.jobs()) == (0 if is_once else 1)


async def test_a_job_that_others_delete_while_it_runs_stays_deleted(mongo_persistence, database):
    async with running(mongo_persistence(), gated) as jobs:
        GATES["here"] = gate = asyncio.Event()
        jobs.run_repeating(gated, 3600, first=0.01)
        await until(lambda: RAN == ["began"])
        await stored(database)
        database.jobs.delete_many({})
        await until(lambda: jobs.jobs() == ())
        gate.set()
        await until(lambda: len(RAN) == 2)
        await asyncio.sleep(0.1)
    assert database.jobs.count_documents({}) == 0


async def test_the_whole_collection_may_be_dropped(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 3600)
        await stored(database)
        database.jobs.drop()
        await until(lambda: jobs.jobs() == ())
        jobs.run_once(alarm, 0.01, data="new")
        await until(lambda: RAN == ["new"])


async def test_without_a_change_stream_the_jobs_are_looked_at_from_time_to_time(
    mongo_persistence, database, monkeypatch
):
    monkeypatch.setattr(arrivals, "_POLL", 0.05)
    async with running(mongo_persistence(refresh="read")) as jobs:
        database.jobs.insert_one({"_id": "x", "callback": "job_bots:alarm", "data": 1, "next_run": now(seconds=0.2)})
        await until(lambda: RAN == [1])
        jobs.run_once(alarm, 3600)
        await stored(database, name="alarm")
        database.jobs.delete_many({})
        await until(lambda: jobs.jobs() == ())


async def test_thousands_of_a_stranger_are_bounded_and_told_of(mongo_persistence, database, monkeypatch, caplog):
    monkeypatch.setattr(arrivals, "MOST_JOBS", 100)
    one = {"callback": "job_bots:alarm", "next_run": now(hours=1)}
    database.jobs.insert_many([{"_id": f"known {number}", **one} for number in range(3000)])
    database.jobs.insert_many([{"_id": f"odd {number}", **one, "callback": f"x{number}"} for number in range(3000)])
    async with running(mongo_persistence()) as jobs:
        assert len(jobs.jobs()) == 100
        jobs.run_once(alarm, 0.01, data="mine")
        await until(lambda: RAN == ["mine"])
        database.jobs.insert_many([{"_id": f"more {number}", **one} for number in range(3000)])
        jobs.run_once(alarm, 0.2, data="more")
        await until(lambda: RAN == ["mine", "more"])
        assert len(jobs.jobs()) <= 102
        scope = jobs.application.persistence.session.scopes.jobs
        await until(lambda: len(scope.replicas) < 6000)
    assert len(caplog.records) < 10
    assert database.jobs.count_documents({}) == 9000


async def test_telegram_objects_and_paused_runs_survive(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 3600, data=Chat(1, "private")).enabled = False
    assert (await stored(database))["data"]["view"]["id"] == 1
    async with running(mongo_persistence()) as jobs:
        (job,) = jobs.jobs()
        assert (job.data, job.next_t) == (Chat(1, "private"), None)
        assert waits is not None
