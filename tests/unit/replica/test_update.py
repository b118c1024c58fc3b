"""The difference between two documents, and the update for MongoDB that expresses it."""

from __future__ import annotations

import copy
import datetime as dtm
import itertools
from typing import Any

import pytest
from hypothesis import given
from plain import a_deque, a_set, documents, in_our_form, triples
from updates import apply_changes

from ptb_mongo.codec import escape
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import same


@given(documents, documents)
def test_applying_a_difference_gives_the_other_document(base: dict[str, Any], local: dict[str, Any]) -> None:
    assert same(in_our_form(apply_changes(base, diff(base, local))), local)


@given(triples())
def test_applying_the_difference_of_an_edit_gives_the_edited_document(triple: Any) -> None:
    base, local, _ = triple

    assert same(in_our_form(apply_changes(base, diff(base, local))), local)


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

    assert changes.update("w:1")["$set"] == {"data.b.y": 3, "rev": "w:1"}
    assert list(changes.paths()) == [("data", "b", "y")]


def test_fields_of_objects_and_counters_are_set_one_by_one() -> None:
    base = {"o": {"_py": "object", "cls": "m.C", "state": {"x": 1, "y": 1}}, "c": {"_py": "Counter", "v": {"k": 1}}}
    local = {"o": {"_py": "object", "cls": "m.C", "state": {"x": 2, "y": 1}}, "c": {"_py": "Counter", "v": {"k": 2}}}

    assert diff(base, local).sets == [(("o", "state", "x"), 2), (("c", "v", "k"), 2)]


def test_an_object_of_another_class_is_replaced_whole() -> None:
    base = {"o": {"_py": "object", "cls": "m.C", "state": {"x": 1}}}
    local = {"o": {"_py": "object", "cls": "m.D", "state": {"x": 1}}}

    assert diff(base, local).sets == [(("o",), local["o"])]


def test_tagged_values_are_replaced_whole() -> None:
    local = {"t": {"_py": "tuple", "v": [2]}}

    assert diff({"t": {"_py": "tuple", "v": [1]}}, local).sets == [(("t",), local["t"])]


def test_new_fields_out_of_alphabetical_order_ask_for_an_ordered_update() -> None:
    assert diff({}, {"b": 1, "a": 2}).ordered
    assert not diff({}, {"a": 1, "b": 2}).ordered


def test_a_key_that_moved_to_the_end_is_moved_and_not_written_again() -> None:
    changes = diff({"a": 1, "b": 2}, {"b": 2, "a": 1})

    assert (changes.sets, changes.last) == ([], {(): {"a": 1}})


def test_a_new_document_within_a_document_must_not_exist_yet() -> None:
    changes = diff({"d": {}}, {"d": {"new": {"x": 1}, "number": 1}})

    assert changes.guard() == {"d.new": {"$exists": False}}


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


def many(value: int, **more: int) -> dict[str, Any]:
    return {"z": value, "a": value, "m": value, **more}


def test_more_changes_than_are_allowed_replace_the_document_if_nobody_else_has_changed_it() -> None:
    changes = diff({"data": {"in": many(1), "n": 1}}, {"data": {"in": many(2), "n": 2}}, at_most=2)

    assert changes.sets == [(("data", "in"), many(2)), (("data", "n"), 2)]
    assert changes.guard() == {"data.in": {"$eq": many(1), "$not": {"$type": "array"}}}


def test_what_was_found_inside_a_replaced_document_leaves_no_trace() -> None:
    base: dict[str, Any] = {"in": many(1, gone=1)}
    changes = diff(base, {"in": {"b": {}, **dict(reversed(many(2).items()))}}, at_most=2)

    assert (changes.unsets, changes.last, changes.ordered) == ([], {}, False)
    assert list(changes.conditions) == [("in",)]


def test_a_field_inside_a_document_is_written_only_while_that_is_a_document() -> None:
    changes = diff({"data": {"d": {"x": 1}}}, {"data": {"d": {"x": 2}}})

    assert changes.guard() == {"data.d": {"$type": "object"}, "data.d._py": {"$exists": False}}


