"""How the watcher follows a stream that breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from bots import turns, until
from bson.code import Code
from bson.timestamp import Timestamp

from ptb_mongo.driver import Events
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.change_stream import ChangeStream

BEGINNING = Timestamp(1, 1)
LATER = Timestamp(2, 1)


class Election:
    """Another server becomes the primary."""


class Server:
    """Gives one stream after another, each of which breaks; the last one stays open."""

    def __init__(self, *streams: Iterable[Events | Exception | Election]) -> None:
        self.opened: list[dict[str, Any]] = []
        self.election = 1
        self._streams = iter(streams)

    async def hello(self) -> dict[str, Any]:
        return {"operationTime": LATER, "electionId": self.election}

    async def watch(self, _: object, **place: Any) -> AsyncIterator[Events]:
        self.opened.append(place)
        for one in next(self._streams, ()):
            if isinstance(one, Election):
                self.election += 1
                continue
            if isinstance(one, Exception):
                raise one
            yield one
        await asyncio.Event().wait()


class Notes(Availability):
    """Notes what is said of the server."""

    def __init__(self, errors: list[BaseException]) -> None:
        super().__init__(Counters())
        self._errors = errors

    def mark_unreachable(self, error: BaseException, *, since: int | None = None) -> None:
        self._errors.append(error)


class Documents:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        self.notes.append((document_id, deleted))

    def told_all(self) -> None:
        self.notes.append("all")


def changes(*document_ids: int, token: str | None) -> Events:
    events = [
        {"_id": {}, "operationType": "update", "ns": {"coll": "users"}, "documentKey": {"_id": one}}
        for one in document_ids
    ]
    return Events(events, {"_data": token} if token else None)


@contextlib.asynccontextmanager
async def following(server: Server, scope: Documents, number: int) -> AsyncIterator[list[BaseException]]:
    """Follows until so many streams were opened; gives what was said of the server's being unreachable."""
    lost: list[BaseException] = []
    scopes: Any = {"users": scope}
    watcher = ChangeStream(server, "me", scopes, BEGINNING, Notes(lost), election=1)  # type: ignore[arg-type]
    try:
        await until(lambda: len(server.opened) == number)
        yield lost
    finally:
        await watcher.close()


@pytest.fixture(autouse=True)
def lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptb_mongo.sync.change_stream._LIFETIME", 0)


def place(start_at: Timestamp | None = None, token: str | None = None) -> dict[str, Any]:
    return {"start_at": start_at, "resume_after": {"_data": token} if token else None}


async def test_what_a_stream_tells_is_marked() -> None:
    scope = Documents()
    async with following(Server([changes(1, 2, token="a"), UnavailableError()]), scope, 2):
        assert scope.notes == [(1, False), (2, False)]


async def test_a_stream_is_resumed_where_it_was_though_it_has_told_nothing() -> None:
    server = Server(
        [changes(token="a"), UnavailableError()],
        [changes(token=None), UnavailableError()],
        [changes(token="b"), changes(token="c"), UnavailableError()],
    )
    async with following(server, Documents(), 4):
        assert server.opened == [place(BEGINNING), place(token="a"), place(token="a"), place(token="c")]


async def test_interruptions_of_an_open_stream_are_no_outage_however_quiet_it_is() -> None:
    server = Server(*([changes(token=str(number)), UnavailableError()] for number in range(5)))
    scope = Documents()
    async with following(server, scope, 6) as lost:
        assert lost == []
        assert scope.notes == []


async def test_a_stream_that_cannot_be_opened_is_an_outage() -> None:
    server = Server([UnavailableError("gone")])
    async with following(server, Documents(), 2) as lost:
        assert [str(error) for error in lost] == ["gone"]
        assert server.opened == [place(BEGINNING), place(BEGINNING)]


async def test_after_a_stream_that_cannot_be_resumed_everything_is_stale(caplog: pytest.LogCaptureFixture) -> None:
    server = Server([changes(token="a"), RefusedError("history lost")])
    scope = Documents()
    async with following(server, scope, 2) as lost:
        assert scope.notes == ["all"]
        assert lost == []
        assert server.opened[1] == place(Timestamp(2, 2))
        assert "history lost" in caplog.text


