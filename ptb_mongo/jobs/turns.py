"""How a job runs: in a worker that shares its data, as a turn of its own user and chat, and of nobody else's.

A handler may have started the task of a job, which then has a copy of the handler's context: so the job would seem to
run in the turn of whoever added it, or another job.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from telegram.ext import Application, Job

from ptb_mongo.jobs.timeouts import conversation_of, conversation_timeout
from ptb_mongo.workers.application import SharedApplication
from ptb_mongo.workers.turn import outside

__all__ = ["lease_timeout_of", "run_job"]


async def run_job(application: Application[Any, Any, Any, Any, Any, Any], job: Job[Any]) -> None:
    """Runs a job; errors of its callback go to the error handlers.

    Raises:
        PersistenceError: If it did not run, as others' changes could not be read, or its lease could not be acquired.
    """
    if not isinstance(application, SharedApplication):
        await job.run(application)
        return
    found = conversation_of(application, job.data) if job.callback is conversation_timeout else None
    if found is None and job.chat_id is None and job.user_id is None:
        with outside():
            await job.run(application)
        return
    # As in PTB, a run continues when its task is cancelled; so does its turn, which ends after it.
    await asyncio.shield(
        application.run_in_turn(
            partial(_run, application, job),
            user_id=job.user_id,
            chat_id=job.chat_id,
            conversation=None if found is None else found[:2],
        )
    )


async def _run(application: SharedApplication[Any, Any, Any, Any, Any, Any], job: Job[Any]) -> None:
    """Does the same as `Job.run`, but in the turn's own task, so that a turn in the callback is inside this one."""
    try:
        context = application.context_types.context.from_job(job, application)
        await context.refresh_data()
        await job.callback(context)
    except Exception as error:  # noqa: BLE001  (anything that a callback raises goes to the error handlers)
        await application.create_task(application.process_error(None, error, job=job), name=f"Job:{job.id}:error")
    finally:
        application.mark_data_for_update_persistence(chat_ids=job.chat_id, user_ids=job.user_id)


def lease_timeout_of(application: Application[Any, Any, Any, Any, Any, Any]) -> float | None:
    """Seconds after which another worker takes over the work of a dead one; `None` for a single bot."""
    return application.lease_timeout if isinstance(application, SharedApplication) else None
