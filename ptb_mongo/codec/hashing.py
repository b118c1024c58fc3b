"""What it takes to put keys into a dict, or elements into a set: all that have one hash are compared with each other.

The hashes of texts cannot be foreseen, those of numbers, and of whatever is made of numbers, can be chosen. So what
is compared is counted, and each comparison has its weight: a tuple, a fraction or a long number may take as long as
thousands of short numbers.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import telegram

from ptb_mongo.codec.objects import attributes_of
from ptb_mongo.errors import DecodeError

__all__ = ["MANY_KEYS", "Growth", "check_collisions"]

MANY_KEYS: Final = 1000
"""Up to so many short numbers take no time, even if all have one hash."""
_MOST_COMPARED: Final = 500_000
"""What one dict or set may take to be filled; a unit is a comparison of two short numbers, of some 30 ns."""
_CANNOT_COLLIDE: Final = {str, bytes, float, bool, type(None)}
_SCALARS: Final = {*_CANNOT_COLLIDE, int}
_SHORT: Final = 64  # bits
_PYTHON_CODE: Final = 32
_SQUARE: Final = 14  # a number of 128 bits weighs as much as a short one: it is squared to be compared with a Decimal
_DECIMAL: Final = 128  # against a float
_REASON: Final = "too many of its keys or elements have the same hash, or take too long to be compared"


def check_collisions(values: Iterable[Any]) -> int:
    """Refuses keys, or elements of a set, if too many have one hash for the time that comparing them takes.

    Returns:
        What they take, in comparisons of two short numbers.

    Raises:
        DecodeError: If that is too much.
    """
    values = list(values)
    kinds = set(map(type, values))
    if kinds <= _CANNOT_COLLIDE or len(values) < 2:  # noqa: PLR2004
        return 0
    if kinds == {int} and len(values) <= MANY_KEYS:  # they are compared in C, whatever their length
        return 0
    taken = _compared(values, {})
    if taken > _MOST_COMPARED:
        raise DecodeError(_REASON)
    return taken


def _compared(values: Iterable[Any], weights: dict[int, int]) -> int:
    """What the elements of a set, or the keys of a dict, take to be compared."""
    by_hash: collections.defaultdict[int, list[Any]] = collections.defaultdict(list)
    for value in values:
        by_hash[hash(value)].append(value)
    taken = 0
    for same in by_hash.values():
        if len(same) > 1:
            taken += len(same) * (len(same) - 1) // 2 * max(_weight(value, weights) for value in same)
    return taken


def _weight(value: Any, weights: dict[int, int]) -> int:
    """What comparing a value with any other one takes at most; each part counts wherever it stands.

    Args:
        value: What is weighed.
        weights: Of what is known already, by its `id`.
    """
    kind = type(value)
    if kind is int:
        bits = value.bit_length()
        return 1 if bits <= _SHORT else 1 + (bits * bits >> _SQUARE)
    if kind in _SCALARS:
        return 1 + (len(value) >> 6 if kind is str or kind is bytes else 0)
    if (known := weights.get(id(value))) is not None:
        return known
    weights[id(value)] = 0  # what contains itself
    weight = weights[id(value)] = _weight_of_parts(value, weights)
    return weight


def _weight_of_parts(value: Any, weights: dict[int, int]) -> int:
    if isinstance(value, Decimal):
        digits = len(value.as_tuple().digits)
        return _DECIMAL + (digits * digits >> 11)
    if isinstance(value, Fraction):
        return _PYTHON_CODE + _weight(value.numerator, weights) + _weight(value.denominator, weights)
    if isinstance(value, (type, enum.Enum, telegram.Bot)):
        return 1  # compared by what they are
    own = 1 if type(value) in {tuple, frozenset} else _PYTHON_CODE
    if isinstance(value, (tuple, list)):
        own += sum(_weight(part, weights) for part in value)
    elif isinstance(value, (set, frozenset)):
        own += sum(_weight(part, weights) for part in value) + _compared(value, weights)
    elif isinstance(value, dict):
        own += sum(_weight(key, weights) + _weight(part, weights) for key, part in value.items())
        own += _compared(value, weights)
    else:
        own += sum(_weight(part, weights) for part in attributes_of(value).values())
    return own


class Growth:
    """What it takes to fill one dict little by little.

    Args:
        keys: Those that it has already.
    """

    def __init__(self, keys: Iterable[Any]) -> None:
        self._weights: dict[int, int] = {}
        self._known: dict[int, tuple[int, int]] = {}  # how many have a hash, and the weight of the heaviest of them
        self._taken = 0
        self._kept: list[Any] = []  # so that the `id` of what was weighed stays its own
        for key in keys:
            self._add(key)

    def adds(self, keys: Iterable[Any]) -> int:
        """It gets more keys; returns what they take, in comparisons of two short numbers.

        Raises:
            DecodeError: If that is too much.
        """
        before = self._taken
        for key in keys:
            self._add(key)
        if self._taken > _MOST_COMPARED:
            raise DecodeError(_REASON)
        return self._taken - before

    def _add(self, key: Any) -> None:
        number, heaviest = self._known.get(hash(key), (0, 0))
        if type(key) not in _SCALARS:
            self._kept.append(key)
        heaviest = max(heaviest, _weight(key, self._weights))
        self._taken += number * heaviest
        self._known[hash(key)] = number + 1, heaviest
