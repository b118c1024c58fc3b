"""When an update last came from whom: the field `seen_at`, after which MongoDB's own index deletes who has gone.

It is written together with what is saved anyway. Who only reads is noted in memory, and written in bulk some time
later, at most once a day each; nothing depends on the minute. An update of somebody who was noted already costs one
look into a set.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal

from ptb_mongo.codec import BURIED_FIELD
from ptb_mongo.driver import Driver
from ptb_mongo.driver.operations import Insert, Operation, Update
from ptb_mongo.errors import PersistenceError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.types import Expire
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["SEEN_AT", "Seen", "ahead_of_us"]

_LOGGER = get_logger(__name__)
SEEN_AT: Final = "seen_at"
_DAY: Final = 86_400.0
_PERIODS: Final = 4  # in which who is active is noted at least once before they could expire
_DELAY: Final = 60.0  # seconds until what was noted is written
_CHUNK: Final = 1000
_STEP: Final = 2000  # conversations that are looked through at once

People = Literal["user_data", "chat_data"]


def ahead_of_us(hello: Mapping[str, Any]) -> dtm.timedelta:
    """How far the server's clock, by which documents expire, is ahead of this one."""
    there = hello.get("localTime")
    if not isinstance(there, dtm.datetime):
        return dtm.timedelta()
    there = there if there.tzinfo else there.replace(tzinfo=dtm.timezone.utc)
    return there - dtm.datetime.now(dtm.timezone.utc)


class _Noted:
    """Users, or chats."""

    def __init__(self) -> None:
        self.recent: set[int] = set()  # in this period
        self.unwritten: set[int] = set()
        self.saved: set[int] = set()  # whose document was written since they were noted


class Seen:
    """Notes who was seen, and writes it.

    Args:
        driver: The database.
        expire: After how long documents expire, by the name of their collection.
        collections: The collections, by the same names.
        ahead: How far the server's clock is ahead of this one.
    """

    def __init__(
        self, driver: Driver, expire: Expire, collections: Mapping[str, Collection[Any]], ahead: dtm.timedelta
    ) -> None:
        self._driver = driver
        self._expire = expire
        self._collections = collections
        self._ahead = ahead
        self._noted: dict[str, _Noted] = {"user_data": _Noted(), "chat_data": _Noted()}
        self._period = min([_DAY, *(period.total_seconds() / _PERIODS for period in expire.values())])
        self._loop = asyncio.get_running_loop()
        self._period_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        for name in expire:
            collections[name].stamp = partial(self._stamped, self._noted.get(name), collections[name])

    # -- noting -----------------------------------------------------------------------------------------

    def note(self, name: People, key: int, is_update: Callable[[], bool]) -> None:
        """Something is done for a user or in a chat.

        Args:
            name: Which.
            key: The id.
            is_update: Says whether it is an update of theirs; a job is none.
        """
        noted = self._noted[name]
        if key in noted.recent or not is_update():
            return
        if self._period_timer is None:
            self._period_timer = self._loop.call_later(self._period, self._end_period)
        noted.recent.add(key)
        noted.unwritten.add(key)
        self._write_later()

    def _end_period(self) -> None:
        self._period_timer = None
        for noted in self._noted.values():
            noted.recent = set(noted.unwritten)
            noted.saved &= noted.recent  # what was saved in a period that is over says nothing of the next

    def is_recent(self, name: str, key: int) -> bool:
        """Whether an update has come from there lately."""
        return name in self._noted and key in self._noted[name].recent

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(min(_DELAY, self._period / 2), self._write_in_background)

    def _write_in_background(self) -> None:
        self._timer = None
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self.write(), name="ptb_mongo seen")

    # -- writing ----------------------------------------------------------------------------------------

    def _stamped(
        self, noted: _Noted | None, collection: Collection[Any], replica: Replica, operation: Operation
    ) -> Operation:
        """A write, which also says that its document was seen: if it was, or is new."""
        if isinstance(operation, Insert):
            if BURIED_FIELD in operation.fields:
                return operation
            self._is_saved(noted, collection, replica)
            return operation._replace(fields={**operation.fields, SEEN_AT: self._now()})
        if not isinstance(operation, Update) or BURIED_FIELD in operation.extra:
            return operation
        if noted is not None and collection.key_of(replica.id) not in noted.recent:
            return operation  # a job has changed it, or another worker's turn
        self._is_saved(noted, collection, replica)
        return operation._replace(extra={**operation.extra, SEEN_AT: self._now()})

    @staticmethod
    def _is_saved(noted: _Noted | None, collection: Collection[Any], replica: Replica) -> None:
        if noted is not None:
            noted.saved.add(collection.key_of(replica.id))

    def _now(self) -> dtm.datetime:
        return dtm.datetime.now(dtm.timezone.utc) + self._ahead

    async def write(self) -> None:
        """Writes who was seen, but for those whose document was written meanwhile."""
        new = {name: noted.unwritten for name, noted in self._noted.items()}
        for noted in self._noted.values():
            noted.unwritten = set()
        try:
            if "conversations" in self._expire:
                await self._touch("conversations", await self._conversations(set().union(*new.values())))
            for name, keys in new.items():
                if name in self._expire:
                    await self._touch(name, self._unsaved(name, keys))
        except PersistenceError as error:
            _LOGGER.debug("Who was seen is not written; it is tried again: %s", error)
            for name, keys in new.items():
                self._noted[name].unwritten |= keys
            self._write_later()

    def _unsaved(self, name: str, keys: Iterable[int]) -> list[int]:
        """Those whose document was not written since they were noted, or waits to be written."""
        noted, replicas = self._noted[name], self._collections[name].replicas
        saved, noted.saved = noted.saved, set()

        def waits(key: int) -> bool:
            return (replica := replicas.get(key)) is not None and replica.is_unsaved

        return [key for key in keys if key not in saved or waits(key)]

    async def _conversations(self, new: set[int]) -> list[Any]:
        """The conversations of those who were seen: of a user in a chat, both were."""
        recent = set().union(*(noted.recent for noted in self._noted.values()))
        found = []
        for number, ((_, key), replica) in enumerate([*self._collections["conversations"].replicas.items()]):
            who = [part for part in key[:2] if type(part) is int]
            if replica.base is not None and not new.isdisjoint(who) and recent.issuperset(who[:1]):
                found.append(replica.id)
            if number % _STEP == _STEP - 1:
                await asyncio.sleep(0)
        return found

    async def _touch(self, name: str, ids: list[Any]) -> None:
        """Writes that documents were seen, as far as they exist."""
        collection = self._collections[name].collection
        for start in range(0, len(ids), _CHUNK):
            await self._driver.touch(collection, {"_id": {"$in": ids[start : start + _CHUNK]}}, SEEN_AT)

    async def close(self) -> None:
        """Writes what was noted, if the server answers at once."""
        if self._period_timer is not None:
            self._period_timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await cancel_and_wait(self._task)
        for name in self._expire:
            self._collections[name].stamp = None
        with contextlib.suppress(PersistenceError, asyncio.TimeoutError):
            await asyncio.wait_for(self.write(), 1)
        if self._timer is not None:
            self._timer.cancel()
