"""Documents that cannot be read: the bot starts without them, leaves them alone, and loads them when repaired."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import USER, Bot
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from offline import BOT_ID, TOKEN, message_from, offline_application
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import ContextTypes, ConversationHandler, MessageHandler, filters

from ptb_mongo import FormatError, QuarantinedError, UnsavedDataError
from ptb_mongo.sync import spill
from ptb_mongo.sync.format import proof

OTHER_USER = 43
SECRET = "4111-1111-1111-1111"
"""Stands in every document that is planted here, and in no log."""


@dataclass
class Profile:
    name: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stranger:
    name: str = ""


PROFILES = ContextTypes(user_data=Profile)


@pytest.fixture(autouse=True)
def no_content_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, "ptb_mongo")
    yield
    own = [record for record in caplog.records if record.name.startswith("ptb_mongo")]
    assert [record.getMessage() for record in own if SECRET in record.getMessage() or record.exc_info] == []


@pytest.fixture
def named(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of the log that name what is quarantined."""
    return lambda: [record.getMessage() for record in caplog.records if "Quarantined" in record.getMessage()]


def raw(collection: Any, document_id: object = USER) -> bytes | None:
    """The very bytes that are stored, but for what counts writes."""
    found = collection.with_options(bson.CodecOptions(document_class=RawBSONDocument)).find_one({"_id": document_id})
    return found.raw if found is not None else None


def plant(collection: Any, document: dict[str, Any] | bytes) -> bytes:
    """Puts a document, or bytes that are not quite one, into a collection."""
    collection.with_options(bson.CodecOptions(document_class=RawBSONDocument)).insert_one(
        RawBSONDocument(document if isinstance(document, bytes) else bson.encode(document))
    )
    document_id = document["_id"] if isinstance(document, dict) else USER
    stored = raw(collection, document_id)
    assert stored is not None
    return stored


def stores(**data: Any) -> Callable[[Any], Any]:
    """A handler that changes the user's data."""
    return lambda context: context.user_data.update(data)


def stores_for_all(**data: Any) -> Callable[[Any], Any]:
    """A handler that changes the bot's data."""
    return lambda context: context.bot_data.update(data)


def holds(**data: Any) -> Callable[[Any], bool]:
    return lambda user_data: data.items() <= user_data.items()


def with_data(data: object) -> dict[str, Any]:
    return {"_id": USER, "data": data, "note": SECRET}


def bad_utf8(document: dict[str, Any]) -> bytes:
    """The document with a text that is no UTF-8, which MongoDB does not look at."""
    return bson.encode(document).replace(b"BROKEN", b"BR\xff\xfeEN")


def tagged(**fields: Any) -> dict[str, Any]:
    return with_data({"secret": SECRET, "deep": [1, {"x": fields}]})


DEEP = "data.deep.1.x"
BAD: dict[str, tuple[dict[str, Any] | bytes, str, str]] = {
    "garbage in a pickle": (tagged(_py="pickle", cls="m.C", v=SECRET.encode()), DEEP, "pickle"),
    "garbage in a Telegram object": (
        tagged(_py="telegram", cls="telegram.User", pickle=b"\x80\x05" + SECRET.encode(), view={}),
        DEEP,
        "pickle",
    ),
    "a pickle that is text": (tagged(_py="pickle", cls="m.C", v=SECRET), DEEP, "bytes"),
    "a class that does not exist any more": (tagged(_py="object", cls="gone.Cart", state={}), DEEP, "gone.Cart"),
    "a class that is not trusted": (tagged(_py="object", cls=f"{__name__}.Stranger", state={}), DEEP, "Stranger"),
    "an enum that has lost its member": (
        tagged(_py="enum", cls="uuid.SafeUUID", name="GONE", v=SECRET),
        DEEP,
        "GONE",
    ),
    "an unknown form": (tagged(_py="nonsense", v=SECRET), DEEP, "'nonsense'"),
    "a form without a name": (tagged(_py=5), DEEP, "_py is 5"),
    "a number that is none": (tagged(_py="int", v=SECRET), DEEP, "int"),
    "a date that is none": (tagged(_py="datetime", iso=SECRET), DEEP, "datetime"),
    "a set of what cannot be in one": (tagged(_py="set", v=[[SECRET]]), DEEP, "set"),
    "data is a number": (with_data(5), "data", "int"),
    "data is an array": (with_data([SECRET]), "data", "list"),
    "data is a text": (with_data(SECRET), "data", "str"),
    "data is null": (with_data(None), "data", "NoneType"),
    "data is a tuple": (with_data({"_py": "tuple", "v": [SECRET]}), "data", "tuple"),
    "the bot itself, which cannot be copied": (with_data({"secret": SECRET, "bot": {"_py": "bot"}}), "", "copied"),
    "text that is no UTF-8": (bad_utf8(with_data({"secret": SECRET, "x": "BROKEN"})), "", "BSON"),
    "a key that is no UTF-8": (bad_utf8(with_data({"secret": SECRET, "BROKEN": 1})), "", "BSON"),
}


