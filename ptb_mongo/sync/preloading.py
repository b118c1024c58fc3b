"""Loads many documents into the objects of a running bot: thousands with one query, and in short steps."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from ptb_mongo.driver import ByIds, Driver
from ptb_mongo.driver.failures import is_for_one_read
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.steps import Steps, ahead, portions

__all__ = ["Preload"]

_TOGETHER: Final = 5000  # documents in one query
_MERGED: Final = 25  # documents that are merged between two looks at the clock


class _Batch(NamedTuple):
    """Some of the wanted documents.

    Attributes:
        keys: Their keys.
        unknown: The keys of those about which nothing was known when they were read.
        raws: The stored documents of `unknown`; `None` if one of them cannot be read together with the others.
    """

    keys: Sequence[int]
    unknown: Sequence[int]
    raws: Sequence[bytes] | None


class Preload:
    """Loads documents into live objects.

    Args:
        driver: Reads documents about which nothing is known.
        reader: Reads the others.
        scope: The scope.
        live: Returns the live object for a key.
    """

    def __init__(self, driver: Driver, reader: Reader, scope: DataScope[Any], live: Callable[[int], Any]) -> None:
        self._driver = driver
        self._reader = reader
        self._scope = scope
        self._live = live
        self._steps = Steps()

    async def load(self, keys: Iterable[int]) -> None:
        """Loads documents.

        Raises:
            UnavailableError: If no server answers.
        """
        wanted = list(dict.fromkeys(keys))
        with self._scope.being_read(), self._steps:
            async with contextlib.aclosing(ahead(self._batches(wanted))) as batches:
                async for batch in batches:
                    if batch.raws is not None:
                        await self._take_in(batch.unknown, batch.raws)
                    await self._merge([key for key in batch.keys if not self._scope.replicas.is_unused(key)])

    async def _batches(self, wanted: Sequence[int]) -> AsyncGenerator[_Batch, None]:
        scope = self._scope
        for start in range(0, len(wanted), _TOGETHER):
            keys = wanted[start : start + _TOGETHER]
            unknown = [] if scope.complete else [key for key in keys if key not in scope.replicas]
            raws = None
            if unknown:
                try:
                    (raws,) = await self._driver.raw_documents([ByIds(scope.collection, unknown, scope.fields)])
                except Exception as error:
                    if not is_for_one_read(error):  # otherwise, the reader reads each one
                        raise
            yield _Batch(keys, unknown, raws)

    async def _take_in(self, unknown: Sequence[int], raws: Sequence[bytes]) -> None:
        """Takes in documents that were unknown; those reported meanwhile have a replica, and are read again."""
        others: list[bytes] = []
        for some in portions(raws):
            others += self._scope.filled_unused(some, self._live)
            await self._steps.pause()
        lasts = not self._driver.may_roll_back
        for some in portions(others):
            self._scope.first_answered([self._scope.named(raw)[1] for raw in some], some, lasts=lasts)
            await self._steps.pause()
        for start in range(0, len(unknown), _MERGED):
            self._scope.first_answered(unknown[start : start + _MERGED], (), lasts=lasts)
            await self._steps.pause()

    async def _merge(self, keys: Sequence[int]) -> None:
        """Reads stale documents, and merges what is known into the live objects."""
        while stale := [one for key in keys if (one := self._scope.replica(key, key)).is_stale]:
            await self._reader.read({self._scope: stale})
        for start in range(0, len(keys), _MERGED):
            self._scope.caught_up(keys[start : start + _MERGED], self._live)
            await self._steps.pause()
