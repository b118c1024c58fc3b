"""Tombstones of deleted documents: none stays forever, whichever process has left it."""

from __future__ import annotations

import asyncio
import datetime as dtm
from typing import Any

import pytest
from bots import until

import ptb_mongo.sync.graves
from ptb_mongo import MongoPersistence


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptb_mongo.sync.graves, "LATE", 0.1)


async def test_a_process_removes_the_marks_that_an_earlier_one_has_left(
    mongodb_server_uri: str, mongodb_database: str, database: Any
) -> None:
    long_ago = dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc)
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": 0, "running": "earlier"})
    database.user_data.insert_many(
        [
            {"_id": 1, "rev": "earlier:1", "updated_at": long_ago, "buried": True},
            {"_id": 2, "rev": "earlier:2", "updated_at": long_ago, "buried": True, "data": {"a": 1}},
        ]
    )
    persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(mongodb_server_uri, mongodb_database)

    assert await persistence.get_user_data() == {2: {"a": 1}}
    await persistence.update_bot_data({})  # the bot runs

    await until(lambda: [one["_id"] for one in database.user_data.find()] == [2])
    await persistence.flush()


async def test_a_process_removes_its_own_marks_when_nothing_can_arrive_any_more(
    mongodb_server_uri: str, mongodb_database: str, database: Any
) -> None:
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": 0, "running": "earlier"})
    persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(mongodb_server_uri, mongodb_database)
    await persistence.get_user_data()
    await persistence.update_user_data(1, {"a": 1})

    await asyncio.gather(persistence.drop_user_data(1))

    assert [user_id async for user_id in persistence.user_ids()] == []
    await until(lambda: database.user_data.count_documents({}) == 0)
    await persistence.flush()
    assert "running" not in database.ptb_mongo.find_one()


@pytest.mark.parametrize("is_stale", [True, False], ids=["told that anything may have changed", "in peace"])
async def test_a_mark_goes_and_what_was_stored_since_the_deletion_stays(
    mongodb_server_uri: str, mongodb_database: str, database: Any, *, is_stale: bool
) -> None:
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": 0, "running": "earlier"})
    persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(mongodb_server_uri, mongodb_database)
    await persistence.get_user_data()
    for user in (1, 2):
        await persistence.update_user_data(user, {"a": 1})
    await asyncio.gather(persistence.drop_user_data(1), persistence.drop_user_data(2))
    assert database.user_data.count_documents({"buried": True}) == 2

    database.user_data.update_one({"_id": 2}, {"$set": {"data.plan": "premium"}})
    if is_stale:
        persistence.session.scopes.told_all()  # type: ignore[union-attr]

    await until(lambda: database.user_data.count_documents({"_id": 1}) == 0)
    await until(lambda: persistence.health().waiting == 0)
    assert database.user_data.find_one({"_id": 2})["data"] == {"plan": "premium"}
    await persistence.flush()
    assert database.user_data.find_one({"_id": 2})["data"] == {"plan": "premium"}
    assert "running" not in database.ptb_mongo.find_one()
