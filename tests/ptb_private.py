"""The one private name of PTB that tests need: a conversation's state in memory has no public way to it."""

from __future__ import annotations

from typing import Any

import telegram
from telegram.ext import ConversationHandler


def conversation_state(handler: ConversationHandler[Any], key: tuple[int | str, ...]) -> object:
    """The state of a conversation as its handler holds it; `None` if there is none."""
    conversations = getattr(handler, "_conversations", None)
    if conversations is None:
        raise AssertionError(
            f"python-telegram-bot {telegram.__version__} keeps no ConversationHandler._conversations any more: "
            "conversation_state needs another way to the states"
        )
    state: object = conversations.get(key)
    return state