# Each in one of the two modes, and some in both.
BAD_IN_MODE = [
    *((name, ("watch", "read")[number % 2]) for number, name in enumerate(BAD)),
    *(("garbage in a pickle", "read"), ("data is a number", "watch"), ("text that is no UTF-8", "read")),
]


@pytest.fixture(params=sorted(set(BAD_IN_MODE)), ids=" - ".join)
def bad(request: pytest.FixtureRequest) -> tuple[dict[str, Any] | bytes, str, str, str]:
    name, mode = request.param
    return (*BAD[name], mode)


# -- what cannot be read when the bot starts ---------------------------------------------------------------


async def test_the_bot_starts_and_names_the_document_once_and_goes_on_with_empty_data(
    start: Callable[..., Any], database: Any, bad: Any, named: Callable[[], list[str]]
) -> None:
    document, path, reason, mode = bad
    plant(database.user_data, document)
    database.user_data.insert_one({"_id": OTHER_USER, "data": {"name": "Ada"}})

    bot = await start(refresh=mode)

    assert await bot.hears(user=OTHER_USER) == {"name": "Ada"}
    assert await bot.hears() == {}
    assert await bot.hears() == {}
    (line,) = named()
    assert f"user_data, _id {USER}" in line
    assert f"at {path}:" in line or not path
    assert reason in line
    assert bot.persistence.health().quarantined == 1


async def test_nothing_of_ours_changes_the_document_and_its_user_alone_is_not_saved(
    start: Callable[..., Any], database: Any, bad: Any
) -> None:
    document, path, _, mode = bad
    planted = plant(database.user_data, document)
    bot = await start(refresh=mode)

    for n in range(3):
        await bot.hears(stores(n=n))
        await bot.hears(stores(n=n), user=OTHER_USER)
        await bot.saves()

    assert raw(database.user_data) == planted
    assert database.user_data.find_one({"_id": OTHER_USER})["data"] == {"n": 2}
    (error,) = bot.errors
    assert isinstance(error, QuarantinedError)
    assert (error.collection, error.document_id, error.path) == ("user_data", USER, path)
    assert SECRET not in str(error)


async def test_dropping_the_user_leaves_the_document_and_is_reported_once(
    start: Callable[..., Any], database: Any, mode: str
) -> None:
    planted = plant(database.user_data, BAD["an unknown form"][0])
    bot = await start(refresh=mode)
    await bot.hears()

    for _ in range(2):
        bot.application.drop_user_data(USER)
        await bot.saves()
        await bot.hears(stores(n=1))
        await bot.saves()

    assert raw(database.user_data) == planted
    (error,) = bot.errors
    assert isinstance(error, QuarantinedError)


async def test_dropping_a_user_whose_document_has_been_repaired_unseen_does_not_hide_the_repair(
    start: Callable[..., Any], database: Any
) -> None:
    plant(database.user_data, BAD["an unknown form"][0])
    bot = await start(refresh="watch")
    await bot.hears()
    scope = bot.persistence.session.scopes.user_data
    database.user_data.update_one({"_id": USER}, {"$set": {"data": {"name": "Ada"}}})
    for _ in range(1500):
        if scope.replicas[USER].is_stale:
            break
        await asyncio.sleep(0.002)  # the change stream has no event that a test could wait for

    bot.application.drop_user_data(USER)
    await bot.saves()

    assert await bot.sees(lambda data: "name" in data) == {"name": "Ada"}


async def test_the_last_save_of_a_shutdown_leaves_the_document_too(mongo_persistence: Any, database: Any) -> None:
    planted = plant(database.user_data, BAD["an unknown form"][0])
    bot = Bot(mongo_persistence())

    async with bot.application:
        await bot.hears(stores(n=1))

    assert raw(database.user_data) == planted


