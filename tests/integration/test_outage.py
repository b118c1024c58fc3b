"""The database becomes unreachable and comes back: the bot keeps answering, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pathlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
from bots import USER, Bot, until
from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo import Conflict, MongoPersistence, UnavailableError, UnsavedDataError
from ptb_mongo.embedded import EmbeddedMongo, EmbeddedReplicaSet

DATABASE = "outage"
SOON = "&serverSelectionTimeoutMS=500&connectTimeoutMS=1000&heartbeatFrequencyMS=500&socketTimeoutMS=2000"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[EmbeddedMongo]:
    with EmbeddedMongo() as server:
        yield server


@pytest.fixture
def server(shared_server: EmbeddedMongo) -> Iterator[EmbeddedMongo]:
    """A server that tests may kill and freeze; it is running and empty at the beginning of each."""
    if not shared_server.is_running:
        shared_server.start()
    with MongoClient(shared_server.uri) as client:
        client.drop_database(DATABASE)
    yield shared_server
    if shared_server.is_running:
        shared_server.resume()


@pytest.fixture
def uri(server: EmbeddedMongo) -> str:
    return server.uri + SOON


@pytest.fixture
async def bot(uri: str) -> AsyncIterator[Bot]:
    bot = Bot(MongoPersistence(uri, DATABASE, shutdown_timeout=20))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=0))
        await bot.saves()
        yield bot


def in_database(server: EmbeddedMongo, user: int = USER) -> Any:
    with MongoClient(server.uri) as client:
        document = client[DATABASE].user_data.find_one({"_id": user})
        return document and document["data"]


# -- the bot goes on -------------------------------------------------------------------------------------


async def test_what_changes_during_an_outage_is_saved_when_the_server_is_back(bot: Bot, server: EmbeddedMongo) -> None:
    server.kill()
    for number in range(1, 6):
        await bot.hears(lambda context, number=number: context.user_data.update(n=number))
        await bot.saves()
    assert bot.persistence.health().waiting == 1

    await asyncio.to_thread(server.start)
    await until(lambda: bot.persistence.health().waiting == 0)

    assert in_database(server) == {"n": 5}
    assert not bot.errors


async def test_what_waits_is_one_version_for_each_document(bot: Bot, server: EmbeddedMongo) -> None:
    server.kill()
    for number in range(100):
        user = number % 10
        await bot.hears(lambda context, number=number: context.user_data.update(n=number), user=user)
        await bot.saves()

    assert bot.persistence.health().waiting == 10
    await asyncio.to_thread(server.start)
    await until(lambda: bot.persistence.health().waiting == 0)
    assert [in_database(server, user) for user in range(10)] == [{"n": number} for number in range(90, 100)]


async def test_an_outage_is_told_once_and_its_end_with_the_number_that_was_waiting(
    bot: Bot, server: EmbeddedMongo, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ptb_mongo"):
        server.kill()
        for number in range(3):
            await bot.hears(lambda context, number=number: context.user_data.update(n=number), user=number)
            await bot.saves()
        await asyncio.to_thread(server.start)
        await until(lambda: bot.persistence.health().connected and not bot.persistence.health().waiting)

    said = [record.getMessage() for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert len(said) == 2
    assert said[0].startswith("MongoDB is unreachable")
    assert said[1] == "MongoDB is back; 3 documents were waiting"


async def test_health_tells_of_an_outage(bot: Bot, server: EmbeddedMongo) -> None:
    before = bot.persistence.health()
    assert (before.connected, before.refresh, before.waiting, before.last_error) == (True, "watch", 0, None)
    assert (before.saves, before.documents_written) == (1, 1)

    server.kill()
    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.saves()
    during = bot.persistence.health()

    assert (during.connected, during.waiting) == (False, 1)
    assert during.oldest_waiting > 0
    assert "no MongoDB server answers" in str(during.last_error)

    await asyncio.to_thread(server.start)
    await until(lambda: bot.persistence.health().connected)


async def test_edits_of_others_right_after_an_outage_are_seen_and_merged(bot: Bot, server: EmbeddedMongo) -> None:
    server.kill()
    await bot.hears(lambda context: context.user_data.update(bot=1))
    await bot.saves()
    await asyncio.to_thread(server.start)

    with MongoClient(server.uri) as client:
        client[DATABASE].user_data.update_one({"_id": USER}, {"$set": {"data.service": 1}})

    await bot.sees(lambda data: "service" in data)
    await until(lambda: bot.persistence.health().waiting == 0)
    assert in_database(server) == {"n": 0, "bot": 1, "service": 1}


async def test_a_user_who_was_never_loaded_gets_no_empty_data_during_an_outage(uri: str, server: EmbeddedMongo) -> None:
    with MongoClient(server.uri) as client:
        client[DATABASE].user_data.insert_one({"_id": 7, "data": {"known": True}})
    bot = Bot(MongoPersistence(uri, DATABASE, loading="lazy"))
    async with bot.application:
        server.kill()
        with pytest.raises(UnavailableError, match=r"user_data, _id 7: it was never loaded"):
            await bot.persistence.refresh_user_data(user_id=7, user_data={})

        await asyncio.to_thread(server.start)
        await until(lambda: bot.persistence.health().connected)
        assert (await bot.hears(user=7)) == {"known": True}


@pytest.mark.parametrize("of", ["user", "chat"])
@pytest.mark.parametrize("by_hand", ["flush", "get_bot_data"])
async def test_nor_while_what_was_called_by_hand_has_left_nothing_open(
    uri: str, server: EmbeddedMongo, by_hand: str, of: str
) -> None:
    with MongoClient(server.uri) as client:
        for scope in ("user_data", "chat_data"):
            client[DATABASE][scope].insert_one({"_id": 7, "data": {"known": True}})
    bot = Bot(MongoPersistence(uri, DATABASE, loading="lazy"))
    async with bot.application:
        server.kill()
        with contextlib.suppress(UnavailableError):
            await getattr(bot.persistence, by_hand)()
        assert bot.persistence.session is None
        with pytest.raises(UnavailableError, match=rf"{of}_data, _id 7: it was never loaded"):
            await getattr(bot.persistence, f"refresh_{of}_data")(7, {})

        await asyncio.to_thread(server.start)
        assert (await bot.hears(user=7)) == {"known": True}


async def test_an_update_waits_for_a_frozen_server_once_at_most(bot: Bot, server: EmbeddedMongo) -> None:
    session: Any = bot.persistence.session
    server.pause()
    while bot.persistence.health().connected:  # an answer that was under way may have come after the first question
        session.scopes.user_data.replicas[USER].told()
        await bot.hears(lambda context: context.user_data.update(n=1))  # notices it

    for _ in range(100):
        await at_once(bot.hears(lambda context: context.user_data.update(n=2)))
    assert session.scopes.user_data.replicas[USER].is_stale

    server.resume()
    await bot.saves()
    await until(lambda: bot.persistence.health().connected and not bot.persistence.health().waiting)
    assert in_database(server) == {"n": 2}


async def at_once(something: Coroutine[Any, Any, Any]) -> None:
    """Lets something happen that may wait for nothing from outside, and for no timer: a few turns of the loop do."""
    task = asyncio.ensure_future(something)
    for _ in range(50):
        await asyncio.sleep(0)  # a turn that does not block
    assert task.done()
    await task


async def test_a_save_pass_hands_over_to_the_background_when_the_server_is_frozen(
    bot: Bot, server: EmbeddedMongo
) -> None:
    server.pause()
    await bot.hears(lambda context: context.user_data.update(n=1))
    await asyncio.wait_for(bot.saves(), 15)  # it would wait for ever

    assert bot.persistence.health().waiting == 1
    server.resume()
    await until(lambda: bot.persistence.health().waiting == 0)
    assert in_database(server) == {"n": 1}


async def test_a_failover_loses_nothing() -> None:
    with EmbeddedReplicaSet() as servers:
        bot = Bot(MongoPersistence(servers.uri + SOON, DATABASE, shutdown_timeout=30))
        async with bot.application:
            await bot.hears(lambda context: context.user_data.update(n=0))
            await bot.saves()
            for number in (1, 2):
                servers.primary().kill()
                await bot.hears(lambda context, number=number: context.user_data.update(n=number))
                await bot.saves()
                await until(lambda: bot.persistence.health().connected and not bot.persistence.health().waiting)
                await asyncio.to_thread(servers.start)
            with MongoClient(servers.uri) as client:
                client[DATABASE].user_data.update_one({"_id": USER}, {"$set": {"data.service": 1}})
            await bot.sees(lambda data: data == {"n": 2, "service": 1})


# -- shutting down ---------------------------------------------------------------------------------------


async def test_flush_waits_for_a_server_that_comes_back_in_time(uri: str, server: EmbeddedMongo) -> None:
    bot = Bot(MongoPersistence(uri, DATABASE, shutdown_timeout=20))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        server.kill()
        asyncio.get_running_loop().run_in_executor(None, server.start)

    assert in_database(server) == {"n": 1}


async def test_flush_names_what_it_could_not_save(uri: str, server: EmbeddedMongo) -> None:
    bot = Bot(MongoPersistence(uri, DATABASE, shutdown_timeout=0.5))
    await bot.application.initialize()
    for user in range(8):
        await bot.hears(lambda context: context.user_data.update(n=1), user=user)
    server.kill()

    with pytest.raises(UnsavedDataError, match=r"within 0.5 s; documents not saved: 8 \(user_data \d.*, \.\.\.\)"):
        await bot.application.shutdown()

    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.to_thread(server.start)


@pytest.mark.parametrize("driver", ["uri", "client"])
async def test_what_was_spilled_is_merged_by_the_next_start(
    uri: str, server: EmbeddedMongo, tmp_path: pathlib.Path, driver: str
) -> None:
    client: Any = uri if driver == "uri" else AsyncMongoClient(uri)
    bot = Bot(MongoPersistence(client, DATABASE, shutdown_timeout=0.5, spill_dir=tmp_path))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(a=0, b={"x": 0}))
    await bot.saves()
    await bot.hears(lambda context: context.user_data["b"].update(y=1))
    server.kill()
    with pytest.raises(UnsavedDataError, match=str(tmp_path)):
        await bot.application.shutdown()
    assert [mode & 0o077 for mode in modes(tmp_path)] == [0]
    await asyncio.to_thread(server.start)
    with MongoClient(server.uri) as service:
        service[DATABASE].user_data.update_one({"_id": USER}, {"$set": {"data.a": 5, "data.b.z": 2}})

    again = Bot(MongoPersistence(client, DATABASE, spill_dir=tmp_path))
    async with again.application:
        expected = {"a": 5, "b": {"x": 0, "y": 1, "z": 2}}
        assert again.application.user_data[USER] == expected
        assert in_database(server) == expected
    assert modes(tmp_path) == []
    if not isinstance(client, str):
        await client.close()


async def test_a_spilled_file_that_is_damaged_stays_and_is_named(
    uri: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / f"ptb_mongo-{DATABASE}--x.unsaved"
    file.write_bytes(b"damaged")
    bot = Bot(MongoPersistence(uri, DATABASE, spill_dir=tmp_path))

    async with bot.application:
        assert await bot.hears() == {}

    assert file.exists()
    assert file.name in caplog.text


def modes(folder: pathlib.Path) -> list[int]:
    """The modes of the files in a folder."""
    return [file.stat().st_mode for file in folder.iterdir()]


class BotProcess:
    """A bot in a process of its own."""

    def __init__(self, uri: str, **options: Any) -> None:
        script = pathlib.Path(__file__).with_name("bot_process.py")
        command = [sys.executable, "-W", "ignore", str(script), uri, DATABASE, json.dumps(options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.says() == "ready"

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def hears(self) -> str:
        assert self.process.stdin
        self.process.stdin.write(f"{USER}\n")
        self.process.stdin.flush()
        return self.says()

    def ends(self) -> tuple[int, str]:
        """Sends SIGTERM; the status and what was written to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def test_sigterm_saves_everything(uri: str, server: EmbeddedMongo) -> None:
    bot = BotProcess(uri, update_interval=3600)
    bot.hears()

    status, errors = bot.ends()

    assert (status, in_database(server)) == (0, {"n": 1}), errors


