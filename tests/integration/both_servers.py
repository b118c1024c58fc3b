"""A real server and the model of one, which are sent the same commands; what differs is told."""

from __future__ import annotations

import datetime as dtm
import math
import pathlib
import struct
import sys
from collections.abc import Mapping
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import OperationFailure

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "simulation"))

from mongod import Mongod
from mongod.values import OPTIONS

__all__ = ["BothServers", "plain"]

_STEP: Final = 500  # seconds; dates of now are compared as multiples of it, as the two are not asked at the same time
_DAY: Final = dtm.timedelta(days=1)
_MARK: Final = "marks"
_COMPARED: Final = ("n", "nModified", "upserted", "cursor", "cursorsKilled", "dropped", "ns")


class BothServers:
    """A real server and the model.

    Args:
        uri: Of the real server.
        database: Of a database of its own.
    """

    def __init__(self, uri: str, database: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri)
        self.real = self._client.get_database(database)
        self.model = Mongod(database, self.real.command("hello")["setName"])
        self._mark = 0
        self._stream = self.open_stream()
        self._model_stream = 0

    def close(self) -> None:
        """Disconnects."""
        self._client.close()

    def open_stream(self) -> int:
        """Opens a change stream of the real server."""
        answer = self._ask("aggregate", 1, pipeline=[{"$changeStream": {}}], cursor={})
        return int(answer["cursor"]["id"])

    def start(self, collection: str, documents: list[dict[str, Any]]) -> None:
        """Begins with a collection that holds these documents."""
        self.real[collection].delete_many({})
        self.real_events()
        self.model = Mongod(self.model.database)
        if documents:
            self.execute({"insert": collection, "documents": documents})
        answer = (
            self.model.execute(
                {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}, self.model.history[-1].at
            )
            if documents
            else self.model.execute({"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}, _now())
        )
        self._model_stream = answer["cursor"]["id"]
        if documents:
            self.real_events()

    def execute(self, command: Mapping[str, Any]) -> Any:
        """Sends both the same; they must answer the same."""
        expected = self._answer(self._ask, command)
        got = self._answer(lambda sent: self.model.execute(sent, _now()), command)
        assert got == expected, _difference(got, expected)
        return got

    def check(self, collection: str) -> None:
        """The documents and the events are the same in both."""
        answer = self._ask("find", collection, batchSize=1000)
        expected = [plain(document) for document in answer["cursor"]["firstBatch"]]
        got = [plain(document) for document in self.model.documents(collection).values()]
        assert got == expected, _difference(got, expected)
        events, expected = self._model_events(), [_event(event) for event in self.real_events()]
        assert events == expected, _difference(events, expected)

    def real_events(self) -> list[dict[str, Any]]:
        """What the change stream of the real server has told since it was asked last."""
        self._mark += 1
        self.real[_MARK].insert_one({"_id": self._mark})
        events: list[dict[str, Any]] = []
        while not (
            events and events[-1].get("documentKey") == {"_id": self._mark} and events[-1]["ns"]["coll"] == _MARK
        ):
            answer = self._ask("getMore", self._stream, collection="$cmd.aggregate", maxTimeMS=1000)
            events += answer["cursor"]["nextBatch"]
        return events[:-1]

    def _model_events(self) -> list[Any]:
        answer = self.model.execute({"getMore": self._model_stream, "collection": "$cmd.aggregate"}, _now())
        return [_event(event) for event in answer["cursor"]["nextBatch"]]

    def _ask(self, *command: Any, **fields: Any) -> Any:
        return self.real.command(*command, **fields, codec_options=OPTIONS)

    def _answer(self, send: Any, command: Mapping[str, Any]) -> Any:
        try:
            answer = send(command)
        except OperationFailure as error:
            return {"refused": error.code}
        errors = [
            (error["index"], error["code"], plain(error.get("keyPattern")), plain(error.get("keyValue")))
            for error in answer.get("writeErrors", ())
        ]
        return {"writeErrors": errors, **{name: plain(answer[name]) for name in _COMPARED if name in answer}}


def _event(event: Mapping[str, Any]) -> Any:
    """An event without what differs between two servers; the order of updated fields is not promised."""
    kept: dict[str, Any] = {
        name: event.get(name) for name in ("operationType", "ns", "documentKey", "fullDocument", "to")
    }
    description = event.get("updateDescription")
    if description is not None:
        fields = description["updatedFields"]
        kept["updated"] = {name: fields[name] for name in sorted(fields)}
        kept["removed"] = sorted(description["removedFields"])
        kept["truncated"] = sorted(description["truncatedArrays"], key=str)
    return plain(kept)


def plain(value: Any) -> Any:
    """A value in a form that is equal for two only if they have the same types and order, too."""
    if isinstance(value, dict):
        return [(name, plain(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return struct.pack("<d", value) if not math.isnan(value) else "nan"
    if isinstance(value, dtm.datetime) and abs(value - _now()) < _DAY:
        return f"now + {round((value - _now()).total_seconds() / _STEP) * _STEP} s"
    return (type(value).__name__, repr(value))


def _difference(got: Any, expected: Any) -> str:
    return f"\n  model:  {got}\n  server: {expected}"


def _now() -> dtm.datetime:
    return dtm.datetime.now(dtm.timezone.utc)