def test_an_attribute_is_written_only_while_the_object_is_of_its_class() -> None:
    base = {"o": {"cls": "m.C", "_py": "object", "state": {"x": 1}}}
    changes = diff(base, {"o": {"_py": "object", "cls": "m.C", "state": {"x": 2}}}, sort_tag)

    assert changes.sets == [(("o", "state", "x"), 2)]
    assert changes.guard() == {"o._py": {"$eq": "object"}, "o.cls": {"$eq": "m.C"}}


def sort_tag(value: Any) -> Any:
    """The form with the tag in front."""
    return {"_py": value["_py"], **value} if isinstance(value, dict) and "_py" in value else value


def test_fields_that_others_have_stored_without_an_escape_are_changed_where_they_stand() -> None:
    base = {"data": {"100%": 1, "n": 1}}

    assert not diff(base, {"data": {"100%25": 1, "n": 1}})
    assert diff(base, {"data": {"100%25": 2, "n": 1}}).sets == [(("data", "100%"), 2)]
    assert diff(base, {"data": {"n": 1}}).unsets == [("data", "100%")]


@pytest.mark.parametrize("base", [{"100%": 1, "n": 1}, {"$x": 1, "n": 1}])
def test_a_field_in_another_form_that_cannot_stay_where_it_is_is_written_with_its_parent(base: Any) -> None:
    local = dict(reversed({str(escape(key)): value + 1 for key, value in base.items()}.items()))

    changes = diff({"data": base}, {"data": local})

    assert changes.sets == [(("data",), local)]
    assert changes.guard()["data"]["$eq"] == base


# -- lists and deques ------------------------------------------------------------------------------------


MESSAGES = [{"role": "user", "text": f"What about number {number}?"} for number in range(5)]
NEW = {"role": "bot", "text": "That is a good question."}


@pytest.mark.parametrize(
    ("after", "operator", "ends"),
    [
        ([*MESSAGES, NEW], {"$each": [NEW]}, [4]),
        ([*MESSAGES, 1, 2], {"$each": [1, 2]}, [4]),
        ([*MESSAGES[2:], NEW], {"$each": [NEW], "$slice": -4}, [0, 4]),
        (MESSAGES[1:], {"$each": [], "$slice": -4}, [0, 4]),
    ],
)
def test_a_list_that_was_appended_to_or_cut_at_its_front_is_pushed_to(after: Any, operator: Any, ends: Any) -> None:
    changes = diff({"data": {"l": MESSAGES}}, {"data": {"l": after}})

    update = changes.update("w:1")
    assert (update["$push"], update["$set"]) == ({"data.l": operator}, {"rev": "w:1"})
    assert changes.guard() == {
        "data.l": {"$size": 5},
        **{f"data.l.{index}": {"$eq": MESSAGES[index]} for index in ends},
    }
    assert list(changes.paths()) == [("data", "l")]


@pytest.mark.parametrize(
    "after",
    [
        [NEW, *MESSAGES],
        [*MESSAGES[:2], NEW, *MESSAGES[2:]],
        MESSAGES[:4],
        [*MESSAGES[:4], NEW],
        [NEW],
        [],
    ],
)
def test_a_list_that_changed_elsewhere_is_set_whole_while_it_is_what_it_was(after: Any) -> None:
    changes = diff({"data": {"l": MESSAGES}}, {"data": {"l": after}})

    assert changes.update("w:1")["$set"] == {"data.l": after, "rev": "w:1"}
    assert changes.guard() == {"data.l": {"$eq": MESSAGES, "$size": 5}}


def test_a_list_of_a_few_numbers_is_set_whole() -> None:
    assert diff({"l": [1, 2, 3]}, {"l": [1, 2, 3, 4]}).sets == [(("l",), [1, 2, 3, 4])]


