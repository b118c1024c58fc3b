"""A limit that is cancelled repeatedly, while what it waits for ends slowly, leaves no task behind."""

from __future__ import annotations

import asyncio

import pytest

from ptb_mongo import waiting
from ptb_mongo.waiting import cancel_and_wait, wait_at_most


async def test_what_ends_slowly_has_ended_when_its_limit_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_CANCEL_AGAIN", 0.01)
    began, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        """As a driver is that closes its connection first, and is cancelled once more meanwhile."""
        began.set()
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        ended.set()

    outer = asyncio.ensure_future(wait_at_most(100, slow()))
    await began.wait()
    cancelling = asyncio.ensure_future(cancel_and_wait(outer))
    await asyncio.wait({cancelling}, timeout=0.05)  # it is cancelled several times

    may_end.set()
    await cancelling

    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_ends_only_when_it_is_cancelled_again_is_so_however_often_its_limit_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a driver that cleans up without end; an outer limit interrupts the inner one each time before it may."""
    monkeypatch.setattr(waiting, "_CANCEL_AGAIN", 0.05)
    began, cancelled = asyncio.Event(), 0

    async def cleans_up() -> None:
        nonlocal cancelled
        began.set()
        while cancelled < 4:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
        raise asyncio.CancelledError

    async def cancels(task: asyncio.Task[None]) -> None:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.005)

    limited = asyncio.create_task(wait_at_most(100, cleans_up()))
    await began.wait()

    await asyncio.wait_for(cancels(limited), 10)

    assert asyncio.all_tasks() == {asyncio.current_task()}
