"""A very large database: only what is needed is read, kept in memory and searched.

The kind of fault: work, memory or one turn of the event loop grows with everything that is stored, although only a part
is needed. The tests count documents, turns and calls, not seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import USER, until
from offline import offline_application
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import SharedBot, running, text

from ptb_mongo.driver import Driver, Page
from ptb_mongo.scopes.conversations import ConversationScope

KEYBOARD = {"position": 0, "buttons": {"b" * 32: 0}, "objects": ["buy"]}


def keyboards(number: int) -> list[dict[str, Any]]:
    return [{**KEYBOARD, "_id": f"{one:032x}", "position": one, "accessed_at": 1000.0 + one} for one in range(number)]


@pytest.fixture
def documents_read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many documents were read of each collection."""
    counts: dict[str, int] = {}
    batches, page = Driver.raw_batches, Driver.raw_page

    async def noted_batches(self: Driver, collection: str, query: Any, fields: Any) -> AsyncIterator[list[bytes]]:
        async for raws in batches(self, collection, query, fields):
            counts[collection] = counts.get(collection, 0) + len(raws)
            yield raws

    async def noted_page(self: Driver, wanted: Page) -> list[bytes]:
        raws = await page(self, wanted)
        counts[wanted.collection] = counts.get(wanted.collection, 0) + len(raws)
        return raws

    monkeypatch.setattr(Driver, "raw_batches", noted_batches)
    monkeypatch.setattr(Driver, "raw_page", noted_page)
    return counts


# -- what a start loads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loading", ["eager", "lazy"])
@pytest.mark.parametrize("kind", ["plain", "shared"])
async def test_of_many_keyboards_no_more_are_read_than_the_cache_holds_and_some(
    mongo_persistence: Callable[..., Any],
    worker: Callable[..., Any],
    database: Any,
    documents_read: dict[str, int],
    kind: str,
    loading: str,
) -> None:
    database.callback_data.insert_many(keyboards(5000))
    if kind == "plain":
        application = offline_application(mongo_persistence(loading=loading), callback_data_cache=20)
    else:
        application = SharedBot(mongo_persistence(loading=loading), buttons=20).application

    async with application:
        held, _ = application.bot.callback_data_cache.persistence_data

    assert [uuid for uuid, *_ in held] == [f"{one:032x}" for one in range(4980, 5000)]
    assert documents_read["callback_data"] <= 200


async def test_newer_documents_that_are_no_keyboards_hide_none(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    planted = [{"_id": f"p{one}", "accessed_at": time.time() - one} for one in range(1500)]
    database.callback_data.insert_many([*keyboards(10), *planted])
    application = offline_application(mongo_persistence(), callback_data_cache=20)

    async with application:
        held, _ = application.bot.callback_data_cache.persistence_data

    assert len(held) == 10


async def test_conversations_of_a_plain_application_are_loaded_in_steps(
    mongo_persistence: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    states = ConversationScope.states
    monkeypatch.setattr(ConversationScope, "states", lambda scope, raws: steps.append(len(raws)) or states(scope, raws))
    ids = [{"handler": "order", "key": [one, one]} for one in range(1, 4001)]
    database.conversations.insert_many([{"_id": one, **one, "state": 1} for one in ids])
    persistence = mongo_persistence(loading="lazy")
    offline_application(persistence)
    await persistence.get_bot_data()

    assert len(await persistence.get_conversations("order")) == 4000

    assert sum(steps) == 4000
    assert max(steps) <= 100
    await persistence.flush()


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_a_shared_application_reads_conversations_when_they_are_needed(
    worker: Callable[..., Any], database: Any, documents_read: dict[str, int], loading: str
) -> None:
    ids = [{"handler": "order", "key": [one, one]} for one in range(USER - 10, USER + 10)]
    database.conversations.insert_many([{"_id": one, **one, "state": 1, "rev": "other:1"} for one in ids])
    asked = []
    step = MessageHandler(filters.ALL, lambda *_: asyncio.sleep(0, asked.append(1)))
    handler = ConversationHandler([], {1: [step]}, [], name="order", persistent=True)
    bot = worker("stream", [handler], loading=loading)

    async with running(bot):
        await bot.takes(text("next"))
        assert asked == [1]
        assert len(bot.persistence.session.scopes.conversations.replicas) == 1

    assert "conversations" not in documents_read


# -- after the change stream was lost ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "chat", "reads"), [("plain", None, 1), ("shared", None, 1), ("shared", -100, 1), ("plain", -100, 2)]
)
@pytest.mark.parametrize("has_document", [True, False])
async def test_what_an_update_needs_is_read_in_one_round_trip(
    mongo_persistence: Callable[..., Any],
    database: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    chat: int | None,
    reads: int,
    has_document: bool,
) -> None:
    if has_document:
        database.user_data.insert_one({"_id": USER, "data": {"n": 1}, "rev": "other:1"})
        database.chat_data.insert_one({"_id": chat or USER, "data": {"n": 2}, "rev": "other:1"})
    persistence = mongo_persistence(loading="lazy")
    application = offline_application(persistence) if kind == "plain" else SharedBot(persistence).application
    asked: list[Any] = []
    read = Driver.raw_documents
    monkeypatch.setattr(Driver, "raw_documents", lambda *args, **more: asked.append(1) or read(*args, **more))
    application.add_handler(MessageHandler(filters.ALL, lambda *_: asyncio.sleep(0)))
    async with application:
        await application.process_update(text(chat=chat))
        await until(lambda: not persistence.session.must_read)
        persistence.session.scopes.told_all()
        await application.process_update(text(user=USER + 1))  # reads what belongs to the bot
        asked.clear()

        await application.process_update(text(chat=chat))

        # A plain application asks for a group's data first, and then for that of a user who was not named before.
        assert len(asked) == reads
