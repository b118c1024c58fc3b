"""What goes wrong on journeys: workers that are frozen or cut off for longer than a lease, lost answers, failovers.

Each worker has its own way to each server, a `Proxy`, so that one of them can be cut off while all others go on. Which
way a worker takes is decided by `routes`, in its process: a replica set tells all clients the same addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from pymongo import MongoClient
from pymongo.uri_parser import parse_uri

from ptb_mongo.embedded import EmbeddedReplicaSet

sys.path.insert(0, str(Path(__file__).parents[1]))

from proxy import Proxy

__all__ = ["Troubles", "end_transactions_soon"]

_WRITES: Final = ["update", "insert", "delete", "commitTransaction"]
_DATA: Final = ["user_data", "chat_data", "bot_data", "conversations", "callback_data", "leases", "updates"]


def end_transactions_soon(servers: EmbeddedReplicaSet) -> None:
    """Lets servers end after seconds what a client that is cut off has begun, and keeps locked until then."""
    for member in servers.members:
        with MongoClient[Any](member.host, directConnection=True) as client:
            client.admin.command({"setParameter": 1, "transactionLifetimeLimitSeconds": 3})


class Frozen(Protocol):
    """What can be stopped."""

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class Troubles:
    """Those of one run.

    Args:
        uri: Of the servers.
        servers: The same, if they can be failed over.
        chance: Decides.
        lease: Seconds after which a lease expires.
        counts: How often it did what.
    """

    def __init__(
        self, uri: str, servers: EmbeddedReplicaSet | None, chance: random.Random, lease: float, counts: Counter[str]
    ) -> None:
        self._nodes = parse_uri(uri)["nodelist"]
        self._servers = servers
        self._chance = chance
        self._lease = lease
        self._counts = counts
        self._ways: list[list[Proxy]] = []
        self._kinds: list[Any] = []

    @contextlib.asynccontextmanager
    async def ways(self, workers: int) -> AsyncIterator[list[dict[str, int]]]:
        """Opens the ways of workers to the servers; yields the routes of each."""
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(workers):
                ways = [Proxy(f"{host}:{port}") for host, port in self._nodes]
                self._ways.append([await stack.enter_async_context(way) for way in ways])
            yield [
                {str(port): way.port for (_, port), way in zip(self._nodes, ways, strict=True)} for ways in self._ways
            ]

    async def happen(self, workers: Sequence[Frozen]) -> None:
        """Does one thing, and heals it."""
        if not self._kinds:  # each once, before any happens again
            self._kinds = [self._freeze, self._cut_off, self._lose_answers, self._hold]
            self._kinds += [self._fail_over] if self._servers is not None else []
            self._chance.shuffle(self._kinds)
        number = self._chance.randrange(len(workers))
        await self._kinds.pop()(workers[number], self._ways[number])

    async def _beyond_a_lease(self) -> None:
        await asyncio.sleep(self._lease * self._chance.uniform(1.2, 2))

    async def _freeze(self, worker: Frozen, _: list[Proxy]) -> None:
        self._counts["frozen"] += 1
        worker.freeze()
        try:
            await self._beyond_a_lease()
        finally:
            worker.thaw()

    async def _cut_off(self, _: Frozen, ways: list[Proxy]) -> None:
        self._counts["cut off"] += 1
        for way in ways:
            way.stall()
        try:
            await self._beyond_a_lease()
        finally:
            for way in ways:
                if self._chance.random() < 0.5:
                    way.cut()
                way.forward()

    async def _lose_answers(self, _: Frozen, ways: list[Proxy]) -> None:
        before = sum(way.lost_answers for way in ways)
        for way in ways:
            way.lose_answer(_WRITES, 3, close=self._chance.random() < 0.7)
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))
        for way in ways:
            way.forget_rules("lose_answer")
        self._counts["lost answers"] += sum(way.lost_answers for way in ways) - before

    async def _hold(self, _: Frozen, ways: list[Proxy]) -> None:
        """Delivers some writes late: a lease later."""
        for way in ways:
            way.hold(_WRITES[:3], 3, collections=_DATA)
        await self._beyond_a_lease()
        for way in ways:
            way.forget_rules("hold")
            with contextlib.suppress(OSError, RuntimeError):
                self._counts["late requests"] += len(await way.release())

    async def _fail_over(self, _: Frozen, __: list[Proxy]) -> None:
        assert self._servers is not None
        primary = await asyncio.to_thread(self._servers.primary)
        primary.pause()
        try:
            await asyncio.sleep(self._chance.uniform(3, 5))
        finally:
            primary.resume()
        await asyncio.to_thread(self._servers.primary)
        self._counts["failovers"] += 1
