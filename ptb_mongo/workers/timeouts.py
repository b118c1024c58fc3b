"""Conversations that time out: the timeout is handled like an update, so that other workers learn of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from ptb_mongo.errors import PersistenceError
from ptb_mongo.held_states import TIMEOUT_JOB, Handler, cancel_timeout
from ptb_mongo.log import get_logger
from ptb_mongo.types import ConversationKey
from ptb_mongo.workers.turn import Turn, outside

__all__ = ["Timeouts"]

_LOGGER = get_logger(__name__)
_AGAIN: Final = 1.0  # seconds until a timeout during an outage is tried again
_LONGEST: Final = 30.0

Callback = Callable[[Any], Awaitable[None]]


class Handles(Protocol):
    """Handles a turn; see `Worker.handle`."""

    async def __call__(self, turn: Turn, handlers: Callable[[], Awaitable[None]]) -> bool:
        """Merges in others' changes, runs the handlers, and saves their changes."""


class Timeouts:
    """The timeouts of one worker's conversations.

    Args:
        handle: Handles a turn.
    """

    def __init__(self, handle: Handles) -> None:
        self._handle = handle

    @staticmethod
    def before(turn: Turn) -> None:
        """Notes the existing timeouts before the handlers run."""
        turn.timeouts = {
            (handler, key): handler.timeout_jobs.get(key)
            for handler, key in turn.conversations
            if handler.conversation_timeout
        }

    def watch(self, turn: Turn) -> None:
        """Turns the new timeouts into turns after the handlers have run."""
        for (handler, key), before in turn.timeouts.items():
            job = handler.timeout_jobs.get(key)
            if job is not None and job is not before and not job.job.id.startswith(TIMEOUT_JOB):
                job.callback = partial(self._time_is_over, handler, key, job.callback, _AGAIN)

    @staticmethod
    def withdraw(turn: Turn) -> None:
        """Cancels the timeouts that the handlers of a failed turn have set."""
        for (handler, key), before in turn.timeouts.items():
            job = handler.timeout_jobs.get(key)
            if job is not None and job is not before:
                cancel_timeout(handler, key)

    async def _time_is_over(
        self, handler: Handler, key: ConversationKey, callback: Callback, pause: float, context: Any
    ) -> None:
        """Ends a conversation, unless another worker has continued it; in an outage, waits for its end."""
        has_begun, data = False, context.job.data

        async def run() -> None:
            nonlocal has_begun
            has_begun = True
            await callback(context)

        try:
            with outside():
                await self._handle(Turn.of_timeout(handler, key), run)
        except PersistenceError as error:
            if has_begun or handler.timeout_jobs.get(key) is not context.job:
                raise
            _LOGGER.warning("The timeout of a conversation of %s will be tried again: %s", handler.name, error)
            again = partial(self._time_is_over, handler, key, callback, min(2 * pause, _LONGEST))
            handler.timeout_jobs[key] = context.job_queue.run_once(again, pause, data=data)
