"""What goes in comes out: the same type, bits and order at every level, from bytes that are equal for equal values."""

from __future__ import annotations

import collections
import copy
import datetime as dtm
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import samples
from bson.dbref import DBRef
from bson.regex import Regex
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import CODEC, levels, portrait, restored, round_trip, stored
from strategies import keys, scalars, values

from ptb_mongo.codec import Codec, load
from ptb_mongo.errors import EncodeError

NESTINGS = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"a": inner},
    "dict with a tuple as key": lambda inner: {(1, 2): inner},
    "dict with a nested key": lambda inner: {(1, inner) if isinstance(inner, int) else ("key",): inner},
    "frozenset": lambda inner: frozenset({inner}),
    "set in a tuple in a list": lambda inner: [({1, 2}, inner)],
    "deque": lambda inner: collections.deque([inner]),
    "OrderedDict": lambda inner: collections.OrderedDict(a=inner),
    "dataclass": samples.Plain,
    "named tuple": samples.Point,
    "slots": lambda inner: samples.Hidden(1, inner),
}
MIXES = {
    "list, tuple": ["list", "tuple"],
    "dict, list": ["dict", "list"],
    "tuple, frozenset": ["tuple", "frozenset"],
    "frozenset, frozenset, tuple": ["frozenset", "frozenset", "tuple"],
    "all": ["list", "tuple", "dict", "set in a tuple in a list", "dataclass", "named tuple", "deque"],
}


def nested(kinds: list[str], depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = NESTINGS[kinds[level % len(kinds)]](value)
    return value


def test_an_exception_gives_the_same_bytes_whoever_has_looked_at_it() -> None:
    error = samples.MishapError("x", 1)
    raw = stored(error)

    assert vars(error) == {}
    assert stored(error) == stored(restored(raw)) == stored(copy.deepcopy(error)) == raw


@given(values)
def test_every_value_comes_back_exactly(value: Any) -> None:
    assert portrait(round_trip(value)) == portrait(value)


@given(scalars)
def test_every_scalar_comes_back_exactly(value: Any) -> None:
    assert portrait(round_trip(value)) == portrait(value)


@given(st.dictionaries(keys, scalars, max_size=6))
def test_keys_of_every_type_come_back_in_their_order(value: dict[Any, Any]) -> None:
    assert portrait(round_trip(value)) == portrait(value)


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_python_does_not_even_print_come_back(sign: int) -> None:
    huge = sign * 10**5000
    value = {"one": huge, huge: "key", "set": {huge, 1}, "tuple": (huge,), "pickled": samples.Number(huge)}

    back = round_trip(value)

    assert list(back) == list(value)
    assert all(back[key] == item and type(back[key]) is type(item) for key, item in value.items())


@given(values)
def test_encoding_changes_nothing_in_the_value(value: Any) -> None:
    before = portrait(value)

    CODEC.encode(value)

    assert portrait(value) == before


@given(values)
def test_a_restored_value_gives_the_same_bytes_again(value: Any) -> None:
    raw = stored(value)
    if b"pickle" in raw:  # which strings deep inside are identical may differ once, as Python chooses
        raw = stored(restored(raw))

    assert stored(restored(raw)) == raw


@given(values)
def test_a_deep_copy_gives_the_same_bytes_as_ptb_hands_over_nothing_else(value: Any) -> None:
    assert stored(copy.deepcopy(value)) == stored(value)


@pytest.mark.parametrize("offset", [dtm.timedelta(microseconds=1), dtm.timedelta(seconds=-1), dtm.timedelta(hours=-23)])
def test_a_zone_of_any_offset_comes_back(offset: dtm.timedelta) -> None:
    moment = dtm.datetime(2024, 2, 29, 12, tzinfo=dtm.timezone(offset))
    value = [moment, moment.timetz(), moment.tzinfo]

    assert portrait(round_trip(value)) == portrait(value)


@given(values)
def test_a_codec_that_never_saw_the_classes_restores_them(value: Any) -> None:
    raw = stored(value)

    assert portrait(restored(raw, Codec(trusted=samples.TRUSTED))) == portrait(value)


@given(st.sets(st.one_of(keys, st.text(), st.integers()), max_size=8), st.randoms(use_true_random=False))
def test_sets_filled_in_another_order_give_equal_bytes(elements: set[Any], shuffle: random.Random) -> None:
    order = list(elements)
    shuffle.shuffle(order)
    refilled: set[Any] = set()
    for element in [*range(1000, 1020), *order]:  # another history: another size of table, another order
        refilled.add(element)
    refilled -= set(range(1000, 1020)) - elements

    assert stored({"set": refilled, "pickled": samples.Tags()}) == stored({"set": elements, "pickled": samples.Tags()})


_IN_A_CHILD = """
import collections, datetime, samples
from types import SimpleNamespace
from roundtrip import stored
words = {f"word {number}" for number in range(30)}
mixed = words | {1, None, 2.5, b"x", ("a", 1), samples.Colour.RED, frozenset(words)}
print(stored({
    "words": words, "frozen": frozenset(words), "mixed": mixed, "keys": {frozenset(words): 1},
    "pickled": SimpleNamespace(words=words, mixed=mixed, nested=frozenset({frozenset(words), frozenset()})),
    "subclasses": [samples.Tags(words), samples.Frost(words), SimpleNamespace(tags=samples.Tags(mixed))],
    "classes": collections.defaultdict(samples.Bare), "day": datetime.date(2024, 2, 29),
}).hex())
"""


def test_equal_values_give_equal_bytes_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", _IN_A_CHILD],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000


@pytest.mark.parametrize("kind", NESTINGS)
def test_150_levels_of_one_kind_come_back(kind: str) -> None:
    value = nested([kind], 150)

    raw = stored(value)

    assert levels(load(raw)) <= 100
    assert stored(restored(raw)) == raw
    assert repr(type(restored(raw))) == repr(type(value))


@pytest.mark.parametrize("mix", MIXES)
def test_150_levels_of_several_kinds_come_back(mix: str) -> None:
    value = nested(MIXES[mix], 150)

    raw = stored(value)

    assert levels(load(raw)) <= 100
    assert stored(restored(raw)) == raw


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "deque", "OrderedDict", "frozenset"])
def test_290_levels_come_back(kind: str) -> None:
    value = nested([kind], 290)

    raw = stored(value)

    assert levels(load(raw)) <= 100
    assert stored(restored(raw)) == raw


