"""A stored value that no filter matches: its document's writes would fail forever, and all others would wait.

MongoDB accepts what no driver would send: obsolete types, or the same key twice in one document. After decoding and
encoding, this is a different value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson
import pytest
from bots import USER, until
from bson.raw_bson import RawBSONDocument

from ptb_mongo import UnsavedDataError

INT, DOCUMENT, ARRAY, UNDEFINED, POINTER = b"\x10", b"\x03", b"\x04", b"\x06", b"\x0c"


def number(name: str, value: int = 1) -> bytes:
    return element(INT, name, value.to_bytes(4, "little"))


def element(kind: bytes, name: str, content: bytes) -> bytes:
    return kind + name.encode() + b"\0" + content


def document(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return (len(content) + 5).to_bytes(4, "little") + content + b"\0"


def user(*data: bytes, rev: bytes = b"") -> RawBSONDocument:
    return RawBSONDocument(document(number("_id", USER), element(DOCUMENT, "data", document(*data)), rev))


POINTED = (3).to_bytes(4, "little") + b"ab\0" + bson.ObjectId().binary

PLANTED = {
    "a rev that is a pointer": user(number("x"), rev=element(POINTER, "rev", POINTED)),
    "a list with undefined in it": user(
        number("x"), element(ARRAY, "x", document(element(UNDEFINED, "0", b""), number("1")))
    ),
    "a list with a key twice in it": user(
        number("y"), element(ARRAY, "x", document(element(DOCUMENT, "0", document(number("a"), number("a", 2)))))
    ),
}


def changes(data: Any) -> None:
    if isinstance(data.get("x"), list):
        data["x"][-1] = 5
        data["x"].insert(0, 7)
    else:
        data["x"] = 5


@pytest.mark.parametrize("what", PLANTED)
async def test_a_document_that_its_own_values_do_not_find_is_refused_by_itself(
    start: Callable[..., Any], database: Any, what: str
) -> None:
    database.user_data.insert_one(PLANTED[what])
    bot = await start()
    await bot.hears()
    await bot.hears(lambda context: changes(context.user_data))
    await bot.hears(lambda context: context.user_data.update(n=1), user=USER + 1)

    await bot.saves()

    await until(lambda: bot.persistence.health().waiting == bot.persistence.health().refused == 1)
    assert database.user_data.find_one({"_id": USER + 1})["data"] == {"n": 1}
    assert bot.persistence.health().connected
    with pytest.raises(UnsavedDataError, match=f"user_data, _id {USER}: the stored document holds something"):
        await bot.persistence.flush()
    database.user_data.delete_one({"_id": USER})  # so that the stop has nothing to complain of


async def test_a_document_that_its_own_rev_does_not_find_is_not_deleted_and_holds_up_nobody(
    start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one(PLANTED["a rev that is a pointer"])
    bot = await start()
    await bot.hears()
    await bot.hears(lambda context: context.user_data.update(n=1), user=USER + 1)
    bot.application.drop_user_data(USER)

    await bot.saves()

    await until(lambda: bot.persistence.health().waiting == bot.persistence.health().refused == 1)
    assert [one["_id"] for one in database.user_data.find({}, {"_id": 1})] == [USER, USER + 1]
    assert "remove what the bot has not written" in str(bot.errors)
    database.user_data.delete_one({"_id": USER})  # so that the stop has nothing to complain of
