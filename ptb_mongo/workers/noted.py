"""Which keyboards and callback queries may have changed, by their ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Noted"]


@dataclass(slots=True)
class Noted:
    """Noted changes of PTB's callback data cache.

    Attributes:
        used: The keyboards that were created, or whose buttons were used.
        queries: The callback queries that were added or dropped.
        dropped: The keyboards that may have been dropped.
        is_any: Whether any of them may have changed.
    """

    used: set[str] = field(default_factory=set)
    queries: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    is_any: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing has changed."""
        return not (self.is_any or self.used or self.queries or self.dropped)

    @property
    def has_dropped(self) -> bool:
        """Whether keyboards may have been dropped."""
        return self.is_any or bool(self.dropped)

    def add(self, used: Iterable[str] = (), queries: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        """Notes keyboards and queries that were created, used or dropped."""
        self.used.update(used)
        self.queries.update(queries)
        self.dropped.update(dropped)

    def together(self, other: Noted) -> Noted:
        """The union of both."""
        return Noted(
            self.used | other.used,
            self.queries | other.queries,
            self.dropped | other.dropped,
            self.is_any or other.is_any,
        )
