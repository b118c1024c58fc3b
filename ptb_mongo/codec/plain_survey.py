"""Finds every class that a plain document names and that may not be restored, after decoding has stopped at the first.

The document is walked without recursion. Of pickles only the names are read, and only so many bytes.
"""

from __future__ import annotations

import contextlib
import pickletools
from collections.abc import Callable, Iterator
from typing import Any, Final

from ptb_mongo.codec.keys import TAG, unescape
from ptb_mongo.codec.troubles import Place, Trouble
from ptb_mongo.codec.trust import Trust
from ptb_mongo.codec.walk import Child, walk
from ptb_mongo.errors import DecodeError

__all__ = ["plain_survey"]

_MOST_PICKLED: Final = 256 * 1024  # bytes of all pickles of a document, which are slow to read
_OF_PTB: Final = "telegram."
_OF_ANY_VERSION: Final = frozenset({"telegram", "enum", "pickle"})  # where a class that this PTB lacks is made up for
_INSIDE: Final = ("state", "v")  # the fields of a form that hold the fields of what it stands for
_PICKLES: Final = {"pickle": "v", "telegram": "pickle"}
_GLOBAL: Final = object()
_KINDS: Final = frozenset({"object", "class", "enum", "telegram"})  # a name comes next


def plain_survey(plain: Any, trust: Trust) -> Iterator[Trouble | None]:
    """What cannot be restored because of its class; `None` at the end if not all was looked at."""
    return _Survey(trust).of(plain)


class _Survey:
    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._reasons: dict[str, str | None] = {}  # why a class cannot be resolved
        self._left = _MOST_PICKLED

    def of(self, plain: Any) -> Iterator[Trouble | None]:
        return walk(plain, self._at, _children, lambda part: type(part) is not dict and type(part) is not list)

    def _at(self, plain: Any, place: Place | None) -> Iterator[Trouble]:
        tag = plain.get(TAG) if type(plain) is dict else None
        if type(tag) is not str:
            return
        if tag == "function":
            if type(name := plain.get("v")) is str and (reason := self._reason(self._trust.function, name)) is not None:
                yield Trouble("class", name, reason, place)
            return
        names = [plain.get("v" if tag == "class" else "cls")]
        data = plain.get(_PICKLES.get(tag, ""))
        if type(data) is bytes:
            names += self._names_in(data)
        for name in dict.fromkeys(name for name in names if type(name) is str):
            if name.startswith(_OF_PTB) and tag in _OF_ANY_VERSION:
                continue
            if (reason := self._reason(self._trust.resolve, name)) is not None:
                yield Trouble("gone" if self._trust.gone_from(name) else "untrusted", name, reason, place)

    def _reason(self, find: Callable[[str], Any], name: str) -> str | None:
        if name not in self._reasons:
            try:
                find(name)
                self._reasons[name] = None
            except DecodeError as error:
                self._reasons[name] = error.reason
        return self._reasons[name]

    def _names_in(self, data: bytes) -> list[str]:
        """The names of classes in one of our own pickles, or in the beginning of it."""
        data = data[: self._left]
        self._left -= len(data)
        names: list[str] = []
        with contextlib.suppress(ValueError, IndexError):  # it is damaged, or cut off
            names.extend(_names_in_calls(data))
        return names


def _names_in_calls(data: bytes) -> Iterator[str]:
    """The second argument of each call of the one global, if the first one says that it is a name."""
    memo: list[Any] = []
    last: Any = None  # what was pushed last
    kind = ""  # the argument before, if a name comes next
    is_called = False
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "MEMOIZE":
            memo.append(last)
            continue
        if opcode.name == "MARK":  # between a global and many arguments
            continue
        if opcode.name == "STACK_GLOBAL":
            last = _GLOBAL
        elif opcode.name in {"BINGET", "LONG_BINGET"}:
            last = memo[int(argument or 0)]
        else:
            last = argument if type(argument) is str else None
        if kind and type(last) is str:
            yield last
        kind = last if is_called and type(last) is str and last in _KINDS else ""
        is_called = last is _GLOBAL


def _children(plain: Any) -> Iterator[Child]:
    """What lies in a plain value; the fields of a form are those of what it stands for."""
    if type(plain) is list:
        yield from (Child(index, item, is_named=False) for index, item in enumerate(plain))
    elif type(plain) is dict and TAG not in plain:
        yield from (Child(unescape(name), item, is_named=True) for name, item in plain.items())
    elif type(plain) is dict:
        for name, item in plain.items():
            if name in _INSIDE and (type(item) is list or (type(item) is dict and TAG not in item)):
                has_names = plain[TAG] != "namedtuple" or name == "state"
                yield from (one._replace(is_named=one.is_named and has_names) for one in _children(item))
            elif name != "view":
                yield Child(name, item, is_named=False)
