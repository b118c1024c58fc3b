"""Several workers know the same jobs, and one of them does each run, even if one dies, freezes or is cut off.

The kinds: who runs a job that is due for all; a holder that ends silently or comes back late; messages that are lost on
the way to the server; the turn in which a job runs.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import until
from job_bots import now, queue
from telegram.ext import Job
from workers import SharedBot, text

from ptb_mongo import MongoJobQueue

RAN: list[tuple[Any, Any]] = []
GATE: dict[str, asyncio.Event] = {}
LEASE = 1.0


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


async def notes(context: Any) -> None:
    RAN.append((context.job.data, id(context.application)))


async def counts(context: Any) -> None:
    context.user_data["count"] = context.user_data.get("count", 0) + 1
    RAN.append((context.job.data, context.user_data["count"]))


async def gated(context: Any) -> None:
    RAN.append(("began", id(context.application)))
    await GATE["here"].wait()
    RAN.append(("ended", id(context.application)))


Make = Callable[..., Any]


@pytest.fixture
async def workers(mongo_persistence: Any) -> AsyncIterator[Make]:
    """Starts workers; all that run are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(number: int = 3, **options: Any) -> list[SharedBot]:
            made = [
                SharedBot(
                    mongo_persistence(),
                    job_queue=MongoJobQueue(callbacks=[notes, counts, gated, looks, fails]),
                    lease_timeout=LEASE,
                    **options,
                )
                for _ in range(number)
            ]
            for one in made:
                await one.application.initialize()
                await one.application.start()
                stack.push_async_callback(stops, one)
            return made

        yield start


async def stops(bot: SharedBot) -> None:
    if bot.application.running:
        await bot.application.stop()
    await bot.application.shutdown()


async def dies(bot: SharedBot) -> None:
    """It does nothing more: no claim is renewed, no run ends, nothing is written."""
    jobs: Any = bot.application.job_queue
    await jobs.stop(wait=False)
    session = bot.persistence.session
    assert session is not None
    await session.writer.close()


def jobs_of(bot: SharedBot) -> tuple[Any, ...]:
    jobs: Any = bot.application.job_queue
    return tuple(jobs.jobs())


def number_of(database: Any, **query: Any) -> int:
    return int(database.jobs.count_documents({"buried": {"$exists": False}, **query}))


async def test_all_workers_know_a_job_that_one_has_made_changed_or_removed(workers):
    one, two, three = await workers()
    job = one.application.job_queue.run_once(notes, 3600, data=1)
    await until(lambda: len(jobs_of(two)) == len(jobs_of(three)) == 1)
    later = now(hours=5)
    job.job.modify(next_run_time=later)
    await until(lambda: abs((jobs_of(two)[0].next_t - later).total_seconds()) < 1)
    jobs_of(two)[0].schedule_removal()
    await until(lambda: jobs_of(one) == jobs_of(three) == ())


async def test_each_run_is_done_by_one_worker(workers, database):
    made = await workers()
    for number in range(60):
        made[number % 3].application.job_queue.run_once(notes, 0.2 + number / 200, data=number)
    for number in range(3):
        made[number].application.job_queue.run_repeating(notes, 0.3, first=0.2, last=1.1, data=f"repeats {number}")
    await until(lambda: len(RAN) >= 60 and number_of(database) == 0)
    await asyncio.sleep(0.2)
    times = collections.Counter(data for data, _ in RAN)
    assert {number: times[number] for number in range(60) if times[number] != 1} == {}
    assert {times[f"repeats {number}"] for number in range(3)} <= {3, 4}
    assert len({worker for _, worker in RAN}) > 1
    await until(lambda: all(jobs_of(one) == () for one in made))


async def test_jobs_that_each_worker_adds_at_its_start_are_one(workers, database):
    made = await workers()
    for one in made:
        one.application.job_queue.run_repeating(
            notes, 3600, first=0.5, name="daily", data=1, job_kwargs={"replace_existing": True}
        )
    await until(lambda: len(RAN) == 1)
    await asyncio.sleep(0.3)
    assert len(RAN) == 1
    assert number_of(database) == 1


async def test_what_came_due_while_no_worker_ran_runs_once(workers, database):
    database.jobs.insert_one({"_id": "x", "callback": f"{__name__}:notes", "data": 1, "next_run": now(seconds=-5)})
    await workers()
    await until(lambda: number_of(database) == 0)
    assert len(RAN) == 1


