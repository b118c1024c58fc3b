"""How a job is run: in a worker that shares its data, as a turn of its user and chat."""

from __future__ import annotations

from typing import Any

from telegram.ext import Application, Job

from ptb_mongo.jobs.timeouts import conversation_of, conversation_timeout
from ptb_mongo.workers.application import SharedApplication

__all__ = ["lease_timeout_of", "run_job"]


async def run_job(application: Application[Any, Any, Any, Any, Any, Any], job: Job[Any]) -> None:
    """Runs a job; errors of its callback go to the error handlers.

    Raises:
        PersistenceError: If it was not run, as what others have changed could not be read; or its lease not acquired.
    """
    if not isinstance(application, SharedApplication) or (job.chat_id is None and job.user_id is None):
        await job.run(application)
        return
    found = conversation_of(application, job.data) if job.callback is conversation_timeout else None
    await application.run_in_turn(
        lambda: job.run(application),
        user_id=job.user_id,
        chat_id=job.chat_id,
        conversation=None if found is None else found[:2],
    )


def lease_timeout_of(application: Application[Any, Any, Any, Any, Any, Any]) -> float | None:
    """Seconds after which another worker takes over what a worker that has died was doing; `None` for a single bot."""
    return application.lease_timeout if isinstance(application, SharedApplication) else None