def test_elements_in_another_form_are_the_same_elements() -> None:
    stored = [{"text": "x" * 100, "_py": "y"}, *MESSAGES]
    local = [*map(sort_tag, stored), NEW]
    changes = diff({"l": stored}, {"l": local}, lambda value: [*map(sort_tag, value)])

    assert changes.update("w:1")["$push"] == {"l": {"$each": [NEW]}}
    assert changes.guard()["l.5"] == {"$eq": MESSAGES[-1]}
    assert diff({"l": stored}, {"l": local[1:]}, lambda value: [*map(sort_tag, value)]).guard()["l.0"] == {
        "$eq": stored[0]
    }


def test_a_large_element_at_an_end_is_not_compared() -> None:
    large = {"text": "x" * 3000}

    assert diff({"l": [large, large]}, {"l": [large, large, NEW]}).guard() == {"l": {"$size": 2}}


@pytest.mark.parametrize(("maxlen", "stored"), [(5, MESSAGES), (5, ["too long", *MESSAGES]), (None, MESSAGES)])
def test_the_array_of_a_deque_is_pushed_to(maxlen: int | None, stored: list[Any]) -> None:
    new = [*MESSAGES[1:], NEW]

    changes = diff({"d": a_deque(stored, maxlen)}, {"d": a_deque(new, maxlen)}, lambda _: a_deque(MESSAGES, maxlen))

    assert changes.update("w:1")["$push"] == {"d.v": {"$each": [NEW], "$slice": -5}}
    assert changes.guard()["d.v"] == {"$size": len(stored)}


def test_lists_that_are_the_same_but_for_the_type_of_an_element_differ() -> None:
    assert diff({"l": [*MESSAGES, 1]}, {"l": [*MESSAGES, 1.0]}).sets


def test_a_list_too_large_to_be_compared_is_guarded_by_its_length() -> None:
    large = [f"{number} {'x' * 1000}" for number in range(300)]

    assert diff({"l": large}, {"l": large[1:-1]}).guard() == {"l": {"$size": 300}}
    assert diff({"d": a_deque(large)}, {"d": a_deque(large[:-1])}).guard() == {"d.v": {"$size": 300}}


def test_pushes_in_a_pipeline_are_expressions() -> None:
    changes = diff({"data": {"l": MESSAGES}}, {"data": {"l": [*MESSAGES[1:], NEW], "b": 1, "a": 1}})

    pipeline = changes.update("w:1")
    assert pipeline[0]["$set"]["data.l"] == {
        "$slice": [{"$concatArrays": ["$data.l", {"$literal": [NEW]}]}, -5],
    }


def test_a_list_that_moves_among_the_keys_is_not_pushed_to_as_well_where_there_are_no_pipelines() -> None:
    local = {"z": 1, "l": [*MESSAGES, NEW]}
    changes = diff({"data": {"l": MESSAGES, "z": 1}}, {"data": local})

    steps = changes.steps("w:1", dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc))

    assert steps[-1]["$set"]["data.l"] == local["l"]
    assert "$push" not in steps[-1]


# -- sets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["set", "frozenset"])
def test_a_set_that_only_gained_elements_is_added_to(kind: str) -> None:
    changes = diff(
        {"s": {"v": ["b", "a"], "_py": kind}}, {"s": a_set(["a", "b", "c"], kind)}, lambda _: a_set(["a", "b"], kind)
    )

    update = changes.update("w:1")
    assert (update["$addToSet"], update["$set"]) == ({"s.v": {"$each": ["c"]}}, {"rev": "w:1"})
    assert changes.guard() == {"s._py": {"$eq": kind}, "s.v": {"$type": "array"}}


def test_a_set_that_only_lost_elements_is_taken_from() -> None:
    changes = diff({"s": a_set(["a", "b", "c"])}, {"s": a_set(["b"])})

    assert changes.update("w:1")["$pullAll"] == {"s.v": ["a", "c"]}
    assert changes.guard() == {"s._py": {"$eq": "set"}, "s.v": {"$type": "array"}}


@pytest.mark.parametrize("more", [[], [5]])
def test_a_set_that_lost_an_element_in_another_form_is_set_whole(more: list[int]) -> None:
    stored = {"_py": "set", "v": [{"_py": "int", "v": "5"}, 6, *more]}

    changes = diff({"s": stored}, {"s": a_set([6])}, lambda _: a_set([5, 6]))

    assert changes.sets == [(("s",), a_set([6]))]