async def test_a_user_without_data_and_without_a_document_that_can_be_read_is_no_error(
    start: Callable[..., Any], database: Any, mode: str
) -> None:
    plant(database.user_data, BAD["an unknown form"][0])
    bot = await start(refresh=mode)

    await bot.hears()
    await bot.saves()

    assert bot.errors == []


async def test_a_repaired_document_is_taken_up_at_the_next_update_with_what_the_bot_has_unsaved(
    start: Callable[..., Any], database: Any, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    document, _, _, mode = bad
    plant(database.user_data, document)
    bot = await start(refresh=mode)
    await bot.hears(stores(n=1))
    await bot.saves()
    held = bot.application.user_data[USER]

    database.user_data.update_one({"_id": USER}, {"$set": {"data": {"name": "Ada", "in": {"a": 1}}}})
    data = await bot.sees(lambda data: "name" in data)

    assert data == {"n": 1, "name": "Ada", "in": {"a": 1}}
    assert data is held
    await bot.saves()
    assert database.user_data.find_one({"_id": USER})["data"] == data
    assert caplog.text.count(f"loaded again: user_data, _id {USER}") == 1
    assert bot.persistence.health().quarantined == 0


async def test_a_document_that_is_repaired_by_its_deletion_is_taken_up_too(
    start: Callable[..., Any], database: Any, mode: str
) -> None:
    plant(database.user_data, BAD["an unknown form"][0])
    bot = await start(refresh=mode)
    await bot.hears(stores(n=1))
    await bot.saves()

    database.user_data.delete_one({"_id": USER})
    await bot.sees(lambda _: bot.persistence.health().quarantined == 0)
    await bot.saves()

    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1}


async def test_a_document_that_is_repaired_wrongly_is_named_again_with_its_new_reason(
    start: Callable[..., Any], database: Any, mode: str, named: Callable[[], list[str]]
) -> None:
    plant(database.user_data, BAD["an unknown form"][0])
    bot = await start(refresh=mode)

    database.user_data.update_one({"_id": USER}, {"$set": {"data": 5}})
    await bot.sees(lambda _: len(named()) > 1)
    await bot.hears()

    assert len(named()) == 2
    assert "at data: " in named()[1]


async def test_a_document_that_breaks_again_after_its_repair_is_quarantined_again(
    start: Callable[..., Any], database: Any, mode: str, named: Callable[[], list[str]]
) -> None:
    plant(database.user_data, BAD["an unknown form"][0])
    bot = await start(refresh=mode)
    await bot.hears(stores(n=1))
    await bot.saves()
    for expected in (2, 3):
        database.user_data.update_one({"_id": USER}, {"$set": {"data": {"ok": expected}}})
        await bot.sees(holds(ok=expected))
        database.user_data.update_one({"_id": USER}, {"$set": {"data.x": {"_py": "nonsense"}}})
        await bot.sees(lambda _: bot.persistence.health().quarantined == 1)
        await bot.hears(stores(n=10 * expected))
        await bot.saves()
        assert len(named()) == expected

    assert [type(error) for error in bot.errors] == [QuarantinedError] * 3


async def test_a_class_that_is_trusted_at_the_next_start_repairs_its_documents(
    start: Callable[..., Any], database: Any
) -> None:
    plant(
        database.user_data, with_data({"x": {"_py": "object", "cls": f"{__name__}.Stranger", "state": {"name": "A"}}})
    )
    assert await (await start()).hears() == {}

    bot = await start(trusted=[Stranger])

    assert await bot.hears() == {"x": Stranger("A")}


async def test_in_lazy_mode_the_document_is_named_when_it_is_first_needed_and_taken_up_when_repaired(
    start: Callable[..., Any], database: Any, mode: str, named: Callable[[], list[str]]
) -> None:
    planted = plant(database.user_data, BAD["text that is no UTF-8"][0])
    bot = await start(refresh=mode, loading="lazy")
    assert named() == []

    for n in range(2):
        await bot.hears(stores(n=n))
        await bot.saves()

    assert len(named()) == 1
    assert [type(error) for error in bot.errors] == [QuarantinedError]
    assert raw(database.user_data) == planted
    database.user_data.update_one({"_id": USER}, {"$set": {"data": {"name": "Ada"}}})
    assert await bot.sees(lambda data: "name" in data) == {"n": 1, "name": "Ada"}


