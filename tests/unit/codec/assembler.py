"""An assembler for pickles in our dialect: what a stranger who knows the reader can write."""

from __future__ import annotations

import pickle
import struct
from typing import Any

__all__ = ["RESTORE", "called", "literal", "made", "named", "planted", "restore", "text"]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def literal(value: object) -> bytes:
    """The opcodes for a plain value; `bytes` are opcodes already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool) or value is None:
        return {True: pickle.NEWTRUE, False: pickle.NEWFALSE, None: pickle.NONE}[value]
    if isinstance(value, int):
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        head = pickle.LONG1 + bytes([len(data)]) if len(data) < 256 else pickle.LONG4 + struct.pack("<i", len(data))
        return head + data
    if isinstance(value, tuple):
        return pickle.MARK + b"".join(map(literal, value)) + pickle.TUPLE
    if isinstance(value, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(literal, value)) + pickle.APPENDS
    assert isinstance(value, dict)
    items = [literal(part) for pair in value.items() for part in pair]
    return pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + pickle.STACK_GLOBAL


RESTORE = named("ptb_mongo.codec", "restore")


def called(function: bytes, *args: object) -> bytes:
    return function + literal(args) + pickle.REDUCE


def restore(kind: str, *args: object) -> bytes:
    """A call of the one function that our pickles may call."""
    return called(RESTORE, kind, *args)


def made(cls: str, *args: object, bare: bool = False, **parts: Any) -> bytes:
    """An object, as our pickles hold it."""
    order = [parts.get(name) for name in ("kwargs", "state", "items", "pairs")]
    return restore("object", cls, bare, args, *order)


def planted(opcodes: bytes) -> dict[str, Any]:
    return {"_py": "pickle", "cls": "samples.Plain", "v": pickle.PROTO + b"\x05" + opcodes + pickle.STOP}
