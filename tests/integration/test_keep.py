"""`keep`: users inactive longest are evicted, and come back as if never loaded; nobody loses anything.

The kind of fault: somebody is evicted while some of their data is only in memory, or while their object is in use. So
the tests go through everything that may be in progress, and check what is stored in the end.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from bots import turns
from offline import message_from
from telegram import Update
from telegram.ext import Application, ConversationHandler, MessageHandler, TypeHandler, filters
from workers import SharedBot, running, text

from ptb_mongo import MongoPersistence, releasing
from ptb_mongo.errors import ConfigurationError, RefusedError, UnavailableError
from ptb_mongo.scopes import conversations
from ptb_mongo.sync.preloading import Preload

KEEP = 5


class Unstorable:
    pass


def held(bot: Any) -> set[int]:
    gc.collect()
    assert len(bot.persistence.session.scopes.user_data.replicas) <= len(bot.application.user_data) + 1
    return set(bot.application.user_data)


async def others_come(bot: Any, number: int = 4 * KEEP, first: int = 1000) -> None:
    for user in range(first, first + number):
        await bot.hears(lambda context: context.user_data.update(n=1), user=user)
    await turns()  # tasks of PTB's end
    await bot.application.update_persistence()
    gc.collect()  # and may refer to their contexts in a circle
    for user in range(first + number - KEEP, first + number):
        await bot.hears(lambda _: None, user=user)
    for _ in range(number):
        await bot.hears(lambda _: None, user=first + number - 1)


async def test_no_more_stay_than_that_and_the_last_ones(start: Callable[..., Any], database: Any) -> None:
    bot = await start(loading="lazy", keep=KEEP)

    for first in range(0, 100, 20):
        await others_come(bot, 20, first)

    assert held(bot) == set(range(95, 100))
    assert set(bot.application.chat_data) == set(range(95, 100))
    assert database.user_data.count_documents({"data": {"n": 1}}) == 100


async def test_a_user_who_was_evicted_comes_back_with_what_is_stored_then(
    start: Callable[..., Any], database: Any
) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    await bot.hears(lambda context: context.user_data.update(mine=1, gone=1), user=1)
    await others_come(bot)
    assert 1 not in held(bot)
    database.user_data.update_one({"_id": 1}, {"$set": {"data.others": 2}, "$unset": {"data.gone": ""}})

    assert await bot.hears(lambda context: context.user_data.update(more=3), user=1) == {
        "mine": 1,
        "others": 2,
        "more": 3,
    }
    await bot.saves()

    assert database.user_data.find_one({"_id": 1})["data"] == {"mine": 1, "others": 2, "more": 3}


@pytest.mark.parametrize("refresh", ["watch", "read"])
async def test_it_is_all_the_same_how_changes_are_noticed(
    start: Callable[..., Any], database: Any, refresh: str
) -> None:
    bot = await start(loading="lazy", keep=KEEP, refresh=refresh)
    await bot.hears(lambda context: context.user_data.update(n=1), user=1)
    await others_come(bot)
    assert 1 not in held(bot)
    database.user_data.update_one({"_id": 1}, {"$set": {"data.n": 7}})

    assert await bot.hears(user=1) == {"n": 7}


async def test_nobody_is_evicted_whose_changes_are_not_saved(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    await bot.hears(lambda context: context.user_data.update(n=Unstorable()), user=1)
    await bot.hears(lambda context: context.user_data.update(n=1), user=2)
    await bot.saves()
    bot.application.user_data[2]["n"] = 2  # by a job that has told nobody yet
    await others_come(bot)

    assert {1, 2} <= held(bot)
    bot.application.mark_data_for_update_persistence(user_ids=2)
    await bot.saves()
    assert database.user_data.find_one({"_id": 2})["data"] == {"n": 2}
    await others_come(bot)
    assert 2 not in held(bot)
    bot.application.user_data[1].clear()
    bot.application.mark_data_for_update_persistence(user_ids=1)
    await bot.saves()


async def test_nobody_is_evicted_whose_object_somebody_has(start: Callable[..., Any]) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    await bot.hears(lambda context: context.user_data.update(n=1), user=1)
    data = bot.application.user_data[1]
    await others_come(bot)
    assert held(bot) >= {1}
    assert bot.application.user_data[1] is data

    del data
    await others_come(bot, first=2000)
    assert 1 not in held(bot)


async def test_nobody_is_evicted_while_an_update_of_theirs_is_handled(start: Callable[..., Any], database: Any) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    await bot.hears(lambda context: context.user_data.update(n=1, old=1), user=1)
    await bot.saves()
    go_on, has_begun = asyncio.Event(), asyncio.Event()

    async def slow(update: Update, context: Any) -> None:
        if update.effective_user is not None and update.effective_user.id == 1:
            has_begun.set()
            await go_on.wait()
            context.user_data["n"] = context.user_data.get("n", 0) + 1  # it asks only now

    bot.application.add_handler(TypeHandler(Update, slow), group=7)
    handling = asyncio.create_task(bot.application.process_update(message_from(1)))
    await has_begun.wait()
    await others_come(bot)
    assert 1 in held(bot)

    go_on.set()
    await handling
    await bot.saves()
    assert database.user_data.find_one({"_id": 1})["data"] == {"n": 2, "old": 1}
    await others_come(bot, first=2000)
    assert 1 not in held(bot)


async def test_a_user_who_was_dropped_or_preloaded_is_evicted_as_well(start: Callable[..., Any], database: Any) -> None:
    database.user_data.insert_many([{"_id": one, "data": {"n": one}} for one in range(1, 4)])
    bot = await start(loading="lazy", keep=KEEP)
    await bot.persistence.preload(bot.application, user_ids=[1, 2, 3])
    assert bot.application.user_data[3] == {"n": 3}
    bot.application.drop_user_data(1)
    await bot.saves()

    await others_come(bot)

    assert not held(bot) & {1, 2, 3}
    assert database.user_data.find_one({"_id": 1}) is None
    assert await bot.hears(user=2) == {"n": 2}


async def test_a_worker_lets_users_go(mongo_persistence: Callable[..., Any], database: Any) -> None:
    bot = SharedBot(mongo_persistence(loading="lazy", keep=KEEP))
    async with running(bot):
        await bot.hears(lambda context: context.user_data.update(n=1), user=1)
        await others_come(bot)
        assert 1 not in held(bot)
        database.user_data.update_one({"_id": 1}, {"$set": {"data.n": 7}})

        await bot.hears(lambda context: context.user_data.update(m=1), user=1)

        assert database.user_data.find_one({"_id": 1})["data"] == {"n": 7, "m": 1}


async def test_a_worker_forgets_whose_updates_no_handler_wanted(
    mongo_persistence: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "_MORE", 10)
    bot = SharedBot(mongo_persistence(loading="lazy", keep=KEEP))
    async with running(bot):
        (handler,) = bot.application.handlers[1]
        bot.application.remove_handler(handler, group=1)
        for user in range(10, 110):
            await bot.takes(text("what?", user=user))
        known = bot.persistence.session.scopes.user_data.replicas
        assert len(known) == 100
        bot.application.add_handler(handler, group=1)

        await bot.hears(user=1)

        assert len(known) <= 2


async def test_a_worker_forgets_who_has_no_conversation(
    mongo_persistence: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "_MOST_KNOWN", 10)
    entry = MessageHandler(filters.Regex("hello"), lambda *_: asyncio.sleep(0, 1))
    end = MessageHandler(filters.Regex("bye"), lambda *_: asyncio.sleep(0, ConversationHandler.END))
    handler = ConversationHandler([entry], {1: [end]}, [], name="order", persistent=True)
    bot = SharedBot(mongo_persistence(loading="lazy", keep=KEEP), [handler])
    async with running(bot):
        for user in (1, 2):
            await bot.takes(text("hello", user=user))
        await bot.takes(text("bye", user=2))
        for user in range(10, 60):
            await bot.takes(text("what?", user=user))
        known = bot.persistence.session.scopes.conversations.replicas
        assert ("order", (1, 1)) in known
        assert len(known) <= 12

        for user in (1, 2, 10):
            await bot.takes(text("bye", user=user))
            await bot.takes(text("hello", user=user))

        assert database.conversations.count_documents({"state": 1}) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": 5}, "lazy"),
        ({"keep": 0, "loading": "lazy"}, "at least 1"),
        ({"keep": True, "loading": "lazy"}, "at least 1"),
        ({"keep": 5, "loading": "lazy", "refresh": "off"}, "off"),
    ],
)
def test_what_cannot_be_kept_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MongoPersistence("mongodb://localhost", **options)


def test_a_ptb_that_keeps_the_data_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Application, "_user_data")
    with pytest.raises(ConfigurationError, match="_user_data"):
        MongoPersistence("mongodb://localhost", loading="lazy", keep=5)
    MongoPersistence("mongodb://localhost", loading="lazy")


async def test_a_user_evicted_during_an_older_read_of_a_preload_comes_back_with_what_was_saved(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    database.user_data.insert_one({"_id": 1, "data": {"n": 1}})
    take_in = Preload._take_in

    async def late(self: Preload, *read: Any) -> Any:
        monkeypatch.undo()
        await bot.hears(lambda context: context.user_data.update(n=2), user=1)
        await bot.saves()
        await others_come(bot)
        return await take_in(self, *read)

    monkeypatch.setattr(Preload, "_take_in", late)

    await bot.persistence.preload(bot.application, user_ids=[1])

    assert await bot.hears(user=1) == {"n": 2}


async def test_a_user_who_could_not_be_read_is_evicted_as_well(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    driver = bot.persistence.session.driver
    database.user_data.insert_many([{"_id": one, "data": {"n": one}} for one in (1, 2)])
    raw_documents = driver.raw_documents

    async def refused(wanted: Any, **options: Any) -> Any:
        if any({1, 2} & set(one.ids) for one in wanted):
            raise RefusedError("not authorized", 13)
        return await raw_documents(wanted, **options)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "raw_documents", refused)
        for user in (1, 2):
            await bot.application.process_update(text(user=user, chat=-5))
        assert {1, 2} <= set(bot.application.user_data)
    bot.application.user_data[2]["by hand"] = 1  # which nobody else knows
    for one in bot.errors:  # the log has them, and their tracebacks the contexts
        error = one
        while error is not None:
            error.__traceback__, error = None, error.__cause__ or error.__context__
    bot.errors.clear()

    await others_come(bot)

    assert held(bot) & {1, 2} == {2}
    assert await bot.hears(user=1) == {"n": 1}
    assert (await bot.hears(user=2))["n"] == 2


async def test_whose_document_cannot_be_decoded_is_evicted_as_well(start: Callable[..., Any], database: Any) -> None:
    bot = await start(loading="lazy", keep=KEEP)
    database.user_data.insert_one({"_id": 1, "data": {"_py": "nonsense"}})
    await bot.application.process_update(text(user=1, chat=-5))
    assert 1 in bot.application.user_data

    await others_come(bot)

    assert 1 not in set(bot.application.user_data)
    assert bot.persistence.health().quarantined == 1
    database.user_data.replace_one({"_id": 1}, {"_id": 1, "data": {"n": 1}})
    assert await bot.sees(lambda data: data == {"n": 1}, user=1)


async def test_a_user_who_should_be_preloaded_while_nothing_can_be_read_is_not_remembered(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await start(loading="lazy", keep=KEEP)

    async def fails(*_: Any, **__: Any) -> Any:
        raise UnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(bot.persistence.session.driver, "raw_documents", fails)
        with pytest.raises(UnavailableError):
            await bot.persistence.preload(bot.application, user_ids=range(1, 100))

    await others_come(bot, 100)

    assert len(bot.persistence._users._loaded) == KEEP


async def test_one_preload_after_another_keeps_no_more_than_that(start: Callable[..., Any], database: Any) -> None:
    database.user_data.insert_many([{"_id": one, "data": {"n": one}} for one in range(60)])
    bot = await start(loading="lazy", keep=KEEP)
    most, get = 0, bot.persistence.session.scopes.user_data.filled_unused

    def filled(*some: Any) -> Any:
        nonlocal most
        found = get(*some)
        most = max(most, len(bot.application.user_data))
        return found

    bot.persistence.session.scopes.user_data.filled_unused = filled
    for first in range(0, 60, KEEP):
        ids = range(first, first + KEEP)
        await bot.persistence.preload(bot.application, user_ids=ids)
        assert [bot.application.user_data[one]["n"] for one in ids] == [*ids]
    assert most == KEEP


async def test_two_preloads_at_once_let_nobody_go_whom_the_other_has_loaded(
    start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_many([{"_id": one, "data": {"n": one}} for one in range(40)])
    bot = await start(loading="lazy", keep=20)
    preload, persistence = bot.persistence.session.exchange.preload, bot.persistence

    async def slow(*what: Any) -> None:
        await preload(*what)
        if 0 in what[1]:  # the other one begins and ends before this one returns
            await persistence.preload(bot.application, user_ids=range(10, 30))

    bot.persistence.session.exchange.preload = slow
    await persistence.preload(bot.application, user_ids=range(20))
    loaded = {one: data for one, data in bot.application.user_data.items() if data}
    assert loaded == {one: {"n": one} for one in range(30)}
    del loaded  # who is in somebody's hands stays
    await bot.persistence.preload(bot.application, user_ids=range(30, 40))
    assert len(held(bot)) == 20
