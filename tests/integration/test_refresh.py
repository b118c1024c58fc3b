"""Other services edit while the bot runs: the bot sees it at the next update, and neither side loses a change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from bots import USER, Bot, until
from commands import Commands
from motor.motor_asyncio import AsyncIOMotorClient
from offline import BOT_ID
from pymongo import AsyncMongoClient
from telegram.ext import ContextTypes

from ptb_mongo import MISSING, Conflict, MongoPersistence


@pytest.fixture(params=["motor", "pymongo"])
async def client(request: pytest.FixtureRequest, mongodb_server_uri: str) -> AsyncIterator[Any]:
    made: Any = (AsyncIOMotorClient if request.param == "motor" else AsyncMongoClient)(mongodb_server_uri)
    yield made
    closing = made.close()
    if asyncio.iscoroutine(closing):
        await closing


@pytest.fixture
async def bot(start: Callable[..., Any], mode: str) -> Bot:
    """A bot that knows one user, whose data is saved."""
    bot: Bot = await start(refresh=mode)
    await bot.hears(lambda context: context.user_data.update(name="Ada", prefs={"lang": "en", "tone": "warm"}))
    await bot.saves()
    return bot


def edit(database: Any, **operators: Any) -> None:
    database.user_data.update_one({"_id": USER}, {f"${name}": fields for name, fields in operators.items()})


# -- what others do is seen ------------------------------------------------------------------------------


async def test_a_field_set_by_another_service_is_seen_at_the_next_update(bot: Bot, database: Any) -> None:
    edit(database, set={"data.premium": True})

    data = await bot.sees(lambda data: "premium" in data)

    assert data == {"name": "Ada", "prefs": {"lang": "en", "tone": "warm"}, "premium": True}


async def test_a_nested_field_set_by_another_service_changes_the_very_dict_that_handlers_hold(
    bot: Bot, database: Any
) -> None:
    held = bot.application.user_data[USER]["prefs"]

    edit(database, set={"data.prefs.lang": "uk"})
    await bot.sees(lambda data: data["prefs"]["lang"] == "uk")

    assert held == {"lang": "uk", "tone": "warm"}
    assert bot.application.user_data[USER]["prefs"] is held


async def test_a_field_unset_by_another_service_is_gone(bot: Bot, database: Any) -> None:
    edit(database, unset={"data.prefs.tone": ""})

    data = await bot.sees(lambda data: "tone" not in data["prefs"])

    assert data == {"name": "Ada", "prefs": {"lang": "en"}}


async def test_a_document_inserted_by_another_service_is_seen_at_that_users_first_update(
    bot: Bot, database: Any
) -> None:
    database.user_data.insert_one({"_id": 7, "data": {"invited": True}})

    data = await bot.sees(lambda data: "invited" in data, user=7)

    assert data == {"invited": True}


async def test_a_document_replaced_by_another_service_is_seen_though_it_carries_our_rev(
    bot: Bot, database: Any
) -> None:
    document = database.user_data.find_one({"_id": USER})
    document["data"]["name"] = "Grace"

    database.user_data.replace_one({"_id": USER}, document)
    data = await bot.sees(lambda data: data["name"] == "Grace")

    assert data["prefs"] == {"lang": "en", "tone": "warm"}


async def test_a_document_deleted_by_another_service_empties_the_live_object_in_place(bot: Bot, database: Any) -> None:
    held = bot.application.user_data[USER]

    database.user_data.delete_one({"_id": USER})
    await bot.sees(lambda data: not data)

    assert held == {}
    await bot.saves()
    assert database.user_data.count_documents({"_id": USER}) == 0


async def test_a_document_put_back_by_another_service_is_seen_though_its_rev_is_ours(bot: Bot, database: Any) -> None:
    copy = database.user_data.find_one({"_id": USER})
    await bot.hears(lambda context: context.user_data.update(name="Grace"))
    await bot.saves()

    database.user_data.delete_one({"_id": USER})
    await bot.sees(lambda data: not data)
    database.user_data.insert_one(copy)

    await bot.sees(lambda data: data.get("name") == "Ada")


async def test_a_dropped_collection_empties_the_live_objects(bot: Bot, database: Any) -> None:
    database.user_data.drop()

    await bot.sees(lambda data: not data)


async def test_after_the_database_was_dropped_edits_are_still_seen(bot: Bot, database: Any) -> None:
    database.client.drop_database(database.name)  # which takes nothing out of memory: see test_vanished.py

    database.user_data.insert_one({"_id": USER, "data": {"new": 1}})

    await bot.sees(lambda data: data == {"new": 1})


async def test_chat_data_and_bot_data_are_refreshed_as_well(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: (context.chat_data.update(topic="x"), context.bot_data.update(open=True)))
    await bot.saves()

    database.chat_data.update_one({"_id": USER}, {"$set": {"data.topic": "y"}})
    database.bot_data.update_one({"_id": BOT_ID}, {"$set": {"data.open": False}})

    await bot.sees(lambda _: bot.application.chat_data[USER]["topic"] == "y")
    await bot.sees(lambda _: bot.application.bot_data["open"] is False)


async def test_two_hundred_edits_in_a_burst_are_all_seen(bot: Bot, database: Any) -> None:
    for number in range(200):
        edit(database, set={f"data.edits.n{number}": number})

    data = await bot.sees(lambda data: len(data.get("edits", {})) == 200)

    assert list(data["edits"].values()) == list(range(200))


async def test_an_order_of_keys_changed_by_another_service_is_taken_over(bot: Bot, database: Any) -> None:
    database.user_data.update_one({"_id": USER}, {"$set": {"data": {"prefs": {}, "name": "Ada"}}})

    data = await bot.sees(lambda data: data["prefs"] == {})

    assert list(data) == ["prefs", "name"]


# -- nobody loses ----------------------------------------------------------------------------------------


async def test_an_unsaved_change_of_another_key_survives_in_memory_and_in_the_database(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: context.user_data.update(cart=["x"]))

    edit(database, set={"data.premium": True})
    data = await bot.sees(lambda data: "premium" in data)
    await bot.saves()

    assert data["cart"] == ["x"]
    stored = database.user_data.find_one({"_id": USER})["data"]
    assert (stored["cart"], stored["premium"]) == (["x"], True)


async def test_an_unsaved_change_inside_the_same_nested_dict_survives(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: context.user_data["prefs"].update(tone="dry", size=3))

    edit(database, set={"data.prefs.lang": "uk"}, unset={"data.prefs.nothing": ""})
    data = await bot.sees(lambda data: data["prefs"]["lang"] == "uk")
    await bot.saves()

    assert data["prefs"] == {"lang": "uk", "tone": "dry", "size": 3}
    assert database.user_data.find_one({"_id": USER})["data"]["prefs"] == data["prefs"]


async def test_an_edit_between_the_last_refresh_and_the_save_is_not_overwritten(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: context.user_data["prefs"].update(tone="dry"))

    edit(database, set={"data.prefs.lang": "uk", "data.premium": True})
    await bot.saves()

    stored = database.user_data.find_one({"_id": USER})["data"]
    assert stored["prefs"] == {"lang": "uk", "tone": "dry"}
    assert stored["premium"] is True
    await bot.sees(lambda data: data == stored)


async def test_a_key_removed_by_the_bot_stays_removed_when_others_edit_another(bot: Bot, database: Any) -> None:
    await bot.hears(lambda context: context.user_data["prefs"].pop("tone"))

    edit(database, set={"data.premium": True})
    await bot.sees(lambda data: "premium" in data)
    await bot.saves()

    assert database.user_data.find_one({"_id": USER})["data"] == {
        "name": "Ada",
        "prefs": {"lang": "en"},
        "premium": True,
    }


async def test_a_copy_made_just_before_a_merge_does_not_undo_what_was_merged(
    start: Callable[..., Any], database: Any
) -> None:
    """PTB copies first and calls us a turn of the loop later: what is merged in between is in the base already."""
    database.user_data.insert_one({"_id": USER, "data": {"name": "Ada", "premium": True}})
    bot = await start(loading="lazy")
    live = bot.application.user_data[USER]
    live["counter"] = 1
    await bot.persistence.update_user_data(USER, dict(live))
    await until(lambda: not bot.persistence.session.must_read)

    live["counter"] = 2
    saving = asyncio.get_running_loop().create_task(bot.persistence.update_user_data(USER, dict(live)))
    refreshing = bot.persistence.refresh_user_data(user_id=USER, user_data=live)
    with pytest.raises(StopIteration):
        refreshing.send(None)  # runs through, as nothing has to be read: before the task's first step
    assert live == {"name": "Ada", "premium": True, "counter": 2}
    await saving

    assert database.user_data.find_one({"_id": USER})["data"] == {"name": "Ada", "premium": True, "counter": 2}
    await bot.saves()
    assert database.user_data.find_one({"_id": USER})["data"] == {"name": "Ada", "premium": True, "counter": 2}


async def test_a_change_undone_right_after_it_was_merged_stays_undone(start: Callable[..., Any], database: Any) -> None:
    """A copy made after the merge, within the same turn of the loop, is not taken for one made before."""
    database.user_data.insert_one({"_id": USER, "data": {"a": 0, "b": 0}})
    bot = await start()
    await bot.hears()
    database.user_data.update_one({"_id": USER}, {"$set": {"data.a": 1, "data.b": 1}})
    await bot.sees(lambda data: data["a"] == 1)
    session: Any = bot.persistence.session
    live = bot.application.user_data[USER]
    replica = session.scopes.user_data.replicas[USER]
    database.user_data.update_one({"_id": USER}, {"$set": {"data.a": 2, "data.b": 2}})
    await until(lambda: replica.is_stale)
    await session.reader.read({session.scopes.user_data: [replica]})

    refreshing = bot.persistence.refresh_user_data(user_id=USER, user_data=live)
    with pytest.raises(StopIteration):
        refreshing.send(None)
    assert live == {"a": 2, "b": 2}
    live["a"] = 1  # what it was before the merge
    await bot.persistence.update_user_data(USER, dict(live))

    assert database.user_data.find_one({"_id": USER})["data"] == {"a": 1, "b": 2}


# -- conflicts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_conflict", "winner"), [("local", "bot"), ("remote", "service")])
async def test_a_key_that_both_changed_goes_to_the_side_that_was_chosen(
    start: Callable[..., Any], database: Any, mode: str, on_conflict: str, winner: str
) -> None:
    bot = await start(refresh=mode, on_conflict=on_conflict)
    await bot.hears(lambda context: context.user_data.update(a=0, b=0, c=0))
    await bot.saves()

    await bot.hears(lambda context: context.user_data.update(a="bot", b="bot"))
    edit(database, set={"data.a": "service", "data.c": "service"})
    data = await bot.sees(lambda data: data["c"] == "service")
    await bot.saves()

    assert data == {"a": winner, "b": "bot", "c": "service"}
    assert database.user_data.find_one({"_id": USER})["data"] == data


async def test_a_callable_decides_each_conflict_with_the_three_values(
    start: Callable[..., Any], database: Any, mode: str
) -> None:
    seen: list[Conflict] = []

    def add_up(conflict: Conflict) -> Any:
        seen.append(conflict)
        return conflict.local + conflict.remote - conflict.base

    bot = await start(refresh=mode, on_conflict=add_up)
    await bot.hears(lambda context: context.user_data.update(wallet={"coins": 10, "gems": 1}))
    await bot.saves()

    await bot.hears(lambda context: context.user_data["wallet"].update(coins=15, gems=2))
    edit(database, inc={"data.wallet.coins": 100})
    data = await bot.sees(lambda data: data["wallet"]["coins"] > 100)
    await bot.saves()

    assert data == {"wallet": {"coins": 115, "gems": 2}}
    assert database.user_data.find_one({"_id": USER})["data"] == data
    assert seen == [Conflict("user_data", USER, ("wallet", "coins"), base=10, local=15, remote=110)]


async def test_a_conflict_with_a_removal_has_missing_in_its_place(start: Callable[..., Any], database: Any) -> None:
    seen: list[Conflict] = []

    def decide(conflict: Conflict) -> Any:
        seen.append(conflict)
        return MISSING

    bot = await start(on_conflict=decide)
    await bot.hears(lambda context: context.user_data.update(a=1, b=1))
    await bot.saves()

    await bot.hears(lambda context: context.user_data.pop("a"))
    edit(database, set={"data.a": 2, "data.b": 2})
    data = await bot.sees(lambda data: data["b"] == 2)

    assert data == {"b": 2}
    assert seen[0].local is MISSING


async def test_a_callable_that_fails_costs_no_update(
    start: Callable[..., Any], database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Conflict) -> Any:
        raise ZeroDivisionError

    bot = await start(on_conflict=fail)
    await bot.hears(lambda context: context.user_data.update(a=0, b=0))
    await bot.saves()

    await bot.hears(lambda context: context.user_data.update(a="bot"))
    edit(database, set={"data.a": "service", "data.b": "service"})
    data = await bot.sees(lambda data: data["b"] == "service")

    assert data["a"] == "bot"
    assert "on_conflict failed" in caplog.text


# -- other types than dict -------------------------------------------------------------------------------


@dataclass
class Profile:
    name: str = ""
    tags: dict[str, int] = field(default_factory=dict)
    note: str = "-"


class Slotted:
    __slots__ = ("name", "note", "tags")

    def __init__(self) -> None:
        self.name = ""
        self.tags: dict[str, int] = {}
        self.note = "-"


class Plain:
    def __init__(self) -> None:
        self.name = ""
        self.tags: dict[str, int] = {}
        self.note = "-"


@pytest.mark.parametrize("kind", [Profile, Slotted, Plain])
async def test_objects_of_context_types_are_merged_in_place(
    start: Callable[..., Any], database: Any, mode: str, kind: Any
) -> None:
    bot = await start(ContextTypes(user_data=kind), refresh=mode)
    live = await bot.hears(lambda context: setattr(context.user_data, "name", "Ada"))
    tags = live.tags
    await bot.saves()

    await bot.hears(lambda context: setattr(context.user_data, "note", "unsaved"))
    edit(database, set={"data.state.tags.vip": 1, "data.state.name": "Grace"})
    data = await bot.sees(lambda data: data.name == "Grace")
    await bot.saves()

    assert data is live
    assert data.tags is tags
    assert (data.tags, data.note) == ({"vip": 1}, "unsaved")
    stored = database.user_data.find_one({"_id": USER})["data"]["state"]
    assert stored == {"name": "Grace", "tags": {"vip": 1}, "note": "unsaved"}


async def test_an_object_inside_a_dict_keeps_its_identity(start: Callable[..., Any], database: Any) -> None:
    bot = await start(trusted=[Profile])
    await bot.hears(lambda context: context.user_data.update(profile=Profile("Ada")))
    await bot.saves()
    held = bot.application.user_data[USER]["profile"]

    edit(database, set={"data.profile.state.name": "Grace"})
    await bot.sees(lambda data: data["profile"].name == "Grace")

    assert held.name == "Grace"


async def test_an_order_of_attributes_changed_by_another_service_is_taken_over_and_not_written_back(
    start: Callable[..., Any], database: Any, mode: str
) -> None:
    bot = await start(trusted=[Profile], refresh=mode)
    await bot.hears(lambda context: context.user_data.update(profile=Profile("Ada")))
    await bot.saves()

    edit(database, unset={"data.profile.state.name": ""})
    edit(database, set={"data.profile.state.name": "Grace"})
    await bot.sees(lambda data: getattr(data["profile"], "name", None) == "Grace")
    before = database.user_data.find_one({"_id": USER})
    await bot.saves()

    assert [*before["data"]["profile"]["state"]] == ["tags", "note", "name"]
    assert database.user_data.find_one({"_id": USER}) == before


# -- what it costs ---------------------------------------------------------------------------------------


class Counted(Commands):
    """Counts the commands that a client sends."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.events = 0

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        if event.command_name in {"getMore", "aggregate"}:
            self.events += len(event.reply["cursor"].get("nextBatch", event.reply["cursor"].get("firstBatch", ())))


