"""The first start in a database: another persistence's data is reported, and only a bot becomes the owner.

A bot must not silently start without users: documents of the package mongopersistence under the same names have no
`data`, so that everybody would be new. And using the database without a bot, as in a script, does not set an owner.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from bots import USER, Bot
from mongomock_motor import AsyncMongoMockClient
from offline import BOT_ID, offline_application
from typer.testing import CliRunner

from ptb_mongo import MongoPersistence
from ptb_mongo.cli.app import app

PEER: dict[str, list[dict[str, Any]]] = {
    "user_data": [{"_id": USER, "name": "Ada", "coins": 5}, {"_id": 7}],
    "chat_data": [{"_id": -5, "visits": 2}],
    "bot_data": [{"_id": 0, "content": {"admins": [1]}}],
    "conversations": [{"_id": "order", "(1, 1)": "menu"}],
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "ptb_mongo.sync.foreign"]


def put(database: Any, prefix: str, *kinds: str) -> None:
    for kind in kinds:
        database[f"{prefix}{kind}"].insert_many(PEER[kind])


@pytest.fixture
def run(mongodb_server_uri: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Runs a command line, as somebody does who copies it from the log."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)

    def run(command: str) -> Any:
        program, *words = shlex.split(command)
        assert program == "ptb-mongo"
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return run


# -- documents of another persistence --------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "my shop's_"])
async def test_the_command_in_the_warning_imports_everything(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture, run: Any, prefix: str
) -> None:
    put(database, prefix, *PEER)
    async with Bot(MongoPersistence(client, mongodb_database, collection_prefix=prefix)).application:
        pass

    (text,) = warnings(caplog)
    words, _, command = text.partition(": ptb-mongo ")
    assert f"{prefix}user_data, {prefix}chat_data, {prefix}bot_data, {prefix}conversations" in words
    result = await asyncio.to_thread(run, f"ptb-mongo {command}")

    assert result.exit_code == 0, result.output
    moved = MongoPersistence(client, mongodb_database, collection_prefix=f"{prefix}new_")
    assert f"collection_prefix={prefix + 'new_'!r}" in words
    bot = Bot(moved)
    async with bot.application:
        assert bot.application.user_data[USER] == {"name": "Ada", "coins": 5}
        assert bot.application.chat_data[-5] == {"visits": 2}
        assert bot.application.bot_data == {"admins": [1]}
        assert await moved.get_conversations("order") == {(1, 1): "menu"}
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("kind", PEER)
async def test_documents_of_one_kind_are_enough_and_are_named_alone(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture, run: Any, kind: str
) -> None:
    put(database, "", kind)
    async with Bot(MongoPersistence(client, mongodb_database)).application:
        pass

    (text,) = warnings(caplog)
    command = "ptb-mongo " + text.partition(": ptb-mongo ")[2]
    assert [word for word in shlex.split(command) if word in PEER] == [kind]
    assert (await asyncio.to_thread(run, command)).exit_code == 0


async def test_the_warning_comes_once(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    put(database, "", *PEER)
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        await bot.persistence.flush()
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()
    async with Bot(MongoPersistence(client, mongodb_database)).application:
        pass

    assert len(warnings(caplog)) == 1


async def test_it_comes_on_mongomock_too(caplog: pytest.LogCaptureFixture) -> None:
    client = AsyncMongoMockClient()
    await client["mock"].user_data.insert_many(PEER["user_data"])
    async with Bot(MongoPersistence(client, "mock")).application:
        pass

    assert len(warnings(caplog)) == 1


async def test_a_script_that_was_there_before_the_bot_does_not_take_its_warning(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    put(database, "", *PEER)
    script = MongoPersistence(client, mongodb_database)
    assert [one async for one in script.user_ids()]
    await script.flush()
    assert warnings(caplog) == []

    async with Bot(MongoPersistence(client, mongodb_database)).application:
        pass

    assert len(warnings(caplog)) == 1


async def test_nothing_is_said_of_an_empty_database_nor_of_what_is_ours(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        bot = Bot(MongoPersistence(client, mongodb_database))
        async with bot.application:
            await bot.hears(lambda context: context.user_data.update(n=1))
            await bot.persistence.update_conversation("order", (1, 1), "menu")
            await bot.persistence.update_bot_data({"n": 1})
        database.ptb_mongo.delete_one({})  # so that each start is a first one
        database.chat_data.replace_one({"_id": 8}, {"buried": True}, upsert=True)

    assert caplog.records == []


# -- whose the database is -------------------------------------------------------------------------------


async def test_a_use_without_a_bot_does_not_make_the_database_anybodys(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    script = MongoPersistence(client, mongodb_database)
    assert [one async for one in script.user_ids()] == []
    await script.flush()
    assert "bot_id" not in database.ptb_mongo.find_one()

    async with Bot(MongoPersistence(client, mongodb_database)).application:
        assert database.ptb_mongo.find_one()["bot_id"] == BOT_ID
    script = MongoPersistence(client, mongodb_database)
    assert [one async for one in script.user_ids()] == []
    await script.flush()

    assert database.ptb_mongo.find_one()["bot_id"] == BOT_ID
    assert "belong to bot" not in caplog.text


async def test_a_database_that_was_claimed_for_no_bot_becomes_the_first_bots(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": 0})

    async with Bot(MongoPersistence(client, mongodb_database)).application:
        pass

    assert database.ptb_mongo.find_one()["bot_id"] == BOT_ID
    assert "belong to bot" not in caplog.text


async def test_another_bot_is_still_warned_and_changes_nothing(
    client: Any, mongodb_database: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": 5})

    async with Bot(MongoPersistence(client, mongodb_database)).application:
        pass

    assert database.ptb_mongo.find_one()["bot_id"] == 5
    assert f"belong to bot 5, and this is bot {BOT_ID}" in caplog.text


@pytest.mark.parametrize("owner", [{}, [], {"a": 1}, "x", 1.5, True])
async def test_an_owner_that_is_none_stops_no_start(
    client: Any, mongodb_database: str, database: Any, owner: Any
) -> None:
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": owner})

    async with Bot(MongoPersistence(client, mongodb_database)).application:
        pass
    script = MongoPersistence(client, mongodb_database)
    assert [one async for one in script.user_ids()] == []
    await script.flush()


async def test_a_script_beside_a_running_bot_leaves_its_mark(client: Any, mongodb_database: str, database: Any) -> None:
    bot = MongoPersistence(client, mongodb_database)
    application = offline_application(bot)
    async with application:
        mark = database.ptb_mongo.find_one()["running"]
        script = MongoPersistence(client, mongodb_database)
        assert [one async for one in script.user_ids()] == []
        assert database.ptb_mongo.find_one()["running"] == mark
        await script.flush()
        assert database.ptb_mongo.find_one()["running"] == mark

    assert "running" not in database.ptb_mongo.find_one()
