"""The conversations of a worker: which ones an update concerns, and how other workers' states are taken in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from telegram import Update
from telegram.ext import BaseHandler

from ptb_mongo.held_states import Handler, cancel_timeout, conversation_handlers, held_by, replace_state, state_of
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.values import MISSING
from ptb_mongo.types import ConversationKey

__all__ = ["Conversations", "conversation_key", "ids_in"]

_Parts = tuple[bool, bool, bool]


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
        """The persistent handlers, including nested ones, each once, by the parts of their keys."""
        if self._by_parts is None:
            self._by_parts, self._by_name = {}, {}
            for handler in conversation_handlers(self._handlers()):
                if handler.persistent and handler.name:
                    parts = (handler.per_chat, handler.per_user, handler.per_message)
                    self._by_parts.setdefault(parts, []).append(handler)
                    self._by_name.setdefault(handler.name, []).append(handler)
        return self._by_parts

    def named(self, name: str) -> list[Handler]:
        """The persistent handlers with that name."""
        self._grouped()
        return self._by_name.get(name, [])

    def of(self, update: Update) -> list[tuple[Handler, ConversationKey]]:
        """The handlers that may accept an update, with the keys of their conversations."""
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
            replace_state(one, key, state)

    def went_on(self, handler: str, key: ConversationKey) -> None:
        """See `States.went_on`."""
        for one in self.named(handler):
            cancel_timeout(one, key)

    def noticed(self, handler: str, key: ConversationKey, replica: Replica) -> None:
        """See `States.noticed`; a timeout that runs here may be obsolete, which we must know before it ends."""
        if any(key in one.timeout_jobs for one in self.named(handler)):
            self._read(replica)


def conversation_key(
    update: Update,
    per_chat: bool,
    per_user: bool,
    per_message: bool,
) -> ConversationKey | None:
    """The key of an update's conversation, as `ConversationHandler` forms it; `None` if it ignores such updates."""
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
    """The chat's id and the user's id in a conversation's key, if they are part of it."""
    parts = iter(key)
    chat = [int(next(parts))] if handler.per_chat else []
    user = [int(next(parts))] if handler.per_user else []
    return chat, user
