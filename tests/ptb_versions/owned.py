"""Classes of a bot's author, as they stand in its data beside Telegram's own."""

from __future__ import annotations

import datetime as dtm
from dataclasses import dataclass, field
from typing import Any

import telegram

__all__ = ["ZONE", "Letter", "Member", "Note", "Stateful"]

ZONE = dtm.timezone(dtm.timedelta(hours=2))


class Letter(telegram.Message):
    """A message with more attributes, and a constructor of its own."""

    def __init__(self, message_id: int, date: dtm.datetime, chat: telegram.Chat, extra: Any) -> None:
        super().__init__(message_id, date, chat)
        with self._unfrozen():
            self.extra = extra


class Member(telegram.User):
    """A user with one more attribute."""

    __slots__ = ("score",)

    def __init__(self, user_id: int, first_name: str, is_bot: bool, score: int) -> None:
        super().__init__(user_id, first_name, is_bot)
        with self._unfrozen():
            self.score = score


@dataclass
class Note:
    """Plain attributes that hold Telegram objects."""

    about: Any
    more: list[Any] = field(default_factory=list)


class Stateful:
    """An object that is stored as a pickle."""

    def __init__(self, about: Any) -> None:
        self.about = about

    def __getstate__(self) -> dict[str, Any]:
        return {"about": self.about}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.about = state["about"]
