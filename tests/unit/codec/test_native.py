"""Fingerprints tell what has not changed: two values of which one is `EXACT` have the same form if theirs are the same.

The kinds of fault: a change that is never saved, as it looks the same to C. Values that Python calls equal come in
pairs here: the same content in another type, another order, another sign. And a loop in C that takes twice as long with
each level of a value, or of what it shares: nothing interrupts it.
"""

from __future__ import annotations

import array
import collections
import copy
import enum
import itertools
import math
import uuid
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from strategies import values

from ptb_mongo.codec import Codec, Nature, dump, fingerprint
from ptb_mongo.errors import EncodeError


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Data(bytes):
    pass


class Choice(enum.IntEnum):
    ONE = 1


class Shows(array.array):  # type: ignore[type-arg]  # which is generic for type checkers alone
    """Shows its memory, as many classes of other libraries do."""


CODEC = Codec(trusted=[__name__])

ALIKE = (
    1,
    1.0,
    True,
    Number(1),
    Choice.ONE,
    bson.Int64(1),
    0.0,
    -0.0,
    0,
    False,
    None,
    math.nan,
    -math.nan,
    2**63,
    -(2**63) - 1,
    "1",
    b"1",
    bytearray(b"1"),
    memoryview(b"1"),
    array.array("B", b"1"),
    Shows("B", b"1"),
    Data(b"1"),
    Text("1"),
    "\ud800",
    (),
    [],
    {},
    set(),
    frozenset(),
    (1,),
    [1],
    [True],
    [1.0],
    {1},
    frozenset({1}),
    collections.deque([1]),
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    {"a": 1},
    {"_py": 1},
    {"a.b": 1},
    {"$a": 1},
    {"": 1},
    {1: 1},
    {True: 1},
    {1.0: 1},
    {None: 1},
    {(1,): 1},
    collections.OrderedDict({"a": 1}),
    collections.Counter({"a": 1}),
    collections.defaultdict(int, {"a": 1}),
    uuid.UUID(int=1),
    ...,
    StopIteration,
)


def form(value: Any) -> Any:
    """What is stored for a value, or that nothing can be."""
    try:
        return dump({"data": CODEC.encode(value)})
    except EncodeError:
        return "cannot be stored"


def around(value: Any) -> tuple[Any, ...]:
    """A value at the places where one can stand."""
    return value, [value], {"key": value}, {"key": [{"key": value}]}, (value, 1)


@pytest.mark.parametrize("place", range(len(around(None))))
def test_what_looks_the_same_has_the_same_form(place: int) -> None:
    for one, other in itertools.permutations(ALIKE, 2):
        first, second = around(one)[place], around(other)[place]
        if (printed := fingerprint(first)) is not None and printed == fingerprint(second):
            assert CODEC.nature(first) is Nature.OTHER or form(first) == form(second)


def test_most_of_what_looks_the_same_has_a_fingerprint() -> None:
    assert sum(fingerprint(one) is not None for one in ALIKE) > len(ALIKE) / 2


@given(st.one_of(values, st.sampled_from(ALIKE)), st.one_of(values, st.sampled_from(ALIKE)))
def test_no_two_values_with_different_forms_are_mistaken_for_the_same(one: Any, other: Any) -> None:
    printed = fingerprint(one)
    if printed is not None and CODEC.nature(one) is not Nature.OTHER and printed == fingerprint(other):
        assert form(one) == form(other)


json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(), st.just("\udfff")),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.sampled_from(["_py", "a.b", "$a", "%", ""])), inside, max_size=3
        ),
    ),
    max_leaves=8,
)


def _either(values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.one_of(values, json)


@given(st.dictionaries(st.text(max_size=5), _either(values), max_size=4))
def test_what_is_its_own_form_is_stored_as_it_is_or_refused_by_bson(data: dict[str, Any]) -> None:
    if fingerprint(data) is None or CODEC.nature(data) is not Nature.NATIVE:
        return
    try:
        raw = dump({"data": data})
    except EncodeError:
        return
    assert raw == form(data)


@given(json)
def test_a_copy_of_a_copy_looks_the_same(value: Any) -> None:
    data = {"a": value, "b": [value]}
    one = copy.deepcopy(data)
    assert fingerprint(one) == fingerprint(copy.deepcopy(data))


@pytest.mark.parametrize(
    "value",
    [Text("x"), Number(1), Choice.ONE, uuid.uuid4(), object(), collections.OrderedDict(a=1)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_of_another_type_has_no_fingerprint(value: Any) -> None:
    assert fingerprint({"a": [value]}) is None


@pytest.mark.parametrize(
    "value",
    [b"x", bytearray(b"x"), Data(b"x"), array.array("b", b"x"), memoryview(b"x")],
    ids=lambda value: type(value).__name__,
)
def test_nothing_is_known_of_what_shows_its_memory(value: Any) -> None:
    assert all(CODEC.nature(one) is Nature.OTHER for one in around(value))


def _unfolded(levels: int) -> Any:
    value: Any = ["x"]
    for _ in range(levels):
        value = [value, value]
    return {"data": value}


def test_a_graph_of_shared_references_is_not_unfolded() -> None:
    bomb = _unfolded(50)
    assert fingerprint(bomb) is not None
    assert CODEC.nature(bomb) is Nature.OTHER
    assert CODEC.nature({"data": (bomb,)}) is Nature.OTHER


WRAPPED: dict[str, Any] = {
    "in each other": lambda inner: frozenset({inner}),
    "in tuples": lambda inner: frozenset({(inner, 1)}),
    "twice": lambda inner: frozenset({(inner, 1), (inner, 2)}),
    "as keys": lambda inner: (frozenset({inner}),),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_sets_in_sets_take_no_longer_than_they_are_large(wrap: Any) -> None:
    value: Any = frozenset()
    for _ in range(25):  # of which `marshal` would make minutes
        value = wrap(value)
    for data in ({"a": value}, {"a": {value: 1}}, {"a": {value}}):
        assert fingerprint(data) is not None
        assert fingerprint(data) == fingerprint(copy.deepcopy(data))
        assert CODEC.nature(data) is Nature.OTHER  # so that `marshal` is not asked either


def test_a_few_sets_in_each_other_are_compared_by_their_fingerprints() -> None:
    assert CODEC.nature({"a": {frozenset({frozenset({1})})}}) is Nature.EXACT


def test_what_is_nested_too_deeply_or_contains_itself_is_left_to_the_encoder() -> None:
    deep: Any = {}
    for _ in range(70):
        deep = {"a": deep}
    assert CODEC.nature(deep) is Nature.OTHER
    ring: list[Any] = []
    ring.append(ring)
    assert fingerprint(ring) is None or CODEC.nature(ring) is Nature.OTHER


@pytest.mark.parametrize("key", ["_py", "a.b", "$a", "", "%", "\x00", "\ud800", 1, None, (1,)], ids=repr)
def test_a_dict_with_keys_that_are_escaped_is_not_its_own_form(key: Any) -> None:
    assert CODEC.nature({"a": [{key: 1}]}) is Nature.EXACT


def test_a_key_is_known_after_the_first_time_and_still_is_its_own_form() -> None:
    for _ in range(2):
        assert CODEC.nature({"a new key": {"another": 1}}) is Nature.NATIVE
