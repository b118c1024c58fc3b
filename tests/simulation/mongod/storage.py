"""What the server stores: the documents, the oplog and, for a checker, the history of all changes."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from mongod.errors import DUPLICATE_KEY, INVALID_ID, VALIDATION, StatementError
from mongod.expressions import Scope
from mongod.matching import matches
from mongod.queries import candidates
from mongod.streams import Entry
from mongod.updates import Updated
from mongod.values import Document, key, type_name

__all__ = ["Snapshot", "Storage", "Written"]


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
    """What `Storage.restore` goes back to."""

    collections: Mapping[str, Mapping[Hashable, Document]]
    oplog: list[Entry]
    oplog_length: int
    history: list[Written]
    history_length: int


class Storage:
    """The collections of a database.

    Args:
        database: Its name.

    Attributes:
        collections: The documents of each collection, by the `key` of their `_id`.
        oplog: What change streams tell of.
        history: Every change of a document, from the first on; what was rolled back is not in it.
        refuses: Whether a validator refuses a document of a collection, given its former and its new version.
    """

    def __init__(self, database: str) -> None:
        self.collections: dict[str, dict[Hashable, Document]] = {}
        self.history: list[Written] = []
        self._last = Timestamp(1, 1)
        self.oplog = [Entry(self._last, dtm.datetime.fromtimestamp(1, dtm.timezone.utc), "noop")]
        self._database = database
        self._ids = 0
        self.refuses: Callable[[str, Document | None, Document], bool] = lambda *_: False

    def matching(self, collection: str, query: Mapping[str, Any], scope: Scope) -> Iterator[Document]:
        """The documents that match a filter, in the order in which the server finds them."""
        for document in candidates(self.collections.get(collection, {}), query):
            if matches(document, query, scope):
                yield document

    def insert(self, collection: str, document: Document, now: dtm.datetime) -> Document:
        """Stores a document, with its `_id` in front, and gives it back.

        Raises:
            StatementError: If there is one with the same `_id`, or none can have it, or a validator refuses it.
        """
        if "_id" not in document:
            self._ids += 1
            document = {"_id": ObjectId(f"{self._ids:024x}"), **document}
        elif next(iter(document)) != "_id":
            document = {"_id": document["_id"], **document}
        documents = self.collections.setdefault(collection, {})
        document_id = document["_id"]
        if type_name(document_id) in {"array", "regex"}:
            raise StatementError(INVALID_ID, f"The '_id' value cannot be of type {type_name(document_id)}")
        place = key(document_id)
        if place in documents:
            raise StatementError(
                DUPLICATE_KEY,
                f"E11000 duplicate key error collection: {self._database}.{collection} index: _id_ "
                f"dup key: {{ _id: {document_id!r} }}",
                keyPattern={"_id": 1},
                keyValue={"_id": document_id},
            )
        self._validate(collection, None, document)
        documents[place] = document
        self._log("insert", now, collection, document_id, None, document)
        self.history.append(Written(now, collection, document_id, None, document))
        return document

    def replace(self, collection: str, before: Document, result: Updated, now: dtm.datetime) -> None:
        """Stores a new version of a document.

        Raises:
            StatementError: If a validator refuses it.
        """
        after = result.document
        document_id = after["_id"]
        self._validate(collection, before, after)
        self.collections[collection][key(document_id)] = after
        self._log(result.operation, now, collection, before["_id"], before, result.told, result.written, result.removed)
        self.history.append(Written(now, collection, document_id, before, after))

    def _validate(self, collection: str, before: Document | None, after: Document) -> None:
        if self.refuses(collection, before, after):
            raise StatementError(VALIDATION, "Document failed validation")

    def delete(self, collection: str, document: Document, now: dtm.datetime) -> None:
        """Deletes a document."""
        document_id = document["_id"]
        del self.collections[collection][key(document_id)]
        self._log("delete", now, collection, document_id)
        self.history.append(Written(now, collection, document_id, document, None))

    def drop(self, collection: str, now: dtm.datetime) -> None:
        """Drops a collection."""
        self._forget(collection, now)
        self._log("drop", now, collection)

    def drop_all(self, now: dtm.datetime) -> None:
        """Drops the database."""
        for collection in list(self.collections):
            self.drop(collection, now)
        self._log("dropDatabase", now)
        self.oplog.append(Entry(self._last, now, "invalidate"))

    def rename(self, collection: str, name: str, now: dtm.datetime) -> None:
        """Gives a collection another name; one that has that name is dropped without an event."""
        if name in self.collections:
            self._forget(name, now)
        self.collections[name] = self.collections.pop(collection)
        self._log("rename", now, collection, to=name)

    def _forget(self, collection: str, now: dtm.datetime) -> None:
        for document in self.collections.pop(collection).values():
            self.history.append(Written(now, collection, document["_id"], document, None))

    def _log(self, operation: str, now: dtm.datetime, *what: Any, to: str = "") -> None:
        seconds = int(now.timestamp())
        last = self._last
        self._last = Timestamp(seconds, 1) if seconds > last.time else Timestamp(last.time, last.inc + 1)
        self.oplog.append(Entry(self._last, now, operation, *what, to=to))

    def fork(self) -> Storage:
        """Another one with the same documents, in which to try something."""
        made = Storage(self._database)
        made.collections = {name: dict(documents) for name, documents in self.collections.items()}
        made._last, made._ids, made.refuses = self._last, self._ids, self.refuses
        return made

    def snapshot(self) -> Snapshot:
        """What is there now."""
        collections = {name: dict(documents) for name, documents in self.collections.items()}
        return Snapshot(collections, self.oplog, len(self.oplog), self.history, len(self.history))

    def restore(self, snapshot: Snapshot) -> list[Written]:
        """Goes back to a snapshot. The time goes on: no entry of the oplog gets the place of one that is gone.

        Returns:
            What is no longer part of `history`.
        """
        now, history = self.oplog[-1].wall_time, self.history
        self.collections = {name: dict(documents) for name, documents in snapshot.collections.items()}
        self.oplog = snapshot.oplog[: snapshot.oplog_length]
        self.history = snapshot.history[: snapshot.history_length]
        self._log("noop", now)
        kept = sum(1 for _ in takewhile(lambda two: two[0] is two[1], zip(history, self.history, strict=False)))
        return history[kept:]