async def test_many_bad_documents_among_many_are_each_named_and_all_others_are_loaded(
    start: Callable[..., Any], database: Any, named: Callable[[], list[str]]
) -> None:
    users = [{"_id": n, "data": {"x": {"_py": "nonsense"} if n % 3 == 0 else n}} for n in range(1, 1001)]
    database.user_data.insert_many(users)

    bot = await start()

    assert len(named()) == 333
    assert len(bot.application.user_data) == 667


# -- documents that belong to nobody -----------------------------------------------------------------------

STRANGE_IDS = ["42", "", None, 4.5, True, {"a": 1}, b"42", "x" * 100_000]


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda strange: repr(strange)[:20])
async def test_an_id_of_a_wrong_type_is_named_once_and_its_document_left_alone(
    start: Callable[..., Any], database: Any, named: Callable[[], list[str]], strange: Any
) -> None:
    planted = plant(database.user_data, {"_id": strange, "data": {"name": SECRET}})

    bot = await start()
    await bot.hears(stores(n=1))
    await bot.saves()

    (line,) = named()
    assert repr(strange)[:20] in line
    assert len(line) < 500
    assert raw(database.user_data, strange) == planted
    assert database.user_data.find_one({"_id": USER})["data"] == {"n": 1}
    assert bot.persistence.health().quarantined == 1


async def test_an_id_that_is_no_utf8_is_named_and_its_document_left_alone(
    start: Callable[..., Any], database: Any, named: Callable[[], list[str]]
) -> None:
    planted = bad_utf8({"_id": "BROKEN", "data": {"name": SECRET}})
    users = database.user_data.with_options(bson.CodecOptions(document_class=RawBSONDocument))
    users.insert_one(RawBSONDocument(planted))

    bot = await start()

    assert len(named()) == 1
    assert bot.errors == []
    assert [document.raw for document in users.find()] == [planted]
    assert [user async for user in bot.persistence.user_ids()] == []


@pytest.mark.parametrize("number", [42.0, Int64(42), Decimal128("42"), Decimal128("42.0")], ids=repr)
async def test_an_id_that_is_the_same_number_in_another_form_is_the_users_own(
    start: Callable[..., Any], database: Any, number: Any, mode: str
) -> None:
    database.user_data.insert_one({"_id": number, "data": {"name": "Ada"}})
    bot = await start(refresh=mode)
    await bot.hears(stores(n=1))
    await bot.saves()

    database.user_data.update_one({"_id": 42}, {"$set": {"data.plan": "x"}})

    assert await bot.sees(lambda data: "plan" in data) == {"name": "Ada", "n": 1, "plan": "x"}
    assert [user async for user in bot.persistence.user_ids()] == [42]
    assert database.user_data.count_documents({}) == 1


@pytest.mark.parametrize("user", [7_000_000_000, -1_001_234_567_890])
async def test_an_edit_of_a_user_or_chat_whose_id_takes_64_bits_is_seen(
    start: Callable[..., Any], database: Any, user: int, mode: str
) -> None:
    bot = await start(refresh=mode)
    await bot.hears(lambda context: (context.user_data.update(n=1), context.chat_data.update(n=1)), user=user)
    await bot.saves()

    for collection in (database.user_data, database.chat_data):
        collection.update_one({"_id": user}, {"$set": {"data.plan": "x"}})

    await bot.sees(lambda data: "plan" in data, user=user)
    await bot.sees(lambda _: "plan" in bot.application.chat_data[user], user=user)


# -- data of another class ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [{"name": SECRET}, {"_py": "object", "cls": f"{__name__}.Stranger", "state": {}}])
async def test_data_of_another_class_than_context_types_says_is_quarantined(
    start: Callable[..., Any], database: Any, data: Any, named: Callable[[], list[str]], mode: str
) -> None:
    planted = plant(database.user_data, with_data(data))
    bot = await start(refresh=mode, context_types=PROFILES, trusted=[Stranger])

    await bot.hears(lambda context: setattr(context.user_data, "name", "Ada"))
    await bot.saves()

    (line,) = named()
    assert "at data: " in line
    assert "Profile" in line
    assert raw(database.user_data) == planted
    assert [type(error) for error in bot.errors] == [QuarantinedError]
    mended = {"_py": "object", "cls": f"{__name__}.Profile", "state": {"name": "", "notes": {"plan": "x"}}}
    database.user_data.update_one({"_id": USER}, {"$set": {"data": mended}})
    assert await bot.sees(lambda data: bool(data.notes)) == Profile("Ada", {"plan": "x"})


