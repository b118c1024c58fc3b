"""Places in the queues of leases: one update's place at one lease, and all leases that an update holds. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ptb_mongo.errors import PersistenceError

__all__ = ["Hold", "LeaseTicket"]


@dataclass(eq=False, slots=True)
class Hold:
    """The leases of one update.

    Attributes:
        tickets: Its places.
        is_read: Whether the protected data was read while they were held.
        lost: Set when one of them was lost.
        before_release: Awaited before they are released; `None` for nothing.
    """

    tickets: list[LeaseTicket] = field(default_factory=list)
    is_read: bool = False
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    before_release: Callable[[], Awaitable[None]] | None = None

    @property
    def lost_keys(self) -> str:
        """The lost leases, for an error."""
        return ", ".join(repr(ticket.key) for ticket in self.tickets if ticket.lost)


@dataclass(eq=False, slots=True)
class LeaseTicket:
    """One update's place in the queue of one lease.

    Attributes:
        key: The lease's `_id`.
        name: The worker's name and the number of the ticket.
        update_id: The update.
        hold: The hold that it belongs to.
        since: When it was requested or last renewed, by the loop's clock: from then on, it lasts for at least one
            period.
        told: Set when the lease was handed over, or when it is time to ask again.
        asked: Set when the server has been asked for the lease.
        held: Whether this ticket holds the lease.
        left: Milliseconds until the lease of another holder expires.
        lost: Whether this ticket held the lease, let it expire, and another one took over.
        error: Why the server refuses to change the lease.
        may_be_read: Set when the server has answered, or has probably changed the lease.
    """

    key: str
    name: str
    update_id: int
    hold: Hold
    since: float
    told: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: int = 0
    held: bool = False
    lost: bool = False
    error: PersistenceError | None = None
    may_be_read: asyncio.Event = field(default_factory=asyncio.Event)
