"""Replicas that are made when somebody asks for them look as if they had been there all the time.

The kind of fault: one way to look into a dict knows nothing of them, and the document is taken for one that is not
loaded; or what was told of it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptb_mongo.codec import Codec, dump
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.versions import Version
from ptb_mongo.scopes.data import DataScope

Users = DataScope[Any]
USERS = range(1, 6)


def document(user: int, **data: Any) -> bytes:
    return dump({"_id": user, "data": data or {"n": user}, "rev": f"bot:{user}"})


@pytest.fixture
def users() -> Users:
    return DataScope("user_data", "user_data", Codec(), Counters(), new=dict)


@pytest.fixture
def objects(users: Users) -> dict[int, Any]:
    """The objects of a load; of user 1 and user 2 the replicas were asked for since."""
    loaded = dict(users.attached([document(user) for user in USERS]))
    users.all_loaded()
    assert users.replicas[1].id == 1
    assert users.replicas.get(2) is users.replicas[2]
    return loaded


LOOKS: list[Callable[[Any], Any]] = [
    len,
    sorted,
    bool,
    lambda replicas: sorted(replicas.keys()),
    lambda replicas: sorted(one.id for one in replicas.values()),
    lambda replicas: sorted((key, one.id) for key, one in replicas.items()),
    lambda replicas: [key in replicas for key in (1, 5, 6)],
    lambda replicas: [replicas[key].rev for key in USERS],
    lambda replicas: [getattr(replicas.get(key), "rev", None) for key in (1, 5, 6)],
    lambda replicas: [replicas.setdefault(key, LiveReplica(key)).rev for key in (1, 5)],
    lambda replicas: [replicas.pop(key).rev for key in (1, 5)],
    lambda replicas: [replicas.pop(key, "nothing") for key in (6,)],
    lambda replicas: (replicas.__delitem__(5), replicas.__delitem__(1), sorted(replicas)),
]


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_finds_what_an_ordinary_dict_holds(
    users: Users, objects: dict[int, Any], look: Callable[[Any], Any]
) -> None:
    ordinary = {user: LiveReplica(user, None) for user in objects}
    for user, one in ordinary.items():
        one.rev = f"bot:{user}"

    assert look(users.replicas) == look(ordinary)


@pytest.mark.parametrize("user", [1, 5])
def test_what_was_removed_is_gone(users: Users, objects: dict[int, Any], user: int) -> None:
    del users.replicas[user]

    assert user in objects
    assert user not in users.replicas
    with pytest.raises(KeyError):
        users.replicas[user]
    with pytest.raises(KeyError):
        del users.replicas[user]


def test_a_replica_that_is_asked_for_is_made_once(users: Users, objects: dict[int, Any]) -> None:
    first = users.replicas[5]

    assert users.replicas[5] is first
    assert first.live is objects[5]
    assert first.base == dump({"data": {"n": 5}})
    assert users.is_current(5, objects[5])


def test_only_what_is_in_use_is_looked_through_for_what_is_unsaved(users: Users, objects: dict[int, Any]) -> None:
    assert {one.id for one in users.replicas.in_use()} == {1, 2}

    assert users.stage(5, objects[5] | {"n": 6}) is users.replicas[5]
    assert [one.id for one in users.replicas.in_use() if one.is_unsaved] == [5]


TELLS: list[Callable[[Users], object]] = [
    lambda users: users.told_all(),
    lambda users: (users.told_all(), users.told_all()),
    lambda users: [users.told(user) for user in USERS],
    lambda users: [users.told(user, deleted=True) for user in USERS],
    lambda users: (users.told(5), users.told_all(), users.told(5)),
]


@pytest.mark.parametrize("tell", TELLS)
def test_what_is_told_of_a_document_holds_for_the_replica_that_is_made_later(
    users: Users, objects: dict[int, Any], tell: Callable[[Users], object]
) -> None:
    tell(users)

    assert not any(users.is_current(user, live) for user, live in objects.items())
    assert all(one.is_stale for one in users.replicas.values())
    assert len(users.replicas) == len(objects)


def test_what_is_loaded_after_that_is_up_to_date(users: Users) -> None:
    dict(users.attached([document(1)]))
    users.told_all()
    dict(users.attached([document(2)]))
    users.told_all()
    dict(users.attached([document(3)]))

    assert [users.replicas[user].is_stale for user in (1, 2, 3)] == [True, True, False]


def test_what_is_told_of_one_document_says_nothing_of_the_others(users: Users, objects: dict[int, Any]) -> None:
    users.told(5)

    assert [users.replicas[user].is_stale for user in USERS] == [False, False, False, False, True]
    assert users.is_current(4, objects[4])


def test_a_document_that_is_known_already_is_not_loaded_over(users: Users) -> None:
    with users.being_loaded():
        users.told(1)
        replica = users.replicas[1]
        replica.staged(Version({"data": {"n": 7}}, dump({"data": {"n": 7}})))
        loaded = dict(users.attached([document(1), document(2)]))

    assert users.replicas[1] is replica
    assert replica.is_stale
    assert loaded == {1: {"n": 7}, 2: {"n": 2}}


# -- objects of PTB's that are filled ---------------------------------------------------------------------


def test_an_object_that_is_filled_is_the_live_one_and_copies_of_before_are_no_change(users: Users) -> None:
    live: dict[int, Any] = {1: {}, 2: {}}

    assert users.filled_unused([document(1), document(2)], live.__getitem__) == []

    assert live == {1: {"n": 1}, 2: {"n": 2}}
    assert users.is_current(1, live[1])
    assert users.stage(1, {}) is None  # a copy that PTB made before
    assert users.stage(2, {"n": 3}) is users.replicas[2]


@pytest.mark.parametrize(
    "odd",
    [
        dump({"_id": 2, "data": {"x": {"_py": "tuple", "v": []}}}),
        dump({"_id": 2, "data": {"%i5": 1}}),
        dump({"_id": 2}),
        dump({"_id": 2, "buried": True}),
        dump({"_id": "x", "data": {}}),
        dump({"_id": 2.0, "data": {}}),
        dump({"_id": 2, "data": []}),
        b"\x0d\x00\x00\x00\x03_id\x00xx\x00",
    ],
)
def test_documents_that_are_not_of_the_usual_form_are_left_to_others(users: Users, odd: bytes) -> None:
    live: dict[int, Any] = {1: {}, 2: {}}

    assert users.filled_unused([document(1), odd], live.__getitem__)[-1:] == [odd]
    assert live[2] == {}


def test_an_object_that_is_not_empty_is_not_filled(users: Users) -> None:
    live: dict[int, Any] = {1: {"gift": 1}}

    assert users.filled_unused([document(1)], live.__getitem__) == [document(1)]
    assert live == {1: {"gift": 1}}
    assert not users.replicas


@pytest.mark.parametrize("is_told", [False, True])
def test_one_that_cannot_be_made_for_now_is_not_mistaken_for_a_document_that_does_not_exist(
    users: Users, objects: dict[int, Any], monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    def fails(*_: Any) -> Any:
        raise MemoryError

    if is_told:
        users.replicas.told_all()
    with monkeypatch.context() as patched:
        patched.setattr(users.replicas, "_make", fails)
        with pytest.raises(MemoryError):
            users.replicas[3]

    assert users.replicas[3].live is objects[3]
    assert users.replicas[3].is_stale is is_told


def shown(users: Users, user: int, n: int) -> None:
    """A load shows a document."""
    dict(users.attached([dump({"_id": user, "data": {"n": n}, "rev": "other:1"})]))


def is_told_first(users: Users, user: int) -> None:
    users.told_all()
    with users.being_loaded():
        shown(users, user, 7)


def is_told_before_it_is_shown(users: Users, user: int) -> None:
    users.told_all()
    with users.being_loaded():
        users.told(user)
        shown(users, user, 7)


def is_told_after_it_was_shown(users: Users, user: int) -> None:
    users.told_all()
    with users.being_loaded():
        shown(users, user, 7)
        users.told(user)


def is_deleted_before_it_is_shown(users: Users, user: int) -> None:
    with users.being_loaded():
        users.told(user, deleted=True)
        shown(users, user, 7)


def all_are_told_before_it_is_shown(users: Users, user: int) -> None:
    with users.being_loaded():
        users.told_all()
        shown(users, user, 7)


def is_used_before_it_is_shown(users: Users, user: int) -> None:
    users.told_all()
    with users.being_loaded():
        assert users.replicas.get(user) is not None
        shown(users, user, 7)


def is_used_and_told_before_it_is_shown(users: Users, user: int) -> None:
    with users.being_loaded():
        assert users.replicas.get(user) is not None
        users.told(user)
        shown(users, user, 7)


def is_shown_by_the_second_of_two_loads(users: Users, user: int) -> None:
    users.told_all()
    with users.being_loaded():
        users.told(user)
        with users.being_loaded():
            shown(users, user, 7)


def is_not_shown(users: Users, user: int) -> None:
    with users.being_loaded():
        users.told(user)


RELOADS = [
    is_told_first,
    is_told_before_it_is_shown,
    is_told_after_it_was_shown,
    is_deleted_before_it_is_shown,
    all_are_told_before_it_is_shown,
    is_used_before_it_is_shown,
    is_used_and_told_before_it_is_shown,
    is_shown_by_the_second_of_two_loads,
    is_not_shown,
]


@pytest.mark.parametrize("reload", RELOADS)
def test_a_later_load_tells_a_document_that_nobody_used_what_it_tells_the_others(
    users: Users, objects: dict[int, Any], reload: Callable[[Users, int], None]
) -> None:
    found = []
    for user in (1, 5):
        reload(users, user)
        replica = users.replicas[user]
        found.append((replica.is_stale, replica.base == dump({"data": {"n": 7}}), replica.rev.partition(":")[0]))
    assert found[1] == found[0]


def test_a_later_load_makes_no_replica_of_what_it_does_not_show(users: Users, objects: dict[int, Any]) -> None:
    users.told_all()
    with users.being_loaded():
        shown(users, 4, 7)
    assert {one.id for one in users.replicas.in_use()} == {1, 2, 4}
