"""Refresh before an update, when nobody else has changed anything: almost free, and without a request."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from suite.core import Line, Results, Run, Work, alternate, at_most, no_more_than, scaled, within
from suite.subjects import IDLE, OTHER, OURS, PICKLE, Counted, Idle, Other, Ours, Persistence, Pickle

WORK = "refresh, untouched"
GOAL = 2.4  # 0.7 µs on a machine on which an idle persistence takes 0.29
# A coroutine that looks up one document and the state of the stream, notes what an update gets, and ends. We measured
# five times PTB's own empty coroutine, and more if an application takes turns with others.
ACCEPTED = 8


async def refresh(persistence: Any, user: Any, chat: Any, bot: Any, times: int) -> None:
    """The refreshes that PTB requests before each update."""
    for _ in range(times):
        await persistence.refresh_bot_data(bot)
        await persistence.refresh_chat_data(chat_id=1, chat_data=chat)
        await persistence.refresh_user_data(user_id=1, user_data=user)


def refreshing(subject: Persistence, user: Any, times: int) -> Work:
    """One round: this process's seconds for the three refreshes of one update; nothing is awaited."""
    chat: dict[str, Any] = {}
    bot: dict[str, Any] = {}

    async def once() -> float:
        begun = time.process_time()
        await refresh(subject.persistence, user, chat, bot, times)
        return (time.process_time() - begun) / times

    return once


async def commands(run: Run, name: str, times: int) -> int:
    """How many commands this many refreshes send."""
    subject = Counted(run, name)
    await subject.open()
    users = await subject.load()
    chats, bot = await subject.persistence.get_chat_data(), await subject.persistence.get_bot_data()
    chat = chats.setdefault(1, {})
    subject.sent.take()
    await refresh(subject.persistence, users[1], chat, bot, times)
    sent = len(subject.sent.take())
    await subject.close()
    return sent


async def measure(run: Run) -> Results:
    """Measures."""
    count, times = 1000, run.of(5000, 1000)
    works = {}
    subjects: list[Persistence] = [*(Ours(run, name) for name in OURS), Pickle(run, PICKLE), Other(run, OTHER)]
    subjects.append(Idle(run, IDLE))
    for subject in subjects:
        await subject.fill(count)
        await subject.open()
        users = await subject.load()
        await subject.persistence.get_chat_data()
        works[subject.name] = refreshing(subject, users.get(1, {}), times)
        await works[subject.name]()
    await asyncio.sleep(0.5)  # the change streams open meanwhile, as in a running bot
    found = scaled(await alternate(works, run.of(9, 3)), 1e6)
    for subject in subjects:
        await subject.close()
    results = Results(series={"refresh_untouched": found})
    for name, driver in OURS.items():
        line = Line(WORK, "user, chat and bot, before an update", driver)
        sent = await commands(run, name, times)
        results.figures += [
            line.compare("µs", found, name, IDLE, within(0.7)),
            line.compare("µs", found, name, IDLE, at_most(GOAL, ACCEPTED)),
            line.compare("µs", found, name, OTHER),
            line.counts(sent, "commands", no_more_than(0)),
        ]
    return results
