"""How long a stop takes, and what it does first.

The kind of fault: a limit ends something that makes progress, or bounds only a part of what it should; or the step that
keeps the data comes last, when the process may already have been killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bots import USER, Bot, until
from disturbed import ALWAYS, Traffic
from pymongo import AsyncMongoClient

from ptb_mongo import MongoPersistence, UnsavedDataError


@pytest.fixture(params=["motor", "pymongo"])
async def connection(request: pytest.FixtureRequest, traffic: Traffic) -> AsyncIterator[Any]:
    """A URI for Motor, or PyMongo's client."""
    if request.param == "motor":
        yield traffic.uri
    else:
        async with AsyncMongoClient(traffic.uri) as client:
            yield client
            await traffic.calm()
    await traffic.calm()


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


async def started(connection: Any, database: str, **options: Any) -> Bot:
    bot = Bot(MongoPersistence(connection, database, **options))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(n=0))
    await bot.saves()
    return bot


async def test_a_stop_goes_on_as_long_as_something_is_saved(
    connection: Any, mongodb_database: str, traffic: Traffic, database: Any
) -> None:
    """All of it takes longer than the whole stop may take without progress."""
    bot = await started(connection, mongodb_database, shutdown_timeout=4, on_flush=True)
    for user in range(4000):
        bot.application.user_data[user]["n"] = user
    bot.application.mark_data_for_update_persistence(user_ids=range(4000))
    await bot.saves()
    await traffic.does("delay", seconds=1)

    await bot.application.shutdown()

    await traffic.does("delay", seconds=0)
    assert database.user_data.count_documents({}) == 4000


async def test_what_is_unsaved_is_in_a_file_before_the_server_is_waited_for(
    connection: Any, mongodb_database: str, traffic: Traffic, tmp_path: Path, database: Any
) -> None:
    bot = await started(connection, mongodb_database, shutdown_timeout=20, spill_dir=tmp_path)
    await traffic.does("stall")
    bot.application.user_data[USER]["n"] = 1
    bot.application.mark_data_for_update_persistence(user_ids=USER)
    stopping = asyncio.create_task(bot.application.shutdown())
    await until(lambda: files(tmp_path) != [] and not files(tmp_path)[0].endswith(".partial"))
    assert not stopping.done()

    await traffic.calm()
    await stopping

    assert database.user_data.find_one()["data"] == {"n": 1}
    assert files(tmp_path) == []


async def test_a_stop_without_a_server_takes_no_longer_than_it_may_all_in_all(
    connection: Any, mongodb_database: str, traffic: Traffic, tmp_path: Path
) -> None:
    """PTB's last save and closing the client are parts of it: together they used to take ten seconds more."""
    bot = await started(connection, mongodb_database, shutdown_timeout=3, spill_dir=tmp_path)
    await traffic.does("stall")
    bot.application.user_data[USER]["n"] = 1
    bot.application.mark_data_for_update_persistence(user_ids=USER)

    with pytest.raises(UnsavedDataError, match="did not come back within 3 s"):
        await asyncio.wait_for(bot.application.shutdown(), 8)

    assert len(files(tmp_path)) == 1


async def test_what_a_flush_has_left_is_told_of_until_it_is_saved(
    connection: Any, mongodb_database: str, traffic: Traffic, database: Any
) -> None:
    """Nothing is open after a flush by hand, and yet nothing unsaved is forgotten."""
    bot = await started(connection, mongodb_database, shutdown_timeout=1)
    await traffic.does("stall")
    bot.application.user_data[USER]["n"] = 1

    with pytest.raises(UnsavedDataError):
        await asyncio.gather(
            bot.persistence.update_user_data(USER, dict(bot.application.user_data[USER])), bot.persistence.flush()
        )

    assert bot.persistence.health().waiting == 1
    await traffic.calm()
    await bot.persistence.flush()
    assert bot.persistence.health().waiting == 0
    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1}


@pytest.mark.parametrize("how", ["stall", "refuse"])
async def test_a_stop_with_nothing_unsaved_waits_for_no_server(
    connection: Any, mongodb_database: str, traffic: Traffic, how: str
) -> None:
    bot = await started(connection, mongodb_database, shutdown_timeout=60)
    await traffic.does(how)
    if how == "refuse":
        await traffic.does("cut")

    await asyncio.wait_for(bot.application.shutdown(), 10)


@pytest.mark.parametrize("refresh", ["read", "watch"])
async def test_an_update_during_an_outage_that_changes_nothing_is_not_unsaved(
    connection: Any, mongodb_database: str, traffic: Traffic, refresh: Any
) -> None:
    bot = await started(connection, mongodb_database, shutdown_timeout=2, refresh=refresh)
    await bot.hears(user=7)
    await traffic.does("hold", commands=["find", "aggregate", "update", "hello"], times=ALWAYS)

    await bot.hears()
    await bot.hears(user=7)
    await bot.saves()

    assert bot.persistence.health().waiting == 0
    await bot.application.shutdown()


async def test_a_start_that_fails_after_our_last_call_leaves_nothing_running(
    mongodb_server_uri: str, mongodb_database: str
) -> None:
    """PTB does not say so: nobody calls `flush`."""
    before = asyncio.all_tasks()
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database))
    persistence: Any = bot.persistence
    load = persistence.get_callback_data

    async def loads_and_then_fails() -> Any:
        await load()
        raise LookupError("something else is wrong")

    persistence.get_callback_data = loads_and_then_fails

    with pytest.raises(LookupError):
        await bot.application.initialize()

    assert asyncio.all_tasks() == before
    await bot.persistence.flush()
