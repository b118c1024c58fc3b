"""A save claims the documents that it writes, while others read and are read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from bots import turns

from ptb_mongo.entries import Claim, Entry
from ptb_mongo.errors import UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.sync.writer import Writer


class Owner:
    """A collection that can be read, or not."""

    collection = "users"
    last = False

    def __init__(self, error: Exception | None = None) -> None:
        self.read: list[Any] = []
        self._error = error

    async def reread(self, entries: Sequence[Entry]) -> None:
        self.read += [entry.id for entry in entries]
        if self._error is not None:
            raise self._error


def begin(entry: Entry) -> asyncio.Event:
    """A read begins."""
    entry.busy = asyncio.Event()
    return entry.busy


def end(entry: Entry, read: asyncio.Event) -> None:
    entry.busy = None
    read.set()


def claiming(owner: Any, *entries: Entry) -> asyncio.Task[Claim]:
    writer = Writer(None, "me", Counters())  # type: ignore[arg-type]
    return asyncio.create_task(writer._claim(owner, list(entries)))


async def test_documents_that_are_never_free_at_the_same_time_are_claimed_one_by_one() -> None:
    one, two = Entry(1), Entry(2)
    read = begin(one)
    claim = claiming(Owner(), one, two)
    await turns()
    end(one, read)
    read = begin(two)
    await turns()
    end(two, read)

    claimed = await claim

    assert one.busy is two.busy is not None
    claimed.end()
    assert one.busy is two.busy is None


async def test_what_is_stale_is_read_before_it_is_written() -> None:
    stale, fresh, deleted = Entry(1, stale=True), Entry(2), Entry(3, stale=True)
    stale.wanted = fresh.wanted = b""
    owner = Owner()

    await claiming(owner, stale, fresh, deleted)

    assert owner.read == [1]


async def test_nothing_stays_claimed_if_it_cannot_be_read() -> None:
    entries = [Entry(1), Entry(2, stale=True)]
    entries[1].wanted = b""

    with pytest.raises(UnavailableError):
        await claiming(Owner(UnavailableError()), *entries)

    assert [entry.busy for entry in entries] == [None, None]


async def test_nothing_stays_claimed_if_it_is_cancelled() -> None:
    one, two = Entry(1), Entry(2)
    begin(two)
    claim = claiming(Owner(), one, two)
    await turns()
    assert one.busy is not None

    claim.cancel()
    await asyncio.wait({claim})

    assert one.busy is None
    assert two.busy is not None
