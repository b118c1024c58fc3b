"""Who writes which document now: at most one write of a document is in flight, whoever sends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from ptb_mongo.replica.document import Replica

__all__ = ["Claims"]


class Claims:
    """The documents that somebody is writing."""

    def __init__(self) -> None:
        self._held: set[Replica] = set()
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def hold(self, replicas: Collection[Replica]) -> AsyncIterator[None]:
        """Waits until nobody writes some documents, and keeps others from writing them."""
        while not self._held.isdisjoint(replicas):
            self._freed.clear()  # set, it would let nobody else run, as it may be for another document
            await self._freed.wait()
        mine = set(replicas)
        self._held |= mine
        try:
            yield
        finally:
            self._held -= mine
            self._freed.set()
