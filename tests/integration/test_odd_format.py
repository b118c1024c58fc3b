"""Format documents, indexes and spill files with values that no bot writes do not prevent a start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import USER, Bot
from bson.code import Code
from bson.int64 import Int64
from odd_values import ODD, encoded, plant
from offline import BOT_ID, TOKEN

from ptb_mongo import FormatError
from ptb_mongo.sync import spill
from ptb_mongo.sync.format import proof

OTHER = 43
FIELDS = ("proof", "bot_id", "running", "created_at", "something else")
HONEST = {"_id": "format", "version": 1, "bot_id": BOT_ID}


async def works(mongo_persistence: Callable[..., Any], database: Any, **options: Any) -> bool:
    """A bot starts, loads, saves and stops; returns whether it found the mark of an earlier process."""
    database.user_data.update_one({"_id": OTHER}, {"$set": {"data": {"name": "Ada"}}}, upsert=True)
    bot = Bot(mongo_persistence(**options))
    async with bot.application:
        await bot.hears(lambda context: context.user_data.update(n=1), user=OTHER)
        await bot.saves()
        sweeps: bool = bot.persistence.session._sweeps
    assert database.user_data.find_one({"_id": OTHER})["data"] == {"name": "Ada", "n": 1}
    assert bot.errors == []
    return sweeps


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_version_in_the_format_document_stops_no_start(
    mongo_persistence: Callable[..., Any], database: Any, name: str
) -> None:
    plant(database.ptb_mongo, {**HONEST, "version": ODD[name]})

    await works(mongo_persistence, database)

    assert database.ptb_mongo.find_one({"_id": "format"}, {"version": 1, "bot_id": 1}) == HONEST


@pytest.mark.parametrize("name", ODD)
async def test_odd_values_in_the_format_document_stop_no_start(
    mongo_persistence: Callable[..., Any], database: Any, name: str
) -> None:
    plant(database.ptb_mongo, {**HONEST, **dict.fromkeys(FIELDS, ODD[name])})

    assert await works(mongo_persistence, database)  # whatever `running` holds is such a mark
    assert database.ptb_mongo.find_one({"_id": "format"}, {"version": 1, "bot_id": 1}) in (
        HONEST,
        {**HONEST, "bot_id": 77},  # another bot's
        {**HONEST, "bot_id": -1},
        {**HONEST, "bot_id": Int64(2**63 - 1)},
    )


@pytest.mark.parametrize("version", [1.0, Int64(1), bson.Decimal128("1"), "x", "1", 99, 0, -1, True, None, [1], 10**9])
async def test_a_version_that_no_ptb_mongo_writes_is_put_right(
    mongo_persistence: Callable[..., Any], database: Any, version: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database.ptb_mongo.insert_one({**HONEST, "version": version})

    await works(mongo_persistence, database)

    stored = database.ptb_mongo.find_one({"_id": "format"})
    assert (type(stored["version"]), stored["version"]) == (int, 1)
    named = [record.getMessage() for record in caplog.records if "names the version" in record.getMessage()]
    is_one = not isinstance(version, (bool, str)) and isinstance(version, (float, int, bson.Decimal128))
    assert len(named) == (0 if is_one and version in (1, bson.Decimal128("1")) else 1)


async def test_a_format_document_without_a_version_stops_no_start(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    database.ptb_mongo.insert_one({"_id": "format"})

    await works(mongo_persistence, database)

    stored = database.ptb_mongo.find_one({"_id": "format"})
    assert stored["version"] == 1
    assert stored["bot_id"] == BOT_ID


@pytest.mark.parametrize("version", [2, 2.0, Int64(3), 9])
async def test_the_format_of_a_newer_ptb_mongo_stops_the_start(
    mongo_persistence: Callable[..., Any], database: Any, version: Any
) -> None:
    shown = proof(TOKEN, int(version))
    database.ptb_mongo.insert_one({**HONEST, "version": version, "proof": shown})

    with pytest.raises(FormatError, match=r"pip install -U.*somebody else"):
        await works(mongo_persistence, database)

    assert database.ptb_mongo.find_one({"_id": "format"})["version"] == version


SHOWN = {
    **{name: ODD[name] for name in list(ODD)[::6]},
    "nothing": "",
    "another bot's": proof("2:other", 2),
    "no ASCII": "\u00e9" * 64,
}


@pytest.mark.parametrize("name", SHOWN)
async def test_a_newer_format_without_the_proof_of_the_bots_own_stops_no_start(
    mongo_persistence: Callable[..., Any], database: Any, name: str
) -> None:
    plant(database.ptb_mongo, {**HONEST, "version": 2, "proof": SHOWN[name]})

    await works(mongo_persistence, database)

    assert database.ptb_mongo.find_one({"_id": "format"}, {"version": 1})["version"] == 2  # it may be true


@pytest.mark.parametrize("scope", ["user_data", "chat_data", "bot_data", "conversations"])
async def test_a_foreign_document_with_an_odd_id_does_not_stop_the_first_start(
    mongo_persistence: Callable[..., Any], database: Any, scope: str
) -> None:
    plant(database[scope], {"_id": ODD["text that is no UTF-8"], "x": 1})

    await works(mongo_persistence, database)


@pytest.mark.parametrize("options", [{"unique": True}, {"sparse": True}, {"name": "other"}])
async def test_an_index_of_others_in_the_place_of_ours_does_not_stop_the_start(
    mongo_persistence: Callable[..., Any], database: Any, options: dict[str, Any]
) -> None:
    database.conversations.create_index("handler", **options)

    await works(mongo_persistence, database)


async def test_too_many_indexes_of_others_do_not_stop_the_start(
    mongo_persistence: Callable[..., Any], database: Any
) -> None:
    for number in range(63):
        database.conversations.create_index(f"x{number}")

    await works(mongo_persistence, database)


# -- spill files -------------------------------------------------------------------------------------------

DOCUMENT = {"collection": "user_data", "id": USER, "base": None, "wanted": None, "sent": {}, "rev": None, "revs": []}
HEADER = {"version": 1, "collection_prefix": ""}


@pytest.mark.parametrize("field", [*DOCUMENT, "a header's version", "a header's database", "one more field"])
async def test_a_spill_file_with_odd_contents_stops_no_start(
    mongo_persistence: Callable[..., Any],
    database: Any,
    mongodb_database: str,
    tmp_path: Path,
    field: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    more = [Code("user_data"), {"a:1": Code("x")}, {"a": bson.encode({"data": 5})}]
    for number, odd in enumerate([*ODD.values(), *more]):
        header = {**HEADER, "database": mongodb_database}
        document = dict(DOCUMENT)
        if field.startswith("a header's"):
            header[field.removeprefix("a header's ")] = odd
        else:
            document[field] = odd
        for collection in ("user_data", "conversations", "callback_data"):
            name = f"ptb_mongo-{mongodb_database}--{number:03}{collection[0]}.unsaved"
            named = {"collection": collection} if field != "collection" else {}
            (tmp_path / name).write_bytes(encoded(header) + encoded({**document, **named}))

    await works(mongo_persistence, database, spill_dir=tmp_path)
    await works(mongo_persistence, database, spill_dir=tmp_path)


@pytest.mark.parametrize("names", [list(ODD)[start::6] for start in range(6)], ids=", ".join)
async def test_spilled_versions_with_odd_data_stop_no_start(
    mongo_persistence: Callable[..., Any], database: Any, mongodb_database: str, tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        data = ODD[name]
        odd, deeper = encoded({"data": data}), encoded({"data": {"x": data}})
        versions = [(odd, None, {}), (None, odd, {}), (odd, odd, {"a:1": odd}), (deeper, odd, {"a:1": None})]
        for number, (base, wanted, sent) in enumerate(versions):
            for user in (USER, OTHER):
                one = {**DOCUMENT, "id": user, "base": base, "wanted": wanted, "sent": sent}
                header = {**HEADER, "database": mongodb_database}
                file = f"ptb_mongo-{mongodb_database}--{names.index(name)}{number}{user}.unsaved"
                (tmp_path / file).write_bytes(encoded(header) + encoded(one))
    database.user_data.insert_many([{"_id": 50, "data": {"name": "Eve"}}, {"_id": USER, "data": {"a": 1}}])

    bot = Bot(mongo_persistence(spill_dir=tmp_path, exclude={"user_data": {"cache"}}))
    async with bot.application:
        assert bot.application.user_data[50] == {"name": "Eve"}
        await bot.hears(lambda context: context.user_data.update(n=1), user=50)
        await bot.saves()

    assert database.user_data.find_one({"_id": 50})["data"] == {"name": "Eve", "n": 1}


def test_what_no_file_can_hold_is_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    left_out: list[object] = []
    documents = [
        spill.Spilled("user_data", 1, None, bson.encode({"data": 1}), {}),
        spill.Spilled("user_data", 2, None, None, {}, rev=object()),
        spill.Spilled("user_data", 3, None, bson.encode({"data": 3}), {}),
    ]

    spill.write(tmp_path, "db", "", "w", documents, lambda one, _: left_out.append(one.id))

    (file,) = spill.claim(tmp_path, "db", "")
    assert left_out == [2]
    assert file.path.exists()
