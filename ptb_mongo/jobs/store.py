"""The jobs in memory, as a store for APScheduler's scheduler; it never waits, and does no I/O.

It reports what happens to a job to a keeper, which stores it in the background. A run counts as done only when its
callback has ended: until then, the job stays stored as it was, so that a bot that dies meanwhile runs it again.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED, EVENT_JOB_SUBMITTED
from apscheduler.job import Job as ScheduledJob
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError

from ptb_mongo.jobs.timeline import Timeline
from ptb_mongo.jobs.triggers import latest_run
from ptb_mongo.log import get_logger

__all__ = ["ALIAS", "EVENTS", "Keeper", "MongoJobStore", "Run"]

_LOGGER = get_logger(__name__)
_ENDED: Final = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED
EVENTS: Final = EVENT_JOB_SUBMITTED | _ENDED
"""The scheduler's events that the store needs."""

_MOST_RUNS: Final = 1000
"""How many missed runs are made up for, with `coalesce=False`."""

_MOST_AT_ONCE: Final = 100
_SLICE: Final = 0.01  # seconds

ALIAS: Final = "default"
"""The name of the store in the scheduler."""

_UTC: Final = dtm.timezone.utc


@dataclass(slots=True)
class Run:
    """A job whose callback is running.

    Attributes:
        job: The job.
        before: Its scheduled time before this run.
        last: The last scheduled time that this run covers.
        pending: How many runs have not ended yet.
        has_failed: Whether it could not run, and must be run again.
        is_void: Whether the job was removed or replaced meanwhile, or now belongs to another worker.
    """

    job: ScheduledJob
    before: dtm.datetime
    last: dtm.datetime
    pending: int = 0
    has_failed: bool = False
    is_void: bool = False


class Keeper(Protocol):
    """Stores jobs."""

    def changed(self, job_id: str) -> None:
        """Stores a job as it is now, or deletes it if it is gone."""

    def may_run(self, job_id: str) -> bool:
        """Whether a due job may run here; if not, the keeper says when."""

    def is_same_rule(self, one: ScheduledJob, other: ScheduledJob) -> bool:
        """Whether two jobs have the same callback, and recur by the same rule."""

    def ended(self, job_id: str, run: Run) -> None:
        """Handles the end of a run."""

    def closes(self) -> None:
        """Handles the stop of the scheduler."""


