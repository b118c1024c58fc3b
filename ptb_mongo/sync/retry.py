"""Retries with growing pauses: the one place that decides their length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, wait_exponential, wait_random

__all__ = ["retry_forever"]

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

    async def once() -> None:  # tenacity awaits only what it recognizes as a coroutine function
        await attempt()

    pause = wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE) + wait_random(0, _FIRST_PAUSE)
    await AsyncRetrying(wait=pause, before_sleep=before_pause)(once)
