"""The state of one document when information about it arrives in an unexpected order.

The kind: something old, or something that we have written, counts as what is stored, or as what the bot wants.
"""

from __future__ import annotations

from typing import Any

import pytest

from ptb_mongo.codec import BURIED, Codec, dump, load
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.versions import Version
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.operations import OperationMaker

USER = 1


@pytest.fixture
def scope() -> DataScope[Any]:
    return DataScope("user_data", "user_data", Codec(), Counters(), new=dict)


@pytest.fixture
def writes() -> OperationMaker:
    return OperationMaker("bot", buries=lambda: False)


def stored(rev: str, **fields: Any) -> bytes:
    return dump({"_id": USER, **fields, "rev": rev})


def loaded(scope: DataScope[Any], raw: bytes) -> LiveReplica:
    ((replica, _),) = scope.loaded([raw])
    return replica


def reads(scope: DataScope[Any], replica: LiveReplica, *raws: bytes, lasts: bool = True) -> None:
    scope.answered([(replica, replica.reading())], raws, lasts=lasts)


def saves(scope: DataScope[Any], writes: OperationMaker, replica: LiveReplica, data: Any) -> str:
    """Begins to save, and returns the `rev` of the write."""
    replica.staged(scope.version(replica, {"data": data}) or pytest.fail("it was refused"))
    prepared = writes.make(scope, replica, replica.pending, 0)
    assert prepared is not None
    return prepared.rev


def test_an_object_of_a_load_that_is_older_than_an_acknowledged_write_holds_what_was_written(
    scope: DataScope[Any], writes: OperationMaker
) -> None:
    replica = loaded(scope, stored("other:1", data={"x": 0}))
    scope.told_all()
    with scope.being_loaded():
        read = stored("other:1", data={"x": 0})
        replica.acknowledged(saves(scope, writes, replica, {"x": 1}), scope)
        objects = dict(scope.attached([read]))

    assert objects == {USER: {"x": 1}}
    assert scope.stage(USER, objects[USER]) is None


def test_the_removal_of_a_mark_yields_to_what_somebody_has_stored_since(
    scope: DataScope[Any], writes: OperationMaker
) -> None:
    replica = loaded(scope, stored("bot:1", buried=True))
    assert replica.is_buried
    replica.told()
    replica.staged(Version(None, None, yields=True))

    reads(scope, replica, stored("bot:1", buried=True, data={"plan": "premium"}))

    assert not replica.is_unsaved
    assert load(replica.target or b"")["data"] == {"plan": "premium"}


def test_the_removal_of_a_mark_is_still_to_be_done_when_it_was_read_again(
    scope: DataScope[Any], writes: OperationMaker
) -> None:
    replica = loaded(scope, stored("bot:1", buried=True))
    replica.told()
    replica.staged(Version(None, None, yields=True))

    reads(scope, replica, stored("bot:1", buried=True))

    assert replica.is_being_deleted
    assert replica.base == BURIED
    assert writes.make(scope, replica, replica.pending, 0) is not None


def test_a_local_read_that_shows_a_write_to_be_done_asks_for_one_that_lasts(
    scope: DataScope[Any], writes: OperationMaker
) -> None:
    """Others have written after it, so it was not found by its `rev`: it may be done or not."""
    replica = loaded(scope, stored("other:1", data={"x": 0}))
    rev = saves(scope, writes, replica, {"x": 1})
    replica.staged(scope.version(replica, {"data": {"x": 0}}) or pytest.fail("it was refused"))
    replica.outdated(rev)
    now = dump({"_id": USER, "data": {"x": 1, "y": 1}, "rev": "another:1", "revs": [rev, "other:1"]})

    reads(scope, replica, now, lasts=False)
    assert replica.is_stale
    assert replica.is_in_doubt

    reads(scope, replica, now)
    assert load(replica.target or b"")["data"] == {"x": 0, "y": 1}
    assert replica.is_unsaved


