"""Strategies: which one decides a conflict, what each makes of it, and which arguments are refused."""

from __future__ import annotations

import collections
import datetime as dtm
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.codec import Codec
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.conflicts import Strategies, check_on_conflict
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.values import MISSING
from ptb_mongo.types import Conflict


@dataclass
class Basket:
    total: int = 0
    items: Any = None


codec = Codec(trusted=[Basket])


def strategies(on_conflict: Any, **more: Any) -> Strategies:
    return Strategies("user_data", on_conflict, encode=codec.encode, decode=codec.decode, **more)


def merged(on_conflict: Any, base: Any, local: Any, remote: Any, **more: Any) -> Any:
    """Three versions of a user's data, merged."""
    versions = (codec.encode({"data": value}) for value in (base, local, remote))
    resolver = strategies(on_conflict, **more).resolver(1815)
    return codec.decode(merge(*versions, resolver))["data"]


def of(patterns: dict[str, Any], *keys: str) -> Any:
    return strategies({"user_data": patterns}).of(("data", *keys))


# -- which strategy --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("score", ["score"]),
        ("prefs.lang", ["prefs", "lang"]),
        ("prefs.*", ["prefs", "lang"]),
        ("*.lang", ["prefs", "lang"]),
        ("*", ["prefs"]),
        ("prefs.**", ["prefs", "lang"]),
        ("prefs.**", ["prefs", "lang", "x"]),
        ("prefs.*.**", ["prefs", "lang", "x"]),
        ("**", ["a"]),
        ("**", ["a", "b", "c"]),
        ("**", []),
        ("a%2Eb.c", ["a%2Eb", "c"]),
        ("%2A", ["*"]),
        ("a%2Ab", ["a*b"]),
        ("%empty", ["%empty"]),
        ("$price", ["%24price"]),
        ("100%", ["100%25"]),
        ("100%25", ["100%25"]),
        ("%252A", ["%252A"]),
        ("5", ["5"]),
        ("5", ["%i5"]),
        ("-5", ["%i-5"]),
        ("%i5", ["%i5"]),
        ("%none", ["%none"]),
        ("_py", ["%5Fpy"]),
        ("favourite colour", ["favourite colour"]),
    ],
)
def test_a_pattern_names_these_keys(pattern: str, keys: list[str]) -> None:
    assert of({pattern: "max"}, *keys) == "max"


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("score", ["scores"]),
        ("score", ["score", "x"]),
        ("score", []),
        ("prefs.*", ["prefs"]),
        ("prefs.*", ["prefs", "a", "b"]),
        ("prefs.**", ["prefs"]),
        ("prefs.**", ["other", "a"]),
        ("*", []),
        ("05", ["%i5"]),
        ("%i5", ["5"]),
        ("%2A", ["a"]),
        ("a.b", ["a%2Eb"]),
    ],
)
def test_a_pattern_does_not_name_these_keys(pattern: str, keys: list[str]) -> None:
    assert of({pattern: "max"}, *keys) == "local"


@pytest.mark.parametrize(
    ("more_exact", "less_exact"),
    [
        ("a.b", "a.*"),
        ("a.b", "*.b"),
        ("a.*", "*.b"),
        ("a.*", "*.*"),
        ("*.b", "*.*"),
        ("*.*", "**"),
        ("a.*", "a.**"),
        ("*.**", "**"),
        ("*.b", "**"),
        ("a.b", "**"),
    ],
)
def test_the_most_exact_pattern_decides_wherever_it_stands(more_exact: str, less_exact: str) -> None:
    assert of({more_exact: "max", less_exact: "min"}, "a", "b") == "max"
    assert of({less_exact: "min", more_exact: "max"}, "a", "b") == "max"


def test_another_scope_has_its_own_strategies() -> None:
    assert strategies({"chat_data": {"**": "remote"}}).of(("data", "a")) == "local"


@pytest.mark.parametrize("strategy", ["local", "remote", len])
def test_a_single_strategy_is_that_of_every_value(strategy: Any) -> None:
    assert strategies(strategy).of(("data", "a", "b")) == strategy
    assert strategies(strategy).of(("data",)) == strategy


def test_the_way_to_a_value_leads_through_objects_and_counters_and_lists() -> None:
    asked = []

    def note(conflict: Conflict) -> Any:
        asked.append(conflict.path)
        return conflict.local

    def version(number: int) -> Any:
        return {
            "basket": Basket(number, {"state": number}),
            "counts": collections.Counter({"v": number}),
            "list": ["same", number],
            5: {None: number},
            "a.b": number,
        }

    merged(note, version(1), version(2), version(3))

    assert sorted(asked, key=str) == sorted(
        [
            ("basket", "total"),
            ("basket", "items", "state"),
            ("counts", "v"),
            ("list", 1),
            (5, None),
            ("a.b",),
        ],
        key=str,
    )


def test_the_attributes_of_the_data_themselves_are_named_alone() -> None:
    assert merged({"user_data": {"total": "add"}}, Basket(1), Basket(2), Basket(3)) == Basket(4)


