"""Documents whose `_id`, or whose `rev`, is a value that no bot writes: nobody else notices that they are there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from bots import Bot, until
from bson.code import Code
from odd_values import NO_IDS, ODD, Raw, plant
from offline import BOT_ID, message_from
from pymongo.errors import DuplicateKeyError
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import ConversationHandler, MessageHandler, filters
from workers import running

from ptb_mongo.errors import DocumentError, QuarantinedError, UnsavedDataError

USER, OTHER = 42, 43
KEYBOARD = {"position": 0, "accessed_at": 1.0, "buttons": {"b" * 32: 0}, "objects": ["buy"]}
IDS = [name for name in ODD if name not in NO_IDS]
DATA = ("user_data", "chat_data", "bot_data")


def documents(odd: Any) -> list[tuple[str, dict[str, Any]]]:
    """A document of every scope in which something of the `_id` is odd."""
    return [
        *((scope, {"_id": odd, "data": {"odd": True}}) for scope in DATA),
        ("callback_data", {"_id": odd, **KEYBOARD}),
        ("conversations", {"_id": odd, "handler": "order", "key": [5], "state": 1}),
        *(
            ("conversations", {"_id": named, **named, "state": 1})
            for named in (
                {"handler": "order", "key": [odd, USER]},
                {"handler": odd, "key": [USER, USER]},
                {"handler": "order", "key": odd},
                {"handler": "order", "key": [USER, USER], "more": odd},
                {"key": [USER, USER], "handler": odd},
            )
        ),
        ("conversations", {"_id": {"handler": "order", "key": [6, 6]}, "handler": odd, "key": [odd], "state": 1}),
    ]


def neighbours(database: Any) -> None:
    """Honest documents of somebody else."""
    for scope in DATA:
        database[scope].insert_one({"_id": BOT_ID if scope == "bot_data" else OTHER, "data": {"name": "Ada"}})
    database.callback_data.insert_one({"_id": "g" * 32, **KEYBOARD, "position": 1})
    conversation = {"handler": "order", "key": [OTHER, OTHER]}
    database.conversations.insert_one({"_id": conversation, **conversation, "state": 2})


def states(held: list[Any]) -> ConversationHandler[Any]:
    """A conversation that notes the states in which it hears something."""

    async def begin(*_: object) -> int:
        held.append(None)
        return 1

    def at(state: int) -> Any:
        async def go_on(*_: object) -> int:
            held.append(state)
            return state % 99 + 1

        return go_on

    steps = {state: [MessageHandler(filters.TEXT, at(state))] for state in range(1, 100)}
    return ConversationHandler([MessageHandler(filters.TEXT, begin)], steps, [], name="order", persistent=True)


class Talking(Bot):
    """A bot with a conversation beside its handler."""

    def __init__(self, persistence: Any) -> None:
        super().__init__(persistence)
        self.states: list[Any] = []
        self.application.add_handler(states(self.states), group=1)


async def serves_the_neighbour(bot: Talking, database: Any, n: int) -> None:
    """The neighbour is refreshed and saved in every scope, and their keyboard and conversation are there."""
    application = bot.application
    for scope in DATA:
        database[scope].update_one({"_id": BOT_ID if scope == "bot_data" else OTHER}, {"$set": {"data.edit": n}})
    await bot.sees(lambda data: data.get("edit") == n, user=OTHER)
    await bot.sees(lambda _: application.chat_data[OTHER].get("edit") == n, user=OTHER)
    await bot.sees(lambda _: application.bot_data.get("edit") == n, user=OTHER)

    def note(context: Any) -> None:
        for data in (context.user_data, context.chat_data, context.bot_data):
            data["n"] = n

    await bot.hears(note, user=OTHER)
    cache = application.bot.callback_data_cache
    cache.process_keyboard(InlineKeyboardMarkup.from_button(InlineKeyboardButton("x", callback_data=("new", n))))
    await bot.saves()
    for scope in DATA:
        stored = database[scope].find_one({"_id": BOT_ID if scope == "bot_data" else OTHER}, {"data": 1})
        assert stored["data"] == {"name": "Ada", "edit": n, "n": n}
    keyboards = [uuid for uuid, *_ in cache.persistence_data[0]]
    assert "g" * 32 in keyboards
    for uuid in keyboards:
        assert database.callback_data.find_one({"_id": uuid}, {"position": 1}) is not None
    state = database.conversations.find_one({"_id": {"handler": "order", "key": [OTHER, OTHER]}}, {"state": 1})
    assert state["state"] == (bot.states[-1] or 0) % 99 + 1
    assert [error for error in bot.errors if not is_of_another(error)] == []


def is_of_another(error: BaseException) -> bool:
    """Whether an error is the trouble of a document that is not the neighbour's."""
    is_own = isinstance(error, DocumentError) and f"_id {OTHER}" not in str(error) and "_id " in str(error)
    return is_own or isinstance(error, QuarantinedError)


