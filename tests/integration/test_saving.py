"""What is written to the server: only changes, together in few commands, and each document independently."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime as dtm
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson import Int64, Regex
from commands import Commands
from offline import BOT_ID, message_from, offline_application
from pymongo import AsyncMongoClient, MongoClient
from telegram.ext import ContextTypes

from ptb_mongo import DocumentError, EncodeError, MongoPersistence, UnsavedDataError

MODES = ["off", "read", "watch"]


@dataclass
class Profile:
    name: str = ""
    score: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


class Writes(Commands):
    """The write commands that go over the wire."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def started(self, event: Any) -> None:
        of_data = event.command.get(event.command_name) != "ptb_mongo"  # which says that the bot is running
        if of_data and event.command_name in {"insert", "update", "delete", "findAndModify", "bulkWrite"}:
            self.commands.append(copy.deepcopy(dict(event.command)))

    def to(self, collection: str) -> list[Any]:
        return [command for command in self.commands if collection in command.values()]


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
async def client(mongodb_server_uri: str, writes: Writes) -> AsyncIterator[Any]:
    async with AsyncMongoClient(mongodb_server_uri, event_listeners=[writes]) as made:
        yield made


@pytest.fixture
def make(client: Any, mongodb_database: str, writes: Writes) -> Callable[..., Any]:
    """Starts a bot's persistence on a client that counts; what the start itself writes does not count."""

    @contextlib.asynccontextmanager
    async def started(**options: Any) -> AsyncIterator[Any]:
        persistence = MongoPersistence(client, mongodb_database, **{"refresh": "off", **options})
        offline_application(persistence)
        persistence.loaded = await persistence.get_user_data()
        await persistence.get_chat_data()
        persistence.loaded_bot_data = await persistence.get_bot_data()
        await persistence.get_callback_data()
        writes.commands.clear()
        try:
            yield persistence
        finally:
            with contextlib.suppress(UnsavedDataError):  # names what tests have made unstorable on purpose
                await persistence.flush()

    return started


@pytest.fixture
async def persistence(make: Callable[..., Any]) -> AsyncIterator[Any]:
    async with make() as started:
        yield started


@pytest.fixture
def other(mongodb_server_uri: str, mongodb_database: str) -> Iterator[Any]:
    """Another service, and the eyes of the tests."""
    with MongoClient(mongodb_server_uri, tz_aware=True) as made:
        yield made[mongodb_database]


# -- how much is written -------------------------------------------------------------------------------------

CACHE = ([("k" * 32, 1700000000.5, {"b" * 32: ("buy", 1)})], {"1": "k" * 32})


async def save_some_of_everything(persistence: Any) -> None:
    data = {"name": "Ada", "tags": {"a", "b"}, "message": message_from(1).message, 5: (1, 2.0)}
    await asyncio.gather(
        persistence.update_user_data(1, copy.deepcopy(data)),
        persistence.update_chat_data(-1, copy.deepcopy(data)),
        persistence.update_bot_data(copy.deepcopy(data)),
        persistence.update_callback_data(copy.deepcopy(CACHE)),
        persistence.update_conversation("order", (1, 1), (1, "x")),
    )


async def test_nothing_changed_means_nothing_written(persistence, writes):
    await save_some_of_everything(persistence)
    assert len(writes.commands) == 5
    writes.commands.clear()

    await save_some_of_everything(persistence)

    assert writes.commands == []


async def test_nothing_changed_since_the_last_run_means_nothing_written(make, writes):
    async with make() as persistence:
        await save_some_of_everything(persistence)

    async with make() as persistence:
        await persistence.get_conversations("order")
        await save_some_of_everything(persistence)

    assert writes.commands == []


@pytest.mark.parametrize("mode", MODES)
async def test_refreshing_writes_nothing(make, writes, mode):
    async with make() as persistence:
        await save_some_of_everything(persistence)

    async with make(refresh=mode) as persistence:
        await persistence.refresh_bot_data(persistence.loaded_bot_data)
        await persistence.refresh_user_data(user_id=1, user_data=persistence.loaded[1])
        await persistence.update_user_data(1, copy.deepcopy(persistence.loaded[1]))

    assert writes.commands == []


