"""Values of every BSON type, including odd ones: what strangers may write where a bot expects something else.

PyMongo cannot write some of them, so documents with these are assembled here, byte by byte.
"""

from __future__ import annotations

import datetime as dtm
import uuid
from typing import Any, Final, NamedTuple

import bson
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from bson.timestamp import Timestamp

from ptb_mongo.codec import OPTIONS

__all__ = ["NO_IDS", "ODD", "Raw", "encoded", "plant"]


class Raw(NamedTuple):
    """A value as the bytes of an element."""

    kind: int
    content: bytes


def _text(content: bytes) -> bytes:
    return (len(content) + 1).to_bytes(4, "little") + content + b"\x00"


ODD: Final[dict[str, Any]] = {
    "double": 4.5,
    "double that is whole": 77.0,
    "infinity": float("inf"),
    "nan": float("nan"),
    "huge double": 1e300,
    "text": "text",
    "empty text": "",
    "text with a NUL": "a\0b",
    "text that is no UTF-8": Raw(0x02, _text(b"BR\xff\xfeEN")),
    "text of one line more": "a\nb\x1b[31m",
    "document": {"a": {"b": [1, {}]}},
    "empty document": {},
    "operator": {"$gt": 1},
    "array": [1, "a", [2]],
    "empty array": [],
    "binary": b"42",
    "binary of a user": Binary(b"42", 128),
    "uuid": Binary.from_uuid(uuid.UUID(int=5)),
    "uuid of the wrong length": Raw(0x05, (3).to_bytes(4, "little") + b"\x04abc"),
    "undefined": Raw(0x06, b""),
    "object id": ObjectId("0" * 24),
    "true": True,
    "date": dtm.datetime(2024, 1, 2, tzinfo=dtm.timezone.utc),
    "date in the year 9999": dtm.datetime(9999, 12, 31, tzinfo=dtm.timezone.utc),
    "date beyond Python's": DatetimeMS(2**62),
    "date before Python's": DatetimeMS(-(2**62)),
    "null": None,
    "regex": Regex("^a", "i"),
    "regex that does not compile": Regex("(", ""),
    "pointer": Raw(0x0C, _text(b"c") + b"\0" * 12),
    "code": Code("text"),
    "symbol": Raw(0x0E, _text(b"text")),
    "code with a scope": Code("text", {"a": 1}),
    "number": 77,
    "negative number": -1,
    "timestamp": Timestamp(1, 2),
    "long number": Int64(2**63 - 1),
    "decimal": Decimal128("4.5"),
    "decimal nan": Decimal128("NaN"),
    "decimal signalling nan": Decimal128("sNaN"),
    "huge decimal": Decimal128("1E6111"),
    "decimal out of form": Raw(0x13, b"\xff" * 15 + b"\x6f"),
    "reference": DBRef("c", 5),
    "MinKey": MinKey(),
    "MaxKey": MaxKey(),
}
NO_IDS: Final = frozenset(
    {"array", "empty array", "undefined", "regex", "regex that does not compile", "operator", "reference"}
)
"""What MongoDB takes in a document, but not as its `_id`."""


def encoded(document: dict[str, Any]) -> bytes:
    """The bytes of a document that may hold raw values; a surrogate escape in a name is a byte that is no UTF-8."""
    body = bytearray()  # without a generator, and so for deep documents, too
    for name, value in document.items():
        body += _element(name, value)
    return (len(body) + 5).to_bytes(4, "little") + bytes(body) + b"\x00"


def _element(name: str, value: Any) -> bytes:
    head = name.encode(errors="surrogateescape") + b"\x00"
    if isinstance(value, Raw):
        return bytes([value.kind]) + head + value.content
    if type(value) is dict:
        return b"\x03" + head + encoded(value)
    if type(value) is list:
        return b"\x04" + head + encoded(dict(zip(map(str, range(len(value))), value, strict=True)))
    element = bson.encode({"": value}, codec_options=OPTIONS)[4:-1]
    return element[:1] + head + element[2:]


def plant(collection: Any, document: dict[str, Any]) -> None:
    """Puts a document into a collection, whatever it holds."""
    raw = collection.with_options(CodecOptions(document_class=RawBSONDocument))
    raw.insert_one(RawBSONDocument(encoded(document)))