async def test_the_run_of_a_worker_that_dies_is_handed_on_after_the_lease(workers, database):
    made = await workers(2)
    GATE["here"] = asyncio.Event()
    made[0].application.job_queue.run_once(gated, 0.1)
    await until(lambda: len(RAN) == 1)
    first = next(one for one in made if id(one.application) == RAN[0][1])
    loop = asyncio.get_running_loop()
    began = loop.time()
    await dies(first)
    await until(lambda: len(RAN) == 2)
    assert loop.time() - began > LEASE * 0.7
    assert RAN[0][1] != RAN[1][1]
    GATE["here"].set()
    await until(lambda: number_of(database) == 0)


async def test_a_run_that_lasts_longer_than_the_lease_is_not_handed_on(workers, database):
    made = await workers(2)
    GATE["here"] = asyncio.Event()
    made[0].application.job_queue.run_once(gated, 0.05)
    await until(lambda: len(RAN) == 1)
    await asyncio.sleep(2.5 * LEASE)
    assert len(RAN) == 1
    GATE["here"].set()
    await until(lambda: number_of(database) == 0)
    assert [what for what, _ in RAN] == ["began", "ended"]


@pytest.mark.parametrize("is_once", [True, False])
async def test_a_holder_that_comes_back_late_cannot_finish_what_another_worker_has_taken_over(
    workers, database, is_once
):
    (one,) = await workers(1)
    GATE["here"] = asyncio.Event()
    jobs = one.application.job_queue
    _ = jobs.run_once(gated, 0.05) if is_once else jobs.run_repeating(gated, 3600, first=0.05)
    await until(lambda: len(RAN) == 1)
    # Another worker's claim takes its place, as if this one had been frozen.
    database.jobs.update_one({}, {"$set": {"claim": "other:1", "rev": "other:1"}})
    GATE["here"].set()
    await until(lambda: len(RAN) == 2)
    await asyncio.sleep(0.3)
    found = database.jobs.find_one()
    assert found["claim"] == "other:1"
    assert found["next_run"] < now()
    assert "last_run" not in found
    await until(lambda: len(RAN) == 4)  # that one does not renew it
    await until(lambda: number_of(database, next_run={"$lt": now()}) == 0)


async def test_a_claim_is_not_taken_over_when_an_election_has_kept_its_holder_from_renewing_it(
    workers, database, monkeypatch
):
    """Then no request fails: the answer just comes late."""
    (one,) = await workers(1)
    reader = one.persistence.session.reader
    refresh, elections = reader.refresh, []

    async def late(*given: Any, **options: Any) -> None:
        if options.get("every") and not elections:
            elections.append(0)
            await asyncio.sleep(LEASE / 2)
            await refresh(*given, **options)
            elections[0] = asyncio.get_running_loop().time()
        else:
            await refresh(*given, **options)

    monkeypatch.setattr(reader, "refresh", late)
    job = {"callback": f"{__name__}:notes", "data": 1, "next_run": now(seconds=-1)}
    database.jobs.insert_one({"_id": "x", **job, "claim": "other:1", "rev": "other:1"})
    await until(lambda: bool(RAN))
    assert asyncio.get_running_loop().time() - elections[0] > LEASE * 0.9
    await until(lambda: number_of(database) == 0)


async def test_a_claim_that_is_none_expires(workers, database):
    job = {"callback": f"{__name__}:notes", "next_run": now(seconds=-5)}
    claims = [5, {"a": 1}, "x" * 5000, [1], True]
    database.jobs.insert_many([{"_id": str(n), **job, "data": n, "claim": one} for n, one in enumerate(claims)])
    await workers(1)
    await until(lambda: number_of(database) == 0)
    assert sorted(data for data, _ in RAN) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("options", [{"consistency": "strict"}, {"exclusive": True}])
async def test_a_job_with_a_user_is_a_turn_of_that_user(workers, database, options):
    made = await workers(2, **options)
    for number in range(12):
        made[number % 2].application.job_queue.run_once(counts, 0.05, data=number, user_id=42, chat_id=42)
    await until(lambda: number_of(database) == 0 and len(RAN) == 12)
    stored = database.user_data.find_one(42)["data"]
    if "exclusive" in options:
        assert stored == {"count": 12}
        assert sorted(count for _, count in RAN) == list(range(1, 13))
    assert stored["count"] <= 12


async def test_a_job_that_comes_due_in_the_handler_that_has_added_it_waits_for_it(workers, database):
    one, two = await workers(2, exclusive=True)

    async def act(_: Any, context: Any) -> None:
        context.user_data["count"] = 1
        context.job_queue.run_once(counts, 0, data="late", user_id=42, chat_id=42)
        await asyncio.sleep(LEASE * 1.2)  # for longer than a turn inside this one would wait
        assert RAN == []

    await one.delivers(text(user=42), act)
    await two.delivers(text(user=42), lambda _, context: context.user_data.update(seen=True))
    await until(lambda: number_of(database) == 0 and len(RAN) == 1)

    await until(lambda: database.user_data.find_one(42)["data"] == {"count": 2, "seen": True})
    assert [*one.errors, *two.errors] == []


