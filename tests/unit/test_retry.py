"""Waiting for something, but not forever."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.waiting import wait_at_most


async def result_of(future: asyncio.Future[int]) -> int:
    return await future


async def test_a_result_that_comes_in_time() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)

    assert await wait_at_most(30, result_of(future)) == 1


async def test_an_error_is_that_of_the_coroutine() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_exception(LookupError("none"))

    with pytest.raises(LookupError, match="none"):
        await wait_at_most(30, result_of(future))


async def test_what_takes_too_long_is_cancelled() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    with pytest.raises(asyncio.TimeoutError):
        await wait_at_most(0, result_of(future))

    assert future.cancelled()


@pytest.mark.parametrize("how", ["too long", "cancelled"])
async def test_an_error_in_place_of_a_cancellation_is_not_left_behind(how: str) -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    async def breaks() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError from None

    if how == "too long":
        with pytest.raises(asyncio.TimeoutError):
            await wait_at_most(0, breaks())
    else:
        task = asyncio.create_task(wait_at_most(30, breaks()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    gc.collect()

    assert said == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancellation_counts_also_when_the_result_comes_at_the_same_moment(turns: int) -> None:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait_at_most(30, result_of(future)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    future.set_result(1)
    for _ in range(turns):
        await asyncio.sleep(0)

    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert task.result() == 1


@pytest.mark.parametrize("wrapped", [lambda attempt: attempt, lambda attempt: lambda: attempt(), partial])  # noqa: PLW0108
async def test_whatever_gives_an_awaitable_is_tried_until_it_works(
    monkeypatch: pytest.MonkeyPatch, wrapped: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.retry._FIRST_PAUSE", 0.001)
    errors: list[BaseException] = []
    tried = 0

    async def attempt() -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise ValueError(tried)

    await retry_forever(wrapped(attempt), errors.append)

    assert tried == 3
    assert [str(error) for error in errors] == ["1", "2"]


async def test_a_caller_that_is_cancelled_repeatedly_leaves_nothing_running_that_ends_slowly() -> None:
    """A stream that is closed says so to the server before it ends."""
    ends, ended = asyncio.Event(), False

    async def takes_its_time() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await ends.wait()
            ended = True

    task = asyncio.create_task(wait_at_most(30, takes_its_time()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
    assert not task.done()
    ends.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_time_in_which_the_loop_was_blocked_counts_for_nothing() -> None:
    future = asyncio.get_running_loop().create_future()

    async def blocks() -> None:
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251
        asyncio.get_running_loop().call_soon(future.set_result, 1)

    blocking = asyncio.create_task(blocks())

    assert await wait_at_most(0.2, result_of(future)) == 1
    await blocking


async def test_as_long_as_there_is_progress_it_is_waited_for() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    steps = 0

    def progress() -> int:
        nonlocal steps
        steps += 1
        if steps == 60:  # more than the limit is divided into
            future.set_result(1)
        return steps

    assert await wait_at_most(0, result_of(future), progress) == 1
