"""Saving that begins some time after PTB has asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ptb_mongo import MongoPersistence

__all__ = ["LatePersistence", "begun_later"]


async def _wait(late: float) -> None:
    if isinstance(late, float):
        await asyncio.sleep(late)
    else:
        for _ in range(late):
            await asyncio.sleep(0)


def begun_later(coroutine: Coroutine[Any, Any, None], late: float) -> asyncio.Task[None]:
    async def begin() -> None:
        await _wait(late)
        await coroutine

    task = asyncio.ensure_future(begin())
    task.add_done_callback(lambda _: coroutine.close())  # it may be cancelled before it begins
    return task


class LatePersistence(MongoPersistence[Any, Any, Any]):
    """A user's subclass that does something else before it saves."""

    late: float = 0

    async def update_user_data(self, user_id: int, data: Any) -> None:
        await _wait(self.late)
        await super().update_user_data(user_id, data)

    async def update_chat_data(self, chat_id: int, data: Any) -> None:
        await _wait(self.late)
        await super().update_chat_data(chat_id, data)

    async def update_bot_data(self, data: Any) -> None:
        await _wait(self.late)
        await super().update_bot_data(data)