class MongoJobStore(BaseJobStore):  # type: ignore[misc]  # APScheduler 3 is not typed
    """Contains the jobs of one scheduler.

    Attributes:
        jobs: The jobs, by their ids.
        runs: The runs in progress.
        keeper: Stores the jobs.
        weight: The total size of the jobs' documents, in bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, ScheduledJob] = {}
        self.runs: dict[str, Run] = {}
        self.keeper: Keeper | None = None
        self.weight = 0
        self._weights: dict[str, int] = {}
        self._timeline = Timeline()
        self._handed: dict[str, dtm.datetime] = {}  # jobs given to the scheduler, which then says when they run next

    # -- what the scheduler asks ------------------------------------------------------------------------

    def lookup_job(self, job_id: str) -> ScheduledJob | None:
        """See `BaseJobStore`."""
        return self.jobs.get(job_id)

    def get_due_jobs(self, now: dtm.datetime) -> list[ScheduledJob]:
        """See `BaseJobStore`; of very many only the first: the scheduler asks again at once, after other tasks."""
        due: list[ScheduledJob] = []
        moment, first = now.timestamp(), self._timeline.first
        if first is None or first > moment:
            return due
        begun = time.monotonic()
        for job_id in self._timeline.due(moment, _MOST_AT_ONCE):
            if time.monotonic() - begun > _SLICE:  # searching a job that was missed for years takes milliseconds
                break
            job = self.jobs[job_id]
            if self.keeper is None or self.keeper.may_run(job_id):
                self._handed[job_id] = job.next_run_time
                self._skip_missed(job, now)
                due.append(job)
        return due

    @staticmethod
    def _skip_missed(job: ScheduledJob, now: dtm.datetime) -> None:
        """Skips missed runs, which APScheduler would go through one by one."""
        if job.coalesce:
            job.next_run_time = latest_run(job.trigger, job.next_run_time, now)
            return
        following = job.next_run_time
        for _ in range(_MOST_RUNS):
            following = job.trigger.get_next_fire_time(following, now)
            if following is None or following > now:
                return
        _LOGGER.warning("The job %r has missed more than %d runs; only the last one will be run", job.id, _MOST_RUNS)
        job.next_run_time = latest_run(job.trigger, job.next_run_time, now)

    def get_next_run_time(self) -> dtm.datetime | None:
        """See `BaseJobStore`."""
        first = self._timeline.first
        return None if first is None else dtm.datetime.fromtimestamp(first, _UTC)

    def get_all_jobs(self) -> list[ScheduledJob]:
        """See `BaseJobStore`."""
        scheduled = [self.jobs[job_id] for job_id in self._timeline]
        return scheduled + [job for job in self.jobs.values() if job.next_run_time is None]

    # -- what the scheduler changes ---------------------------------------------------------------------

    def add_job(self, job: ScheduledJob) -> None:
        """See `BaseJobStore`."""
        if job.id in self.jobs:
            raise ConflictingIdError(job.id)
        if (run := self.runs.get(job.id)) is not None:
            run.is_void = True
        self.put(job)
        self._tell(job.id)

    def update_job(self, job: ScheduledJob) -> None:
        """See `BaseJobStore`."""
        known = self.jobs.get(job.id)
        if known is None:
            raise JobLookupError(job.id)
        before = self._handed.pop(job.id, None)
        if before is not None:
            self._begin(job, before)
        elif known is not job and self._takes_place(known, job):
            job.trigger, job.next_run_time = known.trigger, known.next_run_time
        self.put(job)
        if before is None:
            self._tell(job.id)

    def remove_job(self, job_id: str) -> None:
        """See `BaseJobStore`."""
        job = self.jobs.get(job_id)
        if job is None:
            raise JobLookupError(job_id)
        before = self._handed.pop(job_id, None)
        self.drop(job_id)
        if before is not None:
            self._begin(job, before)
            return
        if (run := self.runs.get(job_id)) is not None:
            run.is_void = True
        self._tell(job_id)

    def remove_all_jobs(self) -> None:
        """See `BaseJobStore`."""
        for job_id in list(self.jobs):
            self.remove_job(job_id)

    def shutdown(self) -> None:
        """See `BaseJobStore`; the stored jobs stay."""
        if self.keeper is not None:
            self.keeper.closes()
        self.jobs.clear()
        self.runs.clear()
        self._weights.clear()
        self.weight = 0
        self._timeline.clear()
        self._handed.clear()

    def _takes_place(self, known: ScheduledJob, job: ScheduledJob) -> bool:
        """Whether the program adds a job at each start, so that it continues the schedule of the stored one."""
        is_start = self._scheduler is not None and not self._scheduler.running
        return is_start and self.keeper is not None and self.keeper.is_same_rule(known, job)

    def _tell(self, job_id: str) -> None:
        if self.keeper is not None:
            self.keeper.changed(job_id)

    # -- what the keeper changes ------------------------------------------------------------------------

    def put(self, job: ScheduledJob) -> None:
        """Adds or updates a job, whose time may have changed."""
        self.jobs[job.id] = job
        self._timeline.place(job.id, None if job.next_run_time is None else job.next_run_time.timestamp())

    def drop(self, job_id: str) -> None:
        """Removes a job."""
        if self.jobs.pop(job_id, None) is not None:
            self._timeline.place(job_id, None)
            self.weigh(job_id, 0)

    def weigh(self, job_id: str, weight: int) -> None:
        """Notes the size of a job's document, in bytes."""
        self.weight += weight - self._weights.pop(job_id, 0)
        if weight:
            self._weights[job_id] = weight

    def wait(self, job_id: str, until: float) -> None:
        """Delays a job until a moment."""
        job = self.jobs.get(job_id)
        if job is not None and job.next_run_time is not None:
            self._timeline.place(job_id, max(until, job.next_run_time.timestamp()))

    def wake(self) -> None:
        """Lets the scheduler search for due jobs."""
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.wakeup()

    def adopt(self, job: ScheduledJob) -> ScheduledJob:
        """Marks a job that was restored as belonging to this store, as every job store must.

        APScheduler 3 has no public name for that; all job stores set this attribute.
        """
        job._jobstore_alias = ALIAS  # noqa: SLF001
        return job

    # -- runs -------------------------------------------------------------------------------------------

    def _begin(self, job: ScheduledJob, before: dtm.datetime) -> None:
        run = self.runs.get(job.id)
        if run is None or run.is_void or run.job is not job:
            run = self.runs[job.id] = Run(job, before, before)
        asyncio.get_running_loop().call_soon(self._settle, job.id, run)

    def noted(self, event: Any) -> None:
        """Handles the scheduler's events at the beginning and end of runs."""
        run = self.runs.get(event.job_id)
        if run is None:
            return
        if event.code == EVENT_JOB_SUBMITTED:
            run.pending += len(event.scheduled_run_times)
            run.last = max(run.last, *event.scheduled_run_times)
        elif event.code & _ENDED:
            run.pending -= 1
            run.has_failed = run.has_failed or event.code == EVENT_JOB_ERROR
            self._settle(event.job_id, run)

    def _settle(self, job_id: str, run: Run) -> None:
        """Notes the end of a run with nothing pending, including one that the scheduler could not begin."""
        if run.pending > 0 or self.runs.get(job_id) is not run:
            return
        del self.runs[job_id]
        if self.keeper is not None:
            self.keeper.ended(job_id, run)
