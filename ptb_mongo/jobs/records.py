"""A job of APScheduler, with PTB's `Job` inside, as a document, and back."""

from __future__ import annotations

import datetime as dtm
from typing import Any

from apscheduler.job import Job as ScheduledJob
from telegram.ext import Job

from ptb_mongo.codec import Codec
from ptb_mongo.errors import EncodeError, as_encode_error
from ptb_mongo.jobs.triggers import plain_date, plain_trigger
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.job_form import LONGEST_ID, JobRecord

__all__ = ["document_of", "of_ptb", "update_ptb"]


def of_ptb(job: ScheduledJob) -> Job[Any] | None:
    """PTB's job in one of APScheduler's; `None` if that was not made by a `JobQueue`."""
    args = job.args
    return args[1] if len(args) > 1 and isinstance(args[1], Job) else None


def document_of(
    job: ScheduledJob,
    callback: str,
    next_run: dtm.datetime | None,
    codec: Codec,
    *,
    last_run: dtm.datetime | None = None,
    claim: str | None = None,
) -> Document:
    """The document of a job.

    Args:
        job: The job.
        callback: The registered name of its callback.
        next_run: When it is to run next, as others are to see it.
        codec: Encodes its data.
        last_run: For which time it ran last.
        claim: Which worker runs it now.

    Raises:
        EncodeError: If it cannot be stored.
    """
    of_it = of_ptb(job)
    if of_it is None:
        raise EncodeError("it was not made by a JobQueue")
    if len(job.id) > LONGEST_ID or len(job.name) > LONGEST_ID:
        raise EncodeError(f"its id or name has more than {LONGEST_ID} characters")
    if job.executor != "default" or job.kwargs:
        raise EncodeError("an executor and kwargs of its own cannot be stored")
    times = {"last_run": last_run, "next_run": next_run}
    return {
        "callback": callback,
        "name": of_it.name or job.name,
        **_given(chat_id=of_it.chat_id, user_id=of_it.user_id),
        **_data_of(of_it, codec),
        "trigger": plain_trigger(job.trigger, codec),
        "next_run": None,
        **{name: plain_date(time) for name, time in times.items() if time is not None},
        **_given(misfire_grace_time=job.misfire_grace_time),
        **({} if job.coalesce else {"coalesce": False}),
        **({} if job.max_instances == 1 else {"max_instances": job.max_instances}),
        **_given(claim=claim),
    }


def _given(**fields: Any) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


def _data_of(of_it: Job[Any], codec: Codec) -> Document:
    if of_it.data is None:
        return {}
    try:
        encoded: Document = codec.encode({"data": of_it.data})
    except EncodeError as error:
        raise codec.explained(of_it.data, error) from error
    except Exception as error:
        raise as_encode_error(error) from error
    return encoded


def update_ptb(of_it: Job[Any], record: JobRecord, callback: Any) -> None:
    """Brings what is stored into PTB's job."""
    of_it.callback, of_it.data, of_it.name = callback, record.data, record.name
    of_it.chat_id, of_it.user_id = record.chat_id, record.user_id
