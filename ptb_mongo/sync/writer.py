"""Gathers saves into bulk writes, and keeps what could not be written until it is.

The hundreds of `update_*` calls that PTB makes at once become one unordered bulk write per collection, sent in
parallel chunks. At most one read or write of a document is under way at any time. Nothing that is waiting to
be written is ever forgotten, but for a document that the server refuses for its own sake.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from ptb_mongo.codec import load
from ptb_mongo.driver import Driver
from ptb_mongo.driver.operations import Delete, Upsert
from ptb_mongo.entries import Claim, Entry, Owner, Ticket
from ptb_mongo.errors import DocumentError, QuarantinedError, RefusedError, UnavailableError
from ptb_mongo.garbage import collector_paused
from ptb_mongo.health import Counters
from ptb_mongo.replica.update import diff
from ptb_mongo.sync.retry import end, until_it_works

__all__ = ["Writer"]

_LOGGER = logging.getLogger(__name__)
_CHUNK: Final = 1000
_PATIENCE: Final = 5.0  # seconds that a save waits for its acknowledgement before it is left to the background
# Changed paths in one document. A server takes about 10 ms for a thousand, and a second for ten times as many: what
# holds more is replaced whole. Where that makes the update too large, or others keep changing it, it is changed path
# by path after all.
_MANY_PATHS: Final = 1000
_MOST_PATHS: Final = 10_000
_ATTEMPTS: Final = 5  # at a document that others change between our read and our write


class Writer:
    """Writes dirty entries.

    Args:
        driver: The database.
        name: Who writes: the first part of every `rev`.
        counters: Counts what happens.
        held: Whether to write only when asked to drain (`on_flush`).
    """

    def __init__(self, driver: Driver, name: str, counters: Counters, *, held: bool = False) -> None:
        self._driver = driver
        self._name = name
        self._held = held
        self._count = 0
        self._ticket = Ticket()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.counters = counters
        self.waiting: dict[Entry, Owner] = {}
        """What is not in the database yet, in the order in which it became dirty."""
        self.away = False
        """Whether the server is known to be away: then nobody waits for it."""

    def submit(self, owner: Owner, entry: Entry) -> Ticket | None:
        """Takes a dirty entry to be written with the next batch; one that is under way is waited for once more.

        Returns:
            What to wait for; `None` if there is nothing to wait for now.
        """
        if not entry.dirty:
            entry.dirty = True
            entry.since = time.monotonic()
        self.waiting[entry] = owner
        self.counters.saves += 1
        if self._held:
            return None
        self._start()
        if self.away:
            return None
        self._ticket.awaited.add(entry)
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

    async def close(self) -> None:
        """Stops; what is dirty stays so."""
        self._closed = True
        if self._task is not None:
            await end(self._task)
        self._ticket.end()

    async def _drain(self) -> None:
        while self.away or ((self.waiting or self._ticket.awaited) and not self._held):
            await until_it_works(self._write_waiting, self._failed)

    def lost(self, error: BaseException) -> None:
        """Notes that the server is away; from now on nobody waits for it, and the background looks for it."""
        self.counters.last_error = str(error)
        if not self.away:
            self.away = True
            _LOGGER.warning("MongoDB is away; what changes is kept, and written when it is back: %s", error)
            self._ticket.end()
            self._ticket = Ticket()
        self._start()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, UnavailableError):
            self.lost(error)
        else:
            self.counters.last_error = repr(error)
            _LOGGER.error("Saving failed; it is tried again", exc_info=error)

    def _found(self) -> None:
        if self.away:
            self.away = False
            _LOGGER.warning("MongoDB is back; %d documents were waiting", len(self.waiting))

    def _out_of_patience(self, ticket: Ticket) -> None:
        """Hands what waits over to the background: PTB's shutdown waits for its saves before it flushes."""
        ticket.end()
        self.lost(UnavailableError(f"no answer for {_PATIENCE:g} s"))

    async def _write_waiting(self) -> None:
        """Writes what is dirty now; what fails for the connection's sake stays dirty."""
        if self.away:
            await self._driver.hello()
            self._found()
        if self._held:
            return
        batch = dict(self.waiting)
        ticket, self._ticket = self._ticket, Ticket()
        patience = asyncio.get_running_loop().call_later(_PATIENCE, self._out_of_patience, ticket)
        by_owner: dict[Owner, list[Entry]] = {}
        for entry, owner in batch.items():
            by_owner.setdefault(owner, []).append(entry)
        try:
            for last in (False, True):
                owners = {owner: entries for owner, entries in by_owner.items() if owner.last is last}
                await self._write_collections(owners, ticket)
            self._found()
            ticket.acknowledged = True
        finally:
            for entry in batch:
                if not entry.dirty:
                    self.waiting.pop(entry, None)
            for entry, error in ticket.errors.items():
                self.counters.last_error = str(error)
                if ticket.is_over or entry not in ticket.awaited:  # nobody waits for it, or not any more
                    _LOGGER.error("Not saved: %s", error)
            patience.cancel()
            ticket.end()

    async def _write_collections(self, owners: dict[Owner, list[Entry]], ticket: Ticket) -> None:
        results = await asyncio.gather(
            *(self._write_collection(owner, entries, ticket) for owner, entries in owners.items()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _write_collection(self, owner: Owner, entries: list[Entry], ticket: Ticket) -> None:
        most_paths: dict[Entry, int] = {}
        for attempt in range(_ATTEMPTS):
            if attempt == _ATTEMPTS - 1:  # only a change of the same paths is in the way now
                most_paths = dict.fromkeys(entries, _MOST_PATHS) | most_paths
            claim = await self._claim(owner, entries)
            chunks = [entries[start : start + _CHUNK] for start in range(0, len(entries), _CHUNK)]
            tasks: list[asyncio.Task[list[Entry]]] = []
            try:
                for chunk in chunks:
                    tasks.append(asyncio.create_task(self._write_chunk(owner, chunk, ticket, most_paths)))
                    await asyncio.sleep(0)  # a chunk is prepared in one go: let others run before the next one
                await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                claim.end()
            outdated: list[Entry] = []
            for chunk, result in zip(chunks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                if isinstance(result, UnavailableError) and attempt == 0 and not self.away:
                    outdated += [entry for entry in chunk if entry.dirty]  # an election, say
                elif isinstance(result, BaseException):
                    raise result
                else:
                    outdated += result
            if not outdated:
                return
            entries = outdated
        for entry in entries:
            reason = f"others changed it during each of {_ATTEMPTS} attempts to save it"
            self._refuse(entry, entry.wanted, ticket, DocumentError(reason).located(owner.collection, entry.id))

    @staticmethod
    async def _claim(owner: Owner, entries: list[Entry]) -> Claim:
        """Keeps everybody else from reading or writing these documents until they are released; reads the stale ones.

        Who reads never waits for one document while it keeps others, so this may.
        """
        claim = Claim()
        try:
            for entry in entries:
                await entry.free()
                claim.add(entry)
            if stale := [entry for entry in entries if entry.stale and entry.wanted is not None]:
                await owner.reread(stale)  # what becomes stale again meanwhile is merged when it is read next
        except BaseException:
            claim.end()
            raise
        return claim

    async def _write_chunk(
        self, owner: Owner, entries: list[Entry], ticket: Ticket, most_paths: dict[Entry, int]
    ) -> list[Entry]:
        """Writes some entries; returns those whose document is not as was supposed."""
        with collector_paused():
            operations = self._operations(owner, entries, ticket, most_paths)
        if not operations:
            return []
        sent = [(entry, entry.wanted) for entry in operations]
        try:
            failures = await self._driver.write(owner.collection, list(operations.values()))
        except UnavailableError:
            for entry in operations:
                entry.mark_stale()  # it may have been written, and changed by others since
            raise
        except RefusedError as error:
            for entry, version in sent:
                self._refuse(entry, version, ticket, DocumentError(str(error)).located(owner.collection, entry.id))
            return []
        outdated: list[Entry] = []
        for index, (entry, version) in enumerate(sent):
            failure = failures.get(index)
            if failure is None:
                self._done(owner, entry, version)
            elif failure.outdated:
                entry.mark_stale()
                outdated.append(entry)
            elif failure.oversized and entry not in most_paths:
                most_paths[entry] = _MOST_PATHS
                outdated.append(entry)
            else:
                error_of_its_own = DocumentError(failure.reason, path=failure.path).located(owner.collection, entry.id)
                self._refuse(entry, version, ticket, error_of_its_own)
        return outdated

    def _operations(
        self, owner: Owner, entries: list[Entry], ticket: Ticket, most_paths: dict[Entry, int]
    ) -> dict[Entry, Upsert | Delete]:
        """What is to be sent for some entries; those that need or may not be written are settled."""
        operations: dict[Entry, Upsert | Delete] = {}
        for entry in entries:
            if refusal := owner.refusal(entry):
                self._refuse(entry, entry.wanted, ticket, refusal)
            elif operation := self._operation(owner, entry, most_paths.get(entry, _MANY_PATHS)):
                operations[entry] = operation
            else:
                self._done(owner, entry, entry.wanted)  # the base has come to say the same
        return operations

    def _operation(self, owner: Owner, entry: Entry, at_most: int) -> Upsert | Delete | None:
        if entry.plain is None:
            self._count += 1
            return Delete(entry.id, owner.deletable(entry), owner.ended, f"{self._name}:{self._count}")
        base = owner.empty(entry.plain) if entry.base is None else owner.ours(load(entry.base))
        changes = diff(base, entry.plain, owner.canonical, at_most=at_most)
        if not changes and not entry.touching:
            return None
        if entry.base is not None:
            for name in owner.always:
                if name in entry.plain:
                    changes.set_whole(name, entry.plain[name])
        self._count += 1
        entry.rev = f"{self._name}:{self._count}"
        entry.sent[entry.rev] = entry.wanted
        return Upsert(entry.id, changes, entry.rev)

    def _done(self, owner: Owner, entry: Entry, version: bytes | None) -> None:
        self.counters.documents_written += 1
        entry.base = version
        entry.refused = None
        entry.sent.clear()
        if entry.wanted is version:
            entry.dirty = entry.touching = False
            entry.wanted = entry.plain = None
            owner.written(entry)

    @staticmethod
    def _refuse(entry: Entry, version: bytes | None, ticket: Ticket, error: DocumentError) -> None:
        ticket.errors[entry] = error
        entry.refused = str(error) if isinstance(error, QuarantinedError) else version
        if entry.wanted is version:  # else a newer version has come meanwhile, which is tried
            entry.dirty = entry.touching = False
            entry.wanted = entry.plain = None
