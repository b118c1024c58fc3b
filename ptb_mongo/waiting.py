"""Waiting with a limit, and cancellation; a limit counts only time in which this process could have got the answer.

A handler that computes for seconds, a large save or the garbage collector can block the event loop. An answer that
arrives meanwhile is read only afterwards, so that time says nothing about the server. That is why a limit is divided
into steps, and each counts as one step, however long it took.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

__all__ = ["Alarm", "awaited", "begun", "cancel_and_wait", "results_of", "together", "wait_at_most"]

T = TypeVar("T")

_STEPS: Final = 16
_CANCEL_AGAIN: Final = 0.6  # seconds: longer than the last command of a cancelled task may take


class Alarm:
    """Calls a function after some seconds in which the event loop was not blocked.

    Args:
        seconds: How long.
        ring: The function.
    """

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._step = seconds / _STEPS
        self._left = _STEPS
        self._ring = ring
        self._timer = self._loop.call_later(self._step, self._tick)

    def _tick(self) -> None:
        self._left -= 1
        if self._left > 0:
            self._timer = self._loop.call_later(self._step, self._tick)
        else:
            self._ring()

    def cancel(self) -> None:
        """Switches it off."""
        self._timer.cancel()


async def awaited(awaitable: Awaitable[T]) -> T:
    """Wraps any awaitable in a coroutine."""
    return await awaitable


def begun(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose error goes unreported if nobody awaits it."""
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_noted)
    return task


async def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """Awaits coroutines concurrently, all of them to their end.

    Raises:
        BaseException: The first one's error, if there is any.
    """
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


async def cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """Cancels a task that retries forever, and waits until it has ended.

    A driver may turn the cancellation into a connection error, after which the task would try again: so it is
    cancelled repeatedly. The caller may be cancelled repeatedly, too, and keeps waiting: nothing is left running.
    """
    loop, again_at = asyncio.get_running_loop(), -math.inf
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        if loop.time() >= again_at:  # however often the caller was cancelled meanwhile
            task.cancel()
            again_at = loop.time() + _CANCEL_AGAIN
        try:
            await asyncio.wait({task}, timeout=again_at - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def results_of(
    tasks: list[asyncio.Task[Any]], beside: asyncio.Task[Any] | None, *, at_once: type[Exception]
) -> list[Any]:
    """The results of tasks, once all of them have ended.

    Args:
        tasks: What is waited for.
        beside: A task that runs meanwhile, and continues.
        at_once: An error that ends the waiting, whichever task raises it: the others may wait for something that will
            never come, such as a connection whose credentials are refused.
    """
    waiting: set[asyncio.Task[Any]] = {*tasks, *([beside] if beside is not None else [])}
    try:
        while waiting and any(not task.done() or task.exception() for task in tasks):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if isinstance(task.exception(), at_once):
                    task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            await cancel_and_wait(task)


async def wait_at_most(
    seconds: float, coroutine: Coroutine[Any, Any, T], progress: Callable[[], object] = lambda: None
) -> T:
    """Awaits a coroutine, but no longer than some seconds without progress.

    Before Python 3.12, `asyncio.wait_for` loses a cancellation that arrives together with the result.

    Args:
        seconds: How long.
        coroutine: What to await.
        progress: Returns something that changes whenever there is progress; the time then starts anew.

    Raises:
        asyncio.TimeoutError: If it takes longer; the coroutine is then cancelled.
    """
    task = asyncio.ensure_future(coroutine)
    task.add_done_callback(_noted)
    steps, before = 0, progress()
    try:
        while not (await asyncio.wait({task}, timeout=seconds / _STEPS))[0]:
            steps, now = steps + 1, progress()
            if now != before:
                steps, before = 0, now
            elif steps >= _STEPS:
                raise asyncio.TimeoutError
    finally:
        await cancel_and_wait(task)
    return task.result()


def _noted(task: asyncio.Future[Any]) -> None:
    """Retrieves the exception: a driver may turn a cancellation into an error that nobody awaits any more."""
    if not task.cancelled():
        task.exception()
