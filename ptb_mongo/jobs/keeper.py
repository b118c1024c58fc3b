"""Stores the jobs of a queue: changes in memory go through their scope and the writer, like all data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from apscheduler.job import Job as ScheduledJob
from telegram.ext import JobQueue

from ptb_mongo.errors import DocumentError, PersistenceError
from ptb_mongo.jobs.arrivals import Arrivals
from ptb_mongo.jobs.callbacks import Callbacks
from ptb_mongo.jobs.claims import Claims
from ptb_mongo.jobs.known import KnownJobs
from ptb_mongo.jobs.records import document_of, of_ptb
from ptb_mongo.jobs.store import MongoJobStore, Run
from ptb_mongo.jobs.triggers import plain_date, plain_trigger
from ptb_mongo.lifecycle import Staged
from ptb_mongo.log import get_logger
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.factory import Scopes
from ptb_mongo.scopes.jobs import JobScope, LiveJobs, same_rule
from ptb_mongo.session import Session
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["JobKeeper"]

_LOGGER = get_logger(__name__)
_AGAIN: Final = 1.0  # seconds until a job that could not run is tried again


class JobKeeper:
    """Stores the jobs of a queue.

    Args:
        queue: The queue.
        store: Contains its jobs.
        callbacks: The registered callbacks.
        persistence: The bot's persistence.
        lease_timeout: Seconds after which another worker's claim is void; `None` if there are no other workers.
    """

    def __init__(
        self,
        queue: JobQueue[Any],
        store: MongoJobStore,
        callbacks: Callbacks,
        persistence: MongoPersistence[Any, Any, Any],
        lease_timeout: float | None,
    ) -> None:
        self._known = KnownJobs(store, callbacks)
        self._persistence = persistence
        self._dirty: dict[str, bool] = {}  # changed jobs; whether one is gone because it has run
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._claims = None if lease_timeout is None else Claims(self, lease_timeout)
        self._arrivals = Arrivals(queue, self._known, persistence, self._claims, self, self.run_in_background)

    @property
    def live(self) -> LiveJobs:
        """Handles others' changes."""
        return self._arrivals

    @property
    def store(self) -> MongoJobStore:
        """The jobs in memory."""
        return self._known.store

    @property
    def session(self) -> Session | None:
        """The open session."""
        return self._persistence.session

    # -- starting and stopping --------------------------------------------------------------------------

    async def open(self) -> None:
        """Loads the stored jobs; called before the scheduler starts.

        Raises:
            ConfigurationError: If a module of callbacks cannot be imported.
            PersistenceError: If they cannot be read.
        """
        self._known.callbacks.load()
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        await self._arrivals.open()

    def closes(self) -> None:
        """See `Keeper`; hands over the last changes."""
        if self._claims is not None:
            self._claims.close()
        self.save()
        self._is_open = False
        self._arrivals.close()

    async def close(self) -> None:
        """Waits until everything handed over is saved."""
        if self._is_open:
            self.closes()
        for task in list(self._tasks):
            await cancel_and_wait(task)

    def run_in_background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs a coroutine until this is closed."""
        task = asyncio.get_running_loop().create_task(coroutine, name="ptb_mongo jobs")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what the store reports -------------------------------------------------------------------------

    def changed(self, job_id: str) -> None:
        """See `Keeper`."""
        if self._is_open:
            self.note(job_id, is_done=False)

    def note(self, job_id: str, *, is_done: bool) -> None:
        """See `Changes`."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not self._loop:  # another thread has added a job, which PTB's queue allows
            if self._loop is not None:
                self._loop.call_soon_threadsafe(partial(self.note, job_id, is_done=is_done))
            return
        if not self._dirty and loop is not None:
            loop.call_soon(self.save)
        self._dirty[job_id] = is_done

    def may_run(self, job_id: str) -> bool:
        """See `Keeper`."""
        return self._claims is None or job_id in self._known.in_memory or self._claims.may_run(job_id)

    def is_same_rule(self, one: ScheduledJob, other: ScheduledJob) -> bool:
        """See `Keeper`."""
        first, second = of_ptb(one), of_ptb(other)
        session = self.session
        if first is None or second is None or first.callback != second.callback or session is None:
            return False
        codec = session.scopes.jobs.codec
        try:
            rules = plain_trigger(one.trigger, codec), plain_trigger(other.trigger, codec)
        except DocumentError:
            return False
        return rules[0]["kind"] != "once" and same_rule(*rules)

    def ended(self, job_id: str, run: Run) -> None:
        """See `Keeper`."""
        if not self._is_open:
            return
        if self._claims is not None:
            self._claims.end(job_id)
        if run.is_void:
            self.note(job_id, is_done=False)
            return
        job = self.store.jobs.get(job_id)
        if run.has_failed:
            if job is None or job is run.job:
                run.job.next_run_time = run.before
                self.store.put(run.job)
                self.store.wait(job_id, time.time() + _AGAIN)
                self.store.wake()
        elif job is None:
            self._known.has_run(job_id, plain_date(run.before))
        else:
            self._known.last_runs[job_id] = run.last
        self.note(job_id, is_done=job is None and not run.has_failed)

    # -- storing ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """See `Changes`."""
        if self._dirty and self._is_open:
            saving = self._persistence.save_staged(self._staged)
            task = asyncio.get_running_loop().create_task(saving, name="ptb_mongo jobs saved")
            task.add_done_callback(self._saved)

    def _saved(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("A job was not saved: %s", error)

    def _staged(self, scopes: Scopes) -> Staged:
        dirty, self._dirty = self._dirty, {}
        replicas = [self.stage(scopes.jobs, job_id, is_done=is_done) for job_id, is_done in dirty.items()]
        return scopes.jobs, [replica for replica in replicas if replica is not None], []

    def stage(self, scope: JobScope, job_id: str, *, is_done: bool = False) -> Replica | None:
        """Stages a job, as it is now; returns the replica to write, or `None`."""
        run = self.store.runs.get(job_id)
        running = run if run is not None and not run.is_void else None
        job = self.store.jobs.get(job_id) or (running.job if running is not None else None)
        try:
            if job is None:
                is_stored = job_id not in self._known.in_memory
                self._known.forget(job_id)
                self._arrivals.one_is_gone()
                return scope.staged(job_id, None, is_done=is_done) if is_stored else None
            callback = self._callback_of(job)
            if callback is None:
                self._known.in_memory.add(job_id)
                return None
            document = document_of(
                job,
                callback,
                running.before if running is not None else job.next_run_time,
                scope.codec,
                last_run=self._known.last_runs.get(job_id),
                claim=self._claims.claim_of(job_id) if self._claims is not None else None,
            )
            self._known.in_memory.discard(job_id)
            return scope.staged(job_id, document)
        except DocumentError as error:
            self._known.in_memory.add(job_id)
            self._known.notices.unstorable(job_id, error)
            return None

    def _callback_of(self, job: ScheduledJob) -> str | None:
        of_it = of_ptb(job)
        if of_it is None:
            return None
        name = self._known.callbacks.named(of_it.callback)
        if name is None:
            self._known.notices.unregistered(of_it.callback)
        return name

    # -- claims -----------------------------------------------------------------------------------------

    async def store_now(self, job_ids: list[str]) -> None:
        """Stores jobs, and waits until the server has answered or is unreachable."""
        session = await self._persistence.open_session()
        staged = [self.stage(session.scopes.jobs, job_id) for job_id in job_ids]
        offers = [session.exchange.offer(session.scopes.jobs, replica) for replica in staged]
        try:
            await session.exchange.outcomes(offers)
        except PersistenceError as error:
            _LOGGER.warning("A job cannot be claimed: %s", error)
