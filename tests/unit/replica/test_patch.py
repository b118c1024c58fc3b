"""Changes that are brought into live objects: what they hold afterwards, and what stays the same object."""

from __future__ import annotations

import collections
import copy
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.codec import Codec
from ptb_mongo.errors import DecodeError
from ptb_mongo.replica.patch import bring_into


@dataclass
class Basket:
    total: Any = 0
    items: Any = None


@dataclass
class Other:
    total: Any = 0
    items: Any = None


class Slotted:
    __slots__ = ("a", "b")


class Bag:
    """Has any attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Identical:
    """Equal to nothing but itself."""


codec = Codec(trusted=[Basket, Other, Slotted, Bag, Identical])


def brought(live: Any, value: Any) -> Any:
    """The live object, after it was changed into a value."""
    bring_into(live, codec.encode(live), codec.encode(value), codec.decode)
    return live


# -- any two values --------------------------------------------------------------------------------------

keys = st.sampled_from(["a", "b", "a.b", "", "_py", 1, 2, True, None, -5])
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 2.5, -0.0, "x", "y", b"", (1,), (True,), 2**70, math.nan])
values = st.recursive(
    scalars
    | st.sets(scalars, max_size=4)
    | st.frozensets(scalars, max_size=2)
    | st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)).map(collections.Counter),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=3).map(collections.OrderedDict)
        | st.builds(collections.deque, st.lists(inner, max_size=4), st.sampled_from([None, 2, 4]))
        | st.builds(Basket, inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner).map(lambda attributes: Bag(**attributes))
    ),
    max_leaves=10,
)


@st.composite
def edited(draw: st.DrawFn, value: Any) -> Any:
    """The same value, changed somewhere inside."""
    value = copy.deepcopy(value)
    inner = st.deferred(lambda: values)
    if isinstance(value, dict) and not isinstance(value, collections.Counter):
        key = draw(st.sampled_from([*value]) if value else keys)
        value[key] = draw(edited(value[key]) if key in value else inner)
    elif isinstance(value, (list, collections.deque)) and value:
        at = draw(st.integers(0, len(value) - 1))
        how = draw(st.integers(0, 2))
        if how == 0:
            del value[at]
        elif how == 1:
            value[at] = draw(edited(value[at]))
        else:
            value.append(draw(inner))
    elif isinstance(value, Basket):
        value.items = draw(edited(value.items))
    elif isinstance(value, Bag):
        return Bag(**dict(draw(st.permutations([*vars(value).items()]))))
    else:
        return draw(inner)
    return value


roots = st.dictionaries(keys, values, max_size=4)


@given(st.tuples(roots, roots) | roots.flatmap(lambda value: st.tuples(st.just(value), edited(value))))
def test_a_live_object_holds_exactly_what_the_other_version_holds(pair: Any) -> None:
    live, value = pair
    plain = codec.encode(value)

    brought(live, value)

    assert repr(codec.encode(live)) == repr(plain)


# -- what stays ------------------------------------------------------------------------------------------


def test_a_list_stays_the_same_list_and_so_do_the_elements_that_did_not_change() -> None:
    items = [[1], {"n": 1}, [3], (4,)]
    live = {"x": items}
    first, _, _, fourth = items

    brought(live, {"x": [[0], [1], {"n": 2}, (4,), [5]]})

    assert live["x"] is items
    assert items == [[0], [1], {"n": 2}, (4,), [5]]
    assert items[1] is first
    assert items[3] is fourth


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (list, [{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}]),
        (list, [{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}, "new"]),
        (list, [{"n": 1}, {"n": 2}, "x"], [{"n": 1}, {"n": 3}]),
        (collections.deque, [{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}, "new"]),
    ],
)
def test_an_element_that_changed_inside_stays_the_same_object(kind: Any, before: Any, after: Any) -> None:
    live = {"x": kind(copy.deepcopy(before))}
    whole, element = live["x"], live["x"][1]

    brought(live, {"x": kind(after)})

    assert live["x"] is whole
    assert whole[1] is element
    assert element == {"n": 3}
    assert live == {"x": kind(after)}


def test_an_object_that_stands_in_a_list_twice_is_not_changed_in_both_places() -> None:
    twice = {"n": 1}
    live = {"x": [twice, twice]}

    brought(live, {"x": [{"n": 1}, {"n": 2}]})

    assert live == {"x": [{"n": 1}, {"n": 2}]}
    assert live["x"][0] is twice


def test_a_set_stays_the_same_set() -> None:
    live = {"x": {1, 2, "a"}}
    whole = live["x"]

    brought(live, {"x": {2, "a", "b"}})

    assert live["x"] is whole
    assert whole == {2, "a", "b"}


@pytest.mark.parametrize(("before", "after"), [({1}, {True}), ({True, 2}, {1, 2}), ({0.0}, {0}), ({(1,)}, {(True,)})])
def test_an_element_of_a_set_that_is_equal_but_of_another_type_is_replaced(before: Any, after: Any) -> None:
    live = {"x": before}

    brought(live, {"x": after})

    assert live["x"] is before
    assert repr(live["x"]) == repr(after)


@pytest.mark.parametrize("after", [set(), {1}, {math.nan, 1}, {math.nan, 1, 2}])
def test_a_set_with_an_element_that_is_not_equal_to_its_copy_is_filled_again(after: Any) -> None:
    live = {"x": {math.nan, 1, Identical()}}
    whole = live["x"]

    brought(live, {"x": after})

    assert live["x"] is whole
    assert sorted(map(repr, whole)) == sorted(map(repr, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (collections.deque([1], 3), collections.deque([1], 4)),
        (frozenset({1}), frozenset({2})),
        ({1}, frozenset({1})),
        ([1], (1,)),
        ((1,), (2,)),
        (collections.Counter(a=1), collections.OrderedDict(a=1)),
        (collections.defaultdict(int, a=1), collections.defaultdict(list, a=1)),
        (Basket(1), Other(1)),
        ([1], {"a": 1}),
        ({(1,): 1}, {(1,): 2}),
    ],
)
def test_a_value_of_another_kind_is_replaced(before: Any, after: Any) -> None:
    live = {"x": before}
    copied = copy.deepcopy(before)

    brought(live, {"x": after})

    assert live["x"] is not before
    assert repr(live["x"]) == repr(after)
    assert repr(before) == repr(copied)


def test_a_counter_is_set_and_not_added_to() -> None:
    live = {"x": collections.Counter(a=1, b=5)}
    whole = live["x"]

    brought(live, {"x": collections.Counter(a=2, b=5, c=1)})

    assert live["x"] is whole
    assert whole == collections.Counter(a=2, b=5, c=1)


def test_a_key_that_is_equal_but_of_another_type_is_replaced() -> None:
    live = {"x": {1: {"n": 1}, 2: 2}}
    whole, inside = live["x"], live["x"][1]

    brought(live, {"x": {True: {"n": 2}, 2: 2}})

    assert live["x"] is whole
    assert repr(live) == repr({"x": {True: {"n": 2}, 2: 2}})
    assert inside == {"n": 1}


def test_a_deque_keeps_its_limit() -> None:
    live = {"x": collections.deque([1, 2, 3], 3)}
    whole = live["x"]

    brought(live, {"x": collections.deque([2, 3, 4], 3)})

    assert live["x"] is whole
    assert whole == collections.deque([2, 3, 4], 3)
    assert whole.maxlen == 3


def test_an_object_and_what_is_in_it_stay_the_same() -> None:
    basket = Basket(1, [{"n": 1}])
    inside = basket.items

    brought({"x": basket}, {"x": Basket(2, [{"n": 2}])})

    assert basket == Basket(2, [{"n": 2}])
    assert basket.items is inside


def test_a_namespace_stays_the_same_and_so_does_what_is_in_it() -> None:
    space = SimpleNamespace(total=1, items=[{"n": 1}], old=1)
    inside = space.items

    brought({"x": space}, {"x": SimpleNamespace(total=2, items=[{"n": 2}])})

    assert space == SimpleNamespace(total=2, items=[{"n": 2}])
    assert space.items is inside


def test_attributes_stand_in_the_order_that_is_stored_or_each_of_two_bots_would_store_its_own_forever() -> None:
    bag = Bag(a=1, b=2, c=3)

    brought({"x": bag}, {"x": Bag(c=3, b=4, d=5, a=1)})

    assert list(vars(bag).items()) == [("c", 3), ("b", 4), ("d", 5), ("a", 1)]


def test_the_data_themselves_may_be_an_object() -> None:
    live = Basket(1, {"a": {1}})
    inside = live.items["a"]

    brought(live, Basket(2, {"a": {1, 2}}))

    assert live == Basket(2, {"a": {1, 2}})
    assert live.items["a"] is inside


def test_data_that_became_another_kind_are_taken_over_whole() -> None:
    live = {"a": 1}

    brought(live, {(1, 2): "a key that no field can have"})

    assert live == {(1, 2): "a key that no field can have"}


# -- errors ----------------------------------------------------------------------------------------------


def test_what_cannot_be_decoded_changes_nothing() -> None:
    live = {"a": 1, "l": [1, {"x": 1}], "s": {1}, "z": 1}
    before = codec.encode(live)
    after = codec.encode({"a": 2, "l": [2, {"x": 2}], "s": {2}, "z": 1}) | {"z": {"_py": "nonsense"}}

    with pytest.raises(DecodeError):
        bring_into(live, before, after, codec.decode)

    assert live == {"a": 1, "l": [1, {"x": 1}], "s": {1}, "z": 1}


def test_an_attribute_that_the_class_has_no_room_for_is_left_out() -> None:
    slotted = Slotted()
    slotted.a = slotted.b = 1
    live = {"n": 1, "x": slotted}
    before = codec.encode(live)
    after = copy.deepcopy(before) | {"n": 2}
    after["x"]["state"] |= {"b": 2, "c": 1}

    bring_into(live, before, after, codec.decode)

    assert (live["n"], live["x"].b, hasattr(live["x"], "c")) == (2, 2, False)
