"""Documents as BSON bytes: batches, and documents of several collections in one answer."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

__all__ = ["ByIds", "Page", "Selection", "elements", "identity", "numbered", "split", "unnumbered"]

_LENGTH: Final = struct.Struct("<I").unpack_from
_FIRST_BATCH: Final = b"\x04firstBatch\x00"


class ByIds(NamedTuple):
    """Documents of one collection.

    Attributes:
        collection: Its name.
        ids: The documents' `_id`s.
        fields: The other fields to read.
    """

    collection: str
    ids: Sequence[Any]
    fields: Sequence[str]


class Selection(NamedTuple):
    """Documents of one collection.

    Attributes:
        collection: Its name.
        query: What they match.
        fields: The other fields to read.
    """

    collection: str
    query: Mapping[str, Any]
    fields: Sequence[str]


class Page(NamedTuple):
    """The first documents of one collection in an order.

    Attributes:
        collection: Its name.
        query: What they match.
        fields: The other fields to read.
        sort: The order.
        most: How many.
    """

    collection: str
    query: Mapping[str, Any]
    fields: Sequence[str]
    sort: Sequence[tuple[str, int]]
    most: int


def numbered(number: int, wanted: Selection) -> list[dict[str, Any]]:
    """The stages that read the documents of one collection, each wrapped with the number of its collection."""
    return [
        {"$match": wanted.query},
        {"$project": dict.fromkeys(wanted.fields, 1)},
        {"$replaceRoot": {"newRoot": {"n": {"$literal": number}, "d": "$$ROOT"}}},
    ]


def unnumbered(raw: bytes | memoryview) -> tuple[int, bytes]:
    """The number and the document in a wrapped one: a length, then type, name and value of each, and a terminator.

    Some versions of PyMongo return a view of the whole answer, which would stay in memory as long as one document does.
    """
    return int.from_bytes(raw[7:11], "little"), bytes(raw[14:-1])


def split(batch: bytes) -> list[bytes]:
    """The documents of a batch: BSON documents one after another, each of which begins with its length."""
    documents = []
    start, end = 0, len(batch)
    while start < end:
        (length,) = _LENGTH(batch, start)
        documents.append(batch[start : start + length])
        start += length
    return documents


def elements(cursor: bytes | memoryview) -> list[bytes]:
    """The documents of the first batch in the field `cursor` of an answer.

    The driver would first create an object for each of them.
    """
    raw = bytes(cursor)
    documents = []
    start = raw.index(_FIRST_BATCH) + len(_FIRST_BATCH)
    (length,) = _LENGTH(raw, start)
    start, end = start + 4, start + length - 1
    while start < end:
        start = raw.index(b"\x00", start) + 1  # after the type and the position
        (length,) = _LENGTH(raw, start)
        documents.append(raw[start : start + length])
        start += length
    return documents


def identity(document_id: Any) -> Any:
    """A dict key for a document's `_id`; equal for ids that MongoDB treats as equal."""
    if isinstance(document_id, dict):
        return tuple((name, identity(part)) for name, part in document_id.items())
    if isinstance(document_id, list):
        return tuple(map(identity, document_id))
    return (bool, document_id) if isinstance(document_id, bool) else document_id
