"""Refresh after somebody else has written: the time until a handler sees it."""

from __future__ import annotations

import asyncio
import inspect
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pymongo import MongoClient

from suite.core import Line, Results, Run, within
from suite.subjects import OURS, Ours, client_of, raw

WORK = "refresh, changed outside"
STREAM = "change stream"
POLL = 0.0005
Seen = Callable[[int], Awaitable[None]]


@asynccontextmanager
async def ours(run: Run, name: str) -> AsyncIterator[Seen]:
    """Our persistence: waits until a refresh shows a score."""
    subject = Ours(run, name, refresh="watch")
    await subject.fill(1000)
    await subject.open()
    live = (await subject.load())[1]

    async def seen(score: int) -> None:
        while live["score"] != score:
            await subject.persistence.refresh_user_data(user_id=1, user_data=live)
            await asyncio.sleep(POLL)

    yield seen
    await subject.close()


@asynccontextmanager
async def stream(run: Run, driver: str) -> AsyncIterator[Seen]:
    """The driver's change stream, with the document in each event."""
    subject = Ours(run, raw(driver, STREAM))
    await subject.fill(1000)
    async with client_of(driver, run.uri) as client:
        now = (await client.admin.command("hello"))["operationTime"]
        watching = client[subject.database].user_data.watch(full_document="updateLookup", start_at_operation_time=now)
        if inspect.isawaitable(watching):
            watching = await watching
        async with watching as events:

            async def seen(score: int) -> None:
                while (await events.next())["fullDocument"]["data"]["score"] != score:
                    pass

            yield seen


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def measure(run: Run) -> Results:
    """Measures; the watchers take turns, each with its own edits."""
    edits = run.of(400, 40)
    found: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        service = stack.enter_context(MongoClient[Any](run.uri))
        works = {}
        for name, driver in OURS.items():
            for watcher, opened in ((name, ours(run, name)), (raw(driver, STREAM), stream(run, driver))):
                seen = await stack.enter_async_context(opened)
                works[watcher] = (seen, service[Ours(run, watcher).database].user_data)
        for edit in range(edits + 5):
            for watcher, (seen, collection) in works.items():
                change = {"$set": {"data.score": -edit - 1}}
                begun = time.perf_counter()
                writing = asyncio.create_task(asyncio.to_thread(collection.update_one, {"_id": 1}, change))
                await seen(-edit - 1)
                if edit >= 5:  # the first ones open connections
                    found.setdefault(watcher, []).append((time.perf_counter() - begun) * 1e3)
                await writing
    results = Results(series={"refresh_changed": found})
    for name, driver in OURS.items():
        peer = raw(driver, STREAM)
        for what, of, target in (
            ("median", statistics.median, within(10)),
            ("99th percentile", lambda values: percentile(values, 0.99), within(50)),
        ):
            mine, theirs = of(found[name]), of(found[peer])
            line = Line(WORK, f"write to visible, {what} of {edits}", driver)
            results.figures.append(line.against(mine, "ms", peer, theirs, target))
    return results
