"""Telegram objects as the Bot API has them: JSON."""

from __future__ import annotations

import datetime as dtm
import enum
from collections.abc import Iterator
from typing import Any, Final

import telegram

__all__ = ["SEQUENCES", "json_of", "objects_in", "seconds_of"]

SEQUENCES: Final = (tuple, list)
"""What PTB keeps several objects in."""


def json_of(value: Any) -> Any:
    """A value as the Bot API has it; what it cannot have is left as it is."""
    if type(value) in SEQUENCES:
        return list(map(json_of, value))
    if isinstance(value, telegram.TelegramObject):
        value = value.to_dict()
    if type(value) is dict:
        return {key: json_of(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if type(value) is dtm.datetime:
        return int((value if value.tzinfo else value.replace(tzinfo=dtm.timezone.utc)).timestamp())
    return seconds_of(value) if type(value) is dtm.timedelta else value


def seconds_of(value: dtm.timedelta) -> int | float:
    """A period of time as a number of seconds, an integer if it is one."""
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def objects_in(value: Any) -> Iterator[telegram.TelegramObject]:
    """The Telegram objects that an attribute holds."""
    if isinstance(value, telegram.TelegramObject):
        yield value
    elif type(value) in SEQUENCES:
        for item in value:
            yield from objects_in(item)
