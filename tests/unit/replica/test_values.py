"""When two plain values are the same."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given
from plain import documents

from ptb_mongo.replica.values import same

ALIKE = [1, 1.0, True, "1", None, -0.0, 0.0, b"1", [1], {"a": 1}]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(ALIKE, 2)))
def test_values_that_python_calls_equal_differ_if_their_types_do(one: Any, other: Any) -> None:
    assert not same(one, other)


def test_two_orders_of_the_same_keys_differ() -> None:
    assert not same({"a": 1, "b": 2}, {"b": 2, "a": 1})


def test_nan_is_the_same_as_nan() -> None:
    assert same({"x": float("nan")}, {"x": float("nan")})


@given(documents)
def test_a_document_is_the_same_as_its_copy(document: dict[str, Any]) -> None:
    assert same(document, copy.deepcopy(document))
