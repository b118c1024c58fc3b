"""Requests that come while a batch is being served form the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from bots import turns

from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.sync.batching import Batcher


class Counter:
    """Serves when a test says so."""

    def __init__(self) -> None:
        self.served: list[list[str]] = []
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def serve(self, items: list[str]) -> None:
        self.served.append(items)
        if error := await self._answers.get():
            raise error

    async def answers(self, error: Exception | None = None) -> None:
        self._answers.put_nowait(error)
        await turns()


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
async def batcher(counter: Counter) -> AsyncIterator[Batcher[str]]:
    batcher = Batcher(counter.serve, "a counter")
    yield batcher
    await batcher.close()


def asking(batcher: Batcher[str], *items: str) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(batcher.submit(item)) for item in items]


async def test_a_single_request_is_served_at_once(batcher: Batcher[str], counter: Counter) -> None:
    (asked,) = asking(batcher, "a")
    await turns()

    assert counter.served == [["a"]]
    await counter.answers()
    assert asked.done()


async def test_requests_during_a_batch_are_served_together_afterwards(batcher: Batcher[str], counter: Counter) -> None:
    first = asking(batcher, "a")
    await turns()
    later = asking(batcher, "b", "c")
    await turns()
    assert counter.served == [["a"]]

    await counter.answers()

    assert counter.served == [["a"], ["b", "c"]]
    assert [task.done() for task in (*first, *later)] == [True, False, False]
    await counter.answers()
    await asyncio.gather(*first, *later)


@pytest.mark.parametrize("error", [UnavailableError("gone"), RefusedError("not you")])
async def test_an_error_is_that_of_all_who_were_served_together_and_of_nobody_else(
    batcher: Batcher[str], counter: Counter, error: Exception
) -> None:
    together = asking(batcher, "a", "b")
    await turns()
    later = asking(batcher, "c")
    await turns()

    await counter.answers(error)

    for task in together:
        with pytest.raises(type(error), match=str(error)):
            await task
    await counter.answers()
    await asyncio.gather(*later)


async def test_a_request_whose_caller_is_cancelled_is_served_nevertheless(
    batcher: Batcher[str], counter: Counter
) -> None:
    leaving, staying = asking(batcher, "a", "b")
    await turns()
    leaving.cancel()
    await counter.answers()

    await staying
    assert leaving.cancelled()
    assert counter.served == [["a", "b"]]


async def test_a_caller_that_waits_when_it_is_closed_gets_an_error(batcher: Batcher[str], counter: Counter) -> None:
    tasks = asking(batcher, "a")
    await turns()
    tasks += asking(batcher, "b")
    await turns()

    await batcher.close()

    for task in tasks:
        with pytest.raises(UnavailableError, match="closed"):
            await task
    assert counter.served == [["a"]]
