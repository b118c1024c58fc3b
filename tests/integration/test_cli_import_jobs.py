"""Jobs from APScheduler's store are imported, and no code in their pickles runs."""

from __future__ import annotations

import asyncio
import datetime as dtm
import json
import pickle
import zoneinfo
from typing import Any

import pytest
from apscheduler.job import Job as ScheduledJob
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from bson.binary import Binary
from job_bots import alarm, running
from telegram.ext import JobQueue

from ptb_mongo.codec import Codec
from ptb_mongo.jobs.triggers import plain_trigger

UTC = dtm.timezone.utc
LATER = dtm.datetime(2099, 1, 1, 8, tzinfo=UTC)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
TRIGGERS: dict[str, Any] = {
    "date": DateTrigger(LATER),
    "interval": IntervalTrigger(minutes=5, start_date=LATER, timezone=BERLIN),
    "daily": CronTrigger(day_of_week="sun,mon", hour=8, minute=30, second=0, timezone=BERLIN),
    "monthly": CronTrigger(day="last", hour=8, minute=30, second=0, timezone=UTC),
    "cron": CronTrigger(month="jan-jun", day="2nd fri", hour="8-18/2", minute="*/15", timezone=UTC, end_date=LATER),
    "week": CronTrigger(week="3", day_of_week="mon-wed", timezone=UTC),
}


def pickled(trigger: Any, *args: Any) -> Binary:
    job = ScheduledJob(
        AsyncIOScheduler(timezone=UTC),
        id="x",
        func=JobQueue.job_callback,
        args=(None, None),
        kwargs={},
        name="name",
        executor="default",
        trigger=trigger,
        misfire_grace_time=30,
        coalesce=True,
        max_instances=1,
        next_run_time=LATER,
    )
    return Binary(pickle.dumps({**job.__getstate__(), "args": args}, pickle.HIGHEST_PROTOCOL))


@pytest.fixture
def store(service: Any, mongodb_database: str) -> Any:
    name = f"{mongodb_database}_aps"
    yield service[name].jobs
    service.drop_database(name)


def of_ptbcontrib(trigger: Any, data: Any = None) -> Binary:
    return pickled(trigger, "tea", data, -100, 42, alarm)


def of_the_example(trigger: Any, data: Any = None) -> Binary:
    return pickled(trigger, alarm, data, "tea", -100, 42)


@pytest.mark.parametrize("make", [of_ptbcontrib, of_the_example])
def test_jobs_of_each_kind_come_over_as_they_are(run, store, database, mongo_persistence, make):
    for name, trigger in TRIGGERS.items():
        store.insert_one({"_id": name, "next_run_time": 1.5, "job_state": make(trigger, {"at": (1, 2)})})

    result = run("import", "jobs", "--from-database", store.database.name)
    assert result.exit_code == 0, result.output
    assert "6 jobs can be imported" in result.output
    assert database.jobs.count_documents({}) == 0
    result = run("import", "jobs", "--from-database", store.database.name, "--apply", "--json")

    assert json.loads(result.stdout)["callbacks"] == ["job_bots:alarm"]

    async def restarted() -> None:
        async with running(mongo_persistence()) as jobs:
            found = {job.job.id: job for job in jobs.jobs()}
            assert found.keys() == TRIGGERS.keys()
            for name, trigger in TRIGGERS.items():
                came = plain_trigger(found[name].job.trigger, Codec())
                assert came == {**plain_trigger(trigger, Codec()), **({"month": "1-6"} if name == "cron" else {})}
            for job in found.values():
                assert (job.callback, job.data, job.name, job.chat_id, job.user_id) == (
                    alarm,
                    {"at": (1, 2)},
                    "tea",
                    -100,
                    42,
                )
                assert (job.next_t, job.job.misfire_grace_time) == (LATER, 30)

    asyncio.run(restarted())


class Attack:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch attacked",)


class Mine:
    pass


def test_what_cannot_be_restored_is_named_and_nothing_runs(run, store, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.insert_many(
        [
            {"_id": "attack", "job_state": of_ptbcontrib(TRIGGERS["date"], Attack())},
            {"_id": "untrusted", "job_state": of_ptbcontrib(TRIGGERS["date"], Mine())},
            {"_id": "or", "job_state": of_ptbcontrib(OrTrigger([TRIGGERS["date"]]))},
            {"_id": "other", "job_state": pickled(TRIGGERS["date"], 1, 2)},
            {"_id": "no pickle", "job_state": "x"},
            {"_id": "\x1b[31m", "job_state": Binary(b"\x80\x05]")},
            {"_id": 5, "job_state": of_ptbcontrib(TRIGGERS["date"])},
            {"_id": "good", "job_state": of_ptbcontrib(TRIGGERS["date"])},
        ]
    )

    result = run("import", "jobs", "--from-database", store.database.name, "--apply")
    assert result.exit_code == 1
    assert [one["_id"] for one in database.jobs.find()] == ["good"]
    assert all(name in result.output for name in ("attack", "untrusted", "'or'", "'other'", "no pickle", "_id 5"))
    assert "\x1b[31m" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("--apply",), ("--json",)])
def test_a_store_without_jobs_fails_and_says_what_to_name(run, store, words):
    result = run("import", "jobs", "--from-database", store.database.name, *words)

    assert result.exit_code == 1
    said = f"There are no jobs in {store.database.name}.jobs"
    assert '"jobs": 0' in result.output if words == ("--json",) else said in " ".join(result.output.split())
