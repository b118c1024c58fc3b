"""Change streams: whether the server offers them, and the events in them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from ptb_mongo.driver import codes
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.waiting import awaited, wait_at_most

__all__ = ["Events", "is_sharded", "kill", "may_have_any", "of_replica_set", "of_sharded_cluster", "why_none"]

_KILLING: Final = 0.5  # seconds
_TOGETHER: Final = 500  # events in one batch, which is decoded and passed on without a pause
_AWAIT_MS: Final = 500  # how long the server waits for events; closing the driver takes as long


class Events(NamedTuple):
    """A batch of events of a change stream.

    Attributes:
        events: The events; empty if the batch only advances the resume token.
        token: The token after which the stream may be resumed; `None` if it is not known yet.
    """

    events: Sequence[Mapping[str, Any]]
    token: Mapping[str, Any] | None


def is_sharded(hello: Mapping[str, Any]) -> bool:
    """Whether the answer came from a router of a sharded cluster."""
    return hello.get("msg") == "isdbgrid"


def may_have_any(hello: Mapping[str, Any]) -> bool:
    """Whether a server can have change streams, as part of a replica set or of a sharded cluster."""
    return "setName" in hello or is_sharded(hello)


async def why_none(database: Any) -> str | None:
    """Why this server, unless standalone, offers no change streams; `None` if it does.

    Raises:
        PyMongoError: If the server does not say whether it does.
    """
    try:
        answer = await database.command("aggregate", 1, pipeline=[{"$changeStream": {}}], cursor={"batchSize": 0})
        await kill(database, answer["cursor"])
    except OperationFailure as error:
        if not codes.is_streamless(error.code, str(error)):
            raise
        named = (error.details or {}).get("codeName", error.code)
        return f"this user may not open one ({named})" if codes.is_login_lost(error.code) else f"it has none ({named})"
    return None


async def of_replica_set(
    database: Any,
    pipeline: Sequence[Mapping[str, Any]],
    start_at: Timestamp | None,
    resume_after: Mapping[str, Any] | None,
) -> AsyncGenerator[Events, None]:
    """Sends the same commands as a driver's `watch`; with Motor, `watch` itself would use a thread per event."""
    where = {"resumeAfter": resume_after} if resume_after else {"startAtOperationTime": start_at}
    started = database.client.start_session()
    session = await started if inspect.isawaitable(started) else started
    cursor: Mapping[str, Any] = {"id": 0}
    command = partial(database.command, codec_options=ANYTHING)
    try:
        stages = [{"$changeStream": where}, *pipeline]
        answer = await command("aggregate", 1, pipeline=stages, cursor={"batchSize": 0}, session=session)
        await_ms = 1  # at first, as earlier events are available at once
        while True:
            cursor = answer["cursor"]
            yield Events(cursor.get("nextBatch", ()), cursor.get("postBatchResumeToken"))
            if not cursor["id"]:
                return
            answer = await command(
                "getMore",
                cursor["id"],
                collection="$cmd.aggregate",
                batchSize=_TOGETHER,
                maxTimeMS=await_ms,
                session=session,
            )
            await_ms = _AWAIT_MS
    except (GeneratorExit, asyncio.CancelledError):  # after any other error, the cursor is gone
        await kill(database, cursor)
        raise
    finally:
        with contextlib.suppress(PyMongoError):  # an error must not replace a cancellation
            ended = session.end_session()
            if inspect.isawaitable(ended):
                await ended


async def of_sharded_cluster(
    database: Any,
    pipeline: Sequence[Mapping[str, Any]],
    start_at: Timestamp | None,
    resume_after: Mapping[str, Any] | None,
) -> AsyncGenerator[Events, None]:
    """Uses the driver's own cursor: among several routers, only that finds the right one again."""
    where = {"resume_after": resume_after} if resume_after else {"start_at_operation_time": start_at}
    # A stream accepts no other read concern.
    followed = database.with_options(read_concern=ReadConcern("majority"), codec_options=ANYTHING)
    made = followed.watch(pipeline, max_await_time_ms=_AWAIT_MS, **where)
    stream = await made if inspect.isawaitable(made) else made
    try:
        while stream.alive:
            change = await stream.try_next()
            yield Events(() if change is None else (change,), stream.resume_token)
    finally:
        await stream.close()


async def kill(database: Any, cursor: Mapping[str, Any]) -> None:
    """Closes a cursor on the server if it is reachable; otherwise the server closes it after a timeout."""
    if cursor["id"]:
        killing = database.command("killCursors", cursor["ns"].partition(".")[2], cursors=[cursor["id"]])
        with contextlib.suppress(PyMongoError, asyncio.TimeoutError):
            await wait_at_most(_KILLING, awaited(killing))
