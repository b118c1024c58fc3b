"""A copy that waits to be encoded: nobody can tell that it has waited.

The kind of fault: something that happens to a document between the offering of a copy and its encoding, a read, an
answer, a deletion, another object, and after which the copy counts as relative to something that came later. So the
same events go to two scopes, of which one encodes at once; whatever the events, both hold the same in the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.codec import Codec, dump
from ptb_mongo.errors import DocumentError
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.offering import Offering
from ptb_mongo.sync.operations import OperationMaker

USER = 1
_INTACT = {"n": 0, "tags": ["a"]}


class Side:
    """A scope with one user, and what PTB and the server do with it.

    Args:
        waits: Whether copies wait to be encoded.
        looks: Whether those that wait are looked at when they are offered.
    """

    def __init__(self, *, waits: bool, looks: bool = True) -> None:
        self._waits, self._looks = waits, looks
        self.scope: DataScope[Any] = DataScope("user_data", "user_data", Codec(), Counters(), new=dict)
        ((_, self.live),) = self.scope.attached([self.stored(0)])
        self.scope.all_loaded()
        self.replica: LiveReplica = self.scope.replicas[USER]
        self._writes = OperationMaker("bot", lambda: False)
        self._sent: list[str] = []
        self.errors: list[str] = []
        self.offered = 0

    @staticmethod
    def stored(number: int) -> bytes:
        data = {**_INTACT, **({"remote": number} if number else {})}
        return dump({"_id": USER, "data": data, "rev": f"other:{number}"})

    def changes(self, value: Any) -> None:
        self.live["n"] = value

    def offers(self) -> None:
        made = copy.deepcopy(self.live)
        found = self.scope.offer(USER, made, may_wait=True, looks=self._looks) if self._waits else Offering.AT_ONCE
        if found is Offering.AT_ONCE:
            try:
                self.scope.stage(USER, made)
            except DocumentError as error:
                self.errors.append(str(error))
        elif found is not Offering.UNCHANGED:
            self.offered += 1

    def is_read(self, number: int) -> None:
        raws = [self.stored(number)] if number else []
        self.scope.answered([(self.replica, self.replica.reading())], raws, lasts=True)

    def is_told(self) -> None:
        self.scope.told(USER)

    def sends(self) -> None:
        if self.replica.is_unsaved:
            prepared = self._writes.make(self.scope, self.replica, self.replica.pending, 0)
            if prepared is None:
                self.replica.settled(self.replica.pending)
            else:
                self._sent.append(prepared.rev)

    def _answer(self, answer: Callable[[str], object]) -> None:
        if self._sent:
            answer(self._sent.pop(0))

    def is_acknowledged(self) -> None:
        self._answer(lambda rev: self.replica.acknowledged(rev, self.scope))

    def is_refused(self) -> None:
        self._answer(self.replica.refused)

    def is_outdated(self) -> None:
        self._answer(self.replica.outdated)

    def is_unknown(self) -> None:
        self._answer(self.replica.unknown)

    def is_refused_for_its_own_sake(self) -> None:
        if self.replica.pending is not None:
            self.replica.refused_for(DocumentError("why"), self.replica.pending)

    def is_dropped(self) -> None:
        self.scope.drop(USER)

    def gets_another_object(self) -> None:
        self.live = {"n": -1}
        self.scope.see(USER, self.live)

    def catches_up(self) -> None:
        self.scope.see(USER, self.live)
        self.scope.catch_up(USER)

    def is_loaded_again(self) -> None:
        with self.scope.being_loaded():
            list(self.scope.attached([self.stored(2)]))

    def is_left(self) -> None:
        self.scope.all_left([USER])

    def state(self) -> dict[str, Any]:
        one = self.replica
        pending = one.pending
        for found in self.scope.told_later.values():
            self.errors += map(str, found)
        self.scope.told_later.clear()
        return {
            "pending": pending and (pending.raw, pending.plain and dump(pending.plain)),
            "base": (one.base, one.rev, one.revs),
            "sent": repr(one.sent),
            "refusal": one.refusal and one.refusal.raw,
            "is": (one.is_stale, one.is_loaded, one.is_in_doubt, one.is_written, one.is_replaced),
            "view": one.view,
            "live": dump({"data": Codec().encode(self.live)}) if not self.errors else None,
            "handed out": len(one.handed_out),
            "unstorable": [str(error) for error in self.scope.unstorable.values()],
            "errors": self.errors,
        }


EVENTS: tuple[tuple[Any, ...], ...] = (
    (Side.changes, 1),
    (Side.changes, 0),
    (Side.changes, (1, 2)),
    (Side.changes, 2**70),
    (Side.changes, b"x"),
    (Side.offers,),
    (Side.offers,),
    (Side.is_read, 0),
    (Side.is_read, 1),
    (Side.is_read, 2),
    (Side.is_told,),
    (Side.sends,),
    (Side.is_acknowledged,),
    (Side.is_refused,),
    (Side.is_outdated,),
    (Side.is_unknown,),
    (Side.is_refused_for_its_own_sake,),
    (Side.is_dropped,),
    (Side.gets_another_object,),
    (Side.catches_up,),
    (Side.is_loaded_again,),
    (Side.is_left,),
)


def _played(events: list[tuple[Any, ...]], *, waits: bool, looks: bool = True) -> Side:
    side = Side(waits=waits, looks=looks)
    for what, *arguments in events:
        what(side, *arguments)
    return side


def _compare(events: list[tuple[Any, ...]]) -> Side:
    at_once = _played(events, waits=False).state()
    assert _played(events, waits=True, looks=False).state() == at_once
    waiting = _played(events, waits=True)
    assert waiting.state() == at_once
    return waiting


@given(st.lists(st.sampled_from(EVENTS), max_size=14))
def test_whatever_happens_comes_to_the_same_as_if_each_copy_were_encoded_at_once(events: list[tuple[Any, ...]]) -> None:
    _compare(events)


@pytest.mark.parametrize("second", EVENTS, ids=lambda event: " ".join(map(str, (event[0].__name__, *event[1:]))))
@pytest.mark.parametrize("first", EVENTS, ids=lambda event: " ".join(map(str, (event[0].__name__, *event[1:]))))
def test_each_two_events_find_what_was_offered_before(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    side = _compare([(Side.changes, 5), (Side.offers,), first, second])
    assert side.offered >= 1


def test_what_cannot_be_encoded_is_told_later_and_known_like_any_other() -> None:
    side = Side(waits=True)
    # A set of numbers of one hash has a fingerprint, and cannot be stored: it would take long to load them.
    side.live["n"] = ("x", {"in": {number * (2**61 - 1) for number in range(2500)}})
    side.offers()
    assert side.replica.is_offered
    assert not side.scope.unstorable

    assert side.replica.pending is None
    (errors,) = side.scope.told_later.values()
    assert [error.path for error in errors] == ["data.n.v.1.in"]
    assert side.replica in side.scope.unstorable


def test_the_object_itself_is_encoded_at_once() -> None:
    side = Side(waits=True)
    side.live["n"] = 1
    assert side.scope.offer(USER, side.live, may_wait=True) is Offering.AT_ONCE


def test_what_has_no_fingerprint_is_encoded_at_once() -> None:
    side = Side(waits=True)
    assert side.scope.offer(USER, {"n": object()}, may_wait=True) is Offering.AT_ONCE


def test_what_was_saved_is_unchanged_until_something_else_happens_to_it() -> None:
    side = Side(waits=True)
    side.changes(1)
    side.offers()
    side.sends()
    side.is_acknowledged()
    assert side.scope.offer(USER, copy.deepcopy(side.live), may_wait=True) is Offering.UNCHANGED

    side.is_read(2)
    assert side.scope.offer(USER, copy.deepcopy(side.live), may_wait=True) is not Offering.UNCHANGED


def test_a_copy_that_somebody_changes_before_it_is_encoded_is_not_mistaken_for_the_one_that_was_offered() -> None:
    side = Side(waits=True)
    made = {"n": 1}
    side.scope.offer(USER, made, may_wait=True)
    made["n"] = 2
    assert side.replica.pending is not None
    assert side.replica.pending.plain == {"data": {"n": 2}}
    assert side.scope.offer(USER, {"n": 1}, may_wait=True) is not Offering.UNCHANGED


@pytest.mark.parametrize(
    "values", [(1, True), (1, 1.0), (0.0, -0.0), ("x", b"x"), ([1], (1,)), ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
)
def test_a_change_that_python_calls_equal_is_one(values: tuple[Any, Any]) -> None:
    for before, after in (values, values[::-1]):
        side = Side(waits=True)
        for value in (before, after):
            side.changes(value)
            side.offers()
            side.sends()
            side.is_acknowledged()
        wanted = dump(Codec().encode({"data": {**_INTACT, "n": after}}))
        assert side.replica.base == wanted
