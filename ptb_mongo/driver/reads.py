"""Reads of users' documents, as the BSON bytes that the server sent.

They raise the driver's errors, which the callers translate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern

from ptb_mongo.driver.batches import ByIds, Page, Selection, elements, numbered, split, unnumbered
from ptb_mongo.driver.decoding import RAW
from ptb_mongo.driver.streams import kill

__all__ = ["batches", "documents", "documents_of_page", "documents_of_several", "first_documents", "lasting_documents"]

_MOST_TIME: Final = 10_000  # milliseconds that a server waits for a majority
_TOGETHER: Final = 10_000  # documents in one batch; the next one arrives while they are processed
_ALL: Final = 2**31 - 1  # documents in the first batch; the server ends it at 16 MB


async def batches(
    collection: Any, query: Mapping[str, Any], fields: Sequence[str], **options: Any
) -> AsyncIterator[list[bytes]]:
    """The documents that match, with `_id` first and only these fields (all if none is named)."""
    projection = dict.fromkeys(fields, 1) or None
    options.setdefault("batch_size", _TOGETHER)
    async for batch in collection.find_raw_batches(query, projection=projection, **options):
        yield split(batch)


async def documents_of_page(database: Any, page: Page) -> list[bytes]:
    """The documents of a page; leaves no cursor, which the server might close before the next page is requested."""
    options = {"sort": [*page.sort], "limit": page.most, "batch_size": page.most + 1, "allow_disk_use": True}
    found = batches(database[page.collection], page.query, page.fields, **options)
    return [raw async for raws in found for raw in raws]


async def documents(database: Any, wanted: ByIds) -> list[bytes]:
    """Documents of one collection, by their ids, in one round trip unless they exceed 16 MB.

    A driver's own cursor of raw batches always fetches an empty batch first, which costs a second round trip.
    """
    query = {"find": wanted.collection, "filter": {"_id": {"$in": wanted.ids}}}
    fields = {"projection": dict.fromkeys(wanted.fields, 1)} if wanted.fields else {}
    cursor = (await _retried(database, {**query, **fields, "batchSize": len(wanted.ids) + 1}))["cursor"]
    if not cursor["id"]:
        return elements(cursor.raw)
    await kill(database, cursor)
    return await _by_ids(database[wanted.collection], wanted)


async def documents_of_several(database: Any, wanted: Sequence[ByIds]) -> list[list[bytes]]:
    """Documents of several collections, by their ids, in one round trip unless they exceed 16 MB."""
    selections = [Selection(one.collection, {"_id": {"$in": one.ids}}, one.fields) for one in wanted]
    found, is_all = await _batch_of_several(database, selections, _ALL)
    return found if is_all else [await documents(database, one) for one in wanted]


async def first_documents(database: Any, wanted: Sequence[Selection], most: int) -> list[list[bytes] | None]:
    """Documents of several collections in one round trip; `None` for a collection that was not read to its end.

    Args:
        database: The database.
        wanted: What to read; a collection with many documents should come last.
        most: How many documents to read in all; 16 MB is another limit.
    """
    found, is_all = await _batch_of_several(database, wanted, most)
    last = max((number for number, raws in enumerate(found) if raws), default=0)
    return [raws if is_all or number < last else None for number, raws in enumerate(found)]


async def _batch_of_several(database: Any, wanted: Sequence[Selection], most: int) -> tuple[list[list[bytes]], bool]:
    """The first documents of several collections, by collection, and whether these are all of them."""
    others = enumerate(wanted[1:], 1)
    unions = [{"$unionWith": {"coll": one.collection, "pipeline": numbered(number, one)}} for number, one in others]
    pipeline = [*numbered(0, wanted[0]), *unions]
    command = {"aggregate": wanted[0].collection, "pipeline": pipeline, "cursor": {"batchSize": most}}
    cursor = (await _retried(database, command))["cursor"]
    found: list[list[bytes]] = [[] for _ in wanted]
    for document in cursor["firstBatch"]:
        number, raw = unnumbered(document.raw)
        found[number].append(raw)
    if cursor["id"]:
        await kill(database, cursor)
    return found, not cursor["id"]


async def _retried(database: Any, command: Mapping[str, Any]) -> RawBSONDocument:
    """The answer to a command that reads; sent once more if the connection broke, as drivers do with theirs."""
    try:
        answer: RawBSONDocument = await database.command(command, codec_options=RAW)
    except ServerSelectionTimeoutError:
        raise
    except AutoReconnect:
        answer = await database.command(command, codec_options=RAW)
    return answer


async def lasting_documents(database: Any, wanted: ByIds) -> list[bytes]:
    """Documents as a majority has them, and no older than any that was acknowledged before.

    A linearizable read waits until a majority has confirmed that this server is still the primary and that it has what
    was read. MongoDB guarantees this for a single document only; but a server that reads several waits at the end as
    well, as long as they fit into one batch.
    """
    collection = database[wanted.collection].with_options(read_concern=ReadConcern("linearizable"))
    return await _by_ids(collection, wanted, max_time_ms=_MOST_TIME)


async def _by_ids(collection: Any, wanted: ByIds, **options: Any) -> list[bytes]:
    query = {"_id": {"$in": wanted.ids}}
    options["batch_size"] = len(wanted.ids) + 1  # all of them in one round trip
    return [raw async for raws in batches(collection, query, wanted.fields, **options) for raw in raws]
