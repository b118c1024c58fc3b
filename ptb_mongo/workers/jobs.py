"""The jobs of PTB's own `JobQueue`: a run is not part of the turn in which the job was added.

The run of a job that has a user or a chat is a turn of its own, without its callback having to ask for one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from telegram.ext import Job, JobQueue

from ptb_mongo.workers.turn import Turn, outside

__all__ = ["run_as_turns"]

Handles = Callable[[Turn, Callable[[], Awaitable[None]]], Awaitable[bool]]


def run_as_turns(queue: JobQueue[Any], handle: Handles) -> None:
    """Runs each job that has a user or a chat as a turn, and keeps all jobs out of others' turns.

    This applies to jobs that are added from now on, or when the queue starts.

    Args:
        queue: The queue.
        handle: Handles a turn.
    """
    # APScheduler is installed if there is a queue.
    from apscheduler.events import EVENT_JOB_ADDED  # noqa: PLC0415

    def added(event: Any) -> None:
        made = queue.scheduler.get_job(event.job_id)
        for job in made.args if made is not None else ():
            if isinstance(job, Job) and not isinstance(job.callback, _AsTurn):
                job.callback = _AsTurn(job, job.callback, handle)

    queue.scheduler.add_listener(added, EVENT_JOB_ADDED)


class _AsTurn:
    """The callback of a job, as a turn of its user and chat, or outside of any turn if it has neither.

    Args:
        job: The job.
        callback: Its callback.
        handle: Handles a turn.
    """

    def __init__(self, job: Job[Any], callback: Callable[[Any], Awaitable[Any]], handle: Handles) -> None:
        self._job = job
        self._callback = callback
        self._handle = handle
        self.__name__ = getattr(callback, "__name__", repr(callback))

    async def __call__(self, context: Any) -> None:
        with outside():
            if self._job.user_id is None and self._job.chat_id is None:
                await self._callback(context)
            else:
                turn = Turn.of_ids(self._job.user_id, self._job.chat_id, comes_again=False)
                await self._handle(turn, partial(self._run, context))

    async def _run(self, context: Any) -> None:
        await self._callback(context)
