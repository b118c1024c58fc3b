"""Data with a part that cannot be stored: the rest is saved and refreshed as if that part were not there.

The kind of fault: what is in memory is no longer compared with what others have stored, so that a later save overwrites
a newer value with an older one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bots import USER, Bot

from ptb_mongo import MongoPersistence, UnsavedDataError


class Lock:
    """Cannot be stored, but copied, as PTB does it."""

    def __deepcopy__(self, memo: object) -> Lock:
        return self


LOCK = Lock()
BEFORE = {"score": 1, "plan": "trial", "cart": {"tea": 1, "milk": 1}}


@pytest.fixture(params=["auto", "read"])
async def bot(
    request: pytest.FixtureRequest, mongodb_server_uri: str, mongodb_database: str, database: Any
) -> AsyncIterator[Bot]:
    """A bot whose user has a lock in the data, beside what is stored."""
    database.user_data.insert_one({"_id": USER, "data": BEFORE})
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, refresh=request.param))
    await bot.application.initialize()
    await offer(bot, lock=LOCK)
    yield bot
    with pytest.raises(UnsavedDataError, match=r"data\.lock"):
        await bot.application.shutdown()


async def offer(bot: Bot, **changes: Any) -> list[BaseException]:
    """Saves what a handler has changed; gives the errors that are new."""
    known = len(bot.errors)
    await bot.hears(lambda context: context.user_data.update(changes))
    await bot.saves()
    return bot.errors[known:]


def stored(database: Any) -> Any:
    return database.user_data.find_one({"_id": USER})["data"]


async def test_edits_of_others_get_into_it(bot: Bot, database: Any) -> None:
    database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}, "$unset": {"data.cart.milk": 1}})

    data = await bot.sees(lambda data: data["plan"] == "premium")

    assert data == {"score": 1, "plan": "premium", "cart": {"tea": 1}, "lock": LOCK}


async def test_a_later_save_undoes_no_edit_of_others(bot: Bot, database: Any) -> None:
    database.user_data.update_one({"_id": USER}, {"$set": {"data.plan": "premium"}, "$unset": {"data.cart.milk": 1}})
    await bot.sees(lambda data: data["plan"] == "premium")

    assert await offer(bot, score=2) == []  # it was reported

    assert stored(database) == {"score": 2, "plan": "premium", "cart": {"tea": 1}}


async def test_what_others_store_in_the_place_of_what_cannot_be_stored_does_not_replace_it(
    bot: Bot, database: Any
) -> None:
    database.user_data.update_one({"_id": USER}, {"$set": {"data.lock": "none", "data.plan": "premium"}})

    data = await bot.sees(lambda data: data["plan"] == "premium")
    await offer(bot, score=2)

    assert data["lock"] is LOCK
    assert stored(database) == {**BEFORE, "score": 2, "plan": "premium", "lock": "none"}


async def test_data_that_was_dropped_and_filled_again_is_saved_as_far_as_it_can_be(bot: Bot, database: Any) -> None:
    bot.application.drop_user_data(USER)
    await bot.hears(lambda context: context.user_data.update(new=1, lock=LOCK))
    await bot.saves()

    assert stored(database) == {"new": 1}
