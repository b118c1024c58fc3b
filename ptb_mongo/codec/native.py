"""Fingerprints, by which C tells what has not changed, and values that are their own plain form.

`marshal` writes the values of Python's own types exactly: types, order, -0.0, the bits of a NaN. What it does not know
is an error, with one exception: whatever shows its memory (`bytearray`, `memoryview`, arrays, a subclass of `bytes`) is
written as `bytes` are. So a fingerprint says something only of a value that holds none of that, nor `bytes`: one with
the same fingerprint has the same form, and holds none of it either.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from enum import IntEnum
from hashlib import blake2b
from typing import Any, Final

__all__ = ["Nature", "fingerprint", "nature"]

# The one with references to what is shared: without, a small graph of shared references unfolds into gigabytes. Whether
# there is one depends on who else refers to a value, so equal values may have several fingerprints: that costs time,
# and loses no change.
_VERSION: Final = 4
_BYTES: Final = 16
_ATOMS: Final = frozenset({type(None), bool, int, float, str})
_EXACT: Final = frozenset({dict, list, tuple, set, frozenset})
_MOST: Final = 500_000  # values: a small graph of shared references may unfold into any number
_DEEPEST: Final = 60  # levels, beyond which the encoder may have to pack


class Nature(IntEnum):
    """What the types of all that a value holds say of it."""

    OTHER = 0
    """Nothing."""
    EXACT = 1
    """A value with the same fingerprint has the same form."""
    NATIVE = 2
    """Besides, it is its own plain form, unless it holds a number or a text that BSON refuses."""


def fingerprint(value: object) -> bytes | None:
    """Bytes that only a value of the same form has too, if that is `EXACT`; `None` if the value has none."""
    try:
        return blake2b(marshal.dumps(value, _VERSION), digest_size=_BYTES).digest()  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001  (what marshal does not know, whatever a class of it raises)
        return None


def nature(value: object, is_name: Callable[[Any], bool], names: set[str]) -> Nature:
    """The nature of a value that has a fingerprint, which shows that all types in it are Python's own.

    Args:
        value: The value.
        is_name: Whether a key is stored as it is.
        names: Some for which that is known.
    """
    try:
        if type(value) is dict or type(value) is list:
            _native(value, is_name, names, 0)
            return Nature.NATIVE
    except _OtherError:
        pass
    try:
        _exact(value, 0)
    except _OtherError:
        return Nature.OTHER
    return Nature.EXACT


class _OtherError(Exception):
    """The value is not of that nature."""


def _native(value: Any, is_name: Callable[[Any], bool], names: set[str], depth: int) -> int:
    """How many values there are; the first loop that is not in C is that over containers."""
    size = len(value)
    if type(value) is dict:
        if not (value.keys() <= names or all(map(is_name, value))):
            raise _OtherError
        value = value.values()
    for one in value:
        kind = type(one)
        if kind in _ATOMS:
            continue
        if (kind is not dict and kind is not list) or depth > _DEEPEST:
            raise _OtherError
        size += _native(one, is_name, names, depth + 1)
        if size > _MOST:
            raise _OtherError
    return size


def _exact(value: Any, depth: int) -> int:
    if type(value) in _ATOMS or type(value) is complex:
        return 1
    if type(value) not in _EXACT or depth > _DEEPEST:
        raise _OtherError
    size = 1
    for part in (value, value.values()) if type(value) is dict else (value,):
        for one in part:
            size += 1 if type(one) in _ATOMS else _exact(one, depth + 1)
            if size > _MOST:
                raise _OtherError
    return size
