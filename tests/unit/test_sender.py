"""What a refusal concerns: one document, one change of it, or everything.

The kind of fault: a temporary refusal, or one because of another document, is blamed on a document, which is given up;
or one document blocks all others. In these tests, a fake server refuses whatever a test wants.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest
from bots import until
from hypothesis import given, settings
from hypothesis import strategies as st

from ptb_mongo.codec import Codec, dump
from ptb_mongo.driver import ByIds, codes
from ptb_mongo.driver.operations import Delete, Failure, Insert, Operation, Update
from ptb_mongo.errors import DocumentError, RefusedError, UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import Version
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.pauses import Pauses
from ptb_mongo.sync.reader import Reader
from ptb_mongo.sync.tickets import Ticket
from ptb_mongo.sync.writer import Writer


class Server:
    """A database in memory, which refuses whole commands, or single statements, as a test says."""

    may_roll_back = False

    def __init__(self) -> None:
        self.documents: dict[int, dict[str, Any]] = {}
        self.refuses_command: Callable[[Sequence[int]], bool] = lambda _: False
        self.code = 510
        self.does_no_writes = False
        self.refuses_statement: Callable[[int, dict[str, Any]], Failure | None] = lambda _id, _data: None
        self.commands: list[list[int]] = []

    async def hello(self) -> dict[str, Any]:
        return {}

    async def raw_documents(self, wanted: Sequence[ByIds], *, lasting: bool = False) -> list[list[bytes]]:
        return [[dump({"_id": one, **self.documents[one]}) for one in by.ids if one in self.documents] for by in wanted]

    async def write(self, _: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        self.commands.append([one.id for one in operations])
        if self.does_no_writes:
            raise UnavailableError("no answer")
        if self.refuses_command(self.commands[-1]):
            raise RefusedError(f"MongoDB refuses: not now (error {self.code})", self.code)
        failures = {}
        for index, one in enumerate(operations):
            if (failure := self._done(one)) is not None:
                failures[index] = failure
        return failures

    def _done(self, one: Operation) -> Failure | None:
        before = self.documents.get(one.id)
        if isinstance(one, Insert):
            after: dict[str, Any] | None = dict(one.fields)
            if before is not None:
                return Failure("taken", outdated=True)
        elif before is None or before["rev"] != one.guard.get("rev"):
            return Failure("changed", outdated=True)
        elif isinstance(one, Delete):
            after = None
        else:
            after = self._updated(before, one)
        if after is None:
            del self.documents[one.id]
        elif (failure := self.refuses_statement(one.id, after["data"])) is not None:
            return failure
        else:
            self.documents[one.id] = after
        return None

    @staticmethod
    def _updated(before: dict[str, Any], one: Update) -> dict[str, Any]:
        changes: Any = one.changes
        data = dict(before["data"])
        for path, value in changes.sets:
            data[path[1]] = value
        for path in changes.unsets:
            del data[path[1]]
        return {**before, "data": data, "rev": one.rev}


class Saver:
    """A writer on such a server, and the data of users."""

    def __init__(self, server: Server) -> None:
        self.server = server
        driver: Any = server
        counters = Counters()
        self.availability = Availability(counters)
        self.reader = Reader(driver, self.availability)
        self.writer = Writer(driver, self.reader, "bot", self.availability, counters)
        self.scope: DataScope[Any] = DataScope("user_data", "user_data", Codec(), counters, new=dict)
        self.scope.complete = True

    def replica(self, user: int) -> Replica:
        return self.scope.replicas[user]

    async def saves(self, users: Iterable[int], **data: Any) -> list[BaseException]:
        """Saves the same data for some users at once; gives the errors that PTB would get."""
        offered: list[tuple[Replica, Ticket]] = []
        for user in users:
            replica = self.scope.stage(user, dict(data))
            if replica is not None and (ticket := self.writer.submit(self.scope, replica)) is not None:
                offered.append((replica, ticket))
        outcomes = await asyncio.gather(*(ticket.outcome(one) for one, ticket in offered), return_exceptions=True)
        return [error for error in outcomes if error is not None]

    def stored(self) -> dict[int, Any]:
        return {user: document["data"] for user, document in sorted(self.server.documents.items())}

    async def close(self) -> None:
        await self.reader.close()
        await self.writer.close()


@pytest.fixture
async def saver() -> AsyncIterator[Saver]:
    saver = Saver(Server())
    yield saver
    await saver.close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptb_mongo.sync.retries._PAUSES_OF_COLLECTIONS", (0.001, 0.002))


# -- everybody ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [1, 2, 3, 1200])
async def test_what_everybody_is_refused_is_kept_reported_once_and_saved_when_it_is_accepted(
    saver: Saver, users: int
) -> None:
    saver.server.refuses_command = lambda _: True

    errors = await saver.saves(range(users), x=1)

    assert [type(error) for error in errors] == [RefusedError]
    assert saver.availability.reason == ("MongoDB refuses to save user_data: MongoDB refuses: not now (error 510)")
    assert saver.writer.refused() == 0  # none of them is blamed
    assert await saver.saves(range(users), x=2) == []
    assert len(saver.writer.waiting) == users
    saver.server.refuses_command = lambda _: False
    await until(lambda: not saver.writer.waiting)
    assert saver.stored() == {user: {"x": 2} for user in range(users)}
    assert saver.availability.reason is None


async def test_a_server_that_refuses_everybody_gets_two_small_commands_at_a_time_and_not_everything(
    saver: Saver,
) -> None:
    saver.server.refuses_command = lambda _: True

    await saver.saves(range(5000), x=1)
    begun = len(saver.server.commands)
    await until(lambda: len(saver.server.commands) >= begun + 6)

    assert {len(ids) for ids in saver.server.commands[begun:]} == {1}


async def test_a_refusal_of_every_statement_is_one_of_everybody(saver: Saver) -> None:
    saver.server.refuses_statement = lambda *_: Failure("user writes are blocked (error 371)", for_now=True)

    errors = await saver.saves(range(10), x=1)

    assert [type(error) for error in errors] == [RefusedError]
    assert saver.writer.refused() == 0
    saver.server.refuses_statement = lambda *_: None
    await until(lambda: not saver.writer.waiting)
    assert saver.stored() == {user: {"x": 1} for user in range(10)}


@given(
    code=st.sampled_from(sorted(codes.EVERYBODYS)),
    commands=st.lists(st.booleans(), max_size=12),
    statements=st.lists(st.booleans(), max_size=40),
    users=st.integers(1, 20),
)
@settings(deadline=None)
def test_no_document_is_blamed_for_a_block_that_begins_or_ends_at_any_moment(
    code: int, commands: list[bool], statements: list[bool], users: int
) -> None:
    async def check() -> None:
        saver = Saver(Server())
        saver.server.code = code
        refuses_command, refuses_statement = iter(commands), iter(statements)
        refusal = Failure(f"not now (error {code})", for_now=True, code=code)
        saver.server.refuses_command = lambda _: next(refuses_command, False)
        saver.server.refuses_statement = lambda *_: refusal if next(refuses_statement, False) else None

        errors = await saver.saves(range(users), x=1)
        await until(lambda: not saver.writer.waiting)

        assert {type(error) for error in errors} <= {RefusedError}
        assert saver.stored() == {user: {"x": 1} for user in range(users)}
        await saver.close()

    asyncio.run(check())


async def test_a_statement_that_is_refused_for_an_unknown_reason_again_and_again_is_the_documents_own(
    saver: Saver,
) -> None:
    unknown = Failure("nobody knows why (error 4711)", for_now=True, code=4711)
    saver.server.refuses_statement = lambda user, _: unknown if user == 3 else None

    await saver.saves(range(10), x=1)
    await saver.saves([10], x=1)

    await until(lambda: saver.writer.refused() == 1)
    assert "nobody knows why" in str(saver.replica(3).refusal)
    assert saver.stored().keys() == set(range(11)) - {3}


async def test_a_change_that_is_refused_as_one_before_it_was_is_told_again(saver: Saver) -> None:
    own = Failure("a validator refuses it (error 121)", code=121)
    saver.server.refuses_statement = lambda _, data: own if "x" in data else None

    (first,) = await saver.saves([1], x=1)
    (second,) = await saver.saves([1], x=2)
    others = await saver.saves([1], x=2, y=1)

    assert str(second) == str(first)
    assert others == []
    assert saver.stored() == {1: {"y": 1}}


# -- one document ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("poisonous", [{7}, {0}, {0, 1, 2}, {0, 3, 999}, {5, 6, 7, 8, 900}])
async def test_a_document_that_gets_each_command_refused_holds_up_no_other(saver: Saver, poisonous: set[int]) -> None:
    saver.server.refuses_command = lambda ids: not poisonous.isdisjoint(ids)

    await saver.saves(range(1000), x=1)

    await until(lambda: len(saver.writer.waiting) == len(poisonous))
    await saver.saves([1000], x=1)  # as long as nobody else is accepted, it may be everybody who is refused
    await until(lambda: saver.writer.refused() == len(poisonous))
    assert saver.stored().keys() == set(range(1001)) - poisonous
    assert all("not now" in str(saver.replica(user).refusal) for user in poisonous)
    saver.server.refuses_command = lambda _: False
    await saver.writer.drain()
    assert saver.stored().keys() == set(range(1001))


async def test_a_document_whose_write_cannot_even_be_made_holds_up_no_other(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = saver.writer._sender._operations.make

    def fails(collection: Any, replica: Replica, *rest: Any) -> Any:
        if replica.id == 3:
            raise AttributeError("a bug")
        return make(collection, replica, *rest)

    monkeypatch.setattr(saver.writer._sender._operations, "make", fails)

    (error,) = await saver.saves(range(10), x=1)

    assert str(error) == "user_data, _id 3: what has changed cannot be prepared: AttributeError"
    assert saver.stored().keys() == set(range(10)) - {3}


# -- one change of a document ---------------------------------------------------------------------------


def refusing(*names: str) -> Callable[[int, dict[str, Any]], Failure | None]:
    """A validator that does not like some fields, if they are 1."""
    return lambda _, data: Failure("validation") if any(data.get(name) == 1 for name in names) else None


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    ("refused", "says"),
    [
        ("b", ""),
        ("ah", r" \(and 1 more of its changes are not saved\)"),
        ("abcdefgh", r" \(and 7 more of its changes are not saved\)"),
    ],
)
async def test_all_changes_but_those_that_are_refused_are_saved(
    saver: Saver, *, is_new: bool, refused: str, says: str
) -> None:
    if not is_new:
        await saver.saves([1], a=0)
    saver.server.refuses_statement = refusing(*refused)

    (error,) = await saver.saves([1], **dict.fromkeys("abcdefgh", 1))

    assert isinstance(error, DocumentError)
    assert re.fullmatch(rf"user_data, _id 1, at data\.[{refused}]: validation{says}", str(error))
    stored = saver.stored().get(1, {})
    assert {name for name, value in stored.items() if value} == set("abcdefgh") - set(refused)
    saver.server.refuses_statement = lambda *_: None
    await saver.writer.drain()
    assert saver.stored()[1] == dict.fromkeys("abcdefgh", 1)
    assert not saver.writer.waiting


async def test_what_is_refused_is_reported_once_and_tried_again_when_it_changes(saver: Saver) -> None:
    saver.server.refuses_statement = refusing("b")
    assert len(await saver.saves([1], a=1, b=1)) == 1
    sent = len(saver.server.commands)

    assert await saver.saves([1], a=1, b=1) == []

    assert len(saver.server.commands) == sent
    assert await saver.saves([1], a=1, b=2) == []
    assert saver.stored() == {1: {"a": 1, "b": 2}}
    assert not saver.writer.waiting


async def test_a_change_after_a_refusal_is_saved_though_the_refused_one_still_is_not(saver: Saver) -> None:
    saver.server.refuses_statement = refusing("b")
    await saver.saves([1], a=1, b=1)

    assert await saver.saves([1], a=2, b=1) == []  # the same error again is no news

    assert saver.stored() == {1: {"a": 2}}
    assert saver.writer.refused() == 1


async def test_what_is_refused_is_tried_again_by_itself_at_growing_intervals(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver.writer._retries.documents, "_first", 0.001)
    saver.server.refuses_statement = refusing("b")
    await saver.saves([1], b=1)
    tried = len(saver.server.commands)
    await until(lambda: len(saver.server.commands) >= tried + 3)

    saver.server.refuses_statement = lambda *_: None

    await until(lambda: not saver.writer.waiting)
    assert saver.stored() == {1: {"b": 1}}


@settings(max_examples=60, deadline=None)
@given(
    refused=st.sets(st.sampled_from("abcdefghij")),
    before=st.dictionaries(st.sampled_from("abcdefghij"), st.just(0)),
    after=st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from([0, 1])),
)
def test_whatever_is_refused_exactly_that_is_missing(
    refused: set[str], before: dict[str, int], after: dict[str, int]
) -> None:
    async def plays() -> None:
        saver = Saver(Server())
        await saver.saves([1], **before)
        saver.server.refuses_statement = refusing(*refused)
        await saver.saves([1], **after)
        stored = saver.stored().get(1, {})
        kept = {name: value for name, value in before.items() if after.get(name) == 1 and name in refused}
        done = {name: value for name, value in after.items() if value == 0 or name not in refused}
        assert stored == done | kept
        await saver.close()

    asyncio.run(plays())


async def test_what_is_changed_while_a_refusal_is_looked_into_is_not_mistaken_for_refused(saver: Saver) -> None:
    saver.writer._retries.documents = Pauses(1000.0, 1000.0)
    refuses, refused = refusing("b"), 0

    def refuses_and_changes(user: int, data: dict[str, Any]) -> Failure | None:
        nonlocal refused
        failure = refuses(user, data)
        refused += failure is not None
        if refused == 2:  # one change after the other is being tried
            replica = saver.scope.stage(1, {"a": 1, "b": 1, "c": 1})
            assert replica is not None
            saver.writer.submit(saver.scope, replica)
        return failure

    saver.server.refuses_statement = refuses_and_changes

    assert len(await saver.saves([1], a=1, b=1)) == 1

    await until(lambda: saver.stored().get(1) == {"a": 1, "c": 1})
    await until(lambda: saver.writer.refused() == 1)


@pytest.mark.parametrize("moment", [1, 2, 3])
@pytest.mark.parametrize("before", [{"b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}])
@pytest.mark.parametrize("corrected", [{"b": 0}, {"a": 1, "b": 0}, {"a": 2}, {}])
@pytest.mark.parametrize("is_for_now", [False, True])
async def test_what_is_corrected_while_a_refusal_is_on_its_way_is_saved_at_once(
    saver: Saver, moment: int, before: dict[str, int], corrected: dict[str, int], is_for_now: bool
) -> None:
    saver.writer._retries.documents = Pauses(1000.0, 1000.0)
    refuses, refused = refusing("b"), 0

    def refuses_and_changes(user: int, data: dict[str, Any]) -> Failure | None:
        nonlocal refused
        failure = refuses(user, data)
        refused += failure is not None
        if failure is not None and refused == moment:
            replica = saver.scope.stage(1, dict(corrected))
            if replica is not None:
                saver.writer.submit(saver.scope, replica)
        return Failure(failure.reason, for_now=True) if failure is not None and is_for_now else failure

    saver.server.refuses_statement = refuses_and_changes

    await saver.saves([1], **before)
    if refused < moment:  # all of it was over before
        await saver.saves([1], **corrected)

    await until(lambda: saver.stored().get(1, {}) == corrected)
    assert saver.writer.refused() == 0


async def test_what_is_dropped_while_a_refusal_is_on_its_way_is_deleted_and_no_error_told(saver: Saver) -> None:
    assert await saver.saves([1], a=1) == []
    refuses = refusing("b")

    def refuses_and_drops(user: int, data: dict[str, Any]) -> Failure | None:
        if (failure := refuses(user, data)) is not None:
            saver.writer.submit(saver.scope, saver.scope.drop(1))  # type: ignore[arg-type]
        return failure

    saver.server.refuses_statement = refuses_and_drops

    assert await saver.saves([1], b=1) == []

    assert saver.stored() == {}


async def test_what_is_refused_is_tried_again_as_soon_as_somebody_else_changes_the_document(
    saver: Saver,
) -> None:
    saver.writer._retries.documents = Pauses(1000.0, 1000.0)
    saver.scope.on_refused_told = saver.writer.retry
    saver.server.refuses_statement = lambda _, data: None if "age" in data else Failure("validation")
    await saver.saves([1], a=1)
    assert saver.stored() == {}
    saver.server.refuses_statement = lambda *_: None
    saver.server.documents[1] = {"data": {"age": 36}, "rev": "other:1"}

    saver.scope.told(1)

    await until(lambda: not saver.writer.waiting)
    assert saver.stored() == {1: {"age": 36, "a": 1}}


async def test_a_write_of_nothing_but_a_rev_that_is_refused_is_left_alone_for_a_while(saver: Saver) -> None:
    """It is to keep an earlier write, whose answer is missing, from arriving: a deletion that was given up since."""
    await saver.saves([1], a=1)
    replica = saver.replica(1)
    replica.staged(Version(None, None, yields=True))
    replica.sending("bot:x", replica.pending)
    replica.unknown("bot:x")
    saver.server.documents[1]["data"] = {"a": 2}  # by a service, which leaves `rev` alone
    replica.told()
    saver.server.refuses_statement = lambda *_: Failure("validation")
    saver.writer.submit(saver.scope, replica)

    await until(lambda: saver.writer.refused() == 1)

    assert replica.pending is None
    assert replica.is_unsaved
    sent = len(saver.server.commands)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(saver.server.commands) <= sent + 1


async def test_a_server_that_answers_and_does_no_writes_is_said_to_be_away_once(
    saver: Saver, caplog: pytest.LogCaptureFixture
) -> None:
    saver.server.does_no_writes = True
    await saver.saves([1], a=1)
    await until(lambda: len(saver.server.commands) >= 4)
    assert len(caplog.messages) == 1

    saver.server.does_no_writes = False

    await until(lambda: not saver.writer.waiting)
    assert caplog.messages[1:] == ["MongoDB is back; 1 documents were waiting"]
