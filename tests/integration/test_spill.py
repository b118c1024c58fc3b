"""Data that could not be saved before a process ended waits in a file for the next start: for one process only."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import USER, Bot

import ptb_mongo.sync.writer
from ptb_mongo import MongoPersistence, UnsavedDataError
from ptb_mongo.sync import spill


def spilled(folder: Path, database: str, *users: int) -> Path:
    """A file with users who were new, and never saved."""
    wanted = bson.encode({"data": {"n": 2}})
    return spill.write(
        folder, database, "", "earlier", [spill.Spilled("user_data", u, None, wanted, {}) for u in users]
    )


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def process_that_takes_in(folder: Path, database: str) -> subprocess.Popen[str]:
    """A process that has begun to take in a file, and never ends doing so."""
    code = (
        "import pathlib, signal, sys; from ptb_mongo.sync import spill\n"
        "for file in spill.claim(pathlib.Path(sys.argv[1]), sys.argv[2], ''):\n"
        "    print(file.path.name, flush=True)\n"
        "    signal.pause()"
    )
    command = [sys.executable, "-c", code, str(folder), database]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline()
    return process


async def test_a_file_that_a_process_was_killed_over_is_taken_in_by_the_next_start(
    mongodb_server_uri: str, mongodb_database: str, database: Any, tmp_path: Path
) -> None:
    file = spilled(tmp_path, mongodb_database, USER)
    with process_that_takes_in(tmp_path, mongodb_database) as process:
        try:
            async with Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path)).application:
                assert database.user_data.find_one() is None  # another process is at it
        finally:
            process.kill()
    assert file.exists()

    async with Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path)).application:
        assert database.user_data.find_one()["data"] == {"n": 2}
    assert files(tmp_path) == []


async def test_a_file_that_another_process_has_taken_in_meanwhile_is_not_taken_in_again(tmp_path: Path) -> None:
    with spilled(tmp_path, "bot", USER).open("rb") as opened_before_it_was_removed:
        for file in spill.claim(tmp_path, "bot", ""):
            spill.remove(file.path)

        assert not spill._locked(opened_before_it_was_removed)


@pytest.mark.parametrize("on_flush", [False, True])
async def test_one_refused_document_waits_alone_for_the_next_start(
    mongodb_server_uri: str, mongodb_database: str, database: Any, tmp_path: Path, on_flush: bool
) -> None:
    file = spilled(tmp_path, mongodb_database, USER, 1)
    database.create_collection("user_data", validator={"_id": {"$ne": USER}})

    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path, on_flush=on_flush))
    async with bot.application:
        assert [one["_id"] for one in database.user_data.find()] == [1]

    (kept,) = files(tmp_path)
    assert kept != file
    assert [one.id for file in spill.claim(tmp_path, mongodb_database, "") for one in file.documents()] == [USER]


async def test_what_was_saved_while_flush_gave_up_is_not_deleted_by_the_next_start(
    mongodb_server_uri: str, mongodb_database: str, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ptb_mongo.sync.writer, "_PATIENCE", 0.2)
    options: dict[str, Any] = {"shutdown_timeout": 0.3, "spill_dir": tmp_path}
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, **options))
    await bot.application.initialize()
    await bot.hears(lambda context: (context.user_data.update(n=1), context.chat_data.update(n=1)))
    assert bot.persistence.session
    driver = bot.persistence.session._driver
    write = driver.write

    async def no_answer_for_chats(collection: str, operations: Any) -> Any:
        if collection == "chat_data":
            await asyncio.Event().wait()
        return await write(collection, operations)

    monkeypatch.setattr(driver, "write", no_answer_for_chats)

    with pytest.raises(UnsavedDataError, match="documents not saved: 1 "):
        await bot.application.shutdown()

    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1}
    again = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, **options))
    async with again.application:
        assert again.application.chat_data[USER] == {"n": 1}
        assert again.application.user_data[USER] == {"n": 1}
    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1}
