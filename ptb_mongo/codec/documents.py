"""Documents as BSON bytes: encoded, decoded, and parted into what is ours and what describes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import bson
from bson.errors import BSONError
from bson.int64 import Int64

from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["BURIED", "BURIED_FIELD", "MAX_SIZE", "Parts", "dump", "id_of", "load", "load_each", "part", "value_of"]

MAX_SIZE: Final = 16 * 1024 * 1024
"""MongoDB's limit for one document, in bytes."""

BURIED_FIELD: Final = "buried"
BURIED: Final = bson.encode({BURIED_FIELD: True})
"""What is stored of a document that was deleted, while a write that would make it anew may still arrive."""

_HEADER: Final = 4  # bytes: the length of the document
_UNDEFINED, _REGEX, _POINTER = 0x06, 0x0B, 0x0C
_ID: Final = b"_id\x00"
_VALUE_OF_ID: Final = _HEADER + 1 + len(_ID)
_REV: Final = b"rev"
_REVS: Final = b"revs"
# Those of double, int32, int64, decimal, ObjectId, date, timestamp, bool, null, MinKey, MaxKey.
_FIXED_SIZES: Final = dict(
    zip(b"\x01\x10\x12\x13\x07\x09\x11\x08\x0a\xff\x7f", (8, 4, 8, 16, 12, 8, 8, 1, 0, 0, 0), strict=True)
)
# What stands before the content of text, code and symbols; documents and arrays; binary: its length is counted so.
_SIZED: Final = {0x02: 4, 0x0D: 4, 0x0E: 4, 0x03: 0, 0x04: 0, 0x0F: 0, 0x05: 5}
_STRING, _INT32, _INT64 = 0x02, 0x10, 0x12
_ID_TYPES: Final = frozenset((*_FIXED_SIZES, 0x02, 0x03, 0x05))


class Parts(NamedTuple):
    """A stored document.

    Attributes:
        id: Its `_id`.
        rev: Its last writer's name and the number of its write; `None` if no bot has written it, and anything if
            a stranger has.
        revs: The same for the writers before that one.
        body: The bytes of all other fields.
    """

    id: Any
    rev: Any
    revs: tuple[str, ...]
    body: bytes


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


def load_each(raws: Sequence[bytes]) -> Iterator[dict[str, Any] | None]:
    """The plain documents in BSON bytes, a quarter faster than one by one; `None` for one that is damaged."""
    try:
        yield from bson.decode_all(b"".join(raws), OPTIONS)
    except (BSONError, RecursionError, ValueError):
        for raw in raws:
            try:
                yield load(raw)
            except DecodeError:
                yield None


def part(raw: bytes) -> Parts:
    """Parts a document; its `_id` stands first in whatever the server sends.

    Raises:
        DecodeError: If its `_id` is of a type that is never ours, or the document is damaged.
    """
    try:
        return _part(raw)
    except (ValueError, IndexError) as error:
        raise DecodeError(f"not valid BSON: {error}") from error


def _part(raw: bytes) -> Parts:
    rev: Any = None
    revs: tuple[str, ...] = ()
    start, document_id = _id(raw)
    end = len(raw) - 1
    body = []
    while start < end:
        name_end = raw.index(b"\x00", start + 1)
        name, content = raw[start + 1 : name_end], name_end + 1
        next_one = _end(raw, raw[start], content)
        if name == _REV:
            rev = _value(raw, start, content, next_one)
        elif name == _REVS:
            value = _value(raw, start, content, next_one)
            revs = tuple(one for one in value if type(one) is str) if type(value) is list else ()
        else:
            body.append(raw[start:next_one])
        start = next_one
    if start != end:
        raise DecodeError("not valid BSON: its last field does not end where the document does")
    rest = b"".join(body)
    return Parts(document_id, rev, revs, (len(rest) + 5).to_bytes(4, "little") + rest + b"\x00")


def value_of(raw: bytes, name: str) -> Any:
    """The value of one field at the top, without a look into the others; `None` if it is not there.

    Raises:
        DecodeError: If the document is damaged.
    """
    try:
        wanted, start, end = name.encode(), _HEADER, len(raw) - 1
        while start < end:
            name_end = raw.index(b"\x00", start + 1)
            next_one = _end(raw, raw[start], name_end + 1)
            if raw[start + 1 : name_end] == wanted:
                return _value(raw, start, name_end + 1, next_one)
            start = next_one
    except (ValueError, IndexError) as error:
        raise DecodeError(f"not valid BSON: {error}") from error
    return None


def id_of(raw: bytes) -> Any:
    """The `_id` of a document that may be damaged elsewhere.

    Raises:
        DecodeError: If it is damaged itself.
    """
    return _id(raw)[1]


def _id(raw: bytes) -> tuple[int, Any]:
    """Where the `_id` ends, and its value."""
    if raw[_HEADER + 1 : _VALUE_OF_ID] != _ID or raw[_HEADER] not in _ID_TYPES:
        raise DecodeError(f"the document does not begin with an _id of ours, but with the type {raw[_HEADER]:#04x}")
    end = _end(raw, raw[_HEADER], _VALUE_OF_ID)
    return end, _value(raw, _HEADER, _VALUE_OF_ID, end)


def _value(raw: bytes, start: int, content: int, end: int) -> Any:
    """The value of one field.

    Args:
        raw: The document.
        start: Where the field starts, with its type.
        content: Where its value starts.
        end: Where it ends.
    """
    kind = raw[start]
    # Those of almost every document, without the cost of calling the decoder.
    if kind == _INT32:
        return int.from_bytes(raw[content:end], "little", signed=True)
    if kind == _INT64:
        return Int64(int.from_bytes(raw[content:end], "little", signed=True))
    if kind == _STRING and end > content + 4:
        try:
            return raw[content + 4 : end - 1].decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"not valid BSON: {error}") from error
    element = raw[start:end]
    (value,) = load((len(element) + 5).to_bytes(4, "little") + element + b"\x00").values()
    return value


def _end(raw: bytes, kind: int, start: int) -> int:
    """Where the value ends that begins at `start`."""
    if (size := _FIXED_SIZES.get(kind)) is not None:
        return start + size
    if (before := _SIZED.get(kind)) is not None:
        return start + before + int.from_bytes(raw[start : start + 4], "little")
    if kind == _UNDEFINED:
        return start
    if kind == _REGEX:  # two texts that end with a NUL
        return raw.index(b"\x00", raw.index(b"\x00", start) + 1) + 1
    if kind == _POINTER:  # text and ObjectId
        return start + 4 + int.from_bytes(raw[start : start + 4], "little") + 12
    raise DecodeError(f"the document holds the unknown BSON type {kind:#04x}")
