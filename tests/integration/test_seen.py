"""`seen_at` is written for everybody from whom an update came, for nobody else, and no more often than necessary.

The kind of fault: a conversation never expires because others write in the same group, or expires although its user
writes; writes for everybody on one day, after each start, or with each save; a stranger's date that no update corrects.
"""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bots import Bot, until
from telegram.ext import ConversationHandler, MessageHandler, PersistenceInput, filters
from workers import text

from ptb_mongo import MongoPersistence
from ptb_mongo.driver.operations import Update
from ptb_mongo.people.application import Held

GROUP, ACTIVE, SILENT = -100, 1, 2
YEAR = timedelta(days=365)
ALL: Any = dict.fromkeys(("user_data", "chat_data", "conversations"), YEAR)
NOW = dtm.datetime.now(dtm.timezone.utc)
LATELY, LONG_AGO, FAR_AHEAD = NOW - timedelta(hours=1), NOW - timedelta(days=60), NOW + timedelta(days=36_500)


@pytest.fixture
def make(mongodb_server_uri: str, database: Any) -> Callable[..., Bot]:
    def made(**options: Any) -> Bot:
        async def stay(*_: Any) -> str:
            return "amount"

        keyed = {"both": {}, "users": {"per_chat": False}, "chats": {"per_user": False}}
        bot = Bot(MongoPersistence(mongodb_server_uri, database.name, **{"expire": ALL, **options}))
        for number, (name, parts) in enumerate(keyed.items()):
            entry = MessageHandler(filters.TEXT, stay)
            handler: Any = ConversationHandler([entry], {"amount": [entry]}, [], name=name, persistent=True, **parts)
            bot.application.add_handler(handler, group=number + 1)
        return bot

    return made


def session_of(bot: Bot) -> Any:
    return bot.persistence.session


async def write(bot: Bot, user: int, chat: int | None = None) -> None:
    await bot.application.process_update(text(user=user, chat=chat))


def end_period(bot: Bot) -> None:
    for _ in range(session_of(bot).seen.days):
        session_of(bot).seen._end_day()


async def stored(bot: Bot, database: Any) -> None:
    """Both have a conversation in the group and in private; all of it was long ago."""
    for user in (ACTIVE, SILENT):
        for chat in (GROUP, None):
            await write(bot, user, chat)
    await bot.saves()
    await until(session_of(bot)._expiry.done)
    await session_of(bot).seen.write()
    end_period(bot)
    for name in ALL:
        database[name].update_many({}, {"$set": {"seen_at": LONG_AGO}})


def conversations_seen(database: Any) -> set[Any]:
    found = database.conversations.find({"seen_at": {"$gt": LONG_AGO + timedelta(days=1)}})
    return {(one["_id"]["handler"], *one["_id"]["key"]) for one in found}


OF_ACTIVE = {("both", GROUP, ACTIVE), ("users", ACTIVE), ("chats", GROUP)}
STORED = {
    "everything": PersistenceInput(),
    "no chats": PersistenceInput(chat_data=False),
    "no users": PersistenceInput(user_data=False),
}


@pytest.mark.parametrize("store", STORED)
async def test_in_an_active_group_only_the_conversations_of_those_who_write_there_are_seen(
    make: Callable[..., Bot], database: Any, store: str
) -> None:
    bot = make(store_data=STORED[store])
    async with bot.application:
        await stored(bot, database)
        await write(bot, ACTIVE, GROUP)
        await session_of(bot).seen.write()
        assert conversations_seen(database) == OF_ACTIVE
        await write(bot, SILENT)  # in private, which is no sign of life in the group
        await session_of(bot).seen.write()
        private = {("both", SILENT, SILENT), ("users", SILENT), ("chats", SILENT)}
        assert conversations_seen(database) == OF_ACTIVE | private
        await write(bot, SILENT, GROUP)  # though both are noted already
        await session_of(bot).seen.write()
        assert conversations_seen(database) >= {("both", GROUP, SILENT)}


async def test_a_new_process_does_not_write_again_what_the_one_before_has_written(
    make: Callable[..., Bot], database: Any
) -> None:
    bot = make()
    async with bot.application:
        await stored(bot, database)
    dates = {1: LATELY, 2: LONG_AGO, 3: FAR_AHEAD}
    database.user_data.insert_many([{"_id": one + 10, "data": {}, "seen_at": date} for one, date in dates.items()])
    before = {one["_id"]: one["seen_at"] for one in database.user_data.find()}
    bot = make()
    async with bot.application:
        for one in dates:
            await write(bot, one + 10)
        await until(session_of(bot)._expiry.done)
        await session_of(bot).seen.write()
        after = {one["_id"]: one["seen_at"] for one in database.user_data.find()}
    assert after[11] == before[11]
    assert NOW - timedelta(minutes=5) < after[12] < NOW + timedelta(hours=1)
    assert after[13] < NOW + timedelta(hours=1)  # whoever has planted that


async def test_of_several_saves_in_a_period_only_one_says_it(make: Callable[..., Bot], database: Any) -> None:
    bot = make()
    async with bot.application:
        await bot.hears(user=SILENT)
        await until(session_of(bot)._expiry.done)
        scope = session_of(bot).scopes.user_data
        stamp, sent = scope.stamp, []

        def noting(replica: Any, operation: Any) -> Any:
            sent.append(stamp(replica, operation))
            return sent[-1]

        scope.stamp = noting
        await bot.hears(lambda context: context.user_data.update(number=0), user=ACTIVE)
        await bot.saves()  # an insertion, which always says it
        for number in range(1, 4):
            await bot.hears(lambda context, number=number: context.user_data.update(number=number), user=ACTIVE)
            await bot.saves()
            if number == 1:
                await session_of(bot).seen.write()
        said = ["seen_at" in one.extra for one in sent if isinstance(one, Update)]
        assert said == [True, False, False]


async def test_a_user_who_was_noted_on_one_day_is_not_written_again_on_one_day(make: Callable[..., Bot]) -> None:
    bot = make()
    async with bot.application:
        await bot.hears()
        seen = session_of(bot).seen
        users = range(1000, 1700)
        for one in users:
            seen.note("user_data", one, lambda: (None, None))
        await seen.write()
        left = [len(users)]
        for _ in range(seen.days):
            seen._end_day()
            left.append(sum(seen.is_recent("user_data", one) for one in users))
        assert left == [700, 600, 500, 400, 300, 200, 100, 0]


async def test_a_short_time_is_noted_four_times_in_it(make: Callable[..., Bot]) -> None:
    bot = make(expire={"user_data": timedelta(hours=4)})
    async with bot.application:
        await bot.hears()
        seen = session_of(bot).seen
        assert (seen._day, seen.days) == (3600, 1)


async def test_the_handlers_are_looked_through_once_for_all_conversations_of_a_name(
    make: Callable[..., Bot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make()
    async with bot.application:
        for user in range(1, 20):
            await write(bot, user, GROUP)
        await bot.saves()
        asked: list[str] = []
        parts = Held.parts
        monkeypatch.setattr(Held, "parts", lambda held, name: asked.append(name) or parts(held, name))
        await session_of(bot).seen.write()
        assert sorted(asked) == ["both", "chats", "users"]
        asked.clear()
        await bot.persistence.erase(bot.application, user_id=5)
        assert len(asked) <= 2 * 3  # for those in memory and those that are stored, which come again from the stream
        assert database.conversations.count_documents({"_id.key": 5, "buried": {"$exists": False}}) == 0
