"""Retries, timeouts and cancellation: the one place that decides how long to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, wait_exponential, wait_random

__all__ = ["cancel_and_wait", "retry_forever", "wait_at_most"]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0  # seconds


async def retry_forever(attempt: Callable[[], Awaitable[None]], failed: Callable[[BaseException], None]) -> None:
    """Awaits `attempt` until it succeeds, with growing pauses of at most five seconds.

    Args:
        attempt: What to try.
        failed: Called with each error, before the pause.
    """

    def before_pause(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            failed(error)

    async def once() -> None:  # tenacity awaits only what it knows to be a coroutine function
        await attempt()

    pause = wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE) + wait_random(0, _FIRST_PAUSE)
    await AsyncRetrying(wait=pause, before_sleep=before_pause)(once)


async def cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """Cancels a task that retries forever, and waits until it has ended.

    A driver may turn the cancellation into a connection error, after which the task would try again: so it is
    cancelled repeatedly.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_FIRST_PAUSE)


async def wait_at_most(
    seconds: float, coroutine: Coroutine[Any, Any, T], again: Callable[[], bool] = lambda: False
) -> T:
    """Awaits a coroutine, but not longer than some seconds.

    Before Python 3.12 `asyncio.wait_for` loses a cancellation that arrives together with the result.

    Args:
        seconds: How long.
        coroutine: What to await.
        again: Called when that time has passed: whether to wait as long once more.

    Raises:
        asyncio.TimeoutError: If it takes longer; it is cancelled then.
    """
    task = asyncio.ensure_future(coroutine)
    task.add_done_callback(_noted)
    try:
        while not (await asyncio.wait({task}, timeout=seconds))[0]:
            if not again():
                raise asyncio.TimeoutError
    finally:
        await cancel_and_wait(task)
    return task.result()


def _noted(task: asyncio.Future[Any]) -> None:
    """Retrieves the exception: a driver may turn a cancellation into an error that nobody awaits any more."""
    if not task.cancelled():
        task.exception()