async def looks(context: Any) -> None:
    application = context.application
    RAN.append(("turn", application.current_turn))
    async with application.turn(user_id=42):
        application.user_data[42]["count"] = application.user_data[42].get("count", 0) + 1
    RAN.append(("ended", application.current_turn))


async def test_a_job_of_nobody_is_no_part_of_the_handler_in_whose_time_it_runs(workers, database):
    (one,) = await workers(1, exclusive=True)

    async def act(_: Any, context: Any) -> None:
        context.user_data["count"] = 1
        context.job_queue.run_once(looks, 0)
        await until(lambda: len(RAN) == 1)
        await asyncio.sleep(LEASE * 1.2)  # for longer than a turn inside this one would wait for its lease
        assert context.application.current_turn is not None

    await one.delivers(text(user=42), act)
    await until(lambda: number_of(database) == 0)
    assert RAN == [("turn", None), ("ended", None)]
    assert database.user_data.find_one(42)["data"] == {"count": 2}
    assert one.errors == []


async def test_a_turn_in_a_job_of_the_same_user_is_inside_of_that_one(workers, database):
    (one,) = await workers(1, exclusive=True)
    one.application.job_queue.run_once(looks, 0, user_id=42)

    await until(lambda: len(RAN) == 2)
    (_, turn), (_, still) = RAN
    assert turn is still is not None
    await until(lambda: number_of(database) == 0)
    assert database.user_data.find_one(42)["data"] == {"count": 1}
    assert one.errors == []


async def test_a_job_that_fails_tells_the_error_handlers_which_one_and_keeps_what_it_had_changed(workers, database):
    (one,) = await workers(1, exclusive=True)
    jobs: list[Any] = []

    async def note(_: object, context: Any) -> None:
        jobs.append(context.job)

    one.application.add_error_handler(note)
    job = one.application.job_queue.run_once(fails, 0, user_id=42)

    await until(lambda: len(jobs) == 1 and number_of(database) == 0)
    assert [type(error) for error in one.errors] == [ZeroDivisionError]
    assert [one.id for one in jobs] == [job.id]
    assert database.user_data.find_one(42)["data"] == {"count": 1}


async def fails(context: Any) -> None:
    await counts(context)
    raise ZeroDivisionError


async def test_a_run_whose_task_is_cancelled_goes_on_and_is_saved(workers, database):
    (one,) = await workers(1)
    GATE["here"] = asyncio.Event()
    jobs = one.application.job_queue
    running = asyncio.ensure_future(jobs.job_callback(jobs, Job(counts_late, user_id=42)))
    await until(lambda: bool(RAN))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    GATE["here"].set()

    await until(lambda: (database.user_data.find_one(42) or {}).get("data") == {"count": 1})


async def counts_late(context: Any) -> None:
    RAN.append(("began", None))
    await GATE["here"].wait()
    await counts(context)


async def test_a_single_bot_runs_what_workers_have_left(workers, database, mongo_persistence):
    database.jobs.insert_one(
        {"_id": "x", "callback": "job_bots:alarm", "data": 1, "next_run": now(seconds=-5), "claim": "gone:1"}
    )
    from job_bots import RAN as ALONE
    from job_bots import running

    ALONE.clear()
    async with running(mongo_persistence()):
        await until(lambda: ALONE == [1])
        await until(lambda: number_of(database) == 0)
    assert queue is not None


async def test_a_worker_that_was_frozen_after_its_claim_claims_again_before_it_runs(workers, database, monkeypatch):
    (one,) = await workers(1)
    claims = one.application.job_queue._keeper._claims
    frozen: list[str] = []
    may_run = claims.may_run

    def frozen_once(job_id: str) -> bool:
        if job_id in claims._held and not frozen:
            frozen.append(job_id)
            claims._held[job_id] -= LEASE
            database.jobs.update_one({}, {"$set": {"claim": "other:1", "rev": "other:1"}})
        return bool(may_run(job_id))

    monkeypatch.setattr(claims, "may_run", frozen_once)
    one.application.job_queue.run_once(notes, 0.05, data=1)
    await until(lambda: bool(frozen))
    await asyncio.sleep(0.3)
    assert RAN == []
    await until(lambda: number_of(database) == 0)  # the other worker never renews its claim
    assert len(RAN) == 1
