"""A database on a real server, through Motor or PyMongo's async API."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import bson
from bson.timestamp import Timestamp
from pymongo.collection import ReturnDocument

from ptb_mongo.driver import codes, options, reads, statements, streams
from ptb_mongo.driver.batches import ByIds, Page, Selection, identity
from ptb_mongo.driver.connection import Connection
from ptb_mongo.driver.decoding import ANYTHING, CODEC_OPTIONS, OF_WRITES
from ptb_mongo.driver.failures import alone, check_writes, failures_in, is_for_one, is_resumable, refused_in, translated
from ptb_mongo.driver.operations import Failure, Operation, Updated
from ptb_mongo.driver.raw_writes import RawWrites
from ptb_mongo.driver.streams import Events
from ptb_mongo.driver.transactions import Outcome, transact
from ptb_mongo.errors import PersistenceError, RefusedError, UnavailableError
from ptb_mongo.gc_pause import collector_paused

__all__ = ["CODEC_OPTIONS", "Driver"]


class Driver(RawWrites):
    """A database on a real server, through Motor or PyMongo's async API.

    Args:
        client: The client.
        database: The database's name.
        owned: Whether the client is ours and must be closed.
        renew: Creates another client like this one.

    Attributes:
        may_roll_back: Whether an election may undo what was read; known once the server has answered `hello`.
    """

    def __init__(
        self, client: Any, database: str, *, owned: bool, renew: Callable[[], Awaitable[Any]] | None = None
    ) -> None:
        self._connection = Connection(client, database, owned=owned, renew=renew)
        self.may_roll_back = False

    async def hello(self) -> dict[str, Any]:
        """The server's description of itself.

        Raises:
            UnavailableError: If no server answers.
            ConfigurationError: If the server refuses the credentials.
        """
        answer: dict[str, Any] = await self._connection.run(lambda database: database.command("hello"))
        self.may_roll_back = streams.may_have_any(answer)
        return answer

    async def raw_batches(
        self, collection: str, query: Mapping[str, Any], fields: Sequence[str], **options: Any
    ) -> AsyncIterator[list[bytes]]:
        """The documents that match, as BSON bytes with `_id` first and only these fields (all if none is named)."""
        async with contextlib.aclosing(
            self._connection.each(lambda database: reads.batches(database[collection], query, fields, **options))
        ) as batches:
            async for raws in batches:
                yield raws

    async def raw_documents(self, wanted: Sequence[ByIds], *, lasting: bool = False) -> list[list[bytes]]:
        """Documents of several collections, by their ids and in the form of `raw_batches`, in one round trip.

        With `lasting`, reads only what no election can undo, in one round trip per collection.

        Raises:
            UnavailableError: If no server answers; with `lasting`, also if it has no majority.
        """
        run = self._connection.run
        if lasting and self.may_roll_back:
            return [await run(partial(reads.lasting_documents, wanted=one)) for one in wanted]
        if len(wanted) > 1:
            return await run(partial(reads.documents_of_several, wanted=wanted))
        return [await run(partial(reads.documents, wanted=one)) for one in wanted]

    async def raw_page(self, page: Page) -> list[bytes]:
        """See `reads.documents_of_page`."""
        return await self._connection.run(partial(reads.documents_of_page, page=page))

    async def first_documents(self, wanted: Sequence[Selection], most: int) -> list[list[bytes] | None]:
        """See `reads.first_documents`."""
        return await self._connection.run(partial(reads.first_documents, wanted=wanted, most=most))

    async def find(
        self, collection: str, query: Mapping[str, Any], fields: Mapping[str, Any] | None = None, *, limit: int = 0
    ) -> AsyncIterator[dict[str, Any]]:
        """The documents that match (at most `limit`, unless it is 0), or some of their fields, decoded.

        For documents without users' data. Nothing that a stranger may have written there raises an error.
        """
        async with contextlib.aclosing(
            self._connection.each(
                lambda database: aiter(self._lenient(database[collection]).find(query, fields, limit=limit))
            )
        ) as documents:
            async for document in documents:
                yield document

    @staticmethod
    def _lenient(collection: Any) -> Any:
        """The collection, with options that decode whatever anybody may have written."""
        return collection.with_options(codec_options=ANYTHING)

    async def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a command."""
        answer: dict[str, Any] = await self._connection.run(lambda database: database.command(command))
        return answer

    async def aggregate(self, collection: str, pipeline: Sequence[Mapping[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """The results of a pipeline; for the command line."""
        with translated():
            made = self._lenient(self._connection.database[collection]).aggregate(pipeline, allowDiskUse=True)
            async for document in await made if inspect.isawaitable(made) else made:
                yield document

    async def write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        """Sends writes, each a compare-and-set; deletions follow when all others are done.

        These are the commands of a bulk write, without its retries: if the connection breaks, the caller must find out
        what was done before it sends anything again.

        Returns:
            The failures, by position.

        Raises:
            UnavailableError: If it is not known whether the writes were done.
            RefusedError: If the whole command is refused, for example for lack of a permission.
        """
        try:
            return await self._write(collection, operations)
        except Exception as error:
            if not is_for_one(error):
                raise
            if len(operations) == 1:
                return {0: alone(error)}
        half = len(operations) // 2
        first = await self.write(collection, operations[:half])
        second = await self.write(collection, operations[half:])
        return first | {half + index: failure for index, failure in second.items()}

    async def transact(self, writes: Mapping[str, Sequence[Operation]], marks: Mapping[str, Any]) -> Outcome:
        """See `transactions.transact`."""
        return await self._connection.run(partial(transact, writes=writes, marks=marks))

    async def _write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        with collector_paused():
            updates = {
                index: one for index, operation in enumerate(operations) if (one := statements.update(operation))
            }
        failures = await self._send("update", collection, operations, updates) if updates else {}
        deletions = {
            index: one
            for index, operation in enumerate(operations)
            if index not in failures and (one := statements.deletion(operation))
        }
        return failures | (await self._send("delete", collection, operations, deletions) if deletions else {})

    async def _send(
        self, command: str, collection: str, operations: Sequence[Operation], sent: Mapping[int, dict[str, Any]]
    ) -> dict[int, Failure]:
        """Sends one command.

        Args:
            command: "update" or "delete".
            collection: The collection to write to.
            operations: All operations.
            sent: The statements, by the positions of their operations.

        Returns:
            The failures, by that position.
        """
        positions = list(sent)
        answer = await self._connection.run(
            lambda database: database.command(
                command,
                collection,
                codec_options=OF_WRITES,
                ordered=False,
                writeConcern=self._connection.database.write_concern.document,
                **{f"{command}s": list(sent.values())},
            )
        )
        found = failures_in(answer.get("writeErrors", ()), answer.get("writeConcernError"))
        failures = {positions[index]: failure for index, failure in found.items()}
        rest = {position: operations[position] for position in positions if position not in failures}
        if answer["n"] < len(rest):  # some did not match, and the server does not say which
            failures |= await self._not_done(command, collection, rest)
        return failures

    async def _not_done(self, command: str, collection: str, operations: Mapping[int, Operation]) -> dict[int, Failure]:
        """The failures of writes that matched nothing, or whose document has been written again since."""
        ids = ByIds(collection, [operation.id for operation in operations.values()], ("rev",))
        revs = {}
        # A deletion by somebody else must last, as it takes the place of ours.
        lasting = command == "delete" and self.may_roll_back
        read = reads.lasting_documents if lasting else reads.documents
        for raw in await self._connection.run(partial(read, wanted=ids)):
            document = bson.decode(raw, ANYTHING)
            revs[identity(document["_id"])] = document.get("rev")

        def is_done(operation: Operation) -> bool:
            document_id = identity(operation.id)
            if command == "delete":
                return document_id not in revs
            return document_id in revs and revs[document_id] == statements.rev_of(operation)

        outdated = Failure("its document was changed by others", outdated=True)
        return {position: outdated for position, operation in operations.items() if not is_done(operation)}

    async def explained(self, error: PersistenceError) -> PersistenceError:
        """Why the very first write failed: names the option of the client to change, if that is the reason."""
        if error.__cause__ is None:
            return error
        return options.explained(error.__cause__, self._connection.client, await self.hello()) or error

    async def insert_if_missing(self, collection: str, document_id: Any, fields: Mapping[str, Any]) -> None:
        """Inserts a document, unless it exists."""
        await self.set_fields(collection, document_id, {}, insert=fields)

    async def set_fields(
        self, collection: str, document_id: Any, fields: Mapping[str, Any], *, insert: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Sets fields of a document, or inserts it; returns its previous version.

        Args:
            collection: Its collection.
            document_id: Its `_id`.
            fields: The fields to set.
            insert: More fields to set if it is inserted.
        """
        update = {name: part for name, part in {"$set": {**fields}, "$setOnInsert": {**insert}}.items() if part}
        before: dict[str, Any] | None = await self._connection.run(
            lambda database: self._lenient(database[collection]).find_one_and_update(
                {"_id": document_id}, update, upsert=True, return_document=ReturnDocument.BEFORE
            )
        )
        return before

    async def unset_field(self, collection: str, document_id: Any, field: str, value: Any) -> None:
        """Removes a field of a document, if it has a certain value."""
        await self._connection.run(
            lambda database: database[collection].update_one(
                {"_id": document_id, field: value}, {"$unset": {field: ""}}
            )
        )

    async def update_each(
        self,
        collection: str,
        updates: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
        *,
        upsert: bool = False,
    ) -> Updated:
        """Changes documents, each with its own pipeline, in one command with majority write concern.

        Args:
            collection: Their collection.
            updates: A filter and a pipeline for each document; must be safe to repeat.
            upsert: Whether to insert a document if none matches.
        """
        statements = [{"q": query, "u": list(pipeline), "upsert": upsert} for query, pipeline in updates]
        answer = await self._connection.run(
            lambda database: database.command(
                "update", collection, updates=statements, ordered=False, writeConcern={"w": "majority"}
            )
        )
        made = {one["index"] for one in answer.get("upserted", ())}
        return Updated(answer["n"], made, refused_in(answer))

    async def delete_each(self, collection: str, queries: Sequence[Mapping[str, Any]]) -> int:
        """Deletes a document for each query, in one command; returns how many. A failover may undo it."""
        deletes = [{"q": query, "limit": 1} for query in queries]
        answer = await self._connection.run(
            lambda database: database.command(
                "delete", collection, deletes=deletes, ordered=False, writeConcern={"w": 1}
            )
        )
        check_writes(answer)
        return int(answer["n"])

    async def delete_all(self, collection: str, query: Mapping[str, Any]) -> None:
        """Deletes all documents that match."""
        await self._connection.run(lambda database: database[collection].delete_many(query))

    async def probe_streams(self) -> str | None:
        """For `can_watch`, as soon as there is a connection; says nothing about a standalone server."""
        return await self._connection.run(streams.why_none)

    async def can_watch(self, hello: Mapping[str, Any], probe: Awaitable[str | None] | None = None) -> str | None:
        """Why this server offers no change streams; `None` if it does; `probe` is a pending `probe_streams`.

        Raises:
            ConfigurationError: If the client may not open a second connection for the stream.
            UnavailableError: If no server answers.
            RefusedError: If the server refuses the probe for now, so that it is unknown whether it does.
        """
        if not streams.may_have_any(hello):
            return "it is not a replica set"
        if (reason := await (probe or self.probe_streams())) is None:
            options.check_connections(self._connection.client)
        return reason

    async def watch(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        start_at: Timestamp | None,
        resume_after: Mapping[str, Any] | None,
    ) -> AsyncGenerator[Events, None]:
        """The events of the database's collections as they happen; tokens to resume after while there are none.

        Args:
            pipeline: Selects the events; must keep `_id`, the resume token.
            start_at: The server time to begin at.
            resume_after: The token to resume after instead.

        Raises:
            UnavailableError: If the connection broke; the stream may be resumed.
            RefusedError: If the server offers no stream, or cannot resume this one.
        """
        hello = await self.hello()
        follow = streams.of_sharded_cluster if streams.is_sharded(hello) else streams.of_replica_set
        try:
            async with contextlib.aclosing(
                self._connection.each(lambda database: follow(database, pipeline, start_at, resume_after), awaits=True)
            ) as stream:
                async for events in stream:
                    yield events
        except RefusedError as error:
            if is_resumable(error.__cause__):
                raise UnavailableError(f"the change stream was interrupted: {error}") from error
            raise

    async def create_index(self, collection: str, field: str, **options: Any) -> None:
        """Creates an index if it does not exist; does not wait for a slow one, and tolerates one that is refused."""
        try:
            await self._connection.run(lambda database: database[collection].create_index(field, **options))
        except UnavailableError:  # the server builds it all the same, or the next start asks again
            pass
        except RefusedError as error:
            if error.code not in codes.NO_INDEX:
                raise

    async def close(self) -> None:
        """Closes the client if it is ours."""
        await self._connection.close()