async def test_hundreds_of_gathered_saves_are_one_command_for_each_collection(persistence, writes, other):
    await asyncio.gather(
        *(persistence.update_user_data(n, {"n": n}) for n in range(400)),
        *(persistence.update_chat_data(-n, {"n": n}) for n in range(400)),
        *(persistence.update_conversation("order", (n, n), n) for n in range(400)),
    )

    assert {collection: len(writes.to(collection)) for collection in ("user_data", "chat_data", "conversations")} == {
        "user_data": 1,
        "chat_data": 1,
        "conversations": 1,
    }
    assert other.user_data.count_documents({}) == 400
    assert other.conversations.count_documents({}) == 400


async def test_thousands_of_saves_are_one_command_for_each_five_hundred(persistence, writes, other):
    await asyncio.gather(*(persistence.update_user_data(n, {"n": n}) for n in range(2500)))

    assert sorted(len(command["updates"]) for command in writes.to("user_data")) == [500] * 5
    assert other.user_data.count_documents({}) == 2500


async def test_gathered_drops_are_one_command(persistence, writes, other):
    await asyncio.gather(*(persistence.update_user_data(n, {"n": n}) for n in range(300)))
    writes.commands.clear()

    await asyncio.gather(*(persistence.drop_user_data(n) for n in range(300)))

    assert [len(command["deletes"]) for command in writes.to("user_data")] == [300]
    assert other.user_data.count_documents({}) == 0


async def test_a_user_without_data_gets_no_document(persistence, writes):
    await persistence.update_user_data(1, {})
    await persistence.update_chat_data(1, {})
    await persistence.update_bot_data({})
    await persistence.update_callback_data(([], {}))

    assert writes.commands == []


async def test_a_user_whose_data_has_become_empty_keeps_an_empty_document(persistence, other):
    await persistence.update_user_data(1, {"a": 1})

    await persistence.update_user_data(1, {})

    assert other.user_data.find_one({"_id": 1})["data"] == {}


# -- field by field ------------------------------------------------------------------------------------------


def sent(writes: Writes, collection: str = "user_data") -> Any:
    """The one update that was sent, without what every update has."""
    ((update,),) = (command["updates"] for command in writes.to(collection))
    changes = copy.deepcopy(update["u"])
    assert changes["$set"].pop("rev")
    changes["$set"].pop("revs", None)
    assert changes.pop("$currentDate") == {"updated_at": True}
    return changes


async def test_only_the_changed_paths_are_sent(persistence, writes):
    await persistence.update_user_data(1, {"name": "Ada", "cart": {"tea": 1, "milk": 1}, "list": [1], "old": 1})
    writes.commands.clear()

    await persistence.update_user_data(1, {"name": "Ada", "cart": {"tea": 2, "milk": 1}, "list": [1, 2], "new": 1})

    assert sent(writes) == {
        "$set": {"data.cart.tea": 2, "data.list": [1, 2], "data.new": 1},
        "$unset": {"data.old": ""},
    }


async def test_only_the_changed_attributes_of_a_dataclass_are_sent(make, writes):
    async with make(context_types=ContextTypes(user_data=Profile)) as persistence:
        await persistence.update_user_data(1, Profile("Ada", 1, {"sound": True, "theme": "dark"}))
        writes.commands.clear()

        await persistence.update_user_data(1, Profile("Ada", 2, {"sound": False, "theme": "dark"}))

        assert sent(writes) == {"$set": {"data.state.score": 2, "data.state.settings.sound": False}}


