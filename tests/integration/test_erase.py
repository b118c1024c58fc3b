"""Erasing a person: from every collection and from the memory of every process, at once, and nothing comes back.

The kind of fault: something that has a person's data is not told to forget it: a change that is waiting to be saved,
the live object, a copy that PTB hands over later, a worker with loaded data, a conversation, a job, a document that was
never loaded. And the reverse: somebody else's document is deleted, too, or what the person writes afterwards.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import Bot, until
from mongomock_motor import AsyncMongoMockClient
from offline import offline_application
from people import ADA, GROUP, SECRET, mentions
from ptb_private import conversation_state
from telegram.ext import ConversationHandler, MessageHandler, filters
from test_cli_hostile_text import HOSTILE
from workers import SharedBot, running, text

from ptb_mongo import ConfigurationError, MongoPersistence
from ptb_mongo.people.orders import order
from ptb_mongo.people.spilled import erase_spilled
from ptb_mongo.people.subject import Subject
from ptb_mongo.sync.spill import Spilled, claim, write

BOB = 77


async def _stay(*_: Any) -> str:
    return "amount"


def make_handler() -> ConversationHandler[Any]:
    texts = MessageHandler(filters.TEXT, _stay)
    return ConversationHandler([texts], {"amount": []}, [], name="order", persistent=True)


@pytest.fixture(params=["eager", "lazy"])
def loading(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def handler() -> ConversationHandler[Any]:
    return make_handler()


@pytest.fixture
async def bot(
    client: Any, mongodb_database: str, mode: str, loading: str, handler: ConversationHandler[Any]
) -> AsyncIterator[Bot]:
    """A bot that has stored something of Ada, and of Bob."""
    bot = Bot(MongoPersistence(client, mongodb_database, refresh=mode, loading=loading))
    bot.application.add_handler(handler, group=1)
    async with bot.application:
        for user in (ADA, BOB):
            await bot.hears(remember, user=user)
        await bot.saves()
        yield bot


def remember(context: Any) -> None:
    context.user_data["note"] = SECRET
    context.chat_data["place"] = [SECRET]


def bobs(database: Any) -> list[Any]:
    database.user_data.update_one({"_id": BOB}, {"$set": {"data.note": SECRET}})
    return [database[name].count_documents({}) for name in ("user_data", "chat_data", "conversations")]


async def test_nothing_of_them_is_left_anywhere(bot: Bot, database: Any, handler: Any) -> None:
    await bot.hears(lambda context: context.user_data.update(unsaved=SECRET), user=ADA)
    erased = await bot.persistence.erase(bot.application, user_id=ADA)
    assert erased.found == erased.removed == {"user_data": 1, "chat_data": 1, "conversations": 1}
    assert erased.left == erased.marks == 0
    assert mentions(database, secret=str(ADA)) == []
    assert bobs(database) == [1, 1, 1]
    application = bot.application
    assert ADA not in application.user_data
    assert ADA not in application.chat_data
    assert conversation_state(handler, (ADA, ADA)) is None
    assert conversation_state(handler, (BOB, BOB)) == "amount"
    await bot.saves()
    await bot.saves()
    assert mentions(database, secret=str(ADA)) == []


async def test_what_they_write_afterwards_is_saved_and_is_all_there_is(bot: Bot, database: Any) -> None:
    await bot.persistence.erase(bot.application, user_id=ADA)
    await bot.hears(lambda context: context.user_data.update(again=1), user=ADA)  # before PTB tells of the drop
    await bot.saves()
    assert database.user_data.find_one({"_id": ADA})["data"] == {"again": 1}
    assert bot.application.user_data[ADA] == {"again": 1}
    bot.application.drop_user_data(ADA)  # a drop of the program's own is one
    await bot.saves()
    assert database.user_data.find_one({"_id": ADA}) is None
    assert not bot.errors


async def test_a_handler_can_erase_the_user_whose_update_it_handles(bot: Bot, database: Any) -> None:
    erasing: list[asyncio.Task[Any]] = []

    def act(context: Any) -> None:
        context.user_data["last"] = SECRET
        erasing.append(asyncio.ensure_future(bot.persistence.erase(bot.application, user_id=ADA)))

    await bot.hears(act, user=ADA)
    await erasing[0]
    await bot.saves()
    assert database.user_data.count_documents({"_id": ADA}) == 0


async def test_jobs_of_theirs_are_removed(bot: Bot) -> None:
    async def alarm(_: Any) -> None: ...

    queue: Any = bot.application.job_queue
    for user in (ADA, BOB):
        queue.run_once(alarm, 3600, chat_id=user, user_id=user)
    queue.run_once(alarm, 3600)
    await bot.persistence.erase(bot.application, user_id=ADA)
    assert [job.user_id for job in queue.jobs() if not job.removed] == [BOB, None]


async def test_stored_jobs_leases_and_quarantined_documents_of_theirs_go_too(bot: Bot, database: Any) -> None:
    database.jobs.insert_many([{"user_id": ADA}, {"chat_id": float(ADA)}, {"user_id": BOB, "chat_id": BOB}])
    database.leases.insert_many([{"_id": f"user:{ADA}", "until": 5}, {"_id": f"user:{ADA}1"}])
    database.user_data_quarantine.insert_one({"_id": ADA, "data": SECRET})
    database.user_data.insert_one({"_id": f"x{BOB}", "data": 1})
    await bot.persistence.erase(bot.application, user_id=ADA)
    assert [one["user_id"] for one in database.jobs.find()] == [BOB]
    assert [one["_id"] for one in database.leases.find()] == [f"user:{ADA}1"]
    assert database.user_data_quarantine.count_documents({}) == 0
    assert database.user_data.count_documents({}) == 2


async def test_a_lease_that_somebody_has_planted_goes_and_one_that_is_in_use_is_given_back(
    bot: Bot, database: Any
) -> None:
    now = dtm.datetime.now(dtm.timezone.utc)
    until = {
        "in use": now + dtm.timedelta(seconds=30),
        "planted": now + dtm.timedelta(days=9_000),
        "odd": "9999",
        "none": None,
    }
    left = {}
    for name, date in until.items():
        database.leases.replace_one({"_id": f"user:{ADA}"}, {"holder": "x", "until": date}, upsert=True)
        await bot.persistence.erase(bot.application, user_id=ADA)
        left[name] = database.leases.count_documents({})
        database.leases.delete_many({})
    assert left == {"in use": 1, "planted": 0, "odd": 0, "none": 0}


async def test_a_document_that_cannot_be_read_is_erased_all_the_same(bot: Bot, database: Any) -> None:
    database.user_data.update_one({"_id": ADA}, {"$set": {"data": {"_py": "nonsense"}}})
    if bot.persistence.refresh_mode == "watch":
        await until(lambda: bot.persistence.session.scopes.user_data.replicas[ADA].is_stale)  # type: ignore[union-attr]
    await bot.hears(user=ADA)
    await bot.persistence.erase(bot.application, user_id=ADA)
    assert database.user_data.find_one({"_id": ADA}) is None
    await bot.hears(lambda context: context.user_data.update(again=1), user=ADA)
    await bot.saves()
    assert database.user_data.find_one({"_id": ADA})["data"] == {"again": 1}


async def test_a_group_is_erased_without_its_members(bot: Bot, database: Any) -> None:
    persistence = bot.persistence
    await persistence.update_chat_data(GROUP, {"title": SECRET})
    for key in ((GROUP, ADA), (GROUP, BOB), (ADA, ADA)):
        await persistence.update_conversation("order", key, "amount")
    erased = await persistence.erase(bot.application, chat_id=GROUP)
    assert erased.removed == {"chat_data": 1, "conversations": 2}
    assert mentions(database, GROUP, "no secret") == []
    assert database.user_data.count_documents({"_id": ADA}) == 1


async def test_only_one_id_is_taken(bot: Bot) -> None:
    for ids in ({}, {"user_id": 1, "chat_id": 2}, {"user_id": "1"}, {"user_id": True}, {"user_id": 2**63}):
        with pytest.raises(ConfigurationError):
            await bot.persistence.erase(bot.application, **ids)


async def test_what_earlier_processes_could_not_save_of_them_is_gone(
    client: Any, mongodb_database: str, tmp_path: Path, run: Any
) -> None:
    def left(name: str) -> None:
        some = [("user_data", ADA), ("user_data", BOB), ("conversations", {"handler": "x", "key": [ADA, ADA]})]
        spilled = [Spilled(collection, one, None, bson.encode({"data": SECRET}), {}) for collection, one in some]
        write(tmp_path, mongodb_database, "", name, spilled)

    def unsaved() -> list[Any]:
        return [one.id for file in claim(tmp_path, mongodb_database, "") for one in file.documents()]

    persistence: Any = MongoPersistence(client, mongodb_database, spill_dir=tmp_path)
    bot = Bot(persistence)
    async with bot.application:
        left("one")  # of another worker, which was killed since
        erased = await persistence.erase(bot.application, user_id=ADA)
    assert erased.removed == {"spill_dir": 2}
    assert unsaved() == [BOB]
    left("two")
    ran = await asyncio.to_thread(run, "erase", "user", str(ADA), "--apply", "--spill-dir", str(tmp_path))
    assert ran.exit_code == 0
    assert unsaved() == [BOB, BOB]


def test_jobs_that_earlier_processes_could_not_save_are_gone_too(tmp_path: Path, mongodb_database: str) -> None:
    """The `_id` of a job does not say whose it is, and each of its versions may be theirs."""
    theirs = bson.encode({"callback": "a:b", "user_id": ADA, "chat_id": GROUP, "data": SECRET})
    others = bson.encode({"callback": "a:b", "user_id": BOB})
    jobs = [
        Spilled("jobs", "wanted", None, theirs, {}),
        Spilled("jobs", "deleted", theirs, None, {}),
        Spilled("jobs", "sent", None, others, {"w:1": theirs}),
        Spilled("jobs", "other", None, others, {}),
    ]
    write(tmp_path, mongodb_database, "", "one", jobs)
    assert erase_spilled(tmp_path, mongodb_database, "", Subject.of(ADA, None)) == 3
    assert [one.id for file in claim(tmp_path, mongodb_database, "") for one in file.documents()] == ["other"]
    assert not [path for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]


# -- several processes ------------------------------------------------------------------------------------


async def test_a_running_bot_forgets_whom_another_process_erases(
    client: Any, mongodb_database: str, database: Any, handler: Any, loading: str
) -> None:
    bot = Bot(MongoPersistence(client, mongodb_database, loading=loading))
    bot.application.add_handler(handler, group=1)
    async with bot.application:
        await bot.hears(remember, user=ADA)
        await bot.saves()
        await bot.sees(lambda data: data.get("note") == SECRET, user=ADA)
        session: Any = bot.persistence.session
        await until(lambda: not session.must_read)
        await bot.hears(lambda context: context.user_data.update(unsaved=SECRET), user=ADA)
        other = MongoPersistence(client, mongodb_database)
        erased = await other.erase(offline_application(other), user_id=ADA)
        await other.flush()
        assert erased.left == 0
        await until(lambda: ADA not in bot.application.user_data)
        assert conversation_state(handler, (ADA, ADA)) is None
        await bot.saves()
        assert mentions(database) == []


async def test_all_workers_forget_at_once(
    worker: Callable[..., SharedBot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.graves.LATE", 0.1)
    handlers = [make_handler(), make_handler()]
    bots = [worker("strict", [one]) for one in handlers]
    async with running(*bots):
        for bot in bots:
            await bot.hears(remember, user=ADA)
        erased = await bots[0].persistence.erase(bots[0].application, user_id=ADA)
        assert erased.removed["user_data"] == 1
        assert erased.left == 0
        await until(lambda: not any(ADA in bot.application.user_data for bot in bots))
        assert [conversation_state(one, (ADA, ADA)) for one in handlers] == [None, None]
        await until(lambda: mentions(database) == [])
        await bots[1].hears(lambda context: context.user_data.update(again=1), user=ADA)
        assert database.user_data.find_one({"_id": ADA})["data"] == {"again": 1}


async def test_a_worker_erases_the_user_whose_update_it_handles(
    worker: Callable[..., SharedBot], database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptb_mongo.sync.graves.LATE", 0.1)
    one = worker("strict", [make_handler()])
    async with running(one):
        await one.hears(remember, user=ADA)

        async def act(context: Any) -> None:
            context.user_data["last"] = SECRET
            await one.persistence.erase(context.application, user_id=ADA)

        await one.takes(text(user=ADA), lambda _, context: act(context))
        await until(lambda: mentions(database) == [])
        assert not one.errors


async def test_an_order_that_comes_late_or_is_none_erases_nobody(start: Any, database: Any) -> None:
    bot: Bot = await start()
    await bot.hears(remember, user=ADA)
    await bot.saves()
    await bot.sees(lambda data: data.get("note") == SECRET, user=ADA)
    await until(lambda: not bot.persistence.session.must_read)  # type: ignore[union-attr]
    good = order(Subject("user", ADA))
    for odd in (
        {**good, "at": good["at"] - timedelta(seconds=30)},
        {**good, "at": "now"},
        {**good, "erase": "all"},
        {**good, "id": str(ADA)},
        {**good, "more": 1},
        {"restore": "bot", "number": 5},
        HOSTILE,
    ):
        database.ptb_mongo.insert_one({"_id": odd})
    database.user_data.update_one({"_id": ADA}, {"$set": {"data.seen": 1}})
    await bot.sees(lambda data: data.get("seen") == 1, user=ADA)  # what came before was looked at
    assert bot.application.user_data[ADA]["note"] == SECRET
    database.ptb_mongo.insert_one({"_id": good})
    await until(lambda: ADA not in bot.application.user_data)


# -- whose ------------------------------------------------------------------------------------------------

WHOSE = [
    ((ADA, ADA), True, True),
    ((ADA,), True, True),
    ((GROUP, ADA), True, True),
    ((GROUP, BOB), False, False),
    ((GROUP, ADA, 5), True, True),
    ((GROUP, BOB, ADA), False, False),
    ((BOB, ADA), False, True),  # a message of Bob's, unless the handler says otherwise
    ((BOB, BOB, ADA), False, False),
    (("text", ADA), False, True),
    ((), False, False),
]


@pytest.mark.parametrize(("key", "alone", "known"), WHOSE)
def test_a_conversation_belongs_to_whom_its_key_names(key: Any, alone: bool, known: bool) -> None:
    assert Subject("user", ADA).owns_key(key) is alone
    if len(key) > 1:
        assert Subject("user", ADA).owns_key(key, (True, True)) is known


def test_a_message_with_the_number_of_a_user_is_not_theirs_where_the_handler_is_known() -> None:
    assert not Subject("user", ADA).owns_key((GROUP, ADA), (True, False))
    assert Subject("user", ADA).owns_key((ADA, 5), (False, True))
    assert Subject("chat", GROUP).owns_key((GROUP, 5), (True, False))


async def test_without_a_real_server_people_are_erased_exported_and_seen() -> None:
    client: Any = AsyncMongoMockClient()
    bot = Bot(MongoPersistence(client, "people", expire={"user_data": timedelta(days=1)}))
    async with bot.application:
        await bot.hears(remember, user=ADA)
        await bot.saves()
        document = await client["people"]["user_data"].find_one({"_id": ADA})
        assert "seen_at" in document
        made = await bot.persistence.export(ADA)
        assert made["user_data"][0]["data"] == {"note": SECRET}
        erased = await bot.persistence.erase(bot.application, user_id=ADA)
        assert erased.removed == {"user_data": 1, "chat_data": 1}
        assert ADA not in bot.application.user_data
    assert await client["people"]["user_data"].count_documents({}) == 0
