"""What one of several workers does for an update, before and after its handlers.

It brings in what others have changed, and saves what the update has changed before that counts as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, Literal

from telegram import Update
from telegram.ext import Application

from ptb_mongo.errors import DocumentError, UnavailableError
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.scopes.conversations import ConversationEntry
from ptb_mongo.session import Session, Sharing
from ptb_mongo.sync.reader import Source
from ptb_mongo.sync.retry import end, until_it_works
from ptb_mongo.types import ConversationKey
from ptb_mongo.workers.callback_data import missing_keyboards, with_objects
from ptb_mongo.workers.conversations import Conversations, Handler, state_of
from ptb_mongo.workers.saving import acknowledged, offer, scopes_of
from ptb_mongo.workers.turn import TURN, Turn

__all__ = ["Consistency", "Worker"]

Consistency = Literal["stream", "strict"]

_ROUNDS: Final = 3
_TURNS: Final = 8  # of the event loop: a change passes through several hands


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
    def store(self) -> Session | None:
        """What is open; `None` while the application is not initialized."""
        return self._persistence.store

    # -- one update -------------------------------------------------------------------------------------

    async def handle(self, turn: Turn, store: Session, handlers: Callable[[], Awaitable[None]]) -> bool:
        """Lets handlers run, between bringing in what others have changed and saving what they have changed.

        Args:
            turn: The update.
            store: What is open.
            handlers: Runs the handlers.

        Returns:
            Whether the server has acknowledged what was changed.

        Raises:
            UnavailableError: If it was not possible to bring in what others have changed.
        """
        async with await self._lease(turn, TURN.get(), store):
            token = TURN.set(turn)
            try:
                await self._bring_in(turn, store)
                await handlers()
                return await self.save(turn, store)
            finally:
                turn.leases = frozenset()
                TURN.reset(token)

    async def _lease(self, turn: Turn, around: Turn | None, store: Session) -> AsyncExitStack:
        """Waits until no other update of this user is being handled; what is returned ends that when it is closed.

        Args:
            turn: The update.
            around: The update whose handler has handed over this one; it holds leases already.
            store: What is open.

        Raises:
            UnavailableError: If the server is away.
        """
        stack = AsyncExitStack()
        if store.leases is not None:
            if store.writer.away:
                raise UnavailableError("MongoDB is away")
            held = around.leases if around is not None else frozenset()
            wanted = turn.lease_keys() - held
            try:
                await stack.enter_async_context(store.leases.hold(wanted, turn.number))
            except UnavailableError as error:
                store.writer.lost(error)
                raise
            turn.leases = wanted | held
        return stack

    async def with_callback_data(self, update: object, store: Session) -> object:
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

    async def _bring_in(self, turn: Turn, store: Session) -> None:
        """Brings in what others have changed; without I/O where nothing has been told of a change.

        Where the change stream is late, as this machine or the server is busy, all is read.

        Raises:
            UnavailableError: If that cannot be known, and what is loaded will not do.
        """
        if not (self._strict or store.reads):
            await _let_events_in()
        read = self._strict or store.reads or turn.read or store.is_told_late
        scopes = scopes_of(turn, store, self._persistence.store_data)
        for _ in range(_ROUNDS):
            wanted: dict[Source, list[Any]] = {}
            for scope, keys in scopes:
                if entries := [entry for key in keys if (entry := scope.outdated(key, read=read))]:
                    wanted[scope] = entries
            if states := self._outdated_states(turn, store, read=read):
                wanted[store.conversations] = states
            if not wanted or not await self._read(wanted, store, read=read) or read:
                break  # else more may have been told while these were read
        for scope, keys in scopes:
            for key in keys:
                scope.catch_up(key)
        turn.timeouts = {
            (handler, key): handler.timeout_jobs.get(key)
            for handler, key in turn.conversations
            if handler.conversation_timeout
        }

    def _outdated_states(self, turn: Turn, store: Session, *, read: bool) -> list[ConversationEntry]:
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

    async def _read(self, wanted: Mapping[Source, list[Any]], store: Session, *, read: bool) -> bool:
        """Reads documents; whether they could be."""
        try:
            await store.reader.bring(wanted, every=read)
        except UnavailableError as error:
            if self._strict or not all(entry.loaded for entries in wanted.values() for entry in entries):
                raise UnavailableError(f"what others have changed cannot be read: {error}") from error
            return False
        return True

    # -- after ------------------------------------------------------------------------------------------

    async def save(self, turn: Turn, store: Session) -> bool:
        """Saves what an update may have changed.

        Returns:
            Whether the server has acknowledged everything.
        """
        done = await acknowledged(turn, offer(turn, store, self._persistence.store_data))
        self._watch_timeouts(turn)
        if turn.everything:
            turn.everything = False
            await self._application.update_persistence()
            done = done and not store.writer.away
        errors, turn.errors = turn.errors, []
        for error in errors:
            await self._application.process_error(turn.update, error)
        return done

    # -- conversations whose time is over ---------------------------------------------------------------

    def _watch_timeouts(self, turn: Turn) -> None:
        """Sees to it that the end of a conversation's time is told to the others, as an update is."""
        for (handler, key), before in turn.timeouts.items():
            job = handler.timeout_jobs.get(key)
            if job is not None and job is not before:
                job.callback = partial(self._time_is_over, handler, key, job.callback)

    async def _time_is_over(
        self, handler: Handler, key: ConversationKey, callback: Callable[[Any], Awaitable[None]], context: Any
    ) -> None:
        store = self.store
        if store is not None:  # what is brought in may void the timeout, as another worker has gone on
            await self.handle(Turn.of_timeout(handler, key), store, partial(callback, context))

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
            self._run(self._reads, until_it_works(partial(store.conversations.bring, [entry], every=False), _ignore))

    async def close(self) -> None:
        """Waits for the saves that are under way."""
        for read in [*self._reads]:
            await end(read)
        while self._saves:
            await asyncio.wait(self._saves)


async def _let_events_in() -> None:
    """What has arrived, in the sockets too, is taken in before an update that was waiting with it."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _ignore(_: BaseException) -> None:
    """An error that the writer has told of already."""
