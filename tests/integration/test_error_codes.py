"""Whatever the server answers to a save, nothing is lost: every error code that MongoDB has.

The kind of fault: errors are classified by a list of the harmless ones, and a code that is not on the list counts as
something else, for example as a document's own fault, so that a refused change is dropped. Each code occurs once as the
refusal of single statements in commands whose other statements are done: a change, an insertion and a deletion. The
codes on any list, and a sample of the others (all in the deep form), also occur as the refusal of whole commands. When
the fault is over, everything is stored, although PTB does not offer it again, and `flush` has nothing to report.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from bots import Bot, until
from deep import IS_DEEP
from error_codes import ALL, CODES
from fail_points import commands_fail, failing_mongod
from proxy import Proxy
from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo import MongoPersistence, PersistenceError, UnsavedDataError
from ptb_mongo.driver import codes
from ptb_mongo.sync import retries, retry

in_one_loop = pytest.mark.asyncio(loop_scope="module")
NAME = "refused"
COMMANDS = ["update", "delete"]

AWAY = {
    6: "a router does not reach a shard",
    7: "a router does not find a shard",
    50: "a time limit has ended it, at an unknown point",
    89: "a router waits in vain for a shard",
    91: "the server shuts down",
    134: "a server that has just started has no majority yet",
    189: "another primary is being elected",
    262: "a time limit has ended it, at an unknown point",
    317: "a router has closed its connections to a shard",
    358: "a node of an older version is left in the cluster",
    9001: "a connection between servers has broken",
    10107: "another primary is being elected",
    11600: "the server shuts down",
    11602: "another primary is being elected",
    13388: "a chunk has moved to another shard",
    13435: "another primary is being elected",
    13436: "the server is starting, or has fallen behind",
}
OUTDATED = {28: "somebody has put a scalar where a document was"}
TOO_LARGE = {
    10334: "the update, or the document after it",
    17419: "the document after the update",
    17420: "the document after the update",
}
OWN = {
    2: "an operator does not take this value",
    9: "an operator does not take this value",
    14: "an operator does not take what is stored there",
    15: "nested too deep, or a number too large",
    16: "a value is longer than is allowed",
    22: "not valid BSON",
    40: "two operators for one path",
    52: "a key with a dollar, to an old server",
    53: "an _id of a type that is not allowed",
    54: "a value where one is not unique",
    55: "a DBRef that is none, to an old server",
    56: "an empty key, to an old server",
    57: "a key with a dot, to an old server",
    66: "a shard key, or an _id, must not change",
    121: "a validator, or a schema",
    171: "a list in a field of an index that has one already",
    11000: "a unique index",
    11001: "a unique index, of an old server",
    12582: "a unique index, by way of an old router",
    510: "not what a geospatial index takes",
    511: "not what a geospatial index takes, in a time series",
    13027: "not what a geospatial index takes, to an old server",
    16755: "not what a geospatial index takes",
    17280: "longer than an index of an old server takes",
}
"""Why a code is not "refused for now", which is what every other one is."""

NOT_REFUSED_FOR_NOW = {**AWAY, **OUTDATED, **TOO_LARGE, **OWN}

# The server itself ends the connection or the process, or says that it needs details to say so.
NOT_BY_FAIL_POINT = {
    *(65, 121, 169, 227, 236, 249, 271, 283, 284, 304, 320, 330, 343, 346, 348, 351, 353, 356, 359, 361, 11000, 13388),
}
# Most codes take one path, that of the unknown: a sample of them, as all of them refuse statements further down.
OF_WHOLE_COMMANDS = sorted({*NOT_REFUSED_FOR_NOW, *NOT_BY_FAIL_POINT, *([*ALL] if IS_DEEP else [*CODES][::10])})
OTHERS = 44  # no codes: numbers for users of other kinds; see `users`
SOME = 99
AT_ONCE = 12


def test_the_table_of_reasons_is_that_of_the_driver() -> None:
    assert set(AWAY) == codes.AWAY
    assert set(OUTDATED) == codes.OUTDATED
    assert set(TOO_LARGE) == codes.TOO_LARGE
    assert set(OWN) == codes.OWN
    assert {*NOT_REFUSED_FOR_NOW, *NOT_BY_FAIL_POINT} <= set(ALL)
    assert sum(map(len, (AWAY, OUTDATED, TOO_LARGE, OWN))) == len(NOT_REFUSED_FOR_NOW)
    assert not {OTHERS, SOME} & set(ALL)
    assert len(CODES) > 550


@dataclass
class Refused:
    """A bot whose saves are refused.

    Attributes:
        bot: The bot; everything goes through the proxy.
        proxy: Refuses statements, and what the server itself cannot refuse.
        server: Another client's.
        number: Of what is saved next; each is stored once.
        expected: What is to be stored in the end, by user.
    """

    bot: Bot
    proxy: Proxy
    server: MongoClient[Any]
    number: int = 0
    expected: dict[int, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def commands(self, code: int) -> Iterator[None]:
        """Refuses all writes with an error code."""
        if code not in NOT_BY_FAIL_POINT:
            with commands_fail(self.server, COMMANDS, NAME, errorCode=code):
                yield
            return
        self.proxy.reject(COMMANDS, error(code), math.inf)
        try:
            yield
        finally:
            self.proxy.forget_rules()

    @contextlib.contextmanager
    def statements(self, refused: Collection[int]) -> Iterator[None]:
        """Refuses statements for the users of some error codes with these."""
        errors = [(user, error(code)) for code in refused for user in users(code)]
        self.proxy.reject_statements(COMMANDS, errors, math.inf)
        try:
            yield
        finally:
            self.proxy.forget_rules()

    async def change(self, *several: int) -> None:
        """Changes the data of one of three users, makes that of another one, and drops the third one's.

        Args:
            several: Whose users; all in one save pass.
        """
        self.number += 1
        persistence, value, saves = self.bot.persistence, {"n": self.number}, []
        for which in several:
            changed, begun, dropped = users(which)
            if begun in self.expected:
                begun, dropped = dropped, begun
            saves += [
                persistence.update_user_data(changed, dict(value)),
                persistence.drop_user_data(dropped),
                persistence.update_user_data(begun, dict(value)),
            ]
            self.expected |= {changed: value, begun: value}
            self.expected.pop(dropped, None)
        outcomes = await asyncio.gather(*saves, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, PersistenceError) for outcome in outcomes), outcomes

    async def waits(self, count: int) -> None:
        """Until so many documents are not saved."""
        await until(lambda: self.bot.persistence.health().waiting == count)

    def stored(self, *several: int) -> dict[int, Any]:
        """What is stored of some users."""
        wanted = {"_id": {"$in": all_users(several)}, "data": {"$exists": True}}
        return {found["_id"]: found["data"] for found in self.server[NAME].user_data.find(wanted, {"data": 1})}

    def should_be_stored(self, *several: int) -> dict[int, Any]:
        return {user: self.expected[user] for user in all_users(several) if user in self.expected}


def users(which: int) -> list[int]:
    return [10 * which + number for number in range(3)]


def all_users(several: Collection[int]) -> list[int]:
    return [user for which in several for user in users(which)]


def error(code: int) -> dict[str, Any]:
    """As a server answers it."""
    details = {"keyPattern": {"data.n": 1}, "keyValue": {"data.n": 1}} if code == codes.DUPLICATE_KEY else {}
    return {"code": code, "codeName": ALL[code], "errmsg": f"refused by a test: {code}", **details}


def named(code: int) -> str:
    return f"{code} {ALL[code]}"


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with failing_mongod() as server:
        yield server.host


@pytest.fixture(scope="module")
def soon_back() -> Iterator[None]:
    """Whether the server is away is asked all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "_FIRST_PAUSE", 0.01)
        patch.setattr(retry, "_LONGEST_PAUSE", 0.04)
        yield


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is tried again all the time, from when the bot connects the next time."""
    monkeypatch.setattr(retries, "_PAUSES_OF_COLLECTIONS", (0.02, 0.04))
    monkeypatch.setattr(retries, "_PAUSES_OF_DOCUMENTS", (0.02, 0.04))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refused(target: str, soon_back: None) -> AsyncIterator[Refused]:
    # Else a client that was told of an election looks for another primary after ten seconds.
    soon = "&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
    with MongoClient(f"mongodb://{target}/?directConnection=true") as server:
        async with Proxy(target) as proxy, AsyncMongoClient(f"{proxy.uri}{soon}", appname=NAME) as client:
            bot = Bot(MongoPersistence(client, NAME, refresh="off"))
            await bot.application.initialize()
            refused = Refused(bot, proxy, server)
            await refused.change(SOME)
            yield refused
            await bot.application.shutdown()


# -- whole commands --------------------------------------------------------------------------------------


@in_one_loop
@pytest.mark.parametrize("code", OF_WHOLE_COMMANDS, ids=named)
async def test_nothing_is_lost_when_whole_commands_are_refused(refused: Refused, code: int) -> None:
    before = refused.stored(SOME)

    with refused.commands(code):
        await refused.change(SOME)
        assert refused.stored(SOME) == before
        assert refused.bot.persistence.health().waiting == 3
    await refused.bot.persistence.flush()

    assert refused.stored(SOME) == refused.should_be_stored(SOME) != before


@in_one_loop
@pytest.mark.parametrize("code", sorted({*NOT_REFUSED_FOR_NOW, *[*CODES][::20]}), ids=named)
async def test_what_was_refused_is_saved_in_the_background(refused: Refused, short_pauses: None, code: int) -> None:
    await refused.bot.persistence.flush()
    with refused.commands(code):
        await refused.change(SOME)
        assert refused.bot.persistence.health().waiting == 3
    await refused.waits(0)

    assert refused.stored(SOME) == refused.should_be_stored(SOME)


# -- statements ------------------------------------------------------------------------------------------


def groups() -> Iterator[tuple[int, ...]]:
    """All codes, several of one kind at once; not of those which mean that the server is away."""
    for several in (OUTDATED, TOO_LARGE, OWN, [code for code in ALL if code not in NOT_REFUSED_FOR_NOW]):
        for start in range(0, len(several), AT_ONCE):
            yield tuple(several)[start : start + AT_ONCE]
    yield from ((code,) for code in AWAY)


@in_one_loop
@pytest.mark.parametrize("several", [*groups()], ids=lambda several: f"{named(several[0])} to {several[-1]}")
async def test_nothing_is_lost_when_statements_are_refused_and_all_others_are_saved(
    refused: Refused, short_pauses: None, several: tuple[int, ...]
) -> None:
    await refused.bot.persistence.flush()
    await refused.change(OTHERS, *several)
    before = refused.stored(*several)

    with refused.statements(several):
        await refused.change(OTHERS, *several)
        await refused.change(OTHERS)
        await refused.waits(3 * len(several))
        assert refused.stored(*several) == before
        assert refused.stored(OTHERS) == refused.should_be_stored(OTHERS)
    await refused.waits(0)

    assert refused.stored(*several) == refused.should_be_stored(*several)
    await refused.bot.persistence.flush()


def test_every_code_is_in_one_group() -> None:
    assert sorted(code for several in groups() for code in several) == sorted(ALL)


@in_one_loop
@pytest.mark.parametrize("code", sorted({*OWN, *TOO_LARGE}), ids=named)
async def test_the_stop_names_the_documents_that_are_refused_for_their_own_sake(refused: Refused, code: int) -> None:
    await refused.change(code, OTHERS)
    with refused.statements([code]):
        await refused.change(code, OTHERS)
        with pytest.raises(UnsavedDataError) as caught:
            await refused.bot.persistence.flush()
        assert refused.stored(OTHERS) == refused.should_be_stored(OTHERS)
    for user in users(code):
        assert f"user_data, _id {user}: " in str(caught.value) or f"user_data, _id {user}, at " in str(caught.value)

    await refused.bot.persistence.flush()

    assert refused.stored(code) == refused.should_be_stored(code)
