"""Users who have not been seen for long are forgotten, in the database and in memory; active ones never are.

The kind of fault: an active user is deleted, because their updates change nothing; one who has left stays, in the
memory of some process or as an open conversation; half of somebody is lost who comes back at that very moment; an index
keeps deleting when nobody writes `seen_at` any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from bots import USER, Bot, turns, until
from ptb_private import conversation_state
from pymongo import MongoClient
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import SharedBot, running

from ptb_mongo import ConfigurationError, MongoPersistence, RefusedError
from ptb_mongo.embedded import EmbeddedMongo

OTHER = 7
YEAR = timedelta(days=365)
ALL: Any = dict.fromkeys(("user_data", "chat_data", "conversations", "callback_data"), YEAR)
HANDLERS = ("eager", "lazy")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that looks every second for what has expired."""
    one = EmbeddedMongo()
    one.options = ("--setParameter", "ttlMonitorSleepSecs=1")
    with one:
        yield one.uri


@pytest.fixture(scope="module")
def service(server: str) -> Iterator[Any]:
    with MongoClient(server, tz_aware=True) as client:
        yield client


@pytest.fixture
def database(service: Any, mongodb_database: str) -> Iterator[Any]:
    yield service[mongodb_database]
    service.drop_database(mongodb_database)


async def _stay(*_: Any) -> str:
    return "amount"


def make_handler() -> ConversationHandler[Any]:
    orders = MessageHandler(filters.TEXT, _stay)
    return ConversationHandler([orders], {"amount": []}, [], name="order", persistent=True)


@pytest.fixture
def handler() -> ConversationHandler[Any]:
    return make_handler()


@pytest.fixture
def make(server: str, database: Any) -> Callable[..., Any]:
    def made(**options: Any) -> Any:
        return MongoPersistence(server, database.name, **{"expire": ALL, **options})

    return made


@pytest.fixture(params=HANDLERS)
async def bot(request: pytest.FixtureRequest, make: Callable[..., Any], handler: Any, database: Any) -> Any:
    """A bot that has stored something of two users; its indexes are there."""
    bot = Bot(make(loading=request.param))
    bot.application.add_handler(handler, group=1)
    async with bot.application:
        for user in (USER, OTHER):
            await bot.hears(remember, user=user)
        cache: Any = bot.application.bot
        cache.callback_data_cache.load_persistence_data(
            ([("old", 1.0, {"button": 1}), ("new", 2.0, {"button": 1})], {"one": "old", "two": "new"})
        )
        await bot.saves()
        await until(session_of(bot)._expiry.done)
        assert indexes(database) == dict.fromkeys(ALL, 31_536_000)
        await until(lambda: not session_of(bot).must_read)
        yield bot


def session_of(bot: Any) -> Any:
    return bot.persistence.session


def remember(context: Any) -> None:
    context.user_data.update(note=1, more=1)
    context.chat_data["place"] = 1


def indexes(database: Any) -> dict[str, int]:
    found = {}
    for name in ALL:
        for index in database[name].list_indexes():
            if "expireAfterSeconds" in index:
                assert dict(index["key"]) == {"seen_at": 1}
                found[name] = index["expireAfterSeconds"]
    return found


def seen_at(database: Any, user: int = USER, name: str = "user_data") -> Any:
    return (database[name].find_one({"_id": user}) or {}).get("seen_at")


LONG_AGO = dtm.datetime(2020, 1, 1, tzinfo=dtm.timezone.utc)


def was_silent(database: Any, user: int = USER) -> None:
    """Says that somebody was last here long ago: the server deletes what is theirs within a second."""
    database.user_data.update_one({"_id": user}, {"$set": {"seen_at": LONG_AGO}})
    database.chat_data.update_one({"_id": user}, {"$set": {"seen_at": LONG_AGO}})
    database.conversations.update_one({"_id.key": [user, user]}, {"$set": {"seen_at": LONG_AGO}})


def count(database: Any, user: int = USER) -> int:
    theirs = [database.user_data, database.chat_data]
    found = sum(one.count_documents({"_id": user}) for one in theirs)
    return int(found + database.conversations.count_documents({"_id.key": [user, user]}))


async def new_period(bot: Any) -> None:
    """Time has passed: who comes now is noted again."""
    await session_of(bot).seen.write()
    end_period(session_of(bot).seen)


