"""One update that is being handled: what it concerns, and what must be saved when it is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from telegram import Update

from ptb_mongo.errors import DocumentError, RefusedError
from ptb_mongo.held_states import Handler
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import InHand
from ptb_mongo.sync.holds import Hold
from ptb_mongo.sync.marks import Mark
from ptb_mongo.types import ConversationKey
from ptb_mongo.workers.conversations import Conversations, ids_in
from ptb_mongo.workers.noted import Noted

__all__ = ["TURN", "Exclusive", "Once", "PersonalData", "Turn", "leases_of_conversation", "outside"]

Conversation = tuple[Handler, ConversationKey]
Exclusive = Literal["user", "chat"]
PersonalData = Literal["user_data", "chat_data"]
Once = bool | Literal["transaction"]


@dataclass(eq=False, slots=True)
class Turn:
    """An update that is being handled, the timeout of a conversation, a job, or something that a program does itself.

    `SharedApplication.turn` yields one, and `SharedApplication.current_turn` returns that of a running handler. Only
    `lost` is meant for them; everything else is for the worker.

    Attributes:
        lost: Set when its lease was lost: another worker may now change the same data, and the changes of this one
            will not be saved.
        update: The update; `None` if there is none.
        user_ids, chat_ids: Whose data is saved when it is done.
        conversations: The conversations that it may concern.
        read: Whether to read them, stale or not.
        comes_again: Whether its changes are withdrawn if it fails, as it will be repeated.
        timeouts: Their timeout jobs before the handlers ran.
        leases: The leases that it holds.
        hold: The same, with their state.
        is_read: Whether its data was read when its lease was acquired.
        over: Set when it has ended.
        is_done: Whether the update was done before.
        is_saved: Whether the server has acknowledged all that it has changed.
        mark: Where it stands whether the update was done before; `None` if that is not asked for.
        dropped: The users and chats whose data it has dropped, by scope and id, until that is staged; and whether PTB's
            own save pass has told of it meanwhile.
        waits_for: The turns that had in hand what it has taken in hand later.
        has_more: Whether a task that its handlers have begun has ended before it, so that it is saved once more.
        is_ending: Whether its handlers have run, so that what is changed from now on is no part of it.
        found: The documents in its hands, as it found them.
        lives: The objects of those without an update: nobody lets go of whoever is in use.
        keyboard: The keyboard that was clicked; empty if none was.
        errors: The errors of single documents.
        asked: How often `bot_data` was asked for.
        is_passed_on: Whether PTB itself has asked for it, to refresh it.
        takes_bot_data: Whether it saves `bot_data` because something other than an update has asked for it.
        buttons: The keyboards that it has created, used or dropped.
        around: The turn in which it began, or in which its task began; `None` if there was none, or it is over.
        task: The task in which it runs.
    """

    update: object
    user_ids: set[int] = field(default_factory=set)
    chat_ids: set[int] = field(default_factory=set)
    conversations: list[Conversation] = field(default_factory=list)
    read: bool = False
    comes_again: bool = False
    timeouts: dict[Conversation, Any] = field(default_factory=dict)
    leases: frozenset[str] = frozenset()
    hold: Hold = field(default_factory=Hold)
    is_read: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    is_done: bool = False
    is_saved: bool = False
    mark: Mark | None = None
    dropped: dict[tuple[PersonalData, int], bool] = field(default_factory=dict)
    waits_for: set[Turn] = field(default_factory=set)
    has_more: bool = False
    is_ending: bool = False
    found: dict[Replica, InHand] = field(default_factory=dict)
    lives: list[Any] = field(default_factory=list)
    keyboard: str = ""
    errors: list[DocumentError | RefusedError] = field(default_factory=list)
    asked: int = 0
    is_passed_on: bool = False
    takes_bot_data: bool = False
    buttons: Noted = field(default_factory=Noted)
    around: Turn | None = None
    task: asyncio.Task[Any] | None = None

    @classmethod
    def of(cls, update: object, conversations: Conversations, *, comes_again: bool = False) -> Turn:
        """The turn of an update."""
        turn = cls(update, comes_again=comes_again)
        if isinstance(update, Update):
            if update.effective_user:
                turn.user_ids.add(update.effective_user.id)
            if update.effective_chat:
                turn.chat_ids.add(update.effective_chat.id)
            turn.conversations = conversations.of(update)
        return turn

    @classmethod
    def of_timeout(cls, handler: Handler, key: ConversationKey) -> Turn:
        """The turn of a conversation's timeout."""
        chat, user = ids_in(handler, key)
        turn = cls(None, conversations=[(handler, key)], read=True)
        turn.chat_ids.update(chat)
        turn.user_ids.update(user)
        return turn

    @classmethod
    def of_ids(cls, user_id: int | None, chat_id: int | None, *, comes_again: bool) -> Turn:
        """The turn of a job, or of a program itself, for the data of a user, a chat, or both."""
        turn = cls(None, comes_again=comes_again)
        turn.user_ids.update(() if user_id is None else (user_id,))
        turn.chat_ids.update(() if chat_id is None else (chat_id,))
        return turn

    @property
    def lost(self) -> asyncio.Event:
        """See the class."""
        return self.hold.lost

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.over.is_set()

    @property
    def number(self) -> int:
        """Its place among the waiting updates: timeouts, and what a program does itself, sort first."""
        return self.update.update_id if isinstance(self.update, Update) else 0

    @property
    def has_asked(self) -> bool:
        """Whether it may have changed `bot_data`."""
        return self.asked > 0

    def begins(self) -> None:
        """Begins it, in the current task."""
        self.around, self.task = _unless_over(TURN.get()), asyncio.current_task()

    def is_inside(self) -> Iterator[Turn]:
        """The turns in whose handlers it runs, the innermost first: they cannot end before it.

        A turn that began in a separate task of a handler is inside none, as the handler need not wait for it.
        """
        turn = self.around
        while turn is not None and turn.task is self.task:
            yield turn
            turn = _unless_over(turn.around)

    def leave_to_others(self) -> None:
        """Leaves the data that the surrounding turns have in hand to them."""
        for around in self.is_inside():
            self.user_ids -= around.user_ids
            self.chat_ids -= around.chat_ids
            self.conversations = [one for one in self.conversations if one not in around.conversations]

    def ends(self) -> None:
        """Ends it, so that it does not keep anything in memory."""
        self.over.set()
        self.leases = frozenset()
        self.lives.clear()
        self.waits_for.clear()
        self.around = _unless_over(self.around)

    def lease_keys(self, exclusive: Exclusive) -> frozenset[str]:
        """The leases that it needs: its user's, or else its chat's, and those that its conversations also need."""
        keys = {f"user:{user_id}" for user_id in self.user_ids}
        if exclusive == "chat" or not keys or self.update is None:
            keys |= {f"chat:{chat_id}" for chat_id in self.chat_ids - self.user_ids}  # unless it is a private chat
        for handler, key in self.conversations:
            keys |= leases_of_conversation(handler, key, self.user_ids)
        return frozenset(keys)


def leases_of_conversation(handler: Handler, key: ConversationKey, user_ids: set[int]) -> frozenset[str]:
    """The leases that protect a conversation, in addition to the user's.

    Args:
        handler: Its handler.
        key: Its key.
        user_ids: The users whose leases are held: their private chats need no other.
    """
    if handler.per_user:
        return frozenset()
    chats, _ = ids_in(handler, key)
    if not chats:
        return frozenset({f"message:{key[0]}"})
    return frozenset(f"chat:{chat_id}" for chat_id in chats if chat_id not in user_ids)


TURN: ContextVar[Turn | None] = ContextVar("ptb_mongo_turn", default=None)
"""The update that is being handled by this task."""


def _unless_over(turn: Turn | None) -> Turn | None:
    """A turn, or, if that is over, the innermost one around it that is not."""
    while turn is not None and turn.is_over:
        turn = turn.around
    return turn


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """A context in which code belongs to no turn that began in another task.

    The task of a job may have been started by the handler that added it, or by any other one.
    """
    turn = TURN.get()
    token = TURN.set(turn if turn is not None and turn.task is asyncio.current_task() else None)
    try:
        yield
    finally:
        TURN.reset(token)
