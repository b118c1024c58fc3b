"""Saving old versions: a copy that PTB offers late, a file that a stop has left.

Both show what the bot had changed, relative to what it had seen then. If they counted as the current version, they
would undo everything that others have changed since.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bots import USER, Bot
from disturbed import Traffic
from stored import data_in, edit, put

from ptb_mongo import MongoPersistence, UnsavedDataError

# -- copies ------------------------------------------------------------------------------------------------


class Thoughtful(MongoPersistence[Any, Any, Any]):
    """A persistence of somebody's own, which does something else before it saves."""

    thinks: asyncio.Event

    async def update_user_data(self, user_id: int, data: Any) -> None:
        await self.thinks.wait()
        await super().update_user_data(user_id, data)


class Late(MongoPersistence[Any, Any, Any]):
    """A persistence whose coroutines are awaited late."""

    thinks: asyncio.Event

    async def update_user_data(self, user_id: int, data: Any) -> None:
        saving = super().update_user_data(user_id, data)
        await self.thinks.wait()
        await saving


# Edits by a service, one after the other, while a copy waits; and what they leave.
MERGES: dict[str, tuple[list[Any], Any]] = {
    "a key": ([{"$set": {"data.v": 1}}], {"v": 1}),
    "two edits": ([{"$set": {"data.v": 1}}, {"$set": {"data.v": 2, "data.w": 1}}], {"v": 2, "w": 1}),
    "to and fro": ([{"$set": {"data.v": 1}}, {"$unset": {"data.v": ""}}, {"$set": {"data.w": 1}}], {"w": 1}),
    "a removal": ([{"$unset": {"data.old": ""}}], {}),
    "a list": ([{"$push": {"data.list": 1}}, {"$push": {"data.list": 2}}], {"list": [0, 1, 2]}),
    "a set": ([{"$addToSet": {"data.set.v": 1}}, {"$addToSet": {"data.set.v": 2}}], {"set": {0, 1, 2}}),
    "inside": ([{"$set": {"data.dict.a": 1}}, {"$set": {"data.dict.b": 1}}], {"dict": {"a": 1, "b": 1}}),
}


@pytest.mark.parametrize("kind", [Thoughtful, Late])
@pytest.mark.parametrize("case", MERGES)
async def test_a_copy_that_is_offered_late_undoes_nothing_that_was_merged_since(
    client: Any, mongodb_database: str, database: Any, case: str, kind: Any
) -> None:
    edits, result = MERGES[case]
    before: dict[str, Any] = {"old": 0, "list": [0], "set": {0}, "dict": {"a": 0}}
    expected = {**before, **result}
    if "removal" in case:
        del expected["old"]
    put(database, before)
    persistence = kind(client, mongodb_database)
    persistence.thinks = asyncio.Event()
    bot = Bot(persistence)
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1))
        saving = asyncio.create_task(bot.saves())
        seen = copy.deepcopy(before) | {"n": 1}
        for update in edits:
            edit(database, update)
            now = data_in(database) | {"n": 1}
            assert now != seen
            await bot.sees(lambda data, now=now: data == now)
            seen = now
        persistence.thinks.set()
        await saving

        assert data_in(database) == {**expected, "n": 1}
        await bot.hears()
        await bot.saves()
        assert data_in(database) == bot.application.user_data[USER] == {**expected, "n": 1}


# -- what was spilled --------------------------------------------------------------------------------------


async def spill(traffic: Traffic, folder: Path, database: str, act: Callable[[Bot], Any]) -> None:
    """A bot changes something, and has to stop without a server."""
    uri = f"{traffic.uri}&serverSelectionTimeoutMS=200"
    bot = Bot(MongoPersistence(uri, database, shutdown_timeout=0.3, spill_dir=folder))
    await bot.application.initialize()
    await bot.hears()
    await traffic.does("refuse", "cut")
    act(bot)
    bot.application.mark_data_for_update_persistence(user_ids=USER)
    with pytest.raises(UnsavedDataError, match="kept in"):
        await bot.application.shutdown()
    await traffic.calm()


def spill_files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def spilled_data() -> dict[str, Any]:
    return {"plan": "free", "other": 0, "list": [0], "set": {0}, "dict": {"a": 0}, "gone": 0}


def change_all(bot: Bot) -> None:
    data = bot.application.user_data[USER]
    data.update(plan="trial", new="trial", own=1)
    data["list"].append("bot")
    data["set"].add("bot")
    data["dict"]["a"] = "bot"
    del data["gone"]


async def test_what_was_spilled_undoes_nothing_that_is_newer(
    traffic: Traffic, start: Callable[..., Any], mongodb_database: str, database: Any, tmp_path: Path
) -> None:
    put(database, spilled_data())
    await spill(traffic, tmp_path, mongodb_database, change_all)
    edit(
        database,
        {
            "$set": {"data.plan": "premium", "data.new": "premium", "data.other": 1, "data.dict.b": 1, "data.gone": 1},
            "$push": {"data.list": "panel"},
            "$addToSet": {"data.set.v": "panel"},
            "$unset": {"data.dict.a": ""},
        },
    )

    bot = await start(spill_dir=tmp_path)

    expected = {
        **dict.fromkeys(["plan", "new"], "premium"),
        **dict.fromkeys(["other", "own", "gone"], 1),
        "dict": {"b": 1},
        "list": [0, "panel", "bot"],
        "set": {0, "panel", "bot"},
    }
    assert bot.application.user_data[USER] == expected
    assert data_in(database) == expected
    assert spill_files(tmp_path) == []


@pytest.mark.parametrize("edited", [True, False])
async def test_a_deletion_that_was_spilled_does_not_delete_what_others_have_edited_since(
    traffic: Traffic, start: Callable[..., Any], mongodb_database: str, database: Any, tmp_path: Path, edited: bool
) -> None:
    put(database, {"v": 0})
    await spill(traffic, tmp_path, mongodb_database, lambda bot: bot.application.drop_user_data(USER))
    if edited:
        edit(database, {"$set": {"data.v": 1}})

    await start(spill_dir=tmp_path)

    assert data_in(database) == ({"v": 1} if edited else None)


async def test_what_others_have_deleted_does_not_come_back_from_a_file(
    traffic: Traffic, start: Callable[..., Any], mongodb_database: str, database: Any, tmp_path: Path
) -> None:
    put(database, spilled_data())
    await spill(traffic, tmp_path, mongodb_database, change_all)
    database.user_data.delete_one({"_id": USER})

    bot = await start(spill_dir=tmp_path)

    assert bot.application.user_data[USER] == {"new": "trial", "own": 1}
