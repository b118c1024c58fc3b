"""What one of several workers does for an update, before and after its handlers.

It merges in other workers' changes, and saves the update's changes before the update counts as done. An update that
fails and will be repeated leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
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
from ptb_mongo.waiting import wait_at_most
from ptb_mongo.workers.background import Background
from ptb_mongo.workers.bot_data import BotData
from ptb_mongo.workers.conversations import Conversations
from ptb_mongo.workers.holders import Holders
from ptb_mongo.workers.in_hand import Hands
from ptb_mongo.workers.keyboards import Keyboards
from ptb_mongo.workers.passes import is_in_pass
from ptb_mongo.workers.refresh import Refresh
from ptb_mongo.workers.saving import Kept, acknowledged, offer
from ptb_mongo.workers.timeouts import Timeouts
from ptb_mongo.workers.told import Told
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
        self._background = Background()
        self._hands = Hands()
        self._holders = Holders(lease_timeout)
        self._timeouts = Timeouts(self.handle)
        self.told = Told(persistence, self._hands)
        self.conversations = Conversations(self._all_handlers, self._read_in_background)
        cache = getattr(application.bot, "callback_data_cache", None)
        changed = None if cache is None else TouchedKeyboards(cache)
        self.keyboards = Keyboards(persistence, changed)
        self._kept = Kept(persistence.store_data, bot_data, changed, self._hands.is_left_by, persistence.drop_in_turn)
        persistence.share(
            Sharing(
                user_data=application.user_data.get,
                chat_data=application.chat_data.get,
                bot_data=lambda _: bot_data.held,
                states=self.conversations,
                callback_data=cache,
                lease_timeout=lease_timeout if exclusive is not None else None,
                once=bool(once),
                is_in_hand=self._hands.is_left,
                is_drop_in_hand=self._hands.is_drop_left,
                dropped_buttons=set if changed is None else changed.dropped_in_hand,
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
                await self.keyboards.bring_in(turn, session, read=self._refresh.reads(session))
                if not turn.is_done:  # PTB's own save leaves to a turn what that has in hand, and is to save
                    self._hands.take(turn, session, self._persistence.store_data)
                try:
                    yield
                except BaseException:
                    await self._fails(turn, session)
                    raise
                if not turn.is_done:
                    await self._ends(turn, session)
            finally:
                turn.ends()
                self._hands.leave(turn, self.session or session)
                if turn.has_more:
                    self._background.saves(self.save(turn))
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
            is_bounded = bool(others) or is_in_pass()
            held = frozenset[str]().union(*(around.leases for around in turn.is_inside()))
            wanted = turn.lease_keys(self._exclusive) - held
            # A conversation's state in its handler must be staged before it is read: see `_outdated_states`.
            read = None if turn.conversations else partial(self._refresh.with_leases, turn, session)
            entering = stack.enter_async_context(session.leases.hold(wanted, turn.number, read))
            try:
                # Two handlers may wait for each other's lease, and would do so for ever.
                turn.hold = await (wait_at_most(self._lease_timeout, entering) if is_bounded and wanted else entering)
            except asyncio.TimeoutError as error:
                held_up = f"the lease {_named(others)} was held" if others else "PTB's save pass was going on"
                raise LeaseError(
                    f"the lease {_named(wanted)} was not free within {self._lease_timeout:g} s, while {held_up}: "
                    "its holder may be waiting for that one"
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
        turn.is_ending = True
        if not turn.comes_again:
            turn.is_saved = await self.save(turn)
            return
        try:
            await self._hands.alone(turn, self._lease_timeout)
            await self._check(turn, session)  # a process that was frozen must not save what is old by now
            turn.is_saved = await (self._save_whole(turn) if self._is_whole else self.save(turn))
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
        """What was to be done inside has failed: it comes again, or what it has changed until then is saved."""
        turn.is_ending = True
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
        self._hands.withdraw(turn, self.session or session, self._kept)
        self._timeouts.withdraw(turn)

    def _mark(self, turn: Turn, session: Session) -> None:
        """Notes that an update is done; the other workers hear of it before they get its lease."""
        marks = (self.session or session).marks  # `flush` may have been called since
        if marks is None or turn.mark is None:
            return
        marks.done(turn.number)
        if turn.mark.is_done:
            return  # with what it has changed
        write = partial(marks.write, turn.number)
        if turn.hold.tickets:
            turn.hold.before_release = write
        else:
            self._background.saves(write())

    async def _save_whole(self, turn: Turn) -> bool:
        """Saves what an update has changed in one transaction, with the mark that it is done.

        If that is not possible, for example because one of the documents is refused, each one is saved separately.
        """
        changed: dict[Collection[Any], list[Replica]] = {}

        def take(scope: Collection[Any], replica: Replica) -> None:
            changed.setdefault(scope, []).append(replica)

        session = await self.opened()  # see `save`
        is_plain = not turn.dropped
        offer(turn, session, self._kept, take)
        marks = {session.marks.collection: turn.number} if session.marks is not None and turn.mark is not None else {}
        if is_plain and not turn.errors and await session.writer.save_whole(changed, marks):
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
        errors, turn.errors = turn.errors, []
        for error in errors:
            await self._application.process_error(turn.update, error)
        return done

    # -- in the background ------------------------------------------------------------------------------

    def leaves_behind(self, task: asyncio.Task[Any]) -> None:
        """Saves what a background task of an update may have changed, when it is done."""
        turn = TURN.get()
        if turn is not None:
            self._hands.goes_on(turn)
            task.add_done_callback(partial(self._save_later, turn))

    def _save_later(self, turn: Turn, _: asyncio.Task[Any]) -> None:
        self._hands.goes_on(turn, by=-1)
        if not turn.is_over:
            turn.has_more = True
        elif self.session is not None:
            self._background.saves(self.save(turn))

    def _read_in_background(self, replica: Replica) -> None:
        session = self.session
        if session is not None:
            reads = partial(session.reader.refresh, {session.scopes.conversations: [replica]}, every=False)
            self._background.reads(retry_forever(reads, _ignore))

    async def close(self) -> None:
        """Waits for the saves in progress."""
        await self._background.close()


def _named(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(keys)))


def _ignore(_: BaseException) -> None:
    """Ignores an error that has already been logged."""
