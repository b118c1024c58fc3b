"""When somebody's last update came: the field `seen_at`, by which a TTL index deletes whoever has left.

It is written together with what is saved anyway. Those who only read are noted in memory, and written in bulk later:
once per period, which is a fiftieth of the time after which they expire, but at least a day. Each day, a part of those
noted is forgotten, so that not all of them are written on the same day. The exact minute does not matter. An update of
somebody who was already noted costs one lookup in a set.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, Final, Generic, Literal, TypeVar

from ptb_mongo.codec import BURIED_FIELD
from ptb_mongo.driver import Driver
from ptb_mongo.driver.operations import Insert, Operation, Update
from ptb_mongo.errors import PersistenceError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.types import Expire, KeyParts
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["SEEN_AT", "Seen", "ahead_of_us"]

_LOGGER = get_logger(__name__)
SEEN_AT: Final = "seen_at"
_DAY: Final = 86_400.0
_PERIODS: Final = 4  # before data could expire; active users are noted at least once in each
_LONG: Final = 50  # periods, if each is longer than a day
_DELAY: Final = 60.0  # seconds until noted users are written
_CHUNK: Final = 1000
_STEP: Final = 2000  # conversations that are searched at once
_Key = TypeVar("_Key")

People = Literal["user_data", "chat_data"]
Ids = tuple["int | None", "int | None"]
"""The chat's id and the user's id of an update, if it has them."""


def ahead_of_us(hello: Mapping[str, Any]) -> dtm.timedelta:
    """How far the server's clock, which decides when documents expire, is ahead of this machine's."""
    there = hello.get("localTime")
    if not isinstance(there, dtm.datetime):
        return dtm.timedelta()
    there = there if there.tzinfo else there.replace(tzinfo=dtm.timezone.utc)
    return there - dtm.datetime.now(dtm.timezone.utc)


class _Noted(Generic[_Key]):
    """Users, chats, or users in groups that were noted."""

    def __init__(self) -> None:
        self.recent: set[_Key] = set()  # in this period
        self.unwritten: set[_Key] = set()
        self.saved: set[_Key] = set()  # those whose document was written since they were noted

    def add(self, key: _Key) -> None:
        """Notes somebody."""
        self.recent.add(key)
        self.unwritten.add(key)

    def end(self, day: int, days: int) -> None:
        """Ends the period of those whose turn it is on this day of the period."""
        over = {key for key in self.recent if hash(key) % days == day % days} - self.unwritten
        self.recent -= over
        self.saved &= self.recent  # a save in a past period says nothing about the next one


class Seen:
    """Notes who was seen, and writes it.

    Args:
        driver: The database.
        expire: The period after which documents expire, by collection.
        collections: The collections, by the same names.
        ahead: How far the server's clock is ahead of this machine's.

    Attributes:
        days: The days of a period, in which somebody is written once; shorter "days" if `expire` is short.
        parts: Tells what the keys of conversations begin with.
    """

    def __init__(
        self, driver: Driver, expire: Expire, collections: Mapping[str, Collection[Any]], ahead: dtm.timedelta
    ) -> None:
        self._driver = driver
        self._expire = expire
        self._collections = collections
        self._ahead = ahead
        self._noted: dict[str, _Noted[int]] = {"user_data": _Noted(), "chat_data": _Noted()}
        self._talks: _Noted[tuple[int, int]] | None = _Noted() if "conversations" in expire else None  # in groups
        self._has_users = self._has_chats = False  # PTB refreshes a chat and then its user, if they are stored
        self._chat = (0, 0)  # the task of the last refresh of a chat, and the chat's id
        self.parts: KeyParts = lambda _: None
        shortest = min(period.total_seconds() for period in expire.values())
        self._day = min(_DAY, shortest / _PERIODS)
        self.days = max(1, int(shortest / _LONG / _DAY))  # that a period has
        self._ended = 0
        self._loop = asyncio.get_running_loop()
        self._day_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        for name in expire:
            collections[name].stamp = partial(self._stamped, self._noted.get(name), collections[name])

    # -- noting -----------------------------------------------------------------------------------------

    def note(self, name: People, key: int, ids: Callable[[], Ids | None]) -> None:
        """Notes that something is done for a user or in a chat.

        Args:
            name: The collection, which says whether it is a user or a chat.
            key: The id.
            ids: Returns the ids of the update; `None` for a job.
        """
        noted = self._noted[name]
        if self._talks is not None and not self._is_talk_known(self._talks, name, key):
            self._note_talk(self._talks, ids())
        if key in noted.recent or ids() is None:
            return
        noted.add(key)
        self._write_later()

    def _is_talk_known(self, talks: _Noted[tuple[int, int]], name: People, key: int) -> bool:
        """Whether this user is already noted for this chat, or the refresh of the user will decide that."""
        task = id(asyncio.current_task())
        if name == "chat_data":
            self._has_chats, self._chat = True, (task, key)
            return self._has_users
        self._has_users = True
        of_task, chat = self._chat
        return of_task == task and (chat == key or (chat, key) in talks.recent)

    def _note_talk(self, talks: _Noted[tuple[int, int]], ids: Ids | None) -> None:
        """Notes that a user has written in a group; a private chat needs no extra note."""
        if ids is None or (ids[0] == ids[1] and self._has_chats):
            return
        chat, user = ids
        if chat is not None and user is not None and (chat, user) not in talks.recent:
            talks.add((chat, user))
            self._write_later()

    def _end_day(self) -> None:
        self._day_timer = None
        self._ended += 1
        for noted in self._all():
            noted.end(self._ended, self.days)

    def _all(self) -> list[_Noted[Any]]:
        return [*self._noted.values(), *([] if self._talks is None else [self._talks])]

    def is_recent(self, name: str, key: int) -> bool:
        """Whether an update has come from there recently."""
        return name in self._noted and key in self._noted[name].recent

    def _write_later(self) -> None:
        if self._day_timer is None:
            self._day_timer = self._loop.call_later(self._day, self._end_day)
        if self._timer is None:
            self._timer = self._loop.call_later(min(_DELAY, self._day / 2), self._write_in_background)

    def _write_in_background(self) -> None:
        self._timer = None
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self.write(), name="ptb_mongo seen")

    # -- writing ----------------------------------------------------------------------------------------

    def _stamped(
        self, noted: _Noted[int] | None, collection: Collection[Any], replica: Replica, operation: Operation
    ) -> Operation:
        """A write that also sets `seen_at`, if its document was seen or is new."""
        if isinstance(operation, Insert):
            if BURIED_FIELD in operation.fields:
                return operation
            self._is_saved(noted, collection, replica)
            return operation._replace(fields={**operation.fields, SEEN_AT: self._now()})
        if not isinstance(operation, Update) or BURIED_FIELD in operation.extra:
            return operation
        if noted is not None and collection.key_of(replica.id) not in noted.unwritten:
            return operation  # it has been written already, or a job or another worker's turn has changed it
        self._is_saved(noted, collection, replica)
        return operation._replace(extra={**operation.extra, SEEN_AT: self._now()})

    @staticmethod
    def _is_saved(noted: _Noted[int] | None, collection: Collection[Any], replica: Replica) -> None:
        if noted is not None:
            noted.saved.add(collection.key_of(replica.id))

    def _now(self) -> dtm.datetime:
        return dtm.datetime.now(dtm.timezone.utc) + self._ahead

    async def write(self) -> None:
        """Writes who was seen, except for those whose document was written meanwhile."""
        new = [(noted, noted.unwritten) for noted in self._all()]
        for noted, _ in new:
            noted.unwritten = set()
        users, chats, *talks = (keys for _, keys in new)
        try:
            if talks:
                await self._touch("conversations", await self._conversations(users, chats, talks[0]))
            for name, keys in (("user_data", users), ("chat_data", chats)):
                if name in self._expire:
                    await self._touch(name, self._unsaved(name, keys))
        except PersistenceError as error:
            _LOGGER.debug("Who was seen is not written; it is tried again: %s", error)
            for noted, keys in new:
                noted.unwritten |= keys
            self._write_later()

    def _unsaved(self, name: str, keys: Iterable[int]) -> list[int]:
        """Those whose document has not been written since they were noted, or is still waiting to be."""
        noted, replicas = self._noted[name], self._collections[name].replicas
        saved, noted.saved = noted.saved, set()

        def waits(key: int) -> bool:
            return (replica := replicas.get(key)) is not None and replica.is_unsaved

        return [key for key in keys if key not in saved or waits(key)]

    async def _conversations(self, users: set[int], chats: set[int], talks: set[tuple[int, int]]) -> list[Any]:
        """The conversations of those who were seen; other members' messages in a group do not count."""
        writers = users.union((user for _, user in talks), (chat for chat in chats if chat > 0))
        places = chats.union(chat for chat, _ in talks)
        parts_of = cache(self.parts)  # each time, it looks through all handlers
        found = []
        for number, ((name, key), replica) in enumerate([*self._collections["conversations"].replicas.items()]):
            per_chat, per_user = parts_of(name) or (len(key) > 1, True)
            if per_chat and per_user:
                is_seen = key[:2] in talks or (key[:1] == key[1:2] and key[0] in chats)
            else:
                is_seen = bool(per_chat or per_user) and key[:1] != () and key[0] in (places if per_chat else writers)
            if is_seen and replica.base is not None:
                found.append(replica.id)
            if number % _STEP == _STEP - 1:
                await asyncio.sleep(0)
        return found

    async def _touch(self, name: str, ids: list[Any]) -> None:
        """Sets `seen_at` of existing documents, unless it was set within the last half period.

        So a new process, which does not know what the previous one has written, does not write everything again.
        """
        collection = self._collections[name].collection
        half = dtm.timedelta(seconds=self._day * self.days / 2)
        for start in range(0, len(ids), _CHUNK):
            now = self._now()
            lately = {SEEN_AT: {"$gt": now - half, "$lte": now + half}}  # a stranger may have written any date
            query = {"_id": {"$in": ids[start : start + _CHUNK]}, "$nor": [lately]}
            await self._driver.touch(collection, query, SEEN_AT)

    async def close(self) -> None:
        """Writes the noted users, if the server answers at once."""
        if self._day_timer is not None:
            self._day_timer.cancel()
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
