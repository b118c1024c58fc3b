"""The change stream: tells the scopes only which documents somebody else has written.

The server filters out our own writes by their `rev`. An event only marks a document as stale. If events may have been
missed, everything is marked as stale: an edit may be seen late, but is never missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from bson.timestamp import Timestamp

from ptb_mongo.driver import Driver
from ptb_mongo.errors import UnavailableError
from ptb_mongo.log import get_logger
from ptb_mongo.sync.availability import WATCHING, Availability
from ptb_mongo.sync.lag import Lag
from ptb_mongo.sync.retry import retry_forever
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["ChangeStream", "Departing", "Followed", "just_after"]

_LOGGER = get_logger(__name__)
_LIFETIME: Final = 1.0  # seconds before a stream that broke is opened again
_OF_A_DOCUMENT: Final = {"insert", "update", "replace", "delete"}
_ENDS: Final = ("drop", "rename")  # of a collection


class Grants(Protocol):
    """Handles leases that are handed over."""

    collection: str

    def granted(self, ticket: str) -> None:
        """Notes that a lease was handed over to a ticket."""

    def ask_again(self) -> None:
        """Notes that a lease may have been handed over unnoticed."""


class Followed(Protocol):
    """A collection that is followed."""

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """Notes that somebody else has written or deleted a document."""

    def is_own(self, document_id: Any, rev: Any) -> bool:
        """Whether `rev` belongs to a write of ours."""

    def told_all(self) -> None:
        """Notes that any document may have been written."""


class Departing(Protocol):
    """Notices what has expired; see `people.departing`."""

    def around(self, followed: Mapping[str, Followed]) -> dict[str, Followed]:
        """The collections that the change stream follows."""

    async def close(self) -> None:
        """Ends the background tasks."""


def events_of_others(
    writer: str, collections: list[str], leases: str | None = None, *, expire: bool = False
) -> list[dict[str, Any]]:
    """The pipeline that passes what writers other than `writer` have written, and the leases handed to `writer`.

    An update is ours if it sets `rev` to one of ours. A replacement is passed: we make none, though the server may
    report one if we move keys of a small document. An insertion may be a copy of our document that somebody puts back,
    so `_note` compares its `rev`.

    If documents expire, an update that sets nothing but `seen_at` is filtered out, too.

    If another collection replaces one of these, by `$out` or `renameCollection`, the event has the old name of that
    collection; its new name is in `to`.
    """
    ours = {"operationType": "update", "updateDescription.updatedFields.rev": {"$regex": f"^{writer}:"}}
    replaced = collections if leases is None else [*collections, leases]
    wanted: list[dict[str, Any]] = [
        {"ns.coll": {"$in": collections}},
        {"ns.coll": {"$exists": False}},
        {"to.coll": {"$in": replaced}},
    ]
    fields: dict[str, Any] = {
        "ns": 1,
        "to": 1,
        "operationType": 1,
        "documentKey": 1,
        "fullDocument.rev": 1,
        "wallTime": 1,
    }
    if leases is not None:
        wanted.append({"ns.coll": leases, "operationType": {"$in": list(_ENDS)}})
        # The server may report an update of a small document as a replacement.
        places = dict.fromkeys(("updateDescription.updatedFields.holder", "fullDocument.holder"), 1)
        ours_now = [{place: {"$regex": f"^{writer}:"}} for place in places]
        wanted.append({"ns.coll": leases, "operationType": {"$in": ["update", "replace"]}, "$or": ours_now})
        fields |= places
    stages: list[dict[str, Any]] = [{"$match": {"$nor": [ours], "$or": wanted}}, {"$project": fields}]
    if not expire:
        return stages
    # The server (6.0.5) refuses to compare whole fields of an event in a `$match` that it rewrites.
    changed = {"$eq": ["$updateDescription.updatedFields", {"seen_at": "$updateDescription.updatedFields.seen_at"}]}
    nothing_else = {"$eq": ["$updateDescription.removedFields", []]}
    fields["is_only_seen"] = {"$and": [changed, nothing_else]}
    return [*stages, {"$match": {"is_only_seen": {"$ne": True}}}]


def just_after(hello: Mapping[str, Any]) -> Timestamp:
    """The first timestamp after an answer: any later read shows everything that was written before it."""
    answered: Timestamp = hello["operationTime"]
    return Timestamp(answered.time, answered.inc + 1)


class ChangeStream:
    """Follows the changes of a database.

    Args:
        driver: The database.
        writer: The id in the `rev` of our own writes.
        collections: The collections to follow, by name.
        start_at: The server time from which no event may be missed.
        availability: Notes when the server is unreachable.
        leases: Handles leases.
        expire: Whether documents expire.
        election: The election of the primary that answered at `start_at`; `None` if the answer does not name it.

    Attributes:
        is_following: Whether the stream is open, and has reported everything that happened before; otherwise, reads
            must find out.
    """

    def __init__(
        self,
        driver: Driver,
        writer: str,
        collections: Mapping[str, Followed],
        start_at: Timestamp,
        availability: Availability,
        leases: Grants | None = None,
        *,
        expire: bool = False,
        election: object = None,
    ) -> None:
        self._driver = driver
        self._collections = collections
        leased = leases.collection if leases is not None else None
        self._pipeline = events_of_others(writer, list(collections), leased, expire=expire)
        self._leases = leases
        self._start_at: Timestamp | None = start_at
        self._token: Mapping[str, Any] | None = None
        self._election = election
        self._lag = Lag()
        self._availability = availability
        self._since = self._batches = 0
        self.is_following = False
        self._has_failed = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ptb_mongo watcher")

    @property
    def is_delayed(self) -> bool:
        """Whether an event of the last second arrived later than usual; known from MongoDB 6.0 on."""
        return self._lag.is_delayed(time.time())

    async def close(self) -> None:
        """Ends the stream."""
        await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            # When `_follow` returns, a stream was open: the pauses start small again.
            await retry_forever(self._follow, self._failed)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, UnavailableError):
            self._availability.mark_unreachable(error, since=self._since)
            return
        self._availability.mark_refused(WATCHING, error)
        self._token = self._start_at = None  # everything loaded is read again when needed

    async def _follow(self) -> None:
        self._since = self._availability.answers
        if self._token is None and self._start_at is None:
            self._start_at = just_after(await self._driver.hello())
            self._mark_everything_stale()
        opened = None
        try:
            async with contextlib.aclosing(
                self._driver.watch(self._pipeline, start_at=self._start_at, resume_after=self._token)
            ) as stream:
                async for events, token in stream:
                    for change in events:
                        self._note_safely(change)
                    self._batches += 1
                    self.is_following = self._batches > 1
                    if token is not None:
                        self._token, self._start_at = token, None
                    if opened is None:
                        self._availability.mark_accepted(WATCHING)
                        opened = asyncio.get_running_loop().time()
                        await self._note_election()
        except UnavailableError:
            if opened is None:
                raise
            # For example, because of an election. A stream that keeps breaking is not reopened at once.
            self._batches, self.is_following = 0, False
            await asyncio.sleep(max(0, opened + _LIFETIME - asyncio.get_running_loop().time()))
            return
        finally:
            self._batches, self.is_following = 0, False
        self._token = self._start_at = None  # it ended because the database was dropped

    async def _note_election(self) -> None:
        """Checks for an election: the former primary may have shown writes that no majority had, and that are undone.

        No event reports that. A stream breaks at each election and is reopened, so it is enough to ask then.
        """
        election = (await self._driver.hello()).get("electionId")
        if self._election not in {None, election}:
            self._mark_everything_stale()
        self._election = election

    def _note_safely(self, change: Mapping[str, Any]) -> None:
        """Handles an event; whatever goes wrong, the next one is handled."""
        try:
            self._note(change)
        except Exception as error:  # noqa: BLE001  (its text may contain users' data)
            if not self._has_failed:
                self._has_failed = True
                _LOGGER.error("An event of the change stream cannot be used (%s)", type(error).__name__)  # noqa: TRY400
            self._mark_everything_stale()

    def _note(self, change: Mapping[str, Any]) -> None:
        if (happened := change.get("wallTime")) is not None:
            self._lag.note(happened.timestamp(), time.time())
        names = [place.get("coll") for place in (change.get("ns", {}), change.get("to", {}))]
        if change["operationType"] not in _OF_A_DOCUMENT:
            self._note_replaced([name for name in names if name is not None])
        elif self._leases is not None and names[0] == self._leases.collection:
            fields = change.get("updateDescription", {}).get("updatedFields") or change.get("fullDocument", {})
            if type(holder := fields.get("holder")) is str:  # a stranger's may be an array with a matching text
                self._leases.granted(holder)
        elif (scope := self._collections.get(names[0] or "")) is not None:
            document_id = change["documentKey"]["_id"]
            rev = change.get("fullDocument", {}).get("rev") if change["operationType"] == "insert" else None
            if rev is None or not scope.is_own(document_id, rev):
                scope.told(document_id, deleted=change["operationType"] == "delete")

    def _note_replaced(self, names: Sequence[str]) -> None:
        """Marks the collections as replaced; without a name, the whole database."""
        for name in names:
            if (scope := self._collections.get(name)) is not None:
                scope.told_all()
            elif self._leases is not None and name == self._leases.collection:
                self._leases.ask_again()
        if not names:
            self._mark_everything_stale()

    def _mark_everything_stale(self) -> None:
        for scope in self._collections.values():
            scope.told_all()
        if self._leases is not None:
            self._leases.ask_again()
