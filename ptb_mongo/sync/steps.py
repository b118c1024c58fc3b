"""Long work in short steps, with turns for everything else in between; and reads that are one batch ahead."""

from __future__ import annotations

import asyncio
import collections
import gc
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from ptb_mongo.waiting import begun, cancel_and_wait

if TYPE_CHECKING:
    from typing_extensions import Self  # not needed, and perhaps missing, at run time

__all__ = ["Steps", "Turns", "ahead", "portions"]

T = TypeVar("T")

_LONGEST: Final = 0.004  # seconds; one more portion may follow, and the collector
_AT_ONCE: Final = 16  # tasks that continue in one turn of the loop
_MOST: Final = 100  # documents
_MOST_BYTES: Final = 32 * 1024


class Steps:
    """A context manager for work that pauses after each step of some milliseconds.

    The garbage collector works in the same steps, and scans only what is new. On its own, it would scan everything that
    is loaded again and again, and the newest objects all at once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._collects = False
        self._ends = 0.0

    def __enter__(self) -> Self:
        self._collects = gc.isenabled()
        gc.disable()
        self._ends = self._loop.time() + _LONGEST
        return self

    def __exit__(self, *_: object) -> None:
        if self._collects:
            gc.enable()

    async def pause(self) -> None:
        """Gives everything else a turn, if it is time for that."""
        if self._loop.time() >= self._ends:
            if self._collects:
                gc.collect(1)
            await asyncio.sleep(0)
            self._ends = self._loop.time() + _LONGEST


class Turns:
    """Lets many waiting tasks continue a few at a time, in the order of their arrival."""

    def __init__(self) -> None:
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._left = _AT_ONCE

    async def turn(self) -> None:
        """Returns at once, unless many tasks have had a turn since everything else had one."""
        loop = asyncio.get_running_loop()
        if self._left == _AT_ONCE:
            loop.call_soon(self._begin, loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        waits = loop.create_future()
        self._waiting.append(waits)
        await waits

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = _AT_ONCE
        while self._left and self._waiting:
            if not (first := self._waiting.popleft()).done():  # otherwise, it was cancelled
                first.set_result(None)
                self._left -= 1
        if self._left < _AT_ONCE:
            loop.call_soon(self._begin, loop)


def portions(raws: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Documents in portions that each take a short time, unless a single document takes long."""
    start, size = 0, 0
    for end, raw in enumerate(raws):
        if size + len(raw) > _MOST_BYTES or end - start >= _MOST:
            if end > start:
                yield raws[start:end]
            start, size = end, 0
        size += len(raw)
    if start < len(raws):
        yield raws[start:]


async def ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items, none of which may be `None`; each is fetched while the previous one is in use."""

    async def fetch() -> T | None:
        return await anext(items, None)

    task = begun(fetch())
    try:
        while (found := await task) is not None:
            task = begun(fetch())
            yield found
    finally:
        await cancel_and_wait(task)
        await items.aclose()
