"""Tombstones of deleted documents: removed when no earlier insertion can arrive any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from ptb_mongo.codec import BURIED_FIELD
from ptb_mongo.driver import Driver
from ptb_mongo.errors import PersistenceError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import Version
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["LATE", "Graves"]

LATE: Final = 60.0
"""Seconds after which an earlier request can no longer arrive."""


class Graves:
    """Removes tombstones.

    Args:
        driver: The database.
        submit: Hands a document to the writer.
    """

    def __init__(self, driver: Driver, submit: Callable[[Collection[Any], Replica], object]) -> None:
        self._driver = driver
        self._submit = submit
        self._timers: set[asyncio.TimerHandle] = set()
        self._sweep: asyncio.Task[None] | None = None

    def dug(self, collection: Collection[Any], replica: Replica) -> None:
        """Notes a new tombstone, to be removed when no insertion can arrive any more."""
        rev = replica.rev

        def remove() -> None:
            self._timers.discard(timer)
            is_there = replica.is_buried and replica.rev == rev and not replica.is_unsaved
            # It yields, so that what somebody has stored since the deletion is not deleted with the tombstone.
            if is_there and replica.staged(Version(None, None, yields=True)):
                self._submit(collection, replica)

        timer = asyncio.get_running_loop().call_later(LATE, remove)
        self._timers.add(timer)

    def sweep_later(self, collections: Iterable[Collection[Any]]) -> None:
        """Removes earlier processes' tombstones, once none of their insertions can arrive any more."""
        names = {collection.collection: collection.ours_only for collection in collections}
        self._sweep = asyncio.get_running_loop().create_task(self._sweep_all(names), name="ptb_mongo graves")

    async def _sweep_all(self, fields: Mapping[str, Sequence[str]]) -> None:
        await asyncio.sleep(LATE)
        before = datetime.now(timezone.utc) - timedelta(seconds=LATE)
        for collection, names in fields.items():
            marks = {BURIED_FIELD: True, "updated_at": {"$lt": before}, **{name: {"$exists": False} for name in names}}
            with contextlib.suppress(PersistenceError):  # the next start tries again
                await self._driver.delete_all(collection, marks)

    @property
    def are_there(self) -> bool:
        """Whether some of this process's tombstones are left."""
        return bool(self._timers)

    async def close(self) -> None:
        """Leaves the remaining ones to the next start."""
        for timer in self._timers:
            timer.cancel()
        if self._sweep is not None:
            await cancel_and_wait(self._sweep)