@pytest.fixture
def loaded_by_hand(scope: DataScope[Any]) -> DataScope[Any]:
    """The bot has started; then somebody else has stored a document, and all were loaded once more."""
    scope.all_loaded()
    assert dict(scope.attached([stored("other:1", data={"plan": "trial"})])) == {USER: {"plan": "trial"}}
    return scope


def test_an_object_that_is_not_the_one_of_a_load_removes_nothing_that_was_read_since(
    loaded_by_hand: DataScope[Any],
) -> None:
    replica = loaded_by_hand.replicas[USER]
    replica.told()
    reads(loaded_by_hand, replica, stored("other:2", data={"plan": "premium"}))
    mine: dict[str, Any] = {}

    loaded_by_hand.see(USER, mine)
    loaded_by_hand.catch_up(USER)

    assert mine == {"plan": "premium"}
    assert loaded_by_hand.stage(USER, mine) is None


def test_a_copy_of_an_object_that_is_not_the_one_of_a_load_removes_nothing(loaded_by_hand: DataScope[Any]) -> None:
    staged = loaded_by_hand.stage(USER, {"x": 1})

    assert staged is not None
    assert load(staged.target or b"")["data"] == {"plan": "trial", "x": 1}


def test_what_is_removed_from_the_object_of_a_load_is_removed(loaded_by_hand: DataScope[Any]) -> None:
    with loaded_by_hand.being_loaded():
        ((_, mine),) = loaded_by_hand.attached([stored("other:1", data={"plan": "trial"})])
    loaded_by_hand.see(USER, mine)
    mine.clear()

    staged = loaded_by_hand.stage(USER, mine)

    assert staged is not None
    assert load(staged.target or b"")["data"] == {}


def test_the_object_of_a_second_start_is_based_on_what_it_was_made_from_whoever_has_loaded_others_since() -> None:
    added = DataScope("user_data", "user_data", Codec(), Counters(), new=dict, on_conflict={"user_data": {"n": "add"}})
    replica = attaches(added, stored("other:1", data={"n": 1}))[0]
    _, given = attaches(added, stored("other:2", data={"n": 2}))
    for rev in ("other:2", "other:3"):
        attaches(added, stored(rev, data={"n": 2}))  # for statistics, which somebody else makes
    added.see(USER, given)
    reads(added, replica, stored("other:4", data={"n": 5}))
    added.catch_up(USER)

    assert given == {"n": 5}


def test_an_object_that_no_load_has_made_takes_the_place_of_one_that_was_dropped(scope: DataScope[Any]) -> None:
    attaches(scope, stored("other:1", data={"n": 1}))
    attaches(scope, stored("other:1", data={"n": 1}))
    new: dict[str, int] = {}
    scope.see(USER, new)
    scope.catch_up(USER)

    assert new == {}


def attaches(scope: DataScope[Any], raw: bytes) -> tuple[LiveReplica, Any]:
    """Loads everything, as a start or statistics before the first update do; returns the object, too."""
    with scope.being_loaded():
        objects = dict(scope.attached([raw]))
    scope.all_loaded()
    return scope.replicas[USER], objects[USER]


def test_somebody_without_a_document_stays_so_when_changes_may_go_unnoticed_but_is_read_again(
    scope: DataScope[Any],
) -> None:
    scope.all_loaded()
    scope.told_all()

    replica = scope.replica(USER, USER)

    assert replica.is_loaded
    assert replica.is_stale


def test_a_document_that_others_make_after_that_is_not_taken_to_be_missing(scope: DataScope[Any]) -> None:
    scope.all_loaded()
    scope.told_all()
    scope.told(USER)

    assert not scope.replica(USER, USER).is_loaded


def test_a_worker_takes_nobody_to_have_no_document_when_changes_may_go_unnoticed(scope: DataScope[Any]) -> None:
    scope.knows_absent = False
    scope.all_loaded()
    scope.told_all()

    assert not scope.replica(USER, USER).is_loaded
