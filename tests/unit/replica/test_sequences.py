"""How two sides changed a sequence: which stretches, and that the work is bounded."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.replica.sequences import Edit, Hunk, edits, hunks


def marks(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


sequences = st.text("abcd", max_size=9).map(marks)


def applied(old: list[bytes], new: list[bytes], found: list[Edit]) -> list[bytes]:
    """What edits make of a sequence."""
    result, position = [], 0
    for edit in found:
        result += old[position : edit.start] + new[edit.new_start : edit.new_end]
        position = edit.end
    return result + old[position:]


def size(found: list[Edit]) -> int:
    return sum(edit.end - edit.start + edit.new_end - edit.new_start for edit in found)


@given(sequences, sequences)
def test_edits_lead_from_one_sequence_to_the_other(old: list[bytes], new: list[bytes]) -> None:
    assert applied(old, new, edits(old, new)) == new


@given(sequences, sequences)
def test_edits_stand_apart_from_each_other(old: list[bytes], new: list[bytes]) -> None:
    for one, other in itertools.pairwise(edits(old, new)):
        assert one.end < other.start
        assert one.new_end < other.new_start


@given(sequences, sequences)
def test_there_is_no_shorter_way(old: list[bytes], new: list[bytes]) -> None:
    longest = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]  # what is common to the beginnings of both
    for row, column in itertools.product(range(len(old)), range(len(new))):
        longest[row + 1][column + 1] = (
            longest[row][column] + 1
            if old[row] == new[column]
            else max(longest[row][column + 1], longest[row + 1][column])
        )

    assert size(edits(old, new)) == len(old) + len(new) - 2 * longest[-1][-1]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("abc", "abc", []),
        ("", "", []),
        ("", "ab", [(0, 0, 0, 2)]),
        ("ab", "", [(0, 2, 0, 0)]),
        ("abc", "abcd", [(3, 3, 3, 4)]),
        ("abc", "bcd", [(0, 1, 0, 0), (3, 3, 2, 3)]),
        ("abcde", "aXcYe", [(1, 2, 1, 2), (3, 4, 3, 4)]),
        ("aaa", "aa", [(2, 3, 2, 2)]),
    ],
)
def test_the_edits_between_two_sequences_are_these(old: str, new: str, found: list[Edit]) -> None:
    assert edits(marks(old), marks(new)) == found


def test_sequences_with_little_in_common_count_as_changed_in_one_stretch() -> None:
    old = [str(number).encode() for number in range(3000)]
    shuffled = random.Random(1).sample(old, len(old))

    assert edits([b"<", *old, b">"], [b"<", *shuffled, b">"]) == [(1, 3001, 1, 3001)]


def test_a_few_edits_of_a_long_sequence_are_found_one_by_one() -> None:
    old = [str(number).encode() for number in range(3000)]
    new = [*old]
    for index in range(10, 3000, 300):
        new[index] = b"new"

    assert edits(old, new) == [(index, index + 1, index, index + 1) for index in range(10, 3000, 300)]


def test_very_many_edits_of_a_very_long_sequence_count_as_one_stretch() -> None:
    old = [str(number).encode() for number in range(60_000)]
    new = [*old]
    for index in range(100, 60_000, 200):
        new[index] = b"new"

    assert edits(old, new) == [(100, 59_901, 100, 59_901)]


# -- hunks -----------------------------------------------------------------------------------------------


def described(base: str, local: str, remote: str) -> list[tuple[str, str, str]]:
    """The hunks between three texts; a side that has not changed one has `-` there."""
    return [
        (
            base[hunk.base],
            local[hunk.local] if hunk.by_local else "-",
            remote[hunk.remote] if hunk.by_remote else "-",
        )
        for hunk in hunks(marks(base), marks(local), marks(remote))
    ]


@pytest.mark.parametrize(
    ("base", "local", "remote", "found"),
    [
        ("abc", "abc", "abc", []),
        ("abc", "aXc", "abc", [("b", "X", "-")]),
        ("abc", "aXc", "abcY", [("b", "X", "-"), ("", "-", "Y")]),
        ("abc", "abcX", "abcY", [("", "X", "Y")]),
        ("abc", "aXbc", "aYbc", [("", "X", "Y")]),
        ("abc", "aXc", "aYbc", [("", "-", "Y"), ("b", "X", "-")]),
        ("abc", "aXc", "abYc", [("b", "X", "-"), ("", "-", "Y")]),
        ("abc", "aXc", "aYc", [("b", "X", "Y")]),
        ("abcd", "aXd", "abYd", [("bc", "X", "bY")]),
        ("abcd", "ad", "abYcd", [("bc", "", "bYc")]),
        ("abcde", "aXde", "abYZ", [("bcde", "Xde", "bYZ")]),
        ("abc", "abX", "abYZ", [("c", "X", "Y"), ("", "-", "Z")]),
        ("abc", "Xbc", "aYZ", [("a", "X", "-"), ("bc", "-", "YZ")]),
        ("abcd", "cd", "bcd", [("ab", "", "b")]),
    ],
)
def test_the_stretches_that_two_sides_changed_are_these(
    base: str, local: str, remote: str, found: list[tuple[str, str, str]]
) -> None:
    assert described(base, local, remote) == found


@given(sequences, sequences, sequences)
def test_outside_the_hunks_all_three_are_the_same(base: list[bytes], local: list[bytes], remote: list[bytes]) -> None:
    found = [
        *hunks(base, local, remote),
        Hunk(*(slice(len(one), None) for one in (base, local, remote)), True, True, False),
    ]
    ends = (0, 0, 0)
    for hunk in found:
        places = hunk[:3]
        outside = [one[end : place.start] for one, end, place in zip((base, local, remote), ends, places, strict=True)]
        assert outside[0] == outside[1] == outside[2]
        ends = tuple(place.stop for place in places)


@given(sequences, sequences, sequences)
def test_a_side_that_has_not_changed_a_hunk_has_there_what_the_base_has(
    base: list[bytes], local: list[bytes], remote: list[bytes]
) -> None:
    for hunk in hunks(base, local, remote):
        assert hunk.by_local or local[hunk.local] == base[hunk.base]
        assert hunk.by_remote or remote[hunk.remote] == base[hunk.base]
        assert hunk.by_local or hunk.by_remote
