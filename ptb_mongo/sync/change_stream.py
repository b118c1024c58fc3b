"""The change stream: tells the scopes which documents somebody else has written, and nothing more.

Our own writes are filtered out on the server, by their `rev`. An event only marks a document stale; what
cannot be told for certain marks everything stale, so that an edit may be seen late, but is never missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from bson.timestamp import Timestamp

from ptb_mongo.driver import Driver
from ptb_mongo.errors import UnavailableError
from ptb_mongo.scopes.documents import Documents
from ptb_mongo.sync.lag import Lag
from ptb_mongo.sync.retry import end, until_it_works

__all__ = ["ChangeStream", "just_after"]

_LOGGER = logging.getLogger(__name__)
_LIFETIME: Final = 1.0  # seconds that a stream lasts at least


class Grants(Protocol):
    """Who wants to know of leases that are handed over."""

    collection: str

    def granted(self, ticket: str) -> None:
        """A lease was handed to the holder of a ticket."""

    def ask_again(self) -> None:
        """It may be that a lease was handed over without a word."""


def events_of_others(writer: str, collections: list[str], leases: str | None = None) -> list[dict[str, Any]]:
    """The pipeline that lets through what `writer` has not written, and the leases that are handed to it.

    An update is ours if it sets `rev` to one of ours. A replacement never is, as we make none; an insertion
    may be somebody's who puts back a copy of what we wrote, so its `rev` is looked at here.
    """
    ours = {"operationType": "update", "updateDescription.updatedFields.rev": {"$regex": f"^{writer}:"}}
    wanted: list[dict[str, Any]] = [{"ns.coll": {"$in": collections}}, {"ns.coll": {"$exists": False}}]
    fields = {"ns": 1, "operationType": 1, "documentKey": 1, "fullDocument.rev": 1, "wallTime": 1}
    if leases is not None:
        # The server tells of a small document that was updated as if it were a replacement.
        places = dict.fromkeys(("updateDescription.updatedFields.holder", "fullDocument.holder"), 1)
        ours_now = [{place: {"$regex": f"^{writer}:"}} for place in places]
        wanted.append({"ns.coll": leases, "operationType": {"$in": ["update", "replace"]}, "$or": ours_now})
        fields |= places
    return [{"$match": {"$nor": [ours], "$or": wanted}}, {"$project": fields}]


def just_after(hello: Mapping[str, Any]) -> Timestamp:
    """The server's time after an answer: what was written before is in everything that is read from now on."""
    answered: Timestamp = hello["operationTime"]
    return Timestamp(answered.time, answered.inc + 1)


class ChangeStream:
    """Follows the changes of a database.

    Args:
        driver: The database.
        writer: The name in the `rev` of our own writes.
        scopes: The documents of each collection that is followed.
        start_at: The server's time from which on nothing may be missed.
        lost: Called when the server does not answer.
        leases: Who waits for leases.
    """

    def __init__(
        self,
        driver: Driver,
        writer: str,
        scopes: Mapping[str, Documents[Any]],
        start_at: Timestamp,
        lost: Callable[[BaseException], None],
        leases: Grants | None = None,
    ) -> None:
        self._driver = driver
        self._scopes = scopes
        self._pipeline = events_of_others(writer, list(scopes), leases.collection if leases is not None else None)
        self._leases = leases
        self._start_at: Timestamp | None = start_at
        self._token: Mapping[str, Any] | None = None
        self._lag = Lag()
        self._lost = lost
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ptb_mongo watcher")

    @property
    def is_late(self) -> bool:
        """Whether changes of the last second were told later than usual; known from MongoDB 6.0 on."""
        return self._lag.is_large(time.time())

    async def close(self) -> None:
        """Ends the stream."""
        await end(self._task)

    async def _run(self) -> None:
        while True:
            # When `_follow` returns, a stream had been open: the pauses begin anew.
            await until_it_works(self._follow, self._failed)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, UnavailableError):
            self._lost(error)
        else:
            _LOGGER.warning("The change stream broke; everything loaded is read again when needed: %s", error)
            self._token = self._start_at = None

    async def _follow(self) -> None:
        if self._token is None and self._start_at is None:
            self._start_at = just_after(await self._driver.hello())
            self._mark_everything_stale()
        opened = None
        try:
            async for changes, token in self._driver.watch(
                self._pipeline, start_at=self._start_at, resume_after=self._token
            ):
                opened = opened or time.monotonic()
                for change in changes:
                    self._note(change)
                if token is not None:
                    self._token, self._start_at = token, None
        except UnavailableError:
            if opened is None:
                raise
            # An election, say; what breaks again and again is not opened again at once.
            await asyncio.sleep(max(0, opened + _LIFETIME - time.monotonic()))
            return
        self._token = self._start_at = None  # it has ended: the database was dropped

    def _note(self, change: Mapping[str, Any]) -> None:
        if (happened := change.get("wallTime")) is not None:
            self._lag.note(happened.timestamp(), time.time())
        operation = change["operationType"]
        collection = change.get("ns", {}).get("coll", "")
        if self._leases is not None and collection == self._leases.collection:
            fields = change.get("updateDescription", {}).get("updatedFields") or change["fullDocument"]
            self._leases.granted(fields["holder"])
            return
        scope = self._scopes.get(collection)
        if operation in {"insert", "update", "replace", "delete"}:
            if scope is None:
                return
            document_id = change["documentKey"]["_id"]
            rev = change.get("fullDocument", {}).get("rev") if operation == "insert" else None
            if rev is None or not scope.is_own(document_id, rev):
                scope.mark_stale(document_id, deleted=operation == "delete")
        elif scope is not None:
            scope.mark_all_stale()
        else:
            self._mark_everything_stale()

    def _mark_everything_stale(self) -> None:
        for scope in self._scopes.values():
            scope.mark_all_stale()
        if self._leases is not None:
            self._leases.ask_again()
