"""Three-way merges: what is kept, what is a conflict, and what decides it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain import a_deque, a_set, elements, leaves, never, scalars, triples

from ptb_mongo.replica.merge import Side, merge
from ptb_mongo.replica.values import MISSING, Keys, elements_inside, fields_inside, same


@given(triples())
def test_what_only_one_side_changed_is_kept(triple: Any) -> None:
    base, edit, _ = triple

    assert same(merge(base, edit, base, never), edit)
    assert same(merge(base, base, edit, never), edit)


@given(triples())
def test_what_both_sides_changed_alike_is_no_conflict(triple: Any) -> None:
    base, edit, _ = triple

    assert same(merge(base, edit, copy.deepcopy(edit), never), edit)


@given(triples())
def test_without_a_conflict_it_does_not_matter_whose_change_comes_first(triple: Any) -> None:
    base, local, remote = triple
    conflicts: list[Keys] = []

    def note(path: Keys, _: Any, mine: Any, __: Any) -> Any:
        conflicts.append(path)
        return mine

    one, other = merge(base, local, remote, note), merge(base, remote, local, note)

    if not conflicts:  # but for the order of keys that both have added
        assert without_order(one) == without_order(other)


def without_order(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("maxlen") is not None:  # which elements fall out depends on their order
            return len(value["v"])
        return {key: without_order(value[key]) for key in sorted(value)}
    return sorted(repr(without_order(item)) for item in value) if isinstance(value, list) else repr(value)


def at(value: Any, keys: Keys) -> Any:
    """What stands somewhere; `...` where the way leads through a list, whose elements may have moved."""
    for key in keys:
        if elements_inside(value) is not None:
            return ...
        inside = fields_inside(value)
        value = inside[1].get(key, MISSING) if inside else MISSING
    return value


@given(triples())
def test_a_conflict_is_a_path_that_both_sides_changed_differently(triple: Any) -> None:
    base, local, remote = triple

    def check(path: Keys, was: Any, mine: Any, theirs: Any) -> Any:
        assert not same(was, mine)
        assert not same(was, theirs)
        assert not same(mine, theirs)
        for document, value in ((base, was), (local, mine), (remote, theirs)):
            found = at(document, path)
            assert found is ... or same(found, value) or value is MISSING
        return mine

    merge(base, local, remote, check)


@given(triples())
def test_every_leaf_that_one_side_alone_changed_is_in_the_result_unless_it_lies_in_a_conflict(triple: Any) -> None:
    base, local, remote = triple
    conflicts: list[Keys] = []

    def note(path: Keys, _: Any, mine: Any, __: Any) -> Any:
        conflicts.append(path)
        return mine

    merged = leaves(merge(base, local, remote, note))

    old, mine, theirs = leaves(base), leaves(local), leaves(remote)
    for one, other in ((mine, theirs), (theirs, mine)):
        for path, value in one.items():
            before, kept = old.get(path, MISSING), merged.get(path, MISSING)
            overlapping = any(path[: len(c)] == c or c[: len(path)] == path for c in conflicts)
            if path and not overlapping and not same(before, value) and same(before, other.get(path, MISSING)):
                emptied = fields_inside(value) is not None  # an empty document that the other side filled
                assert same(kept, value) or emptied, (path, value)


def test_a_conflict_on_one_key_does_not_decide_another() -> None:
    merged = merge({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 1, "c": 1}, lambda _p, _b, _l, theirs: theirs)

    assert merged == {"a": 3, "b": 2, "c": 1}


def test_dicts_that_both_sides_added_are_merged_key_by_key() -> None:
    assert merge({}, {"d": {"x": 1}}, {"d": {"y": 2}}, never) == {"d": {"y": 2, "x": 1}}


def test_a_dict_that_one_side_removed_and_the_other_changed_is_one_conflict() -> None:
    seen: list[Any] = []
    merge({"d": {"x": 1}}, {}, {"d": {"x": 2}}, lambda *conflict: seen.append(conflict) or MISSING)

    assert seen == [(("d",), {"x": 1}, MISSING, {"x": 2})]


def test_an_order_that_only_the_other_side_changed_is_taken_over() -> None:
    merged = merge({"a": 1, "b": 2}, {"a": 1, "b": 2, "new": 3}, {"b": 2, "a": 1}, never)

    assert list(merged) == ["b", "a", "new"]


def test_an_order_that_we_changed_is_kept() -> None:
    merged = merge({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2, "new": 3}, never)

    assert list(merged) == ["b", "a", "new"]


# -- sets ------------------------------------------------------------------------------------------------


def merged(base: Any, local: Any, remote: Any, resolve: Any = never) -> Any:
    """Three versions of one value, merged; `MISSING` where there is none."""
    versions = ({} if value is MISSING else {"x": value} for value in (base, local, remote))
    return merge(*versions, resolve).get("x", MISSING)


@pytest.mark.parametrize("kind", ["set", "frozenset"])
@pytest.mark.parametrize(
    ("base", "local", "remote", "result"),
    [
        (["a"], ["a", "b"], ["a", "c"], ["a", "b", "c"]),
        (["a", "b"], ["a"], ["b"], []),
        (["a", "b"], ["a"], ["a", "b", "c"], ["a", "c"]),
        (["a"], ["b"], ["a", "b", "c"], ["b", "c"]),
        ([1, 5], [1, 5, 3], [1, 5, 2], [1, 2, 3, 5]),
        ([], ["x", None], ["y", 2.5], [2.5, "x", "y", None]),
        ([1], [1.0], [1, 2], [2, 1.0]),
        ([1], [1], [True], [True]),
        ([1], [1.0], [True], [1.0]),
    ],
)
def test_sets_are_merged_element_by_element(kind: str, base: Any, local: Any, remote: Any, result: Any) -> None:
    versions = [a_set(items, kind) for items in (base, local, remote)]

    assert same(merged(*versions), a_set(result, kind))


@pytest.mark.parametrize("base", [MISSING, None, 5, a_set(["a"], "frozenset"), {"_py": "tuple", "v": ["a"]}])
def test_a_set_that_both_sides_put_in_the_place_of_something_else_holds_what_either_put_there(base: Any) -> None:
    assert merged(base, a_set(["a"]), a_set(["b"])) == a_set(["a", "b"])


def test_a_set_and_a_frozenset_are_a_conflict() -> None:
    assert merged(a_set(["a"]), a_set(["b"]), a_set(["c"], "frozenset"), lambda *_: "asked") == "asked"


@given(*[st.lists(elements, unique_by=lambda item: (type(item), item), max_size=6) for _ in range(3)])
def test_an_element_of_a_merged_set_was_added_by_a_side_or_removed_by_none(base: Any, local: Any, remote: Any) -> None:
    result = merged(a_set(base), a_set(local), a_set(remote))["v"]

    for element in {*base, *local, *remote}:
        added = element not in base and (element in local or element in remote)
        left = element in base and element in local and element in remote
        assert result.count(element) == (added or left)
    assert same(result, a_set(list(result))["v"])


# -- lists and deques ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "local", "remote", "result"),
    [
        ("ab", "abx", "aby", "abyx"),
        ("", "x", "y", "yx"),
        ("abc", "abxc", "abyc", "abyxc"),
        ("abc", "xabc", "abcy", "xabcy"),
        ("abc", "bc", "abcy", "bcy"),
        ("abc", "bcx", "abcy", "bcyx"),
        ("abcd", "bcdx", "cdy", "cdyx"),
        ("abc", "", "abcx", "x"),
        ("abc", "aXc", "abcx", "aXcx"),
        ("abc", "aXc", "axbc", "axXc"),
        ("abc", "aXc", "abxc", "aXxc"),
        ("abc", "ac", "abxc", "axc"),
        ("abc", "abXx", "abcy", "abXyx"),
        ("abc", "abxx", "abxx", "abxx"),
        ("ab", "axb", "axb", "axb"),
        ("ab", "axyb", "axzb", "axzxyb"),
        ("abcd", "ad", "acd", "ad"),
        ("abcdef", "adef", "abcf", "af"),
    ],
)
def test_edits_of_a_list_in_different_places_are_kept(base: str, local: str, remote: str, result: str) -> None:
    assert merged(list(base), list(local), list(remote)) == list(result)


@pytest.mark.parametrize("base", [MISSING, None])
def test_lists_that_both_sides_created_come_one_after_the_other(base: Any) -> None:
    assert merged(base, ["x"], ["y"]) == ["y", "x"]


@pytest.mark.parametrize("base", [5, {"a": 1}, {"_py": "tuple", "v": ["a"]}, a_deque(["a"])])
def test_lists_that_both_sides_put_in_the_place_of_a_value_are_a_conflict(base: Any) -> None:
    assert merged(base, ["x"], ["y"], lambda *_: "asked") == "asked"


def test_a_list_that_one_side_removed_and_the_other_appended_to_is_a_conflict() -> None:
    assert merged(["a"], MISSING, ["a", "b"], lambda *conflict: list(conflict)) == [
        ("x",),
        ["a"],
        MISSING,
        ["a", "b"],
    ]


def test_an_element_that_both_sides_changed_in_different_fields_is_merged() -> None:
    base = [{"id": 1, "done": False, "n": 0}, {"id": 2}]
    local = [{"id": 1, "done": True, "n": 0}, {"id": 2}]
    remote = [{"id": 1, "done": False, "n": 5}, {"id": 2}, {"id": 3}]

    assert merged(base, local, remote) == [{"id": 1, "done": True, "n": 5}, {"id": 2}, {"id": 3}]


def test_an_element_that_both_sides_changed_is_a_conflict_for_that_element_alone() -> None:
    asked: list[Any] = []

    def resolve(*conflict: Any) -> Any:
        asked.append(conflict)
        return conflict[2]

    assert merged(["a", 1, "z"], ["a", 2, "z", "mine"], ["b", 3, "z", "theirs"], resolve) == [
        *("b", 2, "z"),
        *("theirs", "mine"),
    ]
    assert asked == [(("x", "%i1"), 1, 2, 3)]


def test_an_element_that_the_decision_removes_is_gone() -> None:
    assert merged([1, 2, 3], [1, 5, 3], [1, 6, 3], lambda *_: MISSING) == [1, 3]


class Rules:
    """Decides conflicts by one rule, and notes which it was asked for."""

    def __init__(self, hunk: Side | None = None, *accumulating: Keys) -> None:
        self.hunk = hunk
        self.accumulating = accumulating
        self.asked: list[Any] = []

    def __call__(self, *conflict: Any) -> Any:
        self.asked.append(conflict)
        return "decided"

    def accumulates(self, keys: Keys) -> bool:
        return any(keys == other[: len(keys)] for other in self.accumulating)

    def hunk_of(self, keys: Keys) -> Side | None:
        assert keys == ("x",)
        return self.hunk


@pytest.mark.parametrize(("side", "result"), [("local", "0aXdz21"), ("remote", "0aPcdz21")])
def test_where_edits_of_a_list_overlap_those_of_the_side_that_the_rule_names_stay(side: Side, result: str) -> None:
    base, local, remote = list("abcdz"), list("aXdz1"), list("0aPcdz2")

    assert merged(base, local, remote, Rules(side)) == list(result)


def test_a_rule_that_names_no_side_is_asked_with_the_whole_lists() -> None:
    rules = Rules()

    assert merged(list("abcd"), list("aXd"), list("aPcd"), rules) == "decided"
    assert rules.asked == [(("x",), list("abcd"), list("aXd"), list("aPcd"))]


@pytest.mark.parametrize(("maxlen", "result"), [(None, "abcyx"), (9, "abcyx"), (3, "cyx")])
def test_a_deque_is_merged_like_a_list_and_cut_to_its_length(maxlen: int | None, result: str) -> None:
    base, local, remote = (a_deque(list(items)[-(maxlen or 9) :], maxlen) for items in ("abc", "abcx", "abcy"))

    assert merged(base, local, remote) == a_deque(list(result), maxlen)


def test_deques_of_different_lengths_are_a_conflict() -> None:
    assert merged(a_deque([1], 3), a_deque([1, 2], 3), a_deque([1, 3], 4), lambda *_: "asked") == "asked"


def test_a_list_whose_edits_have_nothing_in_common_is_still_merged_at_its_ends() -> None:
    base = [*range(2000), "end"]
    local = [*range(5000, 7000), "end"]

    assert merged(base, local, [*base, "appended"]) == [*local, "appended"]


@given(*[st.lists(scalars, max_size=6) for _ in range(2)])
def test_what_one_side_added_to_a_list_is_there_exactly_once(base: Any, added: Any) -> None:
    unique = [f"local {index}" for index in range(len(added))]
    local, remote = [*base], [*base, "remote"]
    for index, element in enumerate(unique):
        local.insert(index * 2, element)

    result = merged(base, local, remote)

    assert [element for element in result if element in unique] == [element for element in local if element in unique]
    assert result.count("remote") == 1
    assert len(result) == len(base) + len(unique) + 1


# -- what accumulates ------------------------------------------------------------------------------------


def test_the_same_change_of_both_sides_is_asked_for_where_it_accumulates_and_nowhere_else() -> None:
    rules = Rules(None, ("x", "score"))
    base, both = {"score": 1, "name": "a"}, {"score": 2, "name": "b"}

    assert merged(base, both, copy.deepcopy(both), rules) == {"score": "decided", "name": "b"}
    assert rules.asked == [(("x", "score"), 1, 2, 2)]


@pytest.mark.parametrize(("base", "both"), [(1, 1), (1, MISSING), (MISSING, MISSING)])
def test_what_nobody_changed_or_both_removed_is_asked_for_nowhere(base: Any, both: Any) -> None:
    assert same(merged(base, both, both, Rules(None, ("x",))), both)


def test_dicts_that_both_sides_created_alike_accumulate_from_nothing() -> None:
    rules = Rules(None, ("x", "score"))

    merged(MISSING, {"score": 1}, {"score": 1}, rules)

    assert rules.asked == [(("x", "score"), MISSING, 1, 1)]


def test_a_new_key_stays_where_it_was_put_if_nobody_else_has_changed_anything() -> None:
    base = {"c": {}, "a": {}}
    local = {"c": {}, "b": {}, "a": 0}

    assert list(merge(base, local, base, never)) == ["c", "b", "a"]
