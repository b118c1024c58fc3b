"""The newest stored keyboards and callback queries: as many as fit into PTB's cache.

Anybody may have planted any number of them. While reading, no more are kept than fit into the cache.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from ptb_mongo.codec import load
from ptb_mongo.replica.values import Document

__all__ = ["HORIZON", "Newest"]

HORIZON: Final = 300.0  # seconds: no honest clock is further ahead

_Ranked = list[tuple[float, int, bytes]]


class Newest:
    """Picks the newest documents.

    Args:
        most: How many of each kind; `None` for all.
        has_form: Tells whether a document has the form of a keyboard or a query; no other one takes the place of one.
    """

    def __init__(self, most: int | None, has_form: Callable[[Document], bool]) -> None:
        self._most = most
        self._has_form = has_form
        self._keyboards: _Ranked = []
        self._queries: _Ranked = []
        self._numbers = itertools.count()
        self.now = time.time()
        self.left_out = 0
        """How many were older."""

    def take(self, raws: Iterable[bytes]) -> list[bytes]:
        """Takes some of the documents; returns those that are neither keyboards nor queries."""
        others = []
        for raw in raws:
            try:
                body = load(raw)
                has_form = self._has_form(body)
            except Exception:  # noqa: BLE001  (whatever it is, it is this document's own trouble)
                has_form = False
            if not has_form:
                others.append(raw)
            elif "keyboard" in body:
                self._add(self._queries, body["position"] / 1000, raw)  # the first one's is a time, in milliseconds
            else:
                self._add(self._keyboards, body["accessed_at"], raw)
        return others

    def _add(self, ranked: _Ranked, at: float, raw: bytes) -> None:
        # One from the future comes from a stranger, and must not take the place of an honest one.
        one = (at if at < self.now + HORIZON else -math.inf, next(self._numbers), raw)
        if self._most is None or len(ranked) < self._most:
            heapq.heappush(ranked, one)
        else:
            heapq.heappushpop(ranked, one)
            self.left_out += 1

    def is_full(self, *, queries: bool) -> bool:
        """Whether the number of keyboards, or of queries, has reached the limit."""
        return len(self._queries if queries else self._keyboards) == self._most

    def raws(self) -> list[bytes]:
        """The newest documents."""
        found: list[tuple[Any, ...]] = [*self._keyboards, *self._queries]
        return [raw for _, _, raw in sorted(found, key=lambda one: one[1])]
