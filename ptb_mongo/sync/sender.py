"""Sends writes: in parallel chunks, or one after the other if the server refuses something.

Each write is a compare-and-set; one that does not match is merged with what is stored and sent again, as often as
necessary. If a whole command is refused, we must find out the reason: either a single document, which stays pending
while all others are saved, or something that concerns all, which then wait.
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
_AT_ONCE: Final = 4  # chunks in flight: the server is busy while the next one is prepared
# If so many documents in a row are refused although each is sent alone, the documents are not the reason.
_ALL: Final = 2
_ALL_SINCE_THEN: Final = 16  # if others were accepted just before
_UNFORESEEN: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Unforeseen errors that a document's values may cause; sending the documents one by one shows which one it is."""


class Sender:
    """Sends writes.

    Args:
        driver: The database.
        reader: Reads documents that others may have written.
        operations: Creates the writes.
        graves: Removes the tombstones of deleted documents.
        availability: Whether the server answers.
        counters: Counts what happens.

    Attributes:
        transactions: Saves the changes of one update together.
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
        self._prepares = asyncio.Lock()  # each chunk is prepared in its own turn of the event loop
        self._claims = Claims()
        self.transactions = Transactions(driver, reader, operations, graves, self._claims, counters)

    async def send(self, run: Pass, replicas: Sequence[Replica], *, carefully: bool) -> None:
        """Writes documents until each is saved, or refused because of its content.

        Args:
            run: The pass.
            replicas: The documents.
            carefully: Whether the server refused everything the last time.

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
                    await asyncio.sleep(0)  # other tasks run between two chunks, as each is prepared without a pause
                await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
            left: list[Replica] = []
            for chunk, result in zip(chunks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                if isinstance(result, UnavailableError) and not failed_before and not self._availability.is_unreachable:
                    failed_before = True  # for example, because of an election
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
        """Sends a single document, then two, four, ... until something is refused, and then starts over."""
        run.doubted.clear()
        queue, size = deque(replicas), 1
        alone: list[Replica] = []  # documents in a row that were refused although sent alone
        suspects: list[Replica] = []  # documents that were refused while others were accepted
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
        """Sends a document once more that was refused while others were accepted: the reason may be gone.

        Raises:
            RefusedError: If it is refused for a reason that never concerns a single document.
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
        """Writes documents; returns those that must be written again."""
        async with self._claims.hold(replicas):
            return await self._send_claimed(run, replicas)

    async def _send_claimed(self, run: Pass, replicas: Sequence[Replica]) -> list[Replica]:
        await self._read_stale(run, replicas)
        await self._prepares.acquire()
        try:
            with collector_paused():
                prepared = self._prepared(run, replicas)
        finally:  # other work comes first, including the handling of answers
            asyncio.get_running_loop().call_soon(self._prepares.release)
        if not prepared:
            return []
        try:
            failures = await self._driver.write(run.collection.collection, [one.operation for one in prepared.values()])
        except BaseException:  # also cancellation; and a part of a refused command may have been done
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
        """Handles the outcome of a write; returns whether the document must be written again."""
        try:
            return self._is_left_by(run, replica, one, failure)
        except Exception as error:  # noqa: BLE001  (whatever it is, all others must be saved)
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
        """Whether the write that was done was a part of the document's changes, and another part follows."""
        if not run.is_divided(replica):
            return False
        run.was_done(replica)
        return run.is_divided(replica) or self._is_over(run, replica)

    @staticmethod
    def _is_over(run: Pass, replica: Replica) -> bool:
        """Handles a document all of whose parts were tried; returns whether to write the rest once more."""
        if refusal := run.refusal_of_parts(replica):
            run.refuse_changes(replica, refusal)
            return False
        return replica.is_unsaved

    def _prepared(self, run: Pass, replicas: Sequence[Replica]) -> dict[Replica, Prepared]:
        """The writes to send; settles documents that need no write or are refused."""
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
            except Exception as error:  # noqa: BLE001  (whatever it is, all others must be saved)
                run.refuse(replica, DocumentError(f"what has changed cannot be prepared: {_named(error)}"))
        return prepared

    def _prepare(self, run: Pass, replica: Replica, prepared: dict[Replica, Prepared]) -> None:
        while run.is_divided(replica):
            if (one := self._made(run, replica)) is not None:
                prepared[replica] = one
                return
            run.was_done(replica)  # there is nothing to write for this part
        if refusal := run.refusal_of_parts(replica):
            run.refuse_changes(replica, refusal)
        elif (one := self._made(run, replica)) is not None:
            prepared[replica] = one
        else:
            replica.settled(replica.pending)  # the database already has the same

    def _made(self, run: Pass, replica: Replica) -> Prepared | None:
        return self._operations.make(run.collection, replica, run.version(replica), run.attempts.get(replica, 0))


def _chunks(replicas: Sequence[Replica]) -> list[Sequence[Replica]]:
    return [replicas[start : start + _CHUNK] for start in range(0, len(replicas), _CHUNK)]


def _named(error: Exception) -> str:
    """The text of an error of ours; of any other, only the type, as its text may contain users' data."""
    return str(error) if isinstance(error, DocumentError) else type(error).__name__


def _refusal_of_all(failures: dict[int, Failure], count: int) -> RefusedError | None:
    """Why a server has refused every write for a reason other than the documents; `None` if it has not."""
    found = [failure for failure in failures.values() if failure.for_now]
    return RefusedError(f"MongoDB refuses: {found[0].reason}", found[0].code) if 0 < len(found) == count else None
