"""Reads the dialect of pickle that `pickling.dumps` writes, and can do nothing else.

The standard unpickler is a machine that imports, calls, sets attributes and allocates whatever a pickle asks
for. This one knows the opcodes of our own pickles alone: plain values, and calls of `restore`. What it builds
is never larger than the bytes that it reads, and is hashed in a time that is bounded.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from ptb_mongo.codec.bounds import shown
from ptb_mongo.codec.proportion import Proportion
from ptb_mongo.errors import DecodeError

__all__ = ["Reader"]

_STOP: Final = pickle.STOP[0]
_MEMOIZE: Final = pickle.MEMOIZE[0]
_BINGET: Final = pickle.BINGET[0]
_SHORT_BINUNICODE: Final = pickle.SHORT_BINUNICODE[0]
_RESTORE: Final = object()
_SHORT: Final = 64


class Reader:
    """Reads one pickle; a subclass says what its calls of `restore` and its persistent ids stand for.

    Args:
        data: The pickle.
        name: Module and name of the one global that it may name.
        is_bounded: Whether what it stands for must be in proportion to its bytes.
    """

    def __init__(self, data: bytes, name: tuple[str, str], *, is_bounded: bool = True) -> None:
        self._data = data
        self._at = 0
        self._name = name
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: list[Any] = []
        self._proportion = Proportion(len(data) if is_bounded else math.inf)
        self._made = self._proportion.made

    def restore(self, *args: object) -> Any:
        """What a call of the one global gives."""
        raise NotImplementedError

    def outside(self, reference: Any) -> Any:
        """What a persistent id stands for."""
        raise NotImplementedError

    def read(self) -> Any:
        """The value.

        Raises:
            DecodeError: If it holds anything else than our own pickles do.
        """
        data, memo, operations = self._data, self._memo, self._OPERATIONS
        while (code := data[self._at]) != _STOP:
            self._at += 1
            if code == _MEMOIZE:  # most opcodes are one of these three
                memo.append(self._stack[-1])
            elif code == _BINGET:
                recalled = memo[data[self._at]]
                if type(recalled) is not str or len(recalled) > _SHORT:
                    self._proportion.shares(recalled)
                self._stack.append(recalled)
                self._at += 1
            elif code == _SHORT_BINUNICODE:
                start = self._at + 1
                self._at = end = start + data[start - 1]
                self._stack.append(data[start:end].decode("utf-8", "surrogatepass"))
            elif code in operations:
                operation, detail = operations[code]
                operation(self, detail)
            else:
                raise DecodeError(f"the pickle uses the opcode {code:#04x}, which no pickle of ours does")
        value = self._stack.pop()
        self._proportion.check(value)
        return value

    def was_made(self, value: object) -> bool:
        """Whether a value came from a call of `restore`."""
        return id(value) in self._made

    def check_hashing(self, values: Iterable[Any]) -> None:
        """Refuses keys and elements whose hash would take for ever.

        Raises:
            DecodeError: If so.
        """
        self._proportion.check_hashing(values)

    def _skip(self, size: int) -> None:
        self._at += size

    def _take(self, size: int) -> bytes:
        start = self._at
        self._at = end = start + size
        if end > len(self._data):
            raise DecodeError("the pickle is cut off")
        return self._data[start:end]

    def _sized(self, width: int) -> bytes:
        return self._take(int.from_bytes(self._take(width), "little"))

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _empty_list(self, _: None = None) -> None:
        self._stack.append([])

    def _empty_dict(self, _: None = None) -> None:
        self._stack.append({})

    def _pop(self, _: None = None) -> None:
        self._stack.pop()

    def _text(self, width: int) -> None:
        self._stack.append(self._sized(width).decode("utf-8", "surrogatepass"))

    def _bytes(self, width: int) -> None:
        self._stack.append(self._sized(width))

    def _bytearray(self, _: None = None) -> None:
        self._stack.append(bytearray(self._sized(8)))

    def _int(self, width: int) -> None:
        self._stack.append(int.from_bytes(self._take(width), "little", signed=width == 4))  # noqa: PLR2004

    def _long(self, width: int) -> None:
        self._stack.append(int.from_bytes(self._sized(width), "little", signed=True))

    def _float(self, _: None = None) -> None:
        self._stack.append(struct.unpack(">d", self._take(8))[0])

    def _mark(self, _: None = None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self, _: None = None) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _recall(self, _: None = None) -> None:
        recalled = self._memo[int.from_bytes(self._take(4), "little")]
        self._proportion.shares(recalled)
        self._stack.append(recalled)

    def _tuple(self, size: int) -> None:
        stack = self._stack
        if len(stack) < size:
            raise DecodeError("the pickle takes more from its stack than there is")
        stack[-size:] = [tuple(stack[-size:])]

    def _tuple_since_mark(self, _: None = None) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _append(self, _: None = None) -> None:
        self._extend([self._stack.pop()])

    def _append_since_mark(self, _: None = None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise DecodeError("the pickle appends to what is no list")
        self._proportion.changes(target)
        target.extend(items)

    def _set_item(self, _: None = None) -> None:
        value = self._stack.pop()
        key = self._stack.pop()
        self._update([key, value])

    def _set_since_mark(self, _: None = None) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise DecodeError("the pickle sets items of what is no dict")
        keys = items[::2]
        if any(type(key) is not str for key in keys):
            self._proportion.check_hashing(keys)
            self._proportion.check_growth(target, keys)
        self._proportion.changes(target)
        target.update(zip(keys, items[1::2], strict=True))

    def _global(self, _: None = None) -> None:
        name = self._stack.pop()
        module = self._stack.pop()
        if (module, name) != self._name:
            raise DecodeError(f"the pickle asks for {shown(module)} {shown(name)}; pickles may name nothing")
        self._stack.append(_RESTORE)

    def _call(self, _: None = None) -> None:
        args = self._stack.pop()
        if self._stack.pop() is not _RESTORE or type(args) is not tuple:
            raise DecodeError("the pickle calls what may not be called")
        made = self.restore(*args)
        self._made[id(made)] = made, args
        self._proportion.makes(made)
        self._stack.append(made)

    def _persistent(self, _: None = None) -> None:
        self._stack.append(self.outside(self._stack.pop()))

    _OPERATIONS: ClassVar[dict[int, tuple[Any, Any]]] = {
        opcode[0]: (operation, detail)
        for opcode, operation, detail in (
            (pickle.PROTO, _skip, 1),
            (pickle.FRAME, _skip, 8),
            (pickle.LONG_BINGET, _recall, None),
            (pickle.MARK, _mark, None),
            (pickle.POP, _pop, None),
            (pickle.POP_MARK, _since_mark, None),
            (pickle.NONE, _push, None),
            (pickle.NEWTRUE, _push, True),
            (pickle.NEWFALSE, _push, False),
            (pickle.BININT1, _int, 1),
            (pickle.BININT2, _int, 2),
            (pickle.BININT, _int, 4),
            (pickle.LONG1, _long, 1),
            (pickle.LONG4, _long, 4),
            (pickle.BINFLOAT, _float, None),
            (pickle.BINUNICODE, _text, 4),
            (pickle.BINUNICODE8, _text, 8),
            (pickle.SHORT_BINBYTES, _bytes, 1),
            (pickle.BINBYTES, _bytes, 4),
            (pickle.BINBYTES8, _bytes, 8),
            (pickle.BYTEARRAY8, _bytearray, None),
            (pickle.EMPTY_TUPLE, _push, ()),
            (pickle.TUPLE1, _tuple, 1),
            (pickle.TUPLE2, _tuple, 2),
            (pickle.TUPLE3, _tuple, 3),
            (pickle.TUPLE, _tuple_since_mark, None),
            (pickle.EMPTY_LIST, _empty_list, None),
            (pickle.APPEND, _append, None),
            (pickle.APPENDS, _append_since_mark, None),
            (pickle.EMPTY_DICT, _empty_dict, None),
            (pickle.SETITEM, _set_item, None),
            (pickle.SETITEMS, _set_since_mark, None),
            (pickle.STACK_GLOBAL, _global, None),
            (pickle.REDUCE, _call, None),
            (pickle.BINPERSID, _persistent, None),
        )
    }
