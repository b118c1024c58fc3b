"""What `changes` says of an update is what MongoDB makes of it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient, UpdateOne
from pymongo.errors import BulkWriteError
from updates import apply_changes

from ptb_mongo.codec import OPTIONS, Codec
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import same

codec = Codec()
keys = st.sampled_from(["a", "b", "c", "a.b", "$set", "", "0", "1", "10", "é", "%", "_py", 5, -1, True, None, "rev"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([1.0, 2**40, 2**70, "x", "$x", "$$NOW", b"", (1,)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
bodies = st.dictionaries(keys, values, max_size=6).map(lambda data: {"data": codec.encode(data)})


@pytest.fixture
def collection(mongodb_server_uri: str, mongodb_database: str) -> Iterator[Any]:
    with MongoClient(mongodb_server_uri) as client:
        yield client.get_database(mongodb_database, codec_options=OPTIONS)["documents"]


def updated(collection: Any, before: dict[str, Any], after: dict[str, Any], *, times: int = 1) -> dict[str, Any]:
    """What the server makes of a document by the update from one version to the other."""
    collection.replace_one({"_id": 1}, {**copy.deepcopy(before), "other": 1}, upsert=True)
    changes = diff(before, after)
    if changes:
        for attempt in range(times):
            update = UpdateOne({"_id": 1, **changes.guard()}, changes.update("w:1"), upsert=True)
            again = contextlib.suppress(BulkWriteError)  # it has created a document: refused, read, and found the same
            with again if attempt else contextlib.nullcontext():
                collection.bulk_write([update])
    found: dict[str, Any] = collection.find_one({"_id": 1})
    assert found.pop("other") == 1
    for name in ("_id", "rev", "updated_at"):
        found.pop(name, None)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, bodies)
def test_the_update_between_any_two_documents_gives_the_second_on_the_server(
    collection: Any, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert same(updated(collection, before, after), after)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, bodies)
def test_an_update_that_is_sent_twice_does_what_it_does_once(
    collection: Any, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert same(updated(collection, before, after, times=2), after)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, bodies, st.sampled_from(["x", "z"]))
def test_a_field_that_another_service_has_added_meanwhile_is_left_alone(
    collection: Any, before: dict[str, Any], after: dict[str, Any], theirs: str
) -> None:
    changes = diff(before, after)
    if not changes or ("data",) in list(changes.paths()):  # a dict replaced by something else takes all with it
        return
    edited = {"data": {**before["data"], theirs: "service"}}
    collection.replace_one({"_id": 1}, copy.deepcopy(edited), upsert=True)

    collection.bulk_write([UpdateOne({"_id": 1, **changes.guard()}, changes.update("w:1"), upsert=True)])

    found = collection.find_one({"_id": 1})["data"]
    assert found.pop(theirs) == "service"
    assert {name: repr(value) for name, value in found.items()} == {
        name: repr(value) for name, value in apply_changes(before, changes)["data"].items()
    }


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
    collection.insert_one({"_id": 1, "data": {"d": turned_into}})

    with pytest.raises(BulkWriteError) as refused:
        collection.bulk_write([UpdateOne({"_id": 1, **changes.guard()}, changes.update("w:1"), upsert=True)])

    assert refused.value.details["writeErrors"][0]["code"] in {28, 11000}
    assert collection.find_one({"_id": 1}) == {"_id": 1, "data": {"d": turned_into}}
