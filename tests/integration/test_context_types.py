"""Data that the next start could not load is refused at the first save; other documents are saved nevertheless."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bots import USER, Bot
from offline import BOT_ID
from telegram.ext import ContextTypes

from ptb_mongo import DocumentError, MongoPersistence, UnsavedDataError
from ptb_mongo.migration import BotData, Database, Importer


class Basket:
    def __init__(self) -> None:
        self.tea = 1


@pytest.mark.parametrize("trusted", [(), (Basket,)])
async def test_context_types_of_the_application_alone_are_named_at_the_first_save(
    client: Any, mongodb_database: str, database: Any, trusted: Any
) -> None:
    persistence: Any = MongoPersistence(client, mongodb_database, trusted=trusted)
    bot = Bot(persistence, context_types=ContextTypes(user_data=Basket))
    await bot.application.initialize()
    await bot.hears(lambda context: context.chat_data.update(n=1))
    await bot.saves()

    (error,) = bot.errors
    assert isinstance(error, DocumentError)
    assert f"user_data, _id {USER}, at data: data is a Basket" in str(error)
    assert "MongoPersistence(..., context_types=...)" in str(error)
    assert database.user_data.find_one() is None
    assert database.chat_data.find_one()["data"] == {"n": 1}
    with pytest.raises(UnsavedDataError, match="context_types="):
        await bot.application.shutdown()


async def test_with_the_advice_followed_the_next_start_loads_it(client: Any, mongodb_database: str) -> None:
    types = ContextTypes(user_data=Basket)
    for _ in range(2):
        persistence: Any = MongoPersistence(client, mongodb_database, context_types=types)
        bot = Bot(persistence, context_types=types)
        async with bot.application:
            await bot.hears(lambda context: setattr(context.user_data, "tea", context.user_data.tea + 1))
        assert bot.errors == []

    assert bot.application.user_data[USER].tea == 3


@pytest.mark.parametrize("key", [2**63, "1", None])
async def test_an_id_that_cannot_be_stored_stops_nobody_else(
    client: Any, mongodb_database: str, database: Any, key: Any
) -> None:
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        odd, other = await asyncio.gather(
            bot.persistence.update_user_data(key, {"n": 1}),
            bot.persistence.update_user_data(USER, {"n": 1}),
            return_exceptions=True,
        )

        assert isinstance(odd, DocumentError)
        assert other is None
        assert [one["_id"] for one in database.user_data.find()] == [USER]


class NoState:
    """Can be stored, and not be restored."""

    def __getstate__(self) -> object:
        return {"a": 1}

    def __setstate__(self, state: object) -> None:
        raise RuntimeError("no")


async def test_an_import_refuses_what_could_not_be_loaded_and_imports_the_rest(
    mongodb_server_uri: str, mongodb_database: str, database: Any
) -> None:
    target = await Database.open(mongodb_server_uri, mongodb_database, trusted=[__name__])
    data = BotData(
        user_data={1: {"v": NoState()}, 2**63: {"n": 1}, USER: {"n": 1}},
        conversations={"order": {(1, 1): NoState(), (2, 2): "menu"}},
    )

    report = await Importer(target, apply=True, bot_id=BOT_ID).run(data)
    await target.close()

    assert [problem.document_id for problem in report.problems] == [1, 2**63, {"handler": "order", "key": [1, 1]}]
    assert [one["_id"] for one in database.user_data.find()] == [USER]
    assert [one["_id"]["key"] for one in database.conversations.find()] == [[2, 2]]
