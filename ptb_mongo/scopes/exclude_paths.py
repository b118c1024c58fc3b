"""Paths of values in users' data, for `exclude`: what each part of a path means, and which names it matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ptb_mongo.codec import unescape
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.key_patterns import stored_keys

__all__ = ["FORMLESS", "Path", "matches", "parsed_path"]

_LONGEST: Final = 20  # keys: deeper values may be packed into binary
FORMLESS: Final = "%formless"
"""Represents a key that cannot be a field's name: only * matches it."""

Part = frozenset[str] | None
Path = tuple[Part, ...]


def parsed_path(path: object) -> Path:
    """The parts of a path: the stored forms of a key or name; `None` for any.

    Raises:
        ConfigurationError: If it cannot be used.
    """
    if not isinstance(path, str):
        raise ConfigurationError(f"exclude has the path {path!r:.80}; write it as text")
    parts = path.split(".")
    if "**" in parts:
        raise ConfigurationError(f"exclude has the path {path!r:.80}: ** is none of its keys; * is any one key")
    if len(parts) > _LONGEST:
        raise ConfigurationError(f"exclude has a path of {len(parts)} keys, and takes {_LONGEST}: {path!r:.80}")
    return tuple(_with_raw(stored_keys(part, path, "exclude")) for part in parts)


def _with_raw(part: Part) -> Part:
    """The stored forms of a key, including the unescaped one that others may have stored."""
    if part is None:
        return None
    raw = {key for key in map(unescape, part) if isinstance(key, str) and unescape(key) == key}
    return part | raw


def matches(paths: Iterable[Path], names: Mapping[str, Any]) -> Iterator[tuple[Any, list[Path]]]:
    """Each name with which some paths begin, and the rest of these paths; `[()]` if one ends there."""
    paths = [*paths]
    if any(path[0] is None for path in paths):
        wanted: Iterable[str] = names
    else:
        wanted = {form for path in paths for form in path[0] or () if form in names}
    for name in wanted:
        rest = [path[1:] for path in paths if path[0] is None or name in path[0]]
        if rest:
            yield name, [()] if () in rest else rest
