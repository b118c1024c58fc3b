"""Data that the next start could not load is refused at the first save; one such document stops nobody else's saves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bots import USER, Bot
from telegram.ext import ContextTypes

from ptb_mongo import DocumentError, MongoPersistence


class Basket:
    def __init__(self) -> None:
        self.tea = 1


@pytest.mark.parametrize("trusted", [(), (Basket,)])
async def test_context_types_of_the_application_alone_are_named_at_the_first_save(
    client: Any, mongodb_database: str, database: Any, trusted: Any
) -> None:
    persistence: Any = MongoPersistence(client, mongodb_database, trusted=trusted)
    bot = Bot(persistence, context_types=ContextTypes(user_data=Basket))
    async with bot.application:
        await bot.hears(lambda context: context.chat_data.update(n=1))
        await bot.saves()

        (error,) = bot.errors
        assert isinstance(error, DocumentError)
        assert f"user_data, _id {USER}, at data: data is a Basket" in str(error)
        assert "MongoPersistence(..., context_types=...)" in str(error)
        assert database.user_data.find_one() is None
        assert database.chat_data.find_one()["data"] == {"n": 1}


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
