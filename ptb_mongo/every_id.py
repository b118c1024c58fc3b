"""The ids of all users or chats, page by page: a broadcast may take days, and no server cursor lives that long.

Each page is one query for what comes after the last id. So nothing is lost if the body of the loop pauses, the server
changes, the bot calls `flush`, or documents are deleted; and a broadcast can be resumed after any id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from ptb_mongo.errors import UnavailableError
from ptb_mongo.log import get_logger
from ptb_mongo.session import Session

__all__ = ["every_id"]

_LOGGER = get_logger(__name__)
_PATIENCE: Final = 600.0  # seconds for which a page is retried
_PAUSES: Final = 0.5, 15.0  # seconds between two attempts: the first and the longest
_TURN: Final = 0.005  # seconds after which other tasks get a turn if the body of the loop never awaits anything

_Page = tuple[list[int], Any]


async def every_id(
    open_session: Callable[[], Awaitable[Session]],
    page_of: Callable[[Session, Any], Awaitable[_Page]],
    after: int | None,
) -> AsyncIterator[int]:
    """The ids, in ascending order.

    Args:
        open_session: Returns the session that is open now.
        page_of: Reads the page after a position, or the first one for `None`; returns its ids and the next position.
        after: Start with the first id that is larger.

    Raises:
        UnavailableError: If no server answers for ten minutes.
    """
    clock = asyncio.get_running_loop().time
    position: Any = after
    while True:
        ids, position = await _patiently(open_session, page_of, position)
        since = clock()
        for one in ids:
            yield one
            if clock() - since > _TURN:
                await asyncio.sleep(0)
                since = clock()
        if position is None:
            return


async def _patiently(
    open_session: Callable[[], Awaitable[Session]], page_of: Callable[[Session, Any], Awaitable[_Page]], position: Any
) -> _Page:
    clock = asyncio.get_running_loop().time
    ends, (pause, longest) = clock() + _PATIENCE, _PAUSES
    while True:
        try:
            return await page_of(await open_session(), position)
        except UnavailableError as error:
            if clock() + pause > ends:
                raise
            _LOGGER.warning("The next ids cannot be read; retrying in %g s: %s", pause, error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)
