"""The stored form of a job: what a queue is asked for comes back, and what a stranger writes is refused or harmless.

The kinds: triggers of each of PTB's methods, with all that APScheduler lets them have; documents that are no job; rules
that would take for ever; times that were missed.
"""

from __future__ import annotations

import datetime as dtm
import time
import zoneinfo
from typing import Any

import pytest
from apscheduler.job import Job as ScheduledJob
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import example, given
from hypothesis import strategies as st
from telegram.ext import Job, JobQueue

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.errors import DecodeError, EncodeError
from ptb_mongo.jobs.records import document_of
from ptb_mongo.jobs.store import MongoJobStore
from ptb_mongo.jobs.triggers import first_run, latest_run, plain_date, plain_trigger, trigger_of
from ptb_mongo.scopes.job_form import DAYS, MISSING_RUN, record_of

UTC = dtm.timezone.utc
CODEC = Codec()
SCHEDULER = AsyncIOScheduler(timezone=UTC)
NOON = dtm.datetime(2026, 3, 4, 12, tzinfo=UTC)

zones = st.sampled_from(
    [UTC, zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Asia/Kathmandu"), dtm.timezone(dtm.timedelta(hours=5))]
)
moments = st.datetimes(dtm.datetime(2000, 1, 1), dtm.datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001
ends = st.fixed_dictionaries({}, optional={"end_date": moments, "jitter": st.integers(0, 60)})
numbers = st.integers(0, 59)


def _cron(days: dict[str, Any], hour: int, minute: int, second: int, more: dict[str, Any], zone: Any) -> CronTrigger:
    return CronTrigger(**days, hour=min(hour, 23), minute=minute, second=second, timezone=zone, **more)


which_days = st.one_of(
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True).map(lambda days: {"day_of_week": ",".join(days)}),
    st.sampled_from([{"day": "last"}, {"day": 1}, {"day": 31}, {"month": "1-6", "day": "*/2"}, {"week": "3"}, {}]),
)
triggers = st.one_of(
    st.builds(DateTrigger, moments),
    st.builds(
        lambda seconds, first, zone, more: IntervalTrigger(seconds=seconds, start_date=first, timezone=zone, **more),
        st.one_of(st.integers(1, 10**8), st.floats(0.001, 10**6)),
        moments,
        zones,
        ends,
    ),
    st.builds(_cron, which_days, numbers, numbers, numbers, ends, zones),
)


def stored(plain: dict[str, Any]) -> dict[str, Any]:
    """What comes back from the database."""
    return CODEC.decode(load(dump(plain)))


def restored(trigger: Any) -> Any:
    body = stored({"callback": "bot:alarm", "trigger": plain_trigger(trigger, CODEC), "next_run": None})
    return trigger_of(record_of(body).trigger, CODEC)


@given(triggers)
def test_a_trigger_comes_back_and_is_due_at_the_same_times(trigger):
    back = restored(trigger)

    assert plain_trigger(back, CODEC) == plain_trigger(trigger, CODEC)
    if not getattr(trigger, "jitter", None):
        first, second = (one.get_next_fire_time(None, NOON) for one in (trigger, back))
        assert (first is None) is (second is None)
        # Dates are stored in milliseconds: of a moment from which an interval counts, less than one is lost.
        assert first is None or abs(first - second) <= dtm.timedelta(milliseconds=1)


@given(
    triggers,
    st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.tuples(st.text()), st.sets(st.text())),
    st.one_of(st.none(), st.integers(-(2**50), 2**50)),
    st.one_of(st.none(), moments),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.booleans(),
)
def test_a_job_comes_back(trigger, data, chat_id, next_run, grace, coalesce):
    of_ptb = Job(test_a_job_comes_back, data, "name", chat_id, chat_id)
    options: Any = {"misfire_grace_time": grace, "coalesce": coalesce, "max_instances": 1, "next_run_time": next_run}
    job = ScheduledJob(
        SCHEDULER,
        id="x",
        func=JobQueue.job_callback,
        args=(None, of_ptb),
        kwargs={},
        name="name",
        executor="default",
        trigger=trigger,
        **options,
    )

    record = record_of(stored(document_of(job, "bot:alarm", next_run, CODEC, last_run=next_run, claim="w:1")))

    assert (record.callback, record.name, record.data, record.chat_id) == ("bot:alarm", "name", data, chat_id)
    assert record.next_run == record.last_run == (next_run and plain_date(next_run))
    assert (record.misfire_grace_time, record.coalesce, record.claim) == (grace, coalesce, "w:1")


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (
            CronTrigger(day_of_week="mon,fri", hour=8, minute=0, second=0, timezone="Europe/Berlin"),
            {"kind": "daily", "time": "08:00:00", "days": ["mon", "fri"], "zone": "Europe/Berlin"},
        ),
        (
            CronTrigger(day_of_week="sun,mon,tue,wed,thu,fri,sat", hour=8, minute=0, second=0, timezone=UTC),
            {"kind": "daily", "time": "08:00:00", "zone": "UTC"},
        ),
        (
            CronTrigger(day="last", hour=8, minute=0, second=0, timezone=UTC),
            {"kind": "monthly", "time": "08:00:00", "day": "last", "zone": "UTC"},
        ),
        (
            CronTrigger(minute="*/5", timezone=UTC),
            {"kind": "cron", "minute": "*/5", "zone": "UTC"},
        ),
        (
            IntervalTrigger(minutes=5, start_date=NOON, timezone=UTC),
            {"kind": "repeating", "interval": 300, "first": NOON, "zone": "UTC"},
        ),
        (DateTrigger(NOON), {"kind": "once", "at": NOON, "zone": "UTC"}),
    ],
)
def test_a_trigger_reads_as_what_the_queue_was_asked_for(made, plain):
    assert plain_trigger(made, CODEC) == plain


