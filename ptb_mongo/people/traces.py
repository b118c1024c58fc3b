"""Traces of one person in documents of others, or of nobody: found with their paths, and left alone.

A trace is the person's id, as a number or inside a text, a key or binary data. It may be something else, such as the
number of an order. So a person has to judge it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import bson
from bson.code import Code
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from ptb_mongo.driver import Driver
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.people.stored import names
from ptb_mongo.people.subject import KeyParts, Subject, unknown
from ptb_mongo.scopes.ids import whole_number

__all__ = ["MOST_PATHS", "Trace", "paths_in", "search"]

MOST_PATHS: Final = 20
"""How many paths of one document are named."""
_NUMBERS: Final = (int, float, Decimal128, bson.Int64)
_LONG_ENOUGH: Final = 2**24  # a smaller number occurs in binary data by chance


class Trace(NamedTuple):
    """A place where somebody is mentioned.

    Attributes:
        kind: The kind of the collection.
        collection: The collection.
        id: The document's `_id`.
        path: The keys that lead to the place, joined by dots.
    """

    kind: str
    collection: str
    id: Any
    path: str


async def search(
    driver: Driver, prefix: str, subject: Subject, parts: KeyParts = unknown
) -> AsyncIterator[Trace | None]:
    """The traces in documents of others; `None` after each batch that was searched.

    Args:
        driver: The database.
        prefix: The beginning of the collections' names.
        subject: The person or chat.
        parts: What is known about the conversation handlers.
    """
    is_mentioned = _Mentioned(subject.id)
    for kind, collection in names(prefix):
        async for raws in driver.raw_batches(collection, {}, ()):
            for raw in raws:
                if not is_mentioned.may_be_in(raw):
                    continue
                document = bson.decode(raw, ANYTHING)
                if subject.owns(kind, document, parts):
                    continue
                for path in islice(paths_in(document, subject.id), MOST_PATHS):
                    yield Trace(kind, collection, document.get("_id"), path)
            yield None


def paths_in(document: Any, number: int) -> Iterator[str]:
    """The paths in a document at which an id is mentioned."""
    is_mentioned = _Mentioned(number)
    todo: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, DBRef):
            value = value.as_doc()
        elif isinstance(value, Code):
            value = {"code": str(value), "scope": dict(value.scope or {})}
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inside is None:
            if is_mentioned.by(value):
                yield ".".join(path)
            continue
        found = []
        for key, item in inside:
            if isinstance(key, str) and is_mentioned.by(key):
                yield ".".join((*path, key))
            found.append(((*path, str(key)), item))
        todo += reversed(found)


class _Mentioned:
    """Whether values mention an id.

    Args:
        number: The id.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._text = re.compile(rf"(?<!\d){abs(number)}(?!\d)")
        self._bytes = re.compile(rb"(?<!\d)%d(?!\d)" % abs(number))
        packed = [struct.pack("<q", number)] if abs(number) >= 2**31 else [struct.pack("<i", number)]
        self._packed = [*packed, packed[0].rstrip(b"\0")] if number >= _LONG_ENOUGH else packed
        self._forms = [struct.pack("<d", float(number)), *self._packed]

    def may_be_in(self, raw: bytes) -> bool:
        """Whether a document may mention the id; rules most documents out."""
        return any(form in raw for form in self._forms) or bool(self._bytes.search(raw)) or b"\x13" in raw

    def by(self, value: Any) -> bool:
        """Whether a value mentions the id."""
        kind = type(value)
        if kind in _NUMBERS:
            return whole_number(value) == self._number
        if isinstance(value, str):
            return bool(self._text.search(value))
        if isinstance(value, bytes):
            return bool(self._bytes.search(value)) or (
                abs(self._number) >= _LONG_ENOUGH and any(form in value for form in self._packed)
            )
        return kind is not ObjectId and bool(self._text.search(str(value)))
