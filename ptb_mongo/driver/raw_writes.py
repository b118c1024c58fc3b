"""Documents that are written as the bytes that they are, and reads of one point in time; for backups.

The errors are those of the driver: the callers translate them.
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
from ptb_mongo.driver.failures import failures_in
from ptb_mongo.driver.operations import Failure
from ptb_mongo.errors import RefusedError

__all__ = ["insert", "replace", "snapshot"]


@contextlib.asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[Any]:
    """A session in which all reads see one point in time; `None` if the server offers none."""
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


async def insert(database: Any, collection: str, raws: Sequence[bytes]) -> dict[int, Failure]:
    """Inserts documents; returns the failures by position, *outdated* for those that exist."""
    return _failures(await _sent(database, "insert", collection, "documents", [RawBSONDocument(raw) for raw in raws]))


async def replace(database: Any, collection: str, raws: Sequence[bytes]) -> dict[int, Failure]:
    """Replaces documents, or inserts them; returns the failures by position."""
    documents = [RawBSONDocument(raw) for raw in raws]
    updates = [{"q": {"_id": {"$eq": one["_id"]}}, "u": one, "upsert": True} for one in documents]
    return _failures(await _sent(database, "update", collection, "updates", updates))


async def _sent(database: Any, command: str, collection: str, name: str, parts: Sequence[Any]) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = await database.command(
        command,
        collection,
        codec_options=OF_WRITES,
        ordered=False,
        writeConcern=database.write_concern.document,
        **{name: parts},
    )
    return answer


def _failures(answer: Mapping[str, Any]) -> dict[int, Failure]:
    return failures_in(answer.get("writeErrors", ()), answer.get("writeConcernError"))
