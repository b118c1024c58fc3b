"""Batches saves, and keeps what is unsaved until it is written.

The hundreds of `update_*` calls that PTB makes at once become a few commands. At most one write of a document is in
flight. Nothing that is waiting to be written is ever given up: what the server cannot or will not do now is retried, at
growing intervals, and so is what it refuses because of a document's content.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.availability import CONNECTING, Availability, Request
from ptb_mongo.sync.graves import Graves
from ptb_mongo.sync.operations import OperationMaker
from ptb_mongo.sync.passes import Pass
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.retries import Retries
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.sync.sender import Sender
from ptb_mongo.sync.tickets import Queue, Ticket, Waiting
from ptb_mongo.waiting import Alarm, cancel_and_wait

__all__ = ["Writer"]

_LOGGER = get_logger(__name__)
_PATIENCE: Final = 5.0  # seconds that a save waits for its acknowledgement before the background takes over
_BLAMED: Final = 2


class Writer:
    """Writes what is unsaved.

    Args:
        driver: The database.
        reader: Reads documents that others may have written.
        name: The writer's id: the first part of every `rev`.
        availability: Whether the server answers.
        counters: Counts what happens.
        held: Whether to write only in `drain` (`on_flush`).
        buries: Whether insertions of other processes may still arrive.
        patience: Seconds that a save waits for its acknowledgement before the background takes over.

    Attributes:
        waiting: The documents that are not written yet, in the order of submission.
        silent_since: When the last save began, by the loop's clock, if it waited for an answer in vain.
    """

    def __init__(
        self,
        driver: Driver,
        reader: Reader,
        name: str,
        availability: Availability,
        counters: Counters,
        *,
        held: bool = False,
        buries: Callable[[], bool] = lambda: False,
        patience: float = _PATIENCE,
    ) -> None:
        self._driver = driver
        self._operations = OperationMaker(name, buries)
        self.graves = Graves(driver, self.submit)
        self._sender = Sender(driver, reader, self._operations, self.graves, availability, counters)
        self._availability = availability
        self._counters = counters
        self._held = held
        self._patience = min(patience, _PATIENCE)
        self._ticket = Ticket()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._pass_is_over = asyncio.Event()
        self._retries = Retries()
        self.silent_since: float | None = None
        self.waiting = Queue()
        availability.on_unreachable.append(self._stop_waiting)
        availability.waiting = lambda: len(self.waiting)

    # -- what to write ----------------------------------------------------------------------------------

    def submit(self, collection: Collection[Any], replica: Replica, *, is_save: bool = True) -> Ticket | None:
        """Adds a document to the next batch; if it is already in flight, the caller waits for the batch after that.

        With `is_save`, it is known to have changed.

        Returns:
            The ticket to wait for; `None` if there is nothing to wait for now.
        """
        if self._held and not self._may_be_change(collection, replica):
            replica.settled(replica.pending)
            return None
        if replica not in self.waiting:
            self.waiting.add(collection, replica, self._loop.time())
        self._counters.saves += is_save
        if self._held:
            return None
        if self._task is None or self._task.done() or not self._wake.is_set():
            self._start()
        if not self._is_awaited(collection):
            return None
        self._ticket.awaited.add(replica)
        return self._ticket

    def may_wait(self, collection: Collection[Any]) -> bool:
        """Whether an offered copy that is not encoded now will be encoded soon."""
        return not (self._held or self._closed) and self._is_awaited(collection)

    def _is_awaited(self, collection: Collection[Any]) -> bool:
        """Whether saves wait for the server; of those that it refuses for now, each that is the next attempt.

        Else nothing would ever find out that it refuses them no longer, where what is not acknowledged is taken back.
        """
        known = self._availability
        if known.is_unreachable:
            return False
        if not known.refusals or _saving(collection) not in known.refusals:
            return True
        return self._retries.collections.until(collection.collection) <= self._loop.time()

    def retry(self, replica: Replica) -> None:
        """Retries a document that was refused because of its content, as the stored one may have changed."""
        if replica in self.waiting:
            self._retries.documents.interrupt(replica)
            self._start()

    def withdraw(self, replica: Replica) -> None:
        """Stops trying to write a document, which somebody else takes care of."""
        self.waiting.pop(replica, None)
        self._retries.documents.end(replica)

    def unsaved(self) -> list[tuple[Collection[Any], Replica]]:
        """Documents with changes that are not stored, which `flush` must report or spill."""
        waiting = [(waiting.collection, one) for one, waiting in self.waiting.items() if one.pending is not None]
        return [(collection, one) for collection, one in waiting if self._may_be_change(collection, one)]

    def _may_be_change(self, collection: Collection[Any], replica: Replica) -> bool:
        """Whether the pending version differs from the stored one, or may differ."""
        try:
            return self._operations.is_change(collection, replica)
        except Exception:  # noqa: BLE001  (whatever it is, it concerns this document only)
            return True

    def rename(self, name: str) -> None:
        """See `OperationMaker.rename`."""
        self._operations.rename(name)

    @property
    def last_rev(self) -> str:
        """The `rev` of the last write."""
        return self._operations.last_rev

    def oldest_waiting(self) -> float:
        """Seconds that the oldest of the waiting documents has waited; 0.0 if none waits."""
        now = self._loop.time()
        # A refused change may have been reverted since; its document is put away when it would be retried.
        return max((now - waiting.since for one, waiting in self.waiting.items() if one.is_unsaved), default=0.0)

    def refused(self) -> int:
        """How many documents are waiting because they were refused for their content."""
        return sum(one.is_refused for one in self.waiting)

    # -- when to write ----------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Writes everything, however long it takes; documents refused because of their content are tried once more."""
        held, self._held = self._held, False
        self._retries.interrupt_all()
        self._wake.set()  # only now: what is refused from here on is retried after its pause
        try:
            while any(not self._retries.is_paused(one, self._loop.time()) for one in self.waiting):
                self._pass_is_over.clear()
                self._run_in_background()
                await self._pass_is_over.wait()
        finally:
            self._held = held

    async def close(self) -> None:
        """Stops; what is unsaved stays unsaved."""
        self._closed = True
        await self.graves.close()
        if self._task is not None:
            await cancel_and_wait(self._task)
        self._ticket.end()

    def _start(self) -> None:
        if self._closed:
            return
        self._wake.set()
        self._run_in_background()

    def _run_in_background(self) -> None:
        if not self._closed and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._run(), name="ptb_mongo writer")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Ends all waiting for a task that was cancelled, as `asyncio.run` cancels all tasks at its end."""
        if task is self._task:
            self._ticket.end()
            self._ticket = Ticket()

    async def _run(self) -> None:
        while self._availability.is_unreachable or ((self.waiting or self._ticket.awaited) and not self._held):
            self._wake.clear()
            await retry_forever(self._write_waiting, self._failed)
            self._pass_is_over.set()
            if (pause := self._pause()) is not None:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)

    def _pause(self) -> float | None:
        """Seconds until the next retry; `None` if there is something to write now."""
        if self._availability.is_unreachable or self._ticket.awaited:
            return None
        seconds = self._retries.next_at(self.waiting) - self._loop.time()
        return seconds if seconds > 0 else None

    def _stop_waiting(self) -> None:
        """Ends all waiting, as the server is unreachable, and lets the background retry."""
        self._ticket.end()
        self._ticket = Ticket()
        self._start()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, UnavailableError):
            self._availability.mark_unreachable(error)
        elif isinstance(error, RefusedError):
            self._availability.mark_refused(CONNECTING, error)
        else:
            self._counters.last_error = repr(error)
            _LOGGER.error("Saving failed; the bot will try again", exc_info=error)
        self._pass_is_over.set()

    def _out_of_patience(self, ticket: Ticket, since: int, began: float) -> None:
        """Leaves the waiting documents to the background, as PTB's shutdown waits for its saves before it flushes."""
        ticket.end()
        self.silent_since = began
        self._availability.mark_unreachable(UnavailableError(f"no answer for {self._patience:g} s"), since=since)

    async def save_whole(
        self, documents: Mapping[Collection[Any], Sequence[Replica]], marks: Mapping[str, Any]
    ) -> bool:
        """Writes documents at once and in one transaction; see `Transactions.save`."""
        if not await self._sender.transactions.save(documents, marks):
            return False
        for collection in documents:
            self._are_accepted(collection)
        return True

    # -- writing ----------------------------------------------------------------------------------------

    async def _write_waiting(self) -> None:
        """Writes the due documents; those that cannot be written now stay unsaved."""
        if self._availability.is_unreachable:
            await self._driver.hello()
            self._availability.mark_reachable(writes=self._held)  # then nothing is waiting for a write
            self._availability.mark_accepted(CONNECTING)
        if self._held:
            return
        batch = self._retries.due(self.waiting, self._loop.time())
        ticket, self._ticket = self._ticket, Ticket()
        since, began = self._availability.answers, self._loop.time()
        alarm = Alarm(self._patience, lambda: self._out_of_patience(ticket, since, began))
        by_collection: dict[Collection[Any], list[Replica]] = {}
        for replica, waiting in batch.items():
            by_collection.setdefault(waiting.collection, []).append(replica)
        try:
            refused = False
            for last in (False, True):
                some = {one: replicas for one, replicas in by_collection.items() if one.last is last}
                refused = await self._write_collections(some, ticket) or refused
            self._availability.mark_reachable(writes=True)
            self.silent_since = None
            ticket.acknowledged = not refused and all(one in batch for one in ticket.awaited if one in self.waiting)
        finally:
            self._put_away(batch)
            for collection in by_collection:
                ticket.take(collection.told_later, batch)
            for replica, error in ticket.errors.items():
                self._counters.last_error = str(error)
                if ticket.is_over or replica not in ticket.awaited:  # nobody awaits it, or nobody does any more
                    _LOGGER.error("Not saved: %s", error)
            alarm.cancel()
            ticket.end()

    def _put_away(self, batch: dict[Replica, Waiting]) -> None:
        """Forgets saved documents, and pauses refused ones."""
        now = self._loop.time()
        for replica, waiting in batch.items():
            if not replica.is_unsaved:
                self.waiting.pop(replica, None)
                self._retries.documents.end(replica)
                waiting.collection.forget(replica)
            elif replica.is_refused:
                self._retries.documents.begin(replica, now)

    async def _write_collections(self, by_collection: dict[Collection[Any], list[Replica]], ticket: Ticket) -> bool:
        """Writes documents of several collections; returns whether one of them was refused as a whole."""
        results = await asyncio.gather(
            *(self._write_collection(collection, replicas, ticket) for collection, replicas in by_collection.items()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return any(results)

    async def _write_collection(self, collection: Collection[Any], replicas: list[Replica], ticket: Ticket) -> bool:
        run, what = Pass(collection, ticket), _saving(collection)
        for replica in replicas:
            if replica.is_refused:
                replica.told()  # it is retried, based on what is stored then
        try:
            await self._sender.send(run, replicas, carefully=what in self._availability.refusals)
        except RefusedError as error:
            self._availability.mark_reachable(writes=True)
            self._retries.collections.begin(collection.collection, self._loop.time())
            if self._availability.mark_refused(what, error):
                ticket.refusal = error
            for replica in replicas[:_BLAMED]:  # a different one is tried first the next time
                if replica in self.waiting:
                    self.waiting[replica] = self.waiting.pop(replica)
            return True
        if run.is_answered:
            self._are_accepted(collection)
        return False

    def _are_accepted(self, collection: Collection[Any]) -> None:
        """The server has written documents of a collection."""
        self._retries.collections.end(collection.collection)
        self._availability.mark_accepted(_saving(collection))


def _saving(collection: Collection[Any]) -> Request:
    return Request("to save", frozenset({collection.collection}))
