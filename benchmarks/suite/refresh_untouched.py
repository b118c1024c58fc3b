"""Refresh before an update, when nobody else has changed anything: costs nothing, asks nobody."""

from __future__ import annotations

import time
from typing import Any

from suite.core import Line, Results, Run, Work, alternate, no_more_than, scaled, within
from suite.subjects import IDLE, OTHER, OURS, PICKLE, Counted, Idle, Other, Ours, Persistence, Pickle

WORK = "refresh, untouched"


async def refresh(persistence: Any, user: Any, chat: Any, bot: Any, times: int) -> None:
    """What PTB asks for before each update."""
    for _ in range(times):
        await persistence.refresh_bot_data(bot)
        await persistence.refresh_chat_data(chat_id=1, chat_data=chat)
        await persistence.refresh_user_data(user_id=1, user_data=user)


def refreshing(subject: Persistence, user: Any, times: int) -> Work:
    """One round: seconds for the three refreshes of one update."""
    chat: dict[str, Any] = {}
    bot: dict[str, Any] = {}

    async def once() -> float:
        begun = time.perf_counter()
        await refresh(subject.persistence, user, chat, bot, times)
        return (time.perf_counter() - begun) / times

    return once


async def commands(run: Run, name: str, times: int) -> int:
    """How many commands that many refreshes send."""
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
    found = scaled(await alternate(works, run.of(9, 3)), 1e6)
    for subject in subjects:
        await subject.close()
    results = Results(series={"refresh_untouched": found})
    for name, driver in OURS.items():
        line = Line(WORK, "user, chat and bot, before an update", driver)
        sent = await commands(run, name, times)
        results.figures += [
            line.compare("µs", found, name, IDLE, within(10)),
            line.compare("µs", found, name, OTHER),
            line.counts(sent, "commands", no_more_than(0)),
        ]
    return results
