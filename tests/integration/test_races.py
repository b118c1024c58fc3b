"""Orders of events between the bot, the server and others in which a change could be lost or come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bots import USER, Bot

from ptb_mongo import MongoPersistence


@pytest.fixture
async def bot(mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Bot]:
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=0))
        await bot.saves()
        yield bot


async def test_what_others_removed_does_not_come_back_with_a_user_who_was_dropped_and_filled_again(
    bot: Bot, database: Any
) -> None:
    bot.application.drop_user_data(USER)
    database.user_data.update_one({"_id": USER}, {"$set": {"data.service": 1}})
    await bot.sees(lambda data: "service" in data)
    await bot.hears(lambda context: context.user_data.update(new=1))
    database.user_data.update_one({"_id": USER}, {"$unset": {"data.service": ""}})

    await bot.saves()

    await bot.sees(lambda data: data == {"new": 1})
    assert database.user_data.find_one({"_id": USER})["data"] == {"new": 1}


async def test_an_answer_that_was_on_its_way_during_a_save_does_not_undo_it(
    bot: Bot, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save reads a stale document, and an update's refresh, too; its answer comes after the save has ended."""
    session = bot.persistence.session
    assert session
    read = session._driver.raw_documents
    asked = [asyncio.Event(), asyncio.Event()]
    answered = [asyncio.Event(), asyncio.Event()]
    numbers = iter(range(2))

    async def slowly(wanted: Any, **options: Any) -> list[list[bytes]]:
        found: list[list[bytes]] = await read(wanted, **options)
        number = next(numbers, None) if wanted[0].collection == "user_data" else None
        if number is not None:
            asked[number].set()
            await answered[number].wait()
        return found

    await bot.hears(lambda context: context.user_data.update(a=1))
    monkeypatch.setattr(session._driver, "raw_documents", slowly)
    session.scopes.user_data.replicas[USER].told()
    saving = asyncio.create_task(bot.saves())
    await asked[0].wait()
    refreshing = asyncio.create_task(bot.hears())
    with contextlib.suppress(asyncio.TimeoutError):  # it waits for the save; if it did not, its answer would be older
        await asyncio.wait_for(asked[1].wait(), 0.2)
    answered[0].set()
    if asked[1].is_set():
        await saving
    answered[1].set()
    await asyncio.gather(saving, refreshing)

    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 0, "a": 1}
    assert await bot.hears() == {"n": 0, "a": 1}


@pytest.mark.parametrize("read_again", [False, True])
async def test_a_conversation_that_others_deleted_is_created_again_whole(
    mongodb_server_uri: str, mongodb_database: str, database: Any, read_again: bool
) -> None:
    persistence: Any = MongoPersistence(mongodb_server_uri, mongodb_database)
    await persistence.get_conversations("order")
    await persistence.update_conversation("order", (1, 1), "one")
    database.conversations.delete_one({})
    if read_again:
        persistence.session.scopes.conversations.told({"handler": "order", "key": [1, 1]})

    await persistence.update_conversation("order", (1, 1), "two")
    await persistence.flush()

    assert await persistence.get_conversations("order") == {(1, 1): "two"}
    await persistence.flush()


async def test_a_document_that_others_created_again_before_the_answer_to_its_deletion_came_is_seen(
    bot: Bot, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bot.persistence.session
    assert session
    write, users, told = session._driver.write, session.scopes.user_data, asyncio.Event()
    tells = users.told

    def noted(document_id: Any, *, deleted: bool = False) -> None:
        tells(document_id, deleted=deleted)
        if users.replicas[USER].is_stale:
            told.set()

    async def late(collection: str, operations: Any) -> Any:
        answer = await write(collection, operations)
        if collection == "user_data":
            monkeypatch.setattr(session._driver, "write", write)
            database.user_data.replace_one({"_id": USER}, {"data": {"again": 1}}, upsert=True)
            await told.wait()  # by the change stream
        return answer

    monkeypatch.setattr(session._driver, "write", late)
    monkeypatch.setattr(users, "told", noted)
    bot.application.drop_user_data(USER)
    await bot.saves()

    await bot.hears(lambda _: None)

    assert bot.application.user_data[USER] == {"again": 1}
