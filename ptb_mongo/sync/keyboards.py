"""Reads the newest keyboards and callback queries, as many as fit into PTB's cache, however many are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from ptb_mongo.driver import Driver, Page
from ptb_mongo.scopes.callback_data import CallbackDataScope
from ptb_mongo.scopes.newest import HORIZON, Newest
from ptb_mongo.sync.steps import Steps, portions

__all__ = ["newest_keyboards"]

_MORE: Final = 100  # more than fit into the cache: a few may not be keyboards


async def newest_keyboards(
    driver: Driver, scope: CallbackDataScope, first: Sequence[bytes] | None, steps: Steps
) -> Newest:
    """The documents to load into PTB's cache.

    Args:
        driver: The database.
        scope: The scope of the keyboards; reports what is not a keyboard.
        first: All stored documents, if they have been read already.
        steps: The steps in which to process them.
    """
    newest = Newest(scope.cache_size, scope.has_form)
    if first is None and scope.cache_size is not None:
        if await _has_read_newest(driver, scope, newest, scope.cache_size + _MORE, steps):
            return newest
        newest = Newest(scope.cache_size, scope.has_form)
    batches = _one(first) if first is not None else driver.raw_batches(scope.collection, {}, scope.fields)
    async for raws in batches:
        await _take(newest, scope, raws, steps)
    return newest


async def _has_read_newest(driver: Driver, scope: CallbackDataScope, newest: Newest, most: int, steps: Steps) -> bool:
    """Reads the newest ones; returns whether all others can be ignored.

    They cannot be if somebody has planted many newer documents that do not have the form of a keyboard.
    """
    kinds: list[tuple[bool, str, float]] = [
        (False, "accessed_at", newest.now + HORIZON),
        (True, "position", (newest.now + HORIZON) * 1000),
    ]
    for is_query, by, horizon in kinds:
        for span in ({"$lt": horizon}, {"$gte": horizon}):
            query: dict[str, Any] = {"keyboard": {"$exists": is_query}, by: span}
            raws = await driver.raw_page(Page(scope.collection, query, scope.fields, [(by, -1)], most))
            await _take(newest, scope, raws, steps)
            if newest.is_full(queries=is_query):
                break
            if len(raws) == most:
                return False
    return True


async def _take(newest: Newest, scope: CallbackDataScope, raws: Sequence[bytes], steps: Steps) -> None:
    for some in portions(raws):
        scope.look_at(newest.take(some))
        await steps.pause()


async def _one(raws: Sequence[bytes]) -> AsyncIterator[Sequence[bytes]]:
    yield raws
