"""Messages on their way between a process and the server, and what may happen to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from loop import Life
from pools import Pool, Wire

__all__ = ["STATEMENTS", "Fault", "Link", "Request"]

STATEMENTS: Final = {"update": "updates", "insert": "documents", "delete": "deletes"}
"""The commands that write, each with the name of what holds its statements."""


@dataclass(slots=True)
class Fault:
    """What happens to one request.

    Attributes:
        kind: "lose answer", "lose request", "hold", "duplicate" or "refuse".
        target: "write", "read", "stream" or "any": to the next request of that kind.
        delay: Of "hold" and "duplicate": seconds until it is delivered (once more). Of the others: seconds until the
            client learns that something is wrong.
        code: Of "refuse": the error.
    """

    kind: str
    target: str
    delay: float
    code: int = 0


@dataclass(eq=False)
class Request:
    """A command on its way.

    Attributes:
        life: Who has sent it.
        number: Which of that process's requests it is.
        sent: When.
        sent_at: How many changes of documents there were then.
        answer: What the client waits for.
        wire: The connection that it has to itself.
        fault: What happens to it.
        started: When the server has begun with it.
        is_over: Whether the server has answered.
        executed_at: How many changes of documents there were when it was executed.
        stored: What it has changed, for the checker.
    """

    life: Life
    number: int
    command: dict[str, Any]
    sent: float
    sent_at: int
    answer: asyncio.Future[dict[str, Any]]
    wire: Wire
    fault: Fault | None = None
    started: float | None = None
    is_over: bool = False
    executed_at: int = 0
    stored: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        return next(iter(self.command))

    @property
    def target(self) -> str:
        name = self.name
        if name in STATEMENTS or name == "commitTransaction":
            return "write"
        if name == "getMore" or (name == "aggregate" and self.command[name] == 1):
            return "stream"
        return "read" if name in {"find", "aggregate"} else "other"

    @property
    def inserts(self) -> list[Any]:
        """The `_id`s of the documents that it makes, if they do not exist."""
        return [one["q"]["_id"] for one in self.command.get("updates", ()) if one.get("upsert")]

    def __repr__(self) -> str:
        return f"{self.life.name}#{self.number} {self.name}"


@dataclass(eq=False)
class Link:
    """What connects one process with the server.

    Attributes:
        faults: What will happen to its requests.
        dead_until: Until when nothing is answered, and nothing that is sent arrives.
        sent: How many requests it has sent.
        failed: How many of them the client has seen fail.
        failed_at: When it has seen the last one.
        flying: Those whose answer the client waits for.
        pools: The connections of its clients.
    """

    faults: list[Fault] = field(default_factory=list)
    dead_until: float = 0.0
    sent: int = 0
    failed: int = 0
    failed_at: float = 0.0
    flying: set[Request] = field(default_factory=set)
    pools: list[Pool] = field(default_factory=list)

    def has_failed(self, at: float) -> None:
        """The client sees a request fail."""
        self.failed += 1
        self.failed_at = at

    def fault_for(self, target: str) -> Fault | None:
        for fault in self.faults:
            if fault.target == target or (fault.target == "any" and target != "stream"):
                self.faults.remove(fault)
                return fault
        return None
