"""What a start loads, read in one round trip: PTB asks for one kind of data after the other.

Only as much as is small is read beforehand. What is not among the first documents is read when it is asked for, as
everything is that comes later than a start.
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
_LASTS: Final = 10.0  # seconds: later, what the calls of a start load is read anew
_PAUSE: Final = 0.05  # seconds: these calls follow one another

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
        """Begins to read; a collection with many documents is best the last."""
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        self._wanted, self._until = wanted, loop.time() + _LASTS
        self._task = loop.create_task(self._read(wanted), name="ptb_mongo first read")

    async def _read(self, wanted: Sequence[Selection]) -> _Found:
        try:
            return await self._driver.first_documents(wanted, _MOST)
        except (PersistenceError, ValueError):  # whoever asks reads it again, and reports it
            return [None for _ in wanted]

    async def take(self, collection: str, query: Mapping[str, Any], part: str = "") -> list[bytes] | None:
        """All documents of a collection that match; `None` if they have to be read.

        Args:
            collection: The collection.
            query: What they match.
            part: What is taken of them; who takes it once more gets what is stored then.
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
        """A call of a start has begun."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def may_be_over(self) -> None:
        """A call of a start has ended: the next one follows at once, or is none."""
        if self._wanted and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self.forget)

    def forget(self) -> None:
        """The start is over: what was read may have changed since."""
        self._wanted = ()
        if self._task is not None and self._task.done():
            self._task = None

    async def close(self) -> None:
        """Ends the read."""
        self.goes_on()
        self.forget()
        if self._task is not None:
            await cancel_and_wait(self._task)
