"""What bots and services change: mostly their own paths, some contested by all; each value only once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from history import Document, Recorder
from offline import BOT_ID
from values import CONTAINERS, Container, Keys, Value

FLAT: Final = 4
"""The user, and chat, whose document is dropped now and then: it has no dicts in it."""
PLANTED: Final = 5
"""The user whose document is put back whole, and loses dicts."""
RICH: Final = (1, 2, 3, BOT_ID)
"""Those whose documents have lists, sets and objects, from the beginning to the end."""
USERS: Final = (1, 2, 3, FLAT, PLANTED)
DOCUMENTS: Final[tuple[Document, ...]] = (
    *(("user_data", user) for user in USERS),
    *(("chat_data", user) for user in USERS),
    ("bot_data", BOT_ID),
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to be made.

    Attributes:
        path: Where; in a list or set it ends with the element.
        value: What is to be there; `None` removes. Of an element, 1.
        container: The list or set whose element this is.
    """

    path: Keys
    value: Value
    container: Container | None = None

    @property
    def is_cut(self) -> bool:
        """Whether a list is to be cut off at the front; which elements go then is not known yet."""
        return self.container is not None and self.path == self.container.path


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
        self._added: dict[tuple[Document, Keys], list[str]] = {}

    def document(self, documents: Sequence[Document] = DOCUMENTS) -> Document:
        """Where."""
        return self._chance.choice(documents)

    def edit(self, document: Document) -> Edit:
        """What."""
        if document[1] in RICH and self._chance.random() < 0.4:
            return self._rich_edit(document)
        chance = self._chance.random()
        if chance < 0.12 and self._fresh:
            return Edit(self._old(document), None)
        path = self._path(document)
        if chance < 0.2:
            return Edit(path, None)
        value = self._recorder.value()
        if path == (self._own,):
            return Edit(path, {f"k{self._chance.randrange(3)}": value, "r": self._recorder.value()})
        return Edit(path, value)

    def _rich_edit(self, document: Document) -> Edit:
        """A change of a list, a set or an object."""
        name, chance = self._name, self._chance
        if chance.random() < 0.3:
            value = self._recorder.value() if chance.random() < 0.8 else None
            return Edit(chance.choice([("o", name), ("o", "items", f"{name}k{chance.randrange(2)}")]), value)
        container = chance.choice(CONTAINERS)
        if container.kind == "list":
            is_cut = container.cutter == name and chance.random() < 0.3
            element = () if is_cut else (self._recorder.value(),)
            return Edit((*container.path, *element), 1, container)
        own = self._added.setdefault((document, container.path), [])
        if own and chance.random() < 0.25:
            return Edit((*container.path, own.pop(chance.randrange(len(own)))), None, container)
        if chance.random() < 0.6:
            element = (f"{name}e{chance.randrange(3)}",)
            return Edit((*container.path, *element), chance.choice([1, 1, None]), container)
        own.append(self._recorder.value())
        return Edit((*container.path, own[-1]), 1, container)

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
