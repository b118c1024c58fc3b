"""Work on many documents in steps, between which other tasks get their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

__all__ = ["in_steps", "slices"]

_MOST_DOCUMENTS: Final = 100
_MOST_BYTES: Final = 100_000


def slices(raws: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Some documents in slices, each of which is decoded in a few milliseconds."""
    start = size = 0
    for end, raw in enumerate(raws, 1):
        size += len(raw)
        if end - start >= _MOST_DOCUMENTS or size >= _MOST_BYTES or end == len(raws):
            yield raws[start:end]
            start, size = end, 0


async def in_steps(batches: AsyncIterator[Sequence[bytes]]) -> AsyncIterator[Sequence[bytes]]:
    """The documents of some batches in slices, with a turn of the event loop after each."""
    async for raws in batches:
        for some in slices(raws):
            yield some
            await asyncio.sleep(0)
