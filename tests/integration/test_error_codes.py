"""Whatever the server answers to a save, nothing is lost: every error code that MongoDB has.

The kind of fault: errors are sorted by a list of the good ones, and a code that is not on it is booked as something
that it is not: a document's own fault, say, so that what is refused is dropped. Each code comes once as the refusal of
whole commands, and once as that of statements in commands whose other statements are done: of a change, of an insertion
and of a deletion. When the fault is over, everything is stored, although PTB does not offer it again, and `flush` has
nothing to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from bots import Bot, until
from error_codes import ALL, CODES
from fail_points import commands_fail, failing_mongod
from proxy import Proxy
from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo import MongoPersistence, PersistenceError, UnsavedDataError
from ptb_mongo.driver import codes
from ptb_mongo.sync import retry, writer

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
    16755: "not what a geospatial index takes",
    17280: "longer than an index of an old server takes",
}
"""Why a code is not "refused for now", which is what every other one is."""

# The server itself ends the connection or the process, or says that it needs details to say so.
NOT_BY_FAIL_POINT = {
    *(65, 121, 169, 227, 236, 249, 271, 283, 284, 304, 320, 330, 343, 346, 348, 351, 353, 356, 359, 361, 11000, 13388),
}
KEEP_THE_DOCUMENT = {*codes.OWN, *codes.TOO_LARGE}


def test_the_table_of_reasons_is_that_of_the_driver() -> None:
    assert set(AWAY) == codes.AWAY
    assert set(OUTDATED) == codes.OUTDATED
    assert set(TOO_LARGE) == codes.TOO_LARGE
    assert set(OWN) == codes.OWN
    assert {*AWAY, *OUTDATED, *TOO_LARGE, *OWN, *NOT_BY_FAIL_POINT} <= set(ALL)
    assert sum(map(len, (AWAY, OUTDATED, TOO_LARGE, OWN))) == len({*AWAY, *OUTDATED, *TOO_LARGE, *OWN})
    assert len(CODES) > 550


@dataclass
class Refused:
    """A bot whose saves are refused.

    Attributes:
        bot: The bot; everything goes through the proxy.
        proxy: Refuses statements, and what the server itself cannot refuse.
        server: Another client's.
        number: Of what is saved next; each is stored once.
    """

    bot: Bot
    proxy: Proxy
    server: MongoClient[Any]
    number: int = 0
    expected: dict[int, Any] = field(default_factory=dict)

    def stored(self) -> dict[int, Any]:
        found = self.server[NAME].user_data.find({"data": {"$exists": True}}, {"data": 1})
        return {document["_id"]: document["data"] for document in found}

    @contextlib.contextmanager
    def commands(self, code: int) -> Iterator[None]:
        """Refuses all writes with an error code."""
        if code in NOT_BY_FAIL_POINT:
            with self._rejecting(code):
                yield
        else:
            with commands_fail(self.server, COMMANDS, NAME, errorCode=code):
                yield

    @contextlib.contextmanager
    def statements(self, code: int, ids: list[int]) -> Iterator[None]:
        """Refuses statements for some documents with an error code."""
        with self._rejecting(code, ids=ids):
            yield

    @contextlib.contextmanager
    def _rejecting(self, code: int, **rule: Any) -> Iterator[None]:
        error: dict[str, Any] = {"code": code, "codeName": ALL[code], "errmsg": "refused by a test"}
        if code == codes.DUPLICATE_KEY:
            error |= {"keyPattern": {"data.n": 1}, "keyValue": {"data.n": 1}}
        self.proxy.reject(COMMANDS, error, math.inf, **rule)
        try:
            yield
        finally:
            self.proxy.forget_rules()

    async def change(self, first: int) -> list[int]:
        """Changes a user's data, begins another one's, and drops a third one's: from `first` on; in one save pass."""
        self.number += 1
        changed, begun, dropped = first, first + 1, first + 2
        if begun in self.expected:
            begun, dropped = dropped, begun
        persistence, value = self.bot.persistence, {"n": self.number}
        saves = [
            persistence.update_user_data(changed, dict(value)),
            persistence.update_user_data(begun, dict(value)),
            persistence.drop_user_data(dropped),
        ]
        self.expected |= {changed: value, begun: value}
        self.expected.pop(dropped, None)
        outcomes = await asyncio.gather(*saves, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, PersistenceError) for outcome in outcomes), outcomes
        return [changed, dropped, begun]

    async def waits(self, count: int) -> None:
        """Until so many documents are not saved."""
        await until(lambda: self.bot.persistence.health().waiting == count)

    async def is_stored(self) -> None:
        """Waits until everything is stored, and checks that nothing is left to be said."""
        await self.waits(0)
        assert self.stored() == self.expected
        await self.bot.persistence.flush()

    async def is_named(self) -> None:
        """Checks that the stop would name what is refused."""
        with pytest.raises(UnsavedDataError) as caught:
            await self.bot.persistence.flush()
        for key in (1, 2, 3):
            assert f"user_data, _id {key}" in str(caught.value)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with failing_mongod(tmp_path_factory.mktemp("failing")) as host:
        yield host


