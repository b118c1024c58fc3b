"""The cost of `expire`: `python benchmarks/expire.py --users 100000`.

It compares writing `seen_at` for everybody who came today with saving one changed field of each, in CPU time of both
sides; and an update of somebody who was already noted with the same update without `expire`. All in one run: look at
the ratios. Somebody who comes every day is written once per period, so the goal is for a day's share.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import mongodb_uri
from ptb_mongo.sync.seen import Seen
from ptb_mongo.types import Expire

_GOAL = 0.1
_ROUNDS = 3
_UPDATES = 20_000
_BATCH = 10_000
_LONG_AGO = datetime.now(timezone.utc) - timedelta(days=30)
_QUIET = 0.1  # seconds of CPU time in half a second


def _fill(uri: str, users: int) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        for start in range(0, users, _BATCH):
            some = [
                {"_id": number, "data": {"name": f"user {number}", "score": 0, "tags": ["a", "b"]}, "rev": "x:1"}
                for number in range(start, min(start + _BATCH, users))
            ]
            client["expiring"]["user_data"].insert_many(some)


async def _cpu(client: Any) -> float:
    """Seconds of CPU time of this process and the server."""
    found = (await client.admin.command("serverStatus"))["extra_info"]
    return time.process_time() + (found["user_time_us"] + found["system_time_us"]) / 1e6


async def _cost(client: Any, work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of CPU time, including what the work leaves to be done afterwards."""
    began = await _cpu(client)
    await work()
    last = began
    while (now := await _cpu(client)) - last > _QUIET:
        last = now
        await asyncio.sleep(0.5)
    return now - began


async def _save(persistence: Any, data: dict[int, Any]) -> None:
    await asyncio.gather(*(persistence.update_user_data(*one) for one in data.items()))


async def _nothing() -> None:
    """Does nothing: measures only what the previous work has left."""


async def _untouched(persistence: Any, data: Any) -> float:
    """Microseconds of one refresh of somebody who was already noted."""
    began = time.perf_counter()
    for _ in range(_UPDATES):
        await persistence.refresh_user_data(1, data)
    return (time.perf_counter() - began) / _UPDATES * 1e6


async def _measure(uri: str, users: int) -> None:
    plain: Any = MongoPersistence(uri, "plain")
    expire: Expire = {"user_data": timedelta(days=365)}
    expiring: Any = MongoPersistence(uri, "expiring", expire=expire)
    client: Any = AsyncMongoClient(uri)
    data = await expiring.get_user_data()
    await plain.get_user_data()
    await plain.update_user_data(1, {"name": "one"})
    saved, seen = [], []
    for number in range(_ROUNDS):
        for one in data.values():
            one["score"] = number + 1
        saved.append(
            await _cost(client, lambda: asyncio.gather(*(expiring.update_user_data(*one) for one in data.items())))
        )
        if number == 0:  # the index exists from now on
            for _ in range(600):
                if "seen_at_1" in await client["expiring"]["user_data"].index_information():
                    break
                await asyncio.sleep(0.1)
        # As if they had been written a period ago.
        await client["expiring"]["user_data"].update_many({}, {"$set": {"seen_at": _LONG_AGO}})
        await _cost(client, _nothing)
        today = Seen(expiring.session.driver, expire, expiring.session.scopes.by_name, timedelta())
        for key in data:
            today.note("user_data", key, lambda: (None, None))
        seen.append(await _cost(client, today.write))
        days = today.days
        await today.close()
    ratio = statistics.median(seen) / statistics.median(saved)
    saving, writing = statistics.median(saved), statistics.median(seen)
    print(f"{users:,} users, CPU time: saving a field of each {saving:.2f} s, writing seen_at of each {writing:.2f} s")
    print(f"that is {ratio:.3f} times, and once in {days} days {ratio / days:.3f} times a day (goal {_GOAL})")
    one = {"name": "one"}
    expiring.session.seen.note("user_data", 1, lambda: (None, None))
    times: dict[str, list[float]] = {"plain": [], "expiring": []}
    for _ in range(_ROUNDS):
        times["plain"].append(await _untouched(plain, one))
        times["expiring"].append(await _untouched(expiring, data[1]))
    shown = {name: round(statistics.median(found), 2) for name, found in times.items()}
    print(f"an untouched update: {shown['expiring']} µs, without expire {shown['plain']} µs")
    await client.close()
    await plain.flush()
    await expiring.flush()
    raise SystemExit(ratio / days > _GOAL)


def main() -> None:
    """Prints the figures; the exit code shows whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    users = parser.parse_args().users
    with mongodb_uri() as uri:
        _fill(uri, users)
        asyncio.run(_measure(uri, users))


if __name__ == "__main__":
    main()
