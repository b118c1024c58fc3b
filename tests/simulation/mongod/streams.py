"""The oplog, and the change streams that tell of it."""

from __future__ import annotations

import datetime as dtm
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from mongod.diffs import difference
from mongod.errors import NAMES
from mongod.expressions import Scope
from mongod.matching import matches
from mongod.operators import Path
from mongod.stages import parsed, transformed
from mongod.values import Document

__all__ = ["Entry", "Stream", "refused"]


def refused(code: int, text: str, *labels: str) -> OperationFailure:
    """The error by which PyMongo tells that a command was refused."""
    details: dict[str, Any] = {"ok": 0.0, "errmsg": text, "code": code, "codeName": NAMES.get(code, f"Location{code}")}
    if labels:
        details["errorLabels"] = list(labels)
    return OperationFailure(text, code, details)


@dataclass(slots=True)
class Entry:
    """One change, as the oplog keeps it.

    Attributes:
        at: Its place in the oplog.
        wall_time: When it was made, by the server's clock.
        operation: Its type, as change streams name it; "transform" for an update by a pipeline.
        collection: Where; empty for the whole database.
        id: The document's `_id`.
        before: The old version of the document.
        after: The new version.
        written: Of an update by operators, the paths that have a new value.
        removed: Those that are gone.
        to: The new name of a collection.
    """

    at: Timestamp
    wall_time: dtm.datetime
    operation: str
    collection: str = ""
    id: Any = None
    before: Document | None = None
    after: Document | None = None
    written: Sequence[Path] = ()
    removed: Sequence[Path] = ()
    to: str = ""
    _event: Document | None = None

    def event(self, database: str) -> Document:
        """The event that tells of it; nobody changes that."""
        if self._event is None:
            self._event = _event(self, database)
        return self._event


_BEFORE, _EVENT, _INVALIDATE = "0", "1", "2"


def _token(at: Timestamp, kind: str) -> Document:
    return {"_data": f"82{at.time:08X}{at.inc:08X}{kind}"}


def _place(token: Any) -> tuple[Timestamp, str]:
    try:
        data = token["_data"]
        return Timestamp(int(data[2:10], 16), int(data[10:18], 16)), data[18]
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise refused(260, "the resume token is not valid") from error


def _event(entry: Entry, database: str) -> Document:
    operation, description = entry.operation, None
    if operation == "transform":
        description = _difference(entry.before, entry.after)
        operation = "replace" if description is None else "update"
    elif operation == "update":
        description = {
            "updatedFields": {".".join(path): _value(entry.after, path) for path in entry.written},
            "removedFields": list(map(".".join, entry.removed)),
            "truncatedArrays": [],
        }
    event: Document = {
        "_id": _token(entry.at, _INVALIDATE if operation == "invalidate" else _EVENT),
        "operationType": operation,
        "clusterTime": entry.at,
        "wallTime": entry.wall_time,
    }
    if operation in {"insert", "replace"}:
        event["fullDocument"] = entry.after
    if operation == "invalidate":
        return event
    event["ns"] = {"db": database, "coll": entry.collection} if entry.collection else {"db": database}
    if entry.to:
        event["to"] = {"db": database, "coll": entry.to}
    if operation in {"insert", "replace", "update", "delete"}:
        event["documentKey"] = {"_id": entry.id}
    if description is not None:
        event["updateDescription"] = description
    return event


def _difference(before: Any, after: Any) -> Document | None:
    found = difference(before, after)
    if found is None:
        return None
    return {"updatedFields": found.updated, "removedFields": found.removed, "truncatedArrays": found.truncated}


def _value(value: Any, path: Path) -> Any:
    for part in path:
        value = value[int(part)] if type(value) is list else value[part]
    return value


@dataclass(slots=True)
class Stream:
    """A change stream's cursor.

    Attributes:
        position: How many entries of the oplog it has passed.
        token: After which it may be resumed.
        missing: The place of the event to resume after, until it is seen.
    """

    database: str
    pipeline: Sequence[Mapping[str, Any]]
    position: int = 0
    token: Document = field(default_factory=dict)
    missing: Timestamp | None = None

    @classmethod
    def opened(cls, database: str, pipeline: Sequence[Mapping[str, Any]], oplog: Sequence[Entry]) -> Stream:
        """A stream that begins where the first stage says."""
        options = pipeline[0]["$changeStream"]
        stream = cls(database, pipeline[1:])
        token = options.get("resumeAfter") or options.get("startAfter")
        if token is not None:
            at, kind = _place(token)
            if kind == _INVALIDATE and "resumeAfter" in options:
                raise refused(
                    260,
                    "Attempting to resume a change stream using 'resumeAfter' is not allowed from an invalidate",
                )
            stream.token = token
            stream.position = bisect_left(oplog, at, key=_at)
            stream.missing = at if kind == _EVENT else None
        else:
            at = options.get("startAtOperationTime")
            if at is None:
                last = oplog[-1].at
                at = Timestamp(last.time, last.inc + 1)
            stream.token = _token(at, _BEFORE)
            stream.position = bisect_left(oplog, at, key=_at)
        if at < oplog[0].at:
            raise refused(
                286,
                "Resume of change stream was not possible, as the resume point may no longer be in the oplog.",
                "NonResumableChangeStreamError",
            )
        return stream

    def read(self, oplog: Sequence[Entry], end: int) -> tuple[list[Document], bool]:
        """The events up to an end of the oplog; and whether the stream has ended with them."""
        events: list[Document] = []
        while self.position < end:
            entry = oplog[self.position]
            self.position += 1
            if self.missing is not None and entry.operation != "noop":
                if entry.at != self.missing:
                    raise refused(
                        280, "cannot resume stream; the resume token was not found.", "NonResumableChangeStreamError"
                    )
                self.missing = None
                continue
            self.token = _token(entry.at, _BEFORE)
            if entry.operation == "noop":
                continue
            event = entry.event(self.database)
            shown = self._shown(event, entry.wall_time)
            if shown is not None:
                events.append(shown)
                self.token = event["_id"]
            if entry.operation == "invalidate":
                return events, True
        return events, False

    def _shown(self, event: Document, now: dtm.datetime) -> Document | None:
        scope = Scope(now)
        for stage in self.pipeline:
            if "$match" in stage:
                if not matches(event, stage["$match"], scope):
                    return None
            else:
                event = transformed(event, parsed([stage]), scope)
        return event


def _at(entry: Entry) -> Timestamp:
    return entry.at
