"""Brings stored jobs into memory: at the start, and whenever others have changed something."""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from apscheduler.job import Job as ScheduledJob
from telegram.ext import Job, JobQueue

from ptb_mongo.codec import Codec
from ptb_mongo.errors import DecodeError, PersistenceError
from ptb_mongo.jobs.claims import Claims
from ptb_mongo.jobs.known import KnownJobs
from ptb_mongo.jobs.records import of_ptb, update_ptb
from ptb_mongo.jobs.store import Run
from ptb_mongo.jobs.triggers import first_run, plain_date, plain_trigger, trigger_of
from ptb_mongo.log import get_logger
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.job_form import LONGEST_ID, JobRecord, record_of
from ptb_mongo.scopes.jobs import JobScope
from ptb_mongo.session import Session
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.sync.steps import Steps, portions

__all__ = ["MOST_BYTES", "MOST_JOBS", "Arrivals", "Changes"]

_LOGGER = get_logger(__name__)
MOST_JOBS: Final = 100_000
"""How many stored jobs are held in memory: no honest bot has more."""

MOST_BYTES: Final = 128 * 2**20
"""The maximum total size of their documents, in bytes."""

_MOST_NOTICED: Final = 5_000
_POLL: Final = 30.0  # seconds between two checks, if no change stream reports others' changes
_NAMED: Final = 100  # unregistered callbacks to look for
_NAME: Final = rf"^[^\x00]{{1,{LONGEST_ID}}}$"


class Changes(Protocol):
    """Stores what changes in memory."""

    def save(self) -> None:
        """Hands over the changes."""

    def note(self, job_id: str, *, is_done: bool) -> None:
        """Notes that a job has changed, or that it has run and is gone."""