async def test_an_object_where_a_dict_is_expected_is_quarantined(
    start: Callable[..., Any], database: Any, named: Callable[[], list[str]]
) -> None:
    plant(database.user_data, with_data({"_py": "object", "cls": f"{__name__}.Stranger", "state": {}}))

    bot = await start(trusted=[Stranger])

    assert await bot.hears() == {}
    assert "Stranger" in named()[0]


async def test_an_ordered_dict_is_a_dict(start: Callable[..., Any], database: Any) -> None:
    plant(database.user_data, with_data({"_py": "OrderedDict", "v": {"a": 1}}))

    assert await (await start()).hears() == OrderedDict(a=1)


# -- documents that break while the bot runs ---------------------------------------------------------------


@pytest.fixture
async def bot(start: Callable[..., Any], mode: str) -> Bot:
    """A bot that knows two users, whose data is saved."""
    bot: Bot = await start(refresh=mode)
    for user in (USER, OTHER_USER):
        await bot.hears(lambda context: context.user_data.update(name="Ada", n=1), user=user)
    await bot.saves()
    return bot


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ({"data.x": {"_py": "nonsense", "v": SECRET}}, "data.x"),
        ({"data.name": {"_py": "int", "v": SECRET}}, "data.name"),
        ({"data": [SECRET]}, "data"),
        ({"data": 5}, "data"),
    ],
)
async def test_a_document_broken_while_the_bot_runs_is_quarantined_and_the_bot_goes_on_with_what_it_has(
    bot: Bot, database: Any, named: Callable[[], list[str]], broken: dict[str, Any], path: str
) -> None:
    database.user_data.update_one({"_id": USER}, {"$set": broken})
    await bot.sees(lambda _: bool(named()))
    planted = raw(database.user_data)

    for n in range(2, 5):
        await bot.hears(stores(n=n))
        await bot.hears(stores(n=n), user=OTHER_USER)
        await bot.saves()

    assert bot.application.user_data[USER] == {"name": "Ada", "n": 4}
    (line,) = named()
    assert f"user_data, _id {USER}, at {path}: " in line
    assert raw(database.user_data) == planted
    assert database.user_data.find_one({"_id": OTHER_USER})["data"]["n"] == 4
    assert [type(error) for error in bot.errors] == [QuarantinedError]


async def test_a_document_broken_and_repaired_while_the_bot_runs_is_merged_with_what_the_bot_has_unsaved(
    bot: Bot, database: Any, named: Callable[[], list[str]]
) -> None:
    held = bot.application.user_data[USER]
    database.user_data.update_one({"_id": USER}, {"$set": {"data.x": {"_py": "nonsense"}}})
    await bot.sees(lambda _: bool(named()))
    await bot.hears(lambda context: context.user_data.update(n=2, new=[1]))
    await bot.saves()

    database.user_data.update_one({"_id": USER}, {"$set": {"data.name": "Grace", "data.x": 7}})
    data = await bot.sees(lambda data: "x" in data)

    assert data == {"name": "Grace", "n": 2, "x": 7, "new": [1]}
    assert data is held
    await bot.saves()
    assert database.user_data.find_one({"_id": USER})["data"] == data


async def test_a_save_that_meets_a_document_that_was_just_broken_leaves_it(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: context.user_data.update(inner={"a": 1}))
    await bot.saves()
    await bot.hears(lambda context: context.user_data["inner"].update(a=2))
    database.user_data.update_one({"_id": USER}, {"$set": {"data": 5}})
    planted = raw(database.user_data)

    await bot.saves()

    assert raw(database.user_data) == planted
    assert [type(error) for error in bot.errors] == [QuarantinedError]
    await bot.hears(lambda context: context.user_data["inner"].update(a=3))
    await bot.saves()
    assert len(bot.errors) == 1
    database.user_data.update_one({"_id": USER}, {"$set": {"data": {"name": "Grace", "n": 1, "inner": {"a": 1}}}})
    assert await bot.sees(lambda data: data["name"] == "Grace") == {"name": "Grace", "n": 1, "inner": {"a": 3}}


