"""Reads are batched: documents that are requested during a read are read next, together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest
from bots import turns

from ptb_mongo.driver import ByIds
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.reader import Reader


class Server:
    """Answers each read when a test says so."""

    may_roll_back = True

    def __init__(self) -> None:
        self.asked: list[dict[str, list[Any]]] = []
        self.lasting: list[bool] = []
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def raw_documents(self, wanted: Sequence[ByIds], *, lasting: bool) -> list[list[bytes]]:
        self.lasting.append(lasting)
        self.asked.append({one.collection: list(one.ids) for one in wanted})
        if error := await self._answers.get():
            raise error
        return [[b""] * len(one.ids) for one in wanted]

    async def answers(self, error: Exception | None = None) -> None:
        self._answers.put_nowait(error)
        await turns()


class Log(Availability):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__(Counters())
        self.errors: list[BaseException] = []

    def mark_unreachable(self, error: BaseException, *, since: int | None = None) -> None:
        super().mark_unreachable(error, since=since)
        self.errors.append(error)


class Source:
    """Notes what was read."""

    fields = ("data",)

    def __init__(self, name: str) -> None:
        self.collection = name

    def lost(self, asked: Iterable[Replica], raws: Iterable[bytes]) -> list[Replica]:
        return []

    def answered(self, asked: Iterable[tuple[Replica, int]], _: Iterable[bytes], *, lasts: bool) -> None:
        for replica, moment in asked:
            replica.unreadable(moment, None, None, lasts=lasts)  # type: ignore[arg-type]  # it is read, whatever it may be


USERS, BOTS = Source("users"), Source("bots")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def reader(server: Server, log: Log) -> AsyncIterator[Reader]:
    reader = Reader(server, log)  # type: ignore[arg-type]
    yield reader
    await reader.close()


def stale(number: int) -> Replica:
    return Replica(number, known=False)


def asking(reader: Reader, *replicas: Replica, bot: Replica | None = None, every: bool = False) -> asyncio.Task[None]:
    wanted = {USERS: replicas, **({BOTS: [bot]} if bot else {})}
    return asyncio.create_task(reader.refresh(wanted, every=every))


async def test_what_nobody_reads_is_asked_for_at_once_in_all_collections(reader: Reader, server: Server) -> None:
    asked = asking(reader, stale(1), stale(2), bot=stale(9))
    await turns()

    assert server.asked == [{"users": [1, 2], "bots": [9]}]
    await server.answers()
    await asked


async def test_what_is_asked_for_during_a_read_goes_together_afterwards(reader: Reader, server: Server) -> None:
    tasks = [asking(reader, stale(number)) for number in range(4)]
    await turns()
    later = [asking(reader, stale(number)) for number in (5, 6)]
    await turns()
    assert server.asked == [{"users": [0, 1, 2, 3]}]

    await server.answers()

    assert server.asked[1:] == [{"users": [5, 6]}]
    await server.answers()
    await asyncio.gather(*tasks, *later)


async def test_what_is_not_stale_is_read_if_everything_is(reader: Reader, server: Server) -> None:
    fresh = Replica(1)
    await asking(reader, fresh)
    assert server.asked == []

    asked = asking(reader, fresh, every=True)
    await turns()

    assert server.asked == [{"users": [1]}]
    await server.answers()
    await asked


async def test_a_read_that_has_begun_before_does_not_count(reader: Reader, server: Server) -> None:
    replica = stale(1)
    first = asking(reader, replica, every=True)
    await turns()
    second = asking(reader, replica, every=True)
    await server.answers()
    await first

    assert server.asked == [{"users": [1]}, {"users": [1]}]
    assert not second.done()
    await server.answers()
    await second


async def test_a_read_that_has_begun_afterwards_counts_for_all_who_wait(reader: Reader, server: Server) -> None:
    replica = stale(1)
    tasks = [asking(reader, replica, every=True)]
    await turns()
    tasks += [asking(reader, replica, every=True) for _ in range(5)]
    await server.answers()
    await server.answers()
    await asyncio.gather(*tasks)

    assert len(server.asked) == 2


async def test_a_document_that_is_being_read_is_read_again_with_the_rest(reader: Reader, server: Server) -> None:
    bot = stale(9)
    tasks = [asking(reader, stale(1), bot=bot, every=True)]
    await turns()
    tasks += [asking(reader, stale(number), bot=bot, every=True) for number in (2, 3)]
    await turns()
    await server.answers()
    await server.answers()

    assert server.asked == [{"users": [1], "bots": [9]}, {"users": [2, 3], "bots": [9]}]
    await asyncio.gather(*tasks)


async def test_a_cancelled_caller_leaves_the_read_to_the_others(reader: Reader, server: Server) -> None:
    mine, theirs = stale(1), stale(2)
    leaving, staying = asking(reader, mine), asking(reader, theirs)
    await turns()
    leaving.cancel()
    await turns()

    await server.answers()
    await staying

    assert not mine.is_stale


async def test_all_who_wait_are_told_that_no_server_answers(reader: Reader, server: Server, log: Log) -> None:
    replicas = [stale(1), Replica(2)]
    tasks = [asking(reader, replica, every=True) for replica in replicas]
    await turns()

    await server.answers(UnavailableError("gone"))

    for task in tasks:
        with pytest.raises(UnavailableError, match="gone"):
            await task
    assert len(log.errors) == 1
    assert all(replica.is_stale for replica in replicas)
    with pytest.raises(UnavailableError, match="unreachable"):
        await asking(reader, stale(3))


async def test_a_server_that_does_not_answer_is_not_asked_again_for_those_who_came_meanwhile(
    reader: Reader, server: Server, log: Log
) -> None:
    tasks = [asking(reader, stale(1))]
    await turns()
    tasks.append(asking(reader, stale(2)))
    await turns()

    await server.answers(UnavailableError("gone"))

    for task in tasks:
        with pytest.raises(UnavailableError):
            await task
    assert len(server.asked) == len(log.errors) == 1


async def test_all_who_wait_are_told_that_the_server_refuses(reader: Reader, server: Server, log: Log) -> None:
    tasks = [asking(reader, stale(1)), asking(reader, stale(2))]
    await turns()

    await server.answers(RefusedError("not you"))

    for task in tasks:
        with pytest.raises(RefusedError, match="not you"):
            await task
    assert not log.is_unreachable
    again = asking(reader, stale(3))
    await turns()
    await server.answers()
    await again


async def test_nobody_waits_for_a_server_that_is_silent(
    reader: Reader, server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.reader._PATIENCE", 0.02)
    replica = stale(1)

    with pytest.raises(UnavailableError, match="no answer"):
        await asking(reader, replica)

    await turns()
    assert log.is_unreachable
    assert replica.is_stale


class Patience:
    """Stands for `wait_at_most`: the time is over when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._over: list[asyncio.Event] = []
        monkeypatch.setattr("ptb_mongo.sync.reader.wait_at_most", self._wait_at_most)

    async def _wait_at_most(self, _: float, coroutine: Any, progress: Callable[[], object] = lambda: None) -> None:
        over, before = asyncio.Event(), progress()
        self._over.append(over)
        task = asyncio.ensure_future(coroutine)
        while not task.done():
            waiting = asyncio.ensure_future(over.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if over.is_set() and not task.done():
                now = progress()
                if now == before:
                    task.cancel()
                    raise asyncio.TimeoutError
                before = now
            over.clear()
        await task

    async def ends(self, number: int) -> None:
        """Of who has begun to wait at that place."""
        self._over[number].set()
        await turns()


async def test_a_slow_server_is_waited_for_while_it_answers_others(
    reader: Reader, server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(monkeypatch)
    first = asking(reader, stale(1))  # waits at place 0, and its read at 1
    await turns()
    second = asking(reader, stale(2))  # waits at place 2
    await turns()
    await server.answers()
    await first

    await patience.ends(2)

    assert not second.done()
    await server.answers()
    await second
    assert not log.is_unreachable


async def test_a_server_that_has_answered_nobody_meanwhile_is_given_up(
    reader: Reader, server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(monkeypatch)
    first, second = asking(reader, stale(1)), asking(reader, stale(2))
    await turns()

    await patience.ends(1)

    assert second.done()

    with pytest.raises(UnavailableError, match="no answer"):
        await second
    assert log.is_unreachable
    await server.answers()
    await first


async def test_a_caller_that_waits_when_it_is_closed_gets_an_error_and_the_server_stays_reachable(
    reader: Reader, server: Server, log: Log
) -> None:
    replicas = [stale(1), stale(2)]
    tasks = [asking(reader, replicas[0])]
    await turns()
    tasks.append(asking(reader, replicas[1]))
    await turns()

    await reader.close()

    for task in tasks:
        with pytest.raises(UnavailableError, match="closed"):
            await task
    with pytest.raises(UnavailableError, match="closed"):
        await asking(reader, replicas[0])
    assert not log.is_unreachable


async def test_a_write_whose_outcome_is_unknown_is_looked_for_where_no_election_undoes_it(
    reader: Reader, server: Server
) -> None:
    sure, in_doubt = stale(1), stale(2)
    in_doubt.sending("worker:1", in_doubt.pending)
    in_doubt.unknown("worker:1")
    reads = [asking(reader, sure)]
    await turns()
    reads.append(asking(reader, in_doubt))
    await server.answers()
    await server.answers()
    await asyncio.gather(*reads)

    assert server.lasting == [False, True]
