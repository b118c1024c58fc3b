"""Excluded values of live objects: left out of what is encoded, and put back after others have changed the object.

No method of a subclass that fills or changes a container is called.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import enum
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import telegram

from ptb_mongo.codec import escape, unescape
from ptb_mongo.codec.left_out import LEFT_OUT
from ptb_mongo.codec.objects import attributes_of, is_plain, new_object, set_attribute
from ptb_mongo.codec.shapes import BASES, PYDANTIC_SLOTS, shape_of
from ptb_mongo.codec.subclasses import MADE_FROM
from ptb_mongo.scopes.exclude_paths import FORMLESS, Path, matches

__all__ = ["Held", "held_in", "put_back", "without"]

_WITHOUT_ATTRIBUTES: Final = (telegram.TelegramObject, type, enum.Enum)
_SIMPLE: Final = frozenset({*BASES, type(None), bool})


class Held(NamedTuple):
    """An excluded value of a live object.

    Attributes:
        steps: The keys and names that lead to what holds it, each with whether it is the key of an entry.
        holder: What holds it.
        is_entry: Whether it is an entry there, or an attribute.
        name: Its key or name there.
        value: The value.
    """

    steps: tuple[tuple[bool, Any], ...]
    holder: Any
    is_entry: bool
    name: Any
    value: Any


def _fields_of(value: Any, *, entries: bool) -> dict[Any, Any]:
    """What a path can go through: the entries of a dict, or the attributes of an object."""
    if entries:
        return value if isinstance(value, dict) else {}
    if type(value) in _SIMPLE or isinstance(value, _WITHOUT_ATTRIBUTES):
        return {}
    return attributes_of(value)


def _mapping_of(value: Any) -> Any:
    """The type whose methods change a dict, whatever its own ones do."""
    return collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict


def _live_matches(fields: dict[Any, Any], paths: Iterable[Path]) -> Iterator[tuple[Any, Any, list[Path]]]:
    """The keys or names of live values that paths begin with, these values, and what is left of the paths."""
    paths = [*paths]
    if any(path[0] is None for path in paths):
        names = {escape(key) or FORMLESS: key for key in fields}
        # Keys without a form of their own share one.
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
    """What becomes of the entries of a dict, or of the attributes of an object."""

    removed: list[Any]
    changed: dict[Any, Any]

    @classmethod
    def of(cls, fields: dict[Any, Any], paths: Iterable[Path]) -> _Changes:
        """What the paths make of them."""
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
    """A value that shares with another one all that the paths do not name; see `Exclusion.without`."""
    if type(value) in _SIMPLE and not isinstance(value, dict):
        return value
    entries, attributes = (_Changes.of(_fields_of(value, entries=one), paths) for one in (True, False))
    if not entries and not attributes:
        return value
    try:
        return _changed(value, entries, attributes)
    except Exception:  # noqa: BLE001  (the class's own methods; then the value's own trouble is told)
        return value


def _changed(value: Any, entries: _Changes, attributes: _Changes) -> Any:
    """A copy of a dict or an object with other entries or attributes."""
    cls = type(value)
    shape = shape_of(cls)
    if is_plain(cls) or (shape is not None and shape.base is not object and not shape.own_getstate):
        left = {**attributes_of(value), **attributes.changed}
        for name in attributes.removed:
            del left[name]
        return new_object(cls, left) if is_plain(cls) else _of_base(value, shape, entries, left)
    other = copy.copy(value)
    if isinstance(value, dict):
        _change_entries(other, entries)
    for name, item in {**attributes.changed, **{name: _stand_in(name) for name in attributes.removed}}.items():
        set_attribute(other, name, item)
    return other


def _of_base(value: Any, shape: Any, entries: _Changes, attributes: dict[str, Any]) -> Any:
    """An object of a subclass of a built-in type, made without a method of its own."""
    base = BASES[shape.base](value)
    if entries:
        _change_entries(base, entries)
    other = MADE_FROM[shape.base](type(value), base)
    for name, item in attributes.items():
        set_attribute(other, name, item)
    return other


def _change_entries(value: Any, entries: _Changes) -> None:
    mapping = _mapping_of(value)
    for key in entries.removed:
        mapping.__delitem__(value, key)
    for key, item in entries.changed.items():
        mapping.__setitem__(value, key, item)


def _stand_in(name: str) -> Any:
    """What stands for an attribute that is left out; what pydantic itself reads has to be of its type."""
    if name not in PYDANTIC_SLOTS:
        return LEFT_OUT
    return set() if name == PYDANTIC_SLOTS[0] else None


def held_in(live: Any, paths: Iterable[Path], steps: tuple[tuple[bool, Any], ...] = ()) -> Iterator[Held]:
    """The values in a live object that the paths name."""
    for is_entry in (True, False):
        for key, item, rest in _live_matches(_fields_of(live, entries=is_entry), paths):
            if rest == [()]:
                yield Held(steps, live, is_entry, key, item)
            else:
                yield from held_in(item, rest, (*steps, (is_entry, key)))


def put_back(live: Any, held: Iterable[Held]) -> None:
    """Puts values where they were, if what held them has been replaced by another of its kind."""
    for steps, holder, is_entry, name, value in held:
        now = live
        for through_entry, key in steps:
            now = _fields_of(now, entries=through_entry).get(key)
        if type(now) is not type(holder) or _fields_of(now, entries=is_entry).get(name, LEFT_OUT) is value:
            continue
        with contextlib.suppress(Exception):  # the class's own methods; nothing else is lost for it
            if is_entry:
                _mapping_of(now).__setitem__(now, name, value)
            else:
                set_attribute(now, name, value)
