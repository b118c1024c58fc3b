"""MongoDB and mongomock do to a document exactly what `diff` says, and its guard notices edits in between."""

from __future__ import annotations

import collections
import copy
import datetime as dtm
import decimal
import math
import uuid
from collections.abc import Iterator
from typing import Any

import mongomock
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from forms import in_another_form
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient, UpdateOne
from pymongo.errors import BulkWriteError

from ptb_mongo.codec import OPTIONS, Codec, dump, load
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import MISSING, same

NO_PATH_THROUGH_WHAT_IS_THERE = 28

codec = Codec()
keys = st.sampled_from(["a", "b", "c", "a.b", "$set", "", "0", "1", "10", "é", "%", "_py", 5, -1, True, None, "rev"])
hashable = st.sampled_from([None, True, 2, -3, 1.5, 2**40, 2**70, "x", "y", "$x", b"", (1,), decimal.Decimal("4.50")])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([1.0, 2**40, 2**70, "x", "$x", "$$NOW", "long" * 30, b"", (1,), dtm.timedelta(hours=1)])
    | st.sampled_from([decimal.Decimal("4.50"), dtm.datetime(2024, 1, 2, tzinfo=dtm.timezone.utc)])
)
values = st.recursive(
    scalars
    | st.sets(hashable, max_size=4)
    | st.builds(collections.deque, st.lists(scalars, max_size=4), st.sampled_from([None, 2, 4])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
data = st.dictionaries(keys, values, max_size=6)
on_server = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], report_multiple_bugs=False
)


def document(value: Any) -> dict[str, Any]:
    """A document with these data, as we store it."""
    return {"data": codec.encode(value)}


def canonical(plain: Any) -> Any:
    """The form that we would store."""
    return codec.encode(codec.decode(plain))


