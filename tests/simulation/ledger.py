"""What was written, what is stored, and what each process has seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

from loop import Life
from nodes import WHOLE, Document, Node, View, at, read_by
from things import ABSENT, Leaves, Path
from traffic import Request

__all__ = ["Ledger"]


class Ledger:
    """See the module; what is right is decided by others."""

    def __init__(self) -> None:
        self._count = 0
        self._nodes: dict[tuple[Document, Path], dict[Hashable, list[Node]]] = {}
        self._stored: dict[Document, dict[Path, Node]] = {}
        self._leaves: dict[Document, Leaves] = {}
        self._absent_since: dict[tuple[Document, Path], int] = {}
        self._unreadable: dict[Document, int] = {}
        self._views: dict[tuple[Life, Document], View] = {}
        self._reads: dict[tuple[Life, Document], list[tuple[int, int]]] = {}
        self._undone: dict[Document, list[tuple[Node, set[Life]]]] = {}
        self._dropped: set[tuple[Life, Document]] = set()
        self.undone = 0
        """How many elections have undone something."""
        self.history = 0
        """How many changes of documents there have been."""

    def _node(self, document: Document, path: Path, value: Hashable, author: Any, seen: Node | None) -> Node:
        self._count += 1
        since = asyncio.get_running_loop().time()
        node = Node(document, path, value, author, seen, self._count, self.history, since)
        node.was_missing = path not in self._leaves.get(document, {})
        self._nodes.setdefault((document, path), {}).setdefault(value, []).append(node)
        return node

    def _unknown(self, document: Document, path: Path, author: Any, value: Hashable = ABSENT) -> Node:
        return self._node(document, path, value, author, self._now(document, path))

    def _now(self, document: Document, path: Path) -> Node | None:
        """What is stored at a leaf; if it is missing, what has removed it."""
        return at(self._stored.get(document, {}), path)

    def _view(self, life: Life, document: Document) -> View:
        found = self._views.get((life, document))
        if found is None:
            found = self._views[life, document] = View()
        return found

    def documents_of(self, life: Life, collection: str) -> list[Document]:
        """The documents of a collection that a process has in memory."""
        return [document for owner, document in self._views if owner is life and document[0] == collection]

    def stored_leaves(self, document: Document) -> Leaves:
        """What is stored of a document now."""
        return self._leaves.get(document, {})

    def was_stored_since(self, history: int, document: Document, path: Path, value: Hashable) -> bool:
        """Whether a value was stored at a leaf, or its lack, when the history was longer than that."""
        return any((node.stored_at or 0) > history for node in self._nodes.get((document, path), {}).get(value, ()))

    def drops(self, life: Life, document: Document) -> bool:
        """Whether a process has dropped all of a document, and that is not done yet."""
        drop = self._view(life, document).nodes.get(WHOLE)
        return drop is not None and drop.stored_at is None

    def has_ever_dropped(self, life: Life, document: Document) -> bool:
        """Whether a process has dropped all of a document, and may have taken that back."""
        return (life, document) in self._dropped

    def unsaved(self, life: Life, document: Document) -> list[Node]:
        """What a process has changed in a document, and is not known to be stored."""
        view = self._views.get((life, document))
        return list(view.own.values()) if view is not None else []

    def _seen(self, life: Life, document: Document, path: Path) -> Node | None:
        """What stands at a leaf for a process; where that is nothing, what has removed it."""
        node = at(self._view(life, document).nodes, path)
        if node is None and (removal := self._now(document, path)) is not None and removal.value is ABSENT:
            reads = self._reads_of(life, document)
            return removal if any(read_at >= (removal.stored_at or 0) for _, read_at in reads) else None
        return node

    def _newest(self, document: Document, path: Path, value: Hashable) -> Node | None:
        known = self._nodes.get((document, path), {}).get(value, ())
        stored = [node for node in known if node.stored_at is not None]
        if stored:
            return max(stored, key=lambda node: node.stored_at or 0)
        if known:
            return known[-1]
        return self._now(document, path) if value is ABSENT else None

    def _candidates(
        self, life: Life, document: Document, path: Path, value: Hashable, request: Request | None = None
    ) -> list[Node]:
        """What a process has written there that looks like this, the newest first; what a request may hold, if given.

        A request that arrives late, or once more, holds nothing that its process has changed since it was sent; nor
        anything that it had taken back before.
        """
        found = [node for node in reversed(self._nodes.get((document, path), {}).get(value, ())) if node.author is life]
        if value is ABSENT:
            for length in range(len(path) - 1, -1, -1):
                above = self._nodes.get((document, path[:length]), {}).get(ABSENT, ())
                found += [node for node in reversed(above) if node.author is life]
        return found if request is None else [one for one in found if one.since <= request.sent <= one.withdrawn_at]

    def _store(self, node: Node, request: Request | None) -> None:
        self._stored.setdefault(node.document, {})[node.path] = node
        node.stored_at = self.history
        node.request = request
        if request is not None:
            request.stored.append(node)
        if node.value is ABSENT:
            self._absent_since[node.document, node.path] = self.history
        for older in node.chain():
            if older.superseded:
                break
            older.superseded = True

    # -- what processes have read ---------------------------------------------------------------------

    def answered(self, request: Request, sent: int) -> None:
        """A process gets an answer: it knows what it has read, and that it has written.

        Args:
            request: The request.
            sent: How many requests the process has sent until now.
        """
        for node in request.stored:
            if node.settled is None and node.request is request:
                node.settled = sent
        if request.target == "read":
            for document in read_by(request.command):
                self._reads.setdefault((request.life, document), []).append((sent, request.executed_at))

    def _has_read(self, request: Request, document: Document, moment: int) -> bool:
        """Whether a process had read a version of a document, or a newer one, when it sent a request."""
        reads = self._reads_of(request.life, document)
        return any(read_at >= moment and sent < request.number for sent, read_at in reads)

    def _reads_of(self, life: Life, document: Document) -> list[tuple[int, int]]:
        """When a process has read a document: how many requests it had sent then, and how long the history was."""
        return self._reads.get((life, document), []) + self._reads.get((life, (document[0], None)), [])

    def _was_shown(self, life: Life, node: Node) -> bool:
        """Whether a process has read a document since a value was stored there."""
        return any(read_at >= (node.stored_at or 0) for _, read_at in self._reads_of(life, node.document))

    # -- elections ------------------------------------------------------------------------------------

    def known(self) -> Any:
        """What is known of the database, to go back to."""
        nodes = [node for by_value in self._nodes.values() for known in by_value.values() for node in known]
        return (
            self.history,
            {document: dict(stored) for document, stored in self._stored.items()},
            dict(self._leaves),
            dict(self._absent_since),
            dict(self._unreadable),
            [(node, node.stored_at, node.request, node.superseded) for node in nodes],
        )

    def forget(self, known: Any) -> None:
        """What was written since was undone; what others have read of it, they have read."""
        self.undone += 1
        history, self._stored, self._leaves, self._absent_since, self._unreadable, nodes = known
        for (document, _), by_value in self._nodes.items():
            for made in by_value.values():
                for node in made:
                    if node.stored_at is not None and node.stored_at > history:
                        readers = {life for life, read in self._reads if read in {document, (document[0], None)}}
                        shown = {one for one in readers if self._was_shown(one, node)}
                        self._undone.setdefault(document, []).append((node, shown))
                    node.stored_at = node.request = None
                    node.superseded = False
                    node.made_at = min(node.made_at, history)  # what is written from now on comes later
        for node, stored_at, request, superseded in nodes:
            node.stored_at, node.request, node.superseded = stored_at, request, superseded
        self.history = history
        for reads in self._reads.values():  # what is written from now on has not been read yet
            reads[:] = [(sent, min(read_at, history)) for sent, read_at in reads]
