"""Tries something again until it works, and waits no longer than allowed: the one place that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, wait_exponential, wait_random

__all__ = ["end", "until_it_works", "within"]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0  # seconds


async def until_it_works(attempt: Callable[[], Awaitable[None]], failed: Callable[[BaseException], None]) -> None:
    """Awaits `attempt` until it raises no error, with growing pauses of at most five seconds.

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


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a task that tries until it works, and waits for its end.

    A driver may turn the cancellation into an error of its connection, and the next attempt would begin: so it is
    cancelled again.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_FIRST_PAUSE)


async def within(seconds: float, coroutine: Coroutine[Any, Any, T], again: Callable[[], bool] = lambda: False) -> T:
    """Awaits a coroutine for some seconds at most.

    Before Python 3.12 `asyncio.wait_for` forgets that it was cancelled if the result comes at the same moment.

    Args:
        seconds: How long.
        coroutine: What to await.
        again: Called when that time is over: whether to wait as long once more.

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
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return task.result()


def _noted(task: asyncio.Future[Any]) -> None:
    """A driver may turn a cancellation into an error, for which nobody waits any more."""
    if not task.cancelled():
        task.exception()
