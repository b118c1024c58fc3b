"""Saving a part of what has changed in a document, when the server refuses all of it together. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from ptb_mongo.replica.values import Document, Path

__all__ = ["Division", "portion"]

_MOST_TRIES: Final = 64


class Division:
    """Finds out which changed paths are refused, by halves, so that all others are saved.

    Args:
        paths: The changed paths.
        begins_empty: Whether to try none of them at first: that keeps an earlier write from arriving.

    Attributes:
        refused: Those that are refused; in the end, also those that were never tried because there are too many.
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
        """What to try next; `None` if everything was tried."""
        return self._left[0] if self._left else None

    def was_done(self) -> None:
        """The current part was saved."""
        self._left.popleft()

    def was_refused(self) -> None:
        """The current part was refused."""
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
    """What `base` is with some of the changes that lead to `local`.

    Args:
        base: A document.
        local: What it is to become.
        paths: The changed paths that are wanted; below something that is no document in both, all of that is.
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
