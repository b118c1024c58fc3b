"""One update that is being handled: what it concerns, and what has to be saved when it is done."""

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
    """An update that is being handled, the timeout of a conversation, a job, or what a program does of itself.

    `SharedApplication.turn` gives one, and `SharedApplication.current_turn` that of a running handler. What is meant
    for them is `lost`; everything else is for the worker.

    Attributes:
        lost: Set when its lease was lost: another worker may change the same data now, and what this one changes will
            not be saved.
        update: The update; `None` if there is none.
        user_ids, chat_ids: Whose data is saved when it is done.
        conversations: The conversations that it may concern.
        read: Whether to read them, stale or not.
        comes_again: Whether what it has changed is taken back if it fails, as it will come again.
        timeouts: Their timeout jobs before the handlers ran.
        leases: The leases that it holds.
        hold: The same, with what became of them.
        is_read: Whether what it concerns was read when its lease was acquired.
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
        is_passed_on: Whether PTB itself has done so, to have it refreshed.
        takes_bot_data: Whether it saves `bot_data`, as something that is no update has asked for it.
        buttons: The keyboards that it has made, used or dropped.
        around: The turn that has begun it, or the task that it runs in; `None` if none had, or that is over.
        task: The task that it runs in.
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
        """What an update concerns."""
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
        """What the timeout of a conversation concerns."""
        chat, user = ids_in(handler, key)
        turn = cls(None, conversations=[(handler, key)], read=True)
        turn.chat_ids.update(chat)
        turn.user_ids.update(user)
        return turn

    @classmethod
    def of_ids(cls, user_id: int | None, chat_id: int | None, *, comes_again: bool) -> Turn:
        """What a job, or a program of itself, does to the data of a user, a chat, or both."""
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
        """Its place among the updates that wait: timeouts, and what a program does of itself, sort first."""
        return self.update.update_id if isinstance(self.update, Update) else 0

    @property
    def has_asked(self) -> bool:
        """Whether it may have changed `bot_data`."""
        return self.asked > 0

    def begins(self) -> None:
        """It begins, in the task that runs."""
        self.around, self.task = _unless_over(TURN.get()), asyncio.current_task()

    def is_inside(self) -> Iterator[Turn]:
        """The turns in whose handlers it runs, the innermost first: they cannot end before it.

        What has begun in a task of a handler is inside of none, as that handler need not wait for it.
        """
        turn = self.around
        while turn is not None and turn.task is self.task:
            yield turn
            turn = _unless_over(turn.around)

    def leave_to_others(self) -> None:
        """Leaves to the turns that it is inside of what they have in hand already."""
        for around in self.is_inside():
            self.user_ids -= around.user_ids
            self.chat_ids -= around.chat_ids
            self.conversations = [one for one in self.conversations if one not in around.conversations]

    def ends(self) -> None:
        """It is over, and keeps nothing in memory that is, too."""
        self.over.set()
        self.leases = frozenset()
        self.lives.clear()
        self.waits_for.clear()
        self.around = _unless_over(self.around)

    def lease_keys(self, exclusive: Exclusive) -> frozenset[str]:
        """The leases it needs: of its user, or else of its chat, and those that its conversations need besides."""
        keys = {f"user:{user_id}" for user_id in self.user_ids}
        if exclusive == "chat" or not keys or self.update is None:
            keys |= {f"chat:{chat_id}" for chat_id in self.chat_ids - self.user_ids}  # unless it is a private chat
        for handler, key in self.conversations:
            keys |= leases_of_conversation(handler, key, self.user_ids)
        return frozenset(keys)


def leases_of_conversation(handler: Handler, key: ConversationKey, user_ids: set[int]) -> frozenset[str]:
    """The leases that protect a conversation, besides that of the user.

    Args:
        handler: Its handler.
        key: Its key.
        user_ids: The users whose leases are held: a private chat needs none besides.
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
    """A turn, or else the innermost one around it that goes on."""
    while turn is not None and turn.is_over:
        turn = turn.around
    return turn


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """What runs inside belongs to no turn that another task has begun.

    The task of a job may have been begun by the handler that has added it, or any other one.
    """
    turn = TURN.get()
    token = TURN.set(turn if turn is not None and turn.task is asyncio.current_task() else None)
    try:
        yield
    finally:
        TURN.reset(token)
