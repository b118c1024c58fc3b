"""What `expire` costs: `python benchmarks/expire.py --users 100000`.

Writing `seen_at` for everybody who came today, against saving one changed field of each; and an update of somebody who
was noted already, against the same with a persistence that has no `expire`. All in one run: look at the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
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


def _fill(uri: str, users: int) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        for start in range(0, users, _BATCH):
            some = [
                {"_id": number, "data": {"name": f"user {number}", "score": 0, "tags": ["a", "b"]}, "rev": "x:1"}
                for number in range(start, min(start + _BATCH, users))
            ]
            client["expiring"]["user_data"].insert_many(some)


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _untouched(persistence: Any, data: Any) -> float:
    """Microseconds of one refresh of somebody who was noted already."""
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
        saved.append(await _timed(lambda: asyncio.gather(*(expiring.update_user_data(*one) for one in data.items()))))
        if number == 0:  # the index is there from now on
            for _ in range(600):
                if "seen_at_1" in await client["expiring"]["user_data"].index_information():
                    break
                await asyncio.sleep(0.1)
        today = Seen(expiring.session.driver, expire, expiring.session.scopes.by_name, timedelta())
        for key in data:
            today.note("user_data", key, lambda: True)
        seen.append(await _timed(today.write))
        await today.close()
    ratio = statistics.median(seen) / statistics.median(saved)
    print(f"{users:,} users: saving a field of each {statistics.median(saved):.2f} s, writing seen_at of each ", end="")
    print(f"{statistics.median(seen):.2f} s: {ratio:.3f} times (goal {_GOAL})")
    one = {"name": "one"}
    expiring.session.seen.note("user_data", 1, lambda: True)
    times: dict[str, list[float]] = {"plain": [], "expiring": []}
    for _ in range(_ROUNDS):
        times["plain"].append(await _untouched(plain, one))
        times["expiring"].append(await _untouched(expiring, data[1]))
    shown = {name: round(statistics.median(found), 2) for name, found in times.items()}
    print(f"an untouched update: {shown['expiring']} µs, without expire {shown['plain']} µs")
    await client.close()
    await plain.flush()
    await expiring.flush()
    raise SystemExit(ratio > _GOAL)


def main() -> None:
    """Prints the figures; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    users = parser.parse_args().users
    with mongodb_uri() as uri:
        _fill(uri, users)
        asyncio.run(_measure(uri, users))


if __name__ == "__main__":
    main()