async def test_only_the_changed_parts_of_a_conversation_are_sent(persistence, writes):
    await persistence.update_conversation("order", (1, 1), {"step": 1, "cart": ["tea"]})
    writes.commands.clear()

    await persistence.update_conversation("order", (1, 1), {"step": 2, "cart": ["tea"]})

    # With the fields that never change, in case that somebody has deleted the document meanwhile.
    assert sent(writes, "conversations") == {"$set": {"state.step": 2, "handler": "order", "key": [1, 1]}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("changed", "edit", "expected"),
    [
        pytest.param(
            {"score": 2, "cart": {"tea": 1}},
            {"$set": {"data.premium": True}},
            {"score": 2, "cart": {"tea": 1}, "premium": True},
            id="another key",
        ),
        pytest.param(
            {"score": 1, "cart": {"tea": 5}},
            {"$set": {"data.cart.milk": 1}},
            {"score": 1, "cart": {"tea": 5, "milk": 1}},
            id="another key of a nested dict",
        ),
        pytest.param(
            {"score": 1, "cart": {"tea": 1, "water": 1, "juice": 1}},
            {"$set": {"data.cart.milk": 1}},
            {"score": 1, "cart": {"tea": 1, "milk": 1, "water": 1, "juice": 1}},
            id="another key beside several new ones",
        ),
        pytest.param(
            {"cart": {"tea": 1}, "score": 1},
            {"$set": {"data.premium": True, "data.cart.milk": 1}},
            {"score": 1, "cart": {"tea": 1, "milk": 1}, "premium": True},
            id="another key, while ours are put into another order",
        ),
        pytest.param({"score": 2, "cart": {"tea": 1}}, {"$unset": {"data.cart": ""}}, {"score": 2}, id="a deletion"),
        pytest.param({"score": 2, "cart": {"tea": 1}}, {"$set": {"note": "x"}}, {"score": 2, "cart": {"tea": 1}}),
    ],
)
async def test_an_edit_by_another_service_survives_a_save(make, other, mode, changed, edit, expected):
    async with make(refresh=mode) as persistence:
        await persistence.update_user_data(1, {"score": 1, "cart": {"tea": 1}})
        other.user_data.update_one({"_id": 1}, edit)

        await persistence.update_user_data(1, changed)

    stored = other.user_data.find_one({"_id": 1})
    assert stored["data"] == expected
    assert stored.get("note") == edit["$set"].get("note") if "$set" in edit else True


@pytest.mark.parametrize("mode", MODES)
async def test_an_edit_of_a_dataclass_by_another_service_survives_a_save(make, other, mode):
    async with make(refresh=mode, context_types=ContextTypes(user_data=Profile)) as persistence:
        await persistence.update_user_data(1, Profile("Ada", 1))
        other.user_data.update_one({"_id": 1}, {"$set": {"data.state.name": "Grace", "data.state.settings.a": 1}})

        await persistence.update_user_data(1, Profile("Ada", 2))

    stored = other.user_data.find_one({"_id": 1})
    assert stored["data"]["state"] == {"name": "Grace", "score": 2, "settings": {"a": 1}}


async def test_the_server_keeps_the_order_of_keys(persistence, other):
    await persistence.update_user_data(1, {"zoo": 1, "apple": {"y": 1, "b": 2}, "10": 1, "9": 1})
    await persistence.update_user_data(
        1, {"zoo": 1, "apple": {"y": 1, "b": 2, "x": 3, "a": 4}, "10": 1, "9": 1, "b": 1}
    )

    data = other.user_data.find_one({"_id": 1})["data"]
    assert list(data) == ["zoo", "apple", "10", "9", "b"]
    assert list(data["apple"]) == ["y", "b", "x", "a"]


async def test_a_new_order_of_keys_reaches_the_server(persistence, other):
    await persistence.update_user_data(1, {"a": 1, "b": {"x": 1, "y": 2}, "c": 3})
    await persistence.update_user_data(1, {"c": 3, "b": {"y": 2, "x": 1}, "a": 1})

    data = other.user_data.find_one({"_id": 1})["data"]
    assert list(data) == ["c", "b", "a"]
    assert list(data["b"]) == ["y", "x"]


async def test_each_write_says_when_and_by_whom(persistence, other):
    await persistence.update_user_data(1, {"a": 1})
    first = other.user_data.find_one({"_id": 1})
    await persistence.update_user_data(1, {"a": 1, "z": 2, "b": 3})
    second = other.user_data.find_one({"_id": 1})

    assert first["rev"] != second["rev"]
    assert first["rev"].partition(":")[0] == second["rev"].partition(":")[0]
    assert dtm.datetime.now(dtm.timezone.utc) - first["updated_at"] < dtm.timedelta(minutes=1)
    assert second["updated_at"] >= first["updated_at"]