@pytest.mark.parametrize("name", IDS)
async def test_an_odd_id_in_any_scope_stops_neither_the_start_nor_anybody_else(
    mongo_persistence: Callable[..., Any], database: Any, name: str
) -> None:
    for scope, document in documents(ODD[name]):
        plant(database[scope], document)
    neighbours(database)

    state = 2
    for n in (1, 2):
        bot = Talking(mongo_persistence(refresh="watch"))
        async with bot.application:
            assert bot.application.user_data[OTHER]["name"] == "Ada"
            await serves_the_neighbour(bot, database, n)
            assert bot.states[0] == state  # it went on where it was
            state = bot.states[-1] % 99 + 1


@pytest.mark.parametrize("name", IDS)
async def test_an_odd_id_that_appears_while_the_bot_runs_stops_nobody(
    mongo_persistence: Callable[..., Any], database: Any, name: str
) -> None:
    neighbours(database)
    bot = Talking(mongo_persistence(refresh="watch"))
    async with bot.application:
        await serves_the_neighbour(bot, database, 1)
        follows = bot.persistence.session._stream
        await until(lambda: follows.is_following)
        batches = follows._batches
        for scope, document in documents(ODD[name]):
            plant(database[scope], document)
        for scope in ("user_data", "chat_data", "bot_data", "conversations", "callback_data"):
            database[scope].delete_many({"data.odd": True})
        await until(lambda: follows._batches > batches + 1 or not follows.is_following)

        assert follows.is_following  # it was not opened anew
        await serves_the_neighbour(bot, database, 2)


@pytest.mark.parametrize("names", [IDS[start::6] for start in range(6)], ids=", ".join)
async def test_workers_are_not_stopped_by_odd_ids(worker: Callable[..., Any], database: Any, names: list[str]) -> None:
    held: list[Any] = []
    bot = worker("stream", [states(held)])
    async with running(bot):
        await bot.application.deliver(message_from(USER, "a"))
        follows = bot.persistence.session._stream
        await until(lambda: follows.is_following)
        for scope, document in (one for name in names for one in documents(ODD[name])):
            with contextlib.suppress(DuplicateKeyError):  # some are the same for several
                plant(database[scope], document)
            database[scope].update_many({}, {"$set": {"touched": 1}})
        await bot.application.deliver(message_from(OTHER, "a"))
        await bot.application.deliver(message_from(USER, "a"))
        batches = follows._batches
        await until(lambda: follows._batches > batches + 2)

        assert follows.is_following
        assert held == [None, None, 1]


@pytest.mark.parametrize("name", [name for name in ODD if name != "null"])
@pytest.mark.parametrize("mode", ["watch", "read"])
async def test_an_odd_rev_is_the_trouble_of_its_document_alone(
    mongo_persistence: Callable[..., Any], database: Any, name: str, mode: str
) -> None:
    neighbours(database)
    odd = ODD[name]
    for scope in ("user_data", "chat_data"):
        plant(database[scope], {"_id": USER, "data": {"name": "Eve"}, "rev": odd, "revs": [odd, "a:1", odd]})
    named = {"handler": "order", "key": [USER, USER]}
    plant(database.conversations, {"_id": named, **named, "state": 1, "rev": odd, "revs": odd})
    plant(database.callback_data, {"_id": "k" * 32, **KEYBOARD, "rev": odd, "revs": odd})
    bot = Talking(mongo_persistence(refresh=mode))
    await bot.application.initialize()
    for n in (1, 2):
        await bot.hears(lambda context, n=n: context.user_data.update(n=n), user=USER)
        bot.states.clear()
        await serves_the_neighbour(bot, database, n)
        for scope in ("user_data", "chat_data"):
            database[scope].delete_one({"_id": USER})
            plant(database[scope], {"_id": USER, "data": {"name": "Eve"}, "rev": odd, "revs": odd})
    try:
        await bot.application.shutdown()
    except UnsavedDataError as error:  # of one that MongoDB does not find by its own value
        assert name == "pointer"
        assert f"_id {OTHER}" not in str(error)  # noqa: PT017


def test_the_table_holds_every_type() -> None:
    kinds = {value.kind for value in ODD.values() if isinstance(value, Raw)}
    assert {0x02, 0x06, 0x0C, 0x0E, 0x13} <= kinds
    assert isinstance(ODD["code"], Code)
