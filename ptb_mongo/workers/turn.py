"""One update that is being handled: what it concerns, and what has to be saved when it is done."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from telegram import Update

from ptb_mongo.errors import DocumentError, RefusedError
from ptb_mongo.types import ConversationKey
from ptb_mongo.workers.conversations import Conversations, Handler, ids_in

__all__ = ["TURN", "Turn"]

Conversation = tuple[Handler, ConversationKey]


@dataclass(eq=False, slots=True)
class Turn:
    """One update that is being handled, or the timeout of a conversation.

    Attributes:
        update: The update; `None` for a timeout.
        user_ids, chat_ids: Whose data is saved when it is done.
        conversations: The conversations that it may concern.
        read: Whether to read them, stale or not.
        timeouts: Their timeout jobs before the handlers ran.
        leases: The leases that it holds.
        is_read: Whether what it concerns was read when its lease was acquired.
        everything: Whether PTB's own save pass has to run, because something was dropped or moved.
        errors: The errors of single documents.
        asked: How often `bot_data` was asked for.
        is_passed_on: Whether PTB itself has done so, to have it refreshed.
        shows_buttons: Whether it may have made, used or dropped keyboards.
        is_over: Whether its handlers have run.
    """

    update: object
    user_ids: set[int] = field(default_factory=set)
    chat_ids: set[int] = field(default_factory=set)
    conversations: list[Conversation] = field(default_factory=list)
    read: bool = False
    timeouts: dict[Conversation, Any] = field(default_factory=dict)
    leases: frozenset[str] = frozenset()
    is_read: bool = False
    everything: bool = False
    errors: list[DocumentError | RefusedError] = field(default_factory=list)
    asked: int = 0
    is_passed_on: bool = False
    shows_buttons: bool = False
    is_over: bool = False

    @classmethod
    def of(cls, update: object, conversations: Conversations) -> Turn:
        """What an update concerns."""
        turn = cls(update)
        if isinstance(update, Update):
            if update.effective_user:
                turn.user_ids.add(update.effective_user.id)
            if update.effective_chat:
                turn.chat_ids.add(update.effective_chat.id)
            turn.conversations = conversations.of(update)
        return turn

    @classmethod
    def of_timeout(cls, handler: Handler, key: ConversationKey) -> Turn:
        """What the timeout of a conversation concerns."""
        chat, user = ids_in(handler, key)
        turn = cls(None, conversations=[(handler, key)], read=True)
        turn.chat_ids.update(chat)
        turn.user_ids.update(user)
        return turn

    @property
    def number(self) -> int:
        """Its place among the updates that wait: timeouts sort first."""
        return self.update.update_id if isinstance(self.update, Update) else 0

    def lease_keys(self) -> frozenset[str]:
        """The leases it needs: of its user, or else of its chat, and those that its conversations need besides."""
        keys = {f"user:{user_id}" for user_id in self.user_ids} or {f"chat:{chat_id}" for chat_id in self.chat_ids}
        for handler, key in self.conversations:
            if handler.per_user:
                continue
            chats, _ = ids_in(handler, key)
            keys |= {
                f"chat:{chat_id}" for chat_id in chats if chat_id not in self.user_ids
            }  # unless it is a private chat
            if not chats:
                keys.add(f"message:{key[0]}")
        return frozenset(keys)


TURN: ContextVar[Turn | None] = ContextVar("ptb_mongo_turn", default=None)
"""The update that is being handled by this task."""
