"""The newest keyboards and callback queries of those that are stored: as many as PTB's cache holds.

Anybody may have planted any number of them. No more than fit into the cache are kept while they are read.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterable
from typing import Any, Final

from ptb_mongo.codec import load
from ptb_mongo.errors import DecodeError

__all__ = ["Newest"]

_AHEAD: Final = 86_400.0  # seconds: no honest clock is further ahead than that

_Ranked = list[tuple[float, int, bytes]]


class Newest:
    """Picks the newest documents out of all.

    Args:
        most: How many of each kind; `None` for all.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._keyboards: _Ranked = []
        self._queries: _Ranked = []
        self._numbers = itertools.count()
        self._now = time.time()
        self.left_out = 0
        """How many were older."""

    def take(self, raws: Iterable[bytes]) -> list[bytes]:
        """Takes some of the documents; returns those that are neither keyboards nor queries."""
        others = []
        for raw in raws:
            try:
                body = load(raw)
            except DecodeError:
                others.append(raw)
                continue
            if type(accessed_at := body.get("accessed_at")) is float and math.isfinite(accessed_at):
                # One from the future is a stranger's, and must not take the place of an honest one.
                self._add(self._keyboards, accessed_at if accessed_at < self._now + _AHEAD else -math.inf, raw)
            elif "keyboard" in body and type(position := body.get("position")) is int:
                self._add(self._queries, float(position), raw)
            else:
                others.append(raw)
        return others

    def _add(self, ranked: _Ranked, rank: float, raw: bytes) -> None:
        one = (rank, next(self._numbers), raw)
        if self._most is None or len(ranked) < self._most:
            heapq.heappush(ranked, one)
        else:
            heapq.heappushpop(ranked, one)
            self.left_out += 1

    def raws(self) -> list[bytes]:
        """The newest documents."""
        found: list[tuple[Any, ...]] = [*self._keyboards, *self._queries]
        return [raw for _, _, raw in sorted(found, key=lambda one: one[1])]
