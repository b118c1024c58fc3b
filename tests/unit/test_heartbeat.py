"""When PTB's saver counts as dead, and what is reported about the data that it could not copy.

The kind of fault: silence counts as "nothing to do", although nobody is left to do anything.
"""

from __future__ import annotations

import copy
import sqlite3
import sys
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from ptb_mongo.sync.heartbeat import Heartbeat, uncopyable

ADA = ("user_data", 42)
GRACE = ("user_data", 7)
INTERVAL = 60.0
LIMIT = 2 * INTERVAL + 60


def active(heartbeat: Heartbeat, until: float, start: float = 0.0) -> None:
    """Updates of one user, one a second."""
    for second in range(int(start), int(until) + 1):
        heartbeat.gives(ADA, {}, second)


def test_a_save_is_overdue_when_updates_were_handled_for_two_intervals_and_a_minute() -> None:
    heartbeat = Heartbeat()
    active(heartbeat, until=LIMIT)
    assert heartbeat.overdue(INTERVAL) is None

    heartbeat.gives(ADA, {}, LIMIT + 1)

    assert heartbeat.overdue(INTERVAL) == LIMIT + 1


def test_none_is_overdue_where_nobody_changes_anything_any_more() -> None:
    heartbeat = Heartbeat()
    active(heartbeat, until=10)
    assert heartbeat.overdue(INTERVAL) is None


def test_none_is_overdue_while_saves_come() -> None:
    heartbeat = Heartbeat()
    for minute in range(60):
        active(heartbeat, start=60 * minute, until=60 * minute + 59)
        assert heartbeat.overdue(INTERVAL) is None
        assert heartbeat.begins()
        heartbeat.awaits()


def test_none_is_overdue_for_hours_if_the_interval_is_of_hours() -> None:
    heartbeat = Heartbeat()
    active(heartbeat, until=3 * 3600)
    assert heartbeat.overdue(2 * 3600) is None


def test_what_an_update_gets_after_a_save_has_begun_is_not_what_that_save_is_about() -> None:
    heartbeat = Heartbeat()
    heartbeat.gives(ADA, {}, 0)
    heartbeat.begins()
    heartbeat.gives(GRACE, {}, 1)
    heartbeat.awaits()

    assert heartbeat.given.keys() == {GRACE}
    assert not heartbeat.taken


def test_what_a_save_that_broke_off_has_not_handed_over_is_lost_until_it_is_handed_over() -> None:
    heartbeat = Heartbeat()
    for key in (ADA, GRACE):
        heartbeat.gives(key, {}, 0)
    heartbeat.begins()
    heartbeat.hands_over(ADA)
    heartbeat.breaks_off()
    assert heartbeat.lost.keys() == {GRACE}

    assert heartbeat.begins()
    heartbeat.awaits()
    assert heartbeat.lost.keys() == {GRACE}

    heartbeat.hands_over(GRACE)
    assert not heartbeat.lost


def test_a_save_that_begins_before_the_last_one_was_awaited_says_so() -> None:
    heartbeat = Heartbeat()
    heartbeat.gives(ADA, {}, 0)
    assert heartbeat.begins()

    assert not heartbeat.begins()

    assert heartbeat.lost.keys() == {ADA}


def test_a_save_that_was_awaited_has_not_broken_off() -> None:
    heartbeat = Heartbeat()
    heartbeat.gives(ADA, {}, 0)
    heartbeat.begins()
    heartbeat.awaits()
    heartbeat.breaks_off()

    assert not heartbeat.lost


# -- what cannot be copied -------------------------------------------------------------------------------


class Own:
    """Its own code fails, with a user's data in the text."""

    def __deepcopy__(self, _: object) -> Any:
        raise ValueError("the secret of Ada")


@dataclass(frozen=True)
class Slotted:
    """Was stored before it had its second field."""

    __slots__ = ("one", "two")
    one: int
    two: int

    def __getstate__(self) -> Any:
        return [self.one, self.two]

    def __setstate__(self, state: Any) -> None:
        for name, value in zip(("one", "two"), state, strict=False):
            object.__setattr__(self, name, value)


def old_slotted() -> Slotted:
    made = Slotted.__new__(Slotted)
    object.__setattr__(made, "one", 1)
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"lock": threading.Lock()}, "data at lock (TypeError: cannot pickle '_thread.lock' object)"),
        ({"a": {"b": {3: threading.Lock()}}}, "data at a.b.3 (TypeError: cannot pickle '_thread.lock' object)"),
        ({"a": [threading.Lock()]}, "data at a (TypeError: cannot pickle '_thread.lock' object)"),
        (threading.Lock(), "data (TypeError: cannot pickle '_thread.lock' object)"),
        ({"own": Own()}, "data at own (ValueError)"),
        ({"rows": sqlite3.connect(":memory:").cursor()}, "data at rows (TypeError: cannot pickle 'sqlite3.Cursor' obj"),
        ({"file": sys.stdout}, "data at file (TypeError: cannot pickle "),
        ({"task": (one for one in ())}, "data at task (TypeError: cannot pickle 'generator' object)"),
        ({"old": old_slotted()}, "data at old (AttributeError: "),
    ],
    ids=["lock", "deep", "in a list", "itself", "own code", "cursor", "file", "generator", "slots"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_copied_is_named_with_its_place(value: Any, expected: str) -> None:
    (found,) = uncopyable({"fine": {"a": [1, {2}]}, "data": value})

    assert found.startswith(expected)
    assert "secret" not in found


def test_what_can_be_copied_is_not_named() -> None:
    plain = {"a": {"b": [1, 2.5, "x", None, {3}, (4,)]}}
    assert list(uncopyable({"data": plain, "copy": copy.deepcopy(plain)})) == []


def test_data_that_contains_itself_ends() -> None:
    data: dict[str, Any] = {"lock": threading.Lock()}
    data["self"] = data
    data = {"self": data["self"]}

    (found,) = uncopyable({"data": data})

    assert found.startswith("data at self.")
