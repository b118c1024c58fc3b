"""What is asked for while some are served is served next, together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from bots import turns

from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.sync.batching import Gathered


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
async def gathered(counter: Counter) -> AsyncIterator[Gathered[str]]:
    gathered = Gathered(counter.serve, "a counter")
    yield gathered
    await gathered.close()


def asking(gathered: Gathered[str], *items: str) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(gathered.ask(item)) for item in items]


async def test_who_comes_alone_is_served_at_once(gathered: Gathered[str], counter: Counter) -> None:
    (asked,) = asking(gathered, "a")
    await turns()

    assert counter.served == [["a"]]
    await counter.answers()
    assert asked.done()


async def test_who_comes_while_others_are_served_is_served_with_those_who_come_then(
    gathered: Gathered[str], counter: Counter
) -> None:
    first = asking(gathered, "a")
    await turns()
    later = asking(gathered, "b", "c")
    await turns()
    assert counter.served == [["a"]]

    await counter.answers()

    assert counter.served == [["a"], ["b", "c"]]
    assert [task.done() for task in (*first, *later)] == [True, False, False]
    await counter.answers()
    await asyncio.gather(*first, *later)


@pytest.mark.parametrize("error", [UnavailableError("gone"), RefusedError("not you")])
async def test_an_error_is_that_of_all_who_were_served_together_and_of_nobody_else(
    gathered: Gathered[str], counter: Counter, error: Exception
) -> None:
    together = asking(gathered, "a", "b")
    await turns()
    later = asking(gathered, "c")
    await turns()

    await counter.answers(error)

    for task in together:
        with pytest.raises(type(error), match=str(error)):
            await task
    await counter.answers()
    await asyncio.gather(*later)


async def test_who_has_asked_and_is_cancelled_is_served_all_the_same(gathered: Gathered[str], counter: Counter) -> None:
    leaving, staying = asking(gathered, "a", "b")
    await turns()
    leaving.cancel()
    await counter.answers()

    await staying
    assert leaving.cancelled()
    assert counter.served == [["a", "b"]]


async def test_who_waits_when_it_is_closed_is_told_so(gathered: Gathered[str], counter: Counter) -> None:
    tasks = asking(gathered, "a")
    await turns()
    tasks += asking(gathered, "b")
    await turns()

    await gathered.close()

    for task in tasks:
        with pytest.raises(UnavailableError, match="closed"):
            await task
    assert counter.served == [["a"]]