async def test_after_an_election_everything_is_stale_as_the_former_primary_may_have_shown_what_is_undone_now() -> None:
    server = Server(
        [changes(token="a"), Election(), UnavailableError()],
        [changes(token="b"), UnavailableError()],
        [changes(token="c"), UnavailableError()],
    )
    scope = Documents()
    async with following(server, scope, 4):
        assert scope.notes == ["all"]
        assert server.opened[1:] == [place(token="a"), place(token="b"), place(token="c")]


async def test_an_election_between_the_start_and_the_first_stream_is_noticed() -> None:
    server = Server([Election(), changes(token="a"), UnavailableError()])
    scope = Documents()
    async with following(server, scope, 2):
        assert scope.notes == ["all"]


async def test_what_breaks_at_once_is_not_opened_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptb_mongo.sync.change_stream._LIFETIME", 3600)
    server = Server([changes(token="a"), UnavailableError()])
    async with following(server, Documents(), 1):
        await turns()
        assert len(server.opened) == 1


class Unheard(Server):
    """Never says who it is once a stream is open; its streams tell when they end."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.ended = asyncio.Event(), 0

    async def hello(self) -> dict[str, Any]:
        self.asked.set()
        await asyncio.Event().wait()
        return {}

    async def watch(self, _: object, **place: Any) -> AsyncIterator[Events]:
        self.opened.append(place)
        try:
            yield changes(token="t")
        finally:
            await turns(20)  # it says so to the server
            self.ended += 1


async def test_a_stream_is_ended_before_it_is_closed_whatever_is_waited_for() -> None:
    """Otherwise the event loop ends it when it is collected, and PTB has ended the loop by then."""
    server: Any = Unheard()
    stream = ChangeStream(server, "bot", {}, BEGINNING, Availability(Counters()))
    await server.asked.wait()

    await stream.close()

    assert server.ended == 1


# -- events that no bot causes ---------------------------------------------------------------------------


class Leases:
    """Notes which leases it is told of."""

    collection = "leases"

    def __init__(self) -> None:
        self.notes: list[object] = []

    def granted(self, ticket: str) -> None:
        self.notes.append({ticket: None} and ticket)  # a key of a dict, as it is in the leases of a worker

    def ask_again(self) -> None:
        self.notes.append("again")


def handed_to(holder: object, kind: str = "update") -> dict[str, Any]:
    """A lease was handed over, in one of the forms in which the server reports it."""
    event = {"operationType": kind, "ns": {"coll": "leases"}, "documentKey": {"_id": "user:42"}}
    if kind == "update":
        return {**event, "updateDescription": {"updatedFields": {"holder": holder}}}
    return {**event, "fullDocument": {"holder": holder}}


ODD_HOLDERS = [["me:1"], {"a": "me:1"}, Code("me:1"), None, 5, {}, []]


@pytest.mark.parametrize("kind", ["update", "replace"])
async def test_a_lease_with_an_odd_holder_is_nobodys_and_the_next_one_is_granted(kind: str) -> None:
    events = [handed_to(odd, kind) for odd in ODD_HOLDERS]
    bare = {"operationType": kind, "ns": {"coll": "leases"}, "documentKey": {"_id": "user:42"}}
    server, leases = Server([Events([*events, bare, handed_to("me:2", kind)], {"at": 1})]), Leases()
    stream = ChangeStream(server, "me", {}, BEGINNING, Notes([]), leases)  # type: ignore[arg-type]
    await until(lambda: bool(leases.notes))
    await stream.close()

    assert leases.notes == ["me:2"]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"operationType": "insert", "ns": {"coll": "users"}},
        {"operationType": "insert", "ns": {"coll": "users"}, "documentKey": {}},
        {"operationType": "insert", "ns": {"coll": ["users"]}, "documentKey": {"_id": 1}},
        {"operationType": "insert", "ns": None, "documentKey": {"_id": 1}},
        {"operationType": "insert", "ns": {"coll": "users"}, "documentKey": {"_id": 1}, "wallTime": "noon"},
    ],
    ids=repr,
)
async def test_an_event_that_cannot_be_used_costs_a_read_of_everything_and_no_other_event(odd: dict[str, Any]) -> None:
    good = {"operationType": "insert", "ns": {"coll": "users"}, "documentKey": {"_id": 7}}
    server, users = Server([Events([odd, good], {"at": 1})]), Documents()
    stream = ChangeStream(server, "me", {"users": users}, BEGINNING, Notes([]))  # type: ignore[dict-item, arg-type]
    await until(lambda: len(users.notes) > 1)
    await stream.close()

    assert users.notes == ["all", (7, False)]
    assert len(server.opened) == 1
