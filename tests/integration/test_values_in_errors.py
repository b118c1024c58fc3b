"""No document's value is in an error, a log or `health()`, whatever a real server quotes when it refuses one."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from bots import USER, Bot

from ptb_mongo import DocumentError, MongoPersistence, RefusedError, UnsavedDataError
from ptb_mongo.driver.connecting import connect
from ptb_mongo.driver.failures import check_writes

SECRET = "SECRET-555"


def validates(database: Any) -> None:
    database.create_collection("user_data", validator={"data.phone": {"$ne": SECRET}})


def is_unique(database: Any) -> None:
    database.user_data.create_index("data.phone", unique=True, sparse=True)
    database.user_data.insert_one({"_id": 1, "data": {"phone": SECRET}})


@pytest.mark.parametrize(
    ("prepare", "data"),
    [
        (lambda database: database.user_data.create_index([("data.loc", "2dsphere")]), {"loc": [999, 999]}),
        (lambda database: database.user_data.create_index([("data.loc", "2dsphere")]), {"loc": {"type": SECRET}}),
        (lambda database: database.user_data.create_index([("data.loc", "2d")]), {"loc": [999, 1]}),
        (lambda database: database.user_data.create_index([("data.text", "text")]), {"text": "a", "language": SECRET}),
        (lambda database: database.user_data.create_index([("data.a", 1), ("data.b", 1)]), {"a": [SECRET], "b": [1]}),
        (lambda database: database.user_data.create_index([("data.a", "hashed")]), {"a": [SECRET]}),
        (validates, {}),
        (is_unique, {}),
    ],
    ids=["geo key", "GeoJSON", "flat geo key", "language", "parallel arrays", "hashed", "validator", "unique index"],
)
async def test_of_a_document_that_is_refused_no_value_is_told(
    prepare: Callable[[Any], Any],
    data: dict[str, Any],
    client: Any,
    mongodb_database: str,
    database: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "ptb_mongo")
    prepare(database)
    bot = Bot(MongoPersistence(client, mongodb_database, shutdown_timeout=0.5))
    await bot.application.initialize()
    errors: list[BaseException] = []
    for n in range(2):
        await bot.hears(lambda context, n=n: context.user_data.update({"phone": SECRET, "n": n, **data}), USER)
        await bot.saves()
    health = bot.persistence.health()
    try:
        await bot.application.shutdown()
    except UnsavedDataError as error:
        errors.append(error)

    assert bot.errors
    assert errors
    told = ["".join(traceback.format_exception(error)) for error in [*bot.errors, *errors]]
    own = [record.getMessage() for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert [text for text in [*told, *own, str(health.reason), str(health.last_error)] if SECRET in text] == []
    assert isinstance(bot.errors[0], (DocumentError, RefusedError))


@pytest.mark.parametrize(
    ("update", "code"),
    [
        ({"$set": {"_id": SECRET}}, 66),
        ({"$inc": {"data.phone": 1}}, 14),
        ({"$inc": {"data.n": SECRET}}, 14),
        ({"$push": {"data.phone": SECRET}}, 2),
        ({"$set": {"data.phone.x": 1}}, 28),
        ({"$rename": {"data.phone": f"{SECRET}."}}, 56),
        ([{"$set": {"data.n": {"$toInt": "$data.phone"}}}], 241),
        ({"$set": {"data.loc": [999, 999]}}, 16755),
        ({"$set": {"data.email": SECRET}}, 11000),
    ],
)
@pytest.mark.parametrize("command", ["update", "findAndModify"])
async def test_of_a_command_that_is_refused_no_value_is_told(
    command: str, update: Any, code: int, client: Any, mongodb_database: str, database: Any
) -> None:
    database.user_data.create_index([("data.loc", "2dsphere")])
    database.user_data.create_index("data.email", unique=True, sparse=True)
    database.user_data.insert_many([{"_id": 1, "data": {"email": SECRET}}, {"_id": USER, "data": {"phone": SECRET}}])
    driver = await connect(client, mongodb_database)

    commands: dict[str, dict[str, Any]] = {
        "update": {"update": "user_data", "updates": [{"q": {"_id": USER}, "u": update}]},
        "findAndModify": {"findAndModify": "user_data", "query": {"_id": USER}, "update": update},
    }

    async def refused() -> None:
        check_writes(await driver.command(commands[command]))

    with pytest.raises(RefusedError) as caught:
        await refused()

    assert caught.value.code == code
    assert SECRET not in "".join(traceback.format_exception(caught.value))
