"""The states that `ConversationHandler`s hold.

PTB keeps the states in the memory of one process, in a private attribute. Only `held_by` uses that attribute;
everything else uses public names.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import UserDict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import telegram
from telegram.ext import BaseHandler, ConversationHandler

from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.values import MISSING
from ptb_mongo.scopes.conversations import is_over
from ptb_mongo.types import ConversationKey

__all__ = [
    "TIMEOUT_JOB",
    "Handler",
    "cancel_timeout",
    "check_ptb",
    "conversation_handlers",
    "held_by",
    "replace_state",
    "state_of",
]

TIMEOUT_JOB: Final = "conversation_timeout:"
"""The beginning of the id of a stored job, known to all workers, for the timeout of a conversation."""

Handler = ConversationHandler[Any]


def held_by(handler: Handler) -> dict[ConversationKey, object] | None:
    """The states of a persistent handler; PTB does not save what is changed in them.

    Returns:
        `None` before they are loaded.
    """
    states = getattr(handler, "_conversations", MISSING)
    if states is MISSING:
        raise ConfigurationError(
            f"python-telegram-bot {telegram.__version__} keeps no ConversationHandler._conversations any more: "
            "conversations cannot be shared with this version; install an older one, or a newer ptb_mongo"
        )
    return states.data if isinstance(states, UserDict) else None


def _is_pending(state: object) -> bool:
    """Whether a state represents a running handler with `block=False`; PTB's class for that is private."""
    return isinstance(getattr(state, "task", None), asyncio.Task) and hasattr(state, "old_state")


def check_ptb() -> None:
    """Checks that PTB keeps the states where this module expects them.

    Raises:
        ConfigurationError: If this version of PTB keeps them elsewhere.
    """
    held_by(ConversationHandler([], {}, []))


def conversation_handlers(handlers: Iterable[BaseHandler[Any, Any, Any]]) -> Iterator[Handler]:
    """All conversation handlers in `handlers` and nested inside them, each once."""
    seen: set[int] = set()
    todo = list(handlers)
    while todo:
        handler = todo.pop()
        if isinstance(handler, ConversationHandler) and id(handler) not in seen:
            seen.add(id(handler))
            yield handler
            todo += [*handler.entry_points, *handler.fallbacks]
            for inner in handler.states.values():
                todo += inner


def state_of(handler: Handler, key: ConversationKey) -> object:
    """The state that a handler holds; `None` if there is none, `MISSING` while a non-blocking handler is running."""
    held = held_by(handler)
    if held is None:
        return MISSING
    state = held.get(key)
    if not _is_pending(state):
        return state
    pending: Any = state
    if not pending.task.done():
        return MISSING
    failed = pending.task.cancelled() or pending.task.exception() is not None
    result: object = pending.old_state if failed else pending.resolve()
    return None if is_over(result) else result


def replace_state(handler: Handler, key: ConversationKey, state: object) -> None:
    """Sets or ends a state, and cancels its timeout, unless a non-blocking handler is running."""
    held = held_by(handler)
    if held is None or state_of(handler, key) is MISSING:
        return
    if is_over(state):
        held.pop(key, None)
    else:
        held[key] = state
    cancel_timeout(handler, key)


def cancel_timeout(handler: Handler, key: ConversationKey) -> None:
    """Cancels the timeout job of a conversation that another worker has continued, with a job of its own."""
    job = handler.timeout_jobs.pop(key, None)
    if job is not None and not job.job.id.startswith(TIMEOUT_JOB):
        with contextlib.suppress(LookupError):  # it is about to run, and will notice that it is obsolete
            job.schedule_removal()
