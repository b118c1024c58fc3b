"""Reads of users' documents, as the BSON bytes that the server sent.

The errors are those of the driver: its callers translate them.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from pymongo.read_concern import ReadConcern

from ptb_mongo.driver.batches import ByIds, numbered, split, unnumbered

__all__ = ["batches", "documents", "documents_of_several", "lasting_documents"]

_MOST_TIME: Final = 10_000  # milliseconds that a server waits for a majority


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
    """Documents of several collections, by their ids, in one round trip."""
    collection, first, others = wanted[0].collection, numbered(0, wanted[0]), enumerate(wanted[1:], 1)
    unions = [{"$unionWith": {"coll": one.collection, "pipeline": numbered(number, one)}} for number, one in others]
    found: list[list[bytes]] = [[] for _ in wanted]
    made = database[collection].aggregate_raw_batches([*first, *unions])
    async for batch in await made if inspect.isawaitable(made) else made:
        for raw in split(batch):
            number, document = unnumbered(raw)
            found[number].append(document)
    return found


async def lasting_documents(database: Any, wanted: ByIds) -> list[bytes]:
    """Documents as a majority has them, and no older than any that was acknowledged before.

    A linearizable read waits until a majority has confirmed that this server is still the primary, and has what was
    read. MongoDB promises it for a single document; a server that reads several waits at the end, all the same, as long
    as they come in one batch.
    """
    collection = database[wanted.collection].with_options(read_concern=ReadConcern("linearizable"))
    return await _by_ids(collection, wanted, max_time_ms=_MOST_TIME, batch_size=len(wanted.ids) + 1)


async def _by_ids(collection: Any, wanted: ByIds, **options: Any) -> list[bytes]:
    query = {"_id": {"$in": wanted.ids}}
    return [raw async for raws in batches(collection, query, wanted.fields, **options) for raw in raws]
