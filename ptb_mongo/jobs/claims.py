"""Which worker runs a due job: the one whose claim is stored first.

A claim is a text in the job's document. It is written, renewed and removed like any change, on the condition that
nobody else has written the document meanwhile; and a merge never replaces another claim (see `scopes.jobs`). So only
one of several workers has it, and one that comes back late does not. Renewals show that another worker is alive: a
claim that stays unchanged for `lease_timeout`, by the clock of the observing worker and while the server answers, is
taken over.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from ptb_mongo.errors import PersistenceError
from ptb_mongo.jobs.store import MongoJobStore
from ptb_mongo.replica.values import Document
from ptb_mongo.session import Session
from ptb_mongo.sync.availability import Availability

__all__ = ["Claims"]

_SPREAD: Final = 0.05  # seconds: workers that claim a job at the same moment only delay each other
_AGAIN: Final = 1.0
_RENEWALS: Final = 4  # during `lease_timeout`


class JobsOfWorker(Protocol):
    """What claims need from the keeper."""

    @property
    def store(self) -> MongoJobStore:
        """The jobs in memory."""

    @property
    def session(self) -> Session | None:
        """The open session."""

    async def store_now(self, job_ids: list[str]) -> None:
        """Stores jobs, and waits until the server has answered or is unreachable."""

    def run_in_background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs a coroutine until the keeper is closed."""


