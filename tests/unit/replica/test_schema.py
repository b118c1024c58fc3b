"""How many migrations a document has been through, where versions of it come together.

The kind: the number is taken for a part of the data, or the data for that of another number: a copy counts as newer
than it is, a strategy adds two numbers, a part of a migration is stored.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.codec.documents import value_of
from ptb_mongo.driver.operations import Update
from ptb_mongo.errors import DecodeError
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.schema import Steps
from ptb_mongo.replica.versions import Stored, Version
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.operations import OperationMaker

USER = 1


def to_1(data: dict[str, Any]) -> None:
    data["title"] = data.pop("name")


def scope_with(*functions: Any, **options: Any) -> DataScope[Any]:
    return DataScope("user_data", "user_data", Codec(), Counters(), new=dict, migrations=functions, **options)


def stored(rev: str, data: Any, **fields: Any) -> bytes:
    return dump({"_id": USER, "data": data, **fields, "rev": rev})


def attached(scope: DataScope[Any], raw: bytes) -> tuple[LiveReplica, Any]:
    ((_, live),) = scope.attached([raw])
    scope.all_loaded()
    scope.see(USER, live)
    return scope.replicas[USER], live


def reads(scope: DataScope[Any], replica: LiveReplica, *raws: bytes) -> None:
    scope.answered([(replica, replica.reading())], raws, lasts=True)


def wanted(replica: LiveReplica) -> Any:
    return load(replica.target or b"")


def test_what_was_loaded_is_saved_in_its_new_form_under_the_rev_that_it_was_read_with() -> None:
    scope = scope_with(to_1)
    told: list[Any] = []
    scope.on_upgraded = told.append
    replica, live = attached(scope, stored("old:1", {"name": "Ada", "n": 1}))
    assert live == {"title": "Ada", "n": 1}
    assert told == [replica]
    prepared = OperationMaker("bot", buries=lambda: False).make(scope, replica, replica.pending, 0)
    assert prepared is not None
    assert isinstance(prepared.operation, Update)
    assert prepared.operation.guard == {"rev": "old:1"}
    assert dict(prepared.operation.changes.sets) == {("data", "title"): "Ada", ("schema",): 1}  # type: ignore[attr-defined]
    assert prepared.operation.changes.unsets == [("data", "name")]  # type: ignore[attr-defined]


def test_a_copy_from_before_a_newer_version_has_written_undoes_nothing_of_it() -> None:
    scope = scope_with(to_1)
    replica, live = attached(scope, stored("old:1", {"title": "Ada", "cart": ["tea"]}, schema=1))
    older = copy.deepcopy(live)
    reads(scope, replica, stored("newer:1", {"title": "Ada", "cart": {"tea": 1}}, schema=2))
    scope.catch_up(USER)
    assert live == {"title": "Ada", "cart": {"tea": 1}}
    scope.stage(USER, older)
    assert wanted(replica) == {"data": {"title": "Ada", "cart": {"tea": 1}}, "schema": 2}
    assert not replica.is_unsaved


def test_a_change_of_the_bot_is_merged_with_what_others_write_in_the_old_form() -> None:
    scope = scope_with(to_1)
    replica, live = attached(scope, stored("old:1", {"name": "Ada"}))
    live["n"] = 1
    scope.stage(USER, live)
    reads(scope, replica, stored("older:2", {"name": "Ada", "plan": "gold"}))
    scope.catch_up(USER)
    assert live == {"title": "Ada", "plan": "gold", "n": 1}
    assert wanted(replica) == {"data": {"title": "Ada", "plan": "gold", "n": 1}, "schema": 1}


@pytest.mark.parametrize("strategy", ["add", "max", "min", "local", "remote"])
def test_no_strategy_decides_about_the_number(strategy: Any) -> None:
    scope = scope_with(to_1, on_conflict={"user_data": {"**": strategy}})
    versions = [{"data": {}, "schema": number} for number in (1, 5, 5)]
    assert scope.merged(USER, *versions) == {"data": {}, "schema": 5}
    assert scope.merged(USER, *({"data": {}, "schema": number} for number in (5, 5, 1)))["schema"] == 1


@pytest.mark.parametrize("functions", [(), (to_1,)], ids=["without", "with one"])
@pytest.mark.parametrize("strategy", ["local", "remote"])
@pytest.mark.parametrize("change", [lambda cart: cart.append("cake"), lambda cart: cart.clear()], ids=["more", "less"])
def test_a_change_to_data_in_the_old_shape_is_not_stored_over_a_newer_versions_migration(
    functions: Any, strategy: Any, change: Any
) -> None:
    scope = scope_with(*functions, on_conflict=strategy)
    replica, live = attached(scope, stored("old:1", {"title": "Ada", "cart": ["tea"]}, schema=1))
    change(live["cart"])
    live["n"] = 1
    scope.stage(USER, live)
    reads(scope, replica, stored("newer:1", {"title": "Ada", "cart": {"tea": 1}}, schema=2))
    scope.catch_up(USER)
    assert live == {"title": "Ada", "cart": {"tea": 1}, "n": 1}
    assert wanted(replica) == {"data": live, "schema": 2}


@pytest.mark.parametrize("numbers", [(1, 1), (2, 1), (1, 1.0), (None, 0)])
@pytest.mark.parametrize("functions", [(), (to_1,)], ids=["without", "with one"])
def test_a_number_that_is_no_higher_decides_nothing(functions: Any, numbers: Any) -> None:
    scope = scope_with(*functions)
    base, local, remote = ({"data": {"n": n}} for n in (1, 2, 3))
    merged = scope.merged(USER, base | {"schema": numbers[0]}, local, remote | {"schema": numbers[1]})
    assert merged["data"] == {"n": 2}


@pytest.mark.parametrize("own", ["v7", {"a": 1}, -1, 1.5, True, None, 0, 7, 7.0])
def test_a_bot_without_functions_leaves_a_field_of_somebody_else_as_it_is(own: Any) -> None:
    scope = scope_with()
    replica, live = attached(scope, stored("old:1", {"n": 1}, schema=own))
    live["n"] = 2
    scope.stage(USER, live)
    prepared = OperationMaker("bot", buries=lambda: False).make(scope, replica, replica.pending, 0)
    assert isinstance(prepared and prepared.operation, Update)
    changes: Any = prepared.operation.changes  # type: ignore[union-attr]
    assert (dict(changes.sets), changes.unsets) == ({("data", "n"): 2}, [])
    reads(scope, replica, stored("other:1", {"n": 1, "m": 1}, schema="else"))
    scope.catch_up(USER)
    assert live == {"n": 2, "m": 1}
    changes = scope.changes(replica.base or b"", wanted(replica), 100)
    assert (dict(changes.sets), changes.unsets) == ({("data", "n"): 2}, [])


def test_a_migration_is_stored_as_a_whole_or_not_at_all() -> None:
    scope = scope_with(to_1)
    replica, live = attached(scope, stored("old:1", {"name": "Ada", "n": 1}))
    live.update(n=2, m=3)
    scope.stage(USER, live)
    assert scope.changed_paths(replica.base, wanted(replica)) == []
    later = {"data": {"title": "Ada", "n": 3, "m": 4}, "schema": 1}
    assert scope.changed_paths(replica.target, later) == [("data", "n"), ("data", "m")]


@pytest.mark.parametrize("functions", [(), (to_1,)], ids=["without", "with one"])
def test_a_deletion_leaves_no_number_behind(functions: Any) -> None:
    scope = scope_with(*functions)
    replica, _ = attached(scope, stored("old:1", {"title": "Ada"}, schema=5))
    scope.drop(USER)
    prepared = OperationMaker("bot", buries=lambda: True).make(scope, replica, replica.pending, 0)
    assert prepared is not None
    assert prepared.operation.changes.unsets == [("data",), ("schema",)]  # type: ignore[union-attr]


def test_a_new_object_that_is_empty_is_a_deletion_whatever_the_number() -> None:
    scope = scope_with(to_1)
    replica, _ = attached(scope, stored("newer:1", {"title": "Ada"}, schema=5))
    scope.see(USER, {})
    scope.drop(USER)
    assert replica.is_being_deleted


def test_what_an_older_process_has_left_goes_through_the_functions() -> None:
    scope = scope_with(to_1)
    old = {"data": {"name": "Ada", "n": 2}}
    base = Stored("old:1", (), dump({"data": {"name": "Ada"}}))
    replica = scope.unsaved(USER, base, Version(old, dump(old), yields=True), {}, "")
    assert wanted(replica) == {"data": {"title": "Ada", "n": 2}, "schema": 1}


def test_the_number_stands_behind_the_data_wherever_others_have_put_it() -> None:
    scope = scope_with(to_1)
    replica, live = attached(scope, dump({"_id": USER, "schema": 1, "data": {"n": 1}, "rev": "old:1"}))
    assert scope.stage(USER, live) is None or not scope.changes(replica.base or b"", wanted(replica), 100)
    live["n"] = 2
    scope.stage(USER, live)
    changes = scope.changes(replica.base or b"", wanted(replica), 100)
    assert (dict(changes.sets), changes.ordered) == ({("data", "n"): 2}, False)


@pytest.mark.parametrize("value", [None, 0, 3, 3.0])
def test_a_whole_number_in_any_form_counts(value: Any) -> None:
    steps = Steps([to_1] * 5)
    assert steps.are_due(dump({"schema": value}))
    assert steps.number_of(dump({"schema": value})) == 5
    assert Steps([to_1]).number_of(dump({"schema": value})) == max(1, int(value or 0))


@pytest.mark.parametrize("value", ["1", -1, 2**31, 1.5, float("inf"), True, b"1", [], {}])
def test_anything_else_is_no_number(value: Any) -> None:
    steps = Steps([to_1])
    with pytest.raises(DecodeError, match="not a number of migrations"):
        steps.applied({"data": {}, "schema": value})
    assert steps.number_of(dump({"schema": value})) == 1


@pytest.mark.parametrize("raw", [b"", b"\x05\x00\x00\x00\x00", dump({"a": [1, {"schema": 2}], "b": "schema"})])
def test_a_field_that_is_not_there_has_no_value(raw: bytes) -> None:
    assert value_of(raw, "schema") is None


def test_a_damaged_document_is_told_from_one_without_the_field() -> None:
    with pytest.raises(DecodeError, match="not valid BSON"):
        value_of(dump({"a": "x", "schema": 1})[:-8] + b"\xff\xff\xff", "schema")
