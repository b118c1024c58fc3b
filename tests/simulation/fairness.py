"""Exactly what the rules of merging allow although it looks like a fault."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ledger import Ledger
from loop import Life
from mongod import key
from nodes import WHOLE, Document, Node
from things import ABSENT, CONTAINERS, COUNT, ELEMENT, Leaves, Path
from traffic import Request

__all__ = ["Fairness", "is_of_another_list"]


class Fairness(Ledger):
    """Says whether a change that is missing, or too much, is fair.

    Args:
        strategies: How each bot decides conflicts, by the name of the bot.
    """

    def __init__(self, strategies: Mapping[str, str]) -> None:
        super().__init__()
        self._strategies = strategies
        self._began: dict[Life, int] = {}
        self._restored: set[tuple[Document, Path]] = set()
        self._rev_written: dict[Document, list[tuple[int, Any]]] = {}
        self.comes_again = False
        """Whether updates come again, and write the same once more."""
        self.ever_unreadable: set[Document] = set()
        """Documents whose changes were refused for a while; each refusal is told once."""

    # -- what is missing ------------------------------------------------------------------------------

    def is_resolved(self, node: Node) -> bool:
        """Whether a value was stored, or overwritten by what had seen it, or has fairly lost."""
        if node.stored_at is not None or node.superseded or node.lost:
            return True
        if node.next is not None and node.next.path == node.path and self.is_resolved(node.next):
            return True
        if node.value is ABSENT:
            return self._is_gone(node)
        # What comes again finds what was stored when it came before. Or somebody who had read it before an election has
        # undone it has restored it.
        may_be_there = self.comes_again or node.document in self._undone
        return may_be_there and self._leaves.get(node.document, {}).get(node.path) == node.value

    def _is_gone(self, node: Node) -> bool:
        """Whether what was to be removed has been missing since, or was nothing but what its author had just made."""
        if node.path not in self._leaves.get(node.document, {}) or node.was_missing:
            return True
        if self._absent_since.get((node.document, node.path), -1) > node.made_at:
            return True
        older = node.seen
        while older is not None and older.author is node.author and self._is_nothing_to(older.author, older):
            if older.value is ABSENT and self._is_gone(older):
                return True
            older = older.seen
        return older is None or older.value is ABSENT

    def _is_nothing_to(self, author: Any, node: Node) -> bool:
        """Whether a value was never stored, as far as its author can know."""
        return node.stored_at is None or self._is_masked(author, node)

    def _is_masked(self, life: Any, node: Node) -> bool:
        """Fair: its author cannot know that a value was stored if its `rev` was overwritten before it could be read."""
        if node.request is None or node.request.life is not life or node.settled is not None:
            return False
        writers = self._rev_written.get(node.document, ())
        return any(at > (node.stored_at or 0) and author is not life for at, author in writers)

    def _gives_up(self, life: Life, node: Node) -> bool:
        """Whether a process may give up a change: where others win conflicts, and somebody else has changed it."""
        document, path = node.document, node.path
        undone = self._shown_and_undone(life, document, path)
        had_come_true = any(one.value == node.value and one.path == path[: len(one.path)] for one in undone)
        if document not in self.ever_unreadable and not had_come_true:
            if not self._others_win(life, path):
                return False
            view = self._view(life, document)
            others = [self._now(document, path[:length]) for length in range(len(path) + 1)]
            if path[0] in CONTAINERS:  # which is kept, or given up, as a whole
                inside = self._stored.get(document, {}).items()
                others += [one for place, one in inside if place[:1] == path[:1] and view.nodes.get(place) is not one]
            if not undone and not any(other is not None and self._is_conflict(life, node, other) for other in others):
                return False
        node.lost = True
        return True

    def _others_win(self, life: Life, path: Path) -> bool:
        if path[0] in {"state", "keyboard"}:
            return False
        strategy = self._strategies.get(life.name.partition(".")[0])
        return strategy == "remote" or (strategy == "add" and path[0] == COUNT)

    def _is_conflict(self, life: Life, node: Node, other: Node) -> bool:
        if not node.has_seen(other):
            return True
        # It has removed that itself, and does not know.
        return other.value is ABSENT and other.author is life and other.settled is None

    def _is_undone(self, node: Node) -> bool:
        """Fair: its author stores again what an election has undone, whoever had seen it and written since."""
        return node.stored_at is None and any(node is one for one, _ in self._undone.get(node.document, ()))

    def _shown_and_undone(self, life: Life, document: Document, path: Path) -> list[Node]:
        """Fair: what an election has undone had won a conflict, or was just what was to be stored.

        Whoever had read it could not know.
        """
        is_kept_whole = bool(path) and path[0] in CONTAINERS
        return [
            node
            for node, readers in self._undone.get(document, ())
            if life in readers
            and (node.path == path[: len(node.path)] or (is_kept_whole and node.path[:1] == path[:1]))
        ]

    def _others_have_changed(self, life: Life, document: Document) -> bool:
        nodes = self._view(life, document).nodes
        stored = self._stored.get(document, {}).items()
        return any(node.author is not life and nodes.get(path) is not node for path, node in stored)

    # -- what is too much -----------------------------------------------------------------------------

    def _is_late_insertion(self, request: Request, document: Document) -> bool:
        """Fair: a service has deleted a document without a mark, and an insertion was under way since before that."""
        removal = self._stored.get(document, {}).get(WHOLE)
        return (
            removal is not None
            and not isinstance(removal.author, Life)
            and (removal.stored_at or 0) > request.sent_at
            and document[1] in map(key, request.inserts)
        )

    def _has_won(self, node: Node, path: Path, there: Node | None) -> bool:
        """Fair: while its author lived, it read what is there, and decided that its own value stays.

        It could not save that, as its value was refused, say; but the conflict is over, and is not decided anew. A read
        of all documents does not count: on a running bot, it brings copies, and decides nothing.
        """
        life = node.author
        if there is None or node.path != path or self._others_win(life, path):
            return False
        return any(read_at >= (there.stored_at or 0) for _, read_at in self._reads.get((life, node.document), ()))

    def _restores_undone(self, request: Request, document: Document, path: Path) -> bool:
        """Fair: with an unsaved change in a container comes what the bot had read there before an election undid it."""
        undone = self._shown_and_undone(request.life, document, path)
        own = self._view(request.life, document).own.values()
        return (
            path[:1] in [(name,) for name in CONTAINERS]
            and any(node.path == path for node in undone)
            and any(node.path[:1] == path[:1] for node in own)
        )

    def _restores_dropped(self, request: Request, document: Document, path: Path) -> bool:
        """Fair: a drop has removed from the database what a refresh has brought into the new object before."""
        now = self._now(document, path)
        view = self._view(request.life, document)
        return (
            now is not None
            and now.value is ABSENT
            and now.author is request.life
            and WHOLE in view.nodes
            and path in view.leaves
            and view.nodes.get(path) is not now
        )

    def _restores_container(self, request: Request, document: Document, path: Path) -> bool:
        """Fair: others have removed a container in which the bot has an unsaved change, so that it stays as it was."""
        if not path or path[0] not in CONTAINERS:
            return False
        removed = [
            node
            for prefix in (path[:length] for length in range(len(path)))
            for node in self._nodes.get((document, prefix), {}).get(ABSENT, ())
            if node.stored_at is not None and node.author is not request.life
        ]
        if not removed:
            return False
        view = self._view(request.life, document)
        return any(
            node.path[0] == path[0] and any(not node.has_seen(one) for one in removed)
            for nodes in (view.own.values(), view.nodes.values())
            for node in nodes
            if node.path and node.author is request.life
        )

    def _is_doubled(self, life: Life, document: Document, path: Path, value: Hashable) -> bool:
        """Fair: a document was deleted, or its making undone, and somebody has restored a list with an element in it.

        The new document does not show the writes of the old one. So the author of the element, if it does not know yet
        that it was stored, cannot see that it was, and appends it. Or an update came again that counts, and of which it
        is not known that it was stored before.
        """
        if self.comes_again and path[0] == COUNT and isinstance(value, int):
            return bool(self._candidates(life, document, path, value - 1))
        return (
            path[0] == "log"
            and (document, path) in self._restored
            and isinstance(value, int)
            and any(node.settled is None for node in self._candidates(life, document, path, value - 1))
        )

    def is_late(self, life: Life, document: Document) -> bool:
        """Fair: what is read at the start only may be written later by a predecessor, whose request was held back."""
        requests = [(node.request, node.stored_at or 0) for node in self._stored.get(document, {}).values()]
        return any(
            request is not None and request.life is not life and at > self._began[life] for request, at in requests
        )


def is_of_another_list(path: Path, before: Leaves, after: Leaves) -> bool:
    """Fair: of two lists that have nothing in common only one can stay."""
    if path[-2:-1] != (ELEMENT,) or path[0] != "log":
        return False
    known = {place for place in before if place[:-1] == path[:-1]}
    return known.isdisjoint(place for place in after if place[:-1] == path[:-1])
