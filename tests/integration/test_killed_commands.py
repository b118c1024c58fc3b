"""A command is killed at any moment and run again: the result is the same as after one undisturbed run.

The kind of fault: half of a person's data is left and no longer found, or the order to forget them, with their id; half
of a restore counts as newer data; an incomplete file counts as a backup, or replaces one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from people import ADA, mentions
from typer.testing import Result

Run = Callable[..., Result]
BOB = 7
COPY = "undisturbed_"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def fill(database: Any, prefix: str = "") -> None:
    """What is stored of two people, and of the bot."""
    for one in (ADA, BOB):
        note = f"note of {one}"
        database[f"{prefix}user_data"].insert_one({"_id": one, "data": {"note": note}})
        database[f"{prefix}chat_data"].insert_one({"_id": one, "data": {"note": note}})
        key = {"handler": "order", "key": [one, one]}
        database[f"{prefix}conversations"].insert_one({"_id": key, "state": note})
        database[f"{prefix}jobs"].insert_one({"_id": f"job of {one}", "user_id": one, "data": note})
        database[f"{prefix}user_data_quarantine"].insert_one({"_id": one, "data": note})
    database[f"{prefix}bot_data"].insert_one({"_id": 5, "data": {"n": 1}})
    database[f"{prefix}ptb_mongo"].insert_one({"_id": "format", "bot_id": 5, "version": 1})


def stored(database: Any, prefix: str = "") -> dict[str, list[bytes]]:
    """Everything, as bytes, by collection."""
    names = [name for name in database.list_collection_names() if name.startswith(COPY) is bool(prefix)]
    found = {name.removeprefix(prefix): sorted(map(bson.encode, database[name].find())) for name in names}
    return {name: raws for name, raws in found.items() if raws}


@pytest.mark.parametrize(
    "at",
    [("findAndModify", 1, "succeeded"), ("delete", 2, "succeeded"), ("delete", 6, "started")],
    ids=str,
)
def test_an_erasure_that_was_killed_is_completed(database: Any, run: Run, killed: Any, at: Any) -> None:
    fill(database)
    fill(database, COPY)
    assert run("erase", "user", str(ADA), "--apply", "--collection-prefix", COPY).exit_code == 0
    before = stored(database)
    killed(at, "erase", "user", str(ADA), "--apply")
    assert stored(database) != before  # something of it was done
    assert run("erase", "user", str(ADA), "--apply").exit_code == 0
    assert stored(database) == stored(database, COPY)
    assert mentions(database) == []


@pytest.mark.parametrize("at", [("findAndModify", 1, "succeeded"), ("insert", 3, "succeeded")], ids=str)
def test_a_restore_that_was_killed_is_completed(database: Any, run: Run, killed: Any, tmp_path: Path, at: Any) -> None:
    fill(database)
    before = stored(database)
    assert run("backup", str(tmp_path / "b")).exit_code == 0
    database.client.drop_database(database.name)
    killed(at, "restore", str(tmp_path / "b"), "--apply")
    assert stored(database) != before
    assert run("restore", str(tmp_path / "b"), "--apply").exit_code == 0
    assert stored(database) == before


@pytest.mark.parametrize("at", [("find", 4, "succeeded"), ("find", 7, "started")], ids=str)
def test_a_backup_that_was_killed_is_no_backup_and_leaves_the_one_before(
    database: Any, run: Run, killed: Any, tmp_path: Path, at: Any
) -> None:
    fill(database)
    database.user_data.insert_many([{"_id": 1000 + one, "data": os.urandom(2000)} for one in range(300)])
    file, unfinished = tmp_path / "b", tmp_path / "b.unfinished"
    assert run("backup", str(file)).exit_code == 0
    before = file.read_bytes()
    database.user_data.insert_one({"_id": 8, "data": {}})
    killed(at, "backup", str(file), "--force")
    assert file.read_bytes() == before
    refused = run("restore", str(unfinished), "--apply")
    assert refused.exit_code == 2
    assert "ends too early" in refused.output
    expected = stored(database)
    assert run("backup", str(file), "--force").exit_code == 0
    assert list(tmp_path.iterdir()) == [file]
    database.client.drop_database(database.name)
    assert run("restore", str(file), "--apply").exit_code == 0
    assert stored(database) == expected
