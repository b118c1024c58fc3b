"""The cost of filling a dict or a set is known before it is filled.

The kind of fault: a bound counts keys with the same hash, but not the cost of comparing two of them. So the tests count
comparisons, and for everything that is accepted, the estimate must cover as many as Python makes.
"""

from __future__ import annotations

import dataclasses
import datetime as dtm
import enum
import itertools
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


class Mode(enum.IntFlag):
    READ = 1


SMALL = 3.3333333333e-308
_DENOMINATOR = int(PRIME / ((1 + 5**0.5) / 2))
FRACTION_LIKE_IT = Fraction(hash(SMALL) * _DENOMINATOR % PRIME, _DENOMINATOR)
assert hash(FRACTION_LIKE_IT) == hash(SMALL)

SLOW: dict[str, list[Any]] = {
    "short numbers": [number * PRIME for number in range(8000)],
    "fractions": [Fraction(number * PRIME, 7) for number in range(1, 1000)],
    "a long number and decimals": [PRIME << 90_000, *(Decimal(number * PRIME) for number in range(1, 300))],
    "a long fraction and decimals": [Fraction(7, PRIME * 7 + 1) ** 900, *map(Decimal, range(300))],
    "decimals of many digits": [Decimal(PRIME) * 10**4000 * number for number in range(1, 200)],
    "tuples that are equal but for their ends": [((1,) * 500, number * PRIME) for number in range(1, 700)],
    "flags of many bits, and decimals": [
        *((Mode(PRIME << 20_000), number * PRIME) for number in range(50)),
        *((Decimal(0), number * PRIME) for number in range(50, 100)),
    ],
    "fractions, and a float of their hash": [
        (one, number * PRIME) for number in range(100) for one in (SMALL, FRACTION_LIKE_IT)
    ],
    "sets": [frozenset({number * PRIME, *range(1, 900)}) for number in range(1, 500)],
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
    assert time.process_time() - started < 0.5  # of 0.16, on a machine that does much else, too
    assert len(made) > 1


@dataclasses.dataclass(frozen=True)
class Order:
    customer: int
    number: int = dataclasses.field(hash=False)


HONEST: dict[str, list[Any]] = {
    "texts, and what equals none of them": ["a", "b", b"a", 1.5, None, True],
    "a thousand short numbers": [number * PRIME for number in range(1000)],
    "tuples of -1 and -2, which have one hash": list(itertools.product(range(-2, 1), repeat=9)),
    "more such tuples": list(itertools.product(range(-3, 3), repeat=5)),
    "objects of a class whose hash is coarse": [Order(1, number) for number in range(800)],
    "one and the same thing, again and again": [(1, 2)] * 20_000 + [Fraction(1, 3)] * 2000,
    "equal things, again and again": [dtm.timedelta(one % 3) for one in range(20_000)],
}


@pytest.mark.parametrize("kind", HONEST)
def test_what_honest_programs_keep_is_let_in(kind: str) -> None:
    check_collisions(HONEST[kind])


def test_what_contains_itself_is_weighed_once() -> None:
    class Loop(tuple[Any, ...]):
        __slots__ = ()

        def __hash__(self) -> int:
            return 1

    inner: list[Any] = []
    loops = [Loop((inner, number)) for number in range(3)]
    inner.append(loops[0])

    assert 0 < check_collisions(loops) < 10_000
