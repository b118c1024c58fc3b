"""Documents as BSON bytes: a batch of them, and those of several collections in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["ByIds", "numbered", "split", "unnumbered"]


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


def numbered(number: int, wanted: ByIds) -> list[dict[str, Any]]:
    """The part of a pipeline that reads the documents of one collection, each inside another that says of which."""
    return [
        {"$match": {"_id": {"$in": wanted.ids}}},
        {"$project": dict.fromkeys(wanted.fields, 1)},
        {"$replaceRoot": {"newRoot": {"n": {"$literal": number}, "d": "$$ROOT"}}},
    ]


def unnumbered(raw: bytes) -> tuple[int, bytes]:
    """The number and the document: a length, then the type, the name and the value of each, and an end."""
    return int.from_bytes(raw[7:11], "little"), raw[14:-1]


def split(batch: bytes) -> list[bytes]:
    """The documents of a batch, which are BSON one after another, each with its length in front."""
    documents = []
    start, end = 0, len(batch)
    while start < end:
        length = int.from_bytes(batch[start : start + 4], "little")
        documents.append(batch[start : start + length])
        start += length
    return documents
