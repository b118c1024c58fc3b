"""Stored jobs: the queue behaves like PTB's, and its jobs are in the database and survive a restart.

The kinds: all ways to create and change a job; the end of the process at any point of a run; jobs that are missed,
added at each start, or cannot be stored.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
import zoneinfo
from typing import Any
from unittest import mock

import pytest
from bots import Bot, until
from job_bots import RAN, UTC, alarm, counts, now, queue, running, waits
from telegram.ext import Application

from ptb_mongo import ConfigurationError, MongoJobQueue
from ptb_mongo.jobs import triggers


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


def one_job(database: Any, **query: Any) -> Any:
    return database.jobs.find_one(query, {"rev": 0, "updated_at": 0})


async def stored(database: Any, number: int) -> None:
    await until(lambda: database.jobs.count_documents({}) == number)


# -- what is stored -------------------------------------------------------------------------------------


async def test_each_way_to_make_a_job_is_stored_readably(mongo_persistence, database):
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 3600, data={"at": (1, 2)}, name="once", chat_id=-100, user_id=42)
        jobs.run_repeating(alarm, 600, name="repeating", job_kwargs={"misfire_grace_time": 30})
        jobs.run_daily(alarm, dtm.time(8, 30, tzinfo=berlin), days=(1, 5), name="daily")
        jobs.run_monthly(alarm, dtm.time(8, 30), -1, name="monthly")
        jobs.run_custom(alarm, {"trigger": "cron", "minute": "*/5"}, name="custom")
    once, repeating, daily, monthly, custom = (
        one_job(database, name=name) for name in ("once", "repeating", "daily", "monthly", "custom")
    )
    assert {"callback": "job_bots:alarm", "chat_id": -100, "user_id": 42}.items() <= once.items()
    assert once["data"] == {"at": {"_py": "tuple", "v": [1, 2]}}
    assert once["trigger"] == {"kind": "once", "at": once["next_run"], "zone": "UTC"}
    assert repeating["trigger"] == {"kind": "repeating", "interval": 600, "first": repeating["next_run"], "zone": "UTC"}
    assert repeating["misfire_grace_time"] == 30
    assert daily["trigger"] == {"kind": "daily", "time": "08:30:00", "days": ["mon", "fri"], "zone": "Europe/Berlin"}
    assert monthly["trigger"] == {"kind": "monthly", "time": "08:30:00", "day": "last", "zone": "UTC"}
    assert custom["trigger"] == {"kind": "cron", "minute": "*/5", "zone": "UTC"}
    assert "next_run_1" in database.jobs.index_information()


async def test_a_job_that_has_run_is_gone_and_one_that_repeats_is_moved_on(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 0.01, data="once")
        jobs.run_repeating(alarm, 3600, first=0.01, data="repeats")
        await until(lambda: len(RAN) == 2 and database.jobs.count_documents({"last_run": {"$exists": True}}) == 1)
        await stored(database, 1)

        (job,) = jobs.jobs()
        found = one_job(database)
        assert found["next_run"] - found["last_run"] == dtm.timedelta(hours=1)
        assert abs(job.next_t - found["next_run"]) < dtm.timedelta(milliseconds=1)


async def test_each_change_of_a_job_is_stored(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        job = jobs.run_repeating(alarm, 3600, name="a")
        jobs.run_once(alarm, 3600, name="b")
        await stored(database, 2)
        job.enabled = False
        await until(lambda: one_job(database, name="a")["next_run"] is None)
        job.enabled = True
        await until(lambda: one_job(database, name="a")["next_run"] is not None)
        job.job.reschedule("interval", minutes=5)
        await until(lambda: one_job(database, name="a")["trigger"]["interval"] == 300)
        job.job.modify(misfire_grace_time=7)
        await until(lambda: one_job(database, name="a").get("misfire_grace_time") == 7)
        (other,) = jobs.get_jobs_by_name("b")
        other.schedule_removal()
        await stored(database, 1)
        assert [one.name for one in jobs.jobs()] == ["a"]


async def test_data_that_a_callback_changes_is_stored_after_each_run(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        jobs.run_repeating(counts, 0.02, data={"count": 0})
        await until(lambda: len(RAN) > 2)
    assert one_job(database)["data"] == {"count": RAN[-1]}


async def test_nothing_is_written_where_nothing_changes(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 3600)
    before = database.jobs.find_one()
    async with running(mongo_persistence()) as jobs:
        await asyncio.sleep(0.05)
        assert len(jobs.jobs()) == 1
    assert database.jobs.find_one() == before


# -- callbacks ------------------------------------------------------------------------------------------


async def test_a_callback_that_is_not_registered_is_run_and_named_once(mongo_persistence, database, caplog):
    async def local(context: Any) -> None:
        RAN.append(context.job.data)

    async with running(mongo_persistence(), alarm) as jobs:
        for number in range(3):
            jobs.run_once(local, 0.01, data=number)
        jobs.run_once(counts, 3600)
        jobs.run_once(counts, 3600)
        await until(lambda: len(RAN) == 3)
    assert database.jobs.count_documents({}) == 0
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "local" in texts[0]
    assert "MongoJobQueue(callbacks=[counts, ...])" in texts[1]


async def test_a_stored_job_whose_callback_is_not_registered_is_kept_and_told_of(mongo_persistence, database, caplog):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 0.2)
        jobs.run_once(counts, 3600)
    async with running(mongo_persistence(), counts) as jobs:
        assert [job.callback for job in jobs.jobs()] == [counts]
        await asyncio.sleep(0.3)
    assert RAN == []
    assert one_job(database, callback="job_bots:alarm") is not None
    assert sum("job_bots:alarm" in record.getMessage() for record in caplog.records) == 1


async def test_a_renamed_callback_is_found_by_its_alias(mongo_persistence, database):
    database.jobs.insert_one({"_id": "old", "callback": "old_bot:ring", "data": 5, "next_run": now(seconds=-5)})
    async with running(mongo_persistence(), alarm, aliases={"old_bot:ring": alarm}):
        await until(lambda: RAN == [5])
        await stored(database, 0)


async def test_the_coroutine_functions_of_a_module_are_registered_and_nothing_else(mongo_persistence, database):
    names = ["job_bots:RAN", "job_bots:now", "job_bots:asyncio.sleep", "os:system", "job_bots:Bot", "job_bots:alarm.x"]
    database.jobs.insert_many([{"_id": name, "callback": name, "next_run": now(seconds=-5)} for name in names])
    database.jobs.insert_one({"callback": "job_bots:alarm", "_id": "good", "next_run": now(seconds=-5)})
    async with running(mongo_persistence(), "job_bots"):
        await until(lambda: RAN == [None])
        await stored(database, len(names))


@pytest.mark.parametrize("wrong", [[lambda _: None], "job_bots", [5], [alarm, "no.such.module"]])
async def test_what_cannot_be_registered_is_refused(mongo_persistence, wrong):
    with pytest.raises(ConfigurationError):
        async with running(mongo_persistence(), *(wrong if isinstance(wrong, list) else [])):
            MongoJobQueue(callbacks=wrong)


def test_without_a_mongo_persistence_it_is_refused():
    with pytest.raises(ConfigurationError, match="MongoJobQueue needs a MongoPersistence"):
        Application.builder().token("1:a").updater(None).job_queue(MongoJobQueue()).build()


# -- restarts -------------------------------------------------------------------------------------------


async def test_a_job_survives_with_its_rule_and_its_data(mongo_persistence):
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    async with running(mongo_persistence()) as jobs:
        jobs.run_daily(alarm, dtm.time(8, 30, tzinfo=berlin), data={1, 2}, name="daily", chat_id=1)
        before = jobs.jobs()[0].next_t
    async with running(mongo_persistence()) as jobs:
        (job,) = jobs.jobs()
        assert (job.next_t, job.data, job.name, job.chat_id, job.callback) == (before, {1, 2}, "daily", 1, alarm)
        assert job.job.trigger.timezone == berlin


async def test_what_came_due_meanwhile_runs_at_the_start_once_and_keeps_its_rhythm(mongo_persistence, database):
    first = now(hours=-5, minutes=-1)
    rule = {"kind": "repeating", "interval": 3600, "first": first}
    database.jobs.insert_many(
        [
            {"_id": "a", "callback": "job_bots:alarm", "data": "repeats", "trigger": rule, "next_run": first},
            {"_id": "b", "callback": "job_bots:alarm", "data": "once", "next_run": first},
        ]
    )
    async with running(mongo_persistence()):
        await until(lambda: len(RAN) == 2)
        await stored(database, 1)
        await asyncio.sleep(0.05)
    assert sorted(RAN) == ["once", "repeats"]
    due = one_job(database)["next_run"] - first
    assert abs(due - dtm.timedelta(hours=6)) < dtm.timedelta(milliseconds=2)


async def test_a_job_that_may_not_be_late_does_not_run(mongo_persistence, database):
    late = {"callback": "job_bots:alarm", "next_run": now(seconds=-90), "misfire_grace_time": 60}
    rule = {"kind": "repeating", "interval": 3600}
    database.jobs.insert_many([{"_id": "a", **late}, {"_id": "b", **late, "trigger": rule}])
    async with running(mongo_persistence()):
        await stored(database, 1)
        await until(lambda: one_job(database)["next_run"] > now())
    assert RAN == []


async def test_each_missed_run_is_made_up_for_if_a_job_asks_for_that(mongo_persistence, database):
    rule = {"kind": "repeating", "interval": 60}
    job = {"_id": "a", "callback": "job_bots:alarm", "trigger": rule, "next_run": now(seconds=-190), "coalesce": False}
    database.jobs.insert_one(job)
    async with running(mongo_persistence()):
        await until(lambda: len(RAN) == 4)


def _adds(jobs: Any) -> None:
    jobs.run_repeating(alarm, 3600, name="by name", job_kwargs={"replace_existing": True})
    jobs.run_daily(alarm, dtm.time(8), job_kwargs={"id": "by id", "replace_existing": True})


async def test_jobs_that_a_program_adds_at_each_start_do_not_multiply_and_keep_their_rhythm(
    mongo_persistence, database
):
    async with running(mongo_persistence(), before=_adds):
        await stored(database, 2)
    first = {one["_id"]: one["next_run"] for one in database.jobs.find()}
    for _ in range(2):
        async with running(mongo_persistence(), before=_adds) as jobs:
            assert sorted(job.job.id for job in jobs.jobs()) == ["by id", "by name"]
    assert {one["_id"]: one["next_run"] for one in database.jobs.find()} == first


async def test_a_job_that_is_replaced_while_the_bot_runs_starts_again(mongo_persistence, database):
    async with running(mongo_persistence()) as jobs:
        for data in ("first", "second"):
            jobs.run_once(alarm, 0.1, data=data, name="idle", job_kwargs={"replace_existing": True})
            await asyncio.sleep(0.05)
        await until(lambda: RAN == ["second"])
        await stored(database, 0)


async def test_a_bot_that_dies_in_a_callback_runs_it_again(mongo_persistence, database):
    persistence = mongo_persistence()
    bot = Bot(persistence, job_queue=queue())
    await bot.application.initialize()
    await bot.application.start()
    bot.application.job_queue.run_once(waits, 0.01, data="once")
    bot.application.job_queue.run_repeating(waits, 3600, first=0.01, data="repeats")
    await until(lambda: len(RAN) == 2)
    await stored(database, 2)
    await persistence.session.close()  # it dies: nothing is written any more
    RAN.clear()

    async with running(mongo_persistence()) as jobs:
        await until(lambda: len(RAN) == 2)
        await jobs.stop(wait=False)
    await bot.application.job_queue.stop(wait=False)


async def test_a_queue_that_is_stopped_and_started_again_has_its_jobs(mongo_persistence):
    async with running(mongo_persistence()) as jobs:
        jobs.run_once(alarm, 3600, name="a")
        await jobs.stop()
        assert jobs.jobs() == ()
        await jobs.start()
        assert [job.name for job in jobs.jobs()] == ["a"]


async def test_a_flush_while_the_bot_runs_costs_no_job(mongo_persistence, database):
    persistence = mongo_persistence()
    async with running(persistence) as jobs:
        jobs.run_once(alarm, 3600, name="before")
        await persistence.flush()
        jobs.run_once(alarm, 3600, name="after")
        await stored(database, 2)
        assert len(jobs.jobs()) == 2


# -- what cannot be stored ------------------------------------------------------------------------------


class Odd:
    """No class that is trusted."""


@pytest.mark.parametrize(
    "make",
    [
        lambda jobs: jobs.run_once(alarm, 0.05, data=Odd()),
        lambda jobs: jobs.run_once(alarm, 0.05, job_kwargs={"id": "x" * 600}),
        lambda jobs: jobs.run_repeating(alarm, 0.0001, last=0.05, first=0.02),
    ],
)
async def test_a_job_that_cannot_be_stored_runs_and_is_named(mongo_persistence, database, caplog, make):
    async with running(mongo_persistence()) as jobs:
        make(jobs)
        jobs.run_once(alarm, 3600, name="good")
        await stored(database, 1)
        await until(lambda: bool(RAN))
    assert any("is not stored" in record.getMessage() for record in caplog.records)


def _hostile(number: int) -> dict[str, Any]:
    return {"_id": f"bad {number}", "callback": "job_bots:alarm", "next_run": now(seconds=-1)}


@pytest.mark.parametrize(
    "change",
    [
        {"next_run": dtm.datetime(9999, 1, 1, tzinfo=UTC)},
        {"trigger": {"kind": "repeating", "interval": 1e300}},
        {"trigger": {"kind": "cron", "zone": "No/Where"}},
        {"data": {"_py": "object", "cls": "os.system", "state": {}}},
        {"callback": ["job_bots:alarm"]},
        {"name": "\x1b[31m" * 200},
    ],
)
async def test_a_document_that_is_no_job_is_inert_and_stays(mongo_persistence, database, change, caplog):
    database.jobs.insert_one(bad := {**_hostile(1), **change})
    database.jobs.insert_one({**_hostile(2), "data": "good"})
    async with running(mongo_persistence()) as jobs:
        await until(lambda: RAN == ["good"])
        database.jobs.insert_one({**_hostile(3), **change})
        jobs.run_once(alarm, 0.05, data="new")
        await until(lambda: RAN == ["good", "new"])
    assert database.jobs.find_one({"_id": bad["_id"]}) == database.jobs.find_one({"_id": bad["_id"], "rev": None})
    assert caplog.records
    assert "\x1b" not in caplog.text


# -- rules without a match ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_same", [True, False], ids=["the same", "each another"])
async def test_planted_rules_that_never_match_do_not_block_the_start(mongo_persistence, database, is_same):
    """Each is searched for milliseconds, and a stranger may store many."""
    rules = [{"kind": "cron", "week": "53", "month": "6", "minute": str(n * (not is_same))} for n in range(60)]
    database.jobs.insert_many(
        [{"_id": str(n), "callback": "job_bots:alarm", "trigger": rule} for n, rule in enumerate(rules)]
    )
    triggers._NEVER.clear()
    searched, longest = 0, 0.0
    search = triggers._StoredCron._searched

    def counted(self: Any, *given: Any) -> Any:
        nonlocal searched
        searched += 1
        return search(self, *given)

    async def tick() -> None:
        nonlocal longest
        before = searched
        while True:
            await asyncio.sleep(0)
            longest, before = max(longest, searched - before), searched

    ticking = asyncio.create_task(tick())
    with mock.patch.object(triggers._StoredCron, "_searched", counted):
        async with running(mongo_persistence()) as jobs:
            assert len(jobs.jobs()) == 60
    ticking.cancel()
    assert searched == (1 if is_same else 60)
    assert longest < 30