# -- what others have turned into something else -------------------------------------------------------------


@pytest.mark.parametrize("theirs", [5, "text", True, None, [1, 2], [{"tea": 1}], []], ids=repr)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"tea": 1}, {"tea": 2}, id="one change"),
        pytest.param({"tea": 1}, {"tea": 1, "water": 1, "juice": 1}, id="new keys in their order"),
        pytest.param({"tea": 1, "milk": 1}, {"milk": 1, "tea": 1}, id="keys in a new order"),
        pytest.param({"0": 1}, {"0": 2}, id="a number as a key"),
        pytest.param({"0": 1, "1": 1}, {"1": 1}, id="a number as a key deleted"),
        pytest.param({"tea": {"x": 1}}, {"tea": {"x": 2}}, id="a change further inside"),
        pytest.param({}, {"0": {"1": 2}}, id="a new number as a key"),
    ],
)
async def test_what_stands_in_the_way_of_a_change_is_merged_not_corrupted(persistence, other, before, after, theirs):
    await persistence.update_user_data(1, {"cart": before, "name": "Ada"})
    other.user_data.update_one({"_id": 1}, {"$set": {"data.cart": theirs, "data.premium": True}})

    await persistence.update_user_data(1, {"cart": after, "name": "Ada"})

    # The bot's value wins where both have changed the same, as `on_conflict` says; the rest is theirs.
    data = other.user_data.find_one({"_id": 1})["data"]
    assert data == {"cart": after, "name": "Ada", "premium": True}
    assert list(data["cart"]) == list(after)


@pytest.mark.parametrize("theirs", [5, [1, 2], None], ids=repr)
async def test_on_conflict_decides_what_becomes_of_a_change_whose_way_is_blocked(make, other, theirs):
    async with make(on_conflict="remote") as persistence:
        await persistence.update_user_data(1, {"cart": {"tea": 1}, "score": 1})
        other.user_data.update_one({"_id": 1}, {"$set": {"data.cart": theirs}})

        await persistence.update_user_data(1, {"cart": {"tea": 2}, "score": 2})

    assert other.user_data.find_one({"_id": 1})["data"] == {"cart": theirs, "score": 2}


async def test_one_blocked_document_does_not_hold_up_the_others(persistence, other):
    await asyncio.gather(*(persistence.update_user_data(n, {"cart": {"tea": 1}}) for n in range(50)))
    other.user_data.update_one({"_id": 7}, {"$set": {"data.cart": 5}})

    await asyncio.gather(*(persistence.update_user_data(n, {"cart": {"tea": 2}}) for n in range(50)))

    assert other.user_data.count_documents({"data.cart.tea": 2}) == 50


# -- keys ----------------------------------------------------------------------------------------------------

HOSTILE = ["a.b", "$set", "", "0", "1.5", "%", "%24", "_py", "data", "rev", "_id", "$", "a.$", "$[]", "é", "\x00", " "]


async def test_hundreds_of_keys_of_any_kind_are_saved_and_changed_each_for_itself(make, other):
    data: dict[Any, Any] = dict.fromkeys((*HOSTILE, *range(-100, 200), *(f"k{n}" for n in range(200)), None, True), 0)
    async with make() as persistence:
        await persistence.update_user_data(1, {"top": dict(data), **data})
        other.user_data.update_one({"_id": 1}, {"$set": {"data.theirs": 1, "data.top.theirs": 1}})

        for key in data:
            data[key] = 1
        await persistence.update_user_data(1, {"top": dict(data), **data})

    async with make() as persistence:
        assert persistence.loaded[1] == {"top": {**data, "theirs": 1}, **data, "theirs": 1}


