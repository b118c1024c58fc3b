"""What one of several workers does for an update, before and after its handlers.

It merges in what other workers have changed, and saves what the update has changed before that counts as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, Literal

from telegram import Update
from telegram.ext import Application

from ptb_mongo.errors import DocumentError, RefusedError, UnavailableError
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.replica.document import Replica
from ptb_mongo.session import Session
from ptb_mongo.settings import Sharing
from ptb_mongo.sync.reader import DocumentCollection
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.types import ConversationKey
from ptb_mongo.waiting import cancel_and_wait
from ptb_mongo.workers.bot_data import BotData
from ptb_mongo.workers.callback_data import missing_keyboards, with_objects
from ptb_mongo.workers.conversations import Conversations, Handler, state_of
from ptb_mongo.workers.saving import Kept, acknowledged, offer, scopes_of
from ptb_mongo.workers.touched_keyboards import Keyboards
from ptb_mongo.workers.turn import TURN, Turn

__all__ = ["Consistency", "Worker"]

Consistency = Literal["stream", "strict"]

_ROUNDS: Final = 3
_TURNS: Final = 8  # of the event loop, in which an event that has arrived gets from the socket to the scope


class Worker:
    """The part of a `SharedApplication` that deals with the database.

    Args:
        application: The application.
        persistence: Its persistence.
        consistency: Whether to rely on the change stream, or to read before each update.
        lease_timeout: Seconds after which an unrenewed lease expires; `None` for no leases.
        bot_data: Who asks for the bot's data.
    """

    def __init__(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        persistence: MongoPersistence[Any, Any, Any],
        consistency: Consistency,
        lease_timeout: float | None,
        bot_data: BotData,
    ) -> None:
        self._application = application
        self._persistence = persistence
        self._strict = consistency == "strict" or lease_timeout is not None
        self._saves: set[asyncio.Task[None]] = set()
        self._reads: set[asyncio.Task[None]] = set()
        self.bot_data = bot_data
        self.conversations = Conversations(self._all_handlers, self._read_in_background)
        cache = getattr(application.bot, "callback_data_cache", None)
        self._kept = Kept(persistence.store_data, self.bot_data, None if cache is None else Keyboards(cache))
        persistence.share(
            Sharing(
                user_data=application.user_data.get,
                chat_data=application.chat_data.get,
                bot_data=lambda _: bot_data.held,
                states=self.conversations,
                callback_data=cache,
                lease_timeout=lease_timeout,
                bot_data_passed_on=self.bot_data.passed_on,
            )
        )

    def _all_handlers(self) -> Iterable[Any]:
        for handlers in self._application.handlers.values():
            yield from handlers

    @property
    def session(self) -> Session | None:
        """What is open; `None` while the application is not initialized."""
        return self._persistence.session

    async def opened(self) -> Session:
        """What is open; opened again if a running application has called `flush`.

        Raises:
            UnavailableError: If no server answers.
        """
        return self.session or await self._persistence.open_session()

    # -- one update -------------------------------------------------------------------------------------

    async def handle(self, turn: Turn, session: Session, handlers: Callable[[], Awaitable[None]]) -> bool:
        """Merges in what others have changed, runs the handlers, and saves what they have changed.

        Args:
            turn: The update.
            session: What is open.
            handlers: Runs the handlers.

        Returns:
            Whether the server has acknowledged what was changed.

        Raises:
            UnavailableError: If what others have changed could not be read.
        """
        session.begin()
        async with await self._lease(turn, TURN.get(), session):
            token = TURN.set(turn)
            try:
                await self._bring_in(turn, session)
                await handlers()
                return await self.save(turn)
            finally:
                turn.leases = frozenset()
                turn.is_over = True
                TURN.reset(token)

    async def _lease(self, turn: Turn, around: Turn | None, session: Session) -> AsyncExitStack:
        """Acquires the leases of an update; closing the returned stack releases them.

        Args:
            turn: The update.
            around: The update whose handler processes this one; its leases are held already.
            session: What is open.

        Raises:
            UnavailableError: If the server is unreachable.
        """
        stack = AsyncExitStack()
        if session.leases is not None:
            if session.availability.is_unreachable:
                raise UnavailableError("MongoDB is unreachable")
            held = around.leases if around is not None else frozenset()
            wanted = turn.lease_keys() - held
            try:
                # What a conversation's handler holds has to be taken in before it is read: see `_outdated_states`.
                read = None if turn.conversations else partial(self._read_with_leases, turn, session)
                turn.is_read = await stack.enter_async_context(session.leases.hold(wanted, turn.number, read))
            except UnavailableError as error:
                session.availability.mark_unreachable(error)
                raise
            turn.leases = wanted | held
        return stack

    async def _read_with_leases(
        self, turn: Turn, session: Session, leases: Mapping[DocumentCollection, Sequence[Any]]
    ) -> None:
        wanted: dict[DocumentCollection, Sequence[Any]] = {**leases, **self._outdated_data(turn, session, read=True)}
        await session.reader.refresh(wanted, every=True)

    def _outdated_data(self, turn: Turn, session: Session, *, read: bool) -> dict[DocumentCollection, list[Any]]:
        wanted: dict[DocumentCollection, list[Any]] = {}
        for scope, keys in scopes_of(turn, session, self._persistence.store_data):
            if replicas := [replica for key in keys if (replica := scope.outdated(key, read=read))]:
                wanted[scope] = replicas
        return wanted

    async def with_callback_data(self, update: object, session: Session) -> object:
        """The update, with the objects of buttons that another worker has sent.

        Raises:
            UnavailableError: If they cannot be read.
        """
        scope = session.scopes.callback_data
        if scope.live is None or not isinstance(update, Update) or not self._persistence.store_data.callback_data:
            return update
        missing = missing_keyboards(update)
        if not missing:
            return update
        replicas = [scope.replica(uuid, uuid) for uuid in missing]
        try:
            await session.reader.refresh({scope: replicas}, every=True)
        except BaseException:
            for replica in replicas:
                scope.forget(replica)
            raise
        scope.live.load_persistence_data(scope.fetched(replicas))
        return with_objects(update, scope.live)

    async def _bring_in(self, turn: Turn, session: Session) -> None:
        """Merges in what others have changed; without I/O if nothing is stale.

        While the change stream is delayed, because this machine or the server is busy, everything is read.

        Raises:
            UnavailableError: If it cannot be read, and what is loaded does not suffice.
        """
        if not (self._strict or session.must_read):
            await _let_events_in()
        read = self._strict or session.must_read or turn.read or session.is_stream_delayed
        for _ in range(0 if turn.is_read else _ROUNDS):
            wanted = self._outdated_data(turn, session, read=read)
            if states := self._outdated_states(turn, session, read=read):
                wanted[session.scopes.conversations] = states
            if not wanted or not await self._read(wanted, session, read=read) or read:
                break  # otherwise more documents may have become stale during the read
        for scope, keys in scopes_of(turn, session, self._persistence.store_data):
            for key in keys:
                scope.catch_up(key)
        turn.timeouts = {
            (handler, key): handler.timeout_jobs.get(key)
            for handler, key in turn.conversations
            if handler.conversation_timeout
        }

    def _outdated_states(self, turn: Turn, session: Session, *, read: bool) -> list[Replica]:
        outdated = []
        for handler, key in turn.conversations:
            replica = session.scopes.conversations.outdated(handler.name or "", key, read=read)
            if replica is None:
                continue
            state = state_of(handler, key)
            if replica.is_loaded or state is not None:  # a state that was changed here and is not saved yet stays
                try:
                    staged = session.scopes.conversations.stage_now(handler.name or "", key, state)
                    session.exchange.offer(session.scopes.conversations, staged)
                except DocumentError as error:
                    turn.errors.append(error)
            outdated.append(replica)
        return outdated

    async def _read(self, wanted: Mapping[DocumentCollection, list[Any]], session: Session, *, read: bool) -> bool:
        """Reads documents; returns whether that was possible."""
        try:
            await session.reader.refresh(wanted, every=read)
        except (UnavailableError, RefusedError) as error:
            if self._strict or not all(replica.is_loaded for replicas in wanted.values() for replica in replicas):
                raise UnavailableError(f"what others have changed cannot be read: {error}") from error
            return False
        return True

    # -- after ------------------------------------------------------------------------------------------

    async def save(self, turn: Turn) -> bool:
        """Saves what an update may have changed.

        Returns:
            Whether the server has acknowledged everything.
        """
        session = await self.opened()  # not what was open before the handlers: `flush` may have been called since
        done = await acknowledged(turn, offer(turn, session, self._kept))
        self._watch_timeouts(turn)
        if turn.everything:
            turn.everything = False
            await self._application.update_persistence()
            done = await acknowledged(turn, offer(turn, await self.opened(), self._kept))
        errors, turn.errors = turn.errors, []
        for error in errors:
            await self._application.process_error(turn.update, error)
        return done

    # -- conversations that time out --------------------------------------------------------------------

    def _watch_timeouts(self, turn: Turn) -> None:
        """Makes the timeout of a conversation run like an update, so that the other workers hear of it."""
        for (handler, key), before in turn.timeouts.items():
            job = handler.timeout_jobs.get(key)
            if job is not None and job is not before:
                job.callback = partial(self._time_is_over, handler, key, job.callback)

    async def _time_is_over(
        self, handler: Handler, key: ConversationKey, callback: Callable[[Any], Awaitable[None]], context: Any
    ) -> None:
        session = self.session
        if session is not None:  # the timeout may be void by now, as another worker has continued the conversation
            await self.handle(Turn.of_timeout(handler, key), session, partial(callback, context))

    # -- in the background ------------------------------------------------------------------------------

    @staticmethod
    def _run(tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def save_later(self, turn: Turn) -> None:
        """Saves what a background task of an update may have changed; called when the task is done."""
        session = self.session
        if session is not None:
            self._run(self._saves, self.save(turn))

    def _read_in_background(self, replica: Replica) -> None:
        session = self.session
        if session is not None:
            reads = partial(session.reader.refresh, {session.scopes.conversations: [replica]}, every=False)
            self._run(self._reads, retry_forever(reads, _ignore))

    async def close(self) -> None:
        """Waits for the saves in progress."""
        for read in [*self._reads]:
            await cancel_and_wait(read)
        while self._saves:
            await asyncio.wait(self._saves)


async def _let_events_in() -> None:
    """Lets events that have arrived, even if still in the sockets, be processed before the update."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _ignore(_: BaseException) -> None:
    """Ignores an error that was logged already."""
