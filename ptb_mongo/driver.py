"""The one seam to MongoDB: the only module that tells Motor, PyMongo's async API and mongomock-motor apart.

It moves documents as BSON bytes and knows nothing of what they mean. Every error of a driver is translated
here, and none of the texts holds a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.timestamp import Timestamp
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, DeleteOne, InsertOne, MongoClient, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from ptb_mongo.errors import ConfigurationError, RefusedError, UnavailableError
from ptb_mongo.garbage import collector_paused
from ptb_mongo.operations import Delete, Failure, Insert, Operation, Upsert
from ptb_mongo.uri import DEFAULT_DATABASE, checked_name, clear_errors, database_in

__all__ = ["ByIds", "Changes", "Driver", "connect", "database_of"]

# For the clients that we make, where the URI does not say otherwise. By default a driver takes half a minute to
# notice that a server hangs, and waits for ever for the answer to what it has sent: so would the end of the process.
_TIMEOUTS_MS: Final = {
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 5000,
    "heartbeatFrequencyMS": 5000,
    "socketTimeoutMS": 10_000,
}

_CODEC_OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, tz_aware=True
)

_AWAIT_MS: Final = 500  # that the server waits for changes; a closing driver waits as long, and a socket longer
_CURSOR_NOT_FOUND: Final = 43
_AUTHENTICATION_FAILED: Final = {18, 8000}
_DUPLICATE_KEY: Final = 11000
_PATH_NOT_VIABLE: Final = 28
_TOO_LARGE: Final = {10334, 17419, 17420}
# Failover and shutdown of a server: the operation may be tried again (MongoDB, retryable writes specification).
_TRANSIENT: Final = {6, 7, 89, 91, 134, 189, 262, 317, 358, 9001, 10107, 11600, 11602, 13388, 13435, 13436}


def database_of(client: object, name: str | None) -> str:
    """The name of the database to use.

    Args:
        client: A URI or a client.
        name: The name asked for; `None` for the one in the URI.

    Raises:
        ConfigurationError: If the URI or the name cannot be used.
    """
    if isinstance(client, str):
        in_uri = database_in(client)
        name = in_uri if name is None else name
    elif isinstance(client, MongoClient):
        raise ConfigurationError(
            "a pymongo.MongoClient blocks the event loop; pass pymongo.AsyncMongoClient, a Motor client or a URI"
        )
    elif not isinstance(client, (AsyncIOMotorClient, AsyncMongoClient)) and not _is_mock(client):
        raise ConfigurationError(
            "the first argument is a URI, a Motor client, a pymongo.AsyncMongoClient or a mongomock_motor client, "
            f"not {type(client).__name__}"
        )
    return checked_name(DEFAULT_DATABASE if name is None else name)


def _is_mock(client: object) -> bool:
    # Its class masquerades as Motor's; its base does not.
    return any(cls.__module__.partition(".")[0] == "mongomock_motor" for cls in type(client).__mro__)


async def connect(client: object, database: str) -> Driver:
    """Opens a database.

    Args:
        client: A URI, for which a Motor client is made and closed again; or a client, which is left open.
        database: The database's name.
    """
    if _is_mock(client):
        return MockDriver(client, database, owned=False)
    if not isinstance(client, str):
        return Driver(client, database, owned=False)
    options = {name: value for name, value in _TIMEOUTS_MS.items() if name.lower() not in client.lower()}
    loop = asyncio.get_running_loop()
    made = await asyncio.to_thread(_motor_client, client, loop, options)  # a mongodb+srv URI asks a name server
    return Driver(made, database, owned=True)


def _motor_client(uri: str, loop: asyncio.AbstractEventLoop, options: dict[str, Any]) -> AsyncIOMotorClient[Any]:
    with clear_errors(uri):
        return AsyncIOMotorClient(uri, io_loop=loop, **options)


class ByIds(NamedTuple):
    """Documents of one collection.

    Attributes:
        collection: Its name.
        ids: The documents' `_id`s.
        fields: Those that are wanted besides.
    """

    collection: str
    ids: Sequence[Any]
    fields: Sequence[str]


class Changes(NamedTuple):
    """Some changes that a change stream tells of.

    Attributes:
        changes: The events.
        token: After which the stream may be resumed; `None` if that is not known yet.
    """

    changes: Sequence[Mapping[str, Any]]
    token: Mapping[str, Any] | None


class Updated(NamedTuple):
    """What an update of several documents has done.

    Attributes:
        matched: How many were there, or were made.
        made: The positions of those updates that have made one.
    """

    matched: int
    made: set[int]


class Driver:
    """A database on a real server, through Motor or PyMongo's async API."""

    def __init__(self, client: Any, database: str, *, owned: bool) -> None:
        self._client = client
        self._owned = owned
        concern = client.write_concern
        self._write_concern = WriteConcern("majority") if concern.is_server_default else concern
        self._database = client.get_database(
            database,
            codec_options=_CODEC_OPTIONS,
            read_preference=ReadPreference.PRIMARY,  # never older than our own writes
            write_concern=self._write_concern,
        )

    async def hello(self) -> dict[str, Any]:
        """What the server says of itself.

        Raises:
            UnavailableError: If none answers.
            ConfigurationError: If it refuses the credentials.
        """
        with _translated():
            answer: dict[str, Any] = await self._database.command("hello")
        return answer

    async def raw_batches(
        self, collection: str, query: Mapping[str, Any], fields: Sequence[str]
    ) -> AsyncIterator[list[bytes]]:
        """The documents that match, as BSON bytes with `_id` first and only these fields (all, if none is named)."""
        with _translated():
            projection = dict.fromkeys(fields, 1) or None
            cursor = self._database[collection].find_raw_batches(query, projection=projection)
            async for batch in cursor:
                yield _split(batch)

    async def raw_documents(self, wanted: Sequence[ByIds]) -> list[list[bytes]]:
        """Documents of several collections, by their ids and as `raw_batches` gives them, in one round trip."""
        if len(wanted) == 1:
            return [await self._raw_documents(wanted[0])]
        collection, first, others = wanted[0].collection, _numbered(0, wanted[0]), enumerate(wanted[1:], 1)
        unions = [
            {"$unionWith": {"coll": one.collection, "pipeline": _numbered(number, one)}} for number, one in others
        ]
        found: list[list[bytes]] = [[] for _ in wanted]
        with _translated():
            made = self._database[collection].aggregate_raw_batches([*first, *unions])
            async for batch in await made if inspect.isawaitable(made) else made:
                for raw in _split(batch):
                    number, document = _unnumbered(raw)
                    found[number].append(document)
        return found

    async def _raw_documents(self, wanted: ByIds) -> list[bytes]:
        query = {"_id": {"$in": wanted.ids}}
        return [raw async for raws in self.raw_batches(wanted.collection, query, wanted.fields) for raw in raws]

    async def find(
        self, collection: str, query: Mapping[str, Any], fields: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The documents that match, or some fields of them, decoded; for the few that are not users' data."""
        with _translated():
            async for document in self._database[collection].find(query, fields):
                yield document

    async def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a command; for the command line."""
        with _translated():
            answer: dict[str, Any] = await self._database.command(command)
        return answer

    async def aggregate(self, collection: str, pipeline: Sequence[Mapping[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """What a pipeline gives; for the command line."""
        with _translated():
            made = self._database[collection].aggregate(pipeline, allowDiskUse=True)
            async for document in await made if inspect.isawaitable(made) else made:
                yield document

    async def write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        """Sends writes in one unordered bulk write.

        Returns:
            The failures, by position.

        Raises:
            UnavailableError: If it is not known whether the writes were done; all may be sent again.
            RefusedError: If all are refused, for the lack of a permission, say.
        """
        try:
            with _translated():
                if self._write_concern.acknowledged and _can_be_updates(operations):
                    return await self._update(collection, operations)
                return await self._bulk_write(collection, operations)
        except (BSONError, RefusedError) as error:
            if not _is_for_one(error):
                raise
            if len(operations) == 1:
                reason = "too much of it has changed at once: the update is larger than MongoDB takes"
                return {0: Failure(reason, oversized=True)}
        half = len(operations) // 2
        first = await self.write(collection, operations[:half])
        second = await self.write(collection, operations[half:])
        return first | {half + index: failure for index, failure in second.items()}

    async def _update(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        """The command that `bulk_write` sends, without what that does for each of its requests: half the time of all.

        Nor is it sent again by itself when the connection breaks: what was done of it is read then. Documents that
        are to be deleted are marked by it, and deleted afterwards.
        """
        with collector_paused():
            updates = [_statement(one) for one in operations]
        answer = await self._database.command(
            "update",
            collection,
            # The text of an error may quote what is no text in a broken document.
            codec_options=_CODEC_OPTIONS.with_options(unicode_decode_error_handler="replace"),
            updates=updates,
            ordered=False,
            writeConcern=self._write_concern.document,
        )
        failures = _failures(answer.get("writeErrors", ()), answer.get("writeConcernError"))
        if marked := [Delete(one.id, {"rev": one.rev}) for one in operations if isinstance(one, Delete)]:
            await self._bulk_write(collection, marked)
        return failures

    async def _bulk_write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        requests = [_request(operation) for operation in operations]
        try:
            await self._database[collection].bulk_write(requests, ordered=False)
        except BulkWriteError as error:
            details = error.details
            return _failures(details["writeErrors"], next(iter(details.get("writeConcernErrors", ())), None))
        return {}

    async def insert_if_missing(self, collection: str, document_id: Any, fields: Mapping[str, Any]) -> None:
        """Makes a document, unless it is there already."""
        with _translated():
            await self._database[collection].update_one({"_id": document_id}, {"$setOnInsert": fields}, upsert=True)

    async def update_each(
        self,
        collection: str,
        updates: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
        *,
        upsert: bool = False,
    ) -> Updated:
        """Changes documents by pipelines, each by its own, in one command and for a majority.

        Args:
            collection: Where they are.
            updates: Which document, and its pipeline; may be done more than once.
            upsert: Whether a document is made where there is none.
        """
        statements = [{"q": query, "u": list(pipeline), "upsert": upsert} for query, pipeline in updates]
        with _translated():
            answer = await self._database.command(
                "update", collection, updates=statements, ordered=False, writeConcern={"w": "majority"}
            )
        for failure in _failures(answer.get("writeErrors", ()), answer.get("writeConcernError")).values():
            # That two make a document at once is no failure: then the server tries again (MongoDB manual, upserts).
            raise RefusedError(f"MongoDB refuses: {failure.reason}")
        return Updated(answer["n"], {one["index"] for one in answer.get("upserted", ())})

    async def delete_each(self, collection: str, queries: Sequence[Mapping[str, Any]]) -> int:
        """Deletes documents, one for each query and in one command; how many. A failover may undo it."""
        deletes = [{"q": query, "limit": 1} for query in queries]
        with _translated():
            answer = await self._database.command(
                "delete", collection, deletes=deletes, ordered=False, writeConcern={"w": 1}
            )
        for failure in _failures(answer.get("writeErrors", ()), None).values():
            raise RefusedError(f"MongoDB refuses: {failure.reason}")
        return int(answer["n"])

    async def can_watch(self, hello: Mapping[str, Any]) -> str | None:
        """Why change streams cannot be had from this server; `None` if they can."""
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            return "it is not a replica set"
        try:
            answer = await self._database.command(
                "aggregate", 1, pipeline=[{"$changeStream": {}}], cursor={"batchSize": 0}
            )
            await self._kill(answer["cursor"])
        except OperationFailure as error:
            return f"this user may not open one ({(error.details or {}).get('codeName', error.code)})"
        except PyMongoError as error:
            raise UnavailableError(f"no MongoDB server answers: {error}") from error
        return None

    async def watch(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        start_at: Timestamp | None,
        resume_after: Mapping[str, Any] | None,
    ) -> AsyncIterator[Changes]:
        """The changes of the database's collections, as they happen.

        Once it is open, and from time to time when nothing happens, it gives no changes, but a place to resume at.

        Args:
            pipeline: What to let through; must keep `_id`, the resume token.
            start_at: The server's time to begin at.
            resume_after: The token after which to go on, instead.

        Raises:
            UnavailableError: If the server is gone; the stream may be resumed.
            RefusedError: If the stream cannot be had, or not be resumed.
        """
        hello = await self.hello()
        watch = self._watch_sharded if hello.get("msg") == "isdbgrid" else self._watch_replica_set
        try:
            with _translated():
                async with contextlib.aclosing(watch(pipeline, start_at, resume_after)) as stream:
                    async for changes in stream:
                        yield changes
        except RefusedError as error:
            if _is_resumable(error.__cause__):
                raise UnavailableError(f"the change stream was interrupted: {error}") from error
            raise

    async def _watch_replica_set(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        start_at: Timestamp | None,
        resume_after: Mapping[str, Any] | None,
    ) -> AsyncGenerator[Changes, None]:
        """Sends the commands that a driver's `watch` sends: with Motor, that asks a thread for each single change."""
        where = {"resumeAfter": resume_after} if resume_after else {"startAtOperationTime": start_at}
        started = self._client.start_session()
        session = await started if inspect.isawaitable(started) else started
        cursor: Mapping[str, Any] = {"id": 0}
        command = self._database.command
        try:
            stages = [{"$changeStream": where}, *pipeline]
            answer = await command("aggregate", 1, pipeline=stages, cursor={"batchSize": 0}, session=session)
            while True:
                cursor = answer["cursor"]
                yield Changes(cursor.get("nextBatch", ()), cursor.get("postBatchResumeToken"))
                if not cursor["id"]:
                    return
                answer = await command(
                    "getMore", cursor["id"], collection="$cmd.aggregate", maxTimeMS=_AWAIT_MS, session=session
                )
        except (GeneratorExit, asyncio.CancelledError):  # else it is gone
            await self._kill(cursor)
            raise
        finally:
            ended = session.end_session()
            if inspect.isawaitable(ended):
                await ended

    async def _watch_sharded(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        start_at: Timestamp | None,
        resume_after: Mapping[str, Any] | None,
    ) -> AsyncGenerator[Changes, None]:
        """Of several routers, only a driver's own cursor finds the right one again."""
        where = {"resume_after": resume_after} if resume_after else {"start_at_operation_time": start_at}
        made = self._database.watch(pipeline, max_await_time_ms=_AWAIT_MS, **where)
        stream = await made if inspect.isawaitable(made) else made
        try:
            while stream.alive:
                change = await stream.try_next()
                yield Changes(() if change is None else (change,), stream.resume_token)
        finally:
            await stream.close()

    async def _kill(self, cursor: Mapping[str, Any]) -> None:
        """Ends a cursor on the server, if it can be reached; else that ends it by itself."""
        if cursor["id"]:
            with contextlib.suppress(PyMongoError):
                await self._database.command("killCursors", cursor["ns"].partition(".")[2], cursors=[cursor["id"]])

    async def create_index(self, collection: str, field: str) -> None:
        """Makes an index, if it is not there yet."""
        with _translated():
            await self._database[collection].create_index(field)

    async def close(self) -> None:
        """Closes the client, if we have made it."""
        if self._owned:
            closing = self._client.close()
            if inspect.isawaitable(closing):
                await closing


class MockDriver(Driver):
    """A database of mongomock-motor: no raw batches, no `hello`, no bulk writes, no pipelines."""

    def __init__(self, client: Any, database: str, *, owned: bool) -> None:  # noqa: ARG002
        self._client = client
        self._owned = False
        self._database = client.get_database(database)

    async def hello(self) -> dict[str, Any]:
        """What a standalone server would say."""
        return {"isWritablePrimary": True}

    async def can_watch(self, hello: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """See `Driver.can_watch`."""
        return "mongomock has none"

    async def raw_batches(
        self, collection: str, query: Mapping[str, Any], fields: Sequence[str]
    ) -> AsyncIterator[list[bytes]]:
        """See `Driver.raw_batches`."""
        documents = await self._database[collection].find(query, dict.fromkeys(fields, 1)).to_list(None)
        yield [bson.encode(document, codec_options=_CODEC_OPTIONS) for document in documents]

    async def raw_documents(self, wanted: Sequence[ByIds]) -> list[list[bytes]]:
        """See `Driver.raw_documents`; one by one."""
        return [await self._raw_documents(one) for one in wanted]

    async def write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        """See `Driver.write`; one by one, as mongomock does not know the `UpdateOne` of PyMongo 4.11."""
        target = self._database[collection]
        failures = {}
        for index, operation in enumerate(operations):
            try:
                if isinstance(operation, Delete):
                    await target.delete_one({"_id": operation.id, **operation.guard})
                elif isinstance(operation, Insert):
                    await target.insert_one({"_id": operation.id, **operation.fields})
                else:
                    for update in operation.changes.steps(operation.rev, datetime.now(timezone.utc)):
                        await target.update_one({"_id": operation.id}, update, upsert=True)
            except OperationFailure as error:
                failures[index] = Failure(str(error), outdated=True)
        return failures


def _request(operation: Operation) -> UpdateOne | DeleteOne | InsertOne[dict[str, Any]]:
    if isinstance(operation, Delete):
        return DeleteOne({"_id": operation.id, **operation.guard})
    if isinstance(operation, Insert):
        return InsertOne({"_id": operation.id, **operation.fields})
    changes = operation.changes
    return UpdateOne({"_id": operation.id, **changes.guard()}, changes.update(operation.rev), upsert=True)


def _can_be_updates(operations: Sequence[Operation]) -> bool:
    """Whether there is something to update, and all that is to be deleted beside it can be marked first."""
    deleted = [one for one in operations if isinstance(one, Delete)]
    updated = sum(isinstance(one, Upsert) for one in operations)
    return 0 < updated == len(operations) - len(deleted) and all(one.mark for one in deleted)


def _statement(operation: Operation) -> dict[str, Any]:
    if isinstance(operation, Delete):
        marked = {"$set": {**operation.mark, "rev": operation.rev}, "$currentDate": {"updated_at": True}}
        return {"q": {"_id": operation.id, **operation.guard}, "u": marked}
    assert isinstance(operation, Upsert)  # noqa: S101  (for the type checker)
    changes = operation.changes
    return {"q": {"_id": operation.id, **changes.guard()}, "u": changes.update(operation.rev), "upsert": True}


def _numbered(number: int, wanted: ByIds) -> list[dict[str, Any]]:
    """The part of a pipeline that reads the documents of one collection, each inside another that says of which."""
    return [
        {"$match": {"_id": {"$in": wanted.ids}}},
        {"$project": dict.fromkeys(wanted.fields, 1)},
        {"$replaceRoot": {"newRoot": {"n": {"$literal": number}, "d": "$$ROOT"}}},
    ]


def _unnumbered(raw: bytes) -> tuple[int, bytes]:
    """The number and the document: a length, then the type, the name and the value of each, and an end."""
    return int.from_bytes(raw[7:11], "little"), raw[14:-1]


def _split(batch: bytes) -> list[bytes]:
    """The documents of a batch, which are BSON one after another, each with its length in front."""
    documents = []
    start, end = 0, len(batch)
    while start < end:
        length = int.from_bytes(batch[start : start + 4], "little")
        documents.append(batch[start : start + length])
        start += length
    return documents


def _is_for_one(error: Exception) -> bool:
    """Whether all writes were refused for what one of them is."""
    cause = error.__cause__
    return isinstance(error, BSONError) or (isinstance(cause, OperationFailure) and cause.code in _TOO_LARGE)


def _is_resumable(error: BaseException | None) -> bool:
    """Whether a change stream that was refused may go on elsewhere (MongoDB, change streams specification)."""
    if not isinstance(error, OperationFailure):
        return False
    return error.code == _CURSOR_NOT_FOUND or error.has_error_label("ResumableChangeStreamError")


def _failures(errors: Sequence[Mapping[str, Any]], unacknowledged: Mapping[str, Any] | None) -> dict[int, Failure]:
    """What a server said of writes that it has refused.

    Raises:
        UnavailableError: If it could not do them at all now, or cannot say that they will last.
    """
    if unacknowledged is not None:
        text = unacknowledged.get("errmsg", "")
        raise UnavailableError(f"the writes are not acknowledged by a majority: {text}")
    if any(error.get("code") in _TRANSIENT for error in errors):
        raise UnavailableError(errors[0].get("errmsg"))
    return {error["index"]: _failure(error) for error in errors}


def _failure(entry: Mapping[str, Any]) -> Failure:
    code = entry.get("code")
    if code == _DUPLICATE_KEY:  # its text holds the key's value
        fields = list(entry.get("keyPattern", ()))
        reason = f"another document has the same {' and '.join(fields)}, for which there is a unique index"
        return Failure(reason, outdated=fields == ["_id"], path=fields[0] if fields else "")
    if code in _TOO_LARGE:
        return Failure("with what others have stored in it, it would be larger than the 16 MB that MongoDB takes")
    return Failure(str(entry.get("errmsg", f"error {code}")), outdated=code == _PATH_NOT_VIABLE)


@contextmanager
def _translated() -> Iterator[None]:
    """Turns a driver's errors into ours."""
    try:
        yield
    except (AutoReconnect, ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError) as error:
        text = str(error)
        for details in (", Topology Description", " (configured timeouts", ", full error"):
            text = text.partition(details)[0]
        raise UnavailableError(f"no MongoDB server answers: {text}") from error
    except BulkWriteError:
        raise
    except OperationFailure as error:
        if error.code in _TRANSIENT or error.has_error_label("RetryableWriteError"):
            raise UnavailableError(f"the MongoDB server is changing: {error.details}") from error
        text = (error.details or {}).get("errmsg", str(error).partition(", full error")[0])
        text = text.partition(" to execute command")[0]  # which holds users' data
        if error.code in _AUTHENTICATION_FAILED:
            raise ConfigurationError(
                f"MongoDB refuses the user name or the password ({text}); look at the user, at the password (escaped "
                "with urllib.parse.quote_plus) and at authSource in the connection string"
            ) from error
        raise RefusedError(f"MongoDB refuses: {text} (error {error.code})") from error
    except PyMongoError as error:
        raise RefusedError(f"the MongoDB driver refuses: {error}") from error
