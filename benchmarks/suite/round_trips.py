"""How often one waits for the server, measured through a proxy that delays each answer, like a database in the cloud.

A count is a time divided by the delay. The bot's and the server's own work is a small part of it, so it can be judged
on any machine.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from pymongo.uri_parser import parse_uri
from telegram import Update
from telegram.ext import Application, BasePersistence, ExtBot, MessageHandler, filters

from ptb_mongo import SharedApplication
from suite.bot import App, NoNetwork, remember, update_from
from suite.core import Figure, Line, Results, Run, Target, no_more_than, timed
from suite.subjects import MOTOR, OURS, TOKEN, Ours, client_of

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from proxy_process import ProxyProcess

WORK: Final = "round trips"
UNIT: Final = "round trips"
DELAY: Final = 0.02  # seconds
AT_ONCE: Final = 100
_WARM: Final = 0.35  # seconds for warming up an application, until its change stream is open
_SHARED: Final[dict[str, dict[str, Any]]] = {
    "stream": {"consistency": "stream"},
    "strict": {"consistency": "strict"},
    "exclusive": {"exclusive": True},
}
# What waits, and the goal; a start's round trips come in addition to connecting.
STARTS: Final[dict[str, dict[str, Any]]] = {"eager": {}, "lazy": {"loading": "lazy"}}
START_GOAL: Final = no_more_than(3)
NEW_USER, READ = "a new user's first update, lazy, in private", 'an update with refresh="read"'
GOALS: Final[dict[str, Target]] = {
    NEW_USER: no_more_than(1.2),
    READ: no_more_than(2.2),
    "stream": no_more_than(1.2),
    "strict": no_more_than(2.2),
    "exclusive": no_more_than(2.4),
    # A part of it is the bot's own time, which is longer on a busy machine: 6.3 to 9 were measured in one hour.
    f"{AT_ONCE} at once, exclusive": no_more_than(6, 12),
}


def application(persistence: BasePersistence[Any, Any, Any], options: dict[str, Any] | None = None) -> App:
    """A bot without any other network; a shared one if there are options."""
    bot = ExtBot(TOKEN, request=NoNetwork(), get_updates_request=NoNetwork(), arbitrary_callback_data=True)
    builder: Any = Application.builder().bot(bot).updater(None).job_queue(None)
    if options is not None:
        builder = builder.application_class(SharedApplication, options).concurrent_updates(AT_ONCE)
    made: App = builder.persistence(persistence).build()
    made.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, remember))
    return made


@asynccontextmanager
async def running(subject: Ours, options: dict[str, Any] | None = None) -> Any:
    """An application that has already handled updates."""
    app = application(subject.made(), options)
    await app.initialize()
    try:
        warm = time.monotonic() + _WARM
        for user in itertools.cycle(range(AT_ONCE)):
            if time.monotonic() > warm:
                break
            await app.process_update(update_from(user))
        yield app
    finally:
        await app.shutdown()
        await subject.close()


async def trips(rounds: int, work: Callable[[], Awaitable[Any]]) -> float:
    """How many round trips some work takes: in the best round, as a busy machine only adds to it."""
    taken = []
    for _ in range(rounds):
        taken.append(await timed(work()) / DELAY)
        await asyncio.sleep(2 * DELAY)  # background work is done by then
    return min(taken)


async def connecting(run: Run, driver: str, rounds: int) -> tuple[float, float]:
    """The round trips of a driver until its first answer, and for the next one: the minimum for anything."""
    first, next_one = [], []
    for _ in range(rounds):
        async with client_of(driver, run.uri) as client:
            first.append(await timed(client.admin.command("ping")) / DELAY)
            next_one.append(await timed(client.admin.command("ping")) / DELAY)
    return min(first), min(next_one)


async def starting(run: Run, name: str, rounds: int, **options: Any) -> float:
    """The round trips of `Application.initialize`, without an open connection; closing does not count."""
    taken = []
    for _ in range(rounds):
        subject = Ours(run, name, **options)
        app = application(subject.made())
        taken.append(await timed(app.initialize()) / DELAY)
        await app.shutdown()
        await subject.close()
    return min(taken)


async def many(app: App) -> None:
    """Handles updates of many users at once."""
    await asyncio.gather(*(app.process_update(update_from(user)) for user in range(AT_ONCE)))


async def updating(run: Run, name: str, rounds: int) -> dict[str, float]:
    """The round trips of updates."""
    found = {}
    fresh: Iterator[Update] = map(update_from, itertools.count(1_000_000))
    async with running(Ours(run, name, loading="lazy")) as app:
        found[NEW_USER] = await trips(rounds, lambda: app.process_update(next(fresh)))
    async with running(Ours(run, name, refresh="read")) as app:
        found[READ] = await trips(rounds, lambda: app.process_update(update_from(1)))
    for mode, options in _SHARED.items():
        async with running(Ours(run, name), options) as app:
            found[mode] = await trips(rounds, lambda app=app: app.process_update(update_from(1)))
            if mode == "exclusive":
                found[f"{AT_ONCE} at once, exclusive"] = await trips(min(rounds, 5), partial(many, app))
    return found


async def measure(run: Run) -> Results:
    """Measures."""
    rounds = run.of(15, 3)
    results = Results()
    host, port = parse_uri(run.uri)["nodelist"][0]
    with ProxyProcess(f"{host}:{port}") as proxy:
        proxy.call("delay", seconds=DELAY)
        through = replace(run, uri=proxy.uri)
        await Ours(run, MOTOR).fill(AT_ONCE)
        for name, driver in OURS.items():
            await Ours(run, name).fill(AT_ONCE)
            results.figures += await lines(through, name, driver, rounds)
    return results


async def lines(run: Run, name: str, driver: str, rounds: int) -> list[Figure]:
    """The lines of one driver."""
    few = max(rounds // 3, 2)
    connect, ping = await connecting(run, driver, few)
    figures = [
        Line(WORK, "the driver's own ping", driver).counts(ping, UNIT),
        Line(WORK, "connecting itself", driver).counts(connect, UNIT),
    ]
    for what, options in STARTS.items():
        taken = await starting(run, name, few, **options) - connect
        figures.append(Line(WORK, f"start, {what}, besides connecting", driver).counts(taken, UNIT, START_GOAL))
    found = await updating(run, name, rounds)
    return figures + [Line(WORK, what, driver).counts(found[what], UNIT, goal) for what, goal in GOALS.items()]
