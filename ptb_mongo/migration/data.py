"""A bot's data as plain Python objects, between its source and its destination; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ptb_mongo.errors import DocumentError
from ptb_mongo.types import CDCData, ConversationKey

__all__ = ["KINDS", "STORED", "BotData", "Kind"]

Kind = Literal["user_data", "chat_data", "bot_data", "conversations", "callback_data", "jobs"]
KINDS: Final[tuple[Kind, ...]] = ("user_data", "chat_data", "bot_data", "conversations", "callback_data")
"""What a PTB persistence keeps, and what can be imported and exported."""

STORED: Final[tuple[Kind, ...]] = (*KINDS, "jobs")
"""What is in a bot's database."""


@dataclass(slots=True)
class BotData:
    """Everything that a persistence keeps.

    Attributes:
        user_data: The data of each user.
        chat_data: The data of each chat.
        bot_data: The bot's data; `None` if there is none.
        conversations: The states of each handler's conversations.
        callback_data: The cache of arbitrary callback data; `None` if there is none.
        refused: Names in the source that may not be loaded, each with the reason.
        problems: What is missing here because it could not be read.
    """

    user_data: dict[int, Any] = field(default_factory=dict)
    chat_data: dict[int, Any] = field(default_factory=dict)
    bot_data: Any = None
    conversations: dict[str, dict[ConversationKey, Any]] = field(default_factory=dict)
    callback_data: CDCData | None = None
    refused: dict[str, str] = field(default_factory=dict)
    problems: list[DocumentError] = field(default_factory=list)
