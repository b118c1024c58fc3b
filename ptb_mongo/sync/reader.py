"""Gathers reads: what is asked for while a read is under way is read next, all at once, from all collections.

At most one read or write of a document is under way at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from ptb_mongo.driver import ByIds, Driver
from ptb_mongo.entries import Claim, Entry
from ptb_mongo.errors import UnavailableError
from ptb_mongo.sync.batching import Gathered
from ptb_mongo.sync.retry import within
from ptb_mongo.sync.writer import Writer

__all__ = ["Reader", "Source", "Wanted"]

_PATIENCE: Final = 2.0  # seconds that an update waits for a read before it goes on with what is loaded
_MOST_READS: Final = 3  # that it waits for: one that has begun, its own, and one of what another one kept


class Source(Protocol):
    """The documents of one collection."""

    def asked(self, entries: Sequence[Any]) -> ByIds:
        """What is to be read, now, for some entries."""

    def answered(self, entries: Sequence[Any], raws: Iterable[bytes]) -> None:
        """Takes what was read."""


Wanted = Mapping[Source, Sequence[Entry]]
"""What is to be read: entries, by the collection that they belong to."""


class Reader:
    """Reads documents again.

    Args:
        driver: The database.
        writer: Knows whether the server is away.
    """

    def __init__(self, driver: Driver, writer: Writer) -> None:
        self.driver = driver
        self._writer = writer
        self._gathered = Gathered(self._read_claimed, "ptb_mongo reader")
        self._answers = 0

    async def bring(self, wanted: Wanted, *, every: bool) -> None:
        """Reads those documents that somebody else may have written; waits for them no longer than an update can.

        Args:
            wanted: The entries.
            every: Whether to read all of them, whatever was said of them.

        Raises:
            UnavailableError: If no server answers, or not in time; they stay stale.
        """
        try:
            await self._in_time(self._bring(wanted, every=every), self._while_answered())
        except UnavailableError:
            for entries in wanted.values():
                for entry in entries:
                    entry.mark_stale()
            raise

    def _check_server(self) -> None:
        if self._gathered.closed or self._writer.away:
            raise UnavailableError("the connection is closed" if self._gathered.closed else "MongoDB is away")

    async def _in_time(self, coroutine: Coroutine[Any, Any, None], again: Callable[[], bool] = lambda: False) -> None:
        """Gives a server up that does not answer."""
        try:
            await within(_PATIENCE, coroutine, again)
        except (UnavailableError, asyncio.TimeoutError) as error:
            late = isinstance(error, asyncio.TimeoutError)
            lost = UnavailableError(f"no answer for {_PATIENCE:g} s" if late else str(error))
            if not self._gathered.closed and not self._writer.away:
                self._writer.lost(lost)
            raise lost from error

    def _while_answered(self) -> Callable[[], bool]:
        """Whether the server has answered meanwhile: then it is slow, and others' reads come first. Says so twice."""
        answers = [self._answers]

        def again() -> bool:
            answers.append(self._answers)
            return answers[-1] > answers[-2] and len(answers) <= _MOST_READS

        return again

    async def _bring(self, wanted: Wanted, *, every: bool) -> None:
        begun = {entry: entry.begun for entries in wanted.values() for entry in entries}

        def missing(entry: Entry) -> bool:  # else somebody has begun to read it after this
            return entry.read <= begun[entry] and (every or entry.stale)

        while needed := [entry for entry in begun if missing(entry)]:
            self._check_server()
            free = {
                source: [entry for entry in entries if entry.busy is None and missing(entry)]
                for source, entries in wanted.items()
            }
            if free := {source: entries for source, entries in free.items() if entries}:
                await self._gathered.ask((free, _claim(free)))
            for entry in needed:
                if entry.busy is not None and missing(entry):
                    await entry.busy.wait()

    async def _read_claimed(self, claimed: list[tuple[Wanted, Claim]]) -> None:
        together: dict[Source, list[Entry]] = {}
        for wanted, _ in claimed:
            for source, entries in wanted.items():
                together.setdefault(source, []).extend(entries)
        try:
            self._check_server()
            await self._in_time(self.read(together))
            self._answers += 1
        finally:
            for _, claim in claimed:
                claim.end()

    async def read_alone(self, wanted: Wanted) -> None:
        """Reads many documents, by themselves; they must be free.

        Raises:
            UnavailableError: If no server answers.
        """
        claim = _claim(wanted)
        try:
            await self.read(wanted)
        finally:
            claim.end()

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
        for _, claim in await self._gathered.close():
            claim.end()


def _claim(wanted: Wanted) -> Claim:
    claim = Claim()
    for entries in wanted.values():
        for entry in entries:
            claim.add(entry)
    return claim
