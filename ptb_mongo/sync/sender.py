"""Sends writes: in parallel chunks, or one after the other where the server refuses something.

Each write is a compare-and-set; one that does not match is merged with what is stored and sent again, as often as it
takes. If a whole command is refused, it is to be found out whom the server means: a single document, which stays
pending while all others are saved, or everybody, and then all of it waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from ptb_mongo.driver import Driver, codes
from ptb_mongo.driver.operations import Failure
from ptb_mongo.errors import DocumentError, RefusedError, UnavailableError
from ptb_mongo.gc_pause import collector_paused
from ptb_mongo.health import Counters
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.claims import Claims
from ptb_mongo.sync.graves import Graves
from ptb_mongo.sync.operations import DIVIDED, OperationMaker, Prepared
from ptb_mongo.sync.passes import Pass
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.transactions import Transactions

__all__ = ["Sender"]

_CHUNK: Final = 500
_AT_ONCE: Final = 4  # chunks in flight: the server has something to do while the next one is prepared
# So many documents in a row are refused although each is sent alone: it is not for their sake.
_ALL: Final = 2
_ALL_SINCE_THEN: Final = 16  # if others were accepted just before
_UNFORESEEN: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What some document's values may cause where nobody has thought of it; whose, is found out one by one."""


class Sender:
    """Sends writes.

    Args:
        driver: The database.
        reader: Reads documents that others may have written.
        operations: Makes the writes.
        graves: Removes the marks of deleted documents.
        availability: Whether the server answers.
        counters: Counts what happens.

    Attributes:
        transactions: Saves what one update has changed.
    """

    def __init__(
        self,
        driver: Driver,
        reader: Reader,
        operations: OperationMaker,
        graves: Graves,
        availability: Availability,
        counters: Counters,
    ) -> None:
        self._driver = driver
        self._reader = reader
        self._operations = operations
        self._graves = graves
        self._availability = availability
        self._counters = counters
        self._prepares = asyncio.Lock()  # each chunk in a turn of the event loop of its own
        self._claims = Claims()
        self.transactions = Transactions(driver, reader, operations, graves, self._claims, counters)

    async def send(self, run: Pass, replicas: Sequence[Replica], *, carefully: bool) -> None:
        """Writes documents until each is saved, or refused for its own sake.

        Args:
            run: The pass.
            replicas: The documents.
            carefully: Whether the server has refused everything the last time.

        Raises:
            UnavailableError: If no server answers.
            RefusedError: If the server refuses everything.
        """
        if not carefully:
            try:
                await self._send_in_chunks(run, replicas)
            except (RefusedError, *_UNFORESEEN):
                replicas = [one for one in replicas if one.is_unsaved and one not in run.refused]
            else:
                replicas = [one for one in replicas if one in run.doubted]
        await self._send_carefully(run, replicas)

    async def _send_in_chunks(self, run: Pass, replicas: Sequence[Replica]) -> None:
        failed_before = False
        while replicas:
            chunks = _chunks(replicas)
            tasks: list[asyncio.Task[list[Replica]]] = []
            places = asyncio.Semaphore(_AT_ONCE)
            try:
                for chunk in chunks:
                    tasks.append(asyncio.create_task(self._send_when_free(places, run, chunk)))
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

    async def _send_when_free(self, places: asyncio.Semaphore, run: Pass, replicas: Sequence[Replica]) -> list[Replica]:
        async with places:
            return await self._send_chunk(run, replicas)

    async def _send_carefully(self, run: Pass, replicas: Sequence[Replica]) -> None:
        """Sends a single document, then two, four, ... until something is refused, and then begins anew."""
        run.doubted.clear()
        queue, size = deque(replicas), 1
        alone: list[Replica] = []  # those in a row that were refused although they were sent alone
        suspects: list[Replica] = []  # those that were refused while others were accepted
        why: RefusedError | None = None
        accepted = False
        while queue:
            chunk = [queue.popleft() for _ in range(min(size, len(queue)))]
            try:
                left = await self._send_chunk(run, chunk)
            except RefusedError as error:
                why = error
                if len(chunk) > 1:
                    queue.extendleft(reversed([one for one in chunk if one.is_unsaved and one not in run.refused]))
                else:
                    alone.append(chunk[0])
                size = 1
                if len(alone) >= (_ALL_SINCE_THEN if accepted else _ALL):
                    raise
            except _UNFORESEEN as error:
                if len(chunk) == 1:
                    run.refuse(chunk[0], DocumentError(f"it cannot be written: {_named(error)}"))
                else:
                    queue.extendleft(reversed([one for one in chunk if one.is_unsaved and one not in run.refused]))
                size = 1
            else:
                queue.extendleft(reversed(left))
                size = min(2 * size, _CHUNK)
                suspects += [*alone, *run.doubted]
                alone, accepted = [], True
                run.doubted.clear()
        if alone and why is not None and not accepted:
            raise why
        for replica in suspects + alone:
            await self._judge(run, replica)

    async def _judge(self, run: Pass, replica: Replica) -> None:
        """Sends a document once more that was refused while others were accepted: what refused it may be over.

        Raises:
            RefusedError: If it is refused by what never has to do with a document.
        """
        left = [replica]
        try:
            while left:
                left = await self._send_chunk(run, left)
        except RefusedError as error:
            if error.code in codes.EVERYBODYS:
                raise
            run.refuse_changes(replica, DocumentError(str(error)))

    async def _send_chunk(self, run: Pass, replicas: Sequence[Replica]) -> list[Replica]:
        """Writes some documents; returns those that have to be written again."""
        async with self._claims.hold(replicas):
            return await self._send_claimed(run, replicas)

    async def _send_claimed(self, run: Pass, replicas: Sequence[Replica]) -> list[Replica]:
        await self._read_stale(run, replicas)
        await self._prepares.acquire()
        try:
            with collector_paused():
                prepared = self._prepared(run, replicas)
        finally:  # what else there is to do comes first, and a part of that are answers
            asyncio.get_running_loop().call_soon(self._prepares.release)
        if not prepared:
            return []
        try:
            failures = await self._driver.write(run.collection.collection, [one.operation for one in prepared.values()])
        except BaseException:  # a cancellation, too; and of what was refused as a whole, a part may have been done
            for replica, one in prepared.items():
                replica.unknown(one.rev)
            raise
        self._availability.mark_reachable(writes=True)
        run.is_answered = True
        if refusal := _refusal_of_all(failures, len(prepared)):
            for replica, one in prepared.items():
                replica.refused(one.rev)
            raise refusal
        with collector_paused():
            return [
                replica
                for index, (replica, one) in enumerate(prepared.items())
                if self._is_left(run, replica, one, failures.get(index))
            ]

    async def _read_stale(self, run: Pass, replicas: Sequence[Replica]) -> None:
        if stale := [replica for replica in replicas if replica.is_stale]:
            await self._reader.read({run.collection: stale})
        if doubted := [replica for replica in stale if replica.is_stale and replica.is_in_doubt]:
            await self._reader.read({run.collection: doubted})  # as a majority has them

    def _is_left(self, run: Pass, replica: Replica, one: Prepared, failure: Failure | None) -> bool:
        """Takes in what became of a write; returns whether the document has to be written again."""
        try:
            return self._is_left_by(run, replica, one, failure)
        except Exception as error:  # noqa: BLE001  (whatever it is, all others are to be saved)
            replica.unknown(one.rev)
            run.refuse(replica, DocumentError(f"what was stored cannot be taken in: {_named(error)}"))
            return False

    def _is_left_by(self, run: Pass, replica: Replica, one: Prepared, failure: Failure | None) -> bool:
        if failure is None:
            run.collection.acknowledged(replica, one.rev)
            self._counters.documents_written += not one.is_first
            if replica.is_buried:
                self._graves.dug(run.collection, replica)
            if one.is_first:
                return replica.is_unsaved
            return self._is_divided(run, replica)
        if failure.outdated:
            run.did_not_match(replica)
            replica.outdated(one.rev)
            return True
        replica.refused(one.rev)
        if failure.for_now:
            run.doubted.add(replica)
            return False
        if failure.oversized and run.attempts.get(replica, 0) < DIVIDED:
            run.attempts[replica] = DIVIDED
            return True
        if run.divides(replica, DocumentError(failure.reason, path=failure.path)):
            return True
        return self._is_over(run, replica)

    def _is_divided(self, run: Pass, replica: Replica) -> bool:
        """A write was done: whether it was one part of the document's changes, and another one is to follow."""
        if not run.is_divided(replica):
            return False
        run.was_done(replica)
        return run.is_divided(replica) or self._is_over(run, replica)

    @staticmethod
    def _is_over(run: Pass, replica: Replica) -> bool:
        """All parts of a document were tried: returns whether to write once more what is left to be saved."""
        if refusal := run.refusal_of_parts(replica):
            run.refuse_changes(replica, refusal)
            return False
        return replica.is_unsaved

    def _prepared(self, run: Pass, replicas: Sequence[Replica]) -> dict[Replica, Prepared]:
        """The writes to be sent for some documents; what needs no write, or is refused, is settled."""
        prepared: dict[Replica, Prepared] = {}
        for replica in replicas:
            try:
                if refusal := run.collection.refusal(replica):
                    run.refuse(replica, refusal)
                elif not replica.is_unsaved:
                    continue
                elif refusal := run.refusal(replica):
                    run.refuse(replica, refusal)
                else:
                    self._prepare(run, replica, prepared)
            except Exception as error:  # noqa: BLE001  (whatever it is, all others are to be saved)
                run.refuse(replica, DocumentError(f"what has changed cannot be prepared: {_named(error)}"))
        return prepared

    def _prepare(self, run: Pass, replica: Replica, prepared: dict[Replica, Prepared]) -> None:
        while run.is_divided(replica):
            if (one := self._made(run, replica)) is not None:
                prepared[replica] = one
                return
            run.was_done(replica)  # there is nothing to be written for this part
        if refusal := run.refusal_of_parts(replica):
            run.refuse_changes(replica, refusal)
        elif (one := self._made(run, replica)) is not None:
            prepared[replica] = one
        else:
            replica.settled(replica.pending)  # the database holds the same already

    def _made(self, run: Pass, replica: Replica) -> Prepared | None:
        return self._operations.make(run.collection, replica, run.version(replica), run.attempts.get(replica, 0))


def _chunks(replicas: Sequence[Replica]) -> list[Sequence[Replica]]:
    return [replicas[start : start + _CHUNK] for start in range(0, len(replicas), _CHUNK)]


def _named(error: Exception) -> str:
    """An error whose text may hold users' data, unless it is ours."""
    return str(error) if isinstance(error, DocumentError) else type(error).__name__


def _refusal_of_all(failures: dict[int, Failure], count: int) -> RefusedError | None:
    """Why a server has refused every write, and not for the documents' sake; `None` if it has not."""
    found = [failure for failure in failures.values() if failure.for_now]
    return RefusedError(f"MongoDB refuses: {found[0].reason}", found[0].code) if 0 < len(found) == count else None
