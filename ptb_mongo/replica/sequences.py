"""How two sides have changed a sequence, as stretches of the version that both started from: pure functions (diff3).

Elements are compared by their fingerprints. The work is proportional to the length: two sequences that have little in
common count as changed in one stretch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Edit", "Hunk", "edits", "hunks"]

_LEAST_WORK: Final = 4_000  # comparisons allowed for any length
_WORK: Final = 8  # and more for each element
_MOST_EDITED: Final = 400  # elements removed or inserted; memory grows with the square


class Edit(NamedTuple):
    """A stretch of one sequence that differs in another.

    Attributes:
        start: Its beginning in the first sequence.
        end: Its end there; an insertion ends where it begins.
        new_start: The beginning of its replacement in the second sequence.
        new_end: The end of that.
    """

    start: int
    end: int
    new_start: int
    new_end: int


class Hunk(NamedTuple):
    """A stretch of the base that at least one side has changed.

    Attributes:
        base: Its position in the base.
        local: Its replacement on the local side.
        remote: Its replacement on the remote side.
        by_local: Whether the local side has changed it.
        by_remote: Whether the remote side has changed it.
        only_removed: Whether elements were only removed from it.
    """

    base: slice
    local: slice
    remote: slice
    by_local: bool
    by_remote: bool
    only_removed: bool


def edits(old: Sequence[bytes], new: Sequence[bytes]) -> list[Edit]:
    """The shortest series of edits from one sequence to another, or nearly the shortest; no two edits touch."""
    start = _common_start(old, new)
    if start == len(old) == len(new):
        return []
    end = _common_end(old, new, min(len(old), len(new)) - start)
    inside, changed = old[start : len(old) - end], new[start : len(new) - end]
    found = _shortest(inside, changed) if inside and changed else None
    if found is None:
        found = [Edit(0, len(inside), 0, len(changed))]
    return [Edit(*(position + start for position in edit)) for edit in found]


def hunks(base: Sequence[bytes], local: Sequence[bytes], remote: Sequence[bytes]) -> Iterator[Hunk]:
    """The changed stretches of the base, in order; overlapping edits form one.

    An insertion by one side at the edge of a change by the other does not overlap it. If a side has replaced the end of
    the base with something longer, that counts as a change followed by an append.
    """
    ours, theirs = _appended_apart(edits(base, local), base), _appended_apart(edits(base, remote), base)
    pending = sorted(
        [(edit, True) for edit in ours] + [(edit, False) for edit in theirs],
        key=lambda one: (one[0].start, one[0].end),
    )
    ahead = {True: 0, False: 0}  # how much longer each side is, up to here
    index = 0
    while index < len(pending):
        start, end = pending[index][0][:2]
        grown = {True: 0, False: 0}
        by: set[bool] = set()
        only_removed = True
        while index < len(pending) and _overlap(start, end, edit := pending[index][0]):
            is_local = pending[index][1]
            grown[is_local] += edit.new_end - edit.new_start - (edit.end - edit.start)
            only_removed = only_removed and edit.new_start == edit.new_end
            by.add(is_local)
            end = max(end, edit.end)
            index += 1
        places = {side: slice(start + ahead[side], end + ahead[side] + grown[side]) for side in (True, False)}
        yield Hunk(slice(start, end), places[True], places[False], True in by, False in by, only_removed)
        for side, growth in grown.items():
            ahead[side] += growth


def _overlap(start: int, end: int, edit: Edit) -> bool:
    """Whether an edit belongs to a stretch that begins before it or together with it."""
    return edit.start < end or edit[:2] == (start, end)


def _appended_apart(found: list[Edit], base: Sequence[bytes]) -> list[Edit]:
    if not found:
        return found
    start, end, new_start, new_end = found[-1]
    if not start < end == len(base) or new_end - new_start <= end - start:
        return found
    middle = new_start + end - start
    return [*found[:-1], Edit(start, end, new_start, middle), Edit(end, end, middle, new_end)]


def _common_start(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(index for index in range(shorter) if one[index] != other[index])


def _common_end(one: Sequence[bytes], other: Sequence[bytes], most: int) -> int:
    if not most or one[-most:] == other[-most:]:
        return most
    return next(index for index in range(most) if one[-1 - index] != other[-1 - index])


def _shortest(old: Sequence[bytes], new: Sequence[bytes]) -> list[Edit] | None:
    """The shortest series of edits, after E. Myers, "An O(ND) Difference Algorithm"; `None` if it is too long."""
    before, after = len(old), len(new)
    furthest = {1: 0}  # the furthest position reached in `old`, by diagonal (old position - new position)
    steps: list[dict[int, int]] = []
    budget = _LEAST_WORK + _WORK * (before + after)
    for distance in range(min(before + after, _MOST_EDITED) + 1):
        steps.append(furthest.copy())
        budget -= 2 * distance + 1
        for diagonal in range(-distance, distance + 1, 2):
            down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
            at = start = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            while at < before and at - diagonal < after and old[at] == new[at - diagonal]:
                at += 1
            furthest[diagonal] = at
            budget -= at - start
            if at >= before and at - diagonal >= after:
                return _edits_between(_kept(steps, before, after), before, after)
        if budget < 0:
            return None
    return None


def _kept(steps: list[dict[int, int]], before: int, after: int) -> list[tuple[int, int, int]]:
    """The unchanged runs, from the last to the first: both positions, and the length."""
    kept = []
    at, to = before, after
    for distance in range(len(steps) - 1, 0, -1):
        furthest = steps[distance]
        diagonal = at - to
        down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
        previous = diagonal + 1 if down else diagonal - 1
        came_from = furthest[previous]
        start = came_from if down else came_from + 1
        if at > start:
            kept.append((start, start - diagonal, at - start))
        at, to = came_from, came_from - previous
    if at:
        kept.append((0, 0, at))
    return kept


def _edits_between(kept: list[tuple[int, int, int]], before: int, after: int) -> list[Edit]:
    found = []
    at = to = 0
    for start, new_start, length in [*reversed(kept), (before, after, 0)]:
        if (start, new_start) != (at, to):
            found.append(Edit(at, start, to, new_start))
        at, to = start + length, new_start + length
    return found
