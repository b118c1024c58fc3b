"""The cost and the benefit of several workers: `python benchmarks/workers.py`.

The cost of an update is measured in one process: plain python-telegram-bot, and `SharedApplication` in both modes, with
leases, and with a transaction. Throughput compares one process with several, each of which handles the updates of many
users at once. All do the same work in turns, and the median of the rounds' ratios counts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from suite import report
from suite.bot import App, NoNetwork, answer, update_from
from suite.core import Line, Results, Work, alternate, scaled
from suite.subjects import TOKEN
from telegram import Update
from telegram.ext import Application, ExtBot, MessageHandler, filters

from ptb_mongo import MongoPersistence, SharedApplication
from ptb_mongo.embedded import mongodb_uri

PLAIN, SAVED = "plain", "plain, saved after each update"
MODES: dict[str, dict[str, Any]] = {
    "stream": {"consistency": "stream"},
    "strict": {"consistency": "strict"},
    "exclusive": {"consistency": "strict", "exclusive": True},
    "chat": {"exclusive": "chat"},
    "transaction": {"exclusive": "chat", "once": "transaction"},
}
USERS = 200
_NUMBERS = itertools.count(10**9)  # each update is new, and nobody has handled it before
AT_ONCE = 20  # updates in a round of the first part, and those that a worker handles at once in the second part


def application(uri: str, database: str, options: dict[str, Any] | None, handler: Any = answer) -> App:
    """A bot without network; a shared one if there are options."""
    bot = ExtBot(TOKEN, request=NoNetwork(), get_updates_request=NoNetwork(), arbitrary_callback_data=True)
    builder: Any = Application.builder().bot(bot).updater(None).job_queue(None)
    if options is not None:
        builder = builder.application_class(SharedApplication, options)
    made: App = builder.persistence(MongoPersistence(uri, database, refresh="watch")).build()
    made.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND, handler))
    return made


async def read(update: Update, context: Any) -> None:
    """A handler that changes nothing."""
    await context.bot.send_message(update.effective_chat.id, f"Your score: {context.user_data.get('score', 0)}")


# -- the cost of an update ------------------------------------------------------------------------------------


def handling(app: App, updates: Iterator[Update], *, saved: bool = False) -> Work:
    """One round: seconds for one of several consecutive updates."""

    async def once() -> float:
        begun = time.perf_counter()
        for update in itertools.islice(updates, AT_ONCE):
            if isinstance(app, SharedApplication):
                await app.deliver(Update(next(_NUMBERS), message=update.message))
            else:
                await app.process_update(update)
            if saved:
                await app.update_persistence()
        return (time.perf_counter() - begun) / AT_ONCE

    return once


async def cost(uri: str, database: str, rounds: int) -> Results:
    """Updates one after the other, in one process."""
    results = Results()
    for what, handler in (("a handler that changes the user's data", answer), ("one that changes nothing", read)):
        name = database + handler.__name__
        apps = {PLAIN: application(uri, f"{name}_plain", None, handler)}
        apps[SAVED] = application(uri, f"{name}_saved", None, handler)
        apps |= {mode: application(uri, f"{name}_{mode}", options, handler) for mode, options in MODES.items()}
        updates = [update_from(user) for user in range(USERS)]
        for app in apps.values():
            await app.initialize()
        works = {key: handling(app, itertools.cycle(updates), saved=key == SAVED) for key, app in apps.items()}
        times = scaled(await alternate(works, rounds, collect=False), 1e3)
        for app in apps.values():
            await app.shutdown()
        results.series[what] = times
        line = [
            Line("one update", what, mode).compare("ms", times, mode, peer) for mode in MODES for peer in (PLAIN, SAVED)
        ]
        results.figures += line
    return results


# -- throughput -----------------------------------------------------------------------------------------------


def work(uri: str, database: str, options: dict[str, Any], pipe: Connection, seed: int) -> None:
    """A worker: for each number of seconds that it receives, answers how many updates it has handled in that time."""
    asyncio.run(_work(application(uri, database, options), pipe, seed))


async def _work(app: Any, pipe: Connection, seed: int) -> None:
    # Each worker begins with different users, and all handle all of them.
    users = itertools.islice(itertools.cycle(range(USERS)), seed * 37, None)
    numbers = itertools.count(seed, 100)

    async def handle(until: float) -> int:
        handled = 0
        while time.perf_counter() < until:
            update = update_from(next(users))
            await app.deliver(Update(next(numbers), message=update.message))
            handled += 1
        return handled

    async with app:
        pipe.send(0)
        while seconds := await asyncio.to_thread(pipe.recv):
            until = time.perf_counter() + seconds
            pipe.send(sum(await asyncio.gather(*(handle(until) for _ in range(AT_ONCE)))))


@contextmanager
def workers(uri: str, database: str, options: dict[str, Any], count: int) -> Iterator[list[Connection]]:
    """Processes that are waiting for work."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for number in range(count):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=work, args=(uri, database, options, theirs, number + 1)))
        processes[-1].start()
        pipes.append(ours)
    try:
        for pipe in pipes:
            pipe.recv()
        yield pipes
    finally:
        for pipe in pipes:
            pipe.send(0)
        for process in processes:
            process.join()


def together(pipes: list[Connection], seconds: float) -> Work:
    """One round: how many updates per second the workers handle together."""

    async def once() -> float:
        for pipe in pipes:
            pipe.send(seconds)
        return sum([await asyncio.to_thread(pipe.recv) for pipe in pipes]) / seconds

    return once


async def throughput(uri: str, database: str, rounds: int, count: int, seconds: float) -> Results:
    """Compares one worker with several."""
    results = Results()
    for mode, options in MODES.items():
        with workers(uri, f"{database}throughput_{mode}", options, count) as pipes:
            one, several = "one worker", f"{count} workers"
            works = {one: together(pipes[:1], seconds), several: together(pipes, seconds)}
            rates = await alternate(works, rounds)
        results.series[f"throughput, {mode}"] = rates
        results.figures.append(Line("throughput", several, mode).compare("updates/s", rates, several, one))
    return results


def main() -> None:
    """Measures, and shows the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="of the cost of an update; a tenth of it for throughput")
    parser.add_argument("--seconds", type=float, default=2, help="of a round of throughput")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    asked = parser.parse_args()
    database = f"benchmark_workers_{os.getpid()}_"
    results = Results()
    with mongodb_uri() as uri:
        try:
            versions = report.versions(uri)
            for found in (
                asyncio.run(cost(uri, database, asked.rounds)),
                asyncio.run(throughput(uri, database, max(3, asked.rounds // 10), asked.workers, asked.seconds)),
            ):
                results.figures += found.figures
                results.series |= found.series
        finally:
            with MongoClient[Any](uri) as client:
                for name in client.list_database_names():
                    if name.startswith(database):
                        client.drop_database(name)
    report.show(Console(width=None if sys.stdout.isatty() else 160), results.figures)
    if asked.json:
        report.dump(asked.json, results, asked.rounds < 30, versions)


if __name__ == "__main__":
    main()