# -- what each makes of it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "base", "local", "remote", "result"),
    [
        ("local", 1, 2, 3, 2),
        ("remote", 1, 2, 3, 3),
        ("add", 1, 2, 3, 4),
        ("add", 1, 2, 2, 3),
        ("add", 10, 7, 8, 5),
        ("add", 2**70, 2**70 + 1, 2**70 + 2, 2**70 + 3),
        ("add", 1.5, 2.5, 3.5, 4.5),
        ("add", Decimal("1.10"), Decimal("1.20"), Decimal("1.30"), Decimal("1.40")),
        ("add", Decimal(10**40), Decimal(10**40 + 1), Decimal(10**40 + 1), Decimal(10**40 + 2)),
        ("add", Fraction(1, 3), Fraction(2, 3), Fraction(1, 2), Fraction(5, 6)),
        ("add", dtm.timedelta(1), dtm.timedelta(3), dtm.timedelta(2), dtm.timedelta(4)),
        ("add", None, 2, 3, 5),
        ("add", True, 2, 3, 5),
        ("add", 1, True, 3, True),
        ("add", 1, "two", 3, "two"),
        ("add", 1, 2, "three", 2),
        ("add", 1, math.inf, -math.inf, math.inf),
        ("add", Decimal(1), 2.5, Decimal(3), 2.5),
        ("add", dtm.timedelta.max, dtm.timedelta.max, dtm.timedelta(0), dtm.timedelta(0)),
        ("add", dtm.timedelta(0), dtm.timedelta.max, dtm.timedelta.max - dtm.timedelta(1), dtm.timedelta.max),
        ("add", [1], [1, 2], [1, 3], [1, 3, 2]),
        ("add", {1}, {1, 2}, {1, 3}, {1, 2, 3}),
        ("max", 1, 2, 3, 3),
        ("max", 1, 3, 2, 3),
        ("max", 9, 3, 2, 3),
        ("max", 1, "a", 2, "a"),
        ("max", "a", "b", "c", "c"),
        ("max", dtm.date(2024, 1, 1), dtm.date(2024, 1, 2), dtm.date(2024, 1, 3), dtm.date(2024, 1, 3)),
        ("max", 1, Decimal(3), 2.5, Decimal(3)),
        ("max", 1, 2.0, math.nan, 2.0),
        ("min", 1, 2, 3, 2),
        ("min", 1, 3, 2, 2),
        ("min", 1, (1, 2), (1, 1), (1, 1)),
        ("min", 1, {"a": 1}, 5, {"a": 1}),
    ],
)
def test_a_strategy_makes_this_of_two_changes(strategy: str, base: Any, local: Any, remote: Any, result: Any) -> None:
    data = merged({"user_data": {"x": strategy}}, *({"x": value} for value in (base, local, remote)))

    assert repr(data) == repr({"x": result})


def test_naive_and_aware_dates_cannot_be_compared_and_the_bots_stays() -> None:
    naive, aware = dtm.datetime(2024, 1, 1), dtm.datetime(2024, 1, 2, tzinfo=dtm.timezone.utc)  # noqa: DTZ001

    assert merged({"user_data": {"x": "max"}}, {"x": 1}, {"x": naive}, {"x": aware}) == {"x": naive}


@pytest.mark.parametrize("strategy", ["add", "max", "min"])
def test_a_value_that_one_side_removed_is_that_of_the_other(strategy: str) -> None:
    on_conflict = {"user_data": {"x": strategy}}

    assert merged(on_conflict, {"x": 1}, {}, {"x": 3}) == {"x": 3}
    assert merged(on_conflict, {"x": 1}, {"x": 3}, {}) == {"x": 3}
    assert merged(on_conflict, {"x": 1}, {}, {}) == {}


def test_a_number_that_both_sides_created_counts_from_nothing() -> None:
    assert merged({"user_data": {"x": "add"}}, {}, {"x": 2}, {"x": 3}) == {"x": 5}
    assert merged({"user_data": {"x": "add"}}, {}, {"x": 2}, {"x": 2}) == {"x": 4}


@pytest.mark.parametrize(("strategy", "result"), [("add", [2, 3]), ("local", [1, 2]), ("max", [1, 2])])
def test_the_entries_of_a_counter_are_added_where_a_pattern_names_them(strategy: str, result: list[int]) -> None:
    base = {"hits": collections.Counter(a=0, b=1)}
    one, other = {"hits": collections.Counter(a=1, b=2)}, {"hits": collections.Counter(a=1, b=2)}

    data = merged({"user_data": {"hits.*": strategy}}, base, one, other)

    assert data == {"hits": collections.Counter(a=result[0], b=result[1])}


numbers = st.integers(-(2**80), 2**80)


@given(numbers, numbers, numbers)
def test_it_does_not_matter_who_adds_first(base: int, one: int, other: int) -> None:
    on_conflict = {"user_data": {"**": "add"}}
    both = merged(on_conflict, {"x": base}, {"x": base + one}, {"x": base + other})

    assert both == merged(on_conflict, {"x": base}, {"x": base + other}, {"x": base + one})
    assert both == {"x": base + one + other}


