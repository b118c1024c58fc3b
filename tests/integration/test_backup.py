"""A backup contains what is stored at one moment, byte for byte; a restore never replaces newer data.

The kind of fault: a document is written in another form; a stranger's document stops the backup; a truncated or changed
file is accepted; a newer document is replaced; one user's restore includes somebody else's document; a running bot
undoes the restore.
"""

from __future__ import annotations

import asyncio
import json
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import Bot
from bson.decimal128 import Decimal128
from bson.raw_bson import RawBSONDocument
from people import ADA, GROUP
from test_cli_hostile_text import HOSTILE, offending
from typer.testing import Result

from ptb_mongo import ConfigurationError
from ptb_mongo.migration.backing_up import back_up, restore
from ptb_mongo.migration.backup_file import BackupReader, BackupWriter, Block
from ptb_mongo.migration.database import Database

Run = Callable[..., Result]
NAMES = ("user_data", "chat_data", "bot_data", "conversations", "callback_data", "jobs", "user_data_quarantine")
ODD: list[Any] = [
    bson.Int64(1),
    2.0,
    Decimal128("3"),
    "4",
    {"b": 1, "a": 2},
    bson.MinKey(),
    b"6",
    HOSTILE,
    None,
    bson.ObjectId(),
]


def raws(database: Any, prefix: str = "") -> dict[str, set[bytes]]:
    """Every document of a bot, as the bytes that the server sends."""
    options: Any = bson.codec_options.CodecOptions(document_class=RawBSONDocument)
    return {
        name: {bytes(one.raw) for one in database.get_collection(f"{prefix}{name}", codec_options=options).find()}
        for name in NAMES
    }


@pytest.fixture
def filled(database: Any) -> Any:
    """What bots and strangers have stored."""
    for name in NAMES:
        database[name].insert_many([{"_id": one, "rev": "x:1", "data": {"n": index}} for index, one in enumerate(ODD)])
    database.user_data.insert_many([{"_id": ADA, "data": {"z": 1, "a": 2.0}}, {"_id": 5, "data": "x" * 1_000_000}])
    database.conversations.insert_one({"_id": {"handler": "order", "key": [ADA, ADA]}, "state": 1})
    database.leases.insert_one({"_id": "user:1"})
    database.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": 123456, "running": "x"})
    return database


def test_what_is_restored_is_what_was_there_byte_for_byte(run: Run, filled: Any, tmp_path: Path) -> None:
    file, before = tmp_path / "bot.backup", raws(filled)
    made = json.loads(run("backup", str(file), "--json").output)
    assert made["snapshot"] is True
    assert made["documents"]["user_data"] == len(ODD) + 2
    assert made["bytes"] == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    filled.client.drop_database(filled.name)
    assert run("restore", str(file)).exit_code == 0
    assert not any(raws(filled).values())
    assert "written" in run("restore", str(file), "--apply").output
    assert raws(filled) == before
    assert filled.leases.count_documents({}) == 0
    form = filled.ptb_mongo.find_one({"_id": "format"})
    assert (form["version"], form["bot_id"], "running" in form) == (1, 123456, False)
    again = json.loads(run("restore", str(file), "--apply", "--json").output)
    assert not any(again["written"].values())
    assert again["same"] == again["in_backup"]
    assert run("restore", str(file), "--apply", "--collection-prefix", "copy_").exit_code == 0
    assert raws(filled, "copy_") == before


