"""A database on a real server, through Motor or PyMongo's async API."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.timestamp import Timestamp
from pymongo.errors import BulkWriteError
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from ptb_mongo.driver import streams
from ptb_mongo.driver.batches import ByIds, numbered, split, unnumbered
from ptb_mongo.driver.failures import check_writes, failures_in, is_for_one, is_resumable, translated
from ptb_mongo.driver.operations import Delete, Failure, Operation
from ptb_mongo.driver.statements import can_be_updates, request, statement
from ptb_mongo.driver.streams import Changes
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.garbage import collector_paused

__all__ = ["CODEC_OPTIONS", "Driver", "Updated"]

CODEC_OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, tz_aware=True
)


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
            codec_options=CODEC_OPTIONS,
            read_preference=ReadPreference.PRIMARY,  # never older than our own writes
            write_concern=self._write_concern,
        )

    async def hello(self) -> dict[str, Any]:
        """What the server says of itself.

        Raises:
            UnavailableError: If none answers.
            ConfigurationError: If it refuses the credentials.
        """
        with translated():
            answer: dict[str, Any] = await self._database.command("hello")
        return answer

    async def raw_batches(
        self, collection: str, query: Mapping[str, Any], fields: Sequence[str]
    ) -> AsyncIterator[list[bytes]]:
        """The documents that match, as BSON bytes with `_id` first and only these fields (all, if none is named)."""
        with translated():
            projection = dict.fromkeys(fields, 1) or None
            cursor = self._database[collection].find_raw_batches(query, projection=projection)
            async for batch in cursor:
                yield split(batch)

    async def raw_documents(self, wanted: Sequence[ByIds]) -> list[list[bytes]]:
        """Documents of several collections, by their ids and as `raw_batches` gives them, in one round trip."""
        if len(wanted) == 1:
            return [await self._raw_documents(wanted[0])]
        collection, first, others = wanted[0].collection, numbered(0, wanted[0]), enumerate(wanted[1:], 1)
        unions = [{"$unionWith": {"coll": one.collection, "pipeline": numbered(number, one)}} for number, one in others]
        found: list[list[bytes]] = [[] for _ in wanted]
        with translated():
            made = self._database[collection].aggregate_raw_batches([*first, *unions])
            async for batch in await made if inspect.isawaitable(made) else made:
                for raw in split(batch):
                    number, document = unnumbered(raw)
                    found[number].append(document)
        return found

    async def _raw_documents(self, wanted: ByIds) -> list[bytes]:
        query = {"_id": {"$in": wanted.ids}}
        return [raw async for raws in self.raw_batches(wanted.collection, query, wanted.fields) for raw in raws]

    async def find(
        self, collection: str, query: Mapping[str, Any], fields: Mapping[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The documents that match, or some fields of them, decoded; for the few that are not users' data."""
        with translated():
            async for document in self._database[collection].find(query, fields):
                yield document

    async def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a command; for the command line."""
        with translated():
            answer: dict[str, Any] = await self._database.command(command)
        return answer

    async def aggregate(self, collection: str, pipeline: Sequence[Mapping[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """What a pipeline gives; for the command line."""
        with translated():
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
            with translated():
                if self._write_concern.acknowledged and can_be_updates(operations):
                    return await self._update(collection, operations)
                return await self._bulk_write(collection, operations)
        except (BSONError, RefusedError) as error:
            if not is_for_one(error):
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
            updates = [statement(one) for one in operations]
        answer = await self._database.command(
            "update",
            collection,
            # The text of an error may quote what is no text in a broken document.
            codec_options=CODEC_OPTIONS.with_options(unicode_decode_error_handler="replace"),
            updates=updates,
            ordered=False,
            writeConcern=self._write_concern.document,
        )
        failures = failures_in(answer.get("writeErrors", ()), answer.get("writeConcernError"))
        if marked := [Delete(one.id, {"rev": one.rev}) for one in operations if isinstance(one, Delete)]:
            await self._bulk_write(collection, marked)
        return failures

    async def _bulk_write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        requests = [request(operation) for operation in operations]
        try:
            await self._database[collection].bulk_write(requests, ordered=False)
        except BulkWriteError as error:
            details = error.details
            return failures_in(details["writeErrors"], next(iter(details.get("writeConcernErrors", ())), None))
        return {}

    async def insert_if_missing(self, collection: str, document_id: Any, fields: Mapping[str, Any]) -> None:
        """Makes a document, unless it is there already."""
        with translated():
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
        with translated():
            answer = await self._database.command(
                "update", collection, updates=statements, ordered=False, writeConcern={"w": "majority"}
            )
        # That two make a document at once is no failure: then the server tries again (MongoDB manual, upserts).
        check_writes(answer)
        return Updated(answer["n"], {one["index"] for one in answer.get("upserted", ())})

    async def delete_each(self, collection: str, queries: Sequence[Mapping[str, Any]]) -> int:
        """Deletes documents, one for each query and in one command; how many. A failover may undo it."""
        deletes = [{"q": query, "limit": 1} for query in queries]
        with translated():
            answer = await self._database.command(
                "delete", collection, deletes=deletes, ordered=False, writeConcern={"w": 1}
            )
        check_writes(answer)
        return int(answer["n"])

    async def can_watch(self, hello: Mapping[str, Any]) -> str | None:
        """Why change streams cannot be had from this server; `None` if they can."""
        return await streams.why_none(self._database, hello)

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
        follow = streams.of_sharded_cluster if streams.is_sharded(hello) else streams.of_replica_set
        try:
            with translated():
                async with contextlib.aclosing(follow(self._database, pipeline, start_at, resume_after)) as stream:
                    async for changes in stream:
                        yield changes
        except RefusedError as error:
            if is_resumable(error.__cause__):
                raise UnavailableError(f"the change stream was interrupted: {error}") from error
            raise

    async def create_index(self, collection: str, field: str) -> None:
        """Makes an index, if it is not there yet."""
        with translated():
            await self._database[collection].create_index(field)

    async def close(self) -> None:
        """Closes the client, if we have made it."""
        if self._owned:
            closing = self._client.close()
            if inspect.isawaitable(closing):
                await closing
