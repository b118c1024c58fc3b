"""The opcodes of single values, and of values that take few bytes to write and many to be made."""

from __future__ import annotations

import pickle
import struct
from typing import Any, Final

from assembler import text

from ptb_mongo.codec.pickling import OWN_BOT

__all__ = ["NOTHING", "OPCODES", "RESTORE", "THE_BOT", "recalled", "scalar"]

RESTORE: Final = text("ptb_mongo.codec") + text("restore") + pickle.STACK_GLOBAL
THE_BOT: Final = text(OWN_BOT) + pickle.BINPERSID
NOTHING: Final = (
    *(b"", pickle.NONE + pickle.POP, pickle.PROTO + b"\x05", pickle.FRAME + bytes(8)),
    *(pickle.MARK + pickle.POP_MARK, pickle.MARK + pickle.EMPTY_LIST + pickle.POP_MARK),
)
"""Opcodes that leave everything as it was."""
OPCODES: Final = sorted(
    value for name, value in vars(pickle).items() if name.isupper() and type(value) is bytes and len(value) == 1
)
"""All that there are, not only ours."""

_BYTE: Final = 256


def recalled(number: int) -> bytes:
    """A value of the memo."""
    if number < _BYTE:
        return pickle.BINGET + bytes([number])
    return pickle.LONG_BINGET + struct.pack("<I", number)


def scalar(value: Any) -> bytes | None:
    """The opcodes of a value that holds no others; `None` if it is none."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
    if kind is int:
        return _number(value)
    if kind is float:
        return pickle.BINFLOAT + struct.pack(">d", value)
    if kind is str:
        return text(value)
    if kind is bytes:
        return pickle.BINBYTES + struct.pack("<I", len(value)) + value
    if kind is bytearray:
        return pickle.BYTEARRAY8 + struct.pack("<Q", len(value)) + value
    return None


def _number(value: int) -> bytes:
    if 0 <= value < _BYTE:
        return pickle.BININT1 + bytes([value])
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) < _BYTE:
        return pickle.LONG1 + bytes([len(data)]) + data
    return pickle.LONG4 + struct.pack("<I", len(data)) + data
