"""Keeps what a pickle stands for in proportion to its bytes.

References are short: a few bytes can name one part in many places, and so make a value that takes for ever to be
hashed, copied, stored or shown. And a few bytes can call for an object that is a hundred times their size.
"""

from __future__ import annotations

import collections
import math
import sys
from collections.abc import Collection, Iterable
from typing import Any, Final

from ptb_mongo.codec.bounds import MAX_COLLISIONS, check_collisions
from ptb_mongo.errors import DecodeError

__all__ = ["MADE_PER_BYTE", "UNFOLDED_PER_BYTE", "Proportion"]

# What honest pickles come nowhere near.
UNFOLDED_PER_BYTE: Final = 16
"""How many parts there may be for each byte of a pickle, each counted wherever it stands."""
MADE_PER_BYTE: Final = 64
"""How many bytes of objects may be made for each byte of a pickle."""

_UNFOLDED_AT_LEAST: Final = 16_384
_MADE_AT_LEAST: Final = 4096
_MAX_HASHED: Final = 6_000_000  # more than 16 MB hold
_DEEPEST_HASHED: Final = 500  # Python hashes without a limit, until the process crashes
_LOOKED_INTO: Final = {tuple, list, dict, set, frozenset, str, bytes, bytearray}
_SCALARS: Final = {str, int, bool, float, bytes, type(None)}


class Proportion:
    """Weighs the parts of one pickle.

    Args:
        size: The pickle's, in bytes; infinite for one that may stand for more.

    Attributes:
        made: Each restored object by its `id`, and what it was made of.
    """

    def __init__(self, size: float) -> None:
        self._max_unfolded = _UNFOLDED_AT_LEAST + UNFOLDED_PER_BYTE * size
        self._max_made = _MADE_AT_LEAST + MADE_PER_BYTE * size
        self._unfolded = 0
        self._made_bytes = 0
        self._hashed = 0
        self._is_shared = False  # whether something that is not short stands in several places
        self._unfolds = False  # whether that is true of something that checks and constructors look into
        self._weights: dict[int, int] = {}  # of tuples, which are kept by the memo
        self._hashes: dict[int, tuple[Any, collections.Counter[int]]] = {}  # of each large dict, and how often
        self.made: dict[int, tuple[Any, Any]] = {}

    # -- what is made -----------------------------------------------------------------------------------

    def makes(self, made: Any, args: tuple[Any, ...]) -> None:
        """An object was restored.

        Raises:
            DecodeError: If all objects are much larger than the pickle.
        """
        self.made[id(made)] = made, args
        self._made_bytes += sys.getsizeof(made)
        if self._made_bytes > self._max_made:
            raise DecodeError("the pickle makes much more of its bytes than they can mean")

    # -- what stands in several places ------------------------------------------------------------------

    def shares(self, recalled: Any) -> None:
        """Something stands in one more place; a tuple is weighed at once, as it may be hashed.

        Raises:
            DecodeError: If tuples unfold out of proportion.
        """
        self._is_shared = True
        self._unfolds = self._unfolds or type(recalled) in _LOOKED_INTO
        if type(recalled) is tuple:
            self._unfolded += self._tuple_weight(recalled)
            if self._unfolded > self._max_unfolded:
                raise DecodeError("the pickle has tuples of tuples that unfold without end")

    def enters(self, args: tuple[Any, ...]) -> None:
        """Something is to be restored from this, and may be looked through, each part wherever it stands.

        Raises:
            DecodeError: If the parts of all that was restored are out of proportion.
        """
        if self._unfolds and self._max_unfolded < math.inf:
            self._unfolded += self._weight(args, {}, with_made=False)
            if self._unfolded > self._max_unfolded:
                raise DecodeError("the pickle has parts of parts that unfold without end")

    def _tuple_weight(self, value: tuple[Any, ...]) -> int:
        known = self._weights.get(id(value))
        if known is None:
            known = 1 + len(value) + sum(self._tuple_weight(part) for part in value if type(part) is tuple)
            self._weights[id(value)] = known
        return known

    def check(self, value: Any) -> None:
        """Weighs a whole value, everything wherever it stands: to be stored, or shown, it is taken apart there again.

        Raises:
            DecodeError: If it unfolds out of proportion.
        """
        if self._is_shared and self._max_unfolded < math.inf and self._weight(value, {}) > self._max_unfolded:
            raise DecodeError("the pickle has parts of parts that unfold without end")

    def _weight(self, value: Any, weights: dict[int, int], deepest: float = math.inf, *, with_made: bool = True) -> int:
        """How many parts a value has, each counted wherever it stands; what contains itself counts as one there.

        Args:
            value: What is weighed.
            weights: Those that are known.
            deepest: How many levels there may be.
            with_made: Whether what was restored counts as all that it was made of, or as one.
        """
        todo: list[tuple[Any, bool]] = [(value, False)]
        depth = 0
        while todo:
            item, is_weighed = todo.pop()
            parts = self._parts(item) if with_made or id(item) not in self.made else ()
            if is_weighed:
                depth -= 1
                weights[id(item)] = 1 + sum(weights.get(id(part)) or _size(part) for part in parts)
            elif id(item) not in weights:
                weights[id(item)] = 0
                depth += 1
                if depth > deepest:
                    raise DecodeError("the pickle has a key or an element of a set that is nested too deeply")
                todo.append((item, True))
                todo += [(part, False) for part in parts if type(part) not in _SCALARS]
        return weights[id(value)]

    def _parts(self, value: Any) -> Collection[Any]:
        """What a value holds."""
        kind = type(value)
        if kind in {tuple, list, set, frozenset}:
            return value  # type: ignore[no-any-return]
        if kind is dict:
            return [*value.keys(), *value.values()]
        return self.made[id(value)][1] if id(value) in self.made else ()

    # -- what is hashed ---------------------------------------------------------------------------------

    def check_hashing(self, values: Iterable[Any]) -> None:
        """Refuses keys and elements whose hash would take for ever: tuples of one tuple of one tuple ...

        Raises:
            DecodeError: If their parts, each counted wherever it stands, are too many; or if too many collide.
        """
        values = list(values)
        weights: dict[int, int] = {}
        self._hashed += sum(
            self._weight(value, weights, _DEEPEST_HASHED) for value in values if type(value) not in _SCALARS
        )
        if self._hashed > _MAX_HASHED:
            raise DecodeError("the pickle has a key or an element of a set that unfolds without end")
        check_collisions(values)

    def check_growth(self, target: dict[Any, Any], keys: list[Any]) -> None:
        """The same for a dict that gets its keys little by little.

        Raises:
            DecodeError: If too many collide.
        """
        if len(target) + len(keys) > MAX_COLLISIONS:
            _, hashes = self._hashes.setdefault(id(target), (target, collections.Counter(map(hash, target))))
            new = list(map(hash, keys))
            hashes.update(new)
            if any(hashes[one] > MAX_COLLISIONS for one in new):
                raise DecodeError("too many of its keys have the same hash")


def _size(value: Any) -> int:
    """What a value counts that holds no others: a text as what it takes to write it."""
    return 1 + len(value) // 16 if type(value) in {str, bytes, bytearray} else 1
