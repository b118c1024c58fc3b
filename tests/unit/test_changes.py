"""Differences and merges of plain documents."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from updates import apply_changes

from ptb_mongo.codec.keys import escape
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.update import Changes, diff
from ptb_mongo.replica.values import MISSING, Path, fields_inside, same

KEYS = ["a", "b", "c", "0", "1", "10", "a.b", "$set", "", "é", "%", "_py", 5, -1, True, None]
names = st.sampled_from([str(escape(key)) for key in KEYS])
scalars = st.sampled_from([0, 1, 1.0, True, None, "", "x", -0.0, 0.0, float("nan"), 2**40, b"x"])
tagged = st.one_of(
    st.builds(lambda v: {"_py": "tuple", "v": v}, st.lists(scalars, max_size=2)),
    st.builds(
        lambda fields: {"_py": "object", "cls": "m.C", "state": fields}, st.dictionaries(names, scalars, max_size=3)
    ),
    st.builds(lambda fields: {"_py": "Counter", "v": fields}, st.dictionaries(names, scalars, max_size=3)),
)
values = st.recursive(
    scalars | tagged,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
documents = st.dictionaries(names, values, max_size=5)


@st.composite
def edited(draw: st.DrawFn, base: dict[str, Any]) -> dict[str, Any]:
    """A version of a document that somebody has edited in a few places."""
    result = copy.deepcopy(base)
    for _ in range(draw(st.integers(0, 3))):
        target = result
        while (inner := [v for v in map(fields_inside, target.values()) if v is not None]) and draw(st.booleans()):
            target = draw(st.sampled_from(inner))[1]
        key = draw(names)
        if key in target and draw(st.booleans()):
            del target[key]
        else:
            target[key] = draw(values)
    return result


@st.composite
def triples(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    base = draw(documents)
    return base, draw(edited(base)), draw(edited(base))


def leaves(document: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value that is merged whole, by its path; empty documents count as values."""
    inside = fields_inside(document)
    if inside is None or not inside[1]:
        return {path: document}
    found: dict[Path, Any] = {}
    for key, value in inside[1].items():
        found |= leaves(value, (*path, *inside[0], key))
    return found


def never(*conflict: Any) -> Any:
    raise AssertionError(f"no conflict expected: {conflict}")


# -- same ------------------------------------------------------------------------------------------------


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


# -- diff ------------------------------------------------------------------------------------------------


@given(documents, documents)
def test_applying_a_difference_gives_the_other_document(base: dict[str, Any], local: dict[str, Any]) -> None:
    assert same(apply_changes(base, diff(base, local)), local)


@given(triples())
def test_applying_the_difference_of_an_edit_gives_the_edited_document(triple: Any) -> None:
    base, local, _ = triple

    assert same(apply_changes(base, diff(base, local)), local)


@given(documents)
def test_there_is_no_difference_between_a_document_and_its_copy(document: dict[str, Any]) -> None:
    assert not diff(document, copy.deepcopy(document))


@given(triples())
def test_a_difference_leaves_both_documents_as_they_are(triple: Any) -> None:
    base, local, _ = triple
    before = copy.deepcopy((base, local))

    apply_changes(base, diff(base, local))

    assert same(list(before), [base, local])


@given(triples())
def test_the_paths_of_a_difference_do_not_overlap(triple: Any) -> None:
    base, local, _ = triple

    paths = list(diff(base, local).paths())

    for one, other in itertools.permutations(paths, 2):
        assert one != other[: len(one)]


def test_only_the_changed_field_is_set() -> None:
    changes = diff({"data": {"a": 1, "b": {"x": 1, "y": 2}}}, {"data": {"a": 1, "b": {"x": 1, "y": 3}}})

    assert changes == Changes(sets=[(("data", "b", "y"), 3)])


def test_fields_of_objects_and_counters_are_set_one_by_one() -> None:
    base = {"o": {"_py": "object", "cls": "m.C", "state": {"x": 1, "y": 1}}, "c": {"_py": "Counter", "v": {"k": 1}}}
    local = {"o": {"_py": "object", "cls": "m.C", "state": {"x": 2, "y": 1}}, "c": {"_py": "Counter", "v": {"k": 2}}}

    assert diff(base, local).sets == [(("o", "state", "x"), 2), (("c", "v", "k"), 2)]


def test_an_object_of_another_class_is_replaced_whole() -> None:
    base = {"o": {"_py": "object", "cls": "m.C", "state": {"x": 1}}}
    local = {"o": {"_py": "object", "cls": "m.D", "state": {"x": 1}}}

    assert diff(base, local).sets == [(("o",), local["o"])]


def test_lists_and_tagged_values_are_replaced_whole() -> None:
    base = {"l": [1, 2], "t": {"_py": "tuple", "v": [1]}}
    local = {"l": [1, 3], "t": {"_py": "tuple", "v": [2]}}

    assert diff(base, local).sets == [(("l",), [1, 3]), (("t",), local["t"])]


