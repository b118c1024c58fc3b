"""Who is writing which document: at most one write of a document is in flight, whoever sends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from ptb_mongo.replica.document import Replica

__all__ = ["Claims"]


class Claims:
    """The documents that are being written."""

    def __init__(self) -> None:
        self._held: set[Replica] = set()
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def hold(self, replicas: Collection[Replica]) -> AsyncIterator[None]:
        """Waits until nobody is writing these documents, and keeps others from writing them."""
        while not self._held.isdisjoint(replicas):
            self._freed.clear()  # if another document had set it, `wait` would not let anybody else run
            await self._freed.wait()
        mine = set(replicas)
        self._held |= mine
        try:
            yield
        finally:
            self._held -= mine
            self._freed.set()