def test_a_trigger_that_has_no_plain_form_is_named():
    with pytest.raises(EncodeError, match="OrTrigger cannot be stored; use run_once"):
        plain_trigger(OrTrigger([DateTrigger(NOON)]), CODEC)


def test_the_least_that_somebody_else_writes_is_a_callback_and_a_time():
    record = record_of({"callback": "bot:alarm", "next_run": NOON})

    assert (record.name, record.next_run, record.coalesce, record.max_instances) == ("alarm", NOON, True, 1)
    assert trigger_of(record.trigger, CODEC).run_date == NOON


def test_a_rule_without_a_time_says_itself_when_the_job_runs():
    record = record_of({"callback": "bot:alarm", "trigger": {"kind": "daily", "time": "08:30:00"}})

    assert first_run(record.next_run, trigger_of(record.trigger, CODEC), NOON) == NOON + dtm.timedelta(hours=20.5)


_GOOD: dict[str, Any] = {"callback": "bot:alarm", "next_run": NOON}
_CRON: dict[str, Any] = {"kind": "cron", "minute": "0"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"callback": None}, "callback"),
        ({"callback": ["bot:alarm"]}, "callback"),
        ({"callback": "x" * 600}, "callback"),
        ({"name": 5}, "name"),
        ({"name": ""}, "name"),
        ({"chat_id": "42"}, "chat_id"),
        ({"user_id": 1e300}, "user_id"),
        ({"next_run": "noon"}, "next_run"),
        ({"next_run": NOON.replace(tzinfo=None)}, "next_run"),
        ({"next_run": NOON.replace(year=9999)}, "next_run"),
        ({"next_run": NOON.replace(year=9000)}, "next_run"),
        ({"next_run": dtm.datetime.min.replace(tzinfo=dtm.timezone(dtm.timedelta(hours=5)))}, "next_run"),
        ({"last_run": 5}, "last_run"),
        ({"misfire_grace_time": 0}, "misfire_grace_time"),
        ({"misfire_grace_time": 10**30}, "misfire_grace_time"),
        ({"misfire_grace_time": True}, "misfire_grace_time"),
        ({"coalesce": 1}, "coalesce"),
        ({"max_instances": -1}, "max_instances"),
        ({"trigger": "once"}, "trigger"),
        ({"trigger": {}}, "trigger.kind"),
        ({"trigger": {"kind": "once"}}, "trigger.at"),
        ({"trigger": {"kind": "once", "at": NOON, "interval": 5}}, "trigger"),
        ({"trigger": {"kind": "repeating", "interval": 0}}, "trigger.interval"),
        ({"trigger": {"kind": "repeating", "interval": float("nan")}}, "trigger.interval"),
        ({"trigger": {"kind": "repeating", "interval": float("inf")}}, "trigger.interval"),
        ({"trigger": {"kind": "repeating", "interval": 10**400}}, "trigger.interval"),
        ({"trigger": {"kind": "repeating", "interval": 60, "jitter": -1}}, "trigger.jitter"),
        ({"trigger": {"kind": "daily", "time": "8:00"}}, "trigger.time"),
        ({"trigger": {"kind": "daily", "time": "24:00:00"}}, "trigger.time"),
        ({"trigger": {"kind": "daily", "time": "08:00:00", "days": ["monday"]}}, "trigger.days"),
        ({"trigger": {"kind": "daily", "time": "08:00:00", "days": []}}, "trigger.days"),
        ({"trigger": {"kind": "monthly", "time": "08:00:00", "day": 32}}, "trigger.day"),
        ({"trigger": {"kind": "monthly", "time": "08:00:00", "day": "xth"}}, "trigger.day"),
        ({"trigger": {**_CRON, "minute": "*," * 90}}, "trigger.minute"),
        ({"trigger": {**_CRON, "minute": "\n"}}, "trigger.minute"),
        ({"trigger": {**_CRON, "zone": 5}}, "trigger.zone"),
    ],
)
def test_what_is_no_job_is_refused_with_its_place(change, path):
    with pytest.raises(DecodeError) as caught:
        record_of({**_GOOD, **change})

    assert caught.value.path == path


