"""How two sides have changed a sequence, told by stretches of what both started from: pure functions (diff3).

Elements are compared by their fingerprints. The work is in proportion to the length: two sequences that have
little in common count as changed in one stretch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Edit", "Hunk", "edits", "hunks"]

_LEAST_WORK: Final = 4_000  # comparisons, whatever the length
_WORK: Final = 8  # and for each element
_MOST_EDITED: Final = 400  # elements that are removed or inserted; the memory grows with the square


class Edit(NamedTuple):
    """A stretch of one sequence that is something else in another.

    Attributes:
        start: Where it begins in the first.
        end: Where it ends there; an insertion ends where it begins.
        new_start: Where what stands in its place begins in the second.
        new_end: Where that ends.
    """

    start: int
    end: int
    new_start: int
    new_end: int


class Hunk(NamedTuple):
    """A stretch of the base that at least one side has changed.

    Attributes:
        base: Where it lies in the base.
        local: What stands in its place on the local side.
        remote: What stands in its place on the remote side.
        by_local: Whether the local side has changed it.
        by_remote: Whether the remote side has changed it.
        only_removed: Whether whoever has changed it has only removed elements.
    """

    base: slice
    local: slice
    remote: slice
    by_local: bool
    by_remote: bool
    only_removed: bool


def edits(old: Sequence[bytes], new: Sequence[bytes]) -> list[Edit]:
    """The shortest way from one sequence to another, or nearly that; no two edits touch."""
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
    """The stretches of the base that were changed, in order; edits that overlap make one.

    What one side has inserted at the edge of what the other has changed does not overlap it. What a side has
    put in the place of the end of the base, and is longer than that, counts as changed there and then appended.
    """
    ours, theirs = _appended_apart(edits(base, local), base), _appended_apart(edits(base, remote), base)
    pending = sorted(
        [(edit, True) for edit in ours] + [(edit, False) for edit in theirs],
        key=lambda one: (one[0].start, one[0].end),
    )
    ahead = {True: 0, False: 0}  # by how much each side is longer, up to here
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
    """Whether an edit belongs to a stretch that begins before it, or with it."""
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
    """The edits of a shortest way, after E. Myers, "An O(ND) Difference Algorithm"; `None` if it is too long."""
    before, after = len(old), len(new)
    furthest = {1: 0}  # by diagonal (old position - new position), how far one comes in `old`
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
    """The runs that stay, from the last to the first: both positions, and the length."""
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
