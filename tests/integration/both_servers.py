"""Sends the same commands to a real server and to the model of one, and reports differences."""

from __future__ import annotations

import datetime as dtm
import math
import pathlib
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from pymongo import MongoClient
from pymongo.errors import OperationFailure

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "simulation"))

from mongod import Mongod
from mongod.values import OPTIONS

__all__ = ["GIVEN_IDS", "MARKS", "BothServers"]

MARKS: Final = "marks"
"""The collection that is written to when the real server shall have told all changes before."""

GIVEN_IDS: Final = (ObjectId("0" * 24),)
"""The only ObjectIds that a test uses."""

_STEP: Final = 500  # seconds; dates of now are compared as multiples of it, as the two are not asked at the same time
_DAY: Final = dtm.timedelta(days=1)
_COMPARED: Final = ("n", "nModified", "upserted", "cursor", "ns")
_EVENT: Final = ("operationType", "ns", "to", "documentKey", "fullDocument")

Pipeline = Sequence[Mapping[str, Any]]


class BothServers:
    """A real server and the model.

    Args:
        uri: Of the real server.
        database: Of a database of its own.
    """

    def __init__(self, uri: str, database: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri)
        self._real = self._client.get_database(database)
        self._mark = 0
        self._started = self.ask({"hello": 1})["operationTime"]
        self.model = Mongod(database)
        self._streams = (0, 0)
        self._restart()

    def close(self) -> None:
        """Disconnects."""
        self._client.close()

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """What the real server answers."""
        database = self._client.admin if "renameCollection" in command else self._real
        return database.command(command, codec_options=OPTIONS)

    def ask_model(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """What the model answers."""
        return self.model.execute(command, _now())

    def start(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> None:
        """Begins with a collection that holds these documents."""
        self.ask({"delete": collection, "deletes": [{"q": {}, "limit": 0}]})
        if self._streams[0]:
            self.real_events(self._streams[0])
        self._started = self.ask({"hello": 1})["operationTime"]
        self._restart()
        if documents:
            self.execute({"insert": collection, "documents": documents})

    def _restart(self) -> None:
        self.model = Mongod(self._real.name)
        real = self._streams[0] or self.open_stream(self.ask, [{"$changeStream": {}}])
        self._streams = (real, self.open_stream(self.ask_model, [{"$changeStream": {}}]))

    def execute(self, command: Mapping[str, Any]) -> None:
        """Sends both the same; they must answer the same."""
        expected, got = (_answer(ask, command) for ask in (self.ask, self.ask_model))
        _check(got, expected)

    def find(self, command: Mapping[str, Any]) -> None:
        """Sends both a find; they must find the same. In which order is the business of the server's plan."""
        expected, got = (_answer(ask, command) for ask in (self.ask, self.ask_model))
        _check(_in_any_order(got), _in_any_order(expected))

    def check(self, *collections: str) -> None:
        """The documents of collections and the change events are the same in both."""
        for collection in collections:
            self.execute({"find": collection, "batchSize": 1000})
        real, model = self._streams
        _check([event_of(event) for event in self.model_events(model)], list(map(event_of, self.real_events(real))))

    def check_events(self, pipeline: Pipeline) -> None:
        """The change events since the start are the same, also when seen through a pipeline, which lets marks pass."""
        stages = [{"$changeStream": {"startAtOperationTime": self._started}}, *pipeline]
        real = self.open_stream(self.ask, stages)
        expected = self.real_events(real)
        self.ask({"killCursors": "$cmd.aggregate", "cursors": [real]})
        first = Timestamp(1, 1)
        model = self.open_stream(self.ask_model, [{"$changeStream": {"startAtOperationTime": first}}, *pipeline])
        _check([event_of(event) for event in self.model_events(model)], [event_of(event) for event in expected])

    def open_stream(self, ask: Callable[[Mapping[str, Any]], Any], pipeline: Pipeline) -> int:
        """Opens a change stream."""
        return int(ask({"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 0}})["cursor"]["id"])

    def real_events(self, stream: int) -> list[dict[str, Any]]:
        """What a change stream of the real server has told since it was asked last, but for the marks."""
        self._mark += 1
        self.ask({"insert": MARKS, "documents": [{"_id": self._mark}]})
        events: list[dict[str, Any]] = []
        while not any(_is_mark(event) and event["documentKey"]["_id"] == self._mark for event in events):
            answer = self.ask({"getMore": stream, "collection": "$cmd.aggregate", "maxTimeMS": 1000})
            events += answer["cursor"]["nextBatch"]
        return [event for event in events if not _is_mark(event)]

    def model_events(self, stream: int) -> list[dict[str, Any]]:
        """What a change stream of the model has told since it was asked last."""
        return list(self.ask_model({"getMore": stream, "collection": "$cmd.aggregate"})["cursor"]["nextBatch"])


def _is_mark(event: Mapping[str, Any]) -> bool:
    return event.get("ns", {}).get("coll") == MARKS


def _check(got: Any, expected: Any) -> None:
    if isinstance(got, list) and isinstance(expected, list) and len(got) == len(expected):
        for one, other in zip(got, expected, strict=True):  # the first that differs tells most
            assert one == other, f"\n  model:  {one}\n  server: {other}"
    assert got == expected, f"\n  model:  {got}\n  server: {expected}"


def _answer(ask: Callable[[Mapping[str, Any]], Any], command: Mapping[str, Any]) -> Any:
    try:
        answer = ask(command)
    except OperationFailure as error:
        return {"refused": error.code}
    details = ("index", "code", "keyPattern", "keyValue")
    errors = [[plain(error.get(name)) for name in details] for error in answer.get("writeErrors", ())]
    return {"writeErrors": errors, **{name: plain(answer[name]) for name in _COMPARED if name in answer}}


def _in_any_order(answer: Any) -> Any:
    return sorted(dict(answer["cursor"])["firstBatch"], key=str) if "cursor" in answer else answer


def event_of(event: Mapping[str, Any]) -> Any:
    """An event without what differs between two servers; the order of updated fields is not promised."""
    kept: dict[str, Any] = {name: event.get(name) for name in _EVENT}
    description = event.get("updateDescription")
    if description is not None:
        fields = description.get("updatedFields", {})
        kept["updated"] = {name: fields[name] for name in sorted(fields)}
        kept["removed"] = sorted(description.get("removedFields", ()))
        kept["truncated"] = sorted(description.get("truncatedArrays", ()), key=str)
    return plain(kept)


def plain(value: Any) -> Any:
    """A value in a form that is equal for two only if they have the same types and order, too."""
    if isinstance(value, dict):
        return [(name, plain(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, dtm.datetime) and abs(value - _now()) < _DAY:
        return f"now + {round((value - _now()).total_seconds() / _STEP) * _STEP} s"
    if isinstance(value, ObjectId) and value not in GIVEN_IDS:
        return "an ObjectId of the server's own"
    return (type(value).__name__, repr(value))


def _now() -> dtm.datetime:
    return dtm.datetime.now(dtm.timezone.utc)
