"""Batches requests: those submitted while a batch is being served form the next batch.

A batch is never delayed to collect more; a single request is sent at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from ptb_mongo.errors import UnavailableError
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["Batcher"]

T = TypeVar("T")

_CLOSED: Final = "it is being closed"


class _Batch(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []
        self.over = asyncio.Event()
        self.error: Exception | None = None

    def end(self, error: Exception | None) -> None:
        self.error = error
        self.over.set()


class Batcher(Generic[T]):
    """Serves requests in batches.

    Args:
        serve: Serves a batch. A request whose caller is cancelled is served nevertheless.
        name: The name of the task.
    """

    def __init__(self, serve: Callable[[list[T]], Awaitable[None]], name: str) -> None:
        self._serve = serve
        self._name = name
        self._next = _Batch[T]()
        self.closed = False
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> None:
        """Adds a request to the next batch, and waits until it is served.

        Raises:
            UnavailableError: If the batcher is closed.
            Exception: Anything that `serve` raises.
        """
        if self.closed:
            raise UnavailableError(_CLOSED)
        batch = self._next
        batch.items.append(item)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)
        await batch.over.wait()
        if isinstance(batch.error, UnavailableError):  # a separate one for each caller, as each adds its own traceback
            raise UnavailableError(str(batch.error)) from batch.error
        if batch.error is not None:
            raise batch.error

    async def _run(self) -> None:
        while self._next.items:
            batch, self._next = self._next, _Batch()
            error: Exception | None = UnavailableError(_CLOSED)
            try:
                await self._serve(batch.items)
                error = None
            except Exception as failure:  # noqa: BLE001  (the callers get it)
                error = failure
            finally:
                batch.end(error)

    async def served(self, seconds: float) -> None:
        """Waits until everything that was submitted is served, or for some seconds."""
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=seconds)

    async def close(self) -> list[T]:
        """Cancels the batch in progress; returns the requests that will never be served."""
        self.closed = True
        if self._task is not None:
            await cancel_and_wait(self._task)
        self._next.end(UnavailableError(_CLOSED))
        return self._next.items
