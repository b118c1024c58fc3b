"""APScheduler's scheduler, with additions that `MongoJobQueue` needs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from ptb_mongo.held_states import TIMEOUT_JOB

__all__ = ["Scheduler"]


class Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler 3 is not typed
    """Uses the name of a job as its id, if it is to replace an existing one and has no id."""

    def __init__(self, **options: Any) -> None:
        self._wakes: asyncio.AbstractEventLoop | None = None
        super().__init__(**options)

    def add_job(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """See `BaseScheduler.add_job`."""
        if kwargs.get("replace_existing") and kwargs.get("id") is None and kwargs.get("name"):
            kwargs["id"] = kwargs["name"]
        return super().add_job(func, *args, **kwargs)

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """See `BaseScheduler.remove_job`; a conversation may have timed out in another worker."""
        with contextlib.suppress(*([JobLookupError] if job_id.startswith(TIMEOUT_JOB) else [])):
            super().remove_job(job_id, jobstore)

    def wakeup(self) -> None:
        """See `BaseScheduler.wakeup`; wakes up once for all changes made without a pause.

        The original writes to a pipe, and searches for due jobs, for each of thousands of added jobs.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # in another thread
            super().wakeup()
            return
        if self._wakes is not loop:
            self._wakes = loop
            loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._wakes = None
        if self.running:
            super().wakeup()
