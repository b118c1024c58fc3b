"""The turns of one worker that hold leases, or have lost them and are not over yet.

A handler that loses its lease continues, and its changes are in the objects that this worker's next turn of the same
user would use and save. So that turn waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ptb_mongo.errors import LeaseError
from ptb_mongo.waiting import wait_at_most
from ptb_mongo.workers.turn import Turn

__all__ = ["Holders"]


class Holders:
    """The turns of one worker that have leases.

    Args:
        patience: Seconds for which one turn waits for another.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._turns: dict[str, Turn] = {}

    async def follow(self, turn: Turn, keys: Collection[str]) -> None:
        """Waits, after a turn has received leases, until this worker's turns that have lost them are over.

        Of one that does not come again, nothing is taken back: it is waited for no longer than that. Otherwise an
        update of PTB's own updater, which does not come again either, would never be handled.

        Raises:
            LeaseError: If one that comes again takes too long.
        """
        for key in keys:
            while (before := self._turns.get(key)) is not None and not before.is_over:
                turn.is_read = False  # what that one withdraws must be read once more
                try:
                    await wait_at_most(self._patience, before.over.wait())
                except asyncio.TimeoutError as error:
                    if not before.comes_again:
                        break
                    raise LeaseError(
                        f"a handler of this worker has lost the lease {key!r}, and is still running after "
                        f"{self._patience:g} s"
                    ) from error
        self._turns.update(dict.fromkeys(keys, turn))

    def leave(self, turn: Turn, keys: Collection[str]) -> None:
        """Notes that a turn is over, and releases its leases."""
        for key in keys:
            if self._turns.get(key) is turn:
                del self._turns[key]
