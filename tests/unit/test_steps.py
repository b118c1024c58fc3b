"""Long work leaves everything else its turn, and what is read ahead is what was asked for.

The kind of fault: work that holds the event loop as long as there is work; or a batch that is lost, or a read that goes
on, because whoever waits for it stops waiting.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator

import pytest

from ptb_mongo.sync.steps import Steps, Turns, ahead, portions


async def test_work_pauses_after_some_milliseconds_and_not_before() -> None:
    ticks: list[int] = []
    asyncio.get_running_loop().call_soon(ticks.append, 1)

    with Steps() as steps:
        await steps.pause()
        assert ticks == []
        time.sleep(0.005)  # noqa: ASYNC251  (that is the work)
        await steps.pause()
        assert ticks == [1]


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_collector_waits_while_it_is_done_and_is_as_before_afterwards(*, enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with Steps():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


async def test_those_who_could_go_on_at_once_do_so_a_few_in_a_turn_of_the_loop_and_in_order() -> None:
    turns, gone_on, at = Turns(), [], []
    loop, rounds = asyncio.get_running_loop(), 0

    def count() -> None:
        nonlocal rounds
        rounds += 1
        if len(gone_on) < 99:
            loop.call_soon(count)

    async def go_on(number: int) -> None:
        await turns.turn()
        gone_on.append(number)
        at.append(rounds)

    tasks = [asyncio.create_task(go_on(number)) for number in range(100)]
    loop.call_soon(count)
    tasks[50].cancel()
    await asyncio.wait(tasks)

    assert gone_on == [number for number in range(100) if number != 50]
    assert max(at.count(one) for one in at) <= 16
    await turns.turn()


@pytest.mark.parametrize("sizes", [[], [5], [10] * 1000, [40_000] * 3, [5, 40_000, 5], [1000] * 100])
def test_portions_hold_everything_and_no_more_than_takes_a_short_time(sizes: list[int]) -> None:
    raws = [bytes(size) for size in sizes]
    found = list(portions(raws))

    assert [raw for some in found for raw in some] == raws
    assert all(some and len(some) <= 100 for some in found)
    assert all(len(some) == 1 or sum(map(len, some)) <= 32 * 1024 for some in found)


async def test_the_next_batch_is_read_while_one_is_in_use() -> None:
    began: list[int] = []

    async def batches() -> AsyncGenerator[int, None]:
        for number in range(3):
            began.append(number)
            await asyncio.sleep(0)
            yield number

    seen = []
    async for number in ahead(batches()):
        await asyncio.sleep(0)
        seen.append((number, len(began)))

    assert seen == [(0, 2), (1, 3), (2, 3)]


async def test_whoever_stops_ends_the_read_that_is_ahead() -> None:
    ended = []

    async def batches() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    items = ahead(batches())
    assert await anext(items) == 1
    await asyncio.sleep(0)
    await items.aclose()

    assert ended == [True]


async def test_an_error_of_the_read_ahead_comes_when_its_batch_is_asked_for() -> None:
    async def batches() -> AsyncGenerator[int, None]:
        yield 1
        raise ConnectionError

    items = ahead(batches())
    assert await anext(items) == 1
    with pytest.raises(ConnectionError):
        await anext(items)
