"""What one of several workers does for an update, before and after its handlers.

It brings in what others have changed, and saves what the update has changed before that counts as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from telegram import Update
from telegram.ext import Application

from ptb_mongo.errors import DocumentError, UnavailableError
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.retry import end, until_it_works
from ptb_mongo.scopes.conversations import ConversationEntry
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.documents import Documents
from ptb_mongo.shared.callback_data import missing_keyboards, with_objects
from ptb_mongo.shared.conversations import Conversations, Handler, lease_keys, state_of
from ptb_mongo.store import Sharing, Store
from ptb_mongo.types import ConversationKey
from ptb_mongo.writer import Entry, Ticket

__all__ = ["Consistency", "Turn", "Worker"]

Consistency = Literal["stream", "strict"]
_Offered = tuple[Entry, Ticket | None]


@dataclass(eq=False, slots=True)
class Turn:
    """One update that is being handled.

    Attributes:
        update: The update.
        user_ids, chat_ids: Whose data is saved when it is over.
        conversations: The conversations that it may concern.
        timeouts: The timeout jobs of those, as they were before.
        everything: Whether PTB's own pass has to save, as something was dropped or moved.
        errors: What is wrong with documents.
        leases: What no other update may hold until this is over.
    """

    update: object
    user_ids: set[int] = field(default_factory=set)
    chat_ids: set[int] = field(default_factory=set)
    conversations: list[tuple[Handler, ConversationKey]] = field(default_factory=list)
    timeouts: dict[tuple[Handler, ConversationKey], Any] = field(default_factory=dict)
    everything: bool = False
    errors: list[DocumentError] = field(default_factory=list)
    leases: frozenset[str] = frozenset()


class Worker:
    """The side of a `SharedApplication` that knows the database.

    Args:
        application: The application.
        persistence: Its persistence.
        consistency: Whether what the change stream has told is enough.
        lease_timeout: Where only one worker at a time handles a user's updates: seconds until another one takes over.
    """

    def __init__(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        persistence: MongoPersistence[Any, Any, Any],
        consistency: Consistency,
        lease_timeout: float | None,
    ) -> None:
        self._application = application
        self._persistence = persistence
        self._strict = consistency == "strict" or lease_timeout is not None
        self._saves: set[asyncio.Task[None]] = set()
        self._reads: set[asyncio.Task[None]] = set()
        self.conversations = Conversations(self._all_handlers, self._read_in_background)
        persistence.share(
            Sharing(
                user_data=application.user_data.get,
                chat_data=application.chat_data.get,
                bot_data=lambda _: application.bot_data,
                states=self.conversations,
                callback_data=getattr(application.bot, "callback_data_cache", None),
                lease_timeout=lease_timeout,
            )
        )

    def _all_handlers(self) -> Iterable[Any]:
        for handlers in self._application.handlers.values():
            yield from handlers

    @property
    def store(self) -> Store | None:
        """What is open; `None` while the application is not initialized."""
        return self._persistence.store

    def _scopes(self, turn: Turn, store: Store) -> list[tuple[DataScope[Any], Iterable[int]]]:
        """The scopes that are stored, each with the ids that an update concerns."""
        kinds = self._persistence.store_data
        scopes: list[tuple[DataScope[Any], Iterable[int]]] = []
        if kinds.user_data:
            scopes.append((store.user_data, turn.user_ids))
        if kinds.chat_data:
            scopes.append((store.chat_data, turn.chat_ids))
        if kinds.bot_data:
            scopes.append((store.bot_data, (store.bot_id,)))
        return scopes

    # -- before -----------------------------------------------------------------------------------------

    def begin(self, update: object) -> Turn:
        """Notes what an update concerns."""
        turn = Turn(update)
        if isinstance(update, Update):
            if update.effective_user:
                turn.user_ids.add(update.effective_user.id)
            if update.effective_chat:
                turn.chat_ids.add(update.effective_chat.id)
            turn.conversations = self.conversations.of(update)
        return turn

    async def lease(self, turn: Turn, around: Turn | None, store: Store) -> AsyncExitStack:
        """Waits until no other update of this user is being handled; what is returned ends that when it is closed.

        Args:
            turn: The update.
            around: The update whose handler has handed over this one; it holds leases already.
            store: What is open.

        Raises:
            UnavailableError: If the server is away.
        """
        stack = AsyncExitStack()
        if store.leases is not None and isinstance(turn.update, Update):
            if store.writer.away:
                raise UnavailableError("MongoDB is away")
            held = around.leases if around is not None else frozenset()
            wanted = lease_keys(turn.update, turn.conversations) - held
            try:
                await stack.enter_async_context(store.leases.hold(wanted, turn.update.update_id))
            except UnavailableError as error:
                store.writer.lost(error)
                raise
            turn.leases = wanted | held
        return stack

    async def with_callback_data(self, update: object, store: Store) -> object:
        """The update, with the objects of buttons that another worker has made.

        Raises:
            UnavailableError: If they cannot be read.
        """
        scope = store.callback_data
        if scope.live is None or not isinstance(update, Update) or not self._persistence.store_data.callback_data:
            return update
        missing = missing_keyboards(update)
        if not missing:
            return update
        scope.live.load_persistence_data(await scope.fetch(missing))
        return with_objects(update, scope.live)

    async def bring_in(self, turn: Turn, store: Store) -> None:
        """Brings in what others have changed; without I/O where nothing has been told of a change.

        Raises:
            UnavailableError: If that cannot be known, and what is loaded will not do.
        """
        read = self._strict or store.reads
        scopes = self._scopes(turn, store)
        reads: list[tuple[Documents[Any], list[Any]]] = []
        for scope, keys in scopes:
            if entries := [entry for key in keys if (entry := scope.outdated(key, read=read))]:
                reads.append((scope, entries))
        if states := self._outdated_states(turn, store, read=read):
            reads.append((store.conversations, states))
        if reads:
            await self._read(reads, read=read)
        for scope, keys in scopes:
            for key in keys:
                scope.catch_up(key)
        turn.timeouts = {
            (handler, key): handler.timeout_jobs.get(key)
            for handler, key in turn.conversations
            if handler.conversation_timeout
        }

    def _outdated_states(self, turn: Turn, store: Store, *, read: bool) -> list[ConversationEntry]:
        outdated = []
        for handler, key in turn.conversations:
            entry = store.conversations.outdated(handler.name or "", key, read=read)
            if entry is None:
                continue
            state = state_of(handler, key)
            if entry.loaded or state is not None:  # what has changed here and was not saved yet stays
                try:
                    store.conversations.save_now(handler.name or "", key, state)
                except DocumentError as error:
                    turn.errors.append(error)
            outdated.append(entry)
        return outdated

    async def _read(self, reads: list[tuple[Documents[Any], list[Any]]], *, read: bool) -> None:
        results = await asyncio.gather(
            *(scope.bring(entries, read=read) for scope, entries in reads), return_exceptions=True
        )
        for result, (_, entries) in zip(results, reads, strict=True):
            if isinstance(result, UnavailableError):
                if self._strict or not all(entry.loaded for entry in entries):
                    raise UnavailableError(f"what others have changed cannot be read: {result}") from result
            elif result is not None:
                raise result

    # -- after ------------------------------------------------------------------------------------------

    async def save(self, turn: Turn, store: Store) -> bool:
        """Saves what an update may have changed.

        Returns:
            Whether the server has acknowledged everything.
        """
        offered = self._offer(turn, store)
        acknowledged = await self._acknowledged(turn, offered)
        if turn.everything:
            turn.everything = False
            await self._application.update_persistence()
            acknowledged = acknowledged and not store.writer.away
        errors, turn.errors = turn.errors, []
        for error in errors:
            await self._application.process_error(turn.update, error)
        return acknowledged

    def _offer(self, turn: Turn, store: Store) -> list[_Offered]:
        """Hands everything to the writer at once, so that it goes out together; without waiting."""
        return [
            *self._offer_data(turn, store),
            *self._offer_states(turn, store),
            *self._offer_callback_data(turn, store),
        ]

    def _offer_data(self, turn: Turn, store: Store) -> list[_Offered]:
        offered: list[_Offered] = []
        for scope, keys in self._scopes(turn, store):
            for key in keys:
                live = scope.current(key) if scope.current is not None else None
                if live is None:
                    continue
                try:
                    ticket = scope.save_live(key, live)
                except DocumentError as error:
                    turn.errors.append(error)
                    continue
                offered += _unsaved(store, scope, scope.entries.get(key), ticket)
        return offered

    def _offer_states(self, turn: Turn, store: Store) -> list[_Offered]:
        scope = store.conversations
        offered: list[_Offered] = []
        for handler, key in turn.conversations:
            try:
                saved = scope.save_now(handler.name or "", key, None)
            except DocumentError as error:
                turn.errors.append(error)
                continue
            if saved is not None:
                entry, ticket = saved
                if (handler, key) in turn.timeouts and not entry.dirty:
                    before, after = turn.timeouts[handler, key], handler.timeout_jobs.get(key)
                    ticket = scope.touch(entry) if after is not before else None
                offered += _unsaved(store, scope, entry, ticket)
        return offered

    def _offer_callback_data(self, turn: Turn, store: Store) -> list[_Offered]:
        scope = store.callback_data
        if scope.live is None or not self._persistence.store_data.callback_data:
            return []
        offered, errors = scope.offer_changed(scope.live)
        turn.errors += errors
        return [one for entry, ticket in offered for one in _unsaved(store, scope, entry, ticket)]

    @staticmethod
    async def _acknowledged(turn: Turn, offered: list[_Offered]) -> bool:
        acknowledged = True
        for entry, ticket in offered:
            if ticket is None:
                acknowledged = False
                continue
            try:
                await ticket.outcome(entry)
            except DocumentError as error:
                turn.errors.append(error)
            if not ticket.acknowledged and entry.dirty:
                acknowledged = False
        return acknowledged

    # -- in the background ------------------------------------------------------------------------------

    @staticmethod
    def _run(tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def save_later(self, turn: Turn) -> None:
        """Saves what a task that an update has left behind may have changed; called when the task is over."""
        store = self.store
        if store is not None:
            self._run(self._saves, self.save(turn, store))

    def _read_in_background(self, entry: ConversationEntry) -> None:
        store = self.store
        if store is not None:
            self._run(self._reads, until_it_works(partial(store.conversations.bring, [entry], read=False), _ignore))

    async def close(self) -> None:
        """Waits for the saves that are under way."""
        for read in [*self._reads]:
            await end(read)
        while self._saves:
            await asyncio.wait(self._saves)


def _ignore(_: BaseException) -> None:
    """An error that the writer has told of already."""


def _unsaved(store: Store, scope: Documents[Any], entry: Entry | None, ticket: Ticket | None) -> list[_Offered]:
    """What to wait for until a document is written; also if it was offered by somebody else before."""
    if entry is None or not entry.dirty:
        return []
    return [(entry, ticket or store.writer.submit(scope, entry))]
