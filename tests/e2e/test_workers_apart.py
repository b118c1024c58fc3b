"""Workers in separate processes that lose contact: stopped, killed, cut off, or without notifications.

Whatever happens to one of them, it undoes nothing that another one has answered, and its own update is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import pytest
from botapi import FakeBotAPI, User
from bots import until
from deep import IS_DEEP
from journeys import TOKEN, Worker
from proxy_process import ProxyProcess
from pymongo import MongoClient
from pymongo.uri_parser import parse_uri

from ptb_mongo.embedded import EmbeddedReplicaSet

LEASE = 1.0
EXCLUSIVE = {"exclusive": True, "lease_timeout": LEASE}
WHOLE = {**EXCLUSIVE, "once": "transaction"}


class Party:
    """Some workers, and Telegram."""

    def __init__(
        self, workers: Sequence[Worker], api: FakeBotAPI, session: aiohttp.ClientSession, database: Any
    ) -> None:
        self.workers = workers
        self.api = api
        self.database = database
        self.user: User = api.user(1815, "Ada")
        self._session = session

    def says(self, text: str) -> dict[str, Any]:
        """What arrives when the user writes."""
        message = self.api.new_message(chat=self.user.chat, sender=self.user.json, text=text)
        return {"update_id": self.api.new_id(), "message": message}

    async def post(self, worker: Worker, update: dict[str, Any]) -> int:
        """The status that a worker answers with; 0 if it dies."""
        try:
            async with self._session.post(f"{worker.url}/telegram", json=update) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def comes_again(self, worker: Worker, update: dict[str, Any]) -> None:
        """As Telegram sends an update until it is answered."""
        for _ in range(200):
            if await self.post(worker, update) == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("nobody has handled it")

    @property
    def count(self) -> int:
        found = self.database.user_data.find_one(self.user.id) or {}
        return int(found.get("data", {}).get("count", 0))

    async def begun(self) -> None:
        def said() -> bool:
            try:
                return bool(self.api.last_message(self.user.id).text == "begun")
            except AssertionError:  # it has said nothing yet
                return False

        await until(said)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Party]]


@pytest.fixture
def party(mongodb_server_uri: str, tmp_path: pathlib.Path) -> Start:
    @contextlib.asynccontextmanager
    async def start(
        shared: dict[str, Any], uris: Sequence[str] = (), expects: str = "", at: str = mongodb_server_uri, **more: Any
    ) -> AsyncIterator[Party]:
        name = f"ptb_mongo_apart_{secrets.token_hex(4)}"
        with MongoClient[Any](at) as client:
            async with (
                FakeBotAPI(TOKEN) as api,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            ):
                options = {"database": name, "token": api.token, "base_url": api.base_url, "shared": shared, **more}
                workers = [
                    Worker(f"worker{number}", {**options, "loading": "lazy", "uri": uri}, tmp_path)
                    for number, uri in enumerate(uris or [at] * 2)
                ]
                try:
                    await asyncio.gather(*(worker.start() for worker in workers))
                    yield Party(workers, api, session, client[name])
                    if expects:
                        assert expects in "".join(worker.errors for worker in workers)
                finally:
                    await asyncio.gather(*(worker.kill() for worker in workers))
                    client.drop_database(name)

    return start


@pytest.mark.parametrize("shared", [EXCLUSIVE, WHOLE] if IS_DEEP else [EXCLUSIVE])
async def test_a_worker_that_was_stopped_for_longer_than_its_lease_undoes_nothing(party: Start, shared: Any) -> None:
    async with party(shared, expects="'user:1815' was lost") as all_:
        frozen, other = all_.workers
        assert await all_.post(other, all_.says("count")) == 200
        update = all_.says("count slowly")
        answer = asyncio.create_task(all_.post(frozen, update))
        await all_.begun()
        frozen.freeze()
        for _ in range(3):
            await all_.comes_again(other, all_.says("count"))
        frozen.thaw()

        assert await answer == 503
        assert all_.count == 4
        await all_.comes_again(frozen, update)
        assert all_.count == 5
        await all_.comes_again(other, update)  # once more: it is known to be done
        assert all_.count == 5


@pytest.mark.skipif(not IS_DEEP, reason="in the deep form only: each start of processes takes seconds")
async def test_a_worker_that_is_killed_in_a_handler_keeps_nobody_waiting_for_longer_than_its_lease(
    party: Start,
) -> None:
    async with party(EXCLUSIVE) as all_:
        killed, other = all_.workers
        update = all_.says("count slowly")
        answer = asyncio.create_task(all_.post(killed, update))
        await all_.begun()
        await killed.kill()
        assert await answer == 0
        began = asyncio.get_running_loop().time()

        await all_.comes_again(other, update)

        assert asyncio.get_running_loop().time() - began < LEASE + 1.5
        assert all_.count == 1


@pytest.mark.parametrize("shared", [{"consistency": "strict"}, EXCLUSIVE] if IS_DEEP else [EXCLUSIVE])
@pytest.mark.skipif(not IS_DEEP, reason="in the deep form only: each start of processes takes seconds")
async def test_a_worker_that_is_cut_off_while_its_handler_runs_undoes_nothing_when_it_is_back(
    party: Start, mongodb_server_uri: str, shared: Any
) -> None:
    host, port = parse_uri(mongodb_server_uri)["nodelist"][0]
    with ProxyProcess(f"{host}:{port}") as proxy:
        async with party(shared, [proxy.uri, mongodb_server_uri]) as all_:
            cut_off, other = all_.workers
            update = all_.says("count slowly")
            answer = asyncio.create_task(all_.post(cut_off, update))
            await all_.begun()
            await asyncio.to_thread(proxy.call, "stall")
            for _ in range(3):
                await all_.comes_again(other, all_.says("count"))
            assert await answer == 503
            await asyncio.to_thread(proxy.call, "cut")
            await asyncio.to_thread(proxy.call, "forward")

            await all_.comes_again(cut_off, update)

            assert all_.count == 4


@pytest.mark.skipif(not IS_DEEP, reason="in the deep form only: each start of processes takes seconds")
async def test_what_a_worker_has_spilled_undoes_nothing_at_its_restart(
    party: Start, mongodb_server_uri: str, tmp_path: pathlib.Path
) -> None:
    host, port = parse_uri(mongodb_server_uri)["nodelist"][0]
    stores = {"spill_dir": str(tmp_path / "spilled"), "shutdown_timeout": 2}
    with ProxyProcess(f"{host}:{port}") as proxy:
        async with party({}, [proxy.uri, mongodb_server_uri], stores=stores, keeps=True) as all_:
            cut_off, other = all_.workers
            assert await all_.post(cut_off, all_.says("count")) == 200
            await asyncio.to_thread(proxy.call, "stall")
            answer = asyncio.create_task(all_.post(cut_off, all_.says("count")))
            for _ in range(3):
                assert await all_.post(other, all_.says("count")) == 200
            await answer
            assert await cut_off.stop() != 0  # it says that something is unsaved
            assert all_.count == 4
            await asyncio.to_thread(proxy.call, "cut")
            await asyncio.to_thread(proxy.call, "forward")

            await cut_off.start()

            assert all_.count == 4
            assert await all_.post(cut_off, all_.says("count")) == 200
            assert all_.count == 5
            assert [*(tmp_path / "spilled").glob("*.unsaved")] == []


@pytest.mark.skipif(not IS_DEEP, reason="in the deep form only: each start of processes takes seconds")
@pytest.mark.parametrize("shared", [{"consistency": "strict"}, EXCLUSIVE], ids=["strict", "exclusive"])
async def test_what_a_frozen_primary_still_holds_undoes_nothing_after_a_failover(party: Start, shared: Any) -> None:
    with EmbeddedReplicaSet() as servers:
        async with party(shared, at=servers.uri) as all_:
            late, other = all_.workers
            assert await all_.post(late, all_.says("count")) == 200
            update = all_.says("count slowly")
            answer = asyncio.create_task(all_.post(late, update))
            await all_.begun()
            primary = servers.primary()
            primary.pause()
            for _ in range(3):
                await all_.comes_again(other, all_.says("count"))
            first = await answer
            counted = all_.count
            primary.resume()
            await asyncio.to_thread(servers.start)  # until all are in sync again

            assert all_.count == counted >= 4
            await all_.comes_again(late, update)
            assert all_.count == counted + (first != 200)
            await all_.comes_again(other, all_.says("count"))
            assert all_.count == counted + (first != 200) + 1
