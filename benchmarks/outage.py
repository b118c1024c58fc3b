"""The cost of an outage: `python benchmarks/outage.py`.

An embedded server is killed, and in a second run frozen, while a bot gets updates. The output shows how long handlers
waited because of the persistence, before and after the outage was noticed, how much memory the waiting changes took,
and how soon everything was saved after the server's return. Every update is counted in the database.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import pathlib
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from rich.table import Table
from telegram.ext import ExtBot

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedMongo

DATABASE = "benchmark_outage"
TOKEN = "123456:BENCHMARK"
USERS = 500
INTERVAL = 1.0  # seconds between two saves, as with update_interval=1


@dataclass
class Result:
    """The cost of one outage."""

    kind: str
    updates: int = 0
    until_noticed: float = 0.0
    longest_wait: float = 0.0
    recovery: float = 0.0
    megabytes: float = 0.0
    lost: int = 0


def memory() -> float:
    """The memory of this process, in megabytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


class Bot:
    """The relevant part of an application: refresh, handle, and save periodically."""

    def __init__(self, persistence: MongoPersistence[Any, Any, Any], users: dict[int, Any]) -> None:
        self.persistence = persistence
        self.users = users
        self.touched: set[int] = set()

    async def update(self, user: int) -> float:
        """Handles one update, which adds 1 to a count; returns the seconds that it waited for the persistence."""
        loop = asyncio.get_running_loop()
        data = self.users[user]
        begun = loop.time()
        await self.persistence.refresh_user_data(user_id=user, user_data=data)
        waited = loop.time() - begun
        data["count"] += 1
        self.touched.add(user)
        return waited

    async def save_every(self, seconds: float) -> None:
        """Saves like `Application`."""
        while True:
            await asyncio.sleep(seconds)
            touched, self.touched = self.touched, set()
            copies = [(user, dict(self.users[user])) for user in touched]
            await asyncio.gather(*(self.persistence.update_user_data(user, data) for user, data in copies))


async def outage(kind: str, seconds: float, updates: int) -> Result:
    """Runs one outage."""
    result = Result(kind)
    with EmbeddedMongo() as server:
        with MongoClient(server.uri) as client:
            client[DATABASE].user_data.insert_many({"_id": user, "data": {"count": 0}} for user in range(USERS))
        persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(server.uri, DATABASE)
        persistence.set_bot(ExtBot(TOKEN))
        bot = Bot(persistence, await persistence.get_user_data())
        await persistence.get_chat_data()
        await persistence.get_bot_data()
        saving = asyncio.create_task(bot.save_every(INTERVAL))
        gc.collect()
        before = memory()
        loop = asyncio.get_running_loop()
        (server.kill if kind == "killed" else server.pause)()
        begun = loop.time()
        for number, user in enumerate(itertools.islice(itertools.cycle(range(USERS)), updates)):
            connected = persistence.health().connected
            waited = await bot.update(user)
            if not connected:
                result.longest_wait = max(result.longest_wait, waited)
                result.until_noticed = result.until_noticed or loop.time() - begun
            await asyncio.sleep(max(0.0, begun + seconds * (number + 1) / updates - loop.time()))
        gc.collect()
        result.updates, result.megabytes = updates, memory() - before
        await asyncio.to_thread(server.start if kind == "killed" else server.resume)
        back = loop.time()
        while persistence.health().waiting or not persistence.health().connected:  # noqa: ASYNC110  (there is no event)
            await asyncio.sleep(0.005)
        result.recovery = loop.time() - back
        saving.cancel()
        for user in bot.touched:
            await persistence.update_user_data(user, dict(bot.users[user]))
        await persistence.flush()
        with MongoClient(server.uri) as client:
            counted = sum(document["data"]["count"] for document in client[DATABASE].user_data.find())
        result.lost = updates - counted
    return result


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the server is away")
    parser.add_argument("--updates", type=int, default=10_000, help="how many updates arrive meanwhile")
    arguments = parser.parse_args()
    columns = ("updates", "lost", "noticed after", "longest wait then", "", "saved after return", "memory")
    table = Table("server", *columns, title=f"An outage of {arguments.seconds:g} s")
    for kind in ("killed", "frozen"):
        result = asyncio.run(outage(kind, arguments.seconds, arguments.updates))
        met = "[green]< 50 ms[/]" if result.longest_wait < 0.05 else "[red]>= 50 ms[/]"
        lost = str(result.lost) if result.lost == 0 else f"[red]{result.lost}[/]"
        times = (
            f"{result.until_noticed:.2f} s",
            f"{result.longest_wait * 1e3:.2f} ms",
            met,
            f"{result.recovery:.2f} s",
        )
        table.add_row(kind, f"{result.updates:,}", lost, *times, f"{result.megabytes:+.1f} MB")
    Console().print(table)


if __name__ == "__main__":
    main()
