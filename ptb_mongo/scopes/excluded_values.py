"""Excluded values of live objects: omitted from what is encoded, and put back after others have changed the object.

No method of a user's class is called, and what is encoded is always a different object: the live one belongs to the
user.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import telegram

from ptb_mongo.codec import escape, unescape
from ptb_mongo.codec.left_out import LEFT_OUT, PartOf
from ptb_mongo.codec.objects import attributes_of, new_object, set_attribute
from ptb_mongo.codec.shapes import BASES, PYDANTIC_SLOTS, Shape, shape_of
from ptb_mongo.codec.subclasses import MADE_FROM
from ptb_mongo.scopes.exclude_paths import FORMLESS, Path, matches

__all__ = ["Held", "held_in", "put_back", "without"]

_WITHOUT_ATTRIBUTES: Final = (telegram.TelegramObject, type, enum.Enum)
_SIMPLE: Final = frozenset({*BASES, type(None), bool})


class Held(NamedTuple):
    """An excluded value of a live object.

    Attributes:
        steps: The keys and names that lead to its container, each with whether it is the key of an entry.
        holder: Its container.
        is_entry: Whether it is an entry there, rather than an attribute.
        name: Its key or name there.
        value: The value.
    """

    steps: tuple[tuple[bool, Any], ...]
    holder: Any
    is_entry: bool
    name: Any
    value: Any


def _fields_of(value: Any, *, entries: bool) -> dict[Any, Any]:
    """What a path can pass through: the entries of a dict, or the attributes of an object."""
    if entries:
        return value if isinstance(value, dict) else {}
    if type(value) in _SIMPLE or isinstance(value, _WITHOUT_ATTRIBUTES):
        return {}
    return attributes_of(value)


def _mapping_of(value: Any) -> Any:
    """The built-in type whose methods can change a dict, whatever the dict's own methods do."""
    return collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict


def _live_matches(fields: dict[Any, Any], paths: Iterable[Path]) -> Iterator[tuple[Any, Any, list[Path]]]:
    """The keys or names with which paths begin, the live values, and the rest of these paths."""
    paths = [*paths]
    if any(path[0] is None for path in paths):
        names = {escape(key) or FORMLESS: key for key in fields}
        # Keys without a form of their own share the same one.
        others = [key for key in fields if names[escape(key) or FORMLESS] is not key]
    else:
        keys = {unescape(form) for path in paths for form in path[0] or ()}
        names = {escape(key) or FORMLESS: key for key in keys if dict.__contains__(fields, key)}
        others = []
    for name, rest in matches(paths, names):
        yield names[name], dict.__getitem__(fields, names[name]), rest
    for key in others:
        if rest := [path[1:] for path in paths if path[0] is None]:
            yield key, dict.__getitem__(fields, key), [()] if () in rest else rest


class _Changes(NamedTuple):
    """The changes to the entries of a dict, or to the attributes of an object."""

    removed: list[Any]
    changed: dict[Any, Any]

    @classmethod
    def of(cls, fields: dict[Any, Any], paths: Iterable[Path]) -> _Changes:
        """The changes that the paths require."""
        removed, changed = [], {}
        for key, item, rest in _live_matches(fields, paths):
            if rest == [()]:
                removed.append(key)
            elif (other := without(item, rest)) is not item:
                changed[key] = other
        return cls(removed, changed)

    def __bool__(self) -> bool:
        return bool(self.removed or self.changed)


def without(value: Any, paths: Iterable[Path]) -> Any:
    """A value that shares with the original all that the paths do not match; see `Exclusion.without`."""
    if type(value) in _SIMPLE and not isinstance(value, dict):
        return value
    entries, attributes = (_Changes.of(_fields_of(value, entries=one), paths) for one in (True, False))
    if not entries and not attributes:
        return value
    try:
        return _changed(value, entries, attributes)
    except Exception:  # noqa: BLE001  (the class's own methods; the encoder then reports what is wrong with the value)
        return value


def _changed(value: Any, entries: _Changes, attributes: _Changes) -> Any:
    """Another dict or object, with changed entries or attributes; created without calling methods of its class.

    A copy would not be enough: it may share its attributes with the object, or be the same object.
    """
    cls = type(value)
    if cls in BASES:
        other = BASES[cls](value)
        _change_entries(other, entries)
        return other
    if (shape := shape_of(cls)) is None:
        return PartOf(value)
    left = {**attributes_of(value), **attributes.changed}
    for name in attributes.removed:
        if shape.is_plain or (shape.base is not object and not shape.own_getstate):
            del left[name]
        else:  # methods that read it, or a library, may need something there
            left[name] = _stand_in(name)
    if shape.is_plain:
        return new_object(cls, left)
    other = _bare(value, shape, entries)
    if getattr(other, "__dict__", None) is getattr(value, "__dict__", left):
        raise TypeError(f"all objects of {cls.__qualname__} share their attributes")
    for name, item in left.items():
        set_attribute(other, name, item)
    return other


def _bare(value: Any, shape: Shape, entries: _Changes) -> Any:
    """An object of the same class, with its elements."""
    if shape.kind == "msgspec":
        return sys.modules["msgspec"].Struct.__copy__(value)
    if shape.base is object:
        return object.__new__(type(value))
    base = BASES[shape.base](value)
    if entries:
        _change_entries(base, entries)
    return MADE_FROM[shape.base](type(value), base)


def _change_entries(value: Any, entries: _Changes) -> None:
    mapping = _mapping_of(value)
    for key in entries.removed:
        mapping.__delitem__(value, key)
    for key, item in entries.changed.items():
        mapping.__setitem__(value, key, item)


def _stand_in(name: str) -> Any:
    """The stand-in for an omitted attribute; what pydantic itself reads must have its type."""
    if name not in PYDANTIC_SLOTS:
        return LEFT_OUT
    return set() if name == PYDANTIC_SLOTS[0] else None


def held_in(live: Any, paths: Iterable[Path], steps: tuple[tuple[bool, Any], ...] = ()) -> Iterator[Held]:
    """The values in a live object that the paths match."""
    for is_entry in (True, False):
        for key, item, rest in _live_matches(_fields_of(live, entries=is_entry), paths):
            if rest == [()]:
                yield Held(steps, live, is_entry, key, item)
            else:
                yield from held_in(item, rest, (*steps, (is_entry, key)))


def put_back(live: Any, held: Iterable[Held]) -> None:
    """Puts values back, if their container has been replaced by another one of its kind."""
    for steps, holder, is_entry, name, value in held:
        now = live
        for through_entry, key in steps:
            now = _fields_of(now, entries=through_entry).get(key)
        if type(now) is not type(holder) or _fields_of(now, entries=is_entry).get(name, LEFT_OUT) is value:
            continue
        with contextlib.suppress(Exception):  # the class's own methods; nothing else is lost
            if is_entry:
                _mapping_of(now).__setitem__(now, name, value)
            else:
                set_attribute(now, name, value)
