"""What one of several workers does for an update, before and after its handlers.

It merges in other workers' changes, and saves the update's changes before the update counts as done. An update that
fails and will be repeated leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Literal

from telegram.ext import Application

from ptb_mongo.errors import LeaseError, UnavailableError
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.session import Session
from ptb_mongo.settings import Sharing
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.waiting import cancel_and_wait, wait_at_most
from ptb_mongo.workers.bot_data import BotData
from ptb_mongo.workers.conversations import Conversations
from ptb_mongo.workers.holders import Holders
from ptb_mongo.workers.in_hand import Hands
from ptb_mongo.workers.keyboards import Keyboards
from ptb_mongo.workers.refresh import Refresh
from ptb_mongo.workers.saving import Kept, acknowledged, offer
from ptb_mongo.workers.timeouts import Timeouts
from ptb_mongo.workers.touched_keyboards import TouchedKeyboards
from ptb_mongo.workers.turn import TURN, Exclusive, Once, Turn

__all__ = ["Consistency", "Worker"]

Consistency = Literal["stream", "strict"]


class Worker:
    """The part of a `SharedApplication` that deals with the database.

    Args:
        application: The application.
        persistence: Its persistence.
        consistency: Whether to rely on the change stream, or to read before each update.
        exclusive: Whose updates are handled one after the other; `None` for nobody's.
        lease_timeout: Seconds after which an unrenewed lease expires.
        once: Whether the updates that are done are remembered; "transaction" if together with their changes.
        bot_data: Tracks who asks for `bot_data`.
    """

    def __init__(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        persistence: MongoPersistence[Any, Any, Any],
        consistency: Consistency,
        exclusive: Exclusive | None,
        lease_timeout: float,
        *,
        once: Once,
        bot_data: BotData,
    ) -> None:
        self._application = application
        self._persistence = persistence
        self._exclusive = exclusive
        self._lease_timeout = lease_timeout
        self._is_whole = once == "transaction"
        self._refresh = Refresh(application, persistence, strict=consistency == "strict" or exclusive is not None)
        self._background: set[asyncio.Task[None]] = set()
        self._reads: set[asyncio.Task[None]] = set()
        self._hands = Hands()
        self._holders = Holders(lease_timeout)
        self._timeouts = Timeouts(self.handle)
        self.conversations = Conversations(self._all_handlers, self._read_in_background)
        cache = getattr(application.bot, "callback_data_cache", None)
        changed = None if cache is None else TouchedKeyboards(cache)
        self.keyboards = Keyboards(persistence, changed)
        self._kept = Kept(persistence.store_data, bot_data, changed)
        persistence.share(
            Sharing(
                user_data=application.user_data.get,
                chat_data=application.chat_data.get,
                bot_data=lambda _: bot_data.held,
                states=self.conversations,
                callback_data=cache,
                lease_timeout=lease_timeout if exclusive is not None else None,
                once=bool(once),
                is_in_hand=self._hands.has,
                bot_data_passed_on=bot_data.passed_on,
            )
        )

    def _all_handlers(self) -> Iterable[Any]:
        for handlers in self._application.handlers.values():
            yield from handlers

    @property
    def session(self) -> Session | None:
        """The open session; `None` while the application is not initialized."""
        return self._persistence.session

    async def opened(self) -> Session:
        """The open session; opened again if a running application has called `flush`.

        Raises:
            UnavailableError: If no server answers.
        """
        return self.session or await self._persistence.open_session()

    # -- one update -------------------------------------------------------------------------------------

    async def handle(self, turn: Turn, handlers: Callable[[], Awaitable[None]]) -> bool:
        """Merges in others' changes, runs the handlers, and saves their changes.

        Args:
            turn: The update.
            handlers: Runs the handlers.

        Returns:
            Whether the server has acknowledged the changes; always true if the update can be repeated.

        Raises:
            UnavailableError: If others' changes could not be read; if the update can be repeated, also if not all
                changes were acknowledged.
            LeaseError: If the update can be repeated and its lease was lost.
        """
        async with self.turn(turn):
            if not turn.is_done:
                await handlers()
        return turn.is_saved

    @contextlib.asynccontextmanager
    async def turn(self, turn: Turn) -> AsyncIterator[None]:
        """The same, for the body of a `with` statement."""
        session = await self.opened()
        session.begin()
        if turn.comes_again and session.availability.is_unreachable:
            raise UnavailableError("MongoDB is unreachable")
        turn.begins()
        async with await self._lease(turn, session):
            token = TURN.set(turn)
            try:
                turn.leave_to_others()
                await self._refresh.bring_in(turn, session)
                self._timeouts.before(turn)
                self._hands.take(turn, session, self._persistence.store_data)
                await self.keyboards.bring_in(turn, session, read=self._refresh.reads(session))
                try:
                    yield
                except BaseException:
                    await self._fails(turn, session)
                    raise
                if not turn.is_done:
                    await self._ends(turn, session)
            finally:
                turn.ends()
                self._hands.leave(turn, session)
                TURN.reset(token)

    async def _lease(self, turn: Turn, session: Session) -> AsyncExitStack:
        """Acquires the leases of an update; closing the returned stack releases them.

        Args:
            turn: The update.
            session: The open session.

        Raises:
            UnavailableError: If the server is unreachable.
            LeaseError: If a lease is not free in time while a surrounding turn holds others.
        """
        stack = AsyncExitStack()
        if session.leases is not None and self._exclusive is not None:
            if session.availability.is_unreachable:
                raise UnavailableError("MongoDB is unreachable")
            others = turn.around.leases if turn.around is not None else frozenset()
            held = frozenset[str]().union(*(around.leases for around in turn.is_inside()))
            wanted = turn.lease_keys(self._exclusive) - held
            # A conversation's state in its handler must be staged before it is read: see `_outdated_states`.
            read = None if turn.conversations else partial(self._refresh.with_leases, turn, session)
            entering = stack.enter_async_context(session.leases.hold(wanted, turn.number, read))
            try:
                # Two handlers that wait for each other's lease would do so forever.
                turn.hold = await (wait_at_most(self._lease_timeout, entering) if others and wanted else entering)
            except asyncio.TimeoutError as error:
                raise LeaseError(
                    f"the lease {_named(wanted)} was not free within {self._lease_timeout:g} s, while the lease "
                    f"{_named(others)} was held: its holder may be waiting for that one"
                ) from error
            except UnavailableError as error:
                session.availability.mark_unreachable(error)
                raise
            turn.is_read = turn.hold.is_read
            turn.leases = wanted | held
            try:
                await self._holders.follow(turn, wanted)
            except BaseException:
                await stack.aclose()
                raise
            stack.callback(self._holders.leave, turn, wanted)
        return stack

    # -- after ------------------------------------------------------------------------------------------

    async def _ends(self, turn: Turn, session: Session) -> None:
        """Saves a turn's changes.

        Raises:
            UnavailableError: If it can be repeated and not all changes were acknowledged.
            LeaseError: If it can be repeated and its lease was lost.
        """
        if not turn.comes_again:
            turn.is_saved = await self.save(turn)
            return
        try:
            await self._check(turn, session)  # a process that was frozen must not save outdated data
            turn.is_saved = await (self._save_whole(turn, session) if self._is_whole else self.save(turn))
            self._check_hands(turn, session)
            if not turn.is_saved:
                raise UnavailableError("the server has not acknowledged the changes of this update")
            self._mark(turn, session)
            await self._check(turn, session)
            for replica in turn.found:
                replica.unleased()
        except BaseException:
            self._withdraw(turn, session)
            raise

    async def _fails(self, turn: Turn, session: Session) -> None:
        """Handles a failed turn: withdraws its changes if it will be repeated, and otherwise saves them."""
        if turn.comes_again:
            self._withdraw(turn, session)
        else:
            await self.save(turn)

    async def _check(self, turn: Turn, session: Session) -> None:
        self._check_hands(turn, session)
        if session.leases is not None and not await session.leases.confirm(turn.hold):
            raise LeaseError(f"the lease {turn.hold.lost_keys} was lost before its update was saved")

    def _check_hands(self, turn: Turn, session: Session) -> None:
        if self._hands.were_emptied(turn, session):
            raise LeaseError(
                "the changes of this update were reverted, because another one has failed, or held its lease"
            )

    def _withdraw(self, turn: Turn, session: Session) -> None:
        self._hands.withdraw(turn, session, self._kept)
        self._timeouts.withdraw(turn)

    def _mark(self, turn: Turn, session: Session) -> None:
        """Notes that an update is done; the other workers learn of it before they get its lease."""
        if session.marks is None or turn.mark is None:
            return
        session.marks.done(turn.number)
        if turn.mark.is_done:
            return  # it was stored together with the changes
        write = partial(session.marks.write, turn.number)
        if turn.hold.tickets:
            turn.hold.before_release = write
        else:
            self._run(self._background, write())

    async def _save_whole(self, turn: Turn, session: Session) -> bool:
        """Saves an update's changes in one transaction, with the mark that it is done.

        If that is not possible, for example because one of the documents is refused, each one is saved separately.
        """
        changed: dict[Collection[Any], list[Replica]] = {}

        def take(scope: Collection[Any], replica: Replica) -> None:
            changed.setdefault(scope, []).append(replica)

        offer(turn, session, self._kept, take)
        marks = {session.marks.collection: turn.number} if session.marks is not None and turn.mark is not None else {}
        is_plain = not turn.everything and not turn.errors
        if is_plain and await session.writer.transactions.save(changed, marks):
            self._timeouts.watch(turn)
            if turn.mark is not None:
                turn.mark.seen(turn.mark.now, is_done=True)
            return True
        return await self.save(turn)

    async def save(self, turn: Turn) -> bool:
        """Saves what an update may have changed.

        Returns:
            Whether the server has acknowledged everything.
        """
        session = await self.opened()  # not the earlier session: a handler may have called `flush`
        done = await acknowledged(turn, offer(turn, session, self._kept))
        self._timeouts.watch(turn)
        if turn.everything:
            turn.everything = False
            await self._application.update_persistence()
            done = await acknowledged(turn, offer(turn, await self.opened(), self._kept))
        errors, turn.errors = turn.errors, []
        for error in errors:
            await self._application.process_error(turn.update, error)
        return done

    def drops(self, kind: Literal["user_data", "chat_data"], key: int) -> None:
        """Notes that PTB drops the data of a user or chat, and will delete it with its next save."""
        if self.session is not None:
            scopes = self.session.scopes
            (scopes.user_data if kind == "user_data" else scopes.chat_data).not_void(key)

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
            self._run(self._background, self.save(turn))

    def _read_in_background(self, replica: Replica) -> None:
        session = self.session
        if session is not None:
            reads = partial(session.reader.refresh, {session.scopes.conversations: [replica]}, every=False)
            self._run(self._reads, retry_forever(reads, _ignore))

    async def close(self) -> None:
        """Waits for the saves in progress."""
        for read in [*self._reads]:
            await cancel_and_wait(read)
        while self._background:
            await asyncio.wait(self._background)


def _named(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(keys)))


def _ignore(_: BaseException) -> None:
    """Ignores an error that has already been logged."""
