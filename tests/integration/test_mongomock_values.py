"""On mongomock, a document that cannot be stored does not affect any other one.

Mongomock is written in Python, and raises what Python raises (`ValueError` for a UUID, `NotImplementedError` for what
it lacks) where a server would answer with an error for that document. Everything that BSON supports is stored as on a
server.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from mongomock_motor import AsyncMongoMockClient

from ptb_mongo import DocumentError, MongoPersistence
from ptb_mongo.codec import Codec, dump
from ptb_mongo.driver.mock import MockDriver
from ptb_mongo.driver.operations import Delete, Operation

CODEC = Codec()
VALUES = [
    uuid.UUID(int=5),
    {"nested": [uuid.UUID(int=6)]},
    {uuid.UUID(int=7)},
    {uuid.UUID(int=8): 1},
    b"bytes",
    Binary(b"0123456789abcdef", 4),
    Binary(b"old", 3),
    Binary(b"own", 128),
    2**62,
    2**70,
    Int64(5),
    Decimal("1.50"),
    Decimal128("1.50"),
    Decimal128("NaN"),
    float("nan"),
    [float("inf"), float("nan")],
    Regex("a", "i"),
    re.compile("a"),
    Code("f"),
    Code("f", {"a": 1}),
    DBRef("other", 1),
    MinKey(),
    MaxKey(),
    ObjectId("0123456789abcdef01234567"),
    Timestamp(1, 2),
    DatetimeMS(2**60),
    dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc),
    dtm.datetime(1, 1, 1),  # noqa: DTZ001
    dtm.datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    "\ud800",
    {"$set": {"a.b": 1}, "": 2, "a\0b": 3},
]


def persistence(client: Any) -> MongoPersistence[Any, Any, Any]:
    return MongoPersistence(client, "mock", refresh="read")


async def stored(client: Any) -> dict[int, Any]:
    """What a bot loads that starts now."""
    return await persistence(client).get_user_data()


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_whatever_bson_holds_is_stored_changed_and_removed(value: Any) -> None:
    client = AsyncMongoMockClient()
    bot = persistence(client)
    await bot.get_user_data()
    for data in ({"v": value}, {"v": [value, 1]}, {"v": [value, 1, 2]}, {"v": {"in": value, "n": 1}}, {"n": value}):
        await asyncio.gather(bot.update_user_data(1, data), bot.update_user_data(2, {"of": "somebody else"}))

        loaded = dict(sorted((await stored(client)).items()))  # who of the two came first does not matter
        assert dump(CODEC.encode(loaded)) == dump(CODEC.encode({1: data, 2: {"of": "somebody else"}}))

    await bot.update_user_data(1, {})

    assert (await stored(client))[1] == {}


@pytest.mark.parametrize("error", [NotImplementedError, ValueError, TypeError, OverflowError, KeyError, RecursionError])
async def test_a_document_that_mongomock_cannot_store_fails_alone(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AsyncMongoMockClient()
    bot = persistence(client)
    await bot.get_user_data()
    done = MockDriver._done

    async def cannot_store_the_first(target: Any, operation: Operation) -> bool:
        if operation.id == 1:
            raise error("not in Python")
        return await done(target, operation)

    monkeypatch.setattr(MockDriver, "_done", staticmethod(cannot_store_the_first))

    one, two = await asyncio.gather(
        bot.update_user_data(1, {"n": 1}), bot.update_user_data(2, {"n": 2}), return_exceptions=True
    )

    assert isinstance(one, DocumentError)
    assert f"user_data, _id 1, at data.n: mongomock cannot store it: {error.__name__}" in str(one)
    assert two is None
    assert await stored(client) == {2: {"n": 2}}


async def test_the_text_of_an_error_holds_no_whole_document(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = MockDriver(AsyncMongoMockClient(), "mock", owned=False)

    async def cannot(*_: Any) -> bool:
        raise ValueError("x" * 5000)

    monkeypatch.setattr(MockDriver, "_done", staticmethod(cannot))

    failures = await driver.write("user_data", [Delete(1, {})])

    assert len(failures[0].reason) < 300
