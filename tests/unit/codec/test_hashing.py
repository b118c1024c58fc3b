"""What filling a dict or a set takes is known before it is filled.

The kind of fault: a bound that counts keys of one hash, and not what comparing two of them takes. So comparisons are
counted here, and whatever is let in must have been weighed for as many as Python makes.
"""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.codec.hashing import Growth, check_collisions
from ptb_mongo.errors import DecodeError

PRIME = 2**61 - 1
HASHES = st.lists(st.integers(0, 5), max_size=40)


class Key:
    compared = 0

    def __init__(self, number: int, hashed: int) -> None:
        self.number = number
        self._hash = hashed

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        Key.compared += 1
        return isinstance(other, Key) and self.number == other.number


def keys(hashes: list[int]) -> list[Key]:
    Key.compared = 0
    return [Key(number, one) for number, one in enumerate(hashes)]


@given(HASHES)
def test_python_compares_no_more_often_than_was_weighed(hashes: list[int]) -> None:
    values = keys(hashes)

    weighed = check_collisions(values)

    assert len(dict.fromkeys(values)) == len(values)
    assert Key.compared <= weighed


@given(HASHES, HASHES)
def test_a_dict_that_grows_is_weighed_key_by_key(before: list[int], more: list[int]) -> None:
    values = keys([*before, *more])
    target = dict.fromkeys(values[: len(before)])
    growth = Growth(target)
    Key.compared = 0

    weighed = sum(growth.adds([key]) for key in values[len(before) :])

    target.update(dict.fromkeys(values[len(before) :]))
    assert len(target) == len(values)
    assert Key.compared <= weighed


SLOW: dict[str, list[Any]] = {
    "short numbers": [number * PRIME for number in range(20_000)],
    "fractions": [Fraction(number * PRIME, 7) for number in range(1, 4000)],
    "a long number and decimals": [PRIME << 90_000, *(Decimal(number * PRIME) for number in range(1, 3000))],
    "a long fraction and decimals": [Fraction(7, PRIME * 7 + 1) ** 900, *map(Decimal, range(3000))],
    "decimals of many digits": [Decimal(PRIME) * 10**4000 * number for number in range(1, 2000)],
    "tuples that are equal but for their ends": [((1,) * 500, number * PRIME) for number in range(1, 1000)],
    "sets": [frozenset({number * PRIME, *range(1, 900)}) for number in range(1, 1000)],
}


@pytest.mark.parametrize("kind", SLOW)
def test_what_would_take_long_is_refused_and_what_is_let_in_is_quick(kind: str) -> None:
    values = SLOW[kind]
    while True:
        started = time.process_time()
        try:
            check_collisions(values)
        except DecodeError:
            values = values[: len(values) // 2]
        else:
            break
    started = time.process_time()
    made = set(values)
    assert time.process_time() - started < 0.2  # 15 ms, on a machine that does much else, too
    assert len(made) > 1


def test_texts_never_collide_and_a_thousand_short_numbers_may() -> None:
    assert check_collisions(["a", "b", b"a", 1.5, None, True]) == 0
    assert check_collisions([number * PRIME for number in range(1000)]) == 0
    with pytest.raises(DecodeError, match="the same hash"):
        check_collisions([number * PRIME for number in range(1100)])


def test_what_contains_itself_is_weighed_once() -> None:
    class Loop(tuple[Any, ...]):
        __slots__ = ()

        def __hash__(self) -> int:
            return 1

    inner: list[Any] = []
    loops = [Loop((inner, number)) for number in range(3)]
    inner.append(loops[0])

    assert 0 < check_collisions(loops) < 1000
