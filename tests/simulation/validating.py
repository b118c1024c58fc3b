"""Rules of collections, as a validator makes them: a document with a certain value at a certain path is refused.

As with `validationLevel: "moderate"`, a document that breaks a rule already may be changed further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nodes import Document
from things import Path

__all__ = ["PATHS", "Rule", "Rules"]

PATHS: Final[Mapping[str, tuple[Path, Path]]] = {
    "a": (("a",), ("a",)),
    "b": (("b",), ("b",)),
    "c.d": (("c.d",), ("c%2Ed",)),
    "n": (("n", "x"), ("n", "x")),
    "basket": (("basket", "total"), ("basket", "state", "total")),
}
"""By the key at the top: a path for which there may be a rule, in memory and as it is stored in `data`."""


@dataclass(frozen=True)
class Rule:
    """What is refused: values of bots, whose tokens begin with "v".

    Attributes:
        collection: Of which documents.
        name: The key in `PATHS`.
        parity: Of the numbers in the values that are refused; `None` for all.
        until: When it ends.
    """

    collection: str
    name: str
    parity: int | None
    until: float

    def is_broken(self, document: Mapping[str, Any] | None) -> bool:
        """Whether a document holds such a value."""
        value: Any = (document or {}).get("data")
        for part in PATHS[self.name][1]:
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value.startswith("v"):
            return False
        number = int("".join(filter(str.isdecimal, value)))
        return self.parity is None or number % 2 == self.parity

    def covers(self, document: Document, path: Path) -> bool:
        """Whether a leaf may be refused because of it: what is made anew is refused together."""
        return document[0] == self.collection and path[:1] == PATHS[self.name][0][:1]


class Rules:
    """All rules of a database.

    Attributes:
        all: Those that there ever were.
    """

    def __init__(self) -> None:
        self.all: list[Rule] = []
        self._now: list[Rule] = []

    def begin(self, rule: Rule) -> None:
        """There is a new rule."""
        self.all.append(rule)
        self._now.append(rule)

    def end(self) -> None:
        """Only what has no end lasts."""
        self._now = [rule for rule in self._now if rule.until == float("inf")]

    @property
    def are_lasting(self) -> bool:
        """Whether there are rules now."""
        return bool(self._now)

    def refuse_for_good(self, document: Document, stored: Mapping[str, Any] | None) -> bool:
        """Whether a document with this content is refused to the end."""
        lasting = [rule for rule in self._now if rule.until == float("inf")]
        return any(rule.collection == document[0] and rule.is_broken(stored) for rule in lasting)

    def refuse(self, collection: str, before: Any, after: Any, now: float) -> bool:
        """Whether a new version of a document is refused."""
        return any(
            rule.collection == collection and now < rule.until and rule.is_broken(after) and not rule.is_broken(before)
            for rule in self._now
        )

    def may_have_refused(self, document: Document, path: Path) -> bool:
        """Whether a change of a leaf may have been refused because of a rule."""
        return any(rule.covers(document, path) for rule in self.all)

    def may_refuse(self, document: Document, path: Path) -> bool:
        """Whether that may be so now."""
        return any(rule.covers(document, path) for rule in self._now)
