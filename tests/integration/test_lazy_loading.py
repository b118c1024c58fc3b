"""`loading="lazy"`: nothing is read at the start, and a user's document when it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from bots import Bot
from commands import Commands
from offline import BOT_ID
from pymongo import AsyncMongoClient, MongoClient

from ptb_mongo import MongoPersistence

USERS = 2500
FORMAT = {"_id": "format", "version": 1, "bot_id": BOT_ID}  # the first start of all looks for other bots' documents


class Reads(Commands):
    """The filters of all queries for users' data."""

    def __init__(self) -> None:
        self.filters: list[Any] = []

    def started(self, event: Any) -> None:
        if event.command_name == "find" and event.command["find"] in {"user_data", "chat_data"}:
            self.filters.append(event.command["filter"])
        elif event.command_name == "aggregate" and event.command["aggregate"] in {"user_data", "chat_data"}:
            match, _, _, *unions = event.command["pipeline"]
            several = [match, *(union["$unionWith"]["pipeline"][0] for union in unions)]
            self.filters += [one["$match"] for one in several]


@pytest.fixture
def reads() -> Reads:
    return Reads()


@pytest.fixture
async def client(mongodb_server_uri: str, reads: Reads) -> AsyncIterator[Any]:
    async with AsyncMongoClient(mongodb_server_uri, event_listeners=[reads]) as client:
        yield client


@pytest.fixture
def database(mongodb_server_uri: str, mongodb_database: str) -> Iterator[Any]:
    with MongoClient(mongodb_server_uri) as client:
        client[mongodb_database].user_data.insert_many(
            {"_id": number, "data": {"n": number, "prefs": {"lang": "en"}}} for number in range(USERS)
        )
        client[mongodb_database].ptb_mongo.insert_one(FORMAT)
        yield client[mongodb_database]


@pytest.fixture
async def bot(client: Any, database: Any) -> AsyncIterator[Bot]:
    bot = Bot(MongoPersistence(client, database.name, loading="lazy"))
    async with bot.application:
        yield bot


async def test_nothing_is_read_at_the_start(bot: Bot, reads: Reads) -> None:
    assert reads.filters == []
    assert not bot.application.user_data


async def test_a_users_document_is_read_before_the_handler_of_the_first_update_runs(bot: Bot) -> None:
    seen: list[Any] = []

    await bot.hears(lambda context: seen.append(dict(context.user_data)), user=7)

    assert seen == [{"n": 7, "prefs": {"lang": "en"}}]


async def test_a_document_is_read_once_for_all_further_updates(bot: Bot, reads: Reads) -> None:
    for _ in range(5):
        await bot.hears(user=7)

    assert [query["_id"] for query in reads.filters] == [{"$in": [7]}, {"$in": [7]}]  # the chat's and the user's


async def test_concurrent_first_updates_of_one_user_share_one_read(bot: Bot, reads: Reads) -> None:
    live: dict[str, Any] = {}

    await asyncio.gather(*(bot.persistence.refresh_user_data(user_id=7, user_data=live) for _ in range(20)))

    assert live["n"] == 7
    assert len(reads.filters) == 1


async def test_only_the_users_that_came_are_in_memory(bot: Bot) -> None:
    for number in range(10):
        await bot.hears(user=number)

    assert len(bot.application.user_data) == 10
    session: Any = bot.persistence.session
    assert len(session.scopes.user_data.replicas) == 10


async def test_what_a_job_stores_for_a_user_who_was_never_loaded_is_merged_key_by_key(bot: Bot, database: Any) -> None:
    bot.application.user_data[7]["prefs"] = {"tone": "dry"}
    bot.application.user_data[7]["gift"] = 1
    bot.application.mark_data_for_update_persistence(user_ids=7)
    await bot.saves()

    assert database.user_data.find_one({"_id": 7})["data"] == {
        "n": 7,
        "prefs": {"lang": "en", "tone": "dry"},
        "gift": 1,
    }


async def test_what_a_job_stored_first_is_completed_by_the_users_next_update(bot: Bot, database: Any) -> None:
    bot.application.user_data[7]["gift"] = 1
    bot.application.mark_data_for_update_persistence(user_ids=7)
    await bot.saves()

    data = await bot.hears(user=7)
    await bot.saves()

    assert data == {"n": 7, "prefs": {"lang": "en"}, "gift": 1}
    assert database.user_data.find_one({"_id": 7})["data"] == data


async def test_what_a_job_stores_twice_before_the_users_update_is_not_mistaken_for_a_removal(
    bot: Bot, database: Any
) -> None:
    for gift in (1, 2):
        bot.application.user_data[7]["gift"] = gift
        bot.application.mark_data_for_update_persistence(user_ids=7)
        await bot.saves()

    assert database.user_data.find_one({"_id": 7})["data"] == {"n": 7, "prefs": {"lang": "en"}, "gift": 2}


async def test_a_user_who_was_never_loaded_can_be_dropped(bot: Bot, database: Any) -> None:
    bot.application.drop_user_data(7)
    await bot.saves()

    assert database.user_data.count_documents({"_id": 7}) == 0


