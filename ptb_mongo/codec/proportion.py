"""Keeps what a pickle stands for in proportion to its bytes.

References are short: a few bytes can name one part in many places, and so make a value that takes for ever to be
hashed, copied, stored or shown. And a few bytes can call for an object that is a hundred times their size.
"""

from __future__ import annotations

import math
import pathlib
import sys
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

import telegram
from bson.code import Code

from ptb_mongo.codec.hashing import Growth, check_collisions
from ptb_mongo.codec.objects import slots_of
from ptb_mongo.codec.shapes import shape_of
from ptb_mongo.errors import DecodeError

__all__ = ["LOOKED_AT_AT_LEAST", "LOOKED_AT_PER_BYTE", "MADE_PER_BYTE", "UNFOLDED_PER_BYTE", "Outside", "Proportion"]

UNFOLDED_PER_BYTE: Final = 16
"""How many parts a value may have for each byte of its pickle, each counted wherever it stands."""
LOOKED_AT_PER_BYTE: Final = 16
"""How many parts all calls together may be made of, for each byte; what two calls share counts for both."""
MADE_PER_BYTE: Final = 64
"""How many bytes of objects may be made for each byte of a pickle."""

# What honest values share: a catalogue in each button, a prompt in each line of a history. A button counts its data
# twice.
UNFOLDED_AT_LEAST: Final = 2**19
# Of what is stored again as a document, where each part stands for itself: a list or a tuple takes as much there as
# that many numbers.
_TAKEN_APART_AT_LEAST: Final = 2**18
_APART: Final[Mapping[type, int]] = dict.fromkeys((tuple, list, dict, set, frozenset), 16)
_NO_MORE: Final[Mapping[type, int]] = MappingProxyType({})
# PTB makes an object of each, with all the attributes that its class has.
_PARSED: Final[Mapping[type, int]] = {dict: 128}
LOOKED_AT_AT_LEAST: Final = 2**18
_MADE_AT_LEAST: Final = 2**14
_MAX_HASHED: Final = 6_000_000  # of a pickle that is not bounded: more than 16 MB hold
_DEEPEST_HASHED: Final = 500  # Python hashes without a limit, until the process crashes
_BYTES_PER_CHARACTER_OF_A_PATH: Final = 16
_BYTES_PER_ITEM: Final = 64
_SHORT_INT: Final = 64
_COMPARED_PER_PART: Final = 64  # units of comparing that take as long as looking at one part
_PARTS_PER_FRACTION: Final = 48  # that take as long as its hash
_SCALARS: Final = {str, int, bool, float, bytes, type(None)}


class Outside:
    """Stands for an object that is no part of the pickle, until that object is put in its place."""


