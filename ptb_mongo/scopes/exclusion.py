"""Values that are never stored, by their paths in the user's data: `exclude`, and `--drop-path` of the command line.

A path is made of keys of dicts and names of attributes, joined by dots; `*` is any one of them. It goes through dicts
and through objects whose fields are stored as fields, and through the attributes of whatever else has some; not through
lists, tuples (named ones either) and sets: their elements have no names that last. A name means the entry of a subclass
of `dict` as well as its attribute, as it does for `on_conflict`.

A value that a path names is left out before anything is encoded, so it need not be storable; what others store there is
taken out before anything is decoded, so it need not be readable.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import telegram

from ptb_mongo.codec import TAG, escape, unescape
from ptb_mongo.codec.left_out import LEFT_OUT
from ptb_mongo.codec.objects import attributes_of, is_plain, new_object, set_attribute
from ptb_mongo.codec.shapes import BASES, PYDANTIC_SLOTS, shape_of
from ptb_mongo.codec.subclasses import BASE_TAGS, MADE_FROM
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.key_patterns import stored_keys
from ptb_mongo.replica.values import Document

__all__ = ["Exclusion", "Held"]

_LONGEST: Final = 20  # keys: what lies deeper may be packed into binary
_MAPPINGS: Final = frozenset({"dict", "OrderedDict", "Counter", "defaultdict"})
_WITH_STATE: Final = frozenset({"object", "namedtuple", *BASE_TAGS})
_WITHOUT_ATTRIBUTES: Final = (telegram.TelegramObject, type, enum.Enum)
_SIMPLE: Final = frozenset({*BASES, type(None), bool})
_FORMLESS: Final = "%formless"  # a key that no field's name can hold: only * means it

Part = frozenset[str] | None
Path = tuple[Part, ...]


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
    if type(plain) is not dict:
        return plain
    if TAG not in plain:
        return _stripped_fields(plain, paths)
    if _is_of_pairs(plain):
        return _stripped_pairs(plain, paths)
    tag = plain[TAG]
    if type(tag) is not str:
        return plain
    changed: Document = {}
    for name in (("v",) if tag in _MAPPINGS else ()) + (("state",) if tag in _WITH_STATE else ()):
        inside = plain.get(name)
        if type(inside) is dict and (TAG not in inside or _is_of_pairs(inside)):
            fields = _stripped(inside, paths)
            if fields is not inside:
                changed[name] = fields
    if not changed:
        return plain
    result = {**plain, **changed}
    if tag != "object" and result.get("state") == {}:  # which is not stored, then
        del result["state"]
    return result


def _stripped_fields(fields: Document, paths: Iterable[Path]) -> Document:
    changed: Document | None = None
    for name, rest in [*_matches(paths, fields)]:
        if rest == [()]:
            changed = {**fields} if changed is None else changed
            del changed[name]
        elif (value := _stripped(fields[name], rest)) is not fields[name]:
            changed = {**fields} if changed is None else changed
            changed[name] = value
    return fields if changed is None else changed


def _is_of_pairs(plain: Document) -> bool:
    """Whether it is a dict with keys that no field's name can hold."""
    return plain.get(TAG) == "dict" and type(plain.get("v")) is list


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
        names = {escape(key) or _FORMLESS: key for key in fields}
        # Keys without a form of their own share one.
        others = [key for key in fields if names[escape(key) or _FORMLESS] is not key]
    else:
        keys = {unescape(form) for path in paths for form in path[0] or ()}
        names = {escape(key) or _FORMLESS: key for key in keys if dict.__contains__(fields, key)}
        others = []
    for name, rest in _matches(paths, names):
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
            elif (other := _without(item, rest)) is not item:
                changed[key] = other
        return cls(removed, changed)

    def __bool__(self) -> bool:
        return bool(self.removed or self.changed)


def _without(value: Any, paths: Iterable[Path]) -> Any:
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


def _held(live: Any, paths: Iterable[Path], steps: tuple[tuple[bool, Any], ...]) -> Iterator[Held]:
    for is_entry in (True, False):
        for key, item, rest in _live_matches(_fields_of(live, entries=is_entry), paths):
            if rest == [()]:
                yield Held(steps, live, is_entry, key, item)
            else:
                yield from _held(item, rest, (*steps, (is_entry, key)))