class Arrivals:
    """Brings in stored jobs.

    Args:
        queue: The queue.
        known: Its jobs.
        persistence: The bot's persistence.
        claims: Which worker runs which job; `None` if there are no other workers.
        changes: Stores what changes in memory.
        run: Runs a coroutine in the background.
    """

    def __init__(
        self,
        queue: JobQueue[Any],
        known: KnownJobs,
        persistence: MongoPersistence[Any, Any, Any],
        claims: Claims | None,
        changes: Changes,
        run: Callable[[Coroutine[Any, Any, Any]], object],
    ) -> None:
        self._queue = queue
        self._known = known
        self._store = known.store
        self._persistence = persistence
        self._claims = claims
        self._changes = changes
        self._run = run
        self._noticed: dict[Replica, None] = {}
        self._codec: Codec = Codec()
        self._checked: tuple[Document, JobRecord, Any] | None = None
        self._is_open = self._is_reading = self._must_reload = self._is_full = False

    async def open(self) -> None:
        """Loads the stored jobs.

        Raises:
            PersistenceError: If they cannot be read.
        """
        session = await self._persistence.open_session()
        session.begin()
        self._codec = session.scopes.jobs.codec
        session.scopes.jobs.live = self
        await session.exchange.index(session.scopes.jobs, "next_run")
        self._is_open = True
        try:
            await self._load(session)
        except BaseException:
            self._is_open = False
            raise
        if session.refresh_mode == "read":
            self._run(self._poll())

    def close(self) -> None:
        """Stops bringing in anything."""
        self._is_open = False

    # -- reading ----------------------------------------------------------------------------------------

    async def _load(self, session: Session) -> None:
        scope, names = session.scopes.jobs, self._known.callbacks.names
        self._must_reload, is_all = False, True
        with scope.being_loaded(), Steps() as steps:
            async for raws in session.exchange.batches(scope, {"callback": {"$in": names}}):
                for some in portions(raws):
                    for replica, body in scope.loaded(some):
                        is_all = is_all and (not body or self._take(scope, replica, body))
                        await steps.pause()  # searching a rule that rarely matches takes milliseconds
                        self.reads()
                if not is_all:
                    break
        if is_all:
            scope.complete = True
        self._store.wake()
        for replica in [one for one in scope.replicas.values() if one.is_stale and not one.is_unsaved]:
            self.noticed(replica)
        # Only what may be a name: a stranger may have stored megabytes instead, or arrays that contain a name.
        others = {
            "callback": {"$nin": names, "$regex": _NAME},
            "callback.0": {"$exists": False},
            "next_run": {"$exists": True},
        }
        found = session.exchange.some(scope, others, {"callback": 1}, limit=_NAMED)
        self._known.notices.unknown([one.get("callback") async for one in found])

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL)
            if (session := self._persistence.session) is not None:
                session.scopes.jobs.told_all()

    def all_noticed(self) -> None:
        """See `LiveJobs`."""
        if self._claims is not None:
            self._claims.all_seen_again()
        if self._is_open:
            self._must_reload = True
            self._read()

    def noticed(self, replica: Replica) -> None:
        """See `LiveJobs`."""
        if not self._is_open:
            return
        self._noticed[replica] = None
        if len(self._noticed) > _MOST_NOTICED:  # too many to read one by one
            self._noticed.clear()
            self._must_reload = True
        self._read()

    def _read(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._run(self._read_all())

    async def _read_all(self) -> None:
        try:
            while self._is_open and (self._must_reload or self._noticed):
                await retry_forever(self._read_once, _log_unexpected)
        finally:
            self._is_reading = False

    async def _read_once(self) -> None:
        session = await self._persistence.open_session()
        if self._must_reload:
            await self._load(session)
        scope, noticed = session.scopes.jobs, list(self._noticed)
        await session.reader.refresh({scope: noticed}, every=False)
        for replica in noticed:
            self._noticed.pop(replica, None)
            scope.forget(replica)

    # -- bringing in ------------------------------------------------------------------------------------

    def reads(self) -> None:
        """See `LiveJobs`."""
        self._changes.save()

    def check(self, body: Document) -> None:
        """See `LiveJobs`."""
        self._parts_of(body)

    def _parts_of(self, body: Document) -> tuple[JobRecord, Any]:
        """The record and the trigger in a decoded document.

        Raises:
            DecodeError: If they are missing or not valid.
        """
        if self._checked is None or self._checked[0] is not body:
            record = record_of(body)
            self._checked = body, record, trigger_of(record.trigger, self._codec)
        return self._checked[1:]

    def arrived(self, job_id: str, body: Document | None) -> None:
        """See `LiveJobs`."""
        session = self._persistence.session
        if not self._is_open or session is None:
            return
        if body is None:
            self._gone(job_id)
        elif (replica := session.scopes.jobs.replicas.get(job_id)) is not None:
            self._take(session.scopes.jobs, replica, body)
            self._store.wake()

    def _gone(self, job_id: str) -> None:
        if job_id in self._known.in_memory:
            return
        self._store.drop(job_id)
        self._known.forget(job_id)
        if (run := self._store.runs.get(job_id)) is not None:
            run.is_void = True
        if self._claims is not None:
            self._claims.gone(job_id)
        self.one_is_gone()

    def one_is_gone(self) -> None:
        """A job is held no longer: those that were left alone are brought in when there is room for many of them."""
        is_waited_for = self._is_open and self._is_full
        if is_waited_for and len(self._store.jobs) < MOST_JOBS // 2 and self._store.weight < MOST_BYTES // 2:
            self._is_full, self._must_reload = False, True
            self._read()

    def _take(self, scope: JobScope, replica: Replica, body: Document) -> bool:
        """Brings in a stored job; returns whether there is room for it."""
        try:
            record, trigger = self._parts_of(body)
            callback = self._known.callbacks.get(record.callback)
            if callback is None:
                self._known.notices.unknown([record.callback])
                return True
            weight = len(replica.base or b"")
            if replica.id not in self._store.jobs and not self._has_room(weight):
                scope.misses_some()
                return False
            self._bring(scope, replica.id, record, callback, trigger)
            if replica.id in self._store.jobs:
                self._store.weigh(replica.id, weight)
        except DecodeError as error:
            scope.could_not_be_used(replica, error)
        return True

    def _has_room(self, weight: int) -> bool:
        if len(self._store.jobs) < MOST_JOBS and self._store.weight + weight <= MOST_BYTES:
            return True
        self._is_full = True
        self._known.notices.too_many(MOST_JOBS, MOST_BYTES)
        return False

    def _bring(self, scope: JobScope, job_id: str, record: JobRecord, callback: Any, trigger: Any) -> None:
        now = dtm.datetime.now(self._queue.scheduler.timezone)
        next_run = first_run(record.next_run, trigger, now)
        run = self._store.runs.get(job_id)
        is_others = self._claims is not None and self._claims.seen(job_id, record.claim)
        if run is not None and is_others:
            run.is_void = True  # another worker has taken it over
        if run is not None and run.is_void:
            run = None
        if record.last_run is not None:
            self._known.last_runs[job_id] = record.last_run
        job = self._store.jobs.get(job_id)
        if job is not None:
            self._update(scope, job, record, callback, trigger)
            self._move(job, next_run, run)
            self._store.put(job)
        elif not is_others and self._is_done(job_id, next_run, run):
            return
        else:
            self._store.put(self._made(job_id, record, callback, trigger, next_run))
        self._known.ran_for.pop(job_id, None)
        if self._claims is not None:
            self._claims.place(job_id)

    def _is_done(self, job_id: str, next_run: dtm.datetime | None, run: Run | None) -> bool:
        """Whether a job that is not in memory has run, or is running, here for the stored time."""
        before = plain_date(run.before) if run is not None else self._known.ran_for.get(job_id)
        if before is None or next_run is None or plain_date(next_run) != before:
            return False
        if run is None:  # others have changed something else in it, so it was not deleted
            self._changes.note(job_id, is_done=True)
        return True

    @staticmethod
    def _update(scope: JobScope, job: ScheduledJob, record: JobRecord, callback: Any, trigger: Any) -> None:
        if (of_it := of_ptb(job)) is not None:
            update_ptb(of_it, record, callback)
        job.name, job.coalesce, job.max_instances = record.name, record.coalesce, record.max_instances
        job.misfire_grace_time = record.misfire_grace_time
        if plain_trigger(job.trigger, scope.codec) != plain_trigger(trigger, scope.codec):
            job.trigger = trigger

    @staticmethod
    def _move(job: ScheduledJob, next_run: dtm.datetime | None, run: Run | None) -> None:
        known = job.next_run_time if run is None else run.before
        if (None if known is None else plain_date(known)) == (None if next_run is None else plain_date(next_run)):
            return
        job.next_run_time = next_run
        if run is not None and next_run is not None:
            run.before = next_run

    def _made(
        self, job_id: str, record: JobRecord, callback: Any, trigger: Any, next_run: dtm.datetime | None
    ) -> ScheduledJob:
        of_it: Job[Any] = Job(callback, record.data, record.name, record.chat_id, record.user_id)
        job = ScheduledJob(
            self._queue.scheduler,
            id=job_id,
            name=record.name,
            func=self._queue.job_callback,
            args=(self._queue, of_it),
            kwargs={},
            trigger=trigger,
            executor="default",
            misfire_grace_time=record.misfire_grace_time,
            coalesce=record.coalesce,
            max_instances=record.max_instances,
            next_run_time=next_run,
        )
        Job.from_aps_job(job)
        return self._store.adopt(job)


def _log_unexpected(error: BaseException) -> None:
    if not isinstance(error, PersistenceError):
        _LOGGER.error("Jobs cannot be read; the bot will try again", exc_info=error)