async def test_a_key_never_addresses_another_field(persistence, other):
    await persistence.update_user_data(1, {"a": {"b": 1}, "a.b": 1, "rev": 1, "$unset": {"a": 1}})

    await persistence.update_user_data(1, {"a": {"b": 1}, "a.b": 2, "rev": 2, "$unset": {"a": 2}})

    stored = other.user_data.find_one({"_id": 1})
    assert stored["data"] == {"a": {"b": 1}, "a%2Eb": 2, "rev": 2, "%24unset": {"a": 2}}
    assert ":" in stored["rev"]


async def test_keys_that_others_have_written_unescaped_are_read_and_saved(make, other):
    other.user_data.insert_one({"_id": 1, "data": {"a.b": 1, "in": {"$x": 1, "y": 1}, "name": "Ada"}})

    async with make() as persistence:
        assert persistence.loaded[1] == {"a.b": 1, "in": {"$x": 1, "y": 1}, "name": "Ada"}
        await persistence.update_user_data(1, {"a.b": 2, "in": {"$x": 2, "y": 1}, "name": "Ada"})

    async with make() as persistence:
        assert persistence.loaded[1] == {"a.b": 2, "in": {"$x": 2, "y": 1}, "name": "Ada"}


# -- what others have written in a form of their own ---------------------------------------------------------


@pytest.fixture
async def edited_by_others(make, other) -> None:
    async with make() as persistence:
        await persistence.update_user_data(1, {"name": "Ada", "message": message_from(1, "hello").message})
    foreign = {"n": Int64(5), "re": Regex("^a", "i"), "message.view.text": "edited", "tree": {}, "half": 1.0}
    other.user_data.update_one({"_id": 1}, {"$set": {f"data.{path}": value for path, value in foreign.items()}})


@pytest.mark.usefixtures("edited_by_others")
async def test_what_others_have_written_in_a_form_of_their_own_is_no_change(make, writes):
    async with make() as persistence:
        await persistence.update_user_data(1, copy.deepcopy(persistence.loaded[1]))

    assert writes.commands == []


@pytest.mark.usefixtures("edited_by_others")
async def test_what_others_have_written_in_a_form_of_their_own_outlives_another_change(make, writes, other):
    async with make() as persistence:
        await persistence.update_user_data(1, {**copy.deepcopy(persistence.loaded[1]), "name": "Grace"})

    assert sent(writes) == {"$set": {"data.name": "Grace"}}
    assert other.user_data.count_documents({"data.n": {"$type": "long"}, "data.re": {"$type": "regex"}}) == 1
    assert other.user_data.find_one({"_id": 1})["data"]["message"]["view"]["text"] == "edited"


# -- documents that cannot be saved --------------------------------------------------------------------------

TOO_LARGE = "x" * (17 * 1024 * 1024)


async def errors_of(*saves: Any) -> list[Any]:
    return [error for error in await asyncio.gather(*saves, return_exceptions=True) if error is not None]


async def test_a_document_that_is_too_large_fails_alone(persistence, other):
    (error,) = await errors_of(
        persistence.update_user_data(1, {"n": 1}),
        persistence.update_user_data(2, {"text": TOO_LARGE}),
        persistence.update_user_data(3, {"n": 3}),
    )

    assert isinstance(error, DocumentError)
    assert (error.collection, error.document_id) == ("user_data", 2)
    assert "16,777,216" in error.reason
    assert str(error).startswith("user_data, _id 2")
    assert len(str(error)) < 500
    assert [document["_id"] for document in other.user_data.find()] == [1, 3]


async def test_a_document_that_others_have_filled_up_fails_alone(persistence, other):
    await asyncio.gather(*(persistence.update_user_data(n, {"n": 1}) for n in range(3)))
    other.user_data.update_one({"_id": 1}, {"$set": {"data.theirs": "x" * (10 * 1024 * 1024)}})

    (error,) = await errors_of(
        *(persistence.update_user_data(n, {"n": 2, **({"ours": "y" * 8_000_000} if n == 1 else {})}) for n in range(3))
    )

    assert isinstance(error, DocumentError)
    assert (error.collection, error.document_id) == ("user_data", 1)
    assert "larger" in error.reason.lower() or "size" in error.reason.lower()
    assert {document["_id"]: document["data"]["n"] for document in other.user_data.find()} == {0: 2, 1: 2, 2: 2}
    assert "ours" not in other.user_data.find_one({"_id": 1})["data"]


