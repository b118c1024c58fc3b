"""Which turns of one worker hold leases, or have lost them and are not over yet.

A handler that loses its lease goes on, and what it changes lies in the objects that this worker's next turn of the same
user works with, and would save. So that one waits for it.
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
        patience: Seconds for which one waits for another.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._turns: dict[str, Turn] = {}

    async def follow(self, turn: Turn, keys: Collection[str]) -> None:
        """A turn has been given leases: waits until others of this worker are over that have lost them.

        Of one that does not come again, nothing is taken back: it is waited for no longer than that. Otherwise an
        update of PTB's own updater, which does not come again either, would never be handled.

        Raises:
            LeaseError: If one that comes again takes too long.
        """
        for key in keys:
            while (before := self._turns.get(key)) is not None and not before.is_over:
                turn.is_read = False  # what it takes back has to be read once more
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
        """A turn is over, and gives its leases back."""
        for key in keys:
            if self._turns.get(key) is turn:
                del self._turns[key]
