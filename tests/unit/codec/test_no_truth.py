"""Values that raise an error when they are compared, or tested for truth, do no harm.

The kind of fault: `if one == other` with a user's value. Comparing a numpy array gives an array, which has no truth
value ("ambiguous"); so do frames, and users' own classes. Everything is compared by its document, or guarded.
"""

from __future__ import annotations

from typing import Any

import pytest
import samples
from bson.code import Code
from bson.dbref import DBRef
from roundtrip import CODEC, restored, round_trip, stored
from telegram.ext import ConversationHandler

from ptb_mongo.errors import DecodeError, EncodeError
from ptb_mongo.replica.conflicts import Strategies
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import same
from ptb_mongo.scopes.conversations import _check_comparable, is_over


def vague(number: int) -> Any:
    return samples.Vague(number)


def array(number: int) -> Any:
    return pytest.importorskip("numpy").array([number, number + 1])


VALUES = [pytest.param(array, id="numpy"), pytest.param(vague, id="one's own")]


@pytest.mark.parametrize("make", VALUES)
def test_it_stands_anywhere(make: Any) -> None:
    value = {
        "a": [make(1), (make(2),)],
        "b": {1.5: make(3)},
        "c": samples.Plain(make(4)),
        "d": samples.Reduced(make(5)),
    }

    assert stored(round_trip(value)) == stored(value)


@pytest.mark.parametrize("make", VALUES)
def test_one_of_bson_s_own_types_cannot_hold_it_and_says_so(make: Any) -> None:
    for holder in (Code("x", {"a": make(1)}), DBRef("c", make(1))):
        with pytest.raises(EncodeError, match="can hold only what BSON holds"):
            CODEC.encode({"x": holder})


@pytest.mark.parametrize("make", VALUES)
def test_an_exception_may_have_it_as_its_state(make: Any) -> None:
    raw = stored(samples.StatefulError(make(1)))

    assert stored(restored(raw)) == raw


def test_a_key_is_compared_with_nothing_that_its_class_does_not_expect() -> None:
    value = {samples.Naive(1): {samples.NaiveText("A"): 1}, samples.Naive(2): {samples.Naive(3)}}

    back = round_trip({"x": value})["x"]

    assert back == value


@pytest.mark.parametrize("make", [*VALUES, pytest.param(samples.Naive, id="naive")])
def test_an_object_may_have_it_as_its_state(make: Any) -> None:
    raw = stored(samples.NaiveState(make(1)))

    assert stored(restored(raw)) == raw


def test_one_of_bson_s_own_types_holds_nothing_that_only_claims_to_be_equal() -> None:
    for holder in (Code("x", {"a": samples.Naive(1)}), DBRef("c", samples.NaiveText("A"))):
        with pytest.raises(EncodeError, match="can hold only what BSON holds"):
            CODEC.encode({"x": holder})
    assert CODEC.encode(DBRef("c", 1.5)) == DBRef("c", 1.5)


@pytest.mark.parametrize("count", [2, 1001])
def test_keys_whose_comparison_fails_are_an_error_of_their_document(count: int) -> None:
    key = samples.Refusing()
    plain = {"_py": "dict", "v": [[CODEC.encode(samples.Refusing()), 1] for _ in range(count)]}

    assert CODEC.encode({key: 1}) == {"_py": "dict", "v": [[CODEC.encode(key), 1]]}
    with pytest.raises(DecodeError):
        CODEC.decode(plain)
    with pytest.raises(DecodeError):
        CODEC.decode({"_py": "set", "v": [one for one, _ in plain["v"]]})


def test_a_hash_that_fails_when_it_is_stored_is_an_error_of_its_document() -> None:
    key = samples.Naive(1)
    value = {key: 1, samples.Naive(2): 2}
    key.a = []

    with pytest.raises(EncodeError, match="TypeError"):
        CODEC.encode({"x": value})


@pytest.mark.parametrize("strategy", ["local", "remote", "add", "max", "min", lambda conflict: conflict.remote])
@pytest.mark.parametrize("make", VALUES)
def test_every_strategy_decides_a_conflict_of_it(make: Any, strategy: Any) -> None:
    errors: list[Exception] = []
    base, local, remote = ({"data": {"x": CODEC.encode(make(number))}} for number in (1, 2, 3))
    strategies = Strategies(
        "user_data",
        {"user_data": {"x": strategy}},
        encode=CODEC.encode,
        decode=CODEC.decode,
        on_error=lambda _, error: errors.append(error),
    )

    merged = merge(base, local, remote, strategies.resolver(1))

    assert errors == []
    assert any(same(merged, one) for one in (local, remote))
    assert diff(base, merged).paths()


@pytest.mark.parametrize("make", VALUES)
def test_a_state_that_cannot_be_compared_is_refused_when_it_is_loaded_and_is_no_end(make: Any) -> None:
    with pytest.raises(DecodeError, match="is no state"):
        _check_comparable(make(1))

    assert not is_over(make(1))
    assert is_over(ConversationHandler.END)
    assert is_over(None)
    assert not is_over(1)


def test_a_number_of_numpy_is_a_state_and_the_end_as_any_number_is() -> None:
    numpy: Any = pytest.importorskip("numpy")

    assert is_over(numpy.int64(ConversationHandler.END))
    assert not is_over(numpy.int64(1))
