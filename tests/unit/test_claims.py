"""A task that waits until nobody is writing a document lets all others run meanwhile.

The kind: an event stays set, so that waiting for it in a loop takes no time, and never lets anybody else run, not even
the task that would end the loop.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack

from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.claims import Claims


def test_waiting_for_a_document_does_not_stop_the_loop_when_another_one_is_written() -> None:
    done: list[str] = []

    async def take_turns() -> None:
        claims, (first, second) = Claims(), (Replica(1), Replica(2))

        async def waits() -> None:
            async with claims.hold([first]):
                done.append("waiter")

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(claims.hold([first]))
            async with claims.hold([second]):
                waiter = asyncio.create_task(waits())
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)  # in which the waiter hears that the second one is free
            done.append("first")
        await waiter

    # In a thread of its own: nothing ends a loop that nobody else runs in.
    thread = threading.Thread(target=asyncio.run, args=(take_turns(),), daemon=True)
    thread.start()
    thread.join(10)
    assert done == ["first", "waiter"]


def test_all_who_wait_for_documents_get_them() -> None:
    async def take_turns() -> int:
        claims, replicas = Claims(), [Replica(number) for number in range(3)]
        held = 0

        async def write(number: int) -> None:
            nonlocal held
            async with claims.hold([replicas[number % 3], replicas[(number + 1) % 3]]):
                held += 1
                for _ in range(number % 4):
                    await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(*map(write, range(30))), 10)
        return held

    assert asyncio.run(take_turns()) == 30
