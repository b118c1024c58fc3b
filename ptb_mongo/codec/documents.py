"""Documents as BSON bytes: encoded, decoded, and parted from their `_id`."""

from __future__ import annotations

from typing import Any, Final

import bson
from bson.errors import BSONError

from ptb_mongo.codec.encoder import OPTIONS
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["MAX_SIZE", "dump", "load", "part_id"]

MAX_SIZE: Final = 16 * 1024 * 1024
"""MongoDB's limit for one document, in bytes."""

_ID_KEY: Final = b"_id\x00"
_FIXED_SIZES: Final = {0x01: 8, 0x07: 12, 0x10: 4, 0x12: 8}  # double, ObjectId, int32, int64
_STRING, _EMBEDDED = 0x02, 0x03


def dump(document: dict[str, Any]) -> bytes:
    """The BSON bytes of a plain document.

    Raises:
        EncodeError: If BSON cannot hold it.
    """
    try:
        return bson.encode(document, codec_options=OPTIONS)
    except (BSONError, OverflowError, RecursionError, ValueError, TypeError) as error:
        raise EncodeError(str(error)) from error


def load(raw: bytes) -> dict[str, Any]:
    """The plain document in BSON bytes.

    Raises:
        DecodeError: If they are damaged.
    """
    try:
        return bson.decode(raw, OPTIONS)
    except (BSONError, RecursionError, ValueError) as error:
        raise DecodeError(f"not valid BSON: {error}") from error


def part_id(raw: bytes) -> bytes:
    """The bytes of a document without its `_id`, which stands first in whatever the server sends.

    Raises:
        DecodeError: If it does not.
    """
    kind = raw[4]
    start = 5 + len(_ID_KEY)
    if raw[5:start] != _ID_KEY:
        raise DecodeError("the document does not begin with its _id")
    length = int.from_bytes(raw[start : start + 4], "little")
    if kind in _FIXED_SIZES:
        start += _FIXED_SIZES[kind]
    elif kind == _STRING:
        start += 4 + length
    elif kind == _EMBEDDED:
        start += length
    else:
        document = load(raw)
        del document["_id"]
        return dump(document)
    return (len(raw) - start + 4).to_bytes(4, "little") + raw[start:]
