"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio
import gc
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
