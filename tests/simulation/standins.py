"""Stand-ins for Telegram and for a user's code around a `SharedApplication`."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

from telegram.ext import ExtBot
from telegram.request import BaseRequest

from ptb_mongo import MongoPersistence

__all__ = ["AnyState", "NoRequest", "OrderedPersistence", "Telegram"]


class NoRequest(BaseRequest):
    """What is never sent."""

    read_timeout = 1.0

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def do_request(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        raise NotImplementedError


class Telegram(ExtBot[None]):
    """A bot that never talks to its server."""

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass


class _Call(Awaitable[None]):
    """What PTB keeps in a set: the order in which it awaits them is the same in each process."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], number: int) -> None:
        self._coroutine = coroutine
        self._hash = zlib.crc32(str(number).encode())

    def __hash__(self) -> int:
        return self._hash

    def __await__(self) -> Generator[Any, None, None]:
        return self._coroutine.__await__()


class OrderedPersistence(MongoPersistence[Any, Any, Any]):
    """A persistence whose saves begin in the same order in each process."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls: list[Coroutine[Any, Any, None]] = []

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> Any:
        self.calls.append(coroutine)
        return _Call(coroutine, len(self.calls))

    def update_user_data(self, user_id: int, data: Any) -> Any:
        return self._call(super().update_user_data(user_id, data))

    def update_chat_data(self, chat_id: int, data: Any) -> Any:
        return self._call(super().update_chat_data(chat_id, data))

    def update_bot_data(self, data: Any) -> Any:
        return self._call(super().update_bot_data(data))

    def update_conversation(self, name: str, key: Any, new_state: object) -> Any:
        return self._call(super().update_conversation(name, key, new_state))

    def drop_user_data(self, user_id: int) -> Any:
        return self._call(super().drop_user_data(user_id))


class AnyState(dict[object, Any]):
    """Handlers of conversations, the same in all states."""

    def __contains__(self, state: object) -> bool:
        return True
