"""Buttons that another worker has sent: PTB does not find them in its cache, and passes `InvalidCallbackData` on.

That object contains the text of the button, by which we can look it up again once the keyboard is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from telegram import Bot, CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message, Update
from telegram.ext import CallbackDataCache, InvalidCallbackData

__all__ = ["keyboards_in", "missing_keyboards", "with_data", "with_objects"]

_UUID: Final = re.compile("[0-9a-f]{32}")  # a button may contain anything, as a manipulated client can send any text


def missing_keyboards(update: Update) -> list[str]:
    """The ids of the keyboards that an update refers to and PTB did not find."""
    query = update.callback_query
    texts = [_text(query.data)] if query is not None else []
    texts += [_text(button.callback_data) for message in _messages(update) for button in _buttons(message)]
    uuids = [CallbackDataCache.extract_uuids(text)[0] for text in texts if text is not None]
    return list(dict.fromkeys(uuid for uuid in uuids if _UUID.fullmatch(uuid)))


def keyboards_in(place: InlineKeyboardMarkup | Message | CallbackQuery) -> set[str]:
    """The ids of the keyboards with buttons, as texts, in a markup, a message or a query, or next to these."""
    texts: list[object] = []
    if isinstance(place, CallbackQuery):
        texts.append(place.data)
        place = place.message  # type: ignore[assignment]  # any other type has no buttons
    if isinstance(place, InlineKeyboardMarkup):
        texts += [button.callback_data for row in place.inline_keyboard for button in row]
    for message in _beside(place):
        texts += [button.callback_data for button in _buttons(message)]
    return {CallbackDataCache.extract_uuids(text)[0] for text in texts if isinstance(text, str)}


def with_objects(update: Update, cache: CallbackDataCache) -> Update:
    """The update, with objects from the cache for the buttons that PTB did not find."""
    for message in _messages(update):
        missing = [(button, text) for button in _buttons(message) if (text := _text(button.callback_data)) is not None]
        if missing:
            for button, text in missing:
                button.update_callback_data(text)
            cache.process_message(message)
    query = update.callback_query
    if query is None or (text := _text(query.data)) is None:
        return update
    # Without its message, in which some buttons may already have their objects.
    alone = CallbackQuery(query.id, query.from_user, query.chat_instance, data=text)
    cache.process_callback_query(alone)
    return with_data(update, query, alone.data, cache.bot)


def with_data(update: Update, query: CallbackQuery, data: Any, bot: Bot) -> Update:
    """The same click, with a different object behind its button."""
    found = CallbackQuery(
        query.id,
        query.from_user,
        query.chat_instance,
        message=query.message,
        data=data,
        inline_message_id=query.inline_message_id,
        api_kwargs=dict(query.api_kwargs),
    )
    again = Update(update.update_id, callback_query=found, api_kwargs=dict(update.api_kwargs))
    found.set_bot(bot)
    again.set_bot(bot)
    return again


def _text(data: object) -> str | None:
    """The text of a button that PTB did not find."""
    return data.callback_data if isinstance(data, InvalidCallbackData) else None


def _messages(update: Update) -> Iterator[Message]:
    """The messages in an update whose buttons PTB looks up."""
    return _beside(update.effective_message)


def _beside(message: object) -> Iterator[Message]:
    if isinstance(message, Message):
        for one in (message, message.reply_to_message, message.pinned_message):
            if isinstance(one, Message):
                yield one


def _buttons(message: Message) -> Iterator[InlineKeyboardButton]:
    if message.reply_markup is not None:
        for row in message.reply_markup.inline_keyboard:
            yield from row
