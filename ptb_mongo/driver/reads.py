"""Reads of users' documents, as the BSON bytes that the server sent.

The errors are those of the driver: its callers translate them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern

from ptb_mongo.driver.batches import ByIds, numbered, split, unnumbered
from ptb_mongo.driver.decoding import RAW
from ptb_mongo.driver.streams import kill

__all__ = ["batches", "documents", "documents_of_several", "lasting_documents"]

_MOST_TIME: Final = 10_000  # milliseconds that a server waits for a majority
_ALL: Final = 2**31 - 1  # documents in the first batch; the server ends it at 16 MB


async def batches(
    collection: Any, query: Mapping[str, Any], fields: Sequence[str], **options: Any
) -> AsyncIterator[list[bytes]]:
    """The documents that match, with `_id` first and only these fields (all, if none is named)."""
    projection = dict.fromkeys(fields, 1) or None
    async for batch in collection.find_raw_batches(query, projection=projection, **options):
        yield split(batch)


async def documents(database: Any, wanted: ByIds) -> list[bytes]:
    """Documents of one collection, by their ids."""
    return await _by_ids(database[wanted.collection], wanted)


async def documents_of_several(database: Any, wanted: Sequence[ByIds]) -> list[list[bytes]]:
    """Documents of several collections, by their ids, in one round trip unless they are more than 16 MB.

    A driver's own cursor of raw batches always takes an empty batch first, and so a second round trip.
    """
    found: list[list[bytes]] = [[] for _ in wanted]
    cursor = (await _retried(database, _united(wanted)))["cursor"]
    if cursor["id"]:
        await kill(database, cursor)
        return [await documents(database, one) for one in wanted]
    for document in cursor["firstBatch"]:
        number, raw = unnumbered(document.raw)
        found[number].append(raw)
    return found


def _united(wanted: Sequence[ByIds]) -> dict[str, Any]:
    """The command that reads documents of several collections."""
    others = enumerate(wanted[1:], 1)
    unions = [{"$unionWith": {"coll": one.collection, "pipeline": numbered(number, one)}} for number, one in others]
    pipeline = [*numbered(0, wanted[0]), *unions]
    return {"aggregate": wanted[0].collection, "pipeline": pipeline, "cursor": {"batchSize": _ALL}}


async def _retried(database: Any, command: Mapping[str, Any]) -> RawBSONDocument:
    """The answer to a command that reads; sent once more if the connection broke, as a driver does with its own."""
    try:
        answer: RawBSONDocument = await database.command(command, codec_options=RAW)
    except ServerSelectionTimeoutError:
        raise
    except AutoReconnect:
        answer = await database.command(command, codec_options=RAW)
    return answer


async def lasting_documents(database: Any, wanted: ByIds) -> list[bytes]:
    """Documents as a majority has them, and no older than any that was acknowledged before.

    A linearizable read waits until a majority has confirmed that this server is still the primary, and has what was
    read. MongoDB promises it for a single document; a server that reads several waits at the end, all the same, as long
    as they come in one batch.
    """
    collection = database[wanted.collection].with_options(read_concern=ReadConcern("linearizable"))
    return await _by_ids(collection, wanted, max_time_ms=_MOST_TIME)


async def _by_ids(collection: Any, wanted: ByIds, **options: Any) -> list[bytes]:
    query = {"_id": {"$in": wanted.ids}}
    options["batch_size"] = len(wanted.ids) + 1  # all of them in one round trip
    return [raw async for raws in batches(collection, query, wanted.fields, **options) for raw in raws]
