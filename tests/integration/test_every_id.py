"""A broadcast over all ids takes hours or days: whatever happens meanwhile, each id is returned once.

The kind of fault: something is held from the first id to the last but does not live that long: a cursor, a server
session, a connection, the persistence's own session, the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bson import Decimal128, Int64
from offline import offline_application

from ptb_mongo import every_id
from ptb_mongo.driver import Driver
from ptb_mongo.errors import UnavailableError
from ptb_mongo.sync import exchange

NUMBER = 2500


@pytest.fixture
async def persistence(mongo_persistence: Callable[..., Any], database: Any) -> AsyncIterator[Any]:
    database.user_data.insert_many([{"_id": one, "data": {"n": one}} for one in range(NUMBER)])
    found = mongo_persistence(loading="lazy")
    offline_application(found)
    yield found
    await found.flush()


def end_all_sessions(service: Any) -> None:
    """As the server does with those that were not used for half an hour, and a failover with their cursors."""
    service.admin.command({"killAllSessions": []})
    cursors = service.admin.aggregate([{"$currentOp": {"idleCursors": True, "allUsers": True}}])
    for one in [one for one in cursors if one.get("type") == "idleCursor"]:
        database, _, collection = one["ns"].partition(".")
        if not collection.startswith("$"):
            service[database].command({"killCursors": collection, "cursors": [one["cursor"]["cursorId"]]})


@pytest.mark.parametrize("event", ["the server forgets its cursors", "flush", "deletion", "everything is deleted"])
async def test_each_id_comes_once_whatever_happens_in_a_pause(
    persistence: Any, database: Any, service: Any, event: str
) -> None:
    seen = []
    async for user_id in persistence.user_ids():
        seen.append(user_id)
        if user_id == 500:
            if event == "the server forgets its cursors":
                end_all_sessions(service)
            elif event == "flush":
                await persistence.flush()
            elif event == "deletion":
                database.user_data.delete_many({"_id": {"$lte": 999, "$ne": 500}})
            else:
                database.user_data.delete_many({})

    assert seen == list(range(1000 if event == "everything is deleted" else NUMBER))


@pytest.mark.parametrize("after", [-1, 0, 998, 999, 1000, NUMBER - 1, NUMBER])
async def test_a_broadcast_is_resumed_after_any_id(persistence: Any, after: int) -> None:
    assert [one async for one in persistence.user_ids(after=after)] == list(range(after + 1, NUMBER))


async def test_ids_of_all_kinds_of_numbers_come_in_their_order_and_those_of_others_not_at_all(
    persistence: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_PAGE", 2)
    numbers = [-(2**63), -(10**13), -5.0, -4.5, Decimal128("-4.25"), Decimal128("-3"), Int64(2**40), 2**62]
    odd = ["x", None, {"a": 1}, b"1", float("nan"), True]
    database.chat_data.insert_many([{"_id": one, "data": {}} for one in [*odd, *numbers[::-1]]])
    database.chat_data.insert_one({"_id": 7, "buried": True, "rev": "a:1"})

    found = [one async for one in persistence.chat_ids()]

    assert found == [-(2**63), -(10**13), -5, -3, 2**40, 2**62]
    assert {type(one) for one in found} == {int}


async def test_a_server_that_is_away_for_a_while_is_waited_for(
    persistence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, asked = Driver.raw_page, []

    async def sometimes(self: Driver, wanted: Any) -> list[bytes]:
        asked.append(wanted)
        if len(asked) in {2, 3}:
            raise UnavailableError("an election")
        return await page(self, wanted)

    monkeypatch.setattr(Driver, "raw_page", sometimes)
    monkeypatch.setattr(every_id, "_PAUSES", (0.001, 0.002))

    assert [one async for one in persistence.user_ids()] == list(range(NUMBER))


async def test_a_server_that_stays_away_is_reported(persistence: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> list[bytes]:
        raise UnavailableError("gone")

    monkeypatch.setattr(Driver, "raw_page", never)
    monkeypatch.setattr(every_id, "_PAUSES", (0.001, 0.002))
    monkeypatch.setattr(every_id, "_PATIENCE", 0.01)

    with pytest.raises(UnavailableError, match="gone"):
        [one async for one in persistence.user_ids()]


async def test_other_tasks_get_their_turns_although_the_body_waits_for_nothing(
    persistence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(every_id, "_TURN", -1.0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ids = persistence.user_ids()
    await anext(ids)
    counting = asyncio.create_task(count())
    for _ in range(900):
        await anext(ids)
    counting.cancel()
    assert turns >= 800
