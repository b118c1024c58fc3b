"""What bots and services change: mostly paths of their own, some that all fight for; each value but once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from history import Document, Keys, Recorder, Value
from offline import BOT_ID

FLAT: Final = 4
"""The user, and chat, whose document is dropped now and then: it has no dicts in it."""
PLANTED: Final = 5
"""The user whose document is put back whole, and loses dicts."""
USERS: Final = (1, 2, 3, FLAT, PLANTED)
DOCUMENTS: Final[tuple[Document, ...]] = (
    *(("user_data", user) for user in USERS),
    *(("chat_data", user) for user in USERS),
    ("bot_data", BOT_ID),
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to be made; the value `None` removes."""

    path: Keys
    value: Value


class Edits:
    """Thinks of changes.

    Args:
        name: Whose paths; stays the same when a process is started again.
        recorder: Gives unique values.
        chance: Decides.
    """

    def __init__(self, name: str, recorder: Recorder, chance: random.Random) -> None:
        self._name = name
        self._recorder = recorder
        self._chance = chance
        self._fresh: list[tuple[Document, Keys]] = []

    def document(self, documents: Sequence[Document] = DOCUMENTS) -> Document:
        """Where."""
        return self._chance.choice(documents)

    def edit(self, document: Document) -> Edit:
        """What."""
        chance = self._chance.random()
        if chance < 0.06 and self._fresh:
            return Edit(self._old(document), None)
        path = self._path(document)
        if chance < 0.2:
            return Edit(path, None)
        value = self._recorder.value()
        if path == (self._own,):
            return Edit(path, {f"k{self._chance.randrange(3)}": value, "r": self._recorder.value()})
        return Edit(path, value)

    @property
    def _own(self) -> str:
        return f"{self._name}o"

    def _old(self, document: Document) -> Keys:
        """A path that was written once."""
        old = [path for where, path in self._fresh if where == document]
        return self._chance.choice(old) if old else self._path(document)

    def _path(self, document: Document) -> Keys:
        name, number = self._name, self._chance.randrange(4)
        if self._chance.random() < 0.4:
            path: Keys = (self._recorder.value().replace(".", "-"),)
            if document[1] != FLAT and self._chance.random() < 0.5:
                path = ("n", *path)
            self._fresh.append((document, path))
            return path
        if document[1] == FLAT:
            return self._chance.choice([(f"{name}k{number}",), (f"{name}k{number}",), (f"s{number % 2}",)])
        second = f"g{int(time.monotonic()) % 100}"  # everybody makes this dict at the same time
        paths = [
            (f"{name}k{number}",),
            ("d", f"{name}k{number}"),
            ("d", "e", f"{name}k{number}"),
            (second, name),
            (self._own, f"k{number % 3}"),
            (self._own,),
            ("s0",),
            ("d", "s1"),
        ]
        if document[1] == PLANTED:
            paths += [("p", f"{name}k{number}"), ("p", "q", name)]
        return self._chance.choice(paths)
