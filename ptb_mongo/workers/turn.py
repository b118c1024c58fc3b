"""One update that is being handled: what it concerns, and what has to be saved when it is over."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from telegram import Update

from ptb_mongo.errors import DocumentError
from ptb_mongo.types import ConversationKey
from ptb_mongo.workers.conversations import Conversations, Handler, ids_in

__all__ = ["TURN", "Turn"]

Conversation = tuple[Handler, ConversationKey]


@dataclass(eq=False, slots=True)
class Turn:
    """One update that is being handled, or the end of a conversation's time.

    Attributes:
        update: The update; `None` where a conversation's time is over.
        user_ids, chat_ids: Whose data is saved when it is over.
        conversations: The conversations that it may concern.
        read: Whether to read them, whatever was said of them.
        timeouts: The timeout jobs of those, as they were before.
        leases: What no other update may hold until this is over.
        everything: Whether PTB's own pass has to save, as something was dropped or moved.
        errors: What is wrong with documents.
    """

    update: object
    user_ids: set[int] = field(default_factory=set)
    chat_ids: set[int] = field(default_factory=set)
    conversations: list[Conversation] = field(default_factory=list)
    read: bool = False
    timeouts: dict[Conversation, Any] = field(default_factory=dict)
    leases: frozenset[str] = frozenset()
    everything: bool = False
    errors: list[DocumentError] = field(default_factory=list)

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
        """What the end of a conversation's time concerns."""
        chat, user = ids_in(handler, key)
        turn = cls(None, conversations=[(handler, key)], read=True)
        turn.chat_ids.update(chat)
        turn.user_ids.update(user)
        return turn

    @property
    def number(self) -> int:
        """Its place among those that wait: what is over goes before all updates."""
        return self.update.update_id if isinstance(self.update, Update) else 0

    def lease_keys(self) -> frozenset[str]:
        """What no two updates may hold at once: their user, or else their chat, and what conversations need besides."""
        keys = {f"user:{user_id}" for user_id in self.user_ids} or {f"chat:{chat_id}" for chat_id in self.chat_ids}
        for handler, key in self.conversations:
            if handler.per_user:
                continue
            chats, _ = ids_in(handler, key)
            keys |= {f"chat:{chat_id}" for chat_id in chats if chat_id not in self.user_ids}  # but not a private one
            if not chats:
                keys.add(f"message:{key[0]}")
        return frozenset(keys)


TURN: ContextVar[Turn | None] = ContextVar("ptb_mongo_turn", default=None)
"""The update that is being handled by this task."""