@pytest.fixture(scope="module")
def short_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_PAUSES_OF_COLLECTIONS", (0.01, 0.02))
        patch.setattr(writer, "_PAUSES_OF_DOCUMENTS", (0.01, 0.02))
        patch.setattr(retry, "_FIRST_PAUSE", 0.01)
        patch.setattr(retry, "_LONGEST_PAUSE", 0.02)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refused(target: str, short_pauses: None) -> AsyncIterator[Refused]:
    # Else a client that was told of an election looks for another primary after ten seconds.
    soon = "&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
    with MongoClient(f"mongodb://{target}/?directConnection=true") as server:
        async with Proxy(target) as proxy, AsyncMongoClient(f"{proxy.uri}{soon}", appname=NAME) as client:
            bot = Bot(MongoPersistence(client, NAME, refresh="off"))
            await bot.application.initialize()
            refused = Refused(bot, proxy, server)
            for first in (1, 11):
                await refused.change(first)
                await refused.change(first)
            yield refused
            await bot.application.shutdown()


def named(code: int) -> str:
    return f"{code} {ALL[code]}"


@in_one_loop
@pytest.mark.parametrize("code", ALL, ids=named)
async def test_nothing_is_lost_when_whole_commands_are_refused(refused: Refused, code: int) -> None:
    before = refused.stored()

    with refused.commands(code):
        await refused.change(1)
        assert refused.stored() == before
        assert refused.bot.persistence.health().waiting == 3

    await refused.is_stored()


@in_one_loop
@pytest.mark.parametrize("code", ALL, ids=named)
async def test_nothing_is_lost_when_statements_are_refused_and_all_others_are_saved(
    refused: Refused, code: int
) -> None:
    before = refused.stored()

    with refused.statements(code, [1, 2, 3]):
        await asyncio.gather(refused.change(1), refused.change(11))
        await refused.change(11)
        await refused.waits(3)
        stored = refused.stored()
        assert {key: stored.get(key) for key in (1, 2, 3)} == {key: before.get(key) for key in (1, 2, 3)}
        assert {key: stored.get(key) for key in (11, 12, 13)} == {
            key: refused.expected.get(key) for key in (11, 12, 13)
        }

    await refused.is_stored()


@in_one_loop
@pytest.mark.parametrize("code", sorted(KEEP_THE_DOCUMENT), ids=named)
async def test_the_stop_names_the_documents_that_are_refused_for_their_own_sake(refused: Refused, code: int) -> None:
    with refused.statements(code, [1, 2, 3]):
        await refused.change(1)
        await refused.is_named()

    await refused.bot.persistence.flush()
    assert refused.stored() == refused.expected
