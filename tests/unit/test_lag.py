"""When the change stream counts as delayed: much slower than the fastest event of the last minutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.sync.lag import Lag

NOON = 1_800_000_000.0


def told(lag: Lag, took: float, now: float) -> None:
    lag.note(now - took, now)


def test_nothing_is_late_before_anything_was_told() -> None:
    assert not Lag().is_delayed(NOON)


@pytest.mark.parametrize("distance", [0.003, 0.3], ids=["near", "far away"])
def test_milliseconds_more_than_the_quickest_one_are_not_late(distance: float) -> None:
    lag = Lag()
    told(lag, distance, NOON)
    told(lag, distance + 0.009, NOON + 0.1)

    assert not lag.is_delayed(NOON + 0.1)


@pytest.mark.parametrize("clocks_differ_by", [-3600, 0, 3600])
def test_a_change_that_took_much_longer_than_the_quickest_one_is_late_for_a_second(clocks_differ_by: float) -> None:
    lag = Lag()
    told(lag, clocks_differ_by + 0.003, NOON)
    told(lag, clocks_differ_by + 0.030, NOON + 1)

    assert lag.is_delayed(NOON + 1)
    assert lag.is_delayed(NOON + 1.9)
    assert not lag.is_delayed(NOON + 2.1)


def test_the_quickest_one_of_the_minute_before_still_counts() -> None:
    lag = Lag()
    told(lag, 0.003, NOON)
    told(lag, 0.030, NOON + 61)

    assert lag.is_delayed(NOON + 61)


def test_what_was_quick_minutes_ago_is_forgotten() -> None:
    lag = Lag()
    told(lag, 0.003, NOON)
    told(lag, 0.030, NOON + 61)
    told(lag, 0.030, NOON + 122)

    assert not lag.is_delayed(NOON + 123.1)


@given(st.floats(-1e6, 1e6), st.floats(0, 30))
def test_a_clock_that_is_set_is_no_reason_to_doubt_for_longer_than_two_minutes(jump: float, since: float) -> None:
    lag = Lag()
    told(lag, 0.003, NOON)
    for second in range(125):
        now = NOON + jump + since + second
        lag.note(NOON + since + second - 0.003, now)

    assert not lag.is_delayed(now)
