"""Saving a part of a document's changes when the server refuses all of them together. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from ptb_mongo.replica.values import Document, Path

__all__ = ["Division", "portion"]

_MOST_TRIES: Final = 64


class Division:
    """Finds out by bisection which changed paths are refused, so that all others are saved.

    Args:
        paths: The changed paths.
        begins_empty: Whether to start by trying none of them, which keeps an earlier write from arriving.

    Attributes:
        refused: The paths that are refused; in the end, also those that were not tried because there are too many.
    """

    def __init__(self, paths: Sequence[Path], *, begins_empty: bool = False) -> None:
        self.refused: list[Path] = []
        self._left: deque[Sequence[Path]] = deque()
        self._tries = 0
        self._divide(paths)
        if begins_empty:
            self._left.appendleft(())

    @property
    def current(self) -> Sequence[Path] | None:
        """The paths to try next; `None` if all were tried."""
        return self._left[0] if self._left else None

    def was_done(self) -> None:
        """Notes that the current part was saved."""
        self._left.popleft()

    def was_refused(self) -> None:
        """Notes that the current part was refused."""
        self._tries += 1
        self._divide(self._left.popleft())
        if self._tries >= _MOST_TRIES:
            for part in self._left:
                self.refused += part
            self._left.clear()

    def _divide(self, paths: Sequence[Path]) -> None:
        if len(paths) > 1:
            half = len(paths) // 2
            self._left.extendleft((paths[half:], paths[:half]))
        else:
            self.refused += paths


def portion(base: Document, local: Document, paths: Iterable[Path]) -> Document:
    """`base` with some of the changes that lead to `local`.

    Args:
        base: A document.
        local: The document that it is to become.
        paths: The changed paths to take over; a path below something that is not a document in both takes over all of
            that.
    """
    made = dict(base)
    for path in paths:
        _take_over(made, base, local, path)
    return made


def _take_over(made: Document, base: Document, local: Document, path: Path) -> None:
    name, *rest = path
    if name not in local:
        made.pop(name, None)
        return
    before, after = base.get(name), local[name]
    if rest and type(before) is dict and type(after) is dict and type(made.get(name)) is dict:
        if made[name] is before:
            made[name] = dict(before)
        _take_over(made[name], before, after, tuple(rest))
    else:
        made[name] = after
