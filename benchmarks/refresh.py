"""What a refresh costs, how soon an edit is seen, and what a start takes: `python benchmarks/refresh.py`.

Runs on the embedded server. Absolute times depend on the machine; compare them within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymongo import AsyncMongoClient, MongoClient
from rich.console import Console
from rich.table import Table
from telegram.ext import ExtBot

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import mongodb_uri

DATABASE = f"benchmark_refresh_{os.getpid()}"
TOKEN = "123456:BENCHMARK"
DOCUMENT = {
    "name": "Ada",
    "language": "en",
    "score": 12,
    "premium": False,
    "cart": [{"sku": "x-1", "qty": 2}, {"sku": "y-2", "qty": 1}],
    "settings": {"tone": "warm", "size": 3, "notes": "n" * 60},
}
_MEMORY = "VmRSS"


@asynccontextmanager
async def opened(client: Any, **options: Any) -> AsyncIterator[tuple[MongoPersistence[Any, Any, Any], dict[int, Any]]]:
    """A persistence that has loaded its users, as `Application.initialize` does it."""
    persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(client, DATABASE, **options)
    persistence.set_bot(ExtBot(TOKEN))
    users = await persistence.get_user_data()
    await persistence.get_chat_data()
    await persistence.get_bot_data()
    try:
        yield persistence, users
    finally:
        await persistence.flush()


def fill(uri: str, count: int) -> None:
    """Makes that many users."""
    with MongoClient(uri) as client:
        collection = client[DATABASE].user_data
        collection.drop()
        for start in range(0, count, 10_000):
            numbers = range(start, min(start + 10_000, count))
            collection.insert_many({"_id": n, "data": DOCUMENT, "rev": "benchmark:1"} for n in numbers)


async def cost_of_an_untouched_refresh(uri: str, rounds: int) -> float:
    """Microseconds for one refresh of a user whom nobody has edited."""
    async with opened(uri) as (persistence, users):
        live = users[1]
        await persistence.refresh_user_data(user_id=1, user_data=live)
        best = float("inf")
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(rounds):
                await persistence.refresh_user_data(user_id=1, user_data=live)
            best = min(best, time.perf_counter() - begun)
    return best / rounds * 1e6


async def delays(uri: str, driver: str, edits: int) -> list[float]:
    """Milliseconds from another service's write to the moment at which a refresh shows it."""
    client: Any = uri if driver == "Motor" else AsyncMongoClient(uri)
    found = []
    with MongoClient(uri) as service:
        collection = service[DATABASE].user_data
        async with opened(client) as (persistence, users):
            live = users[1]
            for number in range(edits):
                await asyncio.to_thread(collection.update_one, {"_id": 1}, {"$set": {"data.score": -number - 1}})
                begun = time.perf_counter()
                while live["score"] != -number - 1:
                    await persistence.refresh_user_data(user_id=1, user_data=live)
                    await asyncio.sleep(0.0005)
                found.append((time.perf_counter() - begun) * 1e3)
    if not isinstance(client, str):
        await client.close()
    return found


def memory() -> float:
    """Megabytes that this process holds."""
    with pathlib.Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith(_MEMORY)) / 1024


async def start(uri: str, loading: Any) -> tuple[float, float]:
    """Seconds and megabytes for one start."""
    async with opened(uri, loading=loading, refresh="watch"):
        pass  # connections and caches are warm
    gc.collect()
    before, begun = memory(), time.perf_counter()
    async with opened(uri, loading=loading, refresh="watch") as (_, users):
        seconds = time.perf_counter() - begun
        gc.collect()
        assert loading == "lazy" or users
        return seconds, memory() - before


def start_in_a_process(uri: str, loading: str) -> tuple[float, float]:
    """The same in a fresh process, whose memory nobody else has used."""
    environment = {**os.environ, "BENCHMARK_DATABASE": DATABASE}
    command = [sys.executable, __file__, "--start", uri, loading]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    seconds, megabytes = output.split()
    return float(seconds), float(megabytes)


def verdict(value: float, target: float) -> str:
    """Whether a target is met, in colour."""
    return "[green]met[/]" if value < target else f"[red]missed ({value / target:.1f} x)[/]"


def report(uri: str, *, sizes: list[int], edits: int, rounds: int) -> None:
    """Measures, and prints the tables."""
    console = Console()
    fill(uri, 1000)
    cost = asyncio.run(cost_of_an_untouched_refresh(uri, rounds))
    table = Table("what", "measured", "target", "", title="Refresh")
    table.add_row("an untouched user", f"{cost:.2f} µs", "< 10 µs", verdict(cost, 10))
    for driver in ("Motor", "PyMongo async"):
        found = sorted(asyncio.run(delays(uri, driver, edits)))
        median, p99 = statistics.median(found), found[int(len(found) * 0.99)]
        table.add_row(f"an edit until seen, {driver}: median", f"{median:.1f} ms", "< 10 ms", verdict(median, 10))
        table.add_row(f"an edit until seen, {driver}: p99", f"{p99:.1f} ms", "< 50 ms", verdict(p99, 50))
    console.print(table)
    table = Table("users", "eager: s", "lazy: s", "eager: MB", "lazy: MB", title="Start")
    for size in sizes:
        fill(uri, size)
        (eager, eager_memory), (lazy, lazy_memory) = (start_in_a_process(uri, mode) for mode in ("eager", "lazy"))
        cells = (f"{eager:.3f}", f"{lazy:.3f}", f"{eager_memory:.1f}", f"{lazy_memory:.1f}")
        table.add_row(f"{size:,}", *cells)
    console.print(table)


def main() -> None:
    """Runs the benchmark."""
    global DATABASE  # noqa: PLW0603  (a child process works on its parent's database)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a quick run")
    parser.add_argument("--start", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        DATABASE = os.environ["BENCHMARK_DATABASE"]
        print(*asyncio.run(start(*arguments.start)))
        return
    with mongodb_uri() as uri:
        try:
            if arguments.small:
                report(uri, sizes=[1000], edits=50, rounds=1000)
            else:
                report(uri, sizes=[1000, 10_000, 100_000], edits=300, rounds=20_000)
        finally:
            with MongoClient(uri) as client:
                client.drop_database(DATABASE)


if __name__ == "__main__":
    main()
