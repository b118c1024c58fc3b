"""Save the cache of arbitrary callback data after one click."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from telegram import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, User
from telegram.ext import CallbackDataCache, ExtBot

from suite.core import Line, Results, Run, Work, alternate, no_more_than, scaled, timed
from suite.subjects import OURS, PICKLE, TOKEN, Counted, Ours, Pickle

KEYBOARDS, BUTTONS = 1024, 8
WORK = "callback data"


class Clicks:
    """A full cache whose keyboards are clicked one after the other."""

    def __init__(self, keyboards: int) -> None:
        self._cache = CallbackDataCache(ExtBot(TOKEN, arbitrary_callback_data=True), maxsize=keyboards)
        self._queries = itertools.count(1)
        sent = [self._cache.process_keyboard(self._keyboard(number)) for number in range(keyboards)]
        self._buttons = itertools.cycle(str(keyboard.inline_keyboard[0][0].callback_data) for keyboard in sent)

    @staticmethod
    def _keyboard(number: int) -> InlineKeyboardMarkup:
        buttons = [
            InlineKeyboardButton(f"{button}", callback_data={"order": number, "item": button})
            for button in range(BUTTONS)
        ]
        return InlineKeyboardMarkup.from_column(buttons)

    def click(self) -> None:
        """Somebody presses a button."""
        user = User(1, "Ada", is_bot=False)
        query = CallbackQuery(str(next(self._queries)), user, chat_instance="1", data=next(self._buttons))
        self._cache.process_callback_query(query)

    def offered(self) -> Any:
        """What PTB offers to a persistence."""
        return copy.deepcopy(self._cache.persistence_data)


def saving(persistence: Any, clicks: Clicks) -> Work:
    """One round: a click and a save."""

    async def once() -> float:
        clicks.click()
        return await timed(persistence.update_callback_data(clicks.offered()))

    return once


async def keyboards_sent(run: Run, name: str, keyboards: int) -> int:
    """How many keyboards are written after one click."""
    subject = Counted(run, name)
    subject.database += "_counted"
    await subject.open()
    clicks = Clicks(keyboards)
    await subject.persistence.get_callback_data()
    await subject.persistence.update_callback_data(clicks.offered())
    subject.sent.take()
    clicks.click()
    await subject.persistence.update_callback_data(clicks.offered())
    updates = [update for command in subject.sent.take() for update in command.get("updates", ())]
    await subject.close()
    return sum(not update["q"]["_id"].startswith("query:") for update in updates)


async def measure(run: Run) -> Results:
    """Measures."""
    count = run.of(KEYBOARDS, 256)
    works = {}
    subjects = [*(Ours(run, name) for name in OURS), Pickle(run, PICKLE)]
    for subject in subjects:
        await subject.open()
        await subject.persistence.get_callback_data()
        clicks = Clicks(count)
        await subject.persistence.update_callback_data(clicks.offered())
        works[subject.name] = saving(subject.persistence, clicks)
    times = scaled(await alternate(works, run.of(15, 3)), 1e3)
    for subject in subjects:
        await subject.close()
    results = Results()
    for name, driver in OURS.items():
        line = Line(WORK, f"{count:,} keyboards of {BUTTONS} buttons, one click", driver)
        sent = await keyboards_sent(run, name, count)
        results.figures += [
            line.counts(sent, "keyboards", no_more_than(1)),
            line.compare("ms", times, name, PICKLE),
        ]
    return results