@pytest.mark.parametrize(
    "trigger",
    [
        {**_CRON, "zone": "Mars/Olympus"},
        {**_CRON, "zone": "../../etc/passwd"},
        {**_CRON, "minute": "61"},
        {**_CRON, "minute": "*/0"},
        {**_CRON, "day": "6th mon"},
    ],
)
def test_what_no_scheduler_knows_is_refused(trigger):
    with pytest.raises(DecodeError):
        trigger_of(record_of({**_GOOD, "trigger": trigger}).trigger, CODEC)


@pytest.mark.parametrize(
    "rule",
    [
        {"month": "2", "day": "30"},
        {"week": "53", "month": "6"},
        {"year": "1999"},
        {"year": "2000-9999", "month": "2", "day": "31"},
        {"day": "31", "month": "2,4,6,9,11", "hour": "*", "minute": "*", "second": "*"},
    ],
)
def test_a_rule_that_matches_no_day_takes_no_time(rule):
    trigger = trigger_of(record_of({**_GOOD, "trigger": {"kind": "cron", **rule}}).trigger, CODEC)
    began = time.process_time()

    assert trigger.get_next_fire_time(None, NOON) is None
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize("start", [{}, {"first": dtm.datetime(8999, 12, 31, tzinfo=UTC)}])
def test_the_end_of_time_ends_no_scheduler(start):
    for rule in ({"kind": "cron", "second": "*"}, {"kind": "repeating", "interval": 100 * 366 * 86400}):
        trigger = trigger_of(record_of({**_GOOD, "trigger": {**rule, **start}}).trigger, CODEC)

        trigger.get_next_fire_time(None, NOON)
        trigger.get_next_fire_time(dtm.datetime(8999, 12, 31, tzinfo=UTC), NOON)


@given(
    st.one_of(
        st.integers(1, 10**5).map(lambda seconds: IntervalTrigger(seconds=seconds, start_date=NOON, timezone=UTC)),
        st.builds(_cron, which_days, numbers, numbers, numbers, st.just({}), zones),
    ),
    st.integers(0, 400_000),
)
def test_the_last_missed_time_is_what_going_through_all_of_them_finds(trigger, missed):
    first = trigger.get_next_fire_time(None, NOON)
    now = first + dtm.timedelta(seconds=missed)
    expected, step = first, 0
    while step < 3000 and (following := trigger.get_next_fire_time(expected, now)) is not None and following <= now:
        expected, step = following, step + 1
    if step < 3000:
        assert latest_run(trigger, first, now) == expected