def test_what_is_newer_stays_unless_it_is_told_otherwise(run: Run, filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "bot.backup"
    run("backup", str(file))
    before = raws(filled)
    filled.user_data.update_one({"_id": ADA}, {"$set": {"data.a": 3}})
    filled.chat_data.delete_one({"_id": "4"})
    shown = run("restore", str(file), "--apply")
    assert "counts as newer" in shown.output
    assert filled.user_data.find_one({"_id": ADA})["data"]["a"] == 3
    assert filled.chat_data.count_documents({"_id": "4"}) == 1
    assert run("restore", str(file), "--apply", "--overwrite").exit_code == 0
    assert raws(filled) == before


def test_one_user_comes_back_alone(run: Run, filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "bot.backup"
    run("backup", str(file))
    filled.client.drop_database(filled.name)
    assert run("restore", str(file), "--user", str(ADA), "--apply").exit_code == 0
    assert [one["_id"] for one in filled.user_data.find()] == [ADA]
    assert [one["state"] for one in filled.conversations.find()] == [1]
    assert filled.chat_data.count_documents({}) == 0
    assert run("restore", str(file), "--user", "987654321", "--apply").exit_code == 1


def test_another_bots_database_is_not_filled(run: Run, filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "bot.backup"
    run("backup", str(file))
    filled.ptb_mongo.update_one({"_id": "format"}, {"$set": {"bot_id": 7}})
    filled.user_data.delete_many({})
    assert run("restore", str(file), "--apply").exit_code == 2
    assert filled.user_data.count_documents({}) == 0


def test_what_a_stranger_has_stored_acts_on_no_terminal(run: Run, filled: Any, tmp_path: Path) -> None:
    file = tmp_path / "bot.backup"
    filled.create_collection("with_rules_user_data", validator={"data.n": {"$lt": 5}})
    for words in (("backup", str(file)), ("restore", str(file), "--apply", "--collection-prefix", "with_rules_")):
        ran = run(*words)
        assert offending(ran.stdout_bytes) == []
    assert ran.exit_code == 1  # what the validator refuses is named, and all others are restored
    assert filled.with_rules_user_data.count_documents({}) == 5
    assert filled.with_rules_chat_data.count_documents({}) == len(ODD)


@pytest.mark.parametrize("options", [[], ["--collection-prefix", "misspelt_"]], ids=str)
def test_of_nothing_no_file_is_made(run: Run, database: Any, filled: Any, tmp_path: Path, options: list[str]) -> None:
    if not options:
        database.client.drop_database(database.name)
    ran = run("backup", str(tmp_path / "b"), *options)
    assert ran.exit_code == 2
    assert "nothing of a bot is stored" in ran.output
    assert list(tmp_path.iterdir()) == []
    if options:
        database.misspelt_ptb_mongo.insert_one({"_id": "format", "version": 1})  # a bot that has no data yet
        assert run("backup", str(tmp_path / "b"), *options).exit_code == 0


# -- damaged files ----------------------------------------------------------------------------------------


def written(path: Path, *blocks: Block) -> bytes:
    with BackupWriter(path, {}) as writer:
        for block in blocks:
            writer.put(block)
        writer.finish()
    return path.read_bytes()


SOME = [bson.encode({"_id": number, "data": "x" * number}) for number in range(200)]


def test_a_file_that_was_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bot.backup"
    whole = written(path, Block("user_data", SOME[:100]), Block("user_data", SOME[100:]))
    with BackupReader(path) as reader:
        assert [raw for block in reader.blocks() for raw in block.raws] == SOME
    plain = zlib.decompress(whole, 31)
    damaged = [whole[:cut] for cut in (0, 1, 20, len(whole) // 2, len(whole) - 9)]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :] for at in range(0, len(whole), len(whole) // 20)
    ]
    for at in range(0, len(plain), len(plain) // 40):
        changed = plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :]
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        damaged.append(packer.compress(changed) + packer.flush())
    damaged += [b"no backup", zlib.compress(bson.encode({"x": 1}), wbits=31)]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            with BackupReader(path) as reader:
                found = [raw for block in reader.blocks() for raw in block.raws]
        except ConfigurationError:
            refused += 1
        else:  # a bit of the gzip header, or of a name that nobody reads
            assert found == SOME
    assert refused > len(damaged) * 0.8


def test_a_file_that_grows_without_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bot.backup"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = bson.encode({"ptb_mongo_backup": 1})
    bomb = (1 << 30).to_bytes(4, "little") + bytes(1 << 24)
    path.write_bytes(packer.compress(header + bomb) + packer.flush())
    with BackupReader(path) as reader, pytest.raises(ConfigurationError, match="impossible length"):
        list(reader.blocks())


def test_a_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "bot.backup"
    with pytest.raises(TypeError), BackupWriter(path, {}) as writer:
        writer.put(Block("user_data", [*SOME, None]))  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


# -- a bot that runs --------------------------------------------------------------------------------------


async def test_a_backup_shows_one_moment_of_a_bot_that_writes(
    mongodb_server_uri: str, mongodb_database: str, database: Any, tmp_path: Path
) -> None:
    """Each round writes the same number to a user first, and then to a chat: no chat is ahead of its user."""
    database.user_data.insert_many([{"_id": one, "n": 0, "pad": "x" * 30_000} for one in range(1200)])
    database.chat_data.insert_many([{"_id": one, "n": 0} for one in range(1200)])
    over = asyncio.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            for collection in (database.user_data, database.chat_data):
                collection.update_many({}, {"$set": {"n": number}})

    writing = asyncio.create_task(asyncio.to_thread(write))
    await asyncio.sleep(0.3)
    opened = await Database.open(mongodb_server_uri, mongodb_database)
    try:
        made = await back_up(opened, tmp_path / "bot.backup")
    finally:
        over.set()
        await writing
        await opened.close()
    assert made.is_snapshot
    numbers: dict[str, list[int]] = {}
    with BackupReader(tmp_path / "bot.backup") as reader:
        for block in reader.blocks():
            numbers.setdefault(block.kind, []).extend(bson.decode(raw)["n"] for raw in block.raws)
    assert min(numbers["user_data"]) >= max(numbers["chat_data"])
    assert max(numbers["user_data"]) <= min(numbers["chat_data"]) + 1


async def test_a_running_bot_takes_a_restored_user_for_an_edit(
    start: Callable[..., Any], mongodb_server_uri: str, mongodb_database: str, database: Any, tmp_path: Path, mode: str
) -> None:
    bot: Bot = await start(refresh=mode)
    await bot.hears(lambda context: context.user_data.update(score=1), user=ADA)
    await bot.saves()
    opened = await Database.open(mongodb_server_uri, mongodb_database)
    try:
        await back_up(opened, tmp_path / "bot.backup")
        await bot.hears(lambda context: context.user_data.update(score=2, later=1), user=ADA)
        await bot.saves()
        with BackupReader(tmp_path / "bot.backup") as reader:
            restored = await restore(opened, reader, apply=True)
        assert restored.different["user_data"] == 1
        with BackupReader(tmp_path / "bot.backup") as reader:
            await restore(opened, reader, apply=True, overwrite=True)
    finally:
        await opened.close()
    assert await bot.sees(lambda data: data == {"score": 1}, user=ADA)
    await bot.hears(lambda context: context.user_data.update(score=3), user=ADA)
    await bot.saves()
    assert database.user_data.find_one({"_id": ADA})["data"] == {"score": 3}
    assert not bot.errors


def test_a_group_comes_back_by_its_id(database: Any, run: Run, tmp_path: Path) -> None:
    database.chat_data.insert_many([{"_id": GROUP}, {"_id": -GROUP}])
    run("backup", str(tmp_path / "b"))
    database.chat_data.delete_many({})
    run("restore", str(tmp_path / "b"), "--chat", str(GROUP), "--apply")
    assert [one["_id"] for one in database.chat_data.find()] == [GROUP]


@pytest.mark.parametrize("options", [[], ["--apply"], ["--user", str(ADA), "--apply"], ["--chat", "5"]], ids=str)
def test_another_bots_backup_is_refused_whatever_is_asked_for(
    run: Run, filled: Any, tmp_path: Path, options: list[str]
) -> None:
    run("backup", str(tmp_path / "b"))
    filled.ptb_mongo.update_one({"_id": "format"}, {"$set": {"bot_id": 7}})
    filled.user_data.delete_many({})
    ran = run("restore", str(tmp_path / "b"), *options)
    assert ran.exit_code == 2
    assert "the backup is of bot 123456" in ran.output
    assert filled.user_data.count_documents({}) == 0


@pytest.mark.parametrize("options", [[], ["--apply"], ["--user", "1", "--apply"]], ids=str)
def test_a_backup_of_a_newer_format_is_refused(run: Run, database: Any, tmp_path: Path, options: list[str]) -> None:
    made(tmp_path / "b", {"version": 2}, {"_id": 1})
    ran = run("restore", str(tmp_path / "b"), *options)
    assert ran.exit_code == 2
    assert "has the format 2" in ran.output
    assert database.ptb_mongo.count_documents({}) == database.user_data.count_documents({}) == 0


def test_of_the_header_only_what_is_known_is_stored(run: Run, database: Any, tmp_path: Path) -> None:
    form = {"_id": "other", "version": 1, "bot_id": 5, "proof": {"$x": 1}, "running": "x", "expires": {"user_data": 1}}
    made(tmp_path / "b", form, {"_id": 1})
    assert run("restore", str(tmp_path / "b"), "--apply").exit_code == 0
    assert list(database.ptb_mongo.find()) == [{"_id": "format", "version": 1, "bot_id": 5}]


def nested(depth: int) -> bytes:
    raw = bson.encode({})
    for _ in range(depth):
        raw = (len(raw) + 8).to_bytes(4, "little") + b"\x03a\x00" + raw + b"\x00"
    return raw


@pytest.mark.parametrize("hostile", [bson.encode({"data": 1}), nested(3000)], ids=["no _id", "deep"])
@pytest.mark.parametrize("options", [[], ["--apply"], ["--user", "5", "--apply"]], ids=str)
def test_what_is_no_document_is_named_and_the_others_are_restored(
    run: Run, database: Any, tmp_path: Path, hostile: bytes, options: list[str]
) -> None:
    with BackupWriter(tmp_path / "b", {"format": {"version": 1}}) as writer:
        writer.put(Block("user_data", [hostile, bson.encode({"_id": 5})]))
        writer.finish()
    ran = run("restore", str(tmp_path / "b"), *options)
    assert ran.exit_code == 1
    assert "it has no _id" in ran.output or "it cannot be read" in ran.output
    assert "Traceback" not in ran.output
    assert database.user_data.count_documents({}) == ("--apply" in options)


def made(path: Path, form: dict[str, Any], document: dict[str, Any]) -> None:
    with BackupWriter(path, {"format": form}) as writer:
        writer.put(Block("user_data", [bson.encode(document)]))
        writer.finish()
