"""Checks the design's invariants: what each side has written, had seen when it wrote it, and was told.

Each value that is written is a `Node`: at one leaf of one document, by one author, with the node that its author saw
there before (the chain of what it has seen). Whether a change of the database is right can then be said at once:

- A process may store only what it has changed itself, or what its predecessor has spilled.
- What was once overwritten by something that had seen it never comes back.
- What was acknowledged is stored, or was overwritten.
- At the end, everything is stored, or was overwritten, or has lost a conflict.

What the rules of merging allow, though it looks like a fault, is named where it is let through ("fair").
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

from loop import Life
from mongod import Written, key
from nodes import WHOLE, Document, Node, View, Violation, at, differences, leaves_of, name_of, read_by
from things import ABSENT, CONTAINERS, COUNT, ELEMENT, IS_THERE, Leaves, Path
from traffic import Request

__all__ = ["Checker"]

_FOLLOWED: Final = frozenset({"user_data", "chat_data", "bot_data", "conversations", "callback_data"})


class Checker:
    """See the module.

    Args:
        strategies: How each bot decides conflicts, by the name of the bot.
        ignored: Kinds of violations that do not count.
        stop: Called with the first violation.
    """

    def __init__(
        self, strategies: Mapping[str, str], ignored: frozenset[str], stop: Callable[[Exception], None]
    ) -> None:
        self._strategies = strategies
        self._ignored = ignored
        self._stop = stop
        self._count = 0
        self._nodes: dict[tuple[Document, Path], dict[Hashable, list[Node]]] = {}
        self._stored: dict[Document, dict[Path, Node]] = {}
        self._leaves: dict[Document, Leaves] = {}
        self._absent_since: dict[tuple[Document, Path], int] = {}
        self._rev_written: dict[Document, list[tuple[int, Any]]] = {}
        self._views: dict[tuple[Life, Document], View] = {}
        self._predecessors: dict[Life, list[Life]] = {}
        self._began: dict[Life, int] = {}
        self._reads: dict[tuple[Life, Document], list[tuple[int, int]]] = {}
        self._unreadable: dict[Document, int] = {}
        self._undone: dict[Document, list[tuple[Node, set[Life]]]] = {}
        self._restored: set[tuple[Document, Path]] = set()
        self.ever_unreadable: set[Document] = set()
        """Documents whose changes were refused for a while; each refusal is told once."""
        self.history = 0
        """How many changes of documents there have been."""

    def violated(self, kind: str, text: str) -> None:
        """Notes a violation, unless its kind is ignored."""
        if kind not in self._ignored:
            self._stop(Violation(kind, text))

    def begins(self, life: Life, predecessors: Sequence[Life]) -> None:
        """A process begins, in which that of others goes on."""
        self._predecessors[life] = list(predecessors)
        self._began[life] = self.history

    # -- nodes --------------------------------------------------------------------------------------------

    def _node(self, document: Document, path: Path, value: Hashable, author: Any, seen: Node | None) -> Node:
        self._count += 1
        node = Node(document, path, value, author, seen, self._count, self.history)
        node.was_missing = path not in self._leaves.get(document, {})
        self._nodes.setdefault((document, path), {}).setdefault(value, []).append(node)
        return node

    def _now(self, document: Document, path: Path) -> Node | None:
        """What is stored at a leaf; if it is missing, what has removed it."""
        return at(self._stored.get(document, {}), path)

    def _view(self, life: Life, document: Document) -> View:
        found = self._views.get((life, document))
        if found is None:
            found = self._views[life, document] = View()
        return found

    # -- what bots do -------------------------------------------------------------------------------------

    def changed(self, life: Life, document: Document, after: Leaves, *, whole: bool = False) -> None:
        """A handler has changed its data; `whole` if it has dropped all of it."""
        view = self._view(life, document)
        for path, old, new in differences(view.leaves, after):
            node = self._node(document, path, new, life, self._seen(life, document, path))
            if node.seen is not None and node.seen.author is life:
                node.seen.next = node
            view.nodes[path] = node
            if IS_THERE in {old, new}:
                view.own.pop(path, None)
            else:
                view.own[path] = node
        if whole:
            view.nodes[WHOLE] = self._node(document, WHOLE, ABSENT, life, view.nodes.get(WHOLE))
        view.leaves = after

    def _seen(self, life: Life, document: Document, path: Path) -> Node | None:
        """What stands at a leaf for a process; where that is nothing, what has removed it."""
        node = at(self._view(life, document).nodes, path)
        if node is None and (removal := self._now(document, path)) is not None and removal.value is ABSENT:
            reads = self._reads_of(life, document)
            return removal if any(read_at >= (removal.stored_at or 0) for _, read_at in reads) else None
        return node

    def saw(self, life: Life, document: Document, after: Leaves, why: str) -> None:
        """Something else than a handler has changed what a process has in memory."""
        view = self._view(life, document)
        if view.leaves == after:
            return
        changes = differences(view.leaves, after)
        for path, _, new in changes:
            own = view.own.get(path)
            if own is None or self._is_resolved(own) or self._is_doubled(life, document, path, new):
                continue
            if not self._gives_up(life, own):
                what = f"{name_of(document, path)} was {own!r}, unsaved, and {why} made it {new!r}"
                self.violated("lost in memory", f"{life}: {what}")
        for path, _, new in changes:
            view.own.pop(path, None)
            node = self._newest(document, path, new)
            if node is not None:
                view.nodes[path] = node
            else:
                view.nodes.pop(path, None)
                if new is not ABSENT and new != IS_THERE and not self._is_doubled(life, document, path, new):
                    what = f"{name_of(document, path)} became {new!r}, which nobody has written"
                    self.violated("invented", f"{life}: {what}")
        view.leaves = after

    def _newest(self, document: Document, path: Path, value: Hashable) -> Node | None:
        known = self._nodes.get((document, path), {}).get(value, ())
        stored = [node for node in known if node.stored_at is not None]
        if stored:
            return max(stored, key=lambda node: node.stored_at or 0)
        if known:
            return known[-1]
        return self._now(document, path) if value is ABSENT else None

    def unsaved(self, life: Life, document: Document) -> list[Node]:
        """What a process has changed in a document, and is not known to be stored."""
        view = self._views.get((life, document))
        return list(view.own.values()) if view is not None else []

    def acknowledged(self, life: Life, nodes: Sequence[Node], how: str) -> None:
        """A process was told that these are stored."""
        for node in nodes:
            if not self._is_resolved(node) and not self._gives_up(life, node):
                what = f"{name_of(node.document, node.path)} is {node!r}"
                self.violated("acknowledged", f"{how} of {life} has told that {what}")
            view = self._view(life, node.document)
            if view.own.get(node.path) is node:
                del view.own[node.path]

    def _is_resolved(self, node: Node) -> bool:
        """Whether a value was stored, or overwritten by what had seen it, or has fairly lost."""
        if node.stored_at is not None or node.superseded or node.lost:
            return True
        if node.next is not None and node.next.path == node.path and self._is_resolved(node.next):
            return True
        return node.value is ABSENT and self._is_gone(node)

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

    def _others_win(self, life: Life, path: Path) -> bool:
        strategy = self._strategies.get(life.name.partition(".")[0])
        return strategy == "remote" or (strategy == "add" and path[0] == COUNT)

    def _is_conflict(self, life: Life, node: Node, other: Node) -> bool:
        if not node.has_seen(other):
            return True
        # It has removed that itself, and does not know.
        return other.value is ABSENT and other.author is life and other.settled is None

    # -- what happens in the database ---------------------------------------------------------------------

    def written(self, request: Request, changes: Sequence[Written]) -> None:
        """A bot's request has changed documents."""
        for change in changes:
            self.history += 1
            if change.collection not in _FOLLOWED:
                continue
            document = change.collection, key(change.id)
            after = leaves_of(change.collection, change.after)
            if (bad_since := self._unreadable.get(document)) is not None:
                if self._has_read(request, document, bad_since):
                    self.violated("quarantine", f"{request} has written {document}, which cannot be read")
                if after is not None:  # it has replaced what cannot be read before it could know
                    self._made_readable(request.life, document, after)
                continue
            if after is None:
                self.violated("broken", f"{request} has made {document} unreadable: {change.after}")
                continue
            self._stored_by(request, document, self._leaves.get(document, {}), after)
            is_gone = change.after is None or "buried" in change.after
            if is_gone and (dropping := self._candidates(request.life, document, WHOLE, ABSENT)):
                self._stored[document][WHOLE] = dropping[0]
                dropping[0].stored_at = self.history
            self._leaves[document] = after
            self._rev_written.setdefault(document, []).append((self.history, request.life))

    def _stored_by(self, request: Request, document: Document, before: Leaves, after: Leaves) -> None:
        stored = self._stored.setdefault(document, {})
        # What is removed comes first: what takes its place has seen the removal.
        for path, old, new in sorted(differences(before, after), key=lambda one: one[2] is not ABSENT):
            if new == IS_THERE:
                stored.pop(path, None)
            elif old == IS_THERE:
                removing = self._candidates(request.life, document, path, ABSENT)
                self._store(removing[0] if removing else self._unknown(document, path, request.life), request)
            elif new is not ABSENT or not _is_of_another_list(path, before, after):
                self._change(request, document, path, new)
            else:
                self._store(self._unknown(document, path, request.life), request)
        if after:
            stored.pop(WHOLE, None)

    def _unknown(self, document: Document, path: Path, author: Any, value: Hashable = ABSENT) -> Node:
        return self._node(document, path, value, author, self._now(document, path))

    def _change(self, request: Request, document: Document, path: Path, new: Hashable) -> None:
        """Whether a request may change a leaf."""
        life = request.life
        now = self._now(document, path)
        sent = f"{request} (sent at {request.sent % 1_000_000:.3f})"
        what = f"{sent} made {name_of(document, path)}, which was {now!r}, {new!r}"
        mine = self._candidates(life, document, path, new)
        fresh = min(
            (node for node in mine if not node.superseded), key=lambda one: one.settled is not None, default=None
        )
        if fresh is not None:
            if fresh.settled is not None and fresh.settled < request.number and fresh.path == path:
                self._doubt("again", f"{what}, which was stored and settled before", request, document, path)
            self._check_conflict(request, document, fresh, now, what)
            self._store(fresh if fresh.path == path else self._unknown(document, path, life), request)
            return
        if mine:
            if not self._is_masked(life, mine[0]) and not self._is_undone(mine[0]):
                why = f"{what}, which is older: {mine[0]!r} had been overwritten"
                self._doubt("comes back", why, request, document, path)
            self._store(mine[0], request)
            return
        spilled = [
            node
            for predecessor in self._predecessors.get(life, ())
            for node in self._candidates(predecessor, document, path, new)
        ]
        if spilled:
            node = max(spilled, key=lambda one: one.number)
            is_drop_of_what_was_there = node.path != path and now is not None and now.number < node.number
            has_seen = node.has_seen(self._stored[document].get(path)) or is_drop_of_what_was_there
            if node.superseded or not has_seen:
                self._doubt("spill", f"{what}, which {node.author} had left behind", request, document, path)
            self._store(node if node.path == path else self._unknown(document, path, life), request)
            return
        self._change_of_others(request, document, path, new, what)

    def _change_of_others(self, request: Request, document: Document, path: Path, new: Hashable, what: str) -> None:
        """A request changes what its process has never changed so."""
        kind = "removed" if new is ABSENT else "restored"
        if ELEMENT in path and new is ABSENT:
            kind = "lost element"
        elif isinstance(new, int) and new > 1:
            kind = "doubled element"
        if self._is_doubled(request.life, document, path, new):
            for node in self._candidates(request.life, document, path, int(new) - 1):
                node.lost = True  # it is there, and once more
        else:
            self._doubt(kind, f"{what}; it has never changed that", request, document, path)
        if new is not ABSENT:
            self._restored.add((document, path))
        self._store(self._unknown(document, path, request.life, new), request)

    def _doubt(self, kind: str, text: str, request: Request, document: Document, path: Path) -> None:
        if not (
            self._restores_container(request, document, path)
            or self._restores_undone(request, document, path)
            or self._restores_dropped(request, document, path)
            or self._is_late_insertion(request, document)
        ):
            self.violated(kind, text)

    def _is_late_insertion(self, request: Request, document: Document) -> bool:
        """Fair: a service has deleted a document without a mark, and an insertion was under way since before that."""
        removal = self._stored.get(document, {}).get(WHOLE)
        return (
            removal is not None
            and not isinstance(removal.author, Life)
            and (removal.stored_at or 0) > request.sent_at
            and document[1] in map(key, request.inserts)
        )

    def _restores_undone(self, request: Request, document: Document, path: Path) -> bool:
        """Fair: with an unsaved change in a container comes what the bot had read there before an election undid it."""
        undone = self._shown_and_undone(request.life, document, path)
        own = self._view(request.life, document).own.values()
        return (
            path[:1] in [(name,) for name in CONTAINERS]
            and any(node.path == path for node in undone)
            and any(node.path[:1] == path[:1] for node in own)
        )

    def _is_doubled(self, life: Life, document: Document, path: Path, value: Hashable) -> bool:
        """Fair: a document was deleted, or its making undone, and somebody has restored a list with an element in it.

        The new document does not show the writes of the old one. So the author of the element, if it does not know yet
        that it was stored, cannot see that it was, and appends it.
        """
        return (
            path[0] == "log"
            and (document, path) in self._restored
            and isinstance(value, int)
            and any(node.settled is None for node in self._candidates(life, document, path, value - 1))
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

    def _check_conflict(self, request: Request, document: Document, node: Node, now: Node | None, what: str) -> None:
        """Whether a value may be stored over another one that its author had not seen."""
        if now is None or node.has_seen(now) or now.author is request.life:
            return
        if (
            isinstance(now.author, Life)
            and now.value is not ABSENT
            and not self._has_read(request, document, now.stored_at or 0)
        ):
            self.violated("blind", f"{what}, of which {request.life} could not know")
        if not self._others_win(request.life, node.path or (None,)):
            return
        alike = self._nodes.get((document, node.path), {}).get(now.value, ())
        if any(node.has_seen(one) for one in alike):
            return  # it has seen that value, and cannot tell that it was written anew
        drops = self._nodes.get((document, WHOLE), {}).get(ABSENT, ())
        if any(
            one.author is node.author and (now.stored_at or 0) <= one.made_at and one.number < node.number
            for one in drops
        ):
            return  # it had dropped all that was there, known or not
        if now.value is not ABSENT and node.value is not ABSENT:
            self.violated("conflict", f"{what}, although others win")

    def _has_read(self, request: Request, document: Document, moment: int) -> bool:
        """Whether a process had read a version of a document, or a newer one, when it sent a request."""
        reads = self._reads_of(request.life, document)
        return any(read_at >= moment and sent < request.number for sent, read_at in reads)

    def _reads_of(self, life: Life, document: Document) -> list[tuple[int, int]]:
        """When a process has read a document: how many requests it had sent then, and how long the history was."""
        return self._reads.get((life, document), []) + self._reads.get((life, (document[0], None)), [])

    def _candidates(self, life: Life, document: Document, path: Path, value: Hashable) -> list[Node]:
        """What a process has written there that looks like this, the newest first."""
        found = [node for node in reversed(self._nodes.get((document, path), {}).get(value, ())) if node.author is life]
        if value is ABSENT:
            for length in range(len(path) - 1, -1, -1):
                above = self._nodes.get((document, path[:length]), {}).get(ABSENT, ())
                found += [node for node in reversed(above) if node.author is life]
        return found

    def _is_nothing_to(self, author: Any, node: Node) -> bool:
        """Whether a value was never stored, as far as its author can know."""
        return node.stored_at is None or self._is_masked(author, node)

    def _is_masked(self, life: Any, node: Node) -> bool:
        """Fair: its author cannot know that a value was stored if its `rev` was overwritten before it could be read."""
        if node.request is None or node.request.life is not life or node.settled is not None:
            return False
        writers = self._rev_written.get(node.document, ())
        return any(at > (node.stored_at or 0) and author is not life for at, author in writers)

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

    # -- what services do ---------------------------------------------------------------------------------

    def edited(self, service: str, changes: Sequence[Written]) -> None:
        """A service has changed documents; it had seen what was there."""
        for change in changes:
            self.history += 1
            if change.collection not in _FOLLOWED:
                continue
            document = change.collection, key(change.id)
            after = leaves_of(change.collection, change.after)
            if after is None:
                self._unreadable.setdefault(document, self.history)
                self.ever_unreadable.add(document)
                continue
            if document in self._unreadable:
                self._made_readable(service, document, after)
            for path, _, new in differences(self._leaves.get(document, {}), after):
                self._store(self._node(document, path, new, service, self._now(document, path)), None)
            if change.after is None:
                self._store(self._node(document, WHOLE, ABSENT, service, self._now(document, WHOLE)), None)
            else:
                self._stored.get(document, {}).pop(WHOLE, None)
            if (change.before or {}).get("rev") != (change.after or {}).get("rev"):
                self._rev_written.setdefault(document, []).append((self.history, service))
            self._leaves[document] = after

    def _made_readable(self, author: Any, document: Document, after: Leaves) -> None:
        """What was written into a document while it could not be read is seen now."""
        del self._unreadable[document]
        for path, _, new in differences(self._leaves.get(document, {}), after):
            known = self._nodes.get((document, path), {}).get(new, ())
            node = known[-1] if known else self._node(document, path, new, author, self._now(document, path))
            self._store(node, None)
        self._leaves[document] = after

    # -- elections ----------------------------------------------------------------------------------------

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
        for node, stored_at, request, superseded in nodes:
            node.stored_at, node.request, node.superseded = stored_at, request, superseded
        self.history = history
        for reads in self._reads.values():  # what is written from now on has not been read yet
            reads[:] = [(sent, min(read_at, history)) for sent, read_at in reads]

    def _was_shown(self, life: Life, node: Node) -> bool:
        """Whether a process has read a document since a value was stored there."""
        return any(read_at >= (node.stored_at or 0) for _, read_at in self._reads_of(life, node.document))

    # -- what bots are told -------------------------------------------------------------------------------

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

    # -- the end ------------------------------------------------------------------------------------------

    def documents_of(self, life: Life, collection: str) -> list[Document]:
        """The documents of a collection that a process has in memory."""
        return [document for owner, document in self._views if owner is life and document[0] == collection]

    def ended(self, life: Life) -> None:
        """All is quiet, and a process has saved everything."""
        for (owner, _), view in self._views.items():
            if owner is life:
                self.acknowledged(life, list(view.own.values()), "the end")

    def is_late(self, life: Life, document: Document) -> bool:
        """Fair: what is read at the start only may be written later by a predecessor, whose request was held back."""
        requests = [(node.request, node.stored_at or 0) for node in self._stored.get(document, {}).values()]
        return any(
            request is not None and request.life is not life and at > self._began[life] for request, at in requests
        )

    def _others_have_changed(self, life: Life, document: Document) -> bool:
        nodes = self._view(life, document).nodes
        stored = self._stored.get(document, {}).items()
        return any(node.author is not life and nodes.get(path) is not node for path, node in stored)

    def spilled(self, life: Life) -> None:
        """What a process could not save is saved by its successors, unless others have changed it meanwhile."""
        for (owner, document), view in list(self._views.items()):
            if WHOLE in view.nodes and self._others_have_changed(life, document):
                continue  # a drop loses against whatever others have changed
            for node in view.own.values() if owner is life else ():
                if not self._is_resolved(node) and node.has_seen(self._now(document, node.path)):
                    self.violated(
                        "forgotten", f"{name_of(document, node.path)} is {node!r}, unsaved when it was stopped"
                    )


def _is_of_another_list(path: Path, before: Leaves, after: Leaves) -> bool:
    """Fair: of two lists that have nothing in common only one can stay."""
    if path[-2:-1] != (ELEMENT,) or path[0] != "log":
        return False
    known = {place for place in before if place[:-1] == path[:-1]}
    return known.isdisjoint(place for place in after if place[:-1] == path[:-1])
