"""An unusable folder for unsaved data is an error at the start; whatever is in the folder does not prevent a start.

At the stop, it would be too late: by then, there is nowhere else to put the data. If writing fails nevertheless, the
error names what is unsaved, and the cause. Only the bot that files belong to takes them in, as far as possible: one bad
document does not affect the others.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import USER, Bot
from telegram.ext import Application

import ptb_mongo.sync.writer
from ptb_mongo import ConfigurationError, MongoPersistence, UnsavedDataError
from ptb_mongo.sync import spill, spilled

WANTED = bson.encode({"data": {"n": 2}})
Start = Callable[..., Any]


def one(user: Any = USER, **changed: Any) -> spill.Spilled:
    fields: dict[str, Any] = {"collection": "user_data", "base": None, "wanted": WANTED, "sent": {}, **changed}
    return spill.Spilled(id=user, **fields)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ptb_mongo.sync.spilled"]


async def unsaved_bot(
    persistence: MongoPersistence[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Application[Any, Any, Any, Any, Any, Any]:
    """A bot with something unsaved, whose server has stopped answering."""
    monkeypatch.setattr(ptb_mongo.sync.writer, "_PATIENCE", 0.1)
    bot = Bot(persistence)
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(n=1))
    assert bot.persistence.session

    async def no_answer(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(bot.persistence.session._driver, "write", no_answer)
    return bot.application


# -- the start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "link", "below a file"])
async def test_a_folder_that_cannot_be_used_is_refused_at_the_start(
    client: Any, mongodb_database: str, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    folder = tmp_path / "file" / "below" if kind == "below a file" else tmp_path / kind

    bot = Bot(MongoPersistence(client, mongodb_database, spill_dir=folder))

    with pytest.raises(ConfigurationError, match=r"spill_dir='.*' cannot be used .*: name a folder that"):
        await bot.application.initialize()


async def test_it_is_refused_again_when_the_start_is_tried_again(
    client: Any, mongodb_database: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    bot = Bot(MongoPersistence(client, mongodb_database, spill_dir=tmp_path / "file"))
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            await bot.application.initialize()

    (tmp_path / "file").unlink()
    async with bot.application:
        assert (tmp_path / "file").is_dir()


async def test_a_folder_that_goes_while_the_bot_runs_stops_no_save(
    client: Any, mongodb_database: str, database: Any, tmp_path: Path
) -> None:
    bot = Bot(MongoPersistence(client, mongodb_database, spill_dir=tmp_path / "unsaved"))
    async with bot.application:
        (tmp_path / "unsaved").rmdir()
        (tmp_path / "unsaved").write_text("")
        await bot.persistence.flush()
        await bot.hears(lambda context: context.user_data.update(n=1))
        await bot.saves()

        assert bot.errors == []
        assert database.user_data.find_one()["data"] == {"n": 1}


async def test_a_folder_is_where_it_was_when_the_process_goes_elsewhere(
    client: Any, mongodb_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    persistence = MongoPersistence(client, mongodb_database, spill_dir="unsaved", shutdown_timeout=0.2)
    application = await unsaved_bot(persistence, monkeypatch)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")

    with pytest.raises(UnsavedDataError, match="kept in"):
        await application.shutdown()

    assert len(files(tmp_path / "unsaved")) == 1


# -- what lies in the folder ---------------------------------------------------------------------------------


async def test_nothing_that_was_planted_stops_a_start_and_each_is_logged_once(
    start: Start, mongodb_database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def name(kind: str) -> Path:
        return tmp_path / f"ptb_mongo-{mongodb_database}--{kind}.unsaved"

    name("folder").mkdir()
    name("link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(name("pipe"))
    name("damaged").write_bytes(b"damaged")
    name("line\n\x1b[31m").write_bytes(b"")
    with name("huge").open("wb") as file:
        file.truncate(2**42)
    for kind, odd in {
        "collection": one(collection="system.users"),
        "id": one(user="x"),
        "field": one(wanted=bson.encode({"data": {}, "admin": True})),
        "callback": one(collection="callback_data"),
    }.items():
        spill.write(tmp_path, mongodb_database, "", kind, [one(), odd])
    before = files(tmp_path)

    for _ in range(2):
        bot = await start(spill_dir=tmp_path)
        assert await bot.hears() == {}
        await bot.persistence.flush()

    assert files(tmp_path) == before
    assert len(said(caplog)) == len(before) == 10
    assert all(text.isprintable() for text in said(caplog))


async def test_a_file_of_a_bot_whose_prefix_begins_alike_is_left_to_that_bot(
    client: Any, mongodb_database: str, database: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prefixes = ["", "ada_", "bots/ada_", "-"]
    for prefix in prefixes[1:]:
        spill.write(tmp_path, mongodb_database, prefix, "a", [one(collection=f"{prefix}user_data")])

    for number, prefix in enumerate(prefixes):
        persistence = MongoPersistence(client, mongodb_database, collection_prefix=prefix, spill_dir=tmp_path)
        async with Bot(persistence).application:
            assert len(files(tmp_path)) == 3 - number

    assert [database[f"{prefix}user_data"].count_documents({}) for prefix in prefixes] == [0, 1, 1, 1]
    assert not [text for text in said(caplog) if "stays" in text]


async def test_a_prefix_with_a_slash_is_kept_at_the_stop_and_found_at_the_start(
    client: Any, mongodb_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"collection_prefix": "bots/ada_", "spill_dir": tmp_path, "shutdown_timeout": 0.2}
    application = await unsaved_bot(MongoPersistence(client, mongodb_database, **options), monkeypatch)
    with pytest.raises(UnsavedDataError, match="kept in"):
        await application.shutdown()

    bot = Bot(MongoPersistence(client, mongodb_database, **options))
    async with bot.application:
        assert bot.application.user_data[USER] == {"n": 1}
    assert files(tmp_path) == []


async def test_a_document_that_can_no_longer_be_loaded_waits_alone(
    start: Start, mongodb_database: str, database: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strange = bson.encode({"data": {"v": {"_py": "object", "cls": "my_bot.Basket", "state": {}}}})
    spill.write(tmp_path, mongodb_database, "", "a", [one(1, wanted=strange), one()])

    await start(spill_dir=tmp_path)

    assert [found["_id"] for found in database.user_data.find()] == [USER]
    assert [left.id for file in spill.claim(tmp_path, mongodb_database, "") for left in file.documents()] == [1]
    assert any("Kept for the next start: user_data, _id 1" in text and "my_bot.Basket" in text for text in said(caplog))


async def test_a_file_of_many_documents_is_taken_in_by_and_by(
    start: Start, mongodb_database: str, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spilled, "_AT_ONCE", 10)
    spill.write(tmp_path, mongodb_database, "", "a", [one(user) for user in range(95)])
    database.create_collection("user_data", validator={"_id": {"$nin": [5, 50]}})

    await start(spill_dir=tmp_path)

    assert database.user_data.count_documents({"data": {"n": 2}}) == 93
    assert [left.id for file in spill.claim(tmp_path, mongodb_database, "") for left in file.documents()] == [5, 50]


async def test_a_file_that_cannot_be_removed_stops_no_start(
    start: Start, mongodb_database: str, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_right(_: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    spill.write(tmp_path, mongodb_database, "", "a", [one()])
    monkeypatch.setattr(spill, "remove", no_right)

    await start(spill_dir=tmp_path)

    assert database.user_data.find_one()["data"] == {"n": 2}


# -- the stop ------------------------------------------------------------------------------------------------


async def test_what_is_unsaved_is_named_even_if_it_cannot_be_kept(
    client: Any, mongodb_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence = MongoPersistence(client, mongodb_database, spill_dir=tmp_path / "unsaved", shutdown_timeout=0.2)
    application = await unsaved_bot(persistence, monkeypatch)
    (tmp_path / "unsaved").rmdir()
    (tmp_path / "unsaved").write_text("now it is a file")

    with pytest.raises(UnsavedDataError, match=rf"documents not saved: 1 \(user_data {USER}\)") as caught:
        await application.shutdown()

    assert isinstance(caught.value.__cause__, OSError)
    assert f"they are lost, as they could not be kept in {tmp_path / 'unsaved'} (it is not a folder)" in str(
        caught.value
    )


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError(), ValueError("odd")])
async def test_whatever_goes_wrong_with_the_file_is_the_cause(
    client: Any, mongodb_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    persistence = MongoPersistence(client, mongodb_database, spill_dir=tmp_path, shutdown_timeout=0.2)
    application = await unsaved_bot(persistence, monkeypatch)

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(spill, "dump", fails)

    with pytest.raises(UnsavedDataError, match=rf"user_data {USER}\); they are lost, as they could not be kept") as it:
        await application.shutdown()

    assert it.value.__cause__ is error
    assert files(tmp_path) == []


async def test_a_second_file_that_cannot_be_written_leaves_the_first_and_names_it(
    client: Any, mongodb_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence = MongoPersistence(client, mongodb_database, spill_dir=tmp_path, shutdown_timeout=0.2)
    application = await unsaved_bot(persistence, monkeypatch)
    await application.update_persistence()
    with pytest.raises(UnsavedDataError):
        await persistence.flush()
    (first,) = files(tmp_path)

    async def unreachable(*_: Any) -> Any:
        raise ptb_mongo.UnavailableError

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ptb_mongo.session.connect", unreachable)
    write = spill.write
    monkeypatch.setattr(spill, "write", full)
    with pytest.raises(UnsavedDataError, match=r"No space left.*what was unsaved before is still kept in") as caught:
        await persistence.flush()

    assert str(first) in str(caught.value)
    assert files(tmp_path) == [first]

    monkeypatch.setattr(spill, "write", write)
    with pytest.raises(UnsavedDataError, match="they are kept in") as caught:
        await persistence.flush()

    (second,) = files(tmp_path)
    assert second != first
    assert str(second) in str(caught.value)
