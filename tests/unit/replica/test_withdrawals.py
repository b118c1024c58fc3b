"""What is left to be saved of a document when a turn that had it in hand fails.

The kind: what was pending when the turn began may have been saved since, by others that had the document in hand, too.
If it becomes pending once more, it is put over what is newer, and an acknowledged change is lost.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.versions import InHand, Version
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.operations import OperationMaker

USER = 1


class Document:
    """A document of which turns, the writer and a service make something."""

    def __init__(self) -> None:
        self.scope: DataScope[Any] = DataScope("user_data", "user_data", Codec(), Counters(), new=dict)
        self._writes = OperationMaker("bot", buries=lambda: False)
        self.replica: LiveReplica
        ((self.replica, _),) = self.scope.loaded([dump({"_id": USER, "data": {"a": 0, "b": 0}, "rev": "bot:0"})])

    def stages(self, **fields: int) -> None:
        """The bot changes some fields, and offers the whole."""
        self.replica.staged(self.scope.version(self.replica, {"data": {**self.target(), **fields}}))

    def is_saved(self) -> None:
        """The server acknowledges what is pending."""
        made = self._writes.make(self.scope, self.replica, self.replica.pending, 0)
        if made is not None:
            self.replica.acknowledged(made.rev, self.scope)

    def is_edited(self, **fields: int) -> None:
        """A service, which leaves `rev` alone, changes some fields."""
        data = {**self.stored(), **fields}
        raw = dump({"_id": USER, "data": data, "rev": self.replica.rev})
        self.scope.answered([(self.replica, self.replica.reading())], [raw], lasts=True)

    def fails(self, found: InHand) -> None:
        """A turn fails that had the document in hand."""
        self.replica.withdrawn(found, self.scope)

    def target(self) -> dict[str, int]:
        return {} if self.replica.target is None else load(self.replica.target).get("data", {})

    def stored(self) -> dict[str, int]:
        return {} if self.replica.base is None else load(self.replica.base).get("data", {})


def saved(document: Document) -> None:
    document.is_saved()


def newer_saved(document: Document) -> None:
    document.is_saved()
    document.stages(a=2)
    document.is_saved()


def newer_saved_and_newest_staged(document: Document) -> None:
    newer_saved(document)
    document.stages(a=3, b=3)


def saved_together_with_newer(document: Document) -> None:
    document.stages(a=2)
    document.is_saved()


def saved_and_edited(document: Document) -> None:
    document.is_saved()
    document.is_edited(a=2)


def other_field_edited(document: Document) -> None:
    document.is_edited(b=2)


def same_field_edited(document: Document) -> None:
    document.is_edited(a=2)


def nothing(_: Document) -> None:
    pass


def changed_by_the_turn(document: Document) -> None:
    document.stages(a=2, b=2)


def changed_back_by_the_turn(document: Document) -> None:
    document.stages(a=0)


@pytest.mark.parametrize(
    ("happens", "left"),
    [
        (nothing, {"a": 1, "b": 0}),
        (changed_by_the_turn, {"a": 1, "b": 0}),
        (changed_back_by_the_turn, {"a": 1, "b": 0}),
        (other_field_edited, {"a": 1, "b": 2}),
        (same_field_edited, {"a": 1, "b": 0}),
        (saved, {"a": 1, "b": 0}),
        (saved_and_edited, {"a": 2, "b": 0}),
        (saved_together_with_newer, {"a": 2, "b": 0}),
        (newer_saved, {"a": 2, "b": 0}),
        (newer_saved_and_newest_staged, {"a": 2, "b": 0}),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_what_was_pending_when_a_turn_began_stays_so_until_it_is_stored(happens: Any, left: dict[str, int]) -> None:
    document = Document()
    document.stages(a=1)
    found = document.replica.in_hand()

    happens(document)
    document.fails(found)

    assert document.target() == left


def test_a_document_that_was_deleted_and_made_anew_since_is_not_deleted_once_more() -> None:
    document = Document()
    document.replica.staged(Version(None, None))
    found = document.replica.in_hand()
    document.is_saved()
    document.stages(a=2)
    document.is_saved()
    document.stages(a=3)

    document.fails(found)

    assert document.target() == {"a": 2}


steps = st.lists(st.sampled_from(["stage a", "stage b", "save", "take", "edit"]), min_size=5, max_size=20)


@given(steps)
@example(["stage a", "take", "save", "stage a", "save"])
def test_no_value_that_was_stored_and_overwritten_comes_back(chosen: list[str]) -> None:
    document = Document()
    found, number = document.replica.in_hand(), 0
    overwritten: set[int] = set()
    for step in [*chosen, "fail"]:
        before, number = document.stored(), number + 1
        if step == "take":
            found = document.replica.in_hand()
        elif step == "save":
            document.is_saved()
        elif step == "edit":
            document.is_edited(b=number)
        elif step == "fail":
            document.fails(found)
        else:
            document.stages(**{step[-1]: number})
        now = document.stored()
        overwritten |= {value for name, value in before.items() if now.get(name) != value} - {0}

    assert overwritten.isdisjoint(document.target().values())
