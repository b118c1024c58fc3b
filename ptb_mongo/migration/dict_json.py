"""The JSON of `telegram.ext.DictPersistence`, from its properties such as `user_data_json`, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from telegram.ext import DictPersistence

from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.data import KINDS, BotData

__all__ = ["read_dict"]


def read_dict(path: Path) -> BotData:
    """Everything in a file that contains an object with `user_data`, `chat_data`, and so on.

    Each may be the JSON text from `DictPersistence`, or the object that the text represents; the names may end in
    `_json`. PTB itself reads them, so keys become numbers wherever it makes them numbers.

    Raises:
        DecodeError: If it contains anything else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DecodeError(f"{path.name}: it is not JSON: {error}") from error
    names = {name: kind for kind in KINDS for name in (kind, f"{kind}_json")}
    if not isinstance(found, dict) or not found.keys() <= names.keys():
        raise DecodeError(f"{path.name}: it is not an object with some of {', '.join(KINDS)}")
    texts: dict[str, Any] = {
        f"{names[name]}_json": value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if value not in (None, "", "null")
    }
    try:
        read = DictPersistence(**texts)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise DecodeError(f"{path.name}: it is not what DictPersistence writes: {error}") from error
    return BotData(
        user_data=read.user_data or {},
        chat_data=read.chat_data or {},
        bot_data=read.bot_data,
        conversations={name: dict(states) for name, states in (read.conversations or {}).items()},
        callback_data=read.callback_data,
    )