async def test_untouched_users_cost_no_read_and_no_event_though_the_bot_saves(
    mongodb_server_uri: str, mongodb_database: str, database: Any
) -> None:
    database.user_data.insert_many({"_id": number, "data": {"n": 0}} for number in range(1000))
    commands = Counted()
    client: Any = AsyncMongoClient(mongodb_server_uri, event_listeners=[commands])
    bot = Bot(MongoPersistence(client, mongodb_database))
    async with bot.application:
        await bot.hears(lambda context: context.chat_data.update(n=0), user=5)
        await bot.saves()  # makes a document, whose event is looked at; after it comes another service's
        database.user_data.update_one({"_id": 5}, {"$set": {"data.n": -1}})
        await bot.sees(lambda data: data["n"] == -1, user=5)
        commands.names.clear()
        commands.events = 0

        for number in range(1000):
            await bot.hears(lambda context: context.user_data.update(n=1), user=number)
        await bot.saves()
        for number in range(1000):
            await bot.hears(user=number)
        # An event of another service comes after everything that came before: then all has been heard.
        edit_by_others = {"$set": {"data.n": 2}}
        database.user_data.update_one({"_id": 5}, edit_by_others)
        await bot.sees(lambda data: data["n"] == 2, user=5)

        assert commands.names.count("find") == 1  # of that one edit
        assert commands.events == 1
        assert database.user_data.count_documents({"data.n": 1}) == 999
    await client.close()
