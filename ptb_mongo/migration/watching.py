"""Follows the changes in a bot's database as they happen, and reports whose they are; reads no values."""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bson.timestamp import Timestamp

from ptb_mongo.errors import UnavailableError, WatchUnavailableError
from ptb_mongo.migration.data import KINDS, Kind
from ptb_mongo.migration.database import Database
from ptb_mongo.sync.change_stream import just_after

__all__ = ["Change", "beginning", "changes"]

_PAUSE: Final = 1.0  # seconds before the next attempt to reach a lost server
_OPERATIONS: Final = ("insert", "update", "replace", "delete")
_OURS: Final = ("rev", "updated_at")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one document.

    Attributes:
        at: The time, by the server's clock.
        kind: The kind of data.
        id: The document's `_id`.
        operation: "insert", "update", "replace" or "delete".
        bot: The part of `rev` that names the writer, if it was a bot or the command line; `None` for others, and for
            deletions, which do not show it.
        set: The paths with a new value.
        removed: The removed paths.
    """

    at: dtm.datetime
    kind: Kind
    id: Any
    operation: str
    bot: str | None
    set: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


async def beginning(database: Database) -> Timestamp:
    """The server time from which `changes` can report everything: now.

    Raises:
        WatchUnavailableError: If there are no change streams.
    """
    hello = await database.driver.hello()
    if reason := await database.driver.can_watch(hello):
        raise WatchUnavailableError(f"the server offers no change stream: {reason}")
    return just_after(hello)


async def changes(
    database: Database,
    since: Timestamp,
    *,
    bots: bool = False,
    lost: Callable[[BaseException], None] = lambda _: None,
) -> AsyncGenerator[Change, None]:
    """All changes since a time; never ends.

    Args:
        database: The database.
        since: The server time from `beginning`.
        bots: Whether to include what bots write.
        lost: Called when the server is unreachable, before the next attempt.
    """
    kinds = {database.scopes[kind].collection: kind for kind in KINDS}
    names = {"$map": {"input": {"$objectToArray": "$updateDescription.updatedFields"}, "in": "$$this.k"}}
    rev = {"$ifNull": ["$updateDescription.updatedFields.rev", "$fullDocument.rev"]}
    pipeline: list[dict[str, Any]] = [
        {"$match": {"ns.coll": {"$in": list(kinds)}, "operationType": {"$in": list(_OPERATIONS)}}},
        {
            "$project": {
                "ns": 1,
                "operationType": 1,
                "documentKey": 1,
                "clusterTime": 1,
                "rev": rev,
                "names": names,
                "removed": "$updateDescription.removedFields",
            }
        },
    ]
    token = None
    while True:
        try:
            async for events, place in database.driver.watch(pipeline, start_at=since, resume_after=token):
                for event in events:
                    change = _change(event, kinds[event["ns"]["coll"]])
                    if bots or change.bot is None:
                        yield change
                token = place or token
        except UnavailableError as error:
            lost(error)
            await asyncio.sleep(_PAUSE)


def _change(event: Mapping[str, Any], kind: Kind) -> Change:
    operation = event["operationType"]
    rev = event.get("rev")
    if not isinstance(rev, str) or operation not in {"insert", "update"}:
        rev = None  # bots never replace documents
    return Change(
        at=event["clusterTime"].as_datetime(),
        kind=kind,
        id=event["documentKey"]["_id"],
        operation=operation,
        bot=rev.partition(":")[0] if rev is not None else None,
        set=tuple(name for name in event.get("names") or () if name not in _OURS),
        removed=tuple(event.get("removed") or ()),
    )
