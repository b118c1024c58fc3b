"""Leases: which of several workers is handling a user's updates now, and which one is next.

There is one document for each user with an update in progress or waiting: it names the holder of the lease, when the
lease expires, and the waiting updates. All times are the server's. The holder hands the lease over to the waiting
update with the smallest number, and the change stream tells that update's worker: nobody polls. Holders and waiting
updates renew their place periodically; one that has not done so for `timeout` seconds has expired and is skipped.

Anybody may have written a lease: see `lease_updates`. A broken one affects only those who wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import PersistenceError, UnavailableError
from ptb_mongo.log import get_logger
from ptb_mongo.sync.batching import Batcher
from ptb_mongo.sync.holds import Hold, LeaseTicket
from ptb_mongo.sync.lease_reads import LeaseReads, SeenLease
from ptb_mongo.sync.lease_updates import acquiring, handing_over, renewing, shown
from ptb_mongo.sync.reader import DocumentCollection
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.waiting import begun, cancel_and_wait, wait_at_most

__all__ = ["SHORTEST", "Leases"]

_LOGGER = get_logger(__name__)
SHORTEST: Final = 0.5
"""The shortest `timeout`, in seconds."""

_A_LITTLE: Final = 0.02  # seconds: the server's clock counts milliseconds
_PATIENCE: Final = 5.0  # seconds that an update waits for an answer
_RENEWALS: Final = 3  # during `timeout`
_SURE: Final = 0.9  # the part of `timeout` for which a lease is not in doubt, as clocks differ slightly in speed
# Seconds by which a request for leases precedes a read that they should protect: the server needs as long for them.
_HEAD_START: Final = 0.002
_FOR_EACH: Final = 0.0001

Read = Callable[[Mapping[DocumentCollection, Sequence[SeenLease]]], Coroutine[Any, Any, None]]
"""Reads leases, followed by what they protect."""


class Leases:
    """The leases of one worker.

    Args:
        driver: The database.
        collection: The collection of the leases.
        worker: This worker's name, the beginning of all of its tickets.
        timeout: Seconds without a renewal after which a lease, or a place in its queue, expires.
    """

    def __init__(self, driver: Driver, collection: str, worker: str, timeout: float) -> None:
        self.collection = collection
        self._driver = driver
        self._worker = worker
        self._timeout = timeout
        self._numbers = itertools.count(1)
        self._tickets: dict[str, LeaseTicket] = {}
        self._acquired = Batcher(self._acquire_together, "ptb_mongo leases, acquired")
        self._released = Batcher(self._release_together, "ptb_mongo leases, released")
        self._reads = LeaseReads(collection)
        self._renewal: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def hold(self, keys: Collection[str], update_id: int, read: Read | None = None) -> AsyncIterator[Hold]:
        """Acquires leases when it is this update's turn, and releases them at the end in the background.

        Args:
            keys: The leases; all workers acquire them in the same order, so that there is no deadlock.
            update_id: The update's number; the smallest one of those waiting is next.
            read: Reads a lease and then what it protects; called if there is only one, while that is being requested.

        Yields:
            The leases.

        Raises:
            UnavailableError: If the server is unreachable.
        """
        hold = Hold()
        now = asyncio.get_running_loop().time
        try:
            for key in sorted(keys):
                ticket = LeaseTicket(key, f"{self._worker}:{next(self._numbers)}", update_id, hold, now())
                hold.tickets.append(ticket)
                self._tickets[ticket.name] = ticket
                self._start_renewals()
                if read is not None and len(keys) == 1:
                    hold.is_read = await self._acquire_and_read(ticket, read)
                else:
                    await self._acquire(ticket)
            yield hold
        finally:
            for ticket in hold.tickets:
                del self._tickets[ticket.name]
            if hold.tickets:  # only `close` waits for that
                self._run(self._leave(hold))

    async def confirm(self, hold: Hold) -> bool:
        """Whether leases have been held until now; asks the server only if they may have expired.

        Raises:
            UnavailableError: If that cannot be determined now.
        """
        ends = asyncio.get_running_loop().time() - _SURE * self._timeout
        doubtful = [ticket for ticket in hold.tickets if not ticket.lost and ticket.since <= ends]
        if doubtful and not hold.lost.is_set():
            await _in_time(self._renew(doubtful))
        return not hold.lost.is_set()

    async def close(self) -> None:
        """Waits for the leases that are being released, and ends the renewals."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timeout)
        for task in [*self._tasks, self._renewal]:
            if task is not None:
                await cancel_and_wait(task)
        await self._acquired.close()
        await self._released.close()

    # -- what the change stream says --------------------------------------------------------------------

    def granted(self, ticket: str) -> None:
        """See `Grants.granted`."""
        if (one := self._tickets.get(ticket)) is not None:
            one.held = True
            one.told.set()

    def ask_again(self) -> None:
        """See `Grants.ask_again`."""
        for ticket in self._tickets.values():
            ticket.told.set()

    # -- acquiring --------------------------------------------------------------------------------------

    async def _acquire_and_read(self, ticket: LeaseTicket, read: Read) -> bool:
        """Acquires a lease and reads what it protects; returns whether the read took place while it was held."""
        lease = SeenLease(ticket.key)

        async def read_after_it() -> None:
            await ticket.may_be_read.wait()
            await read({self._reads: [lease]})

        reading = begun(read_after_it())
        try:
            await self._acquire(ticket)
            await asyncio.wait({reading})
            return not reading.cancelled() and reading.exception() is None and lease.holder == ticket.name
        finally:
            await cancel_and_wait(reading)

    async def _acquire(self, ticket: LeaseTicket) -> None:
        while True:
            ticket.told.clear()
            ticket.asked.clear()
            await self._acquired.submit(ticket)
            if ticket.error is not None:
                raise ticket.error
            if not ticket.held:  # there is another holder, which may have died
                with contextlib.suppress(asyncio.TimeoutError):
                    await wait_at_most(ticket.left / 1000 + _A_LITTLE, ticket.told.wait())
            if ticket.held:
                return

    async def _acquire_together(self, tickets: list[LeaseTicket]) -> None:
        def may_be_read() -> None:
            for ticket in tickets:
                ticket.may_be_read.set()

        asyncio.get_running_loop().call_later(_HEAD_START + _FOR_EACH * len(tickets), may_be_read)
        try:
            await _in_time(self._acquire_at_most_twice(tickets))
        finally:
            may_be_read()
            for ticket in tickets:
                ticket.asked.set()

    async def _acquire_at_most_twice(self, tickets: list[LeaseTicket]) -> None:
        try:
            await self._acquire_free(tickets)
        except UnavailableError:  # there may be a new primary by now
            await self._acquire_free(tickets)

    async def _acquire_free(self, tickets: list[LeaseTicket]) -> None:
        updates = [({"_id": ticket.key}, acquiring(ticket.name, ticket.update_id, self._timeout)) for ticket in tickets]
        done = await self._driver.update_each(self.collection, updates, upsert=True)
        for position, ticket in enumerate(tickets):
            ticket.held = ticket.held or position in done.made
            ticket.error = done.refused.get(position)
        if others := [ticket for ticket in tickets if not ticket.held and ticket.error is None]:
            found = await self._found(others)
            for ticket in others:
                lease = found.get(ticket.key, {})  # if it has been deleted since, it is requested again
                ticket.held = ticket.held or lease.get("holder") == ticket.name
                ticket.left = int(lease.get("left", 0))

    async def _found(self, tickets: Collection[LeaseTicket]) -> dict[str, dict[str, Any]]:
        """The leases of some tickets, in the form of `shown`."""
        query = {"_id": {"$in": list({ticket.key for ticket in tickets})}}
        fields = shown([ticket.name for ticket in tickets], self._timeout)
        return {str(one["_id"]): one async for one in self._driver.find(self.collection, query, fields)}

    # -- releasing --------------------------------------------------------------------------------------

    async def _leave(self, hold: Hold) -> None:
        tickets = hold.tickets
        for ticket in tickets:
            await ticket.asked.wait()
        if hold.before_release is not None:
            await hold.before_release()
        try:
            await self._released.submit(tickets)
        except UnavailableError:
            self._run(self._release_later(tickets))
        except PersistenceError as error:
            keys = ", ".join(ticket.key for ticket in tickets)
            _LOGGER.error("The leases %s could not be released, and will expire: %s", keys, error)  # noqa: TRY400

    async def _release_together(self, several: list[list[LeaseTicket]]) -> None:
        await _in_time(self._release_each([ticket for tickets in several for ticket in tickets]))

    async def _release_each(self, tickets: list[LeaseTicket]) -> None:
        mine: list[dict[str, Any]] = [{"_id": ticket.key, "holder": ticket.name, "waiting": []} for ticket in tickets]
        if await self._driver.delete_each(self.collection, mine) == len(tickets):
            return
        updates = [
            (
                {"_id": ticket.key, "$or": [{"holder": ticket.name}, {"waiting.ticket": ticket.name}]},
                handing_over(ticket.name, self._timeout),
            )
            for ticket in tickets
        ]
        for position, error in (await self._driver.update_each(self.collection, updates)).refused.items():
            _LOGGER.error("The lease %r could not be released, and will expire: %s", tickets[position].key, error)
        nobodys: list[dict[str, Any]] = [{"_id": ticket.key, "holder": None, "waiting": []} for ticket in tickets]
        await self._driver.delete_each(self.collection, nobodys)

    async def _release_later(self, tickets: list[LeaseTicket]) -> None:
        """Retries until the lease has expired."""

        def failed(_: BaseException) -> None:
            return

        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(retry_forever(lambda: self._released.submit(tickets), failed), self._timeout)

    # -- renewing ---------------------------------------------------------------------------------------

    def _start_renewals(self) -> None:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_task(self._renew_all(), name="ptb_mongo leases")

    async def _renew_all(self) -> None:
        while self._tickets:
            await asyncio.sleep(self._timeout / _RENEWALS)
            tickets = [ticket for ticket in self._tickets.values() if not ticket.lost]
            if not tickets:
                continue
            try:
                await self._renew(tickets)
            except Exception as error:  # noqa: BLE001  (whatever it is, the next renewal may succeed)
                reason = error if isinstance(error, PersistenceError) else type(error).__name__
                _LOGGER.warning("%d leases could not be renewed: %s", len(tickets), reason)

    async def _renew(self, tickets: list[LeaseTicket]) -> None:
        updates = [
            (
                {"_id": ticket.key, "$or": [{"holder": ticket.name}, {"waiting.ticket": ticket.name}]},
                renewing(ticket.name, self._timeout),
            )
            for ticket in tickets
        ]
        begun = asyncio.get_running_loop().time()
        done = await self._driver.update_each(self.collection, updates)
        for position, error in done.refused.items():
            _LOGGER.warning("The lease %r could not be renewed: %s", tickets[position].key, error)
        if done.matched == len(updates):
            for ticket in tickets:
                ticket.since = begun
            return
        held = [ticket for ticket in tickets if ticket.held]  # a lease that is granted while we read is not lost
        found = await self._found(tickets)
        for ticket in tickets:
            document = found.get(ticket.key, {})
            if ticket.name not in self._tickets or document.get("holder") == ticket.name:
                ticket.since = begun  # it has been released, or is still held
                continue
            if ticket in held:
                ticket.lost = True
                ticket.hold.lost.set()
                _LOGGER.error(
                    "The lease %r was lost: this worker did not renew it for %g s, and another one may have handled "
                    "updates in the meantime",
                    ticket.key,
                    self._timeout,
                )
            elif not ticket.held and ticket.name not in document.get("waiting", ()):
                ticket.told.set()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _in_time(coroutine: Coroutine[Any, Any, None]) -> None:
    """Stops waiting for a server that does not answer; the batch goes on for others."""
    try:
        await wait_at_most(_PATIENCE, coroutine)
    except asyncio.TimeoutError as error:
        raise UnavailableError(f"no answer for {_PATIENCE:g} s") from error
