"""As much of MongoDB's wire protocol as `proxy` needs: the end of a message, what it answers, and its contents."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from bson import decode, decode_all, encode
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

_HEADER: Final = struct.Struct("<iiii")  # length, number, the number of the request that this answers, kind
_INT: Final = struct.Struct("<i")
_OP_QUERY: Final = 2004  # with which drivers greet
_OP_MSG: Final = 2013
_NO_ANSWER: Final = 2  # the flag of an OP_MSG that is to get none
_STRING: Final = 2
_DOCUMENT: Final = b"\0"  # the kind of a section of an OP_MSG that is its main document
_SEQUENCE: Final = b"\1"  # and of one that is a name, and documents
_RAW: Final = CodecOptions(document_class=RawBSONDocument)


class Message(NamedTuple):
    """One message; of a request, also the command's name and, if it has one, its collection."""

    data: bytes
    number: int
    answers: int
    command: str
    collection: str

    @property
    def wants_answer(self) -> bool:
        """Whether the server is going to answer it."""
        return not self.data[_HEADER.size] & _NO_ANSWER

    @property
    def body(self) -> dict[str, Any]:
        """The main document of an OP_MSG."""
        start = _main_document(self.data)
        return decode(self.data[start : start + _INT.unpack_from(self.data, start)[0]])


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Reads the next message; `EOFError` or `OSError` if there is none."""
    header = await reader.readexactly(_HEADER.size)
    length, number, answers, kind = _HEADER.unpack(header)
    data = header + await reader.readexactly(length - _HEADER.size)
    if kind == _OP_QUERY:
        return Message(data, number, answers, *_command(data, data.index(b"\0", 20) + 9))
    if kind == _OP_MSG:
        message = Message(data, number, answers, *_command(data, _main_document(data)))
        if message.command == "getMore":  # a cursor's number comes first
            return message._replace(collection=message.body["collection"])
        return message
    return Message(data, number, answers, "", "")  # between servers: compressed


def unpacked(message: Message) -> tuple[dict[str, Any], dict[str, list[RawBSONDocument]]]:
    """The main document of an OP_MSG, and its sequences of documents."""
    data, start = message.data, _HEADER.size + _INT.size
    sequences: dict[str, list[RawBSONDocument]] = {}
    while start < len(data):
        (length,) = _INT.unpack_from(data, start + 1)
        section = data[start + 1 + _INT.size : start + 1 + length]
        if data[start]:
            name, _, documents = section.partition(b"\0")
            sequences[name.decode()] = decode_all(documents, _RAW)
        start += 1 + length
    return message.body, sequences


def packed(
    like: Message, body: Mapping[str, Any], sequences: Mapping[str, Sequence[RawBSONDocument]] | None = None
) -> Message:
    """An OP_MSG in place of another one: with the same numbers and flags."""
    parts = [like.data[_HEADER.size : _HEADER.size + _INT.size], _DOCUMENT, encode(body)]
    for name, documents in (sequences or {}).items():
        section = name.encode() + b"\0" + b"".join(document.raw for document in documents)
        parts += [_SEQUENCE, _INT.pack(_INT.size + len(section)), section]
    content = b"".join(parts)
    header = _HEADER.pack(_HEADER.size + len(content), like.number, like.answers, _OP_MSG)
    return like._replace(data=header + content)


def _main_document(data: bytes) -> int:
    """Where it begins in an OP_MSG: others are sequences of documents."""
    start = _HEADER.size + _INT.size
    while data[start]:
        start += 1 + _INT.unpack_from(data, start + 1)[0]
    return start + 1


def _command(data: bytes, start: int) -> tuple[str, str]:
    """The first key of a document; and its value, if that is a text."""
    kind = data[start + 4]
    if not kind:
        return "", ""
    end = data.index(b"\0", start + 5)
    length = _INT.unpack_from(data, end + 1)[0] if kind == _STRING else 1
    return data[start + 5 : end].decode(), data[end + 5 : end + 4 + length].decode()
