"""Backup and restore compared with raw reading and writing: `python benchmarks/backup.py --users 100000`.

Raw reading takes the documents as bytes and writes them to a file, without compression, checksums or a snapshot; raw
writing is a driver's `insert_many`. Both alternate with ours in one run: look at the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient

from ptb_mongo.driver.batches import split
from ptb_mongo.embedded import mongodb_uri
from ptb_mongo.migration.backing_up import back_up, restore
from ptb_mongo.migration.backup_file import BackupReader
from ptb_mongo.migration.database import Database

_GOAL = 1.5
_ROUNDS = 3
_BATCH = 10_000


def _user(number: int) -> dict[str, Any]:
    data = {"name": f"user {number}", "score": number * 7, "tags": ["a", "b", str(number)], "prefs": {"lang": "en"}}
    return {"_id": number, "data": {**data, "history": [number + step for step in range(10)]}, "rev": "2ad0f3a02ba9:3"}


def _fill(uri: str, users: int) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database("backed_up")
        for start in range(0, users, _BATCH):
            some = [_user(number) for number in range(start, min(start + _BATCH, users))]
            client["backed_up"]["user_data"].insert_many(some)


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _measure(uri: str, users: int, folder: Path) -> dict[str, list[float]]:
    client: Any = AsyncIOMotorClient(uri)
    raw, file = folder / "raw.bson", folder / "bot.backup"
    times: dict[str, list[float]] = {"raw read": [], "backup": [], "raw write": [], "restore": []}

    async def read() -> None:
        with raw.open("wb") as out:
            async for batch in client["backed_up"]["user_data"].find_raw_batches({}):
                out.write(batch)

    async def write() -> None:
        documents = [RawBSONDocument(one) for one in split(raw.read_bytes())]
        for start in range(0, len(documents), _BATCH):
            await client["written"]["user_data"].insert_many(documents[start : start + _BATCH], ordered=False)

    async def ours() -> None:
        database = await Database.open(uri, "backed_up")
        try:
            await back_up(database, file)
        finally:
            await database.close()

    async def ours_back() -> None:
        database = await Database.open(uri, "restored")
        try:
            with BackupReader(file) as reader:
                restored = await restore(database, reader, apply=True)
            assert restored.written["user_data"] == users
        finally:
            await database.close()

    await read()
    for _ in range(_ROUNDS):
        for name, work in {"raw read": read, "backup": ours, "raw write": write, "restore": ours_back}.items():
            times[name].append(await _timed(work))
        await client.drop_database("written")
        await client.drop_database("restored")
    print(f"{users:,} users, {raw.stat().st_size:,} bytes; the backup has {file.stat().st_size:,}")
    client.close()
    return times


def main() -> None:
    """Prints the table; the exit code shows whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    users = parser.parse_args().users
    with mongodb_uri() as uri, tempfile.TemporaryDirectory() as folder:
        _fill(uri, users)
        times = asyncio.run(_measure(uri, users, Path(folder)))
    missed = False
    for ours, theirs in (("backup", "raw read"), ("restore", "raw write")):
        ratio = statistics.median(one / other for one, other in zip(times[ours], times[theirs], strict=True))
        shown = f"{statistics.median(times[ours]):.2f} s, {theirs} {statistics.median(times[theirs]):.2f} s"
        print(f"{ours:8} {shown}: {ratio:.2f} times (goal {_GOAL})")
        missed = missed or ratio > _GOAL
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