async def test_dropping_a_user_whose_document_was_broken_while_the_bot_runs_deletes_nothing(
    bot: Bot, database: Any, named: Callable[[], list[str]]
) -> None:
    database.user_data.update_one({"_id": USER}, {"$set": {"data": 5}})
    await bot.sees(lambda _: bool(named()))
    planted = raw(database.user_data)

    bot.application.drop_user_data(USER)
    await bot.saves()
    await bot.hears(lambda context: context.user_data.update(back=True))
    await bot.saves()

    assert raw(database.user_data) == planted
    assert [type(error) for error in bot.errors] == [QuarantinedError]


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_what_was_unsaved_at_the_last_shutdown_waits_alone_until_its_document_is_repaired(
    mongo_persistence: Any, database: Any, mongodb_database: str, tmp_path: Path, named: Callable[[], list[str]]
) -> None:
    planted = plant(database.user_data, BAD["an unknown form"][0])
    base, wanted = (bson.encode({"data": {"n": n}}) for n in (1, 2))
    unsaved = [spill.Spilled("user_data", user, base, wanted, {}) for user in (USER, OTHER_USER)]
    spill.write(tmp_path, mongodb_database, "", "earlier", unsaved)
    database.user_data.insert_one({"_id": OTHER_USER, "data": {"n": 1}})

    for n in (2, 3):  # what the other has become meanwhile is not undone by the second start
        bot = Bot(mongo_persistence(spill_dir=tmp_path))
        async with bot.application:
            assert await bot.hears(user=OTHER_USER) == {"n": n}
            await bot.hears(lambda context: context.user_data.update(n=3), user=OTHER_USER)
    assert raw(database.user_data) == planted
    assert len(files_in(tmp_path)) == 1
    database.user_data.update_one({"_id": USER}, {"$set": {"data": {"n": 1, "name": "Ada"}}})
    bot = Bot(mongo_persistence(spill_dir=tmp_path))
    async with bot.application:
        assert await bot.hears() == {"n": 2, "name": "Ada"}

    assert files_in(tmp_path) == []
    assert len(named()) == 2


# -- the bot's own data ------------------------------------------------------------------------------------


async def test_broken_bot_data_stops_nothing_and_is_reported_once_and_taken_up_when_repaired(
    start: Callable[..., Any], database: Any, named: Callable[[], list[str]], mode: str
) -> None:
    planted = plant(database.bot_data, {"_id": BOT_ID, "data": {"a": {"_py": "int", "v": SECRET}}})
    bot = await start(refresh=mode)

    for n in range(3):
        await bot.hears(stores_for_all(n=n))
        await bot.saves()

    (line,) = named()
    assert f"bot_data, _id {BOT_ID}, at data.a: " in line
    assert raw(database.bot_data, BOT_ID) == planted
    (error,) = bot.errors
    assert isinstance(error, QuarantinedError)
    database.bot_data.update_one({"_id": BOT_ID}, {"$set": {"data.a": 1}})
    await bot.sees(lambda _: "a" in bot.application.bot_data)
    assert bot.application.bot_data == {"n": 2, "a": 1}
    await bot.saves()
    assert database.bot_data.find_one()["data"] == {"n": 2, "a": 1}


# -- conversations -----------------------------------------------------------------------------------------


def conversation(persistence: Any) -> Any:
    """A bot that counts how often somebody has written, in one conversation per user."""

    async def begin(*_: object) -> int:
        return 1

    async def go_on(update: Any, _: object) -> int:
        return ConversationHandler.END if update.message.text == "end" else 2

    handler = ConversationHandler(
        [MessageHandler(filters.TEXT, begin)],
        {1: [MessageHandler(filters.TEXT, go_on)], 2: [MessageHandler(filters.TEXT, go_on)]},
        [],
        name="order",
        persistent=True,
    )
    application = offline_application(persistence, handler)
    errors: list[BaseException] = []

    async def note(_: object, context: Any) -> None:
        errors.append(context.error)

    application.add_error_handler(note)
    return application, errors