def test_sigterm_with_the_whole_server_frozen_ends_the_process_and_keeps_the_data(
    uri: str, server: EmbeddedMongo, tmp_path: pathlib.Path
) -> None:
    options = {"update_interval": 0.2, "shutdown_timeout": 1, "spill_dir": str(tmp_path)}
    bot = BotProcess(uri, **options)
    bot.hears()
    server.pause()
    for _ in range(3):
        bot.hears()

    status, errors = bot.ends()

    assert status == 1
    assert "UnsavedDataError" in errors
    server.resume()
    again = BotProcess(uri, **options)
    assert again.hears().startswith("handled 5 ")
    status, errors = again.ends()
    assert (status, in_database(server)) == (0, {"n": 5}), errors


# -- a write whose acknowledgement is lost -----------------------------------------------------------------


async def test_our_own_write_that_was_never_acknowledged_is_not_mistaken_for_somebody_elses(
    uri: str, server: EmbeddedMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Conflict] = []

    def add_up(conflict: Conflict) -> Any:
        asked.append(conflict)
        return conflict.local + conflict.remote - conflict.base

    bot = Bot(MongoPersistence(uri, DATABASE, on_conflict=add_up))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(coins=10))
        await bot.saves()
        session: Any = bot.persistence.session
        back = asyncio.Event()
        write, hello, read = session._driver.write, session._driver.hello, session._driver.raw_documents

        async def write_without_acknowledgement(*arguments: Any) -> Any:
            monkeypatch.setattr(session._driver, "write", write)
            await write(*arguments)
            raise UnavailableError("the answer is lost")

        async def hello_when_back() -> Any:
            await back.wait()
            return await hello()

        async def read_when_back(*arguments: Any, **options: Any) -> list[list[bytes]]:
            if not back.is_set():
                raise UnavailableError("nobody answers")
            found: list[list[bytes]] = await read(*arguments, **options)
            return found

        monkeypatch.setattr(session._driver, "write", write_without_acknowledgement)
        monkeypatch.setattr(session._driver, "hello", hello_when_back)
        monkeypatch.setattr(session._driver, "raw_documents", read_when_back)
        await bot.hears(lambda context: context.user_data.update(coins=15))
        await bot.saves()
        await bot.hears(lambda context: context.user_data.update(coins=16))
        await bot.saves()
        assert in_database(server) == {"coins": 15}
        with MongoClient(server.uri) as client:
            client[DATABASE].user_data.update_one({"_id": USER}, {"$set": {"data.gift": 1}})
        await until(lambda: session.scopes.user_data.replicas[USER].is_stale)
        back.set()

        await bot.sees(lambda data: data == {"coins": 16, "gift": 1})
        await until(lambda: bot.persistence.health().waiting == 0)
        assert in_database(server) == {"coins": 16, "gift": 1}
        assert asked == []


