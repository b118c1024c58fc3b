"""What backups and expiry need from a database.

Writing documents byte for byte, reading from one point in time, setting a date in many documents at once.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from ptb_mongo.driver.connection import Connection
from ptb_mongo.driver.decoding import OF_WRITES
from ptb_mongo.driver.failures import check_writes, failures_in
from ptb_mongo.driver.operations import Failure
from ptb_mongo.errors import RefusedError

__all__ = ["RawWrites"]


class RawWrites:
    """A part of `Driver`."""

    _connection: Connection

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        """A session for `raw_batches` in which all reads see one point in time; `None` if the server offers none."""
        async with _snapshot(self._connection) as session:
            yield session

    async def insert_raw(self, collection: str, raws: Sequence[bytes]) -> dict[int, Failure]:
        """Inserts documents as they are; returns the failures by position, *outdated* for those that exist."""
        documents = [RawBSONDocument(raw) for raw in raws]
        return await self._connection.run(
            lambda database: _sent(database, "insert", collection, "documents", documents)
        )

    async def replace_raw(self, collection: str, raws: Sequence[bytes]) -> dict[int, Failure]:
        """Replaces documents, or inserts them; returns the failures by position."""
        documents = [RawBSONDocument(raw) for raw in raws]
        updates = [{"q": {"_id": {"$eq": one["_id"]}}, "u": one, "upsert": True} for one in documents]
        return await self._connection.run(lambda database: _sent(database, "update", collection, "updates", updates))

    async def touch(self, collection: str, query: Mapping[str, Any], field: str, *, unset: bool = False) -> int:
        """Sets a field of all matching documents to the server's time, or removes it; returns how many matched.

        A failover may undo it, which does no harm.
        """
        change = {"$unset": {field: ""}} if unset else {"$currentDate": {field: True}}
        hint = {"hint": {"_id": 1}} if "_id" in query else {}  # not the field's own index, as the field changes
        updates = [{"q": query, "u": change, "multi": True, **hint}]
        answer = await self._connection.run(
            lambda database: database.command(
                "update", collection, updates=updates, ordered=False, writeConcern={"w": 1}, codec_options=OF_WRITES
            )
        )
        check_writes(answer)
        return int(answer["n"])


@contextlib.asynccontextmanager
async def _snapshot(connection: Connection) -> AsyncIterator[Any]:
    """A session in which all reads see the same point in time; `None` if the server offers none."""
    session = None
    try:

        async def begun(database: Any) -> Any:
            started = database.client.start_session(snapshot=True)
            session = await started if inspect.isawaitable(started) else started
            try:
                await database["ptb_mongo"].find_one({}, {"_id": 1}, session=session)
            except PyMongoError:
                await _end(session)
                raise
            return session

        session = await connection.run(begun)
    except RefusedError as error:
        if not isinstance(error.__cause__, (ConfigurationError, OperationFailure)):
            raise
    try:
        yield session
    finally:
        if session is not None:
            await _end(session)


async def _end(session: Any) -> None:
    with contextlib.suppress(PyMongoError):
        ended = session.end_session()
        if inspect.isawaitable(ended):
            await ended


async def _sent(database: Any, command: str, collection: str, name: str, parts: Sequence[Any]) -> dict[int, Failure]:
    answer: Mapping[str, Any] = await database.command(
        command,
        collection,
        codec_options=OF_WRITES,
        ordered=False,
        writeConcern=database.write_concern.document,
        **{name: parts},
    )
    return failures_in(answer.get("writeErrors", ()), answer.get("writeConcernError"))