def test_new_fields_out_of_alphabetical_order_ask_for_an_ordered_update() -> None:
    assert diff({}, {"b": 1, "a": 2}).ordered
    assert not diff({}, {"a": 1, "b": 2}).ordered


def test_a_key_that_moved_to_the_end_is_moved_and_not_written_again() -> None:
    changes = diff({"a": 1, "b": 2}, {"b": 2, "a": 1})

    assert (changes.sets, changes.last) == ([], {(): {"a": 1}})


def test_a_new_document_within_a_document_must_not_exist_yet() -> None:
    changes = diff({"d": {}}, {"d": {"new": {"x": 1}, "number": 1}})

    assert changes.created == [("d", "new")]
    assert changes.guard()["d.new"] == {"$exists": False}


@pytest.mark.parametrize("key", ["a.b", "$x", "x\0y", ""])
def test_a_field_that_no_path_can_name_is_written_with_its_parent(key: str) -> None:
    changes = diff({"d": {key: 1, "x": 1}}, {"d": {"x": 1}})

    assert changes.sets == [(("d",), {"x": 1})]


def test_another_form_of_the_same_value_is_no_change() -> None:
    forms = {"one form": "the value", "another form": "the value"}

    def canonical(plain: Any) -> Any:
        return {"_py": "pickle", "v": forms[plain["v"]]}

    base = {"x": {"_py": "pickle", "v": "one form"}}

    assert not diff(base, {"x": {"_py": "pickle", "v": "the value"}}, canonical)
    assert diff(base, {"x": {"_py": "pickle", "v": "something else"}}, canonical)


def test_an_update_names_who_wrote_it_and_when() -> None:
    assert diff({"a": 1, "b": 1}, {"a": 2}).update("w:7") == {
        "$set": {"a": 2, "rev": "w:7"},
        "$unset": {"b": ""},
        "$currentDate": {"updated_at": True},
    }


# -- merge -----------------------------------------------------------------------------------------------


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
    conflicts: list[Path] = []

    def note(path: Path, _: Any, mine: Any, __: Any) -> Any:
        conflicts.append(path)
        return mine

    one, other = merge(base, local, remote, note), merge(base, remote, local, note)

    if not conflicts:  # but for the order of keys that both have added
        assert without_order(one) == without_order(other)


def without_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_order(value[key]) for key in sorted(value)}
    return [without_order(item) for item in value] if isinstance(value, list) else repr(value)


@given(triples())
def test_a_conflict_is_a_path_that_both_sides_changed_differently(triple: Any) -> None:
    base, local, remote = triple

    def check(path: Path, was: Any, mine: Any, theirs: Any) -> Any:
        assert not same(was, mine)
        assert not same(was, theirs)
        assert not same(mine, theirs)
        for document, value in ((base, was), (local, mine), (remote, theirs)):
            found: Any = document
            for key in path:
                found = found.get(key, MISSING) if isinstance(found, dict) else MISSING
            assert same(found, value) or value is MISSING
        return mine

    merge(base, local, remote, check)


@given(triples())
def test_every_leaf_that_one_side_alone_changed_is_in_the_result_unless_it_lies_in_a_conflict(triple: Any) -> None:
    base, local, remote = triple
    conflicts: list[Path] = []

    def note(path: Path, _: Any, mine: Any, __: Any) -> Any:
        conflicts.append(path)
        return mine

    merged = leaves(merge(base, local, remote, note))

    old, mine, theirs = leaves(base), leaves(local), leaves(remote)
    for one, other in ((mine, theirs), (theirs, mine)):
        for path, value in one.items():
            changed = path not in old or not same(old[path], value)
            touched_by_other = (
                any(
                    (path in other) != (path in old) or path not in old or not same(other.get(path), old[path])
                    for path in {path}
                )
                and path in old
            )
            overlapping = any(path[: len(c)] == c or c[: len(path)] == path for c in conflicts)
            if changed and not touched_by_other and not overlapping and path:
                kept = path in merged and same(merged[path], value)
                emptied = fields_inside(value) is not None  # an empty document that the other side filled
                assert kept or emptied, (path, value)


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


def many(value: int, **more: int) -> dict[str, Any]:
    return {"z": value, "a": value, "m": value, **more}


def test_more_changes_than_are_allowed_replace_the_document_if_nobody_else_has_changed_it() -> None:
    changes = diff({"data": {"in": many(1), "n": 1}}, {"data": {"in": many(2), "n": 2}}, at_most=2)

    assert changes.sets == [(("data", "in"), many(2)), (("data", "n"), 2)]
    assert changes.guard() == {"data.in": {"$eq": many(1)}}


def test_what_was_found_inside_a_replaced_document_leaves_no_trace() -> None:
    base: dict[str, Any] = {"in": many(1, gone=1)}
    changes = diff(base, {"in": {"b": {}, **dict(reversed(many(2).items()))}}, at_most=2)

    assert (changes.unsets, changes.created, changes.last, changes.ordered) == ([], [], {}, False)
    assert changes.replaced == {("in",): base["in"]}
