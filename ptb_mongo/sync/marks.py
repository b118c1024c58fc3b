"""Which updates are done: Telegram repeats an update that it got no answer to, although it may have been handled.

For each update that was delivered and saved, there is one document, for a day. It is read together with the data, and
written in the background, in batches; under a lease, before the lease is released. So if a worker dies between saving
and that, the document is missing: only a transaction prevents this.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import Iterable, Sequence
from typing import Final

import bson
from bson.datetime_ms import DatetimeMS

from ptb_mongo.driver import Driver
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.errors import PersistenceError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.moments import Moments
from ptb_mongo.sync.batching import Batcher

__all__ = ["Mark", "Marks"]

_LOGGER = get_logger(__name__)
_REMEMBERED: Final = 24 * 60 * 60
"""Seconds for which it is known that an update is done: Telegram keeps updates for so long."""
_BUSY: Final = 1.0  # seconds between two updates of a worker that is busy
_PATIENCE: Final = 2.0  # seconds
_RECENT: Final = 1000  # updates that this worker itself knows to be done


class Mark(Moments):
    """Whether an update is done, according to one read.

    Args:
        update_id: The update's id.

    Attributes:
        id: The same.
        is_done: Whether it was done.
        is_in_doubt: See `Replica`; always false.
    """

    is_in_doubt: Final = False

    def __init__(self, update_id: int) -> None:
        super().__init__(known=False)
        self.told()
        self.id = update_id
        self.is_done = False

    def seen(self, moment: int, *, is_done: bool) -> None:
        """Notes whether it was done, according to a read that began at a moment."""
        self.is_done = is_done
        self._know(moment)


class Marks:
    """The updates that are done, as a `DocumentCollection` for a `Reader`.

    Args:
        driver: The database.
        collection: Their collection.
    """

    fields = ("at",)

    def __init__(self, driver: Driver, collection: str) -> None:
        self.collection = collection
        self._driver = driver
        self._recent: dict[int, None] = {}
        self._highest, self._handled_at = 0, float("-inf")
        self._written = Batcher(self._write_together, "ptb_mongo updates that are done")

    async def prepare(self) -> None:
        """Creates the index by which the server deletes them in time."""
        await self._driver.create_index(self.collection, "at", expireAfterSeconds=_REMEMBERED)

    def is_surely_new(self, update_id: int) -> bool:
        """Whether an update is very probably not a repeated one: its id is the highest here, and one was just handled.

        A repeated update has a lower id than those that have come since.
        """
        now = asyncio.get_running_loop().time()
        is_new = update_id > self._highest and now < self._handled_at + _BUSY
        self._highest, self._handled_at = max(self._highest, update_id), now
        return is_new

    def is_recent(self, update_id: int) -> bool:
        """Whether this worker has recently done an update."""
        return update_id in self._recent

    def done(self, update_id: int) -> None:
        """Notes that an update is done."""
        self._recent[update_id] = None
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    async def write(self, update_id: int) -> None:
        """Lets the other workers know that an update is done; if that fails, it may be handled once more."""
        try:
            await self._written.submit(update_id)
        except PersistenceError as error:
            _LOGGER.warning("The record that update %d is done was not stored: %s", update_id, error)

    def lost(self, asked: Sequence[Mark], raws: Sequence[bytes]) -> list[Mark]:  # noqa: ARG002
        """See `DocumentCollection.lost`; most updates were never handled before."""
        return []

    async def _write_together(self, update_ids: list[int]) -> None:
        at = [{"$set": {"at": "$$NOW"}}]
        await self._driver.update_each(self.collection, [({"_id": one}, at) for one in update_ids], upsert=True)

    async def close(self, *, waits: bool) -> None:
        """Ends what is in progress; with `waits`, when that is written, if it takes no longer than some seconds."""
        if waits:  # a bot that goes on after a `flush` would handle these once more
            await self._written.served(_PATIENCE)
        await self._written.close()

    # -- reading ----------------------------------------------------------------------------------------

    def answered(self, asked: Iterable[tuple[Mark, int]], raws: Iterable[bytes], *, lasts: bool) -> None:  # noqa: ARG002
        """See `DocumentCollection.answered`."""
        found = {one["_id"] for raw in raws if _is_date((one := bson.decode(raw, ANYTHING)).get("at"))}
        for mark, moment in asked:
            mark.seen(moment, is_done=mark.id in found)

    def could_not_be_used(self, mark: Mark, error: Exception, moment: int | None = None) -> None:  # noqa: ARG002
        """See `DocumentCollection.could_not_be_used`; an update counts as not done if it cannot be determined."""
        mark.seen(mark.now if moment is None else moment, is_done=False)


def _is_date(at: object) -> bool:
    """Whether it is a date, as the server sets it: without one, it is not a mark, and would never expire."""
    return isinstance(at, (dtm.datetime, DatetimeMS))
