"""Gathers reads: what is asked for while a read is under way is read next, all at once, from all collections.

At most one read or write of a document is under way at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from ptb_mongo.driver import ByIds, Driver
from ptb_mongo.entries import Entry
from ptb_mongo.errors import UnavailableError
from ptb_mongo.retry import end, within
from ptb_mongo.writer import Writer

__all__ = ["Reader", "Source", "Wanted"]

_PATIENCE: Final = 2.0  # seconds that an update waits for a read before it goes on with what is loaded


class Source(Protocol):
    """The documents of one collection."""

    def asked(self, entries: Sequence[Any]) -> ByIds:
        """What is to be read, now, for some entries."""

    def answered(self, entries: Sequence[Any], raws: Iterable[bytes]) -> None:
        """Takes what was read."""


Wanted = Mapping[Source, Sequence[Entry]]
"""What is to be read: entries, by the collection that they belong to."""


class _Batch:
    """What is read next."""

    def __init__(self) -> None:
        self.wanted: dict[Source, list[Entry]] = {}
        self.over = asyncio.Event()
        self.error: Exception | None = None

    def add(self, wanted: Wanted) -> None:
        """Claims entries, which must be free: nobody else reads or writes them until this is over."""
        for source, entries in wanted.items():
            self.wanted.setdefault(source, []).extend(entries)
            for entry in entries:
                entry.busy = self.over

    def end(self, error: Exception | None = None) -> None:
        """Lets everybody go on who waits."""
        self.error = error
        for entries in self.wanted.values():
            for entry in entries:
                entry.busy = None
        self.over.set()

    async def outcome(self) -> None:
        """Waits until it is over.

        Raises:
            UnavailableError: If no server has answered.
        """
        await self.over.wait()
        if isinstance(self.error, UnavailableError):
            raise UnavailableError(str(self.error)) from self.error
        if self.error is not None:
            raise self.error


class Reader:
    """Reads documents again.

    Args:
        driver: The database.
        writer: Knows whether the server is away.
    """

    def __init__(self, driver: Driver, writer: Writer) -> None:
        self.driver = driver
        self._writer = writer
        self._next = _Batch()
        self._task: asyncio.Task[None] | None = None

    async def bring(self, wanted: Wanted, *, every: bool) -> None:
        """Reads those documents that somebody else may have written; waits for them no longer than an update can.

        Args:
            wanted: The entries.
            every: Whether to read all of them, whatever was said of them.

        Raises:
            UnavailableError: If no server answers, or not in time; they stay stale.
        """
        try:
            await within(_PATIENCE, self._bring(wanted, every=every))
        except (UnavailableError, asyncio.TimeoutError) as error:
            for entries in wanted.values():
                for entry in entries:
                    entry.mark_stale()
            lost = UnavailableError(_reason(error))
            if not self._writer.away:
                self._writer.lost(lost)
            raise lost from error

    async def _bring(self, wanted: Wanted, *, every: bool) -> None:
        if self._writer.away:
            raise UnavailableError("MongoDB is away")
        begun = {entry: entry.begun for entries in wanted.values() for entry in entries}

        def missing(entry: Entry) -> bool:  # else somebody has begun to read it after this
            return entry.read <= begun[entry] and (every or entry.stale)

        while needed := [entry for entry in begun if missing(entry)]:
            free = {
                source: [entry for entry in entries if entry.busy is None and missing(entry)]
                for source, entries in wanted.items()
            }
            if free := {source: entries for source, entries in free.items() if entries}:
                await self._read_next(free)
            for entry in needed:
                if entry.busy is not None:
                    await entry.busy.wait()

    async def _read_next(self, wanted: Wanted) -> None:
        batch = self._next
        batch.add(wanted)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._read_waiting(), name="ptb_mongo reader")
        await batch.outcome()

    async def _read_waiting(self) -> None:
        while self._next.wanted:
            batch, self._next = self._next, _Batch()
            error: Exception | None = UnavailableError("it is being closed")
            try:
                await within(_PATIENCE, self.read(batch.wanted))
                error = None
            except asyncio.TimeoutError as late:
                error = UnavailableError(_reason(late))
            except Exception as failure:  # noqa: BLE001  (for those who wait)
                error = failure
            finally:
                batch.end(error)

    async def read_alone(self, wanted: Wanted) -> None:
        """Reads many documents, by themselves; they must be free.

        Raises:
            UnavailableError: If no server answers.
        """
        batch = _Batch()
        batch.add(wanted)
        try:
            await self.read(wanted)
        finally:
            batch.end()

    async def read(self, wanted: Wanted) -> None:
        """Reads documents that nobody else reads or writes, and hands them to their collections.

        Raises:
            UnavailableError: If no server answers.
        """
        found = await self.driver.raw_documents([source.asked(entries) for source, entries in wanted.items()])
        for (source, entries), raws in zip(wanted.items(), found, strict=True):
            source.answered(entries, raws)

    async def close(self) -> None:
        """Ends what is under way."""
        if self._task is not None:
            await end(self._task)
        self._next.end(UnavailableError("it is being closed"))


def _reason(error: Exception) -> str:
    return f"no answer for {_PATIENCE:g} s" if isinstance(error, asyncio.TimeoutError) else str(error)
