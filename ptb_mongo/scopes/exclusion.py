"""Values that are never stored, by their paths in the user's data: `exclude`, and `--drop-path` of the command line.

A path is made of keys of dicts and names of attributes, joined by dots; `*` is any one of them. It goes through dicts
and through objects whose fields are stored as fields, not through lists, tuples and sets: their elements have no names
that last. A value that a path names is left out before anything is encoded, so it need not be storable; what others
store there is taken out before anything is decoded, so it need not be readable.
"""

from __future__ import annotations

import contextlib
import copy
import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import telegram

from ptb_mongo.codec import TAG, escape, unescape
from ptb_mongo.codec.left_out import LEFT_OUT
from ptb_mongo.codec.objects import attributes_of, is_plain, new_object, set_attribute
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.key_patterns import stored_keys
from ptb_mongo.replica.values import Document, fields_inside

__all__ = ["Exclusion", "Held"]

_LONGEST: Final = 20  # keys: what lies deeper may be packed into binary
_NO_FIELDS: Final = (telegram.TelegramObject, type, enum.Enum, str, bytes, int, float, list, tuple, set, frozenset)
_FORMLESS: Final = "%formless"  # a key that no field's name can hold: only * means it

Part = frozenset[str] | None
Path = tuple[Part, ...]


class Held(NamedTuple):
    """An excluded value of a live object.

    Attributes:
        keys: The keys and names that lead to what holds it.
        holder: What holds it.
        name: Its key or name there.
        value: The value.
    """

    keys: tuple[Any, ...]
    holder: Any
    name: Any
    value: Any


class Exclusion:
    """Paths of values that are never stored.

    Args:
        paths: As they were passed as `exclude`.

    Raises:
        ConfigurationError: If one cannot be used.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = tuple(_parsed(path) for path in paths)

    def __bool__(self) -> bool:
        return bool(self._paths)

    # -- what is stored ---------------------------------------------------------------------------------

    def stripped(self, plain: Any) -> Any:
        """A plain value without what is excluded; what holds nothing of it stays the same object."""
        return _stripped(plain, self._paths)

    # -- what the bot holds -----------------------------------------------------------------------------

    def without(self, obj: Any) -> Any:
        """A value to be encoded instead of this one; it shares with it all that is not excluded.

        What an object of another class than a plain one lacks, `LEFT_OUT` stands for: it has to be `stripped`.
        """
        return _without(obj, self._paths)

    def held(self, live: Any) -> list[Held]:
        """The excluded values of a live object."""
        return [*_held(live, self._paths, ())]

    def put_back(self, live: Any, held: Iterable[Held]) -> None:
        """Puts excluded values where they were, if what held them has been replaced by another of its kind."""
        for keys, holder, name, value in held:
            now = live
            for key in keys:
                now = _fields_of(now).get(key)
            if type(now) is not type(holder) or (now is holder and name in _fields_of(now)):
                continue
            with contextlib.suppress(Exception):  # the class's own methods; nothing else is lost for it
                if isinstance(now, dict):
                    now[name] = value
                else:
                    set_attribute(now, name, value)


def _parsed(path: object) -> Path:
    if not isinstance(path, str):
        raise ConfigurationError(f"exclude has the path {path!r:.80}; write it as text")
    parts = path.split(".")
    if "**" in parts:
        raise ConfigurationError(f"exclude has the path {path!r:.80}: ** is none of its keys; * is any one key")
    if len(parts) > _LONGEST:
        raise ConfigurationError(f"exclude has a path of {len(parts)} keys, and takes {_LONGEST}: {path!r:.80}")
    return tuple(_with_raw(stored_keys(part, path, "exclude")) for part in parts)


def _with_raw(part: Part) -> Part:
    """The stored forms of a key, and the one that others may have stored, who do not escape it."""
    if part is None:
        return None
    raw = {key for key in map(unescape, part) if isinstance(key, str) and unescape(key) == key}
    return part | raw


def _matches(paths: Iterable[Path], names: Mapping[str, Any]) -> Iterator[tuple[Any, list[Path]]]:
    """Each name that a path begins with, and what is left of the paths that do; `[()]` if one ends there."""
    paths = [*paths]
    if any(path[0] is None for path in paths):
        wanted: Iterable[str] = names
    else:
        wanted = {form for path in paths for form in path[0] or () if form in names}
    for name in wanted:
        rest = [path[1:] for path in paths if path[0] is None or name in path[0]]
        if rest:
            yield name, [()] if () in rest else rest


def _stripped(plain: Any, paths: Iterable[Path]) -> Any:
    if type(plain) is dict and plain.get(TAG) == "dict" and type(plain.get("v")) is list:
        return _stripped_pairs(plain, paths)
    if (inside := fields_inside(plain)) is None:
        return plain
    where, fields = inside
    changed: Document | None = None
    for name, rest in [*_matches(paths, fields)]:
        if rest == [()]:
            changed = {**fields} if changed is None else changed
            del changed[name]
        elif (value := _stripped(fields[name], rest)) is not fields[name]:
            changed = {**fields} if changed is None else changed
            changed[name] = value
    if changed is None:
        return plain
    return {**plain, where[0]: changed} if where else changed


def _stripped_pairs(plain: Document, paths: Iterable[Path]) -> Document:
    """The same for a dict with keys that no field's name can hold."""
    pairs = []
    for pair in plain["v"]:
        if type(pair) is not list or len(pair) != 2:  # noqa: PLR2004
            return plain
        name = escape(pair[0]) or _FORMLESS
        rest = next((found for _, found in _matches(paths, {name: None})), None)
        if rest is None:
            pairs.append(pair)
        elif rest != [()]:
            pairs.append([pair[0], _stripped(pair[1], rest)])
    return {**plain, "v": pairs}


