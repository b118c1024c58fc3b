"""The oplog, and the change streams that tell of it."""

from __future__ import annotations

import datetime as dtm
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from mongod.diffs import difference
from mongod.errors import NAMES
from mongod.expressions import Scope
from mongod.matching import matches
from mongod.stages import parsed, transformed
from mongod.values import Document, type_name
from mongod.work import Path

__all__ = ["Entry", "Stream", "refused"]


_FATAL: Final = "NonResumableChangeStreamError"


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
            self._event = self._made(database)
        return self._event

    def _made(self, database: str) -> Document:
        operation, description = self.operation, None
        if operation == "transform":
            description = _difference(self.before, self.after)
            operation = "replace" if description is None else "update"
        elif operation == "update":
            description = {
                "updatedFields": {".".join(path): _value(self.after, path) for path in self.written},
                "removedFields": list(map(".".join, self.removed)),
                "truncatedArrays": [],
            }
        event: Document = {
            "_id": _token(self.at, _INVALIDATE if operation == "invalidate" else _EVENT),
            "operationType": operation,
            "clusterTime": self.at,
            "wallTime": self.wall_time,
        }
        if operation in {"insert", "replace"}:
            document = self.after or {}
            event["fullDocument"] = document if "_id" in document else {"_id": self.id, **document}
        if operation != "invalidate":
            event["ns"] = {"db": database, "coll": self.collection} if self.collection else {"db": database}
        if self.to:
            event["to"] = {"db": database, "coll": self.to}
        if operation in {"insert", "replace", "update", "delete"}:
            event["documentKey"] = {"_id": self.id}
        if description is not None:
            event["updateDescription"] = description
        return event


_BEFORE, _EVENT, _INVALIDATE = "0", "1", "2"


def _token(at: Timestamp, kind: str) -> Document:
    return {"_data": f"82{at.time:08X}{at.inc:08X}{kind}"}


def _place(token: Any) -> tuple[Timestamp, str]:
    if type(token) is not dict:
        raise refused(14, f"BSON field '$changeStream.resumeAfter' is the wrong type '{type_name(token)}'")
    data = token.get("_data")
    if type(data) is not str:
        raise refused(40647, "Bad resume token: _data of missing or of wrong type")
    try:
        return Timestamp(int(data[2:10], 16), int(data[10:18], 16)), data[18]
    except (ValueError, IndexError) as error:
        raise refused(9, "resume token string was not a valid hex string") from error


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
        pipeline: What an event must match, and what is made of it.
        position: How many entries of the oplog it has passed.
        token: After which it may be resumed.
        missing: The place of the event to resume after, until it is seen.
    """

    database: str
    pipeline: Sequence[tuple[Document, Sequence[tuple[str, Any]]]]
    position: int = 0
    token: Document = field(default_factory=dict)
    missing: Timestamp | None = None

    @classmethod
    def opened(cls, database: str, pipeline: Sequence[Mapping[str, Any]], oplog: Sequence[Entry]) -> Stream:
        """A stream that begins where the first stage says.

        Raises:
            OperationFailure: If it cannot begin there.
        """
        options = pipeline[0]["$changeStream"]
        stream = cls(database, _parsed(pipeline[1:]))
        places = [name for name in ("resumeAfter", "startAfter", "startAtOperationTime") if name in options]
        if len(places) > 1:
            raise refused(40674, "Only one type of resume option is allowed, but multiple were found")
        if not places or "startAtOperationTime" in options:
            last = oplog[-1].at
            at, kind = options.get("startAtOperationTime", Timestamp(last.time, last.inc + 1)), _BEFORE
            stream.token = _token(at, kind)
        else:
            stream.token = options[places[0]]
            at, kind = _place(stream.token)
        if kind == _INVALIDATE and "resumeAfter" in options:
            raise refused(260, "'resumeAfter' is not allowed from an invalidate notification")
        if at < oplog[0].at:
            raise refused(286, "the resume point may no longer be in the oplog", _FATAL)
        stream.position = (bisect_right if kind == _INVALIDATE else bisect_left)(oplog, at, key=_at)
        stream.missing = at if kind == _EVENT else None
        return stream

    def read(self, oplog: Sequence[Entry], end: int) -> tuple[list[Document], bool]:
        """The events up to an end of the oplog; and whether the stream has ended with them.

        Raises:
            OperationFailure: If the event to resume after is not there any more: that is seen at the next one.
        """
        events: list[Document] = []
        while self.position < end:
            entry = oplog[self.position]
            self.position += 1
            if self.missing is not None and entry.operation != "noop":
                if entry.at != self.missing:
                    raise refused(280, "cannot resume stream; the resume token was not found", _FATAL)
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
        for query, stages in self.pipeline:
            if not matches(event, query, scope):
                return None
            event = transformed(event, stages, scope)
        return event


def _parsed(pipeline: Sequence[Mapping[str, Any]]) -> list[tuple[Document, Sequence[tuple[str, Any]]]]:
    """Each stage, as a filter and a change."""
    return [(stage["$match"], ()) if "$match" in stage else ({}, parsed([stage])) for stage in pipeline]


def _at(entry: Entry) -> Timestamp:
    return entry.at