CONVERSATION = {"handler": "order", "key": [USER, USER]}
BAD_CONVERSATIONS: dict[str, dict[str, Any] | bytes] = {
    "a state of an unknown form": {"_id": CONVERSATION, **CONVERSATION, "state": {"_py": "nonsense", "v": SECRET}},
    "a bot as its state": {"_id": CONVERSATION, **CONVERSATION, "state": {"_py": "bot"}},
    "no state": {"_id": CONVERSATION, **CONVERSATION, "note": SECRET},
    "garbage in a pickle": {"_id": CONVERSATION, **CONVERSATION, "state": {"_py": "pickle", "v": SECRET.encode()}},
    "another handler than its id says": {"_id": CONVERSATION, "handler": "other", "key": [USER, USER], "state": 1},
    "a handler that is a number": {"_id": CONVERSATION, "handler": 5, "key": [USER, USER], "state": 1},
    "another key than its id says": {"_id": CONVERSATION, "handler": "order", "key": SECRET, "state": 1},
    "no handler and no key": {"_id": CONVERSATION, "state": 1},
    "text that is no UTF-8": bad_utf8({"_id": CONVERSATION, **CONVERSATION, "state": "BROKEN"}),
}


@pytest.mark.parametrize("name", BAD_CONVERSATIONS)
async def test_a_broken_conversation_stops_nothing_and_is_left_alone(
    mongo_persistence: Any, database: Any, named: Callable[[], list[str]], name: str
) -> None:
    document = BAD_CONVERSATIONS[name]
    document_id = document["_id"] if isinstance(document, dict) else CONVERSATION
    collection = database.conversations.with_options(bson.CodecOptions(document_class=RawBSONDocument))
    collection.insert_one(RawBSONDocument(document if isinstance(document, bytes) else bson.encode(document)))
    planted = raw(database.conversations, document_id)
    application, errors = conversation(mongo_persistence())

    async with application:
        for text in ("begin", "go on", "go on", "end", "begin", "end", "begin"):
            await application.process_update(message_from(USER, text))
            await application.process_update(message_from(OTHER_USER, text))
            await application.update_persistence()

    (line,) = named()
    assert f"conversations, _id {CONVERSATION!r}" in line
    assert raw(database.conversations, document_id) == planted
    assert database.conversations.find_one({"key": [OTHER_USER, OTHER_USER]})["state"] == 1
    (error,) = errors
    assert isinstance(error, QuarantinedError)
    assert error.document_id == CONVERSATION


async def test_a_conversation_found_broken_when_its_state_is_saved_is_left_alone_from_then_on(
    mongo_persistence: Any, database: Any, named: Callable[[], list[str]]
) -> None:
    persistence = mongo_persistence()
    offline_application(persistence)
    await persistence.get_conversations("order")
    await persistence.update_conversation("order", (USER, USER), {"a": 1})
    collection = database.conversations.with_options(bson.CodecOptions(document_class=RawBSONDocument))
    planted = bad_utf8({"_id": CONVERSATION, **CONVERSATION, "state": "BROKEN"})
    collection.delete_one({})
    collection.insert_one(RawBSONDocument(planted))

    with pytest.raises(QuarantinedError):
        await persistence.update_conversation("order", (USER, USER), {"a": 2})
    await persistence.update_conversation("order", (USER, USER), {"a": 3})
    await persistence.update_conversation("order", (USER, USER), None)

    with pytest.raises(UnsavedDataError, match="cannot be read"):
        await persistence.flush()
    assert len(named()) == 1
    assert raw(database.conversations, CONVERSATION) == planted


async def test_a_repaired_conversation_is_taken_up_at_the_next_start(mongo_persistence: Any, database: Any) -> None:
    plant(database.conversations, {"_id": CONVERSATION, **CONVERSATION, "state": {"_py": "nonsense"}})
    application, _ = conversation(mongo_persistence())
    async with application:
        await application.process_update(message_from(USER, "begin"))

    database.conversations.update_one({"_id": CONVERSATION}, {"$set": {"state": 2}})
    application, errors = conversation(mongo_persistence())
    async with application:
        await application.process_update(message_from(USER, "end"))

    assert errors == []
    assert database.conversations.count_documents({}) == 0


@pytest.mark.parametrize(
    "strange",
    ["order", 5, {"handler": "order", "key": 5}, {"handler": "order", "key": [None]}, {"handler": "order"}],
    ids=repr,
)
async def test_a_conversation_with_a_strange_id_is_named_once_though_its_handler_is_asked_for_twice(
    mongo_persistence: Any, database: Any, named: Callable[[], list[str]], strange: Any
) -> None:
    planted = plant(database.conversations, {"_id": strange, **CONVERSATION, "state": 1})
    persistence = mongo_persistence()
    offline_application(persistence)

    for _ in range(2):
        assert await persistence.get_conversations("order") == {}

    await persistence.flush()
    assert len(named()) == 1
    assert raw(database.conversations, strange) == planted


