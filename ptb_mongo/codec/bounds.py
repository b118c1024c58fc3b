"""What planted data may cost: refuses values that take for ever, or all memory, to be made or to be used.

A few bytes may stand for a value whose hash, copy or text is without end. PTB copies all data before it saves,
for all users in one go: a single value that cannot be copied would end the saving of everybody's data.
"""

from __future__ import annotations

import collections
import copy
import re
from collections.abc import Collection
from typing import Any, Final

from ptb_mongo.errors import DecodeError

__all__ = ["COPY_HOOKS", "MAX_COLLISIONS", "MAX_PACKED", "MAX_UNFOLDED", "check_collisions", "check_copy", "pattern"]

MAX_COLLISIONS: Final = 1000
"""Keys of a dict, or elements of a set, that have one hash: each is compared with all others."""

MAX_PACKED: Final = 10
"""Packed BSON in packed BSON; each level holds all that is inside once more."""

MAX_UNFOLDED: Final = 5_000_000
"""Parts of tuples that stand in several places, each counted wherever it stands: `copy` does not remember them."""

COPY_HOOKS: Final = frozenset(
    {"__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs_ex__", "__getnewargs__"}
)
"""What `copy` looks up on the object itself, where a planted attribute could be."""

_MAX_PATTERN: Final = 100_000
_FRAMES_BELOW: Final = 100  # PTB may copy at a deeper place than we do


def check_collisions(values: Collection[Any]) -> None:
    """Refuses keys, or elements of a set, too many of which have one hash; numbers can be chosen so, texts cannot.

    Raises:
        DecodeError: If there are more than `MAX_COLLISIONS`.
    """
    if len(values) > MAX_COLLISIONS:
        ((_, most),) = collections.Counter(map(hash, values)).most_common(1)
        if most > MAX_COLLISIONS:
            raise DecodeError("too many of its keys or elements have the same hash")


def check_copy(value: object) -> None:
    """Refuses a value that PTB could not copy.

    Raises:
        DecodeError: If so: it holds the bot, is nested too deeply, or its class does not copy what it was given.
    """
    try:
        _copy_below(_FRAMES_BELOW, value)
    except Exception as error:  # whatever a class's own methods may raise
        raise DecodeError(
            f"it cannot be copied, as PTB does with all data before it is saved ({type(error).__name__})"
        ) from error


def _copy_below(frames: int, value: object) -> None:
    if frames:
        _copy_below(frames - 1, value)
    else:
        copy.deepcopy(value)


def pattern(text: Any, flags: int) -> re.Pattern[Any]:
    """A compiled pattern.

    Raises:
        ValueError: If it is so long that compiling it would take seconds.
    """
    if len(text) > _MAX_PATTERN:
        raise ValueError(f"a pattern of more than {_MAX_PATTERN:,} characters cannot be stored")
    return re.compile(text, flags)
