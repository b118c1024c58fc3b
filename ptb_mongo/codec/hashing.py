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
"""Up to so many numbers take no time, even if all have one hash."""
_MOST_COMPARED: Final = 40_000_000
"""What one dict or set may take to be filled, in units of about 4 ns."""
_SHORT: Final = 64  # bits
_SCALAR: Final = 8
_PYTHON_CODE: Final = 100
# These two take longest against a float of the same hash, and each takes few bytes: they are weighed rather too high.
_DECIMAL: Final = 4000
_FRACTION: Final = 20_000
_REASON: Final = "too many of its keys or elements have the same hash, or take too long to be compared"
_CANNOT_COLLIDE: Final = {str, bytes, float, bool, type(None)}
_SCALARS: Final = {*_CANNOT_COLLIDE, int}
_CONTAINERS: Final[tuple[Any, ...]] = (tuple, frozenset, list, dict, set)


def check_collisions(values: Iterable[Any]) -> int:
    """Refuses keys, or elements of a set, if too many have one hash for the time that comparing them takes.

    Returns:
        What they take, in units of about 4 ns.

    Raises:
        DecodeError: If that is too much.
    """
    values = list(values)
    if set(map(type, values)) <= _CANNOT_COLLIDE or len(set(map(hash, values))) == len(values):
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
    heaviest = {one: max(_weight(value, weights) for value in same) for one, same in by_hash.items() if len(same) > 1}
    taken = sum(weight * (len(by_hash[one]) * (len(by_hash[one]) - 1) // 2) for one, weight in heaviest.items())
    if taken <= _MOST_COMPARED:
        return taken
    return _counted((by_hash[one], weight) for one, weight in heaviest.items())


def _counted(groups: Iterable[tuple[list[Any], int]]) -> int:
    """The same, exactly: others may have put the same thing into an array often, and equal ones are compared once."""
    taken = 0
    for same, weight in groups:
        distinct: list[Any] = []
        for value in same:
            for other in distinct:
                if other is value:
                    break
                taken += weight
                if taken > _MOST_COMPARED:
                    return taken
                if other == value:
                    break
            else:
                distinct.append(value)
    return taken


def _weight(value: Any, weights: dict[int, int]) -> int:
    """What comparing a value with any other one takes at most; each part counts wherever it stands.

    Args:
        value: What is weighed.
        weights: Of what is known already, by its `id`.
    """
    if type(value) in _SCALARS:
        return _SCALAR + _length(value)
    if (known := weights.get(id(value))) is not None:
        return known
    weights[id(value)] = 0  # what contains itself
    weight = weights[id(value)] = _length(value) + _weight_of_parts(value, weights)
    return weight


def _length(value: Any) -> int:
    """What a text, bytes or a number takes more than a short one: a number is squared, in effect, by a `Decimal`."""
    kind: Any
    for kind in (str, bytes, bytearray):
        if isinstance(value, kind):
            return int(kind.__len__(value)) >> 6
    bits = int.bit_length(value) if isinstance(value, int) else 0
    return bits * bits >> 10 if bits > _SHORT else 0


def _weight_of_parts(value: Any, weights: dict[int, int]) -> int:
    if isinstance(value, (type, enum.Enum, telegram.Bot)):
        return _PYTHON_CODE  # compared by what they are
    if isinstance(value, Decimal):
        return _DECIMAL + (len(value.as_tuple().digits) ** 2 >> 7)
    own = _SCALAR if type(value) in {tuple, frozenset} else _PYTHON_CODE
    if isinstance(value, Fraction):
        own = _FRACTION
    elif isinstance(value, (range, slice)):
        own += _weight_inside((value.start, value.stop, value.step), weights)
    elif (kind := next((kind for kind in _CONTAINERS if isinstance(value, kind)), None)) is not None:
        inside = list(kind.__iter__(value))  # by no method of its own
        own += _weight_inside(inside, weights)
        if kind is dict:
            own += _weight_inside(dict.values(value), weights)
        if kind not in (tuple, list):
            own += _compared(inside, weights)
    return own + _weight_inside(attributes_of(value).values(), weights)


def _weight_inside(parts: Iterable[Any], weights: dict[int, int]) -> int:
    """What parts weigh that are compared in one go: a scalar among them takes no call."""
    return sum(_weight(part, weights) - (_SCALAR - 1 if type(part) in _SCALARS else 0) for part in parts)


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
        """It gets more keys; returns what they take, in units of about 4 ns.

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
        hashed = hash(key)
        number, heaviest = self._known.get(hashed, (0, 0))
        if type(key) not in _SCALARS:
            self._kept.append(key)
        heaviest = max(heaviest, _weight(key, self._weights))
        self._taken += number * heaviest
        self._known[hashed] = number + 1, heaviest
