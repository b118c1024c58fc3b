"""Checks what a `SharedApplication` promises of its turns.

- When `deliver` has returned, the update was handled, and all that it has changed is stored, or was overwritten.
- Where consistency is "strict", handlers see all that was stored when the update came.
- Where one worker at a time handles a user's updates, handlers run under a lease that nobody takes away before it
  expires, and that is not released before all is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checker import Checker
from loop import Life
from mongod import Written
from nodes import Document, Node, differences, name_of
from steps import Step
from things import IS_THERE, Leaves
from traffic import Request

if TYPE_CHECKING:
    from memory import Memory

__all__ = ["Delivery", "Posted", "Turns"]

_LEASES = "leases"


@dataclass(eq=False)
class Delivery:
    """One update that is delivered to a worker.

    Attributes:
        number: The id of the update.
        user_id: From whom it is.
        steps: What its handlers do.
        pause: Seconds between two steps.
        before: What was stored of its documents when it came, if its handlers have to see that.
        undone: How many elections had undone something then.
        came_at: How long the history was then.
        nodes: What its handlers have changed.
        runs: Whether its handlers run; `None` if they have not begun.
        ticket: Its place at the lease.
        unsaved: What was not stored when the lease was released.
        spoiled: The documents that held what cannot be stored when its handlers had run.
        once: How its worker recognizes what is done.
    """

    number: int
    user_id: int
    steps: Sequence[Step]
    pause: float
    before: Mapping[Document, Leaves] = field(default_factory=dict)
    undone: int = 0
    came_at: int = 0
    nodes: list[Node] = field(default_factory=list)
    runs: bool | None = None
    ticket: str | None = None
    unsaved: list[Node] = field(default_factory=list)
    spoiled: set[Document] = field(default_factory=set)
    once: bool | str = True


@dataclass(eq=False)
class Posted:
    """An update as Telegram has it.

    Attributes:
        number: Its id.
        user_id: From whom it is.
        steps: What its handlers do.
        pause: Seconds between two steps.
        attempts: The times that it was delivered.
        tries: How often that was tried.
        is_answered: Whether a worker has answered with 200.
    """

    number: int
    user_id: int
    steps: Sequence[Step]
    pause: float
    attempts: list[Delivery] = field(default_factory=list)
    tries: int = 0
    is_answered: bool = False


class Turns:
    """See the module.

    Args:
        checker: Knows what is stored.
    """

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._owners: dict[str, Life] = {}
        self._updates: dict[str, int] = {}
        self._granted: dict[tuple[Life, str], list[str]] = {}
        self._released: set[str] = set()
        self._holding: dict[str, Delivery] = {}

    # -- updates ------------------------------------------------------------------------------------------

    def comes(self, life: Memory, delivery: Delivery, documents: Sequence[Document]) -> None:
        """An update reaches a worker."""
        if life.options.shares != "stream":
            delivery.before = {document: self._checker.stored_leaves(document) for document in documents}
            delivery.undone = self._checker.undone
            delivery.came_at = self._checker.history

    def begins(self, life: Memory, delivery: Delivery, seen: Mapping[Document, Leaves]) -> None:
        """The handlers begin.

        Args:
            life: The worker.
            delivery: The update.
            seen: What they see of each document.
        """
        delivery.runs = True
        if delivery.undone == self._checker.undone:
            for document in delivery.before:
                if life.is_spoiled(document) or self._checker.drops(life, document):
                    continue  # nothing is merged into it
                if self._checker.comes_again and self._checker.has_ever_dropped(life, document):
                    continue  # another update that came at the same time may have left an empty object to this one
                self._check_fresh(life, document, delivery, seen[document])
        if life.options.shares == "exclusive":
            self._check_lease(life, delivery)

    def _check_fresh(self, life: Memory, document: Document, delivery: Delivery, seen: Leaves) -> None:
        now = self._checker.stored_leaves(document)
        own = {node.path[:1] for node in self._checker.unsaved(life, document)}
        for path, stored, value in differences(delivery.before[document], seen):
            if self._checker.was_stored_since(delivery.came_at, document, path, value):
                continue  # and overwritten again, before the handlers began but after they had read it
            is_known = now.get(path) == stored and path[:1] not in own and IS_THERE not in {stored, value}
            if is_known and document not in self._checker.ever_unreadable and not life.is_excluded(document, path):
                what = f"{name_of(document, path)} as {value!r}, which was {stored!r} when the update came"
                self._checker.violated("stale", f"a handler of {life} sees {what}")

    def returned(self, life: Memory, delivery: Delivery, nodes: Sequence[Node], *, is_known: bool = False) -> None:
        """`deliver` has returned.

        Args:
            life: The worker.
            delivery: The update.
            nodes: What of its changes can be stored.
            is_known: Whether all that it changes was stored when it was delivered before.
        """
        if delivery.runs is not False and not (delivery.runs is None and is_known):
            self._checker.violated("unhandled", f"deliver of {life} has returned, and no handler has run")
        if early := [node for node in delivery.unsaved if node in nodes and node.stored_at is not None]:
            self._checker.violated("lease", f"{life} has released a lease before {early} were stored")
        self._checker.acknowledged(life, nodes, "deliver")

    # -- leases -------------------------------------------------------------------------------------------

    def _check_lease(self, life: Memory, delivery: Delivery) -> None:
        granted = self._granted.get((life, f"user:{delivery.user_id}"), [])
        free = [ticket for ticket in granted if ticket not in self._holding and ticket not in self._released]
        own = [ticket for ticket in free if self._updates[ticket] == delivery.number]
        if not own:
            self._checker.violated("lease", f"{life} handles an update of {delivery.user_id} without a lease")
            return
        delivery.ticket = own[-1]
        self._holding[delivery.ticket] = delivery

    def written(self, request: Request, changes: Sequence[Written]) -> None:
        """A worker has changed documents."""
        for change in changes:
            if change.collection == _LEASES:
                self._updates.update(_tickets(request.command))
                self._lease_changed(request.life, change)

    def _lease_changed(self, life: Life, change: Written) -> None:
        before, after = change.before or {}, change.after or {}
        for place in after.get("waiting", ()):
            self._owners.setdefault(place["ticket"], life)
        old, new = before.get("holder"), after.get("holder")
        if old == new:
            return
        if new is not None:
            self._granted.setdefault((self._owners.setdefault(new, life), str(change.id)), []).append(new)
        if old is None or before["until"] <= change.at:
            return  # nobody held it any more
        if self._owners[old] is life:
            self._was_released(life, old)
        else:
            self._checker.violated("lease", f"{life} has taken the lease {change.id} from {old}, who holds it")

    def _was_released(self, life: Life, ticket: str) -> None:
        self._released.add(ticket)
        delivery = self._holding.get(ticket)
        if delivery is None:
            return
        if delivery.runs:
            self._checker.violated("lease", f"{life} has released the lease of {delivery.user_id} while a handler runs")
        delivery.unsaved = [node for node in delivery.nodes if not self._checker.is_resolved(node)]


def _tickets(command: Any) -> Iterator[tuple[str, int]]:
    """The tickets that a command asks for, each with its update."""
    if isinstance(command, dict):
        if "ticket" in command and "update_id" in command:
            yield command["ticket"], command["update_id"]
        command = list(command.values())
    if isinstance(command, list):
        for one in command:
            yield from _tickets(one)
