"""Values that are never stored, by their paths in the user's data: `exclude`, and `--drop-path` on the command line.

A path consists of keys of dicts and names of attributes, joined by dots; `*` matches any one of them. It passes through
dicts, objects whose fields are stored as fields, and the attributes of anything else that has some; but not through
lists, tuples (including named ones) and sets, as their elements have no permanent names. For a subclass of `dict`, a
name matches both the entry and the attribute, as in `on_conflict`.

A value that a path matches is omitted before anything is encoded, so it need not be storable; what others store there
is removed before anything is decoded, so it need not be readable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ptb_mongo.codec import TAG, escape
from ptb_mongo.codec.subclasses import BASE_TAGS
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.exclude_paths import FORMLESS, Path, matches, parsed_path
from ptb_mongo.scopes.excluded_values import Held, held_in, put_back, without

__all__ = ["Exclusion", "Held"]

_MAPPINGS: Final = frozenset({"dict", "OrderedDict", "Counter", "defaultdict"})
_WITH_STATE: Final = frozenset({"object", "namedtuple", *BASE_TAGS})


class Exclusion:
    """Paths of values that are never stored.

    Args:
        paths: The paths passed as `exclude`.

    Raises:
        ConfigurationError: If one cannot be used.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths = tuple(parsed_path(path) for path in paths)

    def __bool__(self) -> bool:
        return bool(self._paths)

    # -- what is stored ---------------------------------------------------------------------------------

    def stripped(self, plain: Any) -> Any:
        """A plain value without excluded values; parts that contain none of them stay the same objects."""
        return _stripped(plain, self._paths)

    # -- what the bot holds -----------------------------------------------------------------------------

    def without(self, obj: Any) -> Any:
        """A value to encode instead of this one; it shares everything that is not excluded.

        In objects of classes that are not plain, `LEFT_OUT` replaces the excluded values; use `stripped` on the result.
        """
        return without(obj, self._paths)

    def held(self, live: Any) -> list[Held]:
        """The excluded values of a live object."""
        return [*held_in(live, self._paths)]

    def put_back(self, live: Any, held: Iterable[Held]) -> None:
        """Puts excluded values back, if their container has been replaced by another one of its kind."""
        put_back(live, held)


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
    if tag != "object" and result.get("state") == {}:  # an empty state is not stored
        del result["state"]
    return result


def _stripped_fields(fields: Document, paths: Iterable[Path]) -> Document:
    changed: Document | None = None
    for name, rest in [*matches(paths, fields)]:
        if rest == [()]:
            changed = {**fields} if changed is None else changed
            del changed[name]
        elif (value := _stripped(fields[name], rest)) is not fields[name]:
            changed = {**fields} if changed is None else changed
            changed[name] = value
    return fields if changed is None else changed


def _is_of_pairs(plain: Document) -> bool:
    """Whether it is a dict with keys that cannot be names of fields."""
    return plain.get(TAG) == "dict" and type(plain.get("v")) is list


def _stripped_pairs(plain: Document, paths: Iterable[Path]) -> Document:
    """The same for a dict with keys that cannot be names of fields."""
    pairs = []
    for pair in plain["v"]:
        if type(pair) is not list or len(pair) != 2:  # noqa: PLR2004
            return plain
        name = escape(pair[0]) or FORMLESS
        rest = next((found for _, found in matches(paths, {name: None})), None)
        if rest is None:
            pairs.append(pair)
        elif rest != [()]:
            pairs.append([pair[0], _stripped(pair[1], rest)])
    return {**plain, "v": pairs}