@st.composite
def edited(draw: st.DrawFn, value: Any) -> Any:
    """The same data, after somebody has changed them here and there."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        value = draw(edited_once(value))
    return value


@st.composite
def edited_once(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict):
        key = draw(st.sampled_from([*value])) if value and draw(st.integers(0, 3)) else draw(keys)
        if key in value and draw(st.integers(0, 4)) == 0:
            del value[key]
        else:
            value[key] = draw(edited_once(value[key])) if key in value else draw(values)
    elif isinstance(value, (list, collections.deque)):
        how = draw(st.sampled_from(["append", "append", "cut", "both", "inside"]))
        if how in {"cut", "both"} and value:
            del value[0]
        if how in {"append", "both"}:
            value.extend(draw(st.lists(scalars, min_size=1, max_size=2)))
        if how == "inside" and value:
            at = draw(st.integers(0, len(value) - 1))
            value[at] = draw(edited_once(value[at]))
    elif isinstance(value, set):
        value = draw(st.sampled_from([value | draw(st.sets(hashable, max_size=2)), {*list(value)[1:]}]))
    else:
        value = draw(values)
    return value


pairs = st.tuples(data, data) | data.flatmap(lambda value: st.tuples(st.just(value), edited(value)))
triples = data.flatmap(lambda value: st.tuples(st.just(value), edited(value), edited(value)))


@pytest.fixture(scope="module")
def collection(mongodb_server_uri: str) -> Iterator[Any]:
    """All tests share it: each begins with the document that it puts there."""
    name = f"ptb_mongo_test_{uuid.uuid4().hex}"
    with MongoClient(mongodb_server_uri) as client:
        yield client.get_database(name, codec_options=OPTIONS)["documents"]
        client.drop_database(name)


def put(collection: Any, stored: dict[str, Any]) -> None:
    collection.replace_one({"_id": 1}, {**copy.deepcopy(stored), "other": 1}, upsert=True)


def found(collection: Any) -> dict[str, Any]:
    """The document, but for what every update sets."""
    result: dict[str, Any] = collection.find_one({"_id": 1})
    assert result.pop("other") == 1
    for name in ("_id", "rev", "updated_at"):
        result.pop(name, None)
    return result


def is_applied(collection: Any, changes: Any) -> bool:
    """Applies an update under its guard; `False` if the server finds that the document is not as supposed."""
    try:
        written = collection.bulk_write([UpdateOne({"_id": 1, **changes.guard()}, changes.update("w:1"))])
    except BulkWriteError as error:
        if error.details["writeErrors"][0]["code"] != NO_PATH_THROUGH_WHAT_IS_THERE:
            raise
        return False
    return bool(written.matched_count)


# -- what an update does ---------------------------------------------------------------------------------


@on_server
@given(pairs)
def test_the_update_between_any_two_documents_gives_the_second_on_the_server(collection: Any, pair: Any) -> None:
    before, after = map(document, pair)
    put(collection, before)
    changes = diff(before, after, guards=lambda _: True)

    assert not changes or is_applied(collection, changes)

    assert same(canonical(found(collection)["data"]), after["data"])


@on_server
@given(pairs, st.data())
def test_an_update_of_what_others_have_stored_in_another_form_gives_the_value_that_is_wanted(
    collection: Any, pair: Any, draw: Any
) -> None:
    before, after = map(document, pair)
    stored = {
        "data": draw.draw(in_another_form(before["data"]).filter(lambda form: same(canonical(form), before["data"])))
    }
    put(collection, stored)
    changes = diff(stored, after, canonical, guards=lambda _: True)

    assert not changes or is_applied(collection, changes)

    assert bool(changes) == (not same(before, after))
    assert same(canonical(found(collection)["data"]), after["data"])


@given(data.flatmap(lambda value: st.tuples(st.just(value), in_another_form(codec.encode(value)))))
def test_another_form_of_the_same_data_is_no_change(case: Any) -> None:
    value, stored = case
    if same(canonical(stored), codec.encode(value)):
        assert not diff({"data": stored}, document(value), canonical, guards=lambda _: True)


@given(pairs)
def test_without_pipelines_an_update_does_the_same_in_steps(pair: Any) -> None:
    before, after = map(document, pair)
    documents = mongomock.MongoClient(tz_aware=True).db.documents
    documents.insert_one({"_id": 1, "other": 1, **copy.deepcopy(before)})
    changes = diff(before, after, guards=lambda _: True)

    if changes:
        assert documents.count_documents({"_id": 1, **changes.guard()})
        for step in changes.steps("w:1", dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc), {"seen_at": 5}):
            documents.update_one({"_id": 1}, step)
        assert documents.find_one({"_id": 1})["seen_at"] == 5
        assert documents.find_one({"_id": 1})["rev"] == "w:1"

    stored = load(dump(documents.find_one({"_id": 1})))  # as the driver reads it
    assert same(canonical(stored["data"]), after["data"])


@pytest.mark.parametrize("ordered", [False, True])
def test_an_update_sets_more_fields_at_the_top_if_it_is_told_to(collection: Any, ordered: bool) -> None:
    put(collection, {"data": {}})
    changes = diff({"data": {}}, {"data": {"b": 1, "a": 1} if ordered else {"a": 1}})
    assert changes.ordered == ordered

    collection.update_one({"_id": 1}, changes.update("w:1", {"seen_at": "$x", "n": 1}))

    stored = collection.find_one({"_id": 1})
    assert (stored["seen_at"], stored["n"], stored["rev"]) == ("$x", 1, "w:1")


SPECIAL = {
    "NaN": math.nan,
    "minus zero": -0.0,
    "infinity": math.inf,
    "null": None,
    "ObjectId": ObjectId(),
    "uuid": uuid.uuid4(),
    "Decimal128 NaN": Decimal128("NaN"),
    "Decimal128": Decimal128("1.50"),
    "regex": Regex("^a", "i"),
    "code": Code("f()", {"x": 1}),
    "reference": DBRef("c", 1),
    "timestamp": Timestamp(1, 2),
    "least": MinKey(),
    "largest": MaxKey(),
    "binary": Binary(b"x", 5),
    "bytes": b"x",
    "date beyond": DatetimeMS(10**15),
    "date": dtm.datetime(2024, 1, 2, 3, 4, 5, 6000, tzinfo=dtm.timezone.utc),
    "dollar": {"$gt": 1},
    "expression": {"$eq": {"$type": "array"}},
    "dot": {"a.b": 1},
    "empty key": {"": 1},
    "no elements": [],
    "no fields": {},
    "numbers as keys": {"0": [1], "1": [2], "3": [3]},
    "list of lists": [[1], [[2]]],
    "long": 2**62,
    "large": "x" * 300_000,
}


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in SPECIAL.items()])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda value: value, lambda _: "changed"),
        (lambda value: value, lambda _: MISSING),
        (lambda value: [value, "x" * 200, value], lambda value: [value, "x" * 200, value, "appended"]),
        (lambda value: [value, "x" * 200, value], lambda value: ["x" * 200, value, "appended"]),
        (lambda value: [value, 1], lambda value: [value, 2]),
        (lambda value: {"_py": "set", "v": [value, 1]}, lambda value: {"_py": "set", "v": [value, 2]}),
        (lambda value: {"_py": "set", "v": [value, 1]}, lambda _: {"_py": "set", "v": [1]}),
        (lambda value: {"_py": "set", "v": [1]}, lambda value: {"_py": "set", "v": [1, value]}),
        (lambda value: {"x": value, "n": 1}, lambda value: {"x": value, "n": 2}),
    ],
)
def test_whatever_is_stored_a_guard_lets_an_update_pass_while_nobody_has_changed_it(
    collection: Any, before: Any, after: Any, value: Any
) -> None:
    stored = {"data": {"d": {"x": before(value)}}}
    put(collection, stored)
    base = found(collection)
    wanted = after(value)
    local = {"data": {"d": {} if wanted is MISSING else {"x": wanted}}}
    changes = diff(base, local, guards=lambda _: True)

    assert is_applied(collection, changes)

    assert dump(found(collection)) == dump(local)


# -- edits in between ------------------------------------------------------------------------------------


@on_server
@given(triples)
def test_an_update_that_does_not_notice_an_edit_in_between_makes_what_a_merge_makes(
    collection: Any, triple: Any
) -> None:
    base, local, remote = map(document, triple)
    changes = diff(base, local)
    put(collection, remote)

    if changes and is_applied(collection, changes):
        wanted = merge(base, local, remote, lambda _keys, _base, mine, _theirs: mine)
        assert without_order(canonical(found(collection)["data"])) == without_order(wanted["data"])
    else:
        assert same(found(collection), remote)


def without_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_order(value[key]) for key in sorted(value)}
    return [without_order(item) for item in value] if isinstance(value, list) else repr(value)


@on_server
@given(triples)
def test_where_paths_are_guarded_an_update_that_another_edit_came_before_changes_no_path_of_that_edit(
    collection: Any, triple: Any
) -> None:
    base, local, remote = map(document, triple)
    conflicts = []

    def note(path: Any, _base: Any, mine: Any, _theirs: Any) -> Any:
        conflicts.append(path)
        return mine

    merge(base, local, remote, note)
    changes = diff(base, local, guards=lambda _: True)
    put(collection, remote)

    if changes and is_applied(collection, changes):
        assert not conflicts


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("turned_into", [5, None, [], [1, 2], [{"x": 1}], "text"])
@pytest.mark.parametrize("key", ["x", "0"])
def test_an_update_through_what_is_no_document_any_more_is_refused_and_changes_nothing(
    collection: Any, ordered: bool, turned_into: Any, key: str
) -> None:
    before = {"data": {"d": {key: 1}}}
    after = {"data": {"d": {key: 2, "b": 1, "a": 1} if ordered else {key: 2}}}
    changes = diff(before, after)
    assert changes.ordered == ordered
    put(collection, {"data": {"d": turned_into}})

    assert not is_applied(collection, changes)

    assert found(collection) == {"data": {"d": turned_into}}
