"""Keyboards with arbitrary callback data: made, used and dropped; older ones are pushed out of PTB's cache.

For the histories, the whole cache is one document: a keyboard is a dict of its buttons, a callback query the keyboard
that it came from.
"""

from __future__ import annotations

import datetime as dtm
import json
import random
from pathlib import Path
from typing import Any, Final

from history import Document, Recorder
from telegram import CallbackQuery, Chat, InlineKeyboardButton, InlineKeyboardMarkup, Message, Update, User
from telegram.ext import ExtBot, InvalidCallbackData
from values import Thing, Value, exact, tree

CACHE: Final[Document] = ("callback_data", 0)
SIZE: Final = 24  # of PTB's cache
_PRESSED: Final = 30  # of the last keyboards
_SOME_TIME: Final = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)


def cache_tree(data: Any) -> dict[str, Value]:
    """What PTB's cache holds, as the histories have it."""
    keyboards, queries = data
    found: dict[str, Value] = {keyboard: tree(buttons) for keyboard, _, buttons in keyboards}
    return found | {f"query:{query}": keyboard for query, keyboard in queries.items()}


def cache_exact(data: Any) -> dict[str, Value]:
    """What PTB's cache holds, to compare it with what is stored."""
    keyboards, queries = data
    found: dict[str, Value] = {keyboard: [accessed_at, exact(buttons)] for keyboard, accessed_at, buttons in keyboards}
    return found | {f"query:{query}": keyboard for query, keyboard in queries.items()}


class Keyboards:
    """The keyboards of one bot.

    Args:
        bot: Whose cache it is; it is initialized, with the application.
        recorder: Notes what changes.
        chance: Decides.
        file: Where the keyboards that users have are kept, for the next process of the bot.
    """

    def __init__(self, bot: ExtBot[Any], recorder: Recorder, chance: random.Random, file: Path) -> None:
        assert bot.callback_data_cache is not None
        self._bot = bot
        self._cache = bot.callback_data_cache
        self._recorder = recorder
        self._chance = chance
        self._file = file
        self._sent: list[Any] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        self._known = cache_tree(self._cache.persistence_data)

    def act(self) -> list[int]:
        """Makes, uses or drops a keyboard, without waiting; the numbers of the writes."""
        if self._chance.random() < 0.4 or not self._sent:
            self._make()
        else:
            self._press(drop=self._chance.random() < 0.4)
        return self._changes()

    def _changes(self) -> list[int]:
        before, self._known = self._known, cache_tree(self._cache.persistence_data)
        changed = [key for key in {**before, **self._known} if before.get(key) != self._known.get(key)]
        return [self._recorder.write(CACHE, (key,), self._known.get(key)) for key in changed]

    def _make(self) -> None:
        text = self._recorder.value()
        kinds: list[Any] = [text, (text, "tuple"), {"text": text}, Thing(bot0=text)]
        data = self._chance.choice(kinds)
        others = [data, self._recorder.value()]
        buttons = [[InlineKeyboardButton("a button", callback_data=each)] for each in (data, *others)]
        markup = self._cache.process_keyboard(InlineKeyboardMarkup(buttons))
        self._sent.append(markup.to_dict())
        with self._file.open("a") as file:
            file.write(json.dumps(self._sent[-1]) + "\n")

    def _press(self, *, drop: bool) -> None:
        markup = InlineKeyboardMarkup.de_json(self._chance.choice(self._sent[-_PRESSED:]), self._bot)
        (button,) = self._chance.choice(markup.inline_keyboard)
        assert isinstance(button.callback_data, str)
        keyboard, uuid = self._cache.extract_uuids(button.callback_data)
        user, chat = User(1, "Ada", is_bot=False), Chat(1, Chat.PRIVATE)
        message = Message(1, _SOME_TIME, chat, from_user=self._bot.bot, reply_markup=markup)
        query = CallbackQuery(self._recorder.value(), user, "chat", message=message, data=button.callback_data)
        self._bot.insert_callback_data(Update(1, callback_query=query))
        expected = self._known.get(keyboard, {}).get(uuid)
        if isinstance(query.data, InvalidCallbackData):
            if expected is not None:
                self._recorder.note("problem", text=f"a button of {expected!r} does not work")
        elif tree(query.data) != expected:
            self._recorder.note("problem", text=f"a button stands for {query.data!r} instead of {expected!r}")
        elif drop:
            self._cache.drop_data(query)
