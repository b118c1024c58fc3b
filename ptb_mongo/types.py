"""The types of the public interface, and PTB's own that it does not export, spelled here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

__all__ = [
    "BD",
    "CD",
    "UD",
    "CDCData",
    "Conflict",
    "ConversationDict",
    "ConversationKey",
    "Exclude",
    "Loading",
    "OnConflict",
    "Refresh",
    "ScopeName",
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


@dataclass(frozen=True, slots=True)
class Conflict:
    """One key that the bot and somebody else changed, differently, since they last agreed.

    Attributes:
        scope: "user_data", "chat_data" or "bot_data".
        id: The user's, chat's or bot's id.
        path: The keys that lead to the value, from the outermost on.
        base: The value that both started from; `ptb_mongo.MISSING` where there was none.
        local: The bot's value; `MISSING` where the bot has removed it.
        remote: The database's value; `MISSING` where it was removed there.
    """

    scope: ScopeName
    id: int
    path: tuple[object, ...]
    base: Any
    local: Any
    remote: Any


OnConflict = Literal["local", "remote"] | Callable[[Conflict], Any]
