"""A run of PTB's tests must not look good when it is not: what fails it, and what it says."""

from pathlib import Path

import pytest
from ptb_suite.verdict import judge, read_left_out

LISTED = {"listed": "a reason"}


def test_a_run_is_good_if_all_that_is_not_listed_holds():
    verdict = judge({"one": "passed", "two": "passed", "listed": "xfailed"}, LISTED, 2)
    assert (verdict.held, verdict.problems, verdict.hints) == ({"one", "two"}, [], [])


@pytest.mark.parametrize("outcome", ["failed", "xfailed"])
def test_a_test_that_fails_and_is_not_listed_fails_the_run(outcome):
    verdict = judge({"one": "passed", "two": outcome}, {}, 1)
    assert verdict.problems == ["does not hold: two"]


def test_a_listed_test_that_takes_its_process_down_fails_the_run():
    assert judge({"listed": "failed"}, LISTED, 0).problems == ["does not hold: listed"]


def test_a_listed_test_that_does_not_exist_fails_the_run():
    assert judge({"one": "passed"}, LISTED, 1).problems == ["is on the list, and did not run: listed"]


def test_a_skipped_test_is_not_one_that_holds():
    verdict = judge({"one": "passed", "two": "skipped"}, {}, 2)
    assert verdict.problems == ["only 1 tests hold, and 2 should"]


def test_a_listed_test_that_holds_is_named_and_does_not_count():
    verdict = judge({"one": "passed", "listed": "xpassed"}, LISTED, 1)
    assert (verdict.held, verdict.problems) == ({"one"}, [])
    assert verdict.hints == ["is on the list, and holds: listed"]


def test_each_listed_test_has_the_reason_above_it():
    text = "# comment\n[reason one]\na::b\nc::d[x y]\n\n[reason two]\ne::f\n"
    assert read_left_out(text) == {"a::b": "reason one", "c::d[x y]": "reason one", "e::f": "reason two"}


@pytest.mark.parametrize(
    ("text", "error"),
    [("a::b\n[reason]\nc::d\n", "a::b: no reason"), ("[one]\na::b\n[two]\na::b\n", "a::b: it is listed twice")],
)
def test_a_list_without_a_reason_or_with_two_is_refused(text, error):
    with pytest.raises(ValueError, match=error):
        read_left_out(text)


def test_our_own_list_can_be_read():
    path = Path(__file__).parents[1] / "ptb_suite" / "left_out.txt"
    listed = read_left_out(path.read_text(encoding="utf-8"))
    assert "test_picklepersistence.py::TestPicklePersistence::test_slot_behaviour" in listed
