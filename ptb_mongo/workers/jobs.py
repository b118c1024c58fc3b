"""Jobs that have a user or a chat: each run is a turn, without its callback having to ask for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from telegram.ext import Job, JobQueue

from ptb_mongo.workers.turn import Turn, outside

__all__ = ["run_as_turns"]

Handles = Callable[[Turn, Callable[[], Awaitable[None]]], Awaitable[bool]]


def run_as_turns(queue: JobQueue[Any], handle: Handles) -> None:
    """Makes a turn of each job that is added from now on, or when the queue starts, and has a user or a chat.

    Args:
        queue: The queue.
        handle: Handles a turn.
    """
    # There is one only where there is a queue.
    from apscheduler.events import EVENT_JOB_ADDED  # noqa: PLC0415

    def added(event: Any) -> None:
        made = queue.scheduler.get_job(event.job_id)
        for job in made.args if made is not None else ():
            is_somebodys = isinstance(job, Job) and (job.user_id is not None or job.chat_id is not None)
            if is_somebodys and not isinstance(job.callback, _AsTurn):
                job.callback = _AsTurn(job, job.callback, handle)

    queue.scheduler.add_listener(added, EVENT_JOB_ADDED)


class _AsTurn:
    """The callback of a job, as a turn.

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
        turn = Turn.of_ids(self._job.user_id, self._job.chat_id, comes_again=False)
        with outside():
            await self._handle(turn, partial(self._run, context))

    async def _run(self, context: Any) -> None:
        await self._callback(context)
