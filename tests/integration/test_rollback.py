"""A write on a primary without a majority is not saved: an election undoes it, and the bot must write again.

Until then, that primary shows the write to every local read. A bot that lost the answer must not believe it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from bots import USER, Bot, until
from disturbed import WRITES, write_user
from proxy import Proxy
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedMongo, EmbeddedReplicaSet

_NO_ELECTION = 60_000  # milliseconds that a primary without a majority stays one: a test ends that itself


def client_of(server: EmbeddedMongo) -> MongoClient[dict[str, Any]]:
    return MongoClient(server.host, directConnection=True, socketTimeoutMS=5000)


@contextlib.asynccontextmanager
async def bot_on(proxy: Proxy) -> AsyncIterator[Bot]:
    async with AsyncMongoClient(proxy.uri) as client:  # not Motor, whose `close` would block the proxy
        bot = Bot(MongoPersistence(client, "bot", refresh="read"))
        async with bot.application:
            yield bot


class Servers:
    """A primary, and two others that are cut off from it, and elected in its place, when a test says so."""

    def __init__(self, servers: EmbeddedReplicaSet) -> None:
        self._servers = servers
        self.primary = servers.primary()
        self._others = [member for member in servers.members if member is not self.primary]
        self._client = client_of(self.primary)
        config = self._client.admin.command("replSetGetConfig")["config"]
        settings = {**config["settings"], "electionTimeoutMillis": _NO_ELECTION}
        self._client.admin.command(
            "replSetReconfig", {**config, "version": config["version"] + 1, "settings": settings}
        )
        servers.start()  # returns when all have that

    def cut_off(self) -> None:
        """What the primary writes from now on exists nowhere else; what is sent to a frozen server may still arrive."""
        for member in self._others:
            member.kill()

    def number(self) -> object:
        """What the bot has stored, by a local read."""
        found = self._client.bot.user_data.find_one({"_id": USER})
        return found and found["data"]["n"]

    def waits_for_majority(self) -> bool:
        """Whether a read waits at the primary until a majority has what it shows."""
        sought = {"ns": "bot.user_data", "command.readConcern.level": "linearizable"}
        pipeline = [{"$currentOp": {}}, {"$match": sought}]
        return bool(list(self._client.admin.aggregate(pipeline)))

    def elect_another(self) -> EmbeddedMongo:
        """The primary dies, and comes back when the others have elected another one."""
        self._client.close()
        self.primary.kill()
        for member in self._others:
            member.start()
        while True:
            try:
                with client_of(self._others[0]) as client:
                    client.admin.command("replSetStepUp")
                break
            except PyMongoError:  # they must learn first that the primary is dead
                continue
        self._servers.start()
        self.primary = self._servers.primary()
        self._client = client_of(self.primary)
        return self.primary

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def servers() -> Iterator[Servers]:
    with EmbeddedReplicaSet() as replica_set:
        servers = Servers(replica_set)
        yield servers
        servers.close()


@pytest.fixture
async def proxy(servers: Servers) -> AsyncIterator[Proxy]:
    async with Proxy(servers.primary.host) as proxy:
        yield proxy


async def loses_the_answer(_: Bot, proxy: Proxy) -> None:
    proxy.cut()


async def handles_an_update(bot: Bot, _: Proxy) -> None:
    await bot.hears()


@pytest.mark.parametrize("looks", [loses_the_answer, handles_an_update])
async def test_a_write_that_was_undone_after_the_bot_had_looked_for_it_is_written_again(
    servers: Servers, proxy: Proxy, looks: Callable[[Bot, Proxy], Awaitable[None]]
) -> None:
    def is_saved() -> bool:
        return bot.persistence.health().waiting == 0

    async with bot_on(proxy) as bot:
        await write_user(bot, 1)
        await asyncio.to_thread(servers.cut_off)
        writing = asyncio.create_task(write_user(bot, 2))
        await until(lambda: servers.number() == 2)
        looking = asyncio.create_task(looks(bot, proxy))
        await until(lambda: is_saved() or servers.waits_for_majority())
        new = await asyncio.to_thread(servers.elect_another)
        assert servers.number() == 1
        proxy.target = new.host
        proxy.cut()
        await asyncio.gather(writing, looking)
        await until(is_saved)

        assert servers.number() == 2
        assert (await bot.hears())["n"] == 2


async def test_on_a_standalone_server_where_nothing_is_undone_a_lost_answer_costs_no_more_than_a_read() -> None:
    with EmbeddedMongo(replica_set=None) as standalone, client_of(standalone) as client:
        async with Proxy(standalone.host) as proxy, bot_on(proxy) as bot:
            await write_user(bot, 1)
            proxy.lose_answer(WRITES)
            reads, writes = proxy.commands["find"], proxy.commands["update"]
            await write_user(bot, 2)
            await until(lambda: bot.persistence.health().waiting == 0)

            assert client.bot.user_data.find_one({"_id": USER})["data"]["n"] == 2
            assert proxy.commands["find"] - reads == 1
            assert proxy.commands["update"] - writes == 1