async def test_a_dropped_user_who_comes_back_starts_empty(bot: Bot, database: Any) -> None:
    bot.application.drop_user_data(7)
    await bot.saves()

    assert await bot.hears(lambda context: context.user_data.update(again=True), user=7) == {"again": True}
    await bot.saves()
    assert database.user_data.find_one({"_id": 7})["data"] == {"again": True}


async def test_what_others_insert_later_is_seen(bot: Bot, database: Any) -> None:
    database.user_data.insert_one({"_id": -1, "data": {"new": True}})

    assert await bot.hears(user=-1) == {"new": True}


async def test_an_edit_of_a_loaded_user_is_seen(bot: Bot, database: Any) -> None:
    await bot.hears(user=7)

    database.user_data.update_one({"_id": 7}, {"$set": {"data.premium": True}})

    await bot.sees(lambda data: "premium" in data, user=7)


async def test_the_ids_of_all_stored_users_can_be_iterated_over(bot: Bot) -> None:
    assert sorted([user_id async for user_id in bot.persistence.user_ids()]) == list(range(USERS))


async def test_many_users_are_preloaded_with_one_query_for_5000(bot: Bot, reads: Reads) -> None:
    await bot.persistence.preload(bot.application, user_ids=range(3 * USERS))

    assert [len(query["_id"]["$in"]) for query in reads.filters] == [5000, 2500]
    assert bot.application.user_data[2499]["n"] == 2499
    assert bot.application.user_data[1]["n"] == 1
    assert bot.application.user_data[USERS] == {}  # nothing is stored of that one
    assert len(bot.application.user_data) == 3 * USERS


async def test_what_was_preloaded_is_not_read_again_and_saved_as_any_other(
    bot: Bot, reads: Reads, database: Any
) -> None:
    odd = {"_id": USERS, "data": {"n": {"_py": "tuple", "v": [1]}}}  # has to be decoded
    database.user_data.insert_one(odd)
    await bot.persistence.preload(bot.application, user_ids=range(USERS + 2))
    reads.filters.clear()

    for user in (7, USERS, USERS + 1):
        await bot.hears(lambda context: context.user_data.update(gift=1), user=user)
        await bot.persistence.preload(bot.application, user_ids=[user])
    await bot.saves()

    stored = {one["_id"]: one["data"] for one in database.user_data.find({"_id": {"$in": [7, USERS, USERS + 1]}})}
    assert stored[7] == {"n": 7, "prefs": {"lang": "en"}, "gift": 1}
    assert stored[USERS] == odd["data"] | {"gift": 1}
    assert stored[USERS + 1] == {"gift": 1}
    assert not [query for query in reads.filters if USERS in query["_id"]["$in"][1:]]


async def test_what_others_write_during_a_preload_is_read_before_it_is_used(bot: Bot, database: Any) -> None:
    await bot.hears(user=1)  # the change stream is open
    session: Any = bot.persistence.session
    read = session.exchange._driver.raw_documents

    async def slow(wanted: Any, **options: Any) -> Any:
        session.exchange._driver.raw_documents = read
        found = await read(wanted, **options)
        database.user_data.update_one({"_id": 7}, {"$set": {"data.n": -7}})
        session.scopes.user_data.told(7)  # as the stream does, here at once
        return found

    session.exchange._driver.raw_documents = slow
    await bot.persistence.preload(bot.application, user_ids=[6, 7, 8])

    assert [bot.application.user_data[user]["n"] for user in (6, 7, 8)] == [6, -7, 8]


async def test_preloading_does_not_undo_what_is_in_memory_already(bot: Bot) -> None:
    bot.application.user_data[7]["gift"] = 1

    await bot.persistence.preload(bot.application, user_ids=[7])

    assert bot.application.user_data[7] == {"n": 7, "prefs": {"lang": "en"}, "gift": 1}


async def test_a_migrated_chat_keeps_its_data_if_the_old_one_is_preloaded(bot: Bot, database: Any) -> None:
    database.chat_data.insert_one({"_id": -10, "data": {"topic": "x"}})

    await bot.persistence.preload(bot.application, chat_ids=[-10])
    bot.application.migrate_chat_data(old_chat_id=-10, new_chat_id=-10010)
    await bot.saves()

    assert database.chat_data.find_one({"_id": -10010})["data"] == {"topic": "x"}
    assert database.chat_data.count_documents({"_id": -10}) == 0


@pytest.mark.parametrize("count", [10, 2000])
async def test_a_start_sends_the_same_commands_whatever_is_stored(
    mongodb_server_uri: str, mongodb_database: str, count: int
) -> None:
    with MongoClient(mongodb_server_uri) as client:
        client[mongodb_database].user_data.insert_many({"_id": n, "data": {"n": n}} for n in range(count))
        client[mongodb_database].ptb_mongo.insert_one(FORMAT)
    reads = Reads()
    async with AsyncMongoClient(mongodb_server_uri, event_listeners=[reads]) as client:
        bot = Bot(MongoPersistence(client, mongodb_database, loading="lazy"))
        async with bot.application:
            assert reads.filters == []
            assert bot.application.user_data == {}
