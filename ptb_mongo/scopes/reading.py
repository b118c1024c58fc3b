"""Reading documents again: those of several collections in one round trip, and none that is being read or written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from ptb_mongo.driver import ByIds, Driver
from ptb_mongo.entries import Entry
from ptb_mongo.errors import UnavailableError
from ptb_mongo.retry import within
from ptb_mongo.writer import Writer

__all__ = ["Source", "Wanted", "bring", "read", "read_alone"]

_PATIENCE: Final = 2.0  # seconds that an update waits for a read before it goes on with what is loaded


class Source(Protocol):
    """The documents of one collection."""

    driver: Driver
    writer: Writer

    def asked(self, entries: Sequence[Any]) -> ByIds:
        """What is to be read, now, for some entries."""

    def answered(self, entries: Sequence[Any], raws: Iterable[bytes]) -> None:
        """Takes what was read."""


Wanted = tuple[Source, Sequence[Entry]]


async def bring(wanted: Sequence[Wanted], *, every: bool) -> None:
    """Reads those documents that somebody else may have written; waits for the answer no longer than an update can.

    Args:
        wanted: Entries, by their collection.
        every: Whether to read all of them, whatever was said of them.

    Raises:
        UnavailableError: If no server answers, or not in time; they stay stale.
    """
    writer = wanted[0][0].writer
    try:
        await within(_PATIENCE, _bring(wanted, writer, every=every))
    except (UnavailableError, asyncio.TimeoutError) as error:
        for _, entries in wanted:
            for entry in entries:
                entry.mark_stale()
        reason = f"no answer for {_PATIENCE:g} s" if isinstance(error, asyncio.TimeoutError) else str(error)
        lost = UnavailableError(reason)
        if not writer.away:
            writer.lost(lost)
        raise lost from error


async def _bring(wanted: Sequence[Wanted], writer: Writer, *, every: bool) -> None:
    if writer.away:
        raise UnavailableError("MongoDB is away")
    begun = {entry: entry.begun for _, entries in wanted for entry in entries}
    while busy := next((entry for entry in begun if entry.busy is not None), None):
        await busy.free()
    # Somebody else may have read some meanwhile, and that will do if it began after this.
    missing = [
        (source, [entry for entry in entries if entry.stale or (every and entry.read <= begun[entry])])
        for source, entries in wanted
    ]
    if missing := [(source, entries) for source, entries in missing if entries]:
        await read_alone(missing)


async def read_alone(wanted: Sequence[Wanted]) -> None:
    """Reads documents while nobody else reads or writes them; they must be free.

    Raises:
        UnavailableError: If no server answers.
    """
    busy = asyncio.Event()
    for _, entries in wanted:
        for entry in entries:
            entry.busy = busy
    try:
        await read(wanted)
    finally:
        for _, entries in wanted:
            for entry in entries:
                entry.busy = None
        busy.set()


async def read(wanted: Sequence[Wanted]) -> None:
    """Reads documents, and hands them to their collections.

    Raises:
        UnavailableError: If no server answers.
    """
    driver = wanted[0][0].driver
    found = await driver.raw_documents([source.asked(entries) for source, entries in wanted])
    for (source, entries), raws in zip(wanted, found, strict=True):
        source.answered(entries, raws)