async def test_a_key_whose_numbers_are_doubles_is_the_same_key(mongo_persistence: Any, database: Any) -> None:
    doubles = {"handler": "order", "key": [42.0, 42.0]}
    database.conversations.insert_one({"_id": doubles, **doubles, "state": 2})
    application, errors = conversation(mongo_persistence())

    async with application:
        await application.process_update(message_from(USER, "end"))

    assert errors == []
    assert database.conversations.count_documents({}) == 0


# -- the callback data cache -------------------------------------------------------------------------------

KEYBOARD = "k" * 32
GOOD = {"_id": KEYBOARD, "position": 0, "accessed_at": 1.0, "buttons": {"b" * 32: 0}, "objects": ["buy"]}
BAD_KEYBOARDS: dict[str, dict[str, Any] | bytes] = {
    "a button without an object": {**GOOD, "buttons": {"b" * 32: 5}},
    "objects that are no array": {**GOOD, "objects": SECRET},
    "an object of an unknown form": {**GOOD, "objects": [{"_py": "nonsense", "v": SECRET}]},
    "no position": {"_id": KEYBOARD, "note": SECRET},
    "an access time that is text": {**GOOD, "accessed_at": SECRET},
    "a query without a keyboard": {"_id": "query:5", "position": 0, "keyboard": 5},
    "an id that is a number": {**GOOD, "_id": 5},
    "text that is no UTF-8": bad_utf8({**GOOD, "objects": ["BROKEN"]}),
}


@pytest.mark.parametrize("name", BAD_KEYBOARDS)
async def test_a_broken_keyboard_stops_nothing_and_outlives_evictions(
    mongo_persistence: Any, database: Any, named: Callable[[], list[str]], name: str
) -> None:
    document = BAD_KEYBOARDS[name]
    collection = database.callback_data.with_options(bson.CodecOptions(document_class=RawBSONDocument))
    collection.insert_one(RawBSONDocument(document if isinstance(document, bytes) else bson.encode(document)))
    (planted,) = [found.raw for found in collection.find()]
    database.callback_data.insert_one({**GOOD, "_id": "g" * 32})
    application, errors = conversation(mongo_persistence())

    async with application:
        cache = application.bot.callback_data_cache
        assert [uuid for uuid, *_ in cache.persistence_data[0]] == ["g" * 32]
        cache.process_keyboard(InlineKeyboardMarkup.from_button(InlineKeyboardButton("x", callback_data=("new", 1))))
        await application.update_persistence()
        cache.clear_callback_data()
        await application.update_persistence()
        await application.update_persistence()

    assert errors == []
    assert len(named()) == 1
    assert "callback_data, _id " in named()[0]
    assert [found.raw for found in collection.find()] == [planted]


async def test_a_repaired_keyboard_is_taken_up_at_the_next_start(mongo_persistence: Any, database: Any) -> None:
    plant(database.callback_data, BAD_KEYBOARDS["objects that are no array"])
    for objects, expected in ((None, []), (["buy"], [(KEYBOARD, 1.0, {"b" * 32: "buy"})])):
        if objects:
            database.callback_data.update_one({"_id": KEYBOARD}, {"$set": {"objects": objects}})
        persistence = mongo_persistence()
        offline_application(persistence)
        keyboards, _ = await persistence.get_callback_data() or ([], {})
        await persistence.flush()
        assert keyboards == expected


# -- what does stop the start ------------------------------------------------------------------------------


async def test_a_newer_format_stops_the_start_and_bad_documents_beside_it_are_not_even_read(
    mongo_persistence: Any, database: Any, named: Callable[[], list[str]]
) -> None:
    planted = plant(database.user_data, BAD["an unknown form"][0])
    database.ptb_mongo.insert_one({"_id": "format", "version": 2, "bot_id": BOT_ID, "proof": proof(TOKEN, 2)})
    application = offline_application(mongo_persistence())

    with pytest.raises(FormatError, match="pip install -U"):
        await application.initialize()

    assert named() == []
    assert raw(database.user_data) == planted
    assert asyncio.all_tasks() == {asyncio.current_task()}
