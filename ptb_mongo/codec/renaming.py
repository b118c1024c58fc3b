"""Gives a class another name in stored values, without a look at the class: no value is restored, and no code runs.

The name stands in tags, in pickles, and in what is packed. Whatever is not that name stays as it is, also what a
decoder would refuse.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

import bson

from ptb_mongo.codec.bounds import MAX_PACKED
from ptb_mongo.codec.encoder import sort_elements
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.codec.pickling import restore
from ptb_mongo.codec.reader import Reader
from ptb_mongo.errors import DecodeError

__all__ = ["Renaming"]

_PROTOCOL: Final = 5
_NAMED_BY_V: Final = frozenset({"class", "function"})
_NAMES: Final = ("cls", "base")
_PICKLES: Final = {"telegram": "pickle", "pickle": "v"}
_PACKED: Final = "bson"
_SETS: Final = ("set", "frozenset")
_NAMING: Final = frozenset({"class", "telegram", "enum", "object"})  # what pickles call with the name of a class

Path = tuple[str, ...]


class Renaming:
    """Renames one class, and the classes that are defined inside it.

    Args:
        old: Its name in what is stored, with its module.
        new: The name that it has now.

    Attributes:
        values: How many values were given the new name; a pickle counts once.
        failed: What could not be changed, with its path.
    """

    def __init__(self, old: str, new: str) -> None:
        self._old = old
        self._new = new
        self._bytes = old.encode()
        self._names: dict[str, str] = {}
        self._packed_levels = 0
        self.values = 0
        self.failed: list[DecodeError] = []

    def may_concern(self, raw: bytes) -> bool:
        """Whether a document may hold the name, given as bytes: every form stores it as it is."""
        return self._bytes in raw

    def of(self, plain: Any, path: Path = ()) -> Any:
        """A plain value with the new name; the same object if nothing has changed."""
        if type(plain) is list:
            items = [self.of(item, (*path, str(index))) for index, item in enumerate(plain)]
            return items if any(one is not other for one, other in zip(items, plain, strict=True)) else plain
        if type(plain) is not dict:
            return plain
        changed: dict[str, Any] = {}
        for key, item in plain.items():
            if (new := self.of(item, (*path, key))) is not item:
                changed[key] = new
        if TAG in plain:
            changed |= self._in_tagged(plain, path)
        if not changed:
            return plain
        made = {**plain, **changed}
        if made.get(TAG) in _SETS and type(changed.get("v")) is list:
            sort_elements(made["v"])
        return made

    def _in_tagged(self, tagged: dict[str, Any], path: Path) -> dict[str, Any]:
        """The fields that change in a value with a tag, beside what lies in them."""
        tag = tagged[TAG]
        if type(tag) is not str:
            return {}
        changed: dict[str, Any] = {}
        for name in ("v",) if tag in _NAMED_BY_V else _NAMES:
            if (new := self.name(tagged.get(name))) is not None:
                changed[name] = new
        field = "v" if tag == _PACKED else _PICKLES.get(tag, "")
        data = tagged.get(field)
        before = self.values
        if isinstance(data, bytes) and self.may_concern(data):
            try:
                changed[field] = self._packed(data, (*path, field)) if tag == _PACKED else self._pickle(data)
            except Exception as error:  # noqa: BLE001  (damaged bytes raise nearly anything)
                reason = error.reason if isinstance(error, DecodeError) else f"it is damaged ({type(error).__name__})"
                self.failed.append(DecodeError(f"not a valid {tag}: {reason}", path=".".join((*path, field))))
                self.values = before
                return {}
            if changed[field] == data:
                del changed[field]
        if changed and self.values == before:
            self.values += 1
        return changed

    def name(self, name: object) -> str | None:
        """The new name, if this is the old one, or that of a class inside of it."""
        if type(name) is not str or not name.startswith(self._old):
            return None
        rest = name[len(self._old) :]
        if rest and rest[0] != ".":
            return None
        return self._names.setdefault(name, self._new + rest)  # one object: a pickle stores which are the same

    def _packed(self, data: bytes, path: Path) -> bytes:
        self._packed_levels += 1
        try:
            if self._packed_levels > MAX_PACKED:
                raise DecodeError("it is packed too deeply")
            return bson.encode(self.of(bson.decode(data, OPTIONS), path), codec_options=OPTIONS)
        finally:
            self._packed_levels -= 1

    def _pickle(self, data: bytes) -> bytes:
        reading = _Calls(data, self)
        value = reading.read()
        if not reading.has_changed:
            return data
        self.values += 1
        buffer = io.BytesIO()
        _Writer(buffer, _PROTOCOL).dump(value)
        return buffer.getvalue()


class _Call:
    """A call in a pickle, which nobody makes."""

    __slots__ = ("args",)

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args = args


class _Reference:
    """What a pickle refers to outside of it: the bot, or a set."""

    __slots__ = ("to",)

    def __init__(self, to: Any) -> None:
        self.to = to


class _Calls(Reader):
    """Reads a pickle of ours, and restores nothing."""

    def __init__(self, data: bytes, renaming: Renaming) -> None:
        super().__init__(data, (restore.__module__, restore.__name__))
        self._renaming = renaming
        self.has_changed = False

    def restore(self, *args: object) -> Any:
        if len(args) > 1 and type(args[0]) is str and args[0] in _NAMING:
            kind, name, *rest = args
            if (new := self._renaming.name(name)) is not None:
                self.has_changed = True
                return _Call((kind, new, *rest))
        return _Call(args)

    def outside(self, reference: Any) -> Any:
        return _Reference(reference)


class _Writer(pickle.Pickler):
    """Writes what `_Calls` has read. The elements of a set keep their order, which means nothing."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.to if type(obj) is _Reference else None

    def reducer_override(self, obj: Any) -> Any:
        return (restore, obj.args) if type(obj) is _Call else NotImplemented
