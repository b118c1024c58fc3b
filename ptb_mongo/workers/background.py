"""What a worker does in the background: saves, which its end waits for, and reads, which it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ptb_mongo.waiting import cancel_and_wait

__all__ = ["Background"]


class Background:
    """The tasks of one worker."""

    def __init__(self) -> None:
        self._saves: set[asyncio.Task[None]] = set()
        self._reads: set[asyncio.Task[None]] = set()

    def saves(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begins a save."""
        self._run(self._saves, coroutine)

    def reads(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begins a read."""
        self._run(self._reads, coroutine)

    @staticmethod
    def _run(tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def close(self) -> None:
        """Waits for the saves in progress, and ends the reads."""
        for read in [*self._reads]:
            await cancel_and_wait(read)
        while self._saves:
            await asyncio.wait(self._saves)
