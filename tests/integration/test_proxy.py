"""The proxy does exactly what tests ask it to do to the traffic; otherwise, the tests would prove nothing."""

from __future__ import annotations

import asyncio
import gc
import math
import socket
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from proxy import Proxy
from proxy_process import ProxyProcess
from pymongo import DeleteOne, InsertOne, MongoClient, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from pymongo.uri_parser import parse_uri

SHORT = 1000  # ms, after which a client gives a silent server up


@pytest.fixture
def target(mongodb_server_uri: str) -> str:
    host, port = parse_uri(mongodb_server_uri)["nodelist"][0]
    return f"{host}:{port}"


@pytest.fixture
async def proxy(target: str) -> AsyncIterator[Proxy]:
    async with Proxy(target) as proxy:
        yield proxy


class Client:
    """Goes through the proxy, and tries nothing twice.

    It works in threads, as PyMongo's asynchronous client leaks a socket if it is closed while it connects.
    """

    def __init__(self, uri: str, database: str, **options: Any) -> None:
        self._client: MongoClient[Any] = MongoClient(uri, retryWrites=False, retryReads=False, **options)
        self._database = self._client[database]

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    async def ping(self) -> Any:
        return await asyncio.to_thread(self._database.command, "ping")

    async def add_one(self) -> Any:
        """Counts a document up, or makes it."""
        things = self._database.things
        return await asyncio.to_thread(things.update_one, {"_id": 1}, {"$inc": {"n": 1}}, upsert=True)

    async def insert(self, collection: str, *numbers: int, text: str = "", ordered: bool = True) -> None:
        await self.write(collection, [InsertOne({"_id": number, "text": text}) for number in numbers], ordered=ordered)

    async def write(self, collection: str, requests: list[Any], *, ordered: bool = False) -> None:
        await asyncio.to_thread(self._database[collection].bulk_write, requests, ordered=ordered)

    async def see(self, count: int, meanwhile: Awaitable[None]) -> list[int]:
        """The documents of so many changes."""
        stream = await asyncio.to_thread(self._database.things.watch)
        await meanwhile
        seen = [(await asyncio.to_thread(next, stream))["documentKey"]["_id"] for _ in range(count)]
        await asyncio.to_thread(stream.close)
        return seen


@pytest.fixture
async def connect(proxy: Proxy, mongodb_database: str) -> AsyncIterator[Callable[..., Client]]:
    clients: list[Client] = []

    def connected(**options: Any) -> Client:
        clients.append(Client(proxy.uri, mongodb_database, **options))
        return clients[-1]

    yield connected
    proxy.forward()
    for client in clients:
        await client.close()


@pytest.fixture
def patient(connect: Callable[..., Client]) -> Client:
    """A client that waits for as long as it takes."""
    return connect()


@pytest.fixture
async def hasty(connect: Callable[..., Client]) -> Client:
    """A client that soon gives up; it is connected."""
    client = connect(socketTimeoutMS=SHORT, serverSelectionTimeoutMS=SHORT)
    await client.ping()
    return client


def counted(database: Any) -> int | None:
    """What the document is in the database, past the proxy."""
    found = database.things.find_one({"_id": 1})
    return found and found["n"]


async def arrived(database: Any, count: int) -> None:
    """Waits until the document has been counted up so far, without asking again and again."""

    def wait() -> None:
        with database.things.watch(full_document="updateLookup", max_await_time_ms=500) as stream:
            while counted(database) != count:
                stream.try_next()

    await asyncio.wait_for(asyncio.to_thread(wait), 20)


# -- all traffic -----------------------------------------------------------------------------------------


async def test_writes_batches_and_change_streams_pass(patient: Client, proxy: Proxy, database: Any) -> None:
    seen = await patient.see(500, patient.insert("things", *range(500), text="x" * 10_000))

    assert seen == list(range(500))
    assert database.things.count_documents({}) == 500
    assert proxy.commands["insert"] == 1


async def test_what_was_sent_in_a_stall_arrives_after_it_even_if_the_client_has_gone(
    hasty: Client, proxy: Proxy, database: Any
) -> None:
    proxy.stall()
    with pytest.raises(NetworkTimeout):
        await hasty.add_one()
    await hasty.close()
    assert counted(database) is None

    proxy.forward()

    await arrived(database, 1)


