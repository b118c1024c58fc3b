"""Reads what a start loads in one round trip, as PTB asks for one kind of data after the other.

Only small amounts are read in advance. What is not among the first documents is read when PTB asks for it, like
everything after the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ptb_mongo.driver import Driver, Selection
from ptb_mongo.errors import PersistenceError
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["FirstRead"]

_MOST: Final = 1000  # documents
_LASTS: Final = 10.0  # seconds after which the calls of a start read again
_PAUSE: Final = 0.05  # seconds: these calls follow each other closely

_Found = list["list[bytes] | None"]


class FirstRead:
    """Reads documents of several collections before they are asked for.

    Args:
        driver: The database.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._wanted: Sequence[Selection] = ()
        self._task: asyncio.Task[_Found] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._taken: set[tuple[str, str]] = set()

    def begin(self, wanted: Sequence[Selection]) -> None:
        """Begins to read; a collection with many documents should come last."""
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        self._wanted, self._until = wanted, loop.time() + _LASTS
        self._task = loop.create_task(self._read(wanted), name="ptb_mongo first read")

    async def _read(self, wanted: Sequence[Selection]) -> _Found:
        try:
            return await self._driver.first_documents(wanted, _MOST)
        except (PersistenceError, ValueError):  # the caller reads it again, and reports the error
            return [None for _ in wanted]

    async def take(self, collection: str, query: Mapping[str, Any], part: str = "") -> list[bytes] | None:
        """All matching documents of a collection; `None` if they must be read.

        Args:
            collection: The collection.
            query: The filter.
            part: The part that is taken; each part can be taken once, and is then read from the database.
        """
        task, wanted = self._task, [(one.collection, one.query) for one in self._wanted]
        if task is None or (collection, query) not in wanted or (collection, part) in self._taken:
            return None
        self._taken.add((collection, part))
        await asyncio.wait({task})
        if task.cancelled() or self._task is not task or asyncio.get_running_loop().time() > self._until:
            return None
        return task.result()[wanted.index((collection, query))]

    def goes_on(self) -> None:
        """Notes that a call of a start has begun."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def may_be_over(self) -> None:
        """Notes that a call of a start has ended: the next one, if any, follows at once."""
        if self._wanted and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self.forget)

    def forget(self) -> None:
        """Forgets everything after the start, as it may have changed since."""
        self._wanted = ()
        if self._task is not None and self._task.done():
            self._task = None

    async def close(self) -> None:
        """Ends the read."""
        self.goes_on()
        self.forget()
        if self._task is not None:
            await cancel_and_wait(self._task)
