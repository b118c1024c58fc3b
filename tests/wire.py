"""As much of MongoDB's wire protocol as `proxy` needs: where a message ends, what it answers, which command it is."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final, NamedTuple

from bson import decode

_HEADER: Final = struct.Struct("<iiii")  # length, number, the number of the request that this answers, kind
_INT: Final = struct.Struct("<i")
_OP_QUERY: Final = 2004  # with which drivers greet
_OP_MSG: Final = 2013
_NO_ANSWER: Final = 2  # the flag of an OP_MSG that is to get none
_STRING: Final = 2


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
        return Message(data, number, answers, *_command(data, _main_document(data)))
    return Message(data, number, answers, "", "")  # between servers: compressed


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