async def test_connections_survive_a_stall(patient: Client, proxy: Proxy) -> None:
    await patient.ping()
    proxy.stall()
    waiting = asyncio.create_task(patient.ping())
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()

    proxy.forward()

    assert (await waiting)["ok"]
    assert proxy.commands["ping"] == 2


async def test_a_drip_brings_everything_in_small_pieces() -> None:
    message = (100).to_bytes(4, "little") + bytes(96)

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(message)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server, Proxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as proxy:
        proxy.drip(chunk=40, pause=0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        pieces = [await reader.read(1000) for _ in range(3)]
        writer.close()

    assert [len(piece) for piece in pieces] == [40, 40, 20]
    assert b"".join(pieces) == message


async def test_a_client_can_work_while_it_drips(patient: Client, proxy: Proxy, database: Any) -> None:
    proxy.drip(chunk=100, pause=0)

    await patient.add_one()

    assert counted(database) == 1


async def test_a_cut_ends_all_connections_and_takes_new_ones(patient: Client, proxy: Proxy) -> None:
    proxy.hold({"ping"})
    waiting = asyncio.create_task(patient.ping())
    await proxy.held()

    proxy.cut()

    with pytest.raises(AutoReconnect):
        await waiting
    assert (await patient.ping())["ok"]


async def test_nobody_gets_in_while_it_refuses(connect: Callable[..., Client], hasty: Client, proxy: Proxy) -> None:
    proxy.refuse()

    assert (await hasty.ping())["ok"], "a connection that is open goes on"
    with pytest.raises(ServerSelectionTimeoutError):
        await connect(serverSelectionTimeoutMS=SHORT).ping()
    proxy.forward()
    assert (await connect().ping())["ok"]


async def test_what_is_sent_to_a_half_open_connection_is_lost_for_good(
    connect: Callable[..., Client], hasty: Client, proxy: Proxy, database: Any
) -> None:
    stubborn = connect()
    await stubborn.ping()
    proxy.half_open()
    waiting = asyncio.create_task(stubborn.ping())
    with pytest.raises(NetworkTimeout):
        await hasty.add_one()
    with pytest.raises(ServerSelectionTimeoutError):
        await connect(serverSelectionTimeoutMS=SHORT).ping()

    proxy.forward()

    await connect().add_one()
    assert counted(database) == 1
    assert not waiting.done()
    proxy.cut()
    with pytest.raises(AutoReconnect):
        await waiting


async def test_a_half_open_connection_does_not_show_that_the_server_has_gone() -> None:
    over = asyncio.Event()

    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        over.set()

    server = await asyncio.start_server(leave, "127.0.0.1", 0)
    async with server, Proxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as proxy:
        proxy.half_open()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await over.wait()
        end = asyncio.create_task(reader.read())
        await asyncio.wait({end}, timeout=0.1)
        assert not end.done()

        proxy.cut()

        assert await end == b""
        writer.close()


async def test_answers_are_late(hasty: Client, proxy: Proxy, database: Any) -> None:
    proxy.delay(20)
    with pytest.raises(NetworkTimeout):
        await hasty.add_one()
    proxy.delay(0)

    await arrived(database, 1)


async def test_a_server_that_is_not_there_is_not_there() -> None:
    async with Proxy("127.0.0.1:1") as nowhere:
        client = Client(nowhere.uri, "any", serverSelectionTimeoutMS=SHORT)
        with pytest.raises(ServerSelectionTimeoutError):
            await client.ping()
        await client.close()


# -- rules -----------------------------------------------------------------------------------------------


async def test_an_answer_is_lost_after_the_write(patient: Client, proxy: Proxy, database: Any) -> None:
    proxy.lose_answer({"update"})

    with pytest.raises(AutoReconnect):
        await patient.add_one()

    await proxy.lost()
    assert counted(database) == 1
    await patient.add_one()
    assert counted(database) == 2


async def test_the_connection_of_a_lost_answer_may_hang(patient: Client, proxy: Proxy, database: Any) -> None:
    proxy.lose_answer({"update"}, close=False)

    waiting = asyncio.create_task(patient.add_one())

    await proxy.lost()
    assert counted(database) == 1
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    proxy.cut()
    with pytest.raises(AutoReconnect):
        await waiting


async def test_a_request_that_is_held_is_delivered_after_its_client_has_gone(
    patient: Client, proxy: Proxy, database: Any
) -> None:
    proxy.hold({"update"})
    waiting = asyncio.create_task(patient.add_one())
    await proxy.held()
    proxy.cut()
    with pytest.raises(AutoReconnect):
        await waiting
    await patient.close()
    assert counted(database) is None

    (answer,) = await proxy.release()

    assert (answer["ok"], answer["n"]) == (1, 1)
    assert counted(database) == 1
    assert await proxy.release() == []


async def test_a_client_that_still_waits_gets_the_answer_to_a_request_that_was_held(
    patient: Client, proxy: Proxy, database: Any
) -> None:
    proxy.hold({"update"})
    waiting = asyncio.create_task(patient.add_one())
    await proxy.held()

    await proxy.release()

    assert (await waiting).upserted_id == 1


async def test_what_is_held_is_kept_while_the_server_is_away(target: str, patient: Client, proxy: Proxy) -> None:
    proxy.hold({"ping"})
    waiting = asyncio.create_task(patient.ping())
    await proxy.held()

    proxy.target = "127.0.0.1:1"
    with pytest.raises(OSError, match="1"):
        await proxy.release()
    proxy.target = target

    assert len(await proxy.release()) == 1
    assert (await waiting)["ok"]


async def test_what_is_held_can_be_discarded(patient: Client, proxy: Proxy, database: Any) -> None:
    proxy.hold({"update"})
    waiting = asyncio.create_task(patient.add_one())
    await proxy.held()

    await proxy.discard()

    assert await proxy.release() == []
    assert counted(database) is None
    proxy.cut()
    with pytest.raises(AutoReconnect):
        await waiting


async def test_a_request_is_delivered_a_second_time(patient: Client, proxy: Proxy, database: Any) -> None:
    proxy.duplicate({"update"})
    await patient.add_one()
    await patient.add_one()
    await proxy.held()
    assert counted(database) == 2

    await proxy.release()

    assert counted(database) == 3


async def test_rules_are_for_some_commands_on_some_collections_and_so_many_times(
    patient: Client, proxy: Proxy, database: Any
) -> None:
    proxy.hold({"update", "insert"}, 2, collections={"things"})
    await patient.insert("others", 1)
    waiting = asyncio.gather(patient.add_one(), patient.insert("things", 2))
    await proxy.held(2)
    await patient.insert("things", 3)

    assert [found["_id"] for found in database.things.find()] == [3]
    await proxy.release()
    await waiting
    assert database.things.count_documents({}) == 3


async def test_rules_follow_one_another(patient: Client, proxy: Proxy, database: Any) -> None:
    proxy.lose_answer({"update"})
    proxy.hold({"update"})
    with pytest.raises(AutoReconnect):
        await patient.add_one()
    waiting = asyncio.create_task(patient.add_one())
    await proxy.held()

    assert counted(database) == 1
    await proxy.release()
    await waiting
    assert counted(database) == 2


async def test_rules_can_be_forgotten(patient: Client, proxy: Proxy) -> None:
    proxy.hold({"ping"}, times=float("inf"))
    waiting = asyncio.create_task(patient.ping())
    await proxy.held()

    proxy.forget_rules()

    assert (await patient.ping())["ok"]
    await proxy.release()
    assert (await waiting)["ok"]


async def test_one_connection_is_frozen_for_good_and_all_others_go_on(
    connect: Callable[..., Client], proxy: Proxy, database: Any
) -> None:
    patient, another = connect(maxPoolSize=1), connect()
    await patient.ping()
    proxy.freeze({"update"})

    frozen = asyncio.gather(patient.add_one(), patient.ping())

    await another.ping()
    while not proxy.frozen:
        await another.ping()
    await another.add_one()
    assert counted(database) == 1
    assert not frozen.done()
    proxy.cut()
    with pytest.raises(AutoReconnect):
        await frozen


async def test_a_stream_is_frozen_by_the_name_of_what_it_goes_on_with(
    connect: Callable[..., Client], proxy: Proxy
) -> None:
    watching, others = connect(), connect()
    proxy.freeze({"getMore"}, collections={"things"})

    seeing = asyncio.create_task(watching.see(1, others.ping()))
    while not proxy.frozen:
        await others.ping()
    await others.add_one()
    await asyncio.wait({seeing}, timeout=0.1)

    assert not seeing.done()
    proxy.cut()
    assert await seeing == [1], "it is resumed"


async def test_the_server_does_not_learn_of_a_request_that_is_rejected(
    patient: Client, proxy: Proxy, database: Any
) -> None:
    proxy.reject({"update"}, {"code": 13, "errmsg": "no"})

    with pytest.raises(OperationFailure, match="no") as caught:
        await patient.add_one()

    assert caught.value.code == 13
    assert counted(database) is None
    await patient.add_one()
    assert counted(database) == 1


async def test_statements_are_rejected_and_the_server_does_the_rest(
    patient: Client, proxy: Proxy, database: Any
) -> None:
    """The positions that the server names are those of what it has got."""
    await patient.insert("things", 2)
    errors = [(4, {"code": 121, "errmsg": "no"}), (1, {"code": 13, "errmsg": "no"})]
    proxy.reject_statements({"update", "insert", "delete"}, errors, math.inf)

    with pytest.raises(BulkWriteError) as inserting:
        await patient.insert("things", 0, 1, 2, 3, 4, 5, ordered=False)
    with pytest.raises(BulkWriteError) as updating:
        await patient.write("things", [UpdateOne({"_id": n}, {"$set": {"a": 1}}, upsert=True) for n in (4, 6, 1, 7)])
    with pytest.raises(BulkWriteError) as deleting:
        await patient.write("things", [DeleteOne({"_id": n}) for n in (0, 1, 5)])
    with pytest.raises(BulkWriteError) as alone:
        await patient.write("things", [DeleteOne({"_id": 1})])

    found = [(error["index"], error["code"]) for error in inserting.value.details["writeErrors"]]
    assert found == [(1, 13), (2, 11000), (4, 121)]
    assert inserting.value.details["nInserted"] == 3
    assert [error["index"] for error in updating.value.details["writeErrors"]] == [0, 2]
    assert updating.value.details["upserted"] == [{"index": 1, "_id": 6}, {"index": 3, "_id": 7}]
    assert [error["index"] for error in deleting.value.details["writeErrors"]] == [1]
    assert deleting.value.details["nRemoved"] == 2
    assert [error["index"] for error in alone.value.details["writeErrors"]] == [0]
    assert sorted(found["_id"] for found in database.things.find()) == [2, 3, 6, 7]


async def test_rules_of_one_kind_can_be_forgotten(patient: Client, proxy: Proxy) -> None:
    proxy.hold({"ping"}, times=float("inf"))
    proxy.lose_answer({"ping"})

    proxy.forget_rules("hold")

    with pytest.raises(AutoReconnect):
        await patient.ping()
    assert (await patient.ping())["ok"]


# -- in a process of its own -----------------------------------------------------------------------------


def test_a_proxy_in_another_process_is_told_what_to_do(target: str, mongodb_database: str, database: Any) -> None:
    with ProxyProcess(target) as proxy, MongoClient(proxy.uri, socketTimeoutMS=SHORT, retryWrites=False) as client:
        things = client[mongodb_database].things
        proxy.call("hold", commands=["update"], collections=["things"])
        with pytest.raises(NetworkTimeout):
            things.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True)
        proxy.call("held")
        (answer,) = proxy.call("release")
        assert answer["n"] == 1
        assert counted(database) == 1

        assert proxy.call("lost_answers") == 0
        with pytest.raises(RuntimeError, match="no_such"):
            proxy.call("no_such")
        with pytest.raises(TimeoutError):
            proxy.call("held", timeout=0.1)


# -- the end ---------------------------------------------------------------------------------------------


async def test_a_connection_that_comes_while_a_proxy_ends_is_not_left_open() -> None:
    """Its warning would be another test's: the event loop accepts it just before, and asyncio forgets it then."""
    loop = asyncio.get_running_loop()
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        for _ in range(100):
            async with Proxy("127.0.0.1:1") as nowhere:
                ends, client = loop.create_future(), socket.socket()

                def connects(port: int = nowhere.port, ends: Any = ends, client: socket.socket = client) -> None:
                    loop.call_soon_threadsafe(ends.set_result, None)
                    client.connect(("127.0.0.1", port))

                threading.Thread(target=connects).start()
                loop.call_soon(time.sleep, 0.005)  # both have happened when the loop looks
                await ends
            client.close()
        gc.collect()

    assert [one for one in left if issubclass(one.category, ResourceWarning)] == []