@pytest.mark.parametrize("kind", NESTINGS)
def test_whatever_depth_can_be_stored_can_be_restored(kind: str) -> None:
    deepest = 0
    for depth in range(20, 700, 20):
        try:
            raw = stored(nested([kind], depth))
        except EncodeError:
            continue
        restored(raw)
        deepest = depth

    assert 150 < deepest < 680, "no depth was refused, or too small ones were"


def test_a_value_that_unfolds_without_end_is_refused_at_once() -> None:
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    started = time.process_time()

    with pytest.raises(EncodeError, match="more elements than a 16 MB document"):
        CODEC.encode({"huge": value})

    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: frozenset({inner, 1}),
        lambda inner: (inner, frozenset({inner, 2})),
        lambda inner: frozenset({(inner, 1), (inner, 2)}),
    ],
    ids=["sets in sets", "a set beside itself", "a set with it twice"],
)
def test_sets_of_sets_inside_a_pickle_are_sorted_in_no_time(wrap: Any) -> None:
    value: Any = 0
    for level in range(18):
        value = wrap(value)
        if level == 8:
            assert round_trip(samples.Reduced([value])).a == [value]
    started = time.process_time()

    CODEC.encode(samples.Reduced([value]))

    assert time.process_time() - started < 5


def test_a_post_init_does_not_run_again() -> None:
    value = samples.Counting("a")

    back = round_trip(value)

    assert back.made == value.made == [1]


def test_an_object_with_identity_in_two_places_comes_back_as_two_equal_ones() -> None:
    item = samples.Plain(1)

    first, second = round_trip([item, item])

    assert first == second == item
    assert first is not second


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"name": "Ada", "cart": [{"sku": "x", "qty": 2}]}, {"name": "Ada", "cart": [{"sku": "x", "qty": 2}]}),
        ((1, 2), {"_py": "tuple", "v": [1, 2]}),
        ({3, 1}, {"_py": "set", "v": [1, 3]}),
        ({1: "a", "a.b": 2}, {"%i1": "a", "a%2Eb": 2}),
        ({(1,): 2}, {"_py": "dict", "v": [[{"_py": "tuple", "v": [1]}, 2]]}),
        (2**64, {"_py": "int", "v": "18446744073709551616"}),
        (samples.Colour.GREEN, {"_py": "enum", "cls": "samples.Colour", "name": "GREEN"}),
        (samples.Word.HELLO, {"_py": "enum", "cls": "samples.Word", "name": "HELLO", "v": "hello"}),
        (samples.Frozen(1), {"_py": "object", "cls": "samples.Frozen", "state": {"a": 1, "b": None}}),
        (samples.Shop.Item("x"), {"_py": "object", "cls": "samples.Shop.Item", "state": {"sku": "x", "qty": 1}}),
        (samples.Point(1), {"_py": "namedtuple", "cls": "samples.Point", "v": {"x": 1, "y": None}}),
        (samples.Plain, {"_py": "class", "v": "samples.Plain"}),
        (
            dtm.datetime(2024, 2, 29, 12, 0, 0, 1),  # noqa: DTZ001  (a date without a zone is the point)
            {
                "_py": "datetime",
                "v": dtm.datetime(2024, 2, 29, 12, tzinfo=dtm.timezone.utc),
                "iso": "2024-02-29T12:00:00.000001",
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_stored_form_is_what_other_services_rely_on(value: Any, plain: Any) -> None:
    assert CODEC.encode(value) == plain


@pytest.mark.parametrize(
    "value",
    [Regex(b"bytes"), Regex("a", 256), DBRef("c", (1, 2))],
    ids=["a pattern of bytes", "a flag that BSON lacks", "a tuple inside"],
)
def test_a_bson_type_that_would_not_come_back_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError):
        CODEC.encode(value)


def test_a_document_without_tags_is_not_walked() -> None:
    body = {"data": {"name": "Ada", "cart": [1, 2]}}

    assert CODEC.decode_body(stored(body["data"]), body) is body
