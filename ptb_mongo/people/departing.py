"""Removes what has expired from the memory of a running bot: data, conversations, keyboards.

The change stream reports a deletion, but not whose it was: perhaps our own, after which a new document was created. So
we read before evicting anything. Somebody who writes at that very moment starts over, with what this update sets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from ptb_mongo.errors import DecodeError, PersistenceError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.session import Session
from ptb_mongo.sync.change_stream import Followed
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["Departures", "Memory"]

_LOGGER = get_logger(__name__)


class Memory(Protocol):
    """The application's memory."""

    def release(self, name: str, collection: Collection[Any], keys: list[Any]) -> None:
        """Evicts documents that no longer exist."""


class Departures:
    """Notices what has expired.

    Args:
        session: The open session.
        memory: The application's memory.
    """

    def __init__(self, session: Session, memory: Memory) -> None:
        self._session = session
        self._memory = memory
        self._gone: dict[str, set[Any]] = {}
        self._task: asyncio.Task[None] | None = None

    def around(self, followed: Mapping[str, Followed]) -> dict[str, Followed]:
        """The collections that the change stream follows, and the others whose documents expire."""
        watched = dict(followed)
        for name in self._session.expiring:
            scope = self._session.scopes.by_name[name]
            watched[scope.collection] = _Watched(followed.get(scope.collection), partial(self._note_gone, name, scope))
        return watched

    def _note_gone(self, name: str, scope: Collection[Any], document_id: Any) -> None:
        try:
            key = scope.key_of(document_id)
        except DecodeError:
            return
        replica = scope.replicas.get(key)
        if replica is None or replica.base is None:
            return  # nothing is in memory, or it was our own deletion
        replica.told()
        self._gone.setdefault(name, set()).add(key)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look(), name="ptb_mongo departures")

    async def _look(self) -> None:
        while self._gone:
            name, keys = self._gone.popitem()
            scope = self._session.scopes.by_name[name]
            asked = {key: replica for key in keys if (replica := scope.replicas.get(key)) is not None}
            try:
                await self._session.reader.read({scope: list(asked.values())})
            except PersistenceError as error:  # we notice that they are missing when somebody uses them
                _LOGGER.debug("Expired data stays in memory: %s", error)
                continue
            seen = self._session.seen
            gone = [
                key
                for key, replica in asked.items()
                if replica.base is None
                and not replica.is_unsaved
                and not (seen is not None and seen.is_recent(name, key))
            ]
            self._memory.release(name, scope, gone)

    async def close(self) -> None:
        """Ends the background task."""
        if self._task is not None:
            await cancel_and_wait(self._task)


class _Watched:
    """A collection whose deletions are noticed.

    Args:
        followed: The collection that receives all reports, if it is followed anyway.
        gone: Called with the `_id` of a deleted document.
    """

    def __init__(self, followed: Followed | None, gone: Any) -> None:
        self._followed = followed
        self._gone = gone

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """See `Followed`."""
        if self._followed is not None:
            self._followed.told(document_id, deleted=deleted)
        if deleted:
            self._gone(document_id)

    def is_own(self, document_id: Any, rev: Any) -> bool:
        """See `Followed`."""
        return self._followed is not None and self._followed.is_own(document_id, rev)

    def told_all(self) -> None:
        """See `Followed`."""
        if self._followed is not None:
            self._followed.told_all()
