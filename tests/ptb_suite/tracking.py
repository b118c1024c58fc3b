"""A stand-in for `TrackingPersistence`, with which `test_basepersistence` tests how PTB uses a persistence.

The original goes on counting calls, and ours stores. What a test puts into it before its start is stored as an earlier
process would have stored it; from then on its data is what is in the database. PTB ends a conversation with the state
`None`, for which nothing is stored: it is shown as long as there is nothing in the database.
"""

from __future__ import annotations

import types
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from ptb_suite.databases import KINDS
from ptb_suite.ours import Ours

__all__ = ["tracking_stand_in"]


def tracking_stand_in(original: type) -> type:
    """Makes the stand-in for PTB's class, which is there only when its module is."""
    return types.new_class("TrackingStandIn", (_Storing, original, Ours))


def _asked(name: str) -> Callable[..., Awaitable[Any]]:
    """A method that loads; PTB calls these before all others."""

    async def method(self: _Storing, *args: Any, **named: Any) -> Any:
        self._start()
        return await getattr(Ours, name)(self, *args, **named)

    return method


def _told(name: str) -> Callable[..., Awaitable[None]]:
    """A method that stores or refreshes, which the original counts."""

    async def method(self: _Storing, *args: Any, **named: Any) -> None:
        await getattr(Ours, name)(self, *args, **named)
        await getattr(super(_Storing, self), name)(*args, **named)

    return method


def _attribute(kind: str) -> Any:
    def get(self: _Storing) -> Any:
        return self._planted[kind] if self._planted is not None else self._stored(kind)

    def put(self: _Storing, value: Any) -> None:
        if self._planted is not None:  # else it is reset, which the database is not
            self._planted[kind] = value

    return property(get, put)


class _Storing:
    """What comes before the original in the order of methods; `Ours` comes after it."""

    own: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        self._planted: dict[str, Any] | None = {}
        self._ended: dict[str, dict[Any, None]] = defaultdict(dict)
        super().__init__(*args, **options)

    user_data, chat_data, bot_data, callback_data, conversations = map(_attribute, KINDS)

    get_user_data = _asked("get_user_data")
    get_chat_data = _asked("get_chat_data")
    get_bot_data = _asked("get_bot_data")
    get_callback_data = _asked("get_callback_data")
    get_conversations = _asked("get_conversations")
    update_user_data = _told("update_user_data")
    update_chat_data = _told("update_chat_data")
    update_bot_data = _told("update_bot_data")
    update_callback_data = _told("update_callback_data")
    drop_user_data = _told("drop_user_data")
    drop_chat_data = _told("drop_chat_data")
    refresh_user_data = _told("refresh_user_data")
    refresh_chat_data = _told("refresh_chat_data")
    refresh_bot_data = _told("refresh_bot_data")
    flush = _told("flush")

    async def update_conversation(self, name: str, key: Any, new_state: object | None) -> None:
        await _told("update_conversation")(self, name, key, new_state)
        self._ended[name].pop(key, None)
        if new_state is None:
            self._ended[name][key] = None

    def reset_tracking(self) -> None:
        super().reset_tracking()  # type: ignore[misc]
        self._ended.clear()

    def _start(self) -> None:
        planted, self._planted = self._planted, None
        if planted is not None:
            if planted["callback_data"] == ([], {}):
                planted["callback_data"] = None
            self.own.store(planted)

    def _stored(self, kind: str) -> Any:
        stored = self.own.load(kind)
        if kind == "callback_data":
            return stored or ([], {})
        if kind == "conversations":
            shown = {name: {**ended, **stored.get(name, {})} for name, ended in self._ended.items()}
            return defaultdict(dict, {name: states for name, states in {**stored, **shown}.items() if states})
        return stored
