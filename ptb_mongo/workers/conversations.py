"""The states that `ConversationHandler`s hold: which ones an update concerns, and how those of other workers get in.

PTB keeps the states in the memory of one process, in a private attribute. Only `held_by` uses that attribute;
everything else uses public names.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import UserDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import telegram
from telegram import Update
from telegram.ext import BaseHandler, ConversationHandler

from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.values import MISSING
from ptb_mongo.scopes.conversations import is_over
from ptb_mongo.types import ConversationKey

__all__ = [
    "TIMEOUT_JOB",
    "Conversations",
    "Handler",
    "cancel_timeout",
    "check_ptb",
    "conversation_handlers",
    "held_by",
    "ids_in",
    "state_of",
]

TIMEOUT_JOB: Final = "conversation_timeout:"
"""What the id of a job begins with that all workers know, and that is stored for the timeout of a conversation."""

Handler = ConversationHandler[Any]
_Parts = tuple[bool, bool, bool]


def held_by(handler: Handler) -> dict[ConversationKey, object] | None:
    """The states of a persistent handler; PTB does not take a change of them for one that has to be saved.

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
    """Whether a state stands for a running handler with `block=False`; PTB's class for that is private."""
    return isinstance(getattr(state, "task", None), asyncio.Task) and hasattr(state, "old_state")


def check_ptb() -> None:
    """Checks where PTB keeps the states.

    Raises:
        ConfigurationError: If this version of PTB keeps them elsewhere.
    """
    held_by(ConversationHandler([], {}, []))


class Conversations:
    """The states of all persistent handlers of an application.

    Args:
        handlers: Returns the application's handlers.
        read: Reads a conversation in the background.
    """

    def __init__(
        self, handlers: Callable[[], Iterable[BaseHandler[Any, Any, Any]]], read: Callable[[Replica], None]
    ) -> None:
        self._handlers = handlers
        self._read = read
        self._by_parts: dict[_Parts, list[Handler]] | None = None
        self._by_name: dict[str, list[Handler]] = {}

    def forget_handlers(self) -> None:
        """Notes that handlers were added or removed."""
        self._by_parts = None

    def _grouped(self) -> dict[_Parts, list[Handler]]:
        """The persistent handlers by what makes up their keys, nested ones included, each once."""
        if self._by_parts is None:
            self._by_parts, self._by_name = {}, {}
            for handler in conversation_handlers(self._handlers()):
                if handler.persistent and handler.name:
                    parts = (handler.per_chat, handler.per_user, handler.per_message)
                    self._by_parts.setdefault(parts, []).append(handler)
                    self._by_name.setdefault(handler.name, []).append(handler)
        return self._by_parts

    def named(self, name: str) -> list[Handler]:
        """The persistent handlers of that name."""
        self._grouped()
        return self._by_name.get(name, [])

    def of(self, update: Update) -> list[tuple[Handler, ConversationKey]]:
        """The handlers that may want an update, with the keys of their conversations."""
        found: list[tuple[Handler, ConversationKey]] = []
        for parts, handlers in self._grouped().items():
            key = conversation_key(update, *parts)
            if key is not None:
                found += [(handler, key) for handler in handlers if held_by(handler) is not None]
        return found

    # -- for the scope (see `scopes.conversations.States`) ----------------------------------------------

    def now(self, handler: str, key: ConversationKey) -> object:
        """See `States.now`."""
        for one in self.named(handler):
            return state_of(one, key)
        return MISSING

    def arrived(self, handler: str, key: ConversationKey, state: object) -> None:
        """See `States.arrived`."""
        for one in self.named(handler):
            held = held_by(one)
            if held is None or state_of(one, key) is MISSING:
                continue
            if is_over(state):
                held.pop(key, None)
            else:
                held[key] = state
            cancel_timeout(one, key)

    def went_on(self, handler: str, key: ConversationKey) -> None:
        """See `States.went_on`."""
        for one in self.named(handler):
            cancel_timeout(one, key)

    def noticed(self, handler: str, key: ConversationKey, replica: Replica) -> None:
        """See `States.noticed`; a timeout that runs here may be void, which must be known before it ends."""
        if any(key in one.timeout_jobs for one in self.named(handler)):
            self._read(replica)


def conversation_handlers(handlers: Iterable[BaseHandler[Any, Any, Any]]) -> Iterator[Handler]:
    """All conversation handlers among some handlers and inside them, each once."""
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


def conversation_key(
    update: Update,
    per_chat: bool,
    per_user: bool,
    per_message: bool,
) -> ConversationKey | None:
    """The key of an update's conversation, as `ConversationHandler` makes it; `None` if it ignores such updates."""
    if update.channel_post or update.edited_channel_post:
        return None
    query = update.callback_query
    key: list[int | str] = []
    if per_chat:
        chat = update.effective_chat
        if chat is None or (query and not query.message):
            return None
        key.append(chat.id)
    if per_user:
        user = update.effective_user
        if user is None:
            return None
        key.append(user.id)
    if per_message:
        if query is None:
            return None
        if query.inline_message_id:
            key.append(query.inline_message_id)
        elif query.message:
            key.append(query.message.message_id)
        else:
            return None
    return tuple(key)


def ids_in(handler: Handler, key: ConversationKey) -> tuple[list[int], list[int]]:
    """The chat's id and the user's id in a conversation's key, where they are part of it."""
    parts = iter(key)
    chat = [int(next(parts))] if handler.per_chat else []
    user = [int(next(parts))] if handler.per_user else []
    return chat, user


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


def cancel_timeout(handler: Handler, key: ConversationKey) -> None:
    """Cancels the timeout job of a conversation: another worker has continued it, and has a job of its own."""
    job = handler.timeout_jobs.pop(key, None)
    if job is not None and not job.job.id.startswith(TIMEOUT_JOB):
        with contextlib.suppress(LookupError):  # it is about to run, and will find that it is void
            job.schedule_removal()
