"""The private names of PTB that tests need: a conversation's state in memory, and how PTB spells its own types."""

from __future__ import annotations

import importlib
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


def ptb_type(name: str) -> Any:
    """A type, or type variable, that PTB annotates its persistence with and does not export."""
    module = "telegram.ext._utils.types"
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AssertionError(
            f"python-telegram-bot {telegram.__version__} has no {module}.{name} any more: find where it is spelled now"
        ) from error
