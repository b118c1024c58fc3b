"""The server: what it answers to commands."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from bson.int64 import Int64

from mongod.errors import StatementError
from mongod.expressions import Scope
from mongod.queries import aggregated
from mongod.stages import parsed, transformed
from mongod.storage import Snapshot, Storage, Written
from mongod.streams import Stream, refused
from mongod.transactions import Transactions
from mongod.updates import Update
from mongod.values import Document, normal

__all__ = ["Mongod"]


class Mongod:
    """The primary of a replica set.

    Args:
        database: The name of the only database.
        set_name: The name of the replica set.
    """

    def __init__(self, database: str = "bot", set_name: str = "rs0") -> None:
        self.database = database
        self._set_name = set_name
        self.election = 1
        self._storage = Storage(database)
        self._streams: dict[int, Stream] = {}
        self._cursors = 0
        self.transactions = Transactions(self._execute_on)
        self._held_at: int | None = None

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
        transaction = Transactions.name_of(sent)
        try:
            if transaction is not None:
                answer = self.transactions.run(transaction, sent, self._storage, now)
            else:
                answer = run(self, sent, now)
        except StatementError as error:
            raise refused(error.code, error.text) from error
        answer["ok"] = 1.0
        answer["operationTime"] = self._storage.oplog[-1].at
        return answer

    def _execute_on(self, storage: Storage, command: Document, now: dtm.datetime) -> Document:
        """What is answered to a command that is executed on another storage."""
        own, self._storage = self._storage, storage
        try:
            return _COMMANDS[next(iter(command))](self, command, now)
        finally:
            self._storage = own

    @property
    def history(self) -> Sequence[Written]:
        """Every change of a document, from the first on; what was rolled back is not in it."""
        return self._storage.history

    def documents(self, collection: str) -> Mapping[Hashable, Document]:
        """The documents of a collection, by the `key` of their `_id`."""
        return self._storage.collections.get(collection, {})

    def validate(self, refuses: Callable[[str, Document | None, Document], bool]) -> None:
        """Sets a validator for all collections.

        Args:
            refuses: Whether it refuses a document of a collection, given its former and its new version.
        """
        self._storage.refuses = refuses

    def snapshot(self) -> Snapshot:
        """The documents and the oplog as they are now."""
        return self._storage.snapshot()

    def restore(self, snapshot: Snapshot) -> Sequence[Written]:
        """Becomes another primary, which has what was there at a snapshot, and no cursors.

        What was written since is undone: a stream that resumes after such an event is refused when it comes to the
        next one. With a snapshot of this very moment, it is an election that loses nothing.

        Returns:
            What was undone, and is no longer part of `history`.
        """
        self._streams = {}
        self._held_at = None
        undone = self._storage.restore(snapshot)
        self.transactions.abort_all(self._storage)
        return undone

    def elect(self) -> None:
        """Lets another server become the primary, which has all that this one has."""
        self.election += 1
        self.transactions.abort_all(self._storage)

    @property
    def replicates(self) -> bool:
        """Whether a majority gets what is written; else, from that moment on, change streams tell nothing of it."""
        return self._held_at is None

    @replicates.setter
    def replicates(self, value: bool) -> None:
        if value != self.replicates:
            self._held_at = None if value else len(self._storage.oplog)

    def tell_up_to(self, oplog_length: int | None) -> None:
        """Lets change streams tell of the oplog up to some length, which a majority has; `None` for all of it."""
        self._held_at = oplog_length

    # -- writing ------------------------------------------------------------------------------------------

    def _insert(self, command: Document, now: dtm.datetime) -> Document:
        def insert(document: Document, index: int, answer: Document) -> None:
            self._storage.insert(command["insert"], document, now)
            answer["n"] += 1

        return _each(command, "documents", insert)

    def _update(self, command: Document, now: dtm.datetime) -> Document:
        collection, scope = command["update"], Scope(now)

        def update(statement: Document, index: int, answer: Document) -> None:
            _refuse(statement, "arrayFilters", "collation", "c")
            query, multi = statement["q"], statement.get("multi", False)
            change = Update(statement["u"], now, multi=multi)
            found = self._storage.matching(collection, query, scope)
            matched = list(found) if multi else list(islice(found, 1))
            modified = 0
            for document in matched:
                result = change.of(document)
                if result is not None:
                    self._storage.replace(collection, document, result, now)
                    modified += 1
            if not matched and statement.get("upsert"):
                made = self._storage.insert(collection, change.upserted(query), now)
                answer.setdefault("upserted", []).append({"index": index, "_id": made["_id"]})
                answer["n"] += 1
            answer["n"] += len(matched)
            answer["nModified"] += modified

        return _each(command, "updates", update, nModified=0)

    def _delete(self, command: Document, now: dtm.datetime) -> Document:
        collection, scope = command["delete"], Scope(now)

        def delete(statement: Document, index: int, answer: Document) -> None:
            found = self._storage.matching(collection, statement["q"], scope)
            for document in list(islice(found, statement.get("limit") or None)):
                self._storage.delete(collection, document, now)
                answer["n"] += 1

        return _each(command, "deletes", delete)

    # -- reading ------------------------------------------------------------------------------------------

    def _find(self, command: Document, now: dtm.datetime) -> Document:
        _refuse(command, "sort", "skip", "collation", "let")
        collection, scope = command["find"], Scope(now)
        fields = parsed([{"$project": command.get("projection") or {}}])
        found = self._storage.matching(collection, command.get("filter", {}), scope)
        found = islice(found, abs(command.get("limit", 0)) or None)
        return self._cursor(collection, [transformed(document, fields, scope) for document in found])

    def _aggregate(self, command: Document, now: dtm.datetime) -> Document:
        collection, pipeline = command["aggregate"], command["pipeline"]
        if not pipeline or "$changeStream" not in pipeline[0]:
            found = aggregated(collection, pipeline, Scope(now), self._storage.matching)
            return self._cursor(collection, list(found))
        if collection != 1:
            raise NotImplementedError("a change stream of one collection")
        stream = Stream.opened(self.database, pipeline, self._storage.oplog)
        self._cursors += 1
        self._streams[self._cursors] = stream
        return self._cursor("$cmd.aggregate", [], self._cursors, postBatchResumeToken=stream.token)

    def _get_more(self, command: Document, now: dtm.datetime) -> Document:
        number = command["getMore"]
        stream = self._streams.get(number)
        if stream is None:
            raise refused(43, f"cursor id {number} not found")
        oplog = self._storage.oplog
        ended = True
        try:
            events, ended = stream.read(oplog, len(oplog) if self._held_at is None else self._held_at)
        finally:
            if ended:
                del self._streams[number]
        answer = self._cursor("$cmd.aggregate", events, 0 if ended else number, postBatchResumeToken=stream.token)
        answer["cursor"]["nextBatch"] = answer["cursor"].pop("firstBatch")
        return answer

    def _kill_cursors(self, command: Document, now: dtm.datetime) -> Document:
        killed = [number for number in command["cursors"] if self._streams.pop(number, None) is not None]
        unknown = [number for number in command["cursors"] if number not in killed]
        return {"cursorsKilled": killed, "cursorsNotFound": unknown, "cursorsAlive": [], "cursorsUnknown": []}

    def _cursor(self, collection: str, batch: Sequence[Document], number: int = 0, **more: Any) -> Document:
        return {"cursor": {"firstBatch": batch, **more, "id": Int64(number), "ns": f"{self.database}.{collection}"}}

    # -- collections --------------------------------------------------------------------------------------

    def _create_indexes(self, command: Document, now: dtm.datetime) -> Document:
        created = command["createIndexes"] not in self._storage.collections
        self._storage.collections.setdefault(command["createIndexes"], {})
        return {"createdCollectionAutomatically": created}

    def _drop(self, command: Document, now: dtm.datetime) -> Document:
        collection = command["drop"]
        if collection not in self._storage.collections:
            raise refused(26, "ns not found")
        self._storage.drop(collection, now)
        return {"ns": f"{self.database}.{collection}"}

    def _drop_database(self, command: Document, now: dtm.datetime) -> Document:
        if self._storage.collections:
            self._storage.drop_all(now)
        return {}

    def _rename(self, command: Document, now: dtm.datetime) -> Document:
        source, target = (command[name].partition(".")[2] for name in ("renameCollection", "to"))
        if source not in self._storage.collections:
            raise refused(26, f"Source collection {command['renameCollection']} does not exist")
        if target in self._storage.collections and not command.get("dropTarget"):
            raise refused(48, "target namespace exists")
        self._storage.rename(source, target, now)
        return {}

    def _hello(self, command: Document, now: dtm.datetime) -> Document:
        return {
            "setName": self._set_name,
            "isWritablePrimary": True,
            "electionId": self.election,
            "secondary": False,
            "localTime": now,
            "minWireVersion": 0,
            "maxWireVersion": 17,
        }

    def _ping(self, command: Document, now: dtm.datetime) -> Document:
        return {}

    def _only_in_a_transaction(self, command: Document, now: dtm.datetime) -> Document:
        raise refused(251, "there is no transaction")


def _refuse(command: Document, *names: str) -> None:
    for name in names:
        if name in command:
            raise NotImplementedError(name)


def _each(command: Document, name: str, run: Callable[[Document, int, Document], None], **counts: int) -> Document:
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


_COMMANDS: Final[Mapping[str, Callable[[Mongod, Document, dtm.datetime], Document]]] = {
    "hello": Mongod._hello,
    "ping": Mongod._ping,
    "commitTransaction": Mongod._only_in_a_transaction,
    "abortTransaction": Mongod._only_in_a_transaction,
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