class Claims:
    """The claims of one worker.

    Args:
        jobs: The jobs.
        lease_timeout: Seconds after which a claim that is not renewed is void.
    """

    def __init__(self, jobs: JobsOfWorker, lease_timeout: float) -> None:
        self._jobs = jobs
        self._timeout = lease_timeout
        self._name = uuid.uuid4().hex[:12]
        self._count = 0
        self._wanted: dict[str, None] = {}
        self._mine: dict[str, str] = {}
        self._held: dict[str, float] = {}  # when this worker's acknowledged claims were sent
        self._seen: dict[str, tuple[str, float]] = {}  # others' claims, and since when they have been unchanged
        self._reached: tuple[Availability, int] | None = None
        self._is_claiming = self._is_renewing = False
        self._closed = False

    def claim_of(self, job_id: str) -> str | None:
        """The claim of a job: this worker's or another one's."""
        if (claim := self._mine.get(job_id)) is not None:
            return claim
        return self._seen[job_id][0] if job_id in self._seen else None

    def close(self) -> None:
        """Gives up claims of jobs that are not running yet."""
        self._closed = True
        for job_id in [one for one in self._mine if one not in self._jobs.store.runs]:
            self._give_up(job_id)

    def _give_up(self, job_id: str) -> None:
        self._mine.pop(job_id, None)
        self._held.pop(job_id, None)
        if (keeper := self._jobs.store.keeper) is not None:
            keeper.changed(job_id)

    # -- due jobs ---------------------------------------------------------------------------------------

    def may_run(self, job_id: str) -> bool:
        """Whether a due job belongs to this worker; if not, claims it when that is possible."""
        if job_id in self._held:
            if time.monotonic() - self._held[job_id] < self._timeout / 2:
                return True
            self.end(job_id)  # this worker was frozen meanwhile: another one may have taken it over
        now = time.time()
        if job_id in self._mine or job_id in self._wanted:
            self._jobs.store.wait(job_id, now + _AGAIN)
            return False
        self._note_outages()
        if (left := self._left(job_id)) > 0:
            self._jobs.store.wait(job_id, now + left)
            return False
        self._jobs.store.wait(job_id, now + _AGAIN)
        if not self._closed:
            self._wanted[job_id] = None
            if not self._is_claiming:
                self._is_claiming = True
                self._jobs.run_in_background(self._claim_all())
        return False

    async def _claim_all(self) -> None:
        try:
            while self._wanted and not self._closed:
                await asyncio.sleep(random.uniform(0, _SPREAD))  # noqa: S311
                await self._claim(list(self._wanted))
        finally:
            self._is_claiming = False

    async def _claim(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            self._wanted.pop(job_id, None)
        session = self._jobs.session
        self._note_outages()
        if session is None or session.availability.is_unreachable:
            return
        if others := [one for one in job_ids if one in self._seen]:
            await self._look_again(session, others)
        wanted = [one for one in job_ids if one in self._jobs.store.jobs and self._left(one) <= 0]
        for job_id in wanted:
            self._count += 1
            self._mine[job_id] = f"{self._name}:{self._count}"
        began = time.monotonic()
        await self._jobs.store_now(wanted)
        now = time.time()
        for job_id in wanted:
            claim = self._mine.get(job_id)
            if claim is None:
                continue
            if self._is_stored(session, job_id, claim):
                self._held[job_id] = began
                self._seen.pop(job_id, None)
                self._jobs.store.wait(job_id, 0)
            else:
                self._give_up(job_id)
                self._jobs.store.wait(job_id, now + _AGAIN)
        if self._held and not self._is_renewing:
            self._is_renewing = True
            self._jobs.run_in_background(self._renew())
        self._jobs.store.wake()

    async def _look_again(self, session: Session, job_ids: list[str]) -> None:
        """Reads jobs whose claims may be void by now: missing answers are all that shows an election.

        During one, holders cannot renew claims, and what they have done meanwhile arrives when it is over.
        """
        scope, began = session.scopes.jobs, time.monotonic()
        replicas = [replica for one in job_ids if (replica := scope.replicas.get(one)) is not None]
        try:
            await session.reader.refresh({scope: replicas}, every=True)
        except PersistenceError:
            self.all_seen_again()
        if time.monotonic() - began > self._timeout / _RENEWALS:
            self.all_seen_again()

    @staticmethod
    def _is_stored(session: Session, job_id: str, claim: str) -> bool:
        replica = session.scopes.jobs.replicas.get(job_id)
        document: Document | None = session.scopes.jobs.stored(job_id)
        return (
            document is not None and replica is not None and not replica.is_unsaved and document.get("claim") == claim
        )

    async def _renew(self) -> None:
        try:
            while self._mine and not self._closed:
                await asyncio.sleep(self._timeout / _RENEWALS)
                running = [one for one in self._held if one in self._jobs.store.runs]
                for job_id in running:
                    self._count += 1
                    self._mine[job_id] = f"{self._name}:{self._count}"
                if running:
                    await self._jobs.store_now(running)
        finally:
            self._is_renewing = False

    def end(self, job_id: str) -> None:
        """Notes that a job has run: its claim is removed with the next write."""
        self._mine.pop(job_id, None)
        self._held.pop(job_id, None)

    # -- claims of others -------------------------------------------------------------------------------

    def seen(self, job_id: str, claim: str | None) -> bool:
        """Notes the claim of a job that was read; returns whether another worker is running it."""
        self._note_outages()
        if claim is None or claim.startswith(f"{self._name}:"):
            self._seen.pop(job_id, None)
            return False
        known = self._seen.get(job_id)
        if known is None or known[0] != claim:
            self._seen[job_id] = claim, time.monotonic()
        self.end(job_id)
        return True

    def all_seen_again(self) -> None:
        """Restarts the timeout of each claim, as renewals may have gone unnoticed."""
        now = time.monotonic()
        self._seen = {job_id: (claim, now) for job_id, (claim, _) in self._seen.items()}

    def _note_outages(self) -> None:
        """Restarts the timeouts after an outage: nobody can renew a claim while the server is unreachable."""
        session = self._jobs.session
        availability = session.availability if session is not None else None
        reached = None
        if availability is not None and not availability.is_unreachable:
            reached = availability, availability.outages
        if reached != self._reached:
            self._reached = reached
            self.all_seen_again()

    def _left(self, job_id: str) -> float:
        """Seconds until another worker's claim is void; zero or less if it is, or if there is none."""
        seen = self._seen.get(job_id)
        return 0 if seen is None else seen[1] + self._timeout - time.monotonic()

    def place(self, job_id: str) -> None:
        """Delays a job that another worker has claimed until that claim may be void."""
        if job_id in self._seen:
            self._jobs.store.wait(job_id, time.time() + max(self._left(job_id), 0))

    def gone(self, job_id: str) -> None:
        """Notes that a job no longer exists."""
        self.end(job_id)
        self._seen.pop(job_id, None)
