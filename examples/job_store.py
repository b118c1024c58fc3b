"""APScheduler's own store for MongoDB, made to hold the jobs of python-telegram-bot's `JobQueue`.

A job of PTB refers to the application, which cannot be stored. What is stored here instead is what it was made of:
its callback, data, name, chat and user.

**APScheduler restores jobs with pickle, and without restrictions**: whoever may write to their collection can run
code in the bot. So they have a database of their own, on the same server, to which nothing but the bot may write.
"""

from __future__ import annotations

import datetime as dtm
from typing import Any

from apscheduler.job import Job as StoredJob
from apscheduler.jobstores.mongodb import MongoDBJobStore
from pymongo import MongoClient
from telegram.ext import Application, Job, JobQueue

__all__ = ["JobStore"]

PATIENCE_MS = 5_000  # APScheduler's store blocks the bot while it asks the server


class JobStore(MongoDBJobStore):  # type: ignore[misc]  # APScheduler 3 is not typed
    """Stores jobs whose callbacks are functions of a module; their `data` must be picklable.

    Args:
        application: The bot's application.
        uri: The server.
        database: The database's name, not that of the bot's data.
    """

    def __init__(self, application: Application[Any, Any, Any, Any, Any, Any], uri: str, database: str) -> None:
        super().__init__(database=database, client=MongoClient(uri, serverSelectionTimeoutMS=PATIENCE_MS))
        self._application = application

    def add_job(self, job: StoredJob) -> None:
        """See `MongoDBJobStore`."""
        super().add_job(storable(job))

    def update_job(self, job: StoredJob) -> None:
        """See `MongoDBJobStore`."""
        super().update_job(storable(job))

    def lookup_job(self, job_id: str) -> StoredJob | None:
        """See `MongoDBJobStore`."""
        job = super().lookup_job(job_id)
        return self._restored(job) if job else None

    def get_due_jobs(self, now: dtm.datetime) -> list[StoredJob]:
        """See `MongoDBJobStore`."""
        return [self._restored(job) for job in super().get_due_jobs(now)]

    def get_all_jobs(self) -> list[StoredJob]:
        """See `MongoDBJobStore`."""
        return [self._restored(job) for job in super().get_all_jobs()]

    def _restored(self, job: StoredJob) -> StoredJob:
        """The job with a living `Job` of PTB; it is changed in place, as it was just made from what is stored."""
        callback, data, name, chat_id, user_id = job.args
        of_ptb: Job[Any] = Job(callback, data=data, name=name, chat_id=chat_id, user_id=user_id)
        job.__setstate__({**job.__getstate__(), "args": (self._application.job_queue, of_ptb)})
        Job.from_aps_job(job)  # lets `context.job.schedule_removal()` find it
        return job


def storable(job: StoredJob) -> StoredJob:
    """A copy of the job that holds what its `Job` of PTB was made of."""
    queue, of_ptb = job.args
    if not isinstance(queue, JobQueue):
        raise TypeError("only jobs of a JobQueue belong here")
    copy = StoredJob.__new__(StoredJob)
    parts = (of_ptb.callback, of_ptb.data, of_ptb.name, of_ptb.chat_id, of_ptb.user_id)
    copy.__setstate__({**job.__getstate__(), "args": parts})
    return copy