def test_years_without_the_bot_take_no_time():
    began = time.process_time()

    for trigger in (
        IntervalTrigger(seconds=0.001, start_date=NOON, timezone=UTC),
        CronTrigger(second="*", timezone=UTC),
    ):
        found = latest_run(trigger, NOON - dtm.timedelta(days=20_000), NOON)
        assert NOON - found < dtm.timedelta(seconds=1)
    assert time.process_time() - began < 0.5


# -- whatever passes the checks ends no scheduler ----------------------------------------------------------

edges = st.sampled_from(
    [
        dtm.datetime(1970, 1, 1, tzinfo=UTC),
        dtm.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        NOON,
        NOON - dtm.timedelta(microseconds=1000),
        dtm.datetime(8999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    ]
)
seconds = st.sampled_from([0.001, 0.0019999, 1, 1.5, 59, 86_400, 1e9, 100 * 366 * 86_400, 100 * 366 * 86_400.0])
hostile_zones = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "Antarctica/Troll", "America/Nuuk"])
expressions = st.sampled_from(
    ["*", "0", "5", "*/7", "1-3", "31", "53", "9999", "last", "1st mon", "last sun", "6", "2-59/58"]
)
hostile_rules = st.one_of(
    st.fixed_dictionaries({"kind": st.just("once"), "at": edges}),
    st.fixed_dictionaries(
        {"kind": st.just("repeating"), "interval": seconds},
        optional={"first": edges, "last": edges, "jitter": seconds, "zone": hostile_zones},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("cron")},
        optional={
            **dict.fromkeys(("year", "month", "day", "week", "day_of_week", "hour", "minute", "second"), expressions),
            "first": edges,
            "last": edges,
            "jitter": seconds,
            "zone": hostile_zones,
        },
    ),
)


# Apia left out a whole day: of a date there, adding seconds adds those of its clocks.
@example({"kind": "repeating", "interval": 1, "zone": "Pacific/Apia"}, dtm.datetime(1970, 1, 1, tzinfo=UTC), False)
@example({"kind": "repeating", "interval": 1, "zone": "Pacific/Apia"}, dtm.datetime(1970, 1, 1, tzinfo=UTC), True)
@example({"kind": "cron", "second": "*", "zone": "Pacific/Apia"}, dtm.datetime(1970, 1, 1, tzinfo=UTC), False)
@example({"kind": "cron", "second": "*", "zone": "Pacific/Apia"}, dtm.datetime(1970, 1, 1, tzinfo=UTC), True)
@given(hostile_rules, edges, st.booleans())
def test_what_passes_the_checks_raises_nothing_in_the_scheduler_whenever_it_is_due(rule, next_run, coalesce):
    """An error there would end its timer, and with that all jobs."""
    record = record_of({**_GOOD, "next_run": next_run, "trigger": rule})
    try:
        trigger = trigger_of(record.trigger, CODEC)
    except DecodeError:
        return
    first_run(MISSING_RUN, trigger, NOON)
    due = first_run(record.next_run, trigger, NOON)
    job = ScheduledJob(
        SCHEDULER, id="x", func=JobQueue.job_callback, args=(None, None), kwargs={}, name="x", executor="default",
        trigger=trigger, misfire_grace_time=None, coalesce=coalesce, max_instances=1, next_run_time=due,
    )  # fmt: skip
    store = MongoJobStore()
    store.put(job)

    for found in store.get_due_jobs(NOON):
        times = found._get_run_times(NOON)
        assert 0 < len(times) <= 1001
        following = found.trigger.get_next_fire_time(times[-1], NOON)
        assert following is None or following > NOON or trigger_has_jitter(trigger)
        assert following is None or store.get_next_run_time() is not None


def trigger_has_jitter(trigger: Any) -> bool:
    return bool(getattr(trigger, "jitter", None))