async def test_a_document_that_a_validator_refuses_fails_alone(make, other):
    other.create_collection("chat_data", validator={"data.score": {"$not": {"$gte": 100}}})
    async with make() as persistence:
        (error,) = await errors_of(*(persistence.update_chat_data(n, {"score": n}) for n in (98, 99, 100)))

    assert isinstance(error, DocumentError)
    assert (error.collection, error.document_id) == ("chat_data", 100)
    assert "validation" in error.reason
    assert sorted(document["_id"] for document in other.chat_data.find()) == [98, 99]


async def test_a_value_that_cannot_be_stored_fails_alone_and_is_named_with_its_path(persistence, other):
    (error,) = await errors_of(
        persistence.update_user_data(1, {"n": 1}),
        persistence.update_user_data(2, {"jobs": [{"call": print, "a.b": 1}]}),
    )

    assert isinstance(error, EncodeError)
    assert (error.collection, error.document_id, error.path) == ("user_data", 2, "data.jobs.0.call")
    assert "print" in error.reason or "function" in error.reason
    assert [document["_id"] for document in other.user_data.find()] == [1]


async def test_a_state_that_cannot_be_stored_fails_alone_and_is_named_with_its_path(persistence, other):
    (error,) = await errors_of(
        persistence.update_conversation("order", (1, 1), {"call": print}),
        persistence.update_conversation("order", (2, 2), 2),
    )

    assert isinstance(error, EncodeError)
    assert (error.collection, error.path) == ("conversations", "state.call")
    assert error.document_id == {"handler": "order", "key": [1, 1]}
    assert [document["key"] for document in other.conversations.find()] == [[2, 2]]


async def test_a_keyboard_that_cannot_be_stored_fails_alone(make, other):
    keyboards = [("a" * 32, 1.0, {"b" * 32: "fine", "c" * 32: [print]}), ("d" * 32, 2.0, {"e" * 32: "fine"})]

    async with make() as persistence:
        (error,) = await errors_of(persistence.update_callback_data((keyboards, {})))

    assert isinstance(error, EncodeError)
    assert (error.collection, error.document_id, error.path) == ("callback_data", "a" * 32, "objects.1.0")
    assert [document["_id"] for document in other.callback_data.find()] == ["d" * 32]


@pytest.mark.parametrize("bad", [{"call": print}, {"text": TOO_LARGE}], ids=["unencodable", "too large"])
async def test_the_same_error_is_raised_once_for_the_same_content(persistence, bad):
    with pytest.raises(DocumentError):
        await persistence.update_bot_data(bad)

    await persistence.update_bot_data(bad)  # PTB offers it again at each interval


async def test_what_a_validator_refuses_is_reported_once_and_not_sent_again(make, other, writes):
    other.create_collection("bot_data", validator={"data.score": {"$not": {"$gte": 100}}})
    async with make() as persistence:
        with pytest.raises(DocumentError, match=str(BOT_ID)):
            await persistence.update_bot_data({"score": 100})
        writes.commands.clear()

        await persistence.update_bot_data({"score": 100})

        assert writes.commands == []


async def test_a_document_is_saved_when_what_was_wrong_with_it_is_fixed(persistence, other):
    await persistence.update_user_data(1, {"a": 1, "b": 1})
    for bad in ({"a": 2, "b": print}, {"a": 3, "b": TOO_LARGE}):
        with pytest.raises(DocumentError):
            await persistence.update_user_data(1, bad)
    assert other.user_data.find_one({"_id": 1})["data"] == {"a": 2, "b": 1}

    await persistence.update_user_data(1, {"a": 4})

    assert other.user_data.find_one({"_id": 1})["data"] == {"a": 4}


async def test_a_different_error_of_the_same_document_is_raised_too(persistence):
    with pytest.raises(EncodeError, match="first"):
        await persistence.update_bot_data({"first": print})
    with pytest.raises(EncodeError, match="second"):
        await persistence.update_bot_data({"second": print})
