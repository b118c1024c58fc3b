"""The benchmarks' arithmetic: ratios, verdicts, and what the small form fails for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from suite import report
from suite.core import Line, Results, alternate, at_least, at_most, no_more_than, overhead, ratios, within

LINE = Line("save", "10 users", "Motor")


def test_a_ratio_is_taken_within_each_round_and_not_between_medians() -> None:
    # given a machine that is slow in one round
    times = {"ours": [1.0, 20.0, 3.0], "theirs": [2.0, 40.0, 3.0]}
    # when
    figure = LINE.compare("s", times, "ours", "theirs", at_most(0.5))
    # then
    assert ratios(times["ours"], times["theirs"]) == [0.5, 0.5, 1.0]
    assert (figure.ours, figure.theirs, figure.ratio, figure.met) == (3.0, 3.0, 0.5, True)


def test_at_least_asks_how_many_times_faster_we_are() -> None:
    figure = LINE.compare("s", {"ours": [1.0], "theirs": [15.0]}, "ours", "theirs", at_least(15))
    assert (figure.ratio, figure.met) == (15.0, True)


@pytest.mark.parametrize(
    ("target", "met", "missed", "far_off"),
    [
        (at_most(1.2), 1.2, 1.79, 1.81),
        (at_least(15), 15, 10, 9.9),
        (overhead(0.05), 1.05, 1.07, 1.08),
        (no_more_than(0), 0, None, 1),
        (no_more_than(1), 1, 1.5, 2),
        # What is known to be missed has a bound of its own.
        (at_most(1.0, 6), 1.0, 5.9, 6.1),
        (at_least(10, 4), 10, 4.1, 3.9),
        (overhead(0.05, 0.2), 1.05, 1.19, 1.21),
    ],
)
def test_a_target_is_met_or_missed_or_far_off(target, met, missed, far_off) -> None:
    assert target.met(met)
    assert not target.far_off(met)
    assert not target.met(far_off)
    assert target.far_off(far_off)
    if missed is not None:
        assert not target.met(missed)
        assert not target.far_off(missed)


def test_what_is_done_in_a_second_is_better_if_it_is_more() -> None:
    figure = LINE.compare(
        "updates/s", {"ours": [700.0], "theirs": [1000.0]}, "ours", "theirs", at_least(0.8), counts=True
    )
    assert (figure.ratio, figure.met, figure.far_off) == (0.7, False, False)


def test_a_bound_of_its_own_stands_in_the_table() -> None:
    missed = LINE.compare("s", {"ours": [5.0], "theirs": [1.0]}, "ours", "theirs", at_most(1.0, 6))
    assert report.verdict(missed) == "missed; in the small form ≤ 6"
    assert report.verdict(LINE.against(1, "B", "theirs", 2, at_most(1.0, 6))) == "met"


def test_a_time_is_missed_and_never_far_off() -> None:
    figure = LINE.counts(1000, "ms", within(20))
    assert figure.met is False
    assert not figure.far_off


def test_without_a_target_there_is_no_verdict() -> None:
    figure = LINE.against(1, "B", "theirs", 2)
    assert (figure.ratio, figure.met, figure.far_off) == (0.5, None, False)


async def test_subjects_take_turns_and_the_first_round_does_not_count() -> None:
    # given
    order = []

    def work(name: str):
        async def once() -> float:
            order.append(name)
            return float(len(order))

        return once

    # when
    times = await alternate({"a": work("a"), "b": work("b")}, rounds=2)
    # then
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert times == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


def test_a_page_keeps_what_stands_around_its_figures() -> None:
    pytest.importorskip("mongopersistence", reason='pip install ".[benchmarks]"')
    from suite.page import BEGIN, END, between_markers

    page = between_markers(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new")
    assert page == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="figures: begin"):
        between_markers("no markers", "new")


def test_figures_come_back_from_their_file_as_they_were(tmp_path) -> None:
    pytest.importorskip("rich", reason='pip install ".[benchmarks]"')
    from suite.report import dump, read

    results = Results([LINE.counts(1, "commands sent", no_more_than(0)), LINE.against(1, "B", "theirs", 2)], {"a": [1]})
    dump(tmp_path / "figures.json", results, True, {"python": "3"})
    assert read(tmp_path / "figures.json") == (results, True, {"python": "3"})
