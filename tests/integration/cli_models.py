"""Classes of a bot that moves from one persistence to another; in a separate module, as `--trust` requires."""

from __future__ import annotations

import enum
from collections import UserDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Level(enum.Enum):
    FREE = "free"
    GOLD = "gold"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Place(NamedTuple):
    street: str
    number: int


@dataclass
class Basket:
    items: dict[str, int] = field(default_factory=dict)
    level: Level = Level.FREE
    place: Place | None = None


@dataclass(frozen=True)
class Coin:
    value: int


class Account:
    """A class without a `repr` of its own."""

    def __init__(self, owner: str, coins: list[Coin]) -> None:
        self.owner = owner
        self.coins = coins


class Notes(UserDict):  # type: ignore[type-arg]
    """Restored by more than its attributes."""

    def __reduce__(self) -> Any:
        return Notes, (dict(self.data),)


def make_basket() -> Basket:
    return Basket()


class Names(list):  # type: ignore[type-arg]
    """A container of one's own."""

    owner: str = ""