class Proportion:
    """Weighs the parts of one pickle.

    Args:
        size: The pickle's, in bytes; infinite for one that may stand for more.

    Attributes:
        made: Each restored object by its `id`, and what it was made of.
    """

    def __init__(self, size: float) -> None:
        self._size = size
        self._max_looked_at = LOOKED_AT_AT_LEAST + LOOKED_AT_PER_BYTE * size
        self._max_made = _MADE_AT_LEAST + MADE_PER_BYTE * size
        self._looked_at = 0
        self._made_bytes = 0
        self._hashed = 0
        self._is_shared = False  # whether something that is not short stands in several places
        self._weights: dict[int, int] = {}  # of what calls were made of; valid while none of it changes
        self._weighed: list[Any] = []  # kept, so that its id stays its own
        self._growing: dict[int, tuple[Any, Growth]] = {}
        self.made: dict[int, tuple[Any, Any]] = {}

    # -- what is made -----------------------------------------------------------------------------------

    def enters(self, parts: Any, *, outside: bool = False) -> None:
        """Something is to be made of this, and may look at each part wherever it stands: each call pays anew.

        While no part stands in several places, the bytes themselves bound all calls together.

        Args:
            parts: What it is made of.
            outside: Whether there is something in the pickle that must not be among it.

        Raises:
            DecodeError: If the parts of all that was made are out of proportion, or `Outside` is one of them.
        """
        if (self._is_shared or outside) and self._size < math.inf:
            self._pays(self._weight(parts, self._weights, with_made=False))

    def _pays(self, weight: int) -> None:
        self._looked_at += weight
        if self._looked_at > self._max_looked_at:
            raise DecodeError("the pickle makes too much of the same parts of parts, which unfold without end")

    def makes(self, made: Any) -> None:
        """An object was made.

        Raises:
            DecodeError: If all objects are much larger than the pickle.
        """
        self._made_bytes += sys.getsizeof(made)
        if isinstance(made, telegram.TelegramObject):
            if made.api_kwargs:
                self._made_bytes += _BYTES_PER_ITEM * len(made.api_kwargs)
        elif isinstance(made, pathlib.PurePath):
            self._made_bytes += _BYTES_PER_CHARACTER_OF_A_PATH * len(str(made))
        elif type(made) is Code:
            self._made_bytes += sys.getsizeof(made.scope)
        if (attributes := getattr(made, "__dict__", None)) is not None:
            self._made_bytes += sys.getsizeof(attributes)
        if self._made_bytes > self._max_made:
            raise DecodeError("the pickle makes much more of its bytes than they can mean")

    def unfolds(self, value: Any) -> None:
        """A value is to be parsed as JSON, after objects were made JSON: everything wherever it stands, each time anew.

        Raises:
            DecodeError: If all that was parsed is out of proportion.
        """
        self._pays(self._weight(value, {}, containers=_PARSED))

    def changes(self, container: Any) -> None:
        """A list or a dict gets more: what it weighed, by itself or inside of others, does not hold any more."""
        if id(container) in self._weights:
            self._weights.clear()
            self._weighed.clear()

    # -- what stands in several places ------------------------------------------------------------------

    def shares(self, recalled: Any) -> None:
        """Something stands in one more place.

        Raises:
            DecodeError: If it is not a part of the pickle.
        """
        self._is_shared = True
        if type(recalled) is Outside:
            raise DecodeError("the pickle lets an outside object stand in several places")

    def check(self, value: Any) -> None:
        """Weighs a whole value, everything wherever it stands: to be stored, or shown, it is taken apart there again.

        Raises:
            DecodeError: If it unfolds out of proportion.
        """
        if not self._is_shared or self._size == math.inf:
            return
        is_apart = _is_taken_apart(value)
        least = _TAKEN_APART_AT_LEAST if is_apart else UNFOLDED_AT_LEAST
        weight = self._weight(value, {}, containers=_APART if is_apart else _NO_MORE)
        if weight > least + UNFOLDED_PER_BYTE * self._size:
            raise DecodeError("the pickle has parts of parts that unfold without end")

    def _weight(
        self,
        value: Any,
        weights: dict[int, int],
        deepest: float = math.inf,
        *,
        with_made: bool = True,
        containers: Mapping[type, int] = _NO_MORE,
    ) -> int:
        """How many parts a value has, each counted wherever it stands; what contains itself counts as one there.

        Args:
            value: What is weighed.
            weights: Those that are known.
            deepest: How many levels there may be.
            with_made: Whether what was restored counts as all that it was made of, or as one.
            containers: What those count beside their parts that count for more than one.
        """
        todo: list[tuple[Any, bool]] = [(value, False)]
        depth = 0
        is_kept = weights is self._weights
        while todo:
            item, is_weighed = todo.pop()
            parts = self._parts(item) if with_made or id(item) not in self.made else ()
            if is_weighed:
                depth -= 1
                own = containers.get(type(item)) or _own_weight(item)
                weights[id(item)] = own + sum(weights.get(id(part)) or _size(part) for part in parts)
            elif id(item) not in weights:
                if type(item) is Outside:
                    raise DecodeError("the pickle has the bot where it never stands")
                weights[id(item)] = 0
                depth += 1
                if depth > deepest:
                    raise DecodeError("the pickle has a key or an element of a set that is nested too deeply")
                todo.append((item, True))
                todo += [(part, False) for part in parts if type(part) not in _SCALARS]
                if is_kept:
                    self._weighed.append(item)
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
        hashed = 0
        for value in values:
            if type(value) not in _SCALARS:
                hashed += self._weight(value, weights, _DEEPEST_HASHED)
            elif type(value) is int:  # whose hash Python does not remember
                hashed += _size(value)
        self._pays(hashed)
        self._hashed += hashed
        if self._hashed > _MAX_HASHED:
            raise DecodeError("the pickle has a key or an element of a set that unfolds without end")
        self._pays(check_collisions(values) // _COMPARED_PER_PART)

    def check_growth(self, target: dict[Any, Any], keys: list[Any]) -> None:
        """The same for keys that are added to others.

        Raises:
            DecodeError: If too many collide.
        """
        if target:
            if id(target) not in self._growing:
                self._growing[id(target)] = target, Growth(target)
            _, growth = self._growing[id(target)]
            self._pays(growth.adds(keys) // _COMPARED_PER_PART)


def _is_taken_apart(value: Any) -> bool:
    """Whether the encoder stores what a value holds as a document, though it came in a pickle."""
    return shape_of(type(value)) is not None or isinstance(value, (tuple, dict, deque))


def _own_weight(value: Any) -> int:
    """What a value counts beside its parts: each attribute that a Telegram object could have, as PTB looks at it."""
    if isinstance(value, telegram.TelegramObject):
        return 1 + len(slots_of(type(value)))
    return _PARTS_PER_FRACTION if isinstance(value, Fraction) else 1


def _size(value: Any) -> int:
    """What a value counts that holds no others: a text by its length, a number by what it takes to use it."""
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        return 1 + len(value) // 16
    if kind is int and value.bit_length() > _SHORT_INT:
        return value.bit_length() // 8  # type: ignore[no-any-return]
    return 1