async def test_a_write_whose_answer_is_lost_is_looked_for_before_it_is_sent_again(
    uri: str, server: EmbeddedMongo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others may have changed what it wrote: sent again blindly, it would undo that."""
    bot = Bot(MongoPersistence(uri, DATABASE, refresh="off"))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(coins=10))
        await bot.saves()
        session: Any = bot.persistence.session
        write = session._driver.write

        async def write_without_acknowledgement(*arguments: Any) -> Any:
            monkeypatch.setattr(session._driver, "write", write)
            await write(*arguments)
            with MongoClient(server.uri) as client:
                client[DATABASE].user_data.update_one({"_id": USER}, {"$set": {"data.coins": 99}})
            raise UnavailableError("the answer is lost")

        monkeypatch.setattr(session._driver, "write", write_without_acknowledgement)
        await bot.hears(lambda context: context.user_data.update(coins=15))
        await bot.saves()

        assert in_database(server) == {"coins": 99}
    assert "MongoDB is unreachable" not in caplog.text


async def test_a_save_that_is_offered_while_another_is_tried_again_ends_with_it(
    uri: str, server: EmbeddedMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = Bot(MongoPersistence(uri, DATABASE))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(coins=1))
        await bot.saves()
        session: Any = bot.persistence.session
        write, sent, broken = session._driver.write, asyncio.Event(), asyncio.Event()

        async def write_that_breaks(*_: Any) -> Any:
            monkeypatch.setattr(session._driver, "write", write)
            sent.set()
            await broken.wait()
            raise UnavailableError("the connection broke")

        monkeypatch.setattr(session._driver, "write", write_that_breaks)
        first = asyncio.create_task(bot.persistence.update_user_data(USER, {"coins": 2}))
        await sent.wait()
        second = asyncio.create_task(bot.persistence.update_user_data(USER, {"coins": 3}))
        await asyncio.sleep(0)
        broken.set()

        await asyncio.wait_for(asyncio.gather(first, second), 30)
        assert in_database(server) == {"coins": 3}