def end_period(seen: Any) -> None:
    for _ in range(seen.days):
        seen._end_day()


# -- who is seen ------------------------------------------------------------------------------------------


async def test_an_active_user_is_seen_although_nothing_of_theirs_changes(bot: Bot, database: Any) -> None:
    was_silent(database, 0)
    await new_period(bot)
    recently = dtm.datetime.now(dtm.timezone.utc) - timedelta(days=30)
    everything = ("user_data", "chat_data", "conversations")
    for name in everything:
        database[name].update_many({}, {"$set": {"seen_at": recently}})
    await turns()
    revs = [one["rev"] for name in everything for one in database[name].find()]
    await bot.hears()
    await session_of(bot).seen.write()
    for name in everything:
        ids = {"_id.key": [USER, USER]} if name == "conversations" else {"_id": USER}
        others = {"_id.key": [OTHER, OTHER]} if name == "conversations" else {"_id": OTHER}
        assert database[name].find_one(ids)["seen_at"] > recently + timedelta(days=2)
        assert database[name].find_one(others)["seen_at"] < recently + timedelta(days=1)
    assert [one["rev"] for name in everything for one in database[name].find()] == revs
    # once a day is enough
    database.user_data.update_one({"_id": USER}, {"$set": {"seen_at": recently}})
    await bot.hears()
    await session_of(bot).seen.write()
    assert seen_at(database) < recently + timedelta(days=1)


async def test_what_is_saved_anyway_says_it_by_itself(bot: Bot, database: Any) -> None:
    await new_period(bot)
    recently = dtm.datetime.now(dtm.timezone.utc) - timedelta(days=30)
    database.user_data.update_many({}, {"$set": {"seen_at": recently}})
    await bot.hears(lambda context: context.user_data.update(note=2))
    await bot.saves()
    assert seen_at(database) > recently + timedelta(days=2)
    database.user_data.update_many({}, {"$set": {"seen_at": recently}})
    await session_of(bot).seen.write()  # it was written
    assert seen_at(database) < recently + timedelta(days=1)


async def test_a_job_is_no_update_of_theirs(bot: Bot, database: Any) -> None:
    await new_period(bot)
    before = seen_at(database)

    async def remind(context: Any) -> None:
        context.user_data["reminded"] = 1

    queue: Any = bot.application.job_queue
    job = queue.run_once(remind, 3600, user_id=USER, chat_id=USER)
    await job.run(bot.application)
    await bot.saves()
    await session_of(bot).seen.write()
    assert database.user_data.find_one({"_id": USER})["data"]["reminded"] == 1
    assert seen_at(database) == before


async def test_that_somebody_was_seen_is_no_news_for_anybody(bot: Bot, database: Any) -> None:
    scope = session_of(bot).scopes.user_data
    for user in (USER, OTHER):
        await bot.hears(user=user)  # what the stream had to tell until now is taken in
    assert not scope.replicas[USER].is_stale
    database.user_data.update_many({}, {"$set": {"seen_at": dtm.datetime.now(dtm.timezone.utc)}})
    database.user_data.update_one({"_id": OTHER}, {"$set": {"data.note": 5}})
    await until(lambda: scope.replicas[OTHER].is_stale)
    assert not scope.replicas[USER].is_stale


# -- who has gone -----------------------------------------------------------------------------------------


async def test_a_user_who_has_expired_leaves_the_memory_too(bot: Bot, database: Any, handler: Any) -> None:
    await new_period(bot)
    was_silent(database)
    await until(lambda: count(database) == 0)
    application = bot.application
    await until(lambda: USER not in application.user_data and USER not in application.chat_data)
    await until(lambda: conversation_state(handler, (USER, USER)) is None)
    assert conversation_state(handler, (OTHER, OTHER)) == "amount"
    assert application.user_data[OTHER] == {"note": 1, "more": 1}
    await bot.saves()
    assert count(database) == 0
    await bot.hears(lambda context: context.user_data.update(again=1))
    await bot.saves()
    assert database.user_data.find_one({"_id": USER})["data"] == {"again": 1}
    assert not bot.errors


