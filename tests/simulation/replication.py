"""What a majority of the servers has: only that is acknowledged and reported, and survives an election."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mongod import Mongod

__all__ = ["Replication"]


@dataclass(eq=False)
class _Written:
    """A change that only the primary has.

    Attributes:
        server: The server's state before.
        known: What the checker knew before.
        then: Called when a majority has it.
    """

    server: Any
    known: Any
    then: Callable[[], None]


class Replication:
    """See the module.

    Args:
        mongod: The primary.
        known: Gives what the checker knows, to go back to.
        forget: Makes it go back to that.

    Attributes:
        delay: Seconds until a majority has a change.
    """

    def __init__(self, mongod: Mongod, known: Callable[[], Any], forget: Callable[[Any], None]) -> None:
        self._mongod = mongod
        self._known = known
        self._forget = forget
        self._pending: list[_Written] = []
        self.delay = 0.002

    def keep(self) -> tuple[Any, Any]:
        """What is now, to go back to."""
        return self._mongod.snapshot(), self._known()

    def written(self, kept: tuple[Any, Any], then: Callable[[], None]) -> _Written:
        """The primary has changed something since."""
        made = _Written(*kept, then)
        self._pending.append(made)
        self._tell()
        return made

    def _tell(self) -> None:
        self._mongod.tell_up_to(self._pending[0].server.oplog_length if self._pending else None)

    def commit(self, written: _Written) -> bool:
        """A majority has a change, and all before; whether it was not undone meanwhile."""
        if written not in self._pending:
            return False
        number = self._pending.index(written) + 1
        done, self._pending = self._pending[:number], self._pending[number:]
        self._tell()
        for one in done:
            one.then()
        return True

    def roll_back(self) -> None:
        """Undoes what a majority has not got; nobody is told."""
        if self._pending:
            first = self._pending[0]
            self._pending.clear()
            self._mongod.restore(first.server)
            self._forget(first.known)