def test_a_set_that_gained_and_lost_elements_is_set_whole_while_it_is_what_it_was() -> None:
    changes = diff({"s": a_set(["a", "b"])}, {"s": a_set(["b", "c"])})

    assert changes.sets == [(("s",), a_set(["b", "c"]))]
    assert changes.guard() == {"s": {"$eq": a_set(["a", "b"]), "$not": {"$type": "array"}}}


# -- guards ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [{"x": 1}, [1], a_set([1]), a_deque([1])])
def test_what_is_merged_if_somebody_else_creates_it_too_must_not_exist_yet(new: Any) -> None:
    assert diff({"data": {}}, {"data": {"new": new}}).guard() == {"data.new": {"$exists": False}}


@pytest.mark.parametrize(
    ("base", "local", "guard"),
    [
        ({"x": 1}, {"x": 2}, {"$eq": 1, "$not": {"$type": "array"}}),
        ({"x": None}, {"x": 2}, {"$eq": None, "$exists": True, "$not": {"$type": "array"}}),
        ({"x": 1}, {}, {"$eq": 1, "$not": {"$type": "array"}}),
        ({}, {"x": 1}, {"$exists": False}),
        ({"x": [1]}, {"x": 2}, {"$eq": [1], "$size": 1}),
        ({"x": "a" * 300_000}, {"x": 1}, None),
    ],
)
def test_a_value_is_written_only_while_it_is_what_it_was_if_it_is_to_be_guarded(
    base: Any, local: Any, guard: Any
) -> None:
    guarded = diff({"data": base}, {"data": local}, guards=lambda keys: keys == ("data", "x"))

    assert guarded.guard().get("data.x") == guard
    assert diff({"data": base}, {"data": local}).guard() == {}


def test_the_keys_that_a_guard_is_asked_for_are_those_of_the_user() -> None:
    asked = []
    base = {"data": {"o": {"_py": "object", "cls": "m.C", "state": {"a": 1}}, "100%": {"n": 1}}}
    local = {"data": {"o": {"_py": "object", "cls": "m.C", "state": {"a": 2}}, "100%25": {"n": 2}}}

    diff(base, local, guards=lambda keys: bool(asked.append(keys)))

    assert asked == [("data", "o", "a"), ("data", "100%25", "n")]


def test_setting_a_field_whole_leaves_nothing_of_what_was_to_change_in_it() -> None:
    base: dict[str, Any] = {"data": {"l": MESSAGES, "s": a_set([1]), "t": a_set([1]), "d": {"x": 1}}, "n": 1}
    local = {"data": {"l": [*MESSAGES, 1], "s": a_set([1, 2]), "t": a_set([]), "d": {"b": 1, "a": 1}}, "n": 2}
    changes = diff(base, local)

    changes.set_whole("data", local["data"])

    assert changes.guard() == {}
    assert list(changes.paths()) == [("n",), ("data",)]


LONG = [{"role": "user", "content": f"{number} " + "x" * 50} for number in range(100)]


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_a_history_that_was_appended_to_is_not_brought_into_our_form_first(cut: int) -> None:
    def canonical(_: Any) -> Any:
        raise AssertionError("1,000 messages would be decoded and encoded for one more")

    after = [*LONG[cut:], {"role": "bot", "content": "hello"}]
    changes = diff({"history": LONG}, {"history": copy.deepcopy(after)}, canonical)

    assert changes.arrays["history",].items == [after[-1]]  # type: ignore[union-attr]
    assert same(apply_changes({"history": LONG}, changes), {"history": after})


@pytest.mark.parametrize(("stays", "becomes"), [(1, True), (1, 1.0), (0.0, -0.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1})])
def test_what_stays_of_a_list_stays_exactly(stays: Any, becomes: Any) -> None:
    base, local = {"list": [*LONG, stays]}, {"list": [*copy.deepcopy(LONG), becomes, 3]}

    assert same(apply_changes(base, diff(base, local)), local)
