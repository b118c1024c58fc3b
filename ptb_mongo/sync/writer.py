"""Batches saves, and keeps what is unsaved until it is written.

The hundreds of `update_*` calls that PTB makes at once become a few commands, sent in parallel chunks. At most one
write of a document is in flight. Each is a compare-and-set; one that does not match is merged with what is stored and
sent again, as often as it takes. What waits to be written is given up only if the server refuses it, which is reported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.driver.operations import Failure
from ptb_mongo.errors import DocumentError, QuarantinedError, RefusedError, UnavailableError
from ptb_mongo.gc_pause import collector_paused
from ptb_mongo.health import Counters
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import Version
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.graves import Graves
from ptb_mongo.sync.operations import DIVIDED, OperationMaker, Prepared
from ptb_mongo.sync.passes import Pass
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.retry import cancel_and_wait, retry_forever
from ptb_mongo.sync.tickets import Ticket

__all__ = ["Waiting", "Writer"]

_LOGGER = logging.getLogger(__name__)
_CHUNK: Final = 500
_PATIENCE: Final = 5.0  # seconds that a save waits for its acknowledgement before the background takes over


@dataclass(slots=True)
class Waiting:
    """A document that is to be written.

    Attributes:
        collection: Its collection.
        since: Since when it waits, by the event loop's clock.
    """

    collection: Collection[Any]
    since: float


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

    Attributes:
        waiting: The documents that are not written yet, in the order in which they were submitted.
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
    ) -> None:
        self._driver = driver
        self._reader = reader
        self._operations = OperationMaker(name, buries)
        self.graves = Graves(driver, self.submit)
        self._availability = availability
        self._counters = counters
        self._held = held
        self._ticket = Ticket()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self.waiting: dict[Replica, Waiting] = {}
        availability.on_unreachable.append(self._stop_waiting)
        availability.waiting = lambda: len(self.waiting)

    def submit(self, collection: Collection[Any], replica: Replica) -> Ticket | None:
        """Adds a document to the next batch; if it is in flight already, the caller waits for the batch after that.

        Returns:
            What to wait for; `None` if nothing can be waited for now.
        """
        if self._held and not self._operations.is_change(collection, replica):
            replica.settled(replica.pending)
            return None
        if replica not in self.waiting:
            self.waiting[replica] = Waiting(collection, self._loop.time())
        self._counters.saves += 1
        if self._held:
            return None
        self._start()
        if self._availability.is_unreachable:
            return None
        self._ticket.awaited.add(replica)
        return self._ticket

    def _start(self) -> None:
        if self._closed:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain(), name="ptb_mongo writer")

    async def drain(self) -> None:
        """Waits until everything is written, however long that takes."""
        held, self._held = self._held, False
        try:
            while self.waiting or (self._task is not None and not self._task.done()):
                self._start()
                assert self._task is not None  # noqa: S101  (for the type checker)
                await asyncio.wait({self._task})
        finally:
            self._held = held

    def unsaved(self) -> list[tuple[Collection[Any], Replica]]:
        """Documents with a pending version: what the flush must name or spill."""
        return [(waiting.collection, one) for one, waiting in self.waiting.items() if one.pending is not None]

    def oldest_waiting(self) -> float:
        """Seconds that the oldest of the waiting documents has waited; 0.0 if none waits."""
        now = self._loop.time()
        return max((now - waiting.since for waiting in self.waiting.values()), default=0.0)

    async def close(self) -> None:
        """Stops; what is unsaved stays so."""
        self._closed = True
        await self.graves.close()
        if self._task is not None:
            await cancel_and_wait(self._task)
        self._ticket.end()

    async def _drain(self) -> None:
        while self._availability.is_unreachable or ((self.waiting or self._ticket.awaited) and not self._held):
            await retry_forever(self._write_waiting, self._failed)

    def _stop_waiting(self) -> None:
        """The server is unreachable: ends all waiting, and lets the background retry."""
        self._ticket.end()
        self._ticket = Ticket()
        self._start()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, UnavailableError):
            self._availability.mark_unreachable(error)
        else:
            self._counters.last_error = repr(error)
            _LOGGER.error("Saving failed; it is tried again", exc_info=error)

    def _out_of_patience(self, ticket: Ticket) -> None:
        """Leaves what waits to the background: PTB's shutdown waits for its saves before it flushes."""
        ticket.end()
        self._availability.mark_unreachable(UnavailableError(f"no answer for {_PATIENCE:g} s"))

    async def _write_waiting(self) -> None:
        """Writes what is unsaved now; what fails because of the connection stays unsaved."""
        if self._availability.is_unreachable:
            await self._driver.hello()
            self._availability.mark_reachable()
        if self._held:
            return
        batch = dict(self.waiting)
        ticket, self._ticket = self._ticket, Ticket()
        patience = asyncio.get_running_loop().call_later(_PATIENCE, self._out_of_patience, ticket)
        by_collection: dict[Collection[Any], list[Replica]] = {}
        for replica, waiting in batch.items():
            by_collection.setdefault(waiting.collection, []).append(replica)
        try:
            for last in (False, True):
                await self._write_collections(by_collection, ticket, last=last)
            self._availability.mark_reachable()
            ticket.acknowledged = True
        finally:
            for replica, waiting in batch.items():
                if not replica.is_unsaved:
                    self.waiting.pop(replica, None)
                    waiting.collection.forget(replica)
            for replica, error in ticket.errors.items():
                self._counters.last_error = str(error)
                if ticket.is_over or replica not in ticket.awaited:  # nobody awaits it, or not any more
                    _LOGGER.error("Not saved: %s", error)
            patience.cancel()
            ticket.end()

    async def _write_collections(
        self, by_collection: dict[Collection[Any], list[Replica]], ticket: Ticket, *, last: bool
    ) -> None:
        results = await asyncio.gather(
            *(
                self._write_collection(collection, replicas, ticket)
                for collection, replicas in by_collection.items()
                if collection.last is last
            ),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _write_collection(self, collection: Collection[Any], replicas: list[Replica], ticket: Ticket) -> None:
        """Writes documents until each is saved or refused."""
        failed_before = False
        run = Pass(collection, ticket)
        while replicas:
            if stale := [replica for replica in replicas if replica.is_stale]:
                await self._reader.read({collection: stale})
            if doubted := [replica for replica in stale if replica.is_stale and replica.is_in_doubt]:
                await self._reader.read({collection: doubted})  # as a majority has them
            chunks = [replicas[start : start + _CHUNK] for start in range(0, len(replicas), _CHUNK)]
            tasks: list[asyncio.Task[list[Replica]]] = []
            try:
                for chunk in chunks:
                    tasks.append(asyncio.create_task(self._write_chunk(run, chunk)))
                    await asyncio.sleep(0)  # a chunk is prepared in one go: other tasks run before the next one
                await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
            left: list[Replica] = []
            for chunk, result in zip(chunks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                if isinstance(result, UnavailableError) and not failed_before and not self._availability.is_unreachable:
                    failed_before = True  # an election, say
                    left += [replica for replica in chunk if replica.is_unsaved]
                elif isinstance(result, BaseException):
                    raise result
                else:
                    left += result
            replicas = left

    async def _write_chunk(self, run: Pass, replicas: list[Replica]) -> list[Replica]:
        """Writes some documents; returns those that have to be written again."""
        name = run.collection.collection
        with collector_paused():
            prepared = self._prepared(run, replicas)
        if not prepared:
            return []
        sent = [(replica, one, replica.pending) for replica, one in prepared.items()]
        try:
            failures = await self._driver.write(name, [one.operation for _, one, _ in sent])
        except RefusedError as error:
            for replica, one, version in sent:
                replica.refused(one.rev)
                self._refuse(replica, version, run.ticket, DocumentError(str(error)).located(name, replica.id))
            return []
        except BaseException:  # a cancellation, too
            for replica, one, _ in sent:
                replica.unknown(one.rev)
            raise
        with collector_paused():
            return [
                replica
                for index, (replica, one, version) in enumerate(sent)
                if self._is_left(run, replica, one, version, failures.get(index))
            ]

    def _is_left(
        self, run: Pass, replica: Replica, one: Prepared, version: Version | None, failure: Failure | None
    ) -> bool:
        """Takes in what became of a write; returns whether the document has to be written again."""
        attempt = run.attempts.get(replica, 0)
        if failure is None:
            replica.acknowledged(one.rev, run.collection)
            self._counters.documents_written += not one.is_first
            if replica.is_buried:
                self.graves.dug(run.collection, replica)
            return one.is_first and replica.is_unsaved
        if failure.outdated:
            run.did_not_match(replica)
            replica.outdated(one.rev)
            return True
        replica.refused(one.rev)
        if failure.oversized and attempt < DIVIDED:
            run.attempts[replica] = DIVIDED
            return True
        error = DocumentError(failure.reason, path=failure.path)
        self._refuse(replica, version, run.ticket, error.located(run.collection.collection, replica.id))
        return False

    def _prepared(self, run: Pass, replicas: Sequence[Replica]) -> dict[Replica, Prepared]:
        """The writes to be sent for some documents; what needs no write, or is refused, is settled."""
        prepared: dict[Replica, Prepared] = {}
        for replica in replicas:
            version = replica.pending
            if refusal := run.collection.refusal(replica):
                self._refuse(replica, version, run.ticket, refusal)
            elif not replica.is_unsaved:
                continue
            elif refusal := run.refusal(replica):
                self._refuse(replica, version, run.ticket, refusal)
            elif (one := self._operations.make(run.collection, replica, run.attempts.get(replica, 0))) is not None:
                prepared[replica] = one
            else:
                self._counters.documents_written += 1
                replica.settled(version)  # the database holds the same already
        return prepared

    @staticmethod
    def _refuse(replica: Replica, version: Version | None, ticket: Ticket, error: DocumentError) -> None:
        ticket.errors[replica] = error
        reported = str(error) if isinstance(error, QuarantinedError) or version is None else version.raw
        replica.given_up(version, reported or "")