async def test_a_user_who_writes_in_that_moment_starts_over(bot: Bot, database: Any) -> None:
    await new_period(bot)
    was_silent(database)
    await until(lambda: not count(database))
    await bot.hears(lambda context: context.user_data.update(again=1))
    for _ in range(3):
        await bot.saves()
        await bot.hears()
        await asyncio.sleep(0.05)
    assert database.user_data.find_one({"_id": USER})["data"] == {"again": 1}
    assert bot.application.user_data[USER] == {"again": 1}
    assert seen_at(database) > LONG_AGO


async def test_a_keyboard_that_has_expired_is_gone_from_the_cache(bot: Bot, database: Any) -> None:
    database.callback_data.update_many({"_id": {"$in": ["old", "query:one"]}}, {"$set": {"seen_at": LONG_AGO}})
    cache: Any = bot.application.bot

    def held() -> Any:
        keyboards, queries = cache.callback_data_cache.persistence_data
        return [one[0] for one in keyboards], queries

    await until(lambda: held() == (["new"], {"two": "new"}))
    await bot.saves()
    assert sorted(one["_id"] for one in database.callback_data.find()) == ["new", "query:two"]


async def test_an_own_deletion_takes_no_new_document_with_it(bot: Bot, database: Any) -> None:
    bot.application.drop_user_data(USER)
    await bot.saves()
    await bot.hears(lambda context: context.user_data.update(again=1))
    await bot.saves()
    await asyncio.sleep(0.1)  # what the stream tells of the deletion has come by now
    assert bot.application.user_data[USER] == {"again": 1}
    assert database.user_data.find_one({"_id": USER})["data"] == {"again": 1}


@pytest.mark.parametrize("loading", HANDLERS)
async def test_workers_evict_them_as_well(make: Callable[..., Any], database: Any, loading: str) -> None:
    handlers = [make_handler(), make_handler()]
    bots = [SharedBot(make(loading=loading), [one], consistency="stream") for one in handlers]
    async with running(*bots):
        for bot in bots:
            await bot.hears(remember)
            await bot.hears(remember, user=OTHER)
        await until(lambda: all(session_of(bot)._expiry.done() for bot in bots))
        for bot in bots:
            await new_period(bot)
        was_silent(database)
        await until(lambda: count(database) == 0)
        await until(lambda: not any(USER in bot.application.user_data for bot in bots))
        await until(lambda: [conversation_state(one, (USER, USER)) for one in handlers] == [None, None])
        assert all(bot.application.user_data[OTHER] == {"note": 1, "more": 1} for bot in bots)
        await bots[1].hears(lambda context: context.user_data.update(again=1))
        assert database.user_data.find_one({"_id": USER})["data"] == {"again": 1}


# -- the indexes ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def started(persistence: Any) -> AsyncIterator[Bot]:
    bot = Bot(persistence)
    async with bot.application:
        await bot.hears()
        yield bot


async def test_the_indexes_follow_what_the_bot_wants(make: Callable[..., Any], database: Any) -> None:
    database.user_data.insert_many([{"_id": 1, "data": {}}, {"_id": 2, "data": {}, "seen_at": LONG_AGO}])
    async with started(make(expire={"user_data": YEAR})):
        await until(lambda: indexes(database) == {"user_data": 31_536_000})
        # nobody has looked for them before, or there was no index: they are not taken for silent
        await until(lambda: database.user_data.count_documents({"seen_at": {"$gt": LONG_AGO}}) == 2)
    async with started(make(expire={"user_data": timedelta(days=2), "conversations": YEAR})):
        await until(lambda: indexes(database) == {"user_data": 172_800, "conversations": 31_536_000})
    async with started(make(expire={})):
        await until(lambda: indexes(database) == {})
        assert database.user_data.count_documents({"seen_at": {"$exists": True}}) == 0
    assert database.ptb_mongo.find_one({"_id": "format"})["expires"] == {}


async def test_a_bot_that_stops_at_once_leaves_all_indexes(make: Callable[..., Any], database: Any) -> None:
    async with started(make()):
        pass
    assert indexes(database) == dict.fromkeys(ALL, 31_536_000)


async def test_a_stop_does_not_wait_for_documents_that_are_yet_to_be_marked(
    make: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*_: Any, **__: Any) -> int:
        await asyncio.sleep(0)
        return 1

    monkeypatch.setattr("ptb_mongo.sync.expiry._touch_some", endless)
    async with started(make()):
        pass
    assert indexes(database) == dict.fromkeys(ALL, 31_536_000)


