"""Telegram objects pickled by PTB 13: with different attribute names, with lists, and with the bot inside.

PTB's own `de_json` creates a current object from what Telegram once sent, which is what the attributes contain: it
knows best what has become of a field. A field that PTB no longer knows goes into `api_kwargs`.
"""

from __future__ import annotations

import datetime as dtm
from typing import Any, Final

import telegram

from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.names import stands_in

__all__ = ["is_of_ptb_13", "rebuilt"]

_AS_IT_IS: Final = frozenset({"callback_data", "data"})  # a button, and the query from it, may contain any object
_RENAMED: Final = {
    "from_user": "from",
    **{f"voice_chat_{end}": f"video_chat_{end}" for end in ("started", "ended", "scheduled", "participants_invited")},
}


def is_of_ptb_13(state: Any) -> bool:
    """Whether PTB before version 20 has written this state of a Telegram object."""
    if type(state) is tuple and len(state) == 2:  # noqa: PLR2004  (attributes, and slots)
        return True
    return type(state) is dict and "_frozen" not in state and "api_kwargs" not in state


def rebuilt(cls: type[telegram.TelegramObject], state: Any, bot: telegram.Bot | None) -> Any:
    """The current object for a state that PTB 13 has written.

    Args:
        cls: The object's class.
        state: Its attributes, or a pair of those in its dict and those in its slots.
        bot: The bot that it belongs to; PTB 13 wrote a text in its place.

    Raises:
        DecodeError: If it contains something that may not be loaded.
    """
    parts = state if type(state) is tuple else (state,)
    if any(type(part) not in {dict, type(None)} for part in parts):
        raise DecodeError("it has no attributes")
    data: dict[str, Any] = {}
    for part in parts:
        for name, value in (part or {}).items():
            if value is not None and type(name) is str and name != "bot" and not name.startswith("_"):
                data.setdefault(_RENAMED.get(name, name), value if name in _AS_IT_IS else _in_json(value))
    made = cls.de_json(data, bot)
    made.set_bot(bot)
    return made


def _in_json(value: Any) -> Any:
    """A value as Telegram sends it."""
    if stands_in(value):
        raise DecodeError(f"it holds a {type(value).__qualname__}, which was not loaded")
    if isinstance(value, telegram.TelegramObject):
        return value.to_dict()
    if isinstance(value, dtm.datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=dtm.timezone.utc)
        return int(moment.timestamp())
    if type(value) in {list, tuple}:
        return [_in_json(item) for item in value]
    if type(value) is dict:
        return {name: _in_json(item) for name, item in value.items()}
    return value
