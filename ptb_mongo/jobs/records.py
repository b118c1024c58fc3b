"""Converts a job of APScheduler, with PTB's `Job` inside, to a document and back."""

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
    """PTB's job inside APScheduler's; `None` if it was not created by a `JobQueue`."""
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
        next_run: The time of its next run, for others to see.
        codec: Encodes its data.
        last_run: The scheduled time of its last run.
        claim: The worker that is running it now.

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
    document: Document = {"callback": callback, "name": of_it.name or job.name}
    if of_it.chat_id is not None:
        document["chat_id"] = of_it.chat_id
    if of_it.user_id is not None:
        document["user_id"] = of_it.user_id
    if of_it.data is not None:
        document["data"] = _data_of(of_it, codec)
    document["trigger"] = plain_trigger(job.trigger, codec)
    document["next_run"] = None if next_run is None else plain_date(next_run)
    if last_run is not None:
        document["last_run"] = plain_date(last_run)
    _add_options(document, job)
    if claim is not None:
        document["claim"] = claim
    return document


def _add_options(document: Document, job: ScheduledJob) -> None:
    """Adds the options that differ from the default."""
    if job.misfire_grace_time is not None:
        document["misfire_grace_time"] = job.misfire_grace_time
    if not job.coalesce:
        document["coalesce"] = False
    if job.max_instances != 1:
        document["max_instances"] = job.max_instances


def _data_of(of_it: Job[Any], codec: Codec) -> Any:
    try:
        return codec.encode({"data": of_it.data})["data"]
    except EncodeError as error:
        raise codec.explained(of_it.data, error) from error
    except Exception as error:
        raise as_encode_error(error) from error


def update_ptb(of_it: Job[Any], record: JobRecord, callback: Any) -> None:
    """Copies the stored values into PTB's job."""
    of_it.callback, of_it.data, of_it.name = callback, record.data, record.name
    of_it.chat_id, of_it.user_id = record.chat_id, record.user_id
