"""Bots with jobs: their callbacks note for whom they ran."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
from collections.abc import AsyncIterator
from typing import Any

from bots import Bot

from ptb_mongo import MongoJobQueue

UTC = dtm.timezone.utc
RAN: list[Any] = []
"""What the callbacks noted, in the order in which they ran."""

GATE = asyncio.Event()


async def alarm(context: Any) -> None:
    RAN.append(context.job.data)


async def other(context: Any) -> None:
    RAN.append(("other", context.job.data))


async def counts(context: Any) -> None:
    context.job.data["count"] += 1
    RAN.append(context.job.data["count"])


async def waits(context: Any) -> None:
    RAN.append(("began", context.job.data))
    await context.job.data["gate"].wait() if isinstance(context.job.data, dict) else await asyncio.sleep(3600)


def now(**ahead: float) -> dtm.datetime:
    return dtm.datetime.now(UTC) + dtm.timedelta(**ahead)


def queue(*callbacks: Any, **options: Any) -> MongoJobQueue:
    return MongoJobQueue(callbacks=callbacks or [alarm, other, counts, waits], **options)


@contextlib.asynccontextmanager
async def running(persistence: Any, *callbacks: Any, before: Any = None, **options: Any) -> AsyncIterator[Any]:
    """A bot that is started; gives its job queue. `before` adds jobs as a program does before it runs."""
    bot = Bot(persistence, job_queue=queue(*callbacks, **options))
    application = bot.application
    if before is not None:
        before(application.job_queue)
    async with application:
        await application.start()
        try:
            yield application.job_queue
        finally:
            await application.stop()


async def dies(job_queue: Any) -> None:
    """The process of a bot ends without a word; what its tasks would do later never happens."""
    await job_queue.application.persistence.session.close()
