"""The server: commands, collections, the oplog."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from mongod.errors import StatementError
from mongod.expressions import Scope
from mongod.matching import matches
from mongod.queries import aggregated, candidates
from mongod.stages import Projection
from mongod.streams import Entry, Stream, refused
from mongod.updates import Update, Updated
from mongod.values import Document, key, normal

__all__ = ["Mongod", "Written"]

_OK: Final = 1.0


class Written(NamedTuple):
    """A change of one document.

    Attributes:
        at: When, by the server's clock.
        collection: Where.
        id: The document's `_id`.
        before: The old version; `None` if there was none.
        after: The new version; `None` if it was deleted.
    """

    at: dtm.datetime
    collection: str
    id: Any
    before: Document | None
    after: Document | None


class Snapshot(NamedTuple):
    """What `Mongod.restore` goes back to."""

    collections: Mapping[str, Mapping[Hashable, Document]]
    oplog: list[Entry]
    oplog_length: int
    history: list[Written]
    history_length: int


class Mongod:
    """The primary of a replica set.

    Args:
        database: The name of the only database.
        set_name: The name of the replica set.

    Attributes:
        history: Every change of a document, from the first on.
        committed: How many entries of the oplog a majority has, and change streams tell of; `None` for all.
    """

    def __init__(self, database: str = "bot", set_name: str = "rs0") -> None:
        self.database = database
        self.history: list[Written] = []
        self.committed: int | None = None
        self._set_name = set_name
        self._collections: dict[str, dict[Hashable, Document]] = {}
        self._last = Timestamp(1, 1)
        self._oplog = [Entry(self._last, dtm.datetime.fromtimestamp(1, dtm.timezone.utc), "noop")]
        self._streams: dict[int, Stream] = {}
        self._cursors = 0
        self._ids = 0

    def execute(self, command: Mapping[str, Any], now: dtm.datetime) -> dict[str, Any]:
        """What the server answers to a command.

        Args:
            command: As PyMongo would send it; its first key is its name. It is left as it is.
            now: The server's time; it never goes back.

        Raises:
            OperationFailure: If the whole command is refused.
        """
        sent = normal(command)
        name = next(iter(sent))
        run = _COMMANDS.get(name)
        if run is None:
            raise refused(59, f"no such command: '{name}'")
        if now.tzinfo is None:
            now = now.replace(tzinfo=dtm.timezone.utc)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        try:
            answer = run(self, sent, now)
        except StatementError as error:
            raise refused(error.code, error.text) from error
        answer["ok"] = _OK
        answer["operationTime"] = self._oplog[-1].at
        return answer

    def snapshot(self) -> Any:
        """The documents and the oplog as they are now."""
        collections = {name: dict(documents) for name, documents in self._collections.items()}
        return Snapshot(collections, self._oplog, len(self._oplog), self.history, len(self.history))

    def restore(self, snapshot: Snapshot) -> list[Written]:
        """Becomes another primary, which has what was there at a snapshot; without cursors.

        What was written since is undone; the time goes on, so that no entry of the oplog has the place of another.

        Returns:
            What was undone, and is no longer part of `history`.
        """
        undone = self.history[snapshot.history_length :] if self.history is snapshot.history else []
        self._collections = {name: dict(documents) for name, documents in snapshot.collections.items()}
        self._oplog = snapshot.oplog[: snapshot.oplog_length]
        self.history = snapshot.history[: snapshot.history_length]
        self._streams = {}
        self.committed = None
        return undone

    def documents(self, collection: str) -> Mapping[Hashable, Document]:
        """The documents of a collection, by the `key` of their `_id`."""
        return self._collections.get(collection, {})

    # -- commands -----------------------------------------------------------------------------------------

    def _hello(self, command: Document, now: dtm.datetime) -> Document:
        return {
            "setName": self._set_name,
            "isWritablePrimary": True,
            "helloOk": True,
            "localTime": now,
            "minWireVersion": 0,
            "maxWireVersion": 17,
        }

    def _ping(self, command: Document, now: dtm.datetime) -> Document:
        return {}

    def _insert(self, command: Document, now: dtm.datetime) -> Document:
        def insert(document: Document, index: int, answer: Document) -> None:
            self._add(command["insert"], self._with_id(document), now)
            answer["n"] += 1

        return self._each(command, "documents", insert)

    def _update(self, command: Document, now: dtm.datetime) -> Document:
        collection, scope = command["update"], Scope(now)

        def update(statement: Document, index: int, answer: Document) -> None:
            query, multi = statement["q"], statement.get("multi", False)
            change = Update(statement["u"], now, multi=multi)
            found = self._matching(collection, query, scope)
            matched = list(found) if multi else list(islice(found, 1))
            modified = 0
            for document in matched:
                result = change.of(document)
                if result is not None:
                    self._change(collection, document, result, now)
                    modified += 1
            if not matched and statement.get("upsert"):
                made = self._with_id(change.upserted(query))
                self._add(collection, made, now)
                answer.setdefault("upserted", []).append({"index": index, "_id": made["_id"]})
                answer["n"] += 1
            answer["n"] += len(matched)
            answer["nModified"] += modified

        return self._each(command, "updates", update, nModified=0)

    def _delete(self, command: Document, now: dtm.datetime) -> Document:
        collection, scope = command["delete"], Scope(now)

        def delete(statement: Document, index: int, answer: Document) -> None:
            for document in list(
                islice(self._matching(collection, statement["q"], scope), statement.get("limit") or None)
            ):
                del self._collections[collection][key(document["_id"])]
                self._log("delete", now, collection, document["_id"])
                self.history.append(Written(now, collection, document["_id"], document, None))
                answer["n"] += 1

        return self._each(command, "deletes", delete)

    def _each(
        self, command: Document, name: str, run: Callable[[Document, int, Document], None], **counts: int
    ) -> Document:
        """Runs the statements of a command; one that is refused ends it, if they are ordered."""
        answer: Document = {"n": 0, **counts}
        errors = []
        for index, statement in enumerate(command[name]):
            try:
                run(statement, index, answer)
            except StatementError as error:
                errors.append({"index": index, "code": error.code, **error.details, "errmsg": error.text})
                if command.get("ordered", True):
                    break
        if errors:
            answer["writeErrors"] = errors
        return answer

    def _find(self, command: Document, now: dtm.datetime) -> Document:
        collection, scope = command["find"], Scope(now)
        fields = Projection(command.get("projection") or {})
        found = self._matching(collection, command.get("filter", {}), scope)
        found = islice(found, abs(command.get("limit", 0)) or None)
        return self._cursor(collection, [fields.of(document, scope) for document in found])

    def _aggregate(self, command: Document, now: dtm.datetime) -> Document:
        collection, pipeline = command["aggregate"], command["pipeline"]
        if pipeline and "$changeStream" in pipeline[0]:
            if collection != 1:
                raise NotImplementedError("a change stream of one collection")
            stream = Stream.opened(self.database, pipeline, self._oplog)
            self._cursors += 1
            self._streams[self._cursors] = stream
            return {
                "cursor": {
                    "firstBatch": [],
                    "postBatchResumeToken": stream.token,
                    "id": Int64(self._cursors),
                    "ns": f"{self.database}.$cmd.aggregate",
                }
            }
        return self._cursor(collection, list(aggregated(collection, pipeline, Scope(now), self._matching)))

    def _get_more(self, command: Document, now: dtm.datetime) -> Document:
        number = command["getMore"]
        stream = self._streams.get(number)
        if stream is None:
            raise refused(43, f"cursor id {number} not found")
        try:
            events, ended = stream.read(self._oplog, len(self._oplog) if self.committed is None else self.committed)
        except Exception:
            del self._streams[number]
            raise
        if ended:
            del self._streams[number]
        return {
            "cursor": {
                "nextBatch": events,
                "postBatchResumeToken": stream.token,
                "id": Int64(0 if ended else number),
                "ns": f"{self.database}.$cmd.aggregate",
            }
        }

    def _kill_cursors(self, command: Document, now: dtm.datetime) -> Document:
        killed = [number for number in command["cursors"] if self._streams.pop(number, None) is not None]
        unknown = [number for number in command["cursors"] if number not in killed]
        return {"cursorsKilled": killed, "cursorsNotFound": unknown, "cursorsAlive": [], "cursorsUnknown": []}

    def _create_indexes(self, command: Document, now: dtm.datetime) -> Document:
        created = command["createIndexes"] not in self._collections
        self._collections.setdefault(command["createIndexes"], {})
        return {"createdCollectionAutomatically": created}

    def _drop(self, command: Document, now: dtm.datetime) -> Document:
        collection = command["drop"]
        if collection not in self._collections:
            raise refused(26, "ns not found")
        self._drop_one(collection, now)
        return {"ns": f"{self.database}.{collection}"}

    def _drop_database(self, command: Document, now: dtm.datetime) -> Document:
        if not self._collections:
            return {}
        for collection in list(self._collections):
            self._drop_one(collection, now)
        self._log("dropDatabase", now)
        self._log("invalidate", now)
        return {"dropped": self.database}

    def _rename(self, command: Document, now: dtm.datetime) -> Document:
        source, target = (command[name].partition(".")[2] for name in ("renameCollection", "to"))
        if source not in self._collections:
            raise refused(26, f"Source collection {command['renameCollection']} does not exist")
        if target in self._collections:
            if not command.get("dropTarget"):
                raise refused(48, "target namespace exists")
            self._forget(target, now)
        self._collections[target] = self._collections.pop(source)
        self._log("rename", now, source, to=target)
        return {}

    # -- documents ----------------------------------------------------------------------------------------

    def _matching(self, collection: str, query: Mapping[str, Any], scope: Scope) -> Iterator[Document]:
        documents = self._collections.get(collection, {})
        for document in candidates(documents, query):
            if matches(document, query, scope):
                yield document

    def _with_id(self, document: Document) -> Document:
        if "_id" not in document:
            self._ids += 1
            return {"_id": ObjectId(f"{self._ids:024x}"), **document}
        if next(iter(document)) != "_id":
            return {"_id": document["_id"], **document}
        return document

    def _add(self, collection: str, document: Document, now: dtm.datetime) -> None:
        documents = self._collections.setdefault(collection, {})
        place = key(document["_id"])
        if place in documents:
            raise StatementError(
                11000,
                f"E11000 duplicate key error collection: {self.database}.{collection} index: _id_ "
                f"dup key: {{ _id: {document['_id']!r} }}",
                keyPattern={"_id": 1},
                keyValue={"_id": document["_id"]},
            )
        documents[place] = document
        self._log("insert", now, collection, document["_id"], None, document)
        self.history.append(Written(now, collection, document["_id"], None, document))

    def _change(self, collection: str, before: Document, result: Updated, now: dtm.datetime) -> None:
        document = result.document
        self._collections[collection][key(before["_id"])] = document
        self._log(result.operation, now, collection, document["_id"], before, document, result.written, result.removed)
        self.history.append(Written(now, collection, document["_id"], before, document))

    def _drop_one(self, collection: str, now: dtm.datetime) -> None:
        self._forget(collection, now)
        self._log("drop", now, collection)

    def _forget(self, collection: str, now: dtm.datetime) -> None:
        for document in self._collections.pop(collection).values():
            self.history.append(Written(now, collection, document["_id"], document, None))

    def _log(self, operation: str, now: dtm.datetime, collection: str = "", *what: Any, to: str = "") -> None:
        seconds = int(now.timestamp())
        last = self._last
        self._last = Timestamp(seconds, 1) if seconds > last.time else Timestamp(last.time, last.inc + 1)
        self._oplog.append(Entry(self._last, now, operation, collection, *what, to=to))

    def _cursor(self, collection: str, batch: Sequence[Document]) -> Document:
        return {"cursor": {"firstBatch": batch, "id": Int64(0), "ns": f"{self.database}.{collection}"}}


_COMMANDS: Final[Mapping[str, Callable[[Mongod, Document, dtm.datetime], Document]]] = {
    "hello": Mongod._hello,
    "ping": Mongod._ping,
    "insert": Mongod._insert,
    "update": Mongod._update,
    "delete": Mongod._delete,
    "find": Mongod._find,
    "aggregate": Mongod._aggregate,
    "getMore": Mongod._get_more,
    "killCursors": Mongod._kill_cursors,
    "createIndexes": Mongod._create_indexes,
    "drop": Mongod._drop,
    "dropDatabase": Mongod._drop_database,
    "renameCollection": Mongod._rename,
}
