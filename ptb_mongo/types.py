"""The types of the public interface, and those of PTB that it does not export."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, get_args

__all__ = [
    "BD",
    "CD",
    "EXPIRING",
    "UD",
    "CDCData",
    "Conflict",
    "ConversationDict",
    "ConversationKey",
    "Exclude",
    "Expire",
    "KeyParts",
    "Loading",
    "Migrations",
    "OnConflict",
    "Refresh",
    "ScopeName",
    "Strategy",
]

UD = TypeVar("UD")
CD = TypeVar("CD")
BD = TypeVar("BD")

ConversationKey = tuple[int | str, ...]
ConversationDict = MutableMapping[ConversationKey, object]
CDCData = tuple[list[tuple[str, float, dict[str, Any]]], dict[str, str]]

ScopeName = Literal["user_data", "chat_data", "bot_data"]
Loading = Literal["eager", "lazy"]
Refresh = Literal["auto", "watch", "read", "off"]
Exclude = Mapping[ScopeName, "set[str] | frozenset[str]"]
"""What is never stored, by scope: paths of keys and attributes, such as "cache", "session.lock", "prefs.*.cache"."""

Expiring = Literal["user_data", "chat_data", "conversations", "callback_data"]
EXPIRING: Final[tuple[Expiring, ...]] = get_args(Expiring)
"""The collections whose documents may expire."""

Expire = Mapping[Expiring, dtm.timedelta]
"""By collection, how long after the last update from that user or chat a document is deleted."""

KeyParts = Callable[[str], "tuple[bool, bool] | None"]
"""Tells by a conversation handler's name whether its keys begin with the chat's id, and whether the user's follows."""

Migrations = Mapping[ScopeName, "Sequence[Callable[[Any], Any]]"]
"""By scope, functions from the data to the data, in the order in which they were written."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One value that both the bot and somebody else have changed since they last agreed.

    Attributes:
        scope: "user_data", "chat_data" or "bot_data".
        id: The user's, chat's or bot's id.
        path: The keys that lead to the value, from the outermost on: keys of dicts, names of attributes, the index
            of a list's element in `base`.
        base: The value that both sides started from; `ptb_mongo.MISSING` if there was none.
        local: The bot's value; `MISSING` if the bot has removed it.
        remote: The database's value; `MISSING` if it was removed there.
    """

    scope: ScopeName
    id: int
    path: tuple[object, ...]
    base: Any
    local: Any
    remote: Any


Strategy = Literal["local", "remote", "add", "max", "min"] | Callable[[Conflict], Any]
"""What decides a conflict: one side, the sum of what both added, the larger or smaller value, or a function."""

OnConflict = Literal["local", "remote"] | Callable[[Conflict], Any] | Mapping[ScopeName, Mapping[str, Strategy]]
"""One strategy for all conflicts; or, by scope, strategies for patterns: "score", "prefs.*", "prefs.**"."""
