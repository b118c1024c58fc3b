"""What a queue remembers about its jobs, besides the jobs themselves."""

from __future__ import annotations

import datetime as dtm
from dataclasses import dataclass, field
from typing import Final

from ptb_mongo.jobs.callbacks import Callbacks
from ptb_mongo.jobs.notices import Notices
from ptb_mongo.jobs.store import MongoJobStore

__all__ = ["KnownJobs"]

_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class KnownJobs:
    """The jobs of a queue.

    Attributes:
        store: The jobs in memory.
        callbacks: The registered callbacks.
        notices: The warnings about them.
        last_runs: The scheduled time of each job's last run.
        ran_for: The scheduled times of jobs that were deleted because they have run.
        in_memory: The jobs that cannot be stored.
    """

    store: MongoJobStore
    callbacks: Callbacks
    notices: Notices = field(default_factory=Notices)
    last_runs: dict[str, dtm.datetime] = field(default_factory=dict)
    ran_for: dict[str, dtm.datetime] = field(default_factory=dict)
    in_memory: set[str] = field(default_factory=set)

    def has_run(self, job_id: str, moment: dtm.datetime) -> None:
        """Notes that a job has run for a scheduled time, and is gone."""
        self.ran_for[job_id] = moment
        if len(self.ran_for) > _REMEMBERED:
            self.ran_for.pop(next(iter(self.ran_for)))

    def forget(self, job_id: str) -> None:
        """Forgets a job that is gone."""
        self.in_memory.discard(job_id)
        self.last_runs.pop(job_id, None)
