"""Whatever goes wrong for one document, and wherever: all others are loaded, refreshed and saved.

Nobody can foresee the next value that causes an error. So the tests inject the error into each place that handles a
value from the database or from the bot, for one document only.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bots import USER, Bot, until
from deep import IS_DEEP
from offline import offline_application
from workers import running

from ptb_mongo.errors import DocumentError, UnsavedDataError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica

OTHER, NEW = 43, 44
BOMB = "BOMB"
ERRORS = (AttributeError, RecursionError, MemoryError, KeyError)

PLACES = (
    "codec:Codec.decode_body",
    "codec:Codec.decode",
    "codec:Codec.encode",
    "replica.collection:dump",
    "replica.collection:load",
    "replica.collection:part",
    "replica.rebase:dump",
    "replica.forms:diff",
    "replica.forms:DocumentForm.canonical_value",
    "replica.forms:DocumentForm.changes",
    "replica.forms:DocumentForm.changed_paths",
    "replica.document:rebased",
    "replica.document:stored_by",
    "replica.document:Replica.staged",
    "replica.document:Replica.read",
    "replica.document:Replica.acknowledged",
    "scopes.data_form:DataForm.merged",
    "scopes.data_form:DataForm.ours",
    "scopes.data:bring_into",
    "scopes.data:same",
    "sync.operations:_insertion",
    "sync.operations:_update",
    "sync.operations:_deletion",
    "driver.statements:update",
    "driver.statements:deletion",
)


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type[Exception]], list[str]]:
    """Makes a function fail for whatever holds the text `BOMB`; returns a list that grows with each failure."""

    def breaks(place: str, kind: type[Exception]) -> list[str]:
        module, _, name = place.partition(":")
        owner: Any = importlib.import_module(f"ptb_mongo.{module}")
        *outer, last = name.split(".")
        for one in outer:
            owner = getattr(owner, one)
        genuine = getattr(owner, last)
        failures: list[str] = []

        def failing(*args: Any, **options: Any) -> Any:
            if any(BOMB in shown(one) for one in (*args, *options.values())):
                failures.append(place)
                raise kind(BOMB)
            return genuine(*args, **options)

        monkeypatch.setattr(owner, last, failing)
        return failures

    return breaks


def shown(value: Any) -> str:
    """What a value holds, as text."""
    if isinstance(value, Collection):
        return ""
    return repr((value.base, value.pending) if isinstance(value, Replica) else value)


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        (place, mode)
        for number, place in enumerate(PLACES)
        for mode in (("watch", "read") if IS_DEEP else (("watch", "read")[number % 2],))
    ],
)
async def test_an_error_for_one_users_document_is_that_users_alone(
    mongo_persistence: Callable[..., Any],
    database: Any,
    breaks: Callable[[str, type[Exception]], list[str]],
    place: str,
    mode: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    database.create_collection("user_data", validator={"data.refused": {"$exists": False}})
    for scope in ("user_data", "chat_data"):
        database[scope].insert_many([{"_id": USER, "data": {"a": BOMB}}, {"_id": OTHER, "data": {"name": "Ada"}}])
    failures = breaks(place, ERRORS[PLACES.index(place) % len(ERRORS)])
    bot = Bot(mongo_persistence(refresh=mode, shutdown_timeout=3, exclude={"chat_data": {"x"}}))
    await bot.application.initialize()

    for n in (1, 2, 3):
        for scope in ("user_data", "chat_data"):
            database[scope].update_one({"_id": USER}, {"$set": {f"data.{BOMB}": {"n": n}, "data.list": [n]}})
            database[scope].update_one({"_id": OTHER}, {"$set": {"data.edit": n}})
        await bot.sees(lambda data, n=n: data.get("edit") == n, user=OTHER)
        await bot.sees(lambda _, n=n: bot.application.chat_data[OTHER].get("edit") == n, user=OTHER)
        for user in (USER, OTHER):
            await bot.hears(lambda context, n=n: context.user_data.update(n=n), user=user)
        changed = {BOMB: BOMB * n, "new": {BOMB: n}, **({"refused": BOMB} if n == 2 else {})}
        for user in (USER, NEW):
            await bot.hears(lambda context, changed=changed: context.user_data.update(changed), user=user)
        database.user_data.update_one({"_id": USER}, {"$set": {"rev": f"other:{n}", "data.other": BOMB * n}})
        await bot.saves()
        assert database.user_data.find_one({"_id": OTHER})["data"] == {"name": "Ada", "edit": n, "n": n}
    for user in (USER, NEW):
        bot.application.drop_user_data(user)
    await bot.hears(lambda context: context.user_data.update({BOMB: 1}), user=NEW)  # of a new object
    await bot.hears(lambda context: context.user_data.update(n=9), user=OTHER)
    await bot.saves()

    assert database.user_data.find_one({"_id": OTHER})["data"]["n"] == 9
    try:
        await bot.application.shutdown()
    except UnsavedDataError as error:
        assert f"_id {OTHER}" not in str(error)  # noqa: PT017
    assert all(isinstance(error, DocumentError) and error.document_id in {USER, NEW} for error in bot.errors), [
        *map(str, bot.errors)
    ]
    said = [record.getMessage() for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert [line for line in said if "Saving failed" in line or BOMB in line.replace(f"data.{BOMB}", "")] == []
    assert failures


@pytest.mark.parametrize("place", [one for one in PLACES if "data" not in one.partition(":")[0]])
async def test_an_error_for_one_conversation_or_keyboard_is_its_own(
    mongo_persistence: Callable[..., Any],
    database: Any,
    breaks: Callable[[str, type[Exception]], list[str]],
    place: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number, state in ((USER, {"a": BOMB}), (OTHER, {"a": 1})):
        named = {"handler": "order", "key": [number]}
        database.conversations.insert_one({"_id": named, **named, "state": state})
        keyboard = {"position": number, "accessed_at": 1.0, "buttons": {"b" * 32: 0}, "objects": [state]}
        database.callback_data.insert_one({"_id": f"{number:032}", **keyboard})
    breaks(place, ERRORS[PLACES.index(place) % len(ERRORS)])
    persistence = mongo_persistence(shutdown_timeout=3)
    offline_application(persistence)

    assert (await persistence.get_conversations("order"))[OTHER,] == {"a": 1}
    held, _ = await persistence.get_callback_data()
    assert [one for one in held if one[0] == f"{OTHER:032}"] == [(f"{OTHER:032}", 1.0, {"b" * 32: {"a": 1}})]
    for n in (2, 3):
        boards = [
            (f"{OTHER:032}", float(n), {"b" * 32: {"a": n}}),
            (f"{USER:032}", float(n), {"b" * 32: {"a": BOMB * n}}),
            (f"{n:032}", float(n), {"b" * 32: {"a": n}}),
        ]
        done = await asyncio.gather(
            persistence.update_conversation("order", (USER,), {"a": BOMB * n}),
            persistence.update_conversation("order", (OTHER,), {"a": n}),
            persistence.update_callback_data((boards, {})),
            return_exceptions=True,
        )
        assert [one for one in done if one is not None and not isinstance(one, DocumentError)] == []
        assert database.conversations.find_one({"key": [OTHER]})["state"] == {"a": n}
        assert database.callback_data.find_one({"_id": f"{OTHER:032}"})["objects"] == [{"a": n}]
        assert database.callback_data.find_one({"_id": f"{n:032}"})["objects"] == [{"a": n}]
    with pytest.MonkeyPatch.context():
        try:
            await persistence.flush()
        except UnsavedDataError as error:
            assert f"{OTHER:032}" not in str(error)  # noqa: PT017
    assert not any("Saving failed" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("place", PLACES)
async def test_an_error_for_one_users_document_is_that_users_alone_in_a_worker(
    worker: Callable[..., Any],
    database: Any,
    breaks: Callable[[str, type[Exception]], list[str]],
    place: str,
) -> None:
    database.user_data.insert_many([{"_id": USER, "data": {"a": BOMB}}, {"_id": OTHER, "data": {"name": "Ada"}}])
    breaks(place, ERRORS[PLACES.index(place) % len(ERRORS)])
    bot = worker("strict", shutdown_timeout=3)
    try:
        async with running(bot):
            for n in (1, 2):
                database.user_data.update_one({"_id": USER}, {"$set": {f"data.{BOMB}": n}})
                database.user_data.update_one({"_id": OTHER}, {"$set": {"data.edit": n}})
                await bot.hears(lambda context, n=n: context.user_data.update({BOMB: BOMB * n}), user=USER)
                data = await bot.hears(lambda context, n=n: context.user_data.update(n=n), user=OTHER)
                assert data == {"name": "Ada", "edit": n, "n": n}
                assert database.user_data.find_one({"_id": OTHER})["data"] == data
    except UnsavedDataError as error:
        assert f"_id {OTHER}" not in str(error)  # noqa: PT017
    assert all(isinstance(error, DocumentError) and error.document_id == USER for error in bot.errors), [
        *map(str, bot.errors)
    ]


async def test_a_document_too_large_to_be_read_with_others_is_read_by_itself(
    start: Callable[..., Any], database: Any
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"x": 1}})
    bot = await start(refresh="read")
    rest = len(bson.encode({"_id": USER, "data": {"x": ""}}))
    database.user_data.replace_one({"_id": USER}, {"_id": USER, "data": {"x": "x" * (16 * 2**20 - rest)}})
    database.user_data.insert_one({"_id": OTHER, "data": {"name": "Ada"}})
    database.chat_data.insert_one({"_id": OTHER, "data": {"name": "Ada"}})

    large, small = await asyncio.gather(bot.hears(), bot.hears(user=OTHER))

    assert len(large["x"]) > 16_000_000
    assert small == {"name": "Ada"}
    assert bot.persistence.health().reason is None


async def test_an_event_that_cannot_be_used_costs_no_other(
    start: Callable[..., Any], database: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bot = await start(refresh="watch")
    await bot.hears()
    stream = bot.persistence.session._stream
    await until(lambda: stream.is_following)
    scope = bot.persistence.session.scopes.user_data
    told = scope.told

    def failing(document_id: Any, **options: Any) -> None:
        if document_id == USER:
            raise AttributeError(BOMB)
        told(document_id, **options)

    monkeypatch.setattr(scope, "told", failing)
    database.user_data.insert_many([{"_id": USER, "data": {"n": 1}}, {"_id": OTHER, "data": {"n": 2}}])

    assert await bot.sees(lambda data: "n" in data, user=OTHER) == {"n": 2}
    assert await bot.sees(lambda data: "n" in data) == {"n": 1}  # everything is read again
    assert stream.is_following
    assert sum("cannot be used (AttributeError)" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("what", "size"),
    [("_id", 1_000_000), ("_id", 4_000_000), ("rev", 7_000_000), ("rev", 12_000_000), ("data", 16_000_000)],
)
async def test_a_huge_document_of_others_costs_the_neighbours_nothing(
    start: Callable[..., Any], database: Any, what: str, size: int
) -> None:
    database.user_data.insert_one({"_id": OTHER, "data": {"name": "Ada"}})
    bot = await start(refresh="watch")
    await bot.hears(user=OTHER)
    stream = bot.persistence.session._stream
    await until(lambda: stream.is_following)

    database.user_data.insert_one({"_id": USER} | {what: "x" * size})
    database.user_data.update_one({"_id": OTHER}, {"$set": {"data.edit": 1}})

    assert await bot.sees(lambda data: "edit" in data, user=OTHER) == {"name": "Ada", "edit": 1}
    await bot.hears(lambda context: context.user_data.update(n=1), user=OTHER)
    await bot.saves()
    assert database.user_data.find_one({"_id": OTHER})["data"] == {"name": "Ada", "edit": 1, "n": 1}
    await until(lambda: stream.is_following)
    assert bot.errors == []
