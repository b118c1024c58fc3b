"""Fingerprints, by which C tells what has not changed, and values that are their own plain form.

A pickle says all of a value of Python's own types: types, order, -0.0, the bits of a NaN. Here it is made of nothing
else: no method of any class is called. Unlike `marshal`, it takes no longer than the value is large, whatever lies in
what: `marshal` writes the elements of a set twice, to sort them, and so doubles the time with each set in a set.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from enum import IntEnum
from hashlib import blake2b
from typing import Any, Final, NoReturn

__all__ = ["Nature", "fingerprint", "nature"]

_PROTOCOL: Final = 5
_BYTES: Final = 16
_ATOMS: Final = frozenset({type(None), bool, int, float, str})
_EXACT: Final = frozenset({dict, list, tuple, set, frozenset})
_MOST: Final = 500_000  # values: a small graph of shared references may unfold into any number
_DEEPEST: Final = 60  # levels, beyond which the encoder may have to pack
_SETS: Final = 3  # in each other: with each one, `marshal` takes twice as long, which compares single values


class Nature(IntEnum):
    """What the types of all that a value holds say of it."""

    OTHER = 0
    """Nothing."""
    EXACT = 1
    """A value with the same fingerprint has the same form."""
    NATIVE = 2
    """Besides, it is its own plain form, unless it holds a number or a text that BSON refuses."""


def fingerprint(value: object) -> bytes | None:
    """Bytes that only a value of the same form has too; `None` if the value holds what is not of Python's own types.

    They also depend on which of its parts are the same object, and on the order in a set. So equal values may have
    several: that costs time, and loses no change.
    """
    found = blake2b(digest_size=_BYTES)
    try:
        _Pickler(_Sink(found.update), _PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001  (it is nested too deep, say)
        return None
    return found.digest()


class _Sink:
    """A file that is nothing but its method."""

    __slots__ = ("write",)

    def __init__(self, write: Callable[[Any], object]) -> None:
        self.write = write


class _Pickler(pickle.Pickler):
    """Writes values of Python's own types, and nothing else."""

    def reducer_override(self, _: object) -> NoReturn:
        """Called for all others."""
        raise _OtherError


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
        _exact(value, 0, _SETS)
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


def _exact(value: Any, depth: int, sets: int) -> int:
    kind = type(value)
    if kind in _ATOMS or kind is complex:
        return 1
    if kind is set or kind is frozenset:
        sets -= 1
    if kind not in _EXACT or depth > _DEEPEST or sets < 0:
        raise _OtherError
    size = 1
    for part in (value, value.values()) if kind is dict else (value,):
        for one in part:
            size += 1 if type(one) in _ATOMS else _exact(one, depth + 1, sets)
            if size > _MOST:
                raise _OtherError
    return size
