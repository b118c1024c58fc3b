"""What the checker knows: values that were written, what each process has in memory, and the leaves of documents."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mongod import key
from things import ABSENT, CODEC, Leaves, Path, flatten
from traffic import Request

from ptb_mongo.errors import DecodeError

__all__ = [
    "WHOLE",
    "Document",
    "Node",
    "View",
    "Violation",
    "at",
    "differences",
    "leaves_of",
    "name_of",
    "poisoned_in",
    "read_by",
]

Document = tuple[str, Hashable]
"""A collection, and the key of an `_id`."""

WHOLE: Final[Path] = ()
"""The path of all of a document."""


class Violation(AssertionError):  # noqa: N818  (the word that everybody uses)
    """An invariant does not hold.

    Args:
        kind: Which one, in a word.
        text: What was seen.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(eq=False, slots=True)
class Node:
    """A value that somebody has written at a leaf.

    Attributes:
        author: A process, or the name of a service.
        seen: What stood there for its author before.
        number: Grows with each node.
        made_at: How long the history was.
        since: The loop's time when it was made.
        stored_at: How long the history was when it was stored last.
        request: That has stored it.
        superseded: Whether something that had seen it has been stored.
        settled: How many requests its author had sent when it learned that it is stored; `None` before.
        lost: Whether it has lost a conflict, or is gone for another reason that is fair.
        was_missing: Whether nothing was stored there when it was made.
        next: What its author has written in its place.
        withdrawn_at: The loop's time when its author has taken it back: no request may hold it that is sent later.
    """

    document: Document
    path: Path
    value: Hashable
    author: Any
    seen: Node | None
    number: int
    made_at: int
    since: float
    stored_at: int | None = None
    request: Request | None = None
    superseded: bool = False
    settled: int | None = None
    lost: bool = False
    was_missing: bool = False
    next: Node | None = None
    withdrawn_at: float = math.inf

    def __repr__(self) -> str:
        what = "nothing" if self.value is ABSENT else self.value
        return f"{what!r} by {self.author}"

    @property
    def place(self) -> tuple[Document, Path]:
        """Where it is."""
        return self.document, self.path

    def chain(self) -> Iterator[Node]:
        """What its author had seen, directly or not."""
        node = self.seen
        while node is not None:
            yield node
            node = node.seen

    def has_seen(self, other: Node | None) -> bool:
        return other is None or other is self or any(node is other for node in self.chain())


@dataclass(eq=False)
class View:
    """What a process has in memory of one document.

    Attributes:
        nodes: By leaf; where a leaf is missing, that of the container that was removed.
        leaves: Its values.
        own: What it has changed itself, and is not known to be stored.
    """

    nodes: dict[Path, Node] = field(default_factory=dict)
    leaves: Leaves = field(default_factory=dict)
    own: dict[Path, Node] = field(default_factory=dict)


_OF_A_GRAVE: Final = frozenset({"_id", "rev", "revs", "updated_at", "buried"})
"""The fields that a deleted document keeps for a while."""


def leaves_of(collection: str, body: Mapping[str, Any] | None) -> Leaves | None:
    """The leaves of a stored document; `None` if it cannot be decoded."""
    if body is None or set(body) <= _OF_A_GRAVE:
        return {}
    try:
        if collection == "conversations":
            state = CODEC.decode(body["state"])
            return {} if state is None else {("state",): state}
        if collection == "callback_data":
            return keyboard_leaves(CODEC.decode({**body}))
        data = CODEC.decode(body["data"]) if "data" in body else {}
        return flatten(data) if type(data) is dict else None
    except (DecodeError, KeyError):
        return None


def poisoned_in(body: Mapping[str, Any] | None) -> set[Path]:
    """The paths of a stored document at which a service has planted what cannot be read."""
    data = (body or {}).get("data")
    found = data.items() if isinstance(data, Mapping) else ()
    return {(name,) for name, value in found if isinstance(value, Mapping) and value.get("_py") == "nonsense"}


def keyboard_leaves(body: Mapping[str, Any]) -> Leaves:
    if "keyboard" in body:
        return {("keyboard",): body["keyboard"]}
    objects = body["objects"]
    buttons = tuple(sorted((button, objects[index]) for button, index in body["buttons"].items()))
    return {("keyboard",): (body["accessed_at"], buttons)}


def read_by(command: Mapping[str, Any]) -> list[Document]:
    """The documents that a command reads; with the key `None`, all of a collection."""
    if "find" in command:
        return _matched(command["find"], command.get("filter", {}))
    found: list[Document] = []
    collection, pipeline = command["aggregate"], command["pipeline"]
    for stage in pipeline:
        if "$match" in stage:
            found += _matched(collection, stage["$match"])
        if "$unionWith" in stage:
            union = stage["$unionWith"]
            found += read_by({"aggregate": union["coll"], "pipeline": union["pipeline"]})
    return found or [(collection, None)]


def _matched(collection: str, query: Mapping[str, Any]) -> list[Document]:
    match query.get("_id"):
        case {"$in": ids}:
            return [(collection, key(document_id)) for document_id in ids]
        case None | {"$gte": _}:
            return [(collection, None)]
        case document_id:
            return [(collection, key(document_id))]


def name_of(document: Document, path: Path) -> str:
    return f"{document[0]} {document[1]} {'.'.join(map(str, path))}"


def at(nodes: Mapping[Path, Node], path: Path) -> Node | None:
    for length in range(len(path), -1, -1):
        node = nodes.get(path[:length])
        if node is not None and (length == len(path) or node.value is ABSENT):
            return node
    return None


def differences(before: Leaves, after: Leaves) -> list[tuple[Path, Hashable, Hashable]]:
    if before == after:
        return []
    changed = [(path, before.get(path), value) for path, value in after.items() if before.get(path) != value]
    return changed + [(path, value, ABSENT) for path, value in before.items() if path not in after]