@pytest.mark.parametrize(("strategy", "result"), [("local", "aXz21"), ("remote", "aPcz21"), ("add", "aXz21")])
def test_a_strategy_names_the_side_whose_overlapping_edit_of_a_list_stays(strategy: str, result: str) -> None:
    versions = ({"x": list(items)} for items in ("abcz", "aXz1", "aPcz2"))

    assert merged({"user_data": {"x": strategy}}, *versions) == {"x": list(result)}


def test_a_function_gets_whole_lists_where_edits_overlap() -> None:
    versions = ({"x": list(items)} for items in ("abcz", "aXz1", "aPcz2"))

    data = merged(lambda conflict: conflict.remote + conflict.local, *versions)

    assert data == {"x": list("aPcz2aXz1")}


# -- functions -------------------------------------------------------------------------------------------


def test_a_function_gets_what_there_is_to_know_and_its_answer_is_stored() -> None:
    asked: list[Conflict] = []

    def decide(conflict: Conflict) -> Any:
        asked.append(conflict)
        return ("decided",)

    data = merged({"user_data": {"a.x": decide}}, {"a": {"x": (1,)}}, {"a": {}}, {"a": {"x": {2}}})

    assert data == {"a": {"x": ("decided",)}}
    assert asked == [Conflict("user_data", 1815, ("a", "x"), (1,), MISSING, {2})]


def test_a_function_can_remove_the_value() -> None:
    assert merged(lambda _: MISSING, {"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 3, "y": 1}) == {"y": 1}


@pytest.mark.parametrize("answer", [lambda _: 1 / 0, lambda _: lambda: "a function"])
def test_what_a_function_raises_or_cannot_be_stored_is_reported_and_the_bots_value_stays(answer: Any) -> None:
    reported: list[Any] = []

    data = merged(answer, {"x": 1}, {"x": 2}, {"x": 3}, on_error=lambda *report: reported.append(report))

    assert data == {"x": 2}
    [(document_id, error)] = reported
    assert document_id == 1815
    assert isinstance(error, Exception)


# -- what it tells others --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_conflict", "guarded"),
    [
        ("local", False),
        ("remote", True),
        (len, True),
        ({"user_data": {"a.x": "add"}}, True),
        ({"user_data": {"a.*": "remote", "a.x": "local"}}, False),
        ({"user_data": {"a.y": "add"}}, False),
        ({}, False),
    ],
)
def test_a_value_is_guarded_where_the_bots_need_not_stay(on_conflict: Any, guarded: bool) -> None:
    assert strategies(on_conflict).guards(("data", "a", "x")) == guarded


@pytest.mark.parametrize(
    ("on_conflict", "keys", "accumulates"),
    [
        ("local", ["a"], False),
        ("remote", ["a"], False),
        (len, ["a"], True),
        ({"user_data": {"a.x": "add"}}, [], True),
        ({"user_data": {"a.x": "add"}}, ["a"], True),
        ({"user_data": {"a.x": "max"}}, ["a", "x"], True),
        ({"user_data": {"a.x": "min"}}, ["a", "x", "y"], False),
        ({"user_data": {"a.x": "add"}}, ["b"], False),
        ({"user_data": {"a.**": "add"}}, ["a", "x", "y"], True),
        ({"user_data": {"a.**": "remote"}}, ["a", "x", "y"], False),
    ],
)
def test_what_accumulates_is_asked_for_on_the_way_to_it(on_conflict: Any, keys: list[str], accumulates: bool) -> None:
    assert strategies(on_conflict).resolver(1).accumulates(("data", *keys)) == accumulates


def test_each_conflict_is_noted() -> None:
    noted = []
    resolver = strategies("local").resolver(1, lambda: noted.append(1))
    base, local, remote = ({"data": {"n": n, "l": items}} for n, items in [(1, [1, 2]), (2, [3]), (3, [4, 2])])

    merge(base, local, remote, resolver)

    assert len(noted) == 2


# -- arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_conflict", "says"),
    [
        ("both", "local.*remote"),
        (None, "local.*remote"),
        ("add", "mapping"),
        ({"conversations": {}}, "conversations.*user_data"),
        ({"user_data": "remote"}, r'\{"\*\*": '),
        ({"user_data": {"x": "sum"}}, "'sum'.*\"add\""),
        ({"user_data": {"x": None}}, "None"),
        ({"user_data": {"": "add"}}, "%empty"),
        ({"user_data": {"a..b": "add"}}, "%empty"),
        ({"user_data": {"a.": "add"}}, "%empty"),
        ({"user_data": {"**.a": "add"}}, "at the end"),
        ({"user_data": {"a*": "add"}}, "%2A"),
        ({"user_data": {"***": "add"}}, "%2A"),
        ({"user_data": {5: "add"}}, "as text"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_with_how_to_write_it(on_conflict: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        check_on_conflict(on_conflict)
    with pytest.raises(ConfigurationError, match=says):
        strategies(on_conflict)


@pytest.mark.parametrize("on_conflict", ["local", "remote", len, {}, {"bot_data": {"a.*": len, "**": "max"}}])
def test_an_argument_that_can_be_used_is_accepted(on_conflict: Any) -> None:
    check_on_conflict(on_conflict)