def _fields_of(value: Any) -> dict[Any, Any]:
    """What a path can go through: the entries of a dict, the attributes of an object."""
    if isinstance(value, dict):
        return value
    if value is None or isinstance(value, _NO_FIELDS):
        return {}
    return attributes_of(value)


def _live_matches(value: Any, paths: Iterable[Path]) -> Iterator[tuple[Any, Any, list[Path]]]:
    """The keys or names in a live object that paths begin with, their values, and what is left of the paths."""
    fields = _fields_of(value)
    paths = [*paths]
    if any(path[0] is None for path in paths):
        names = {escape(key) or _FORMLESS: key for key in fields}
        # Keys without a form of their own share one.
        others = [key for key in fields if names[escape(key) or _FORMLESS] is not key]
    else:
        keys = {unescape(form) for path in paths for form in path[0] or ()}
        names = {escape(key) or _FORMLESS: key for key in keys if key in fields}
        others = []
    for name, rest in _matches(paths, names):
        yield names[name], fields[names[name]], rest
    for key in others:
        if rest := [path[1:] for path in paths if path[0] is None]:
            yield key, fields[key], [()] if () in rest else rest


def _without(value: Any, paths: Iterable[Path]) -> Any:
    removed, changed = [], {}
    for key, item, rest in _live_matches(value, paths):
        if rest == [()]:
            removed.append(key)
        elif (other := _without(item, rest)) is not item:
            changed[key] = other
    if not removed and not changed:
        return value
    try:
        return _changed(value, removed, changed)
    except Exception:  # noqa: BLE001  (the class's own methods; then the value's own trouble is told)
        return value


def _changed(value: Any, removed: list[Any], changed: dict[Any, Any]) -> Any:
    """A copy of a dict or an object with other entries or attributes."""
    if is_plain(type(value)):
        attributes = {**attributes_of(value), **changed}
        for name in removed:
            del attributes[name]
        return new_object(type(value), attributes)
    other = copy.copy(value)
    if isinstance(value, dict):
        for key in removed:
            del other[key]
        for key, item in changed.items():
            other[key] = item
    else:
        for name, item in {**changed, **dict.fromkeys(removed, LEFT_OUT)}.items():
            set_attribute(other, name, item)
    return other


def _held(live: Any, paths: Iterable[Path], keys: tuple[Any, ...]) -> Iterator[Held]:
    for key, item, rest in _live_matches(live, paths):
        if rest == [()]:
            yield Held(keys, live, key, item)
        else:
            yield from _held(item, rest, (*keys, key))
