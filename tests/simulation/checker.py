"""Checks the design's invariants: what each side has written, had seen when it wrote it, and was told.

Each value that is written is a `Node`: at one leaf of one document, by one author, with the node that its author saw
there before (the chain of what it has seen). Whether a change of the database is right can then be said at once:

- A process may store only what it has changed itself, or what its predecessor has spilled.
- What was once overwritten by something that had seen it never comes back.
- What was acknowledged is stored, or was overwritten.
- At the end, everything is stored, or was overwritten, or has lost a conflict.

What the rules of merging allow, though it looks like a fault, is named in `fairness`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

from fairness import Fairness, is_of_another_list
from loop import Life
from mongod import Written, key
from nodes import WHOLE, Document, Node, Violation, differences, leaves_of, name_of, poisoned_in
from things import ABSENT, ELEMENT, IS_THERE, Leaves, Path
from traffic import Request

__all__ = ["Checker"]

_FOLLOWED: Final = frozenset({"user_data", "chat_data", "bot_data", "conversations", "callback_data"})


class Checker(Fairness):
    """See the module.

    Args:
        strategies: How each bot decides conflicts, by the name of the bot.
        ignored: Kinds of violations that do not count.
        stop: Called with the first violation.
    """

    def __init__(
        self, strategies: Mapping[str, str], ignored: frozenset[str], stop: Callable[[Exception], None]
    ) -> None:
        super().__init__(strategies)
        self._ignored = ignored
        self._stop = stop
        self._predecessors: dict[Life, list[Life]] = {}

    def violated(self, kind: str, text: str) -> None:
        """Notes a violation, unless its kind is ignored."""
        if kind not in self._ignored:
            self._stop(Violation(kind, text))

    def begins(self, life: Life, predecessors: Sequence[Life]) -> None:
        """A process begins, in which that of others goes on."""
        self._predecessors[life] = list(predecessors)
        self._began[life] = self.history

    def forgotten(self, life: Life) -> None:
        """A process has nothing in memory any more; what it has saved stays what it has saved."""
        for owner, document in list(self._views):
            if owner is life:
                del self._views[owner, document]

    # -- what bots do --------------------------------------------------------------------------------------

    def changed(self, life: Life, document: Document, after: Leaves, *, whole: bool = False) -> list[Node]:
        """A handler has changed its data; `whole` if it has dropped all of it.

        Returns:
            What is to be stored.
        """
        view = self._view(life, document)
        made: list[Node] = []
        for path, old, new in differences(view.leaves, after):
            node = self._node(document, path, new, life, self._seen(life, document, path))
            if node.seen is not None and node.seen.author is life:
                node.seen.next = node
            view.nodes[path] = node
            if IS_THERE in {old, new}:
                view.own.pop(path, None)
            else:
                view.own[path] = node
                made.append(node)
        if whole:
            self._dropped.add((life, document))
            view.nodes[WHOLE] = self._node(document, WHOLE, ABSENT, life, view.nodes.get(WHOLE))
        view.leaves = after
        return made

    def saw(self, life: Life, document: Document, after: Leaves, why: str) -> None:
        """Something else than a handler has changed what a process has in memory."""
        view = self._view(life, document)
        if view.leaves == after:
            return
        changes = differences(view.leaves, after)
        for path, _, new in changes:
            own = view.own.get(path)
            if own is None or self.is_resolved(own) or self._is_doubled(life, document, path, new):
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

    def withdrawn(self, life: Life, document: Document, after: Leaves) -> None:
        """A turn has failed: what it has changed, and is not stored, is taken back.

        Args:
            life: The worker.
            document: What the turn had in hand.
            after: What is in memory now.
        """
        view, now = self._view(life, document), asyncio.get_running_loop().time()
        kept: dict[Path, Node] = {}
        for path, own in [*view.own.items()]:
            if self.is_resolved(own):
                continue
            if after.get(path) == own.value:
                # What was dropped comes back with the next update only, as PTB has no object until then: if at all.
                own.lost = own.lost or own.value is ABSENT
                continue
            own.lost, own.withdrawn_at = True, now
            del view.own[path]
            before = own.seen
            if before is not None and before.next is own:
                before.next = None
            is_there = before is not None and before.author is life and after.get(path) == before.value
            if before is not None and is_there and not self.is_resolved(before):
                kept[path] = before  # which was refused, say
        if (drop := view.nodes.get(WHOLE)) is not None and drop.stored_at is None:
            drop.lost, drop.withdrawn_at = True, now
            del view.nodes[WHOLE]
        self.saw(life, document, after, "a turn that has failed")
        view.own |= kept
        view.nodes |= kept

    def acknowledged(self, life: Life, nodes: Sequence[Node], how: str) -> None:
        """A process was told that these are stored."""
        for node in nodes:
            if not self.is_resolved(node) and not self._gives_up(life, node):
                what = f"{name_of(node.document, node.path)} is {node!r}"
                self.violated("acknowledged", f"{how} of {life} has told that {what}")
            view = self._view(life, node.document)
            if view.own.get(node.path) is node:
                del view.own[node.path]

    def _followed(self, changes: Sequence[Written]) -> Iterator[tuple[Written, Document, Leaves | None]]:
        """The changes of documents that are checked, in the order of history, with what is there afterwards."""
        for change in changes:
            self.history += 1
            if change.collection in _FOLLOWED:
                yield change, (change.collection, key(change.id)), leaves_of(change.collection, change.after)

    # -- what happens in the database ----------------------------------------------------------------------

    def written(self, request: Request, changes: Sequence[Written]) -> None:
        """A bot's request has changed documents."""
        for change, document, after in self._followed(changes):
            if (bad_since := self._unreadable.get(document)) is not None:
                if self._has_read(request, document, bad_since):
                    self.violated("quarantine", f"{request} has written {document}, which cannot be read")
                if after is not None:  # it has replaced what cannot be read before it could know
                    self._made_readable(request.life, document, after)
                continue
            if after is None:
                self.violated("broken", f"{request} has made {document} unreadable: {change.after}")
                continue
            is_gone = change.after is None or "buried" in change.after
            drops = self._candidates(request.life, document, WHOLE, ABSENT, request) if is_gone else []
            # What a handler has removed from its new object is gone with all the rest, and does not come after that.
            drop = drops[0] if drops and not drops[0].superseded else None
            self._stored_by(request, document, self._leaves.get(document, {}), after, drop)
            if drops:
                self._stored[document][WHOLE] = drops[0]
                drops[0].stored_at = self.history
            self._leaves[document] = after
            self._rev_written.setdefault(document, []).append((self.history, request.life))

    def _stored_by(
        self, request: Request, document: Document, before: Leaves, after: Leaves, drop: Node | None
    ) -> None:
        stored = self._stored.setdefault(document, {})
        # What is removed comes first: what takes its place has seen the removal.
        for path, old, new in sorted(differences(before, after), key=lambda one: one[2] is not ABSENT):
            if new == IS_THERE:
                stored.pop(path, None)
            elif old == IS_THERE:
                removing = self._candidates(request.life, document, path, ABSENT, request)
                self._store(removing[0] if removing else self._unknown(document, path, request.life), request)
            elif new is not ABSENT or not is_of_another_list(path, before, after):
                self._change(request, document, path, new, drop)
            else:
                self._store(self._unknown(document, path, request.life), request)
        if after:
            stored.pop(WHOLE, None)

    def _change(self, request: Request, document: Document, path: Path, new: Hashable, drop: Node | None) -> None:
        """Whether a request may change a leaf."""
        life = request.life
        now = self._now(document, path)
        sent = f"{request} (sent at {request.sent % 1_000_000:.3f})"
        what = f"{sent} made {name_of(document, path)}, which was {now!r}, {new!r}"
        mine = self._candidates(life, document, path, new, request)
        fresh = min(
            (node for node in mine if not node.superseded), key=lambda one: one.settled is not None, default=drop
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
            there = self._stored[document].get(path)
            has_seen = node.has_seen(there) or is_drop_of_what_was_there or self._has_won(node, path, there)
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
            for node in self._candidates(request.life, document, path, int(new) - 1, request):
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
            one.author is node.author
            and one.number < node.number
            and (one.stored_at is None or (now.stored_at or 0) <= one.made_at)
            for one in drops
        ):
            return  # it had dropped all that is there, known or not, or drops it by this very write
        if now.value is not ABSENT and node.value is not ABSENT:
            self.violated("conflict", f"{what}, although others win")

    # -- what services do ----------------------------------------------------------------------------------

    def edited(self, service: str, changes: Sequence[Written]) -> None:
        """A service has changed documents; it had seen what was there."""
        for change, document, after in self._followed(changes):
            if after is None:
                self._unreadable.setdefault(document, self.history)
                self.ever_unreadable.add(document)
                continue
            if document in self._unreadable:
                self._made_readable(service, document, after, poisoned_in(change.before))
            for path, _, new in differences(self._leaves.get(document, {}), after):
                self._store(self._node(document, path, new, service, self._now(document, path)), None)
            if change.after is None:
                self._store(self._node(document, WHOLE, ABSENT, service, self._now(document, WHOLE)), None)
            else:
                self._stored.get(document, {}).pop(WHOLE, None)
            if (change.before or {}).get("rev") != (change.after or {}).get("rev"):
                self._rev_written.setdefault(document, []).append((self.history, service))
            self._leaves[document] = after

    def _made_readable(self, author: Any, document: Document, after: Leaves, removed: Collection[Path] = ()) -> None:
        """What was written into a document while it could not be read is seen now.

        Args:
            author: Who has made it readable.
            document: The document.
            after: What is there now.
            removed: What could not be read, and was removed.
        """
        del self._unreadable[document]
        for path, _, new in differences(self._leaves.get(document, {}), after):
            known = self._nodes.get((document, path), {}).get(new, ()) if path not in removed else ()
            node = known[-1] if known else self._node(document, path, new, author, self._now(document, path))
            self._store(node, None)
        self._leaves[document] = after

    # -- the end -------------------------------------------------------------------------------------------

    def unsaved_of(self, life: Life) -> list[Node]:
        """What a process has changed in all documents, and is not known to be stored."""
        return [node for (owner, _), view in self._views.items() if owner is life for node in view.own.values()]

    def ended(self, life: Life, refused: Callable[[Node], bool]) -> None:
        """All is quiet, and a process has saved everything, but for what is refused."""
        self.acknowledged(life, [node for node in self.unsaved_of(life) if not refused(node)], "the end")

    def spilled(self, life: Life, refused: Callable[[Node], bool]) -> None:
        """What a process could not save is saved by its successors, unless others have changed it meanwhile."""
        for (owner, document), view in list(self._views.items()):
            if WHOLE in view.nodes and self._others_have_changed(life, document):
                continue  # a drop loses against whatever others have changed
            for node in view.own.values() if owner is life else ():
                if not self.is_resolved(node) and node.has_seen(self._now(document, node.path)) and not refused(node):
                    self.violated(
                        "forgotten", f"{name_of(document, node.path)} is {node!r}, unsaved when it was stopped"
                    )