async def test_a_bot_that_may_not_make_indexes_says_who_does_and_goes_on(
    make: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(*_: Any) -> Any:
        raise RefusedError("not authorized", 13)

    monkeypatch.setattr("ptb_mongo.sync.expiry.changes", refused)
    database.user_data.insert_one({"_id": 1, "data": {}})
    async with started(make(expire={"user_data": YEAR})) as bot:
        await until(session_of(bot)._expiry.done)
        await bot.hears(remember)
        await bot.saves()
    assert "ptb-mongo indexes --apply" in caplog.text
    assert database.user_data.count_documents({"seen_at": {"$type": "date"}}) == 2
    assert database.ptb_mongo.find_one({"_id": "format"})["expires"] == {"user_data": 31_536_000}


async def test_a_bot_without_expire_asks_for_no_indexes(make: Callable[..., Any], database: Any) -> None:
    async with started(make(expire={})) as bot:
        assert session_of(bot)._expiry is None
        assert session_of(bot).seen is None
        await bot.hears(remember)
        await bot.saves()
    assert "seen_at" not in database.user_data.find_one({"_id": USER})


def test_the_command_line_makes_the_indexes(
    server: str, database: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("sys.argv", ["ptb-mongo"])
    run = request.getfixturevalue("run")
    at = ("--uri", server)
    assert "nothing expires" in run("indexes", *at).output
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "expires": {"user_data": 86_400, "x": 1}})
    shown = run("indexes", *at)
    assert shown.exit_code == 1
    assert "1 day" in shown.output
    assert indexes(database) == {}
    assert run("indexes", "--apply", *at).exit_code == 0
    assert indexes(database) == {"user_data": 86_400}
    database.ptb_mongo.update_one({"_id": "format"}, {"$set": {"expires": "nonsense"}})
    assert run("indexes", "--apply", *at).exit_code == 0
    assert indexes(database) == {}


@pytest.mark.parametrize(
    "expire",
    [{"bot_data": YEAR}, {"user_data": 5}, {"user_data": timedelta()}, {"chat_data": timedelta(days=30_000)}],
)
def test_what_cannot_expire_is_refused(expire: Any) -> None:
    with pytest.raises(ConfigurationError, match="expire"):
        MongoPersistence("mongodb://localhost", expire=expire)


async def test_a_plain_index_on_the_same_field_makes_room(make: Callable[..., Any], database: Any) -> None:
    """Somebody who looks for silent users has made one; MongoDB refuses a second."""
    database.user_data.create_index("seen_at", name="mine")
    async with started(make(expire={"user_data": YEAR})):
        await until(lambda: indexes(database) == {"user_data": 31_536_000})
    assert [name for name in database.user_data.index_information() if name != "_id_"] == ["seen_at_1"]


async def test_an_index_that_is_in_the_way_is_not_told_as_missing_rights(
    make: Callable[..., Any], database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.user_data.create_index("other", name="seen_at_1")
    async with started(make(expire={"user_data": YEAR})) as bot:
        await until(session_of(bot)._expiry.done)
    assert "other indexes are in the way" in caplog.text
    assert "may not see to them" not in caplog.text


async def test_a_user_who_was_saved_in_one_period_is_noted_in_the_next(make: Callable[..., Any], database: Any) -> None:
    async with started(make()) as bot:
        await until(session_of(bot)._expiry.done)
        seen = session_of(bot).seen
        await bot.hears(remember)
        await seen.write()
        await bot.hears(lambda context: context.user_data.update(more=2))
        await bot.saves()  # with `seen_at`, after what was noted is written: nothing asks for it any more
        await until(lambda: database.user_data.find_one({"_id": USER})["data"].get("more") == 2)
        database.user_data.update_one(
            {"_id": USER}, {"$set": {"seen_at": dtm.datetime.now(dtm.timezone.utc) - YEAR / 2}}
        )
        before = seen_at(database)
        end_period(seen)
        await bot.hears()
        await seen.write()
        assert seen_at(database) > before + YEAR / 3


async def test_what_another_service_inserts_counts_as_seen_at_the_next_start(
    make: Callable[..., Any], database: Any
) -> None:
    async with started(make()) as bot:
        await until(session_of(bot)._expiry.done)
        database.user_data.insert_one({"_id": 6, "data": {}})
    async with started(make()):
        await until(lambda: "seen_at" in database.user_data.find_one({"_id": 6}))
