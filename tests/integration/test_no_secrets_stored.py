"""No stored byte contains a token or a pickled `Bot`, whatever a bot has put into its data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from offline import TOKEN, message_from, offline_application
from pymongo import MongoClient
from telegram import (
    Bot,
    CallbackQuery,
    ChatMemberOwner,
    File,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Update,
    User,
)
from telegram.ext import MessageHandler, filters

from ptb_mongo.errors import DocumentError, UnsavedDataError

FOREIGN_TOKEN = "654321:ANOTHER-secret"


@dataclass
class Order:
    placed_with: Any


def what_knows_the_bot(update: Update, bot: Any) -> dict[str, Any]:
    ada = User(7, "Ada", is_bot=False)
    query = CallbackQuery("5", ada, "chat", message=update.message, data="buy")
    member = ChatMemberOwner(ada, is_anonymous=False)
    file = File("F", "U", file_path=f"https://api.telegram.org/file/bot{TOKEN}/photos/1.jpg")
    for each in (update, update.message, query, member, ada):
        each.set_bot(bot)
    return {
        "message": update.message,
        "query": query,
        "update": update,
        "member": member,
        "me": bot.bot,
        "in containers": [(query, update.message), {update.message}, frozenset({query}), {query: update.message}],
        "in an object": Order(update.message),
        "file": file,
        "files": [(file, 1), Order(file), InlineKeyboardButton("x", callback_data=(file, {"file": file}))],
    }


async def remember(update: Update, context: Any) -> None:
    """Stores everything that knows the bot, in every kind of data."""
    data = what_knows_the_bot(update, context.bot)
    context.user_data.update(data)
    context.chat_data.update(data)
    context.bot_data.update(data)
    buttons = [InlineKeyboardButton("Buy", callback_data=part) for part in (update.message, data)]
    await context.bot.send_message(7, "Buy?", reply_markup=InlineKeyboardMarkup.from_row(buttons))


@pytest.fixture
def application(mongo_persistence: Callable[..., Any]) -> Any:
    return offline_application(mongo_persistence(trusted=[Order]), MessageHandler(filters.TEXT, remember))


@pytest.fixture
async def stored(application: Any, mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[dict[str, bytes]]:
    """Every byte that is stored, by collection."""
    async with application:
        await application.process_update(message_from(7))
        asked = application.user_data[7]
        inside = [(asked["query"],), {asked["member"]}, asked["in an object"]]
        await application.persistence.update_conversation("order", (7, 7), {"with": asked["query"], "in": inside})
    with MongoClient(mongodb_server_uri, document_class=RawBSONDocument) as client:
        database = client[mongodb_database]
        yield {
            name: b"".join(document.raw for document in database[name].find())
            for name in database.list_collection_names()
        }


def test_the_bot_has_stored_something_of_every_kind(stored):
    collections = {"user_data", "chat_data", "bot_data", "conversations", "callback_data", "ptb_mongo"}

    assert set(stored) == collections
    assert all(b"telegram.Message" in stored[name] for name in collections - {"ptb_mongo", "conversations"})
    assert b"telegram.CallbackQuery" in stored["conversations"]


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(TOKEN, id="the token"),
        pytest.param(TOKEN.partition(":")[2], id="the secret part of the token"),
        pytest.param("api.telegram.org", id="an address that holds the token"),
        pytest.param("ExtBot", id="a pickled ExtBot"),
        pytest.param("telegram._bot", id="a pickled Bot"),
        pytest.param("OfflineRequest", id="what a Bot talks through"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_no_secret_is_in_any_stored_byte(stored, secret, encoding):
    assert stored
    assert [name for name, raw in stored.items() if secret.encode(encoding) in raw] == []


@pytest.mark.usefixtures("stored")
async def test_the_running_bot_comes_back_in_all_those_places(mongo_persistence):
    application = offline_application(mongo_persistence(trusted=[Order]))
    bot = application.bot
    async with application:
        data = application.user_data[7]
        assert data["message"].get_bot() is bot
        assert data["query"].message.get_bot() is bot
        assert data["in an object"].placed_with.get_bot() is bot
        assert data["file"].file_path == "photos/1.jpg"
        assert application.bot_data["update"].message.get_bot() is bot
        (state,) = (await application.persistence.get_conversations("order")).values()
        assert state["with"].get_bot() is bot
        assert [one.get_bot() for one in (*state["in"][0], *state["in"][1])] == [bot, bot]
        assert state["in"][2].placed_with.get_bot() is bot


@pytest.mark.parametrize("held", [lambda bot: bot, lambda bot: [(bot,)], lambda bot: {bot: 1}, Order])
async def test_a_bot_as_the_state_of_a_conversation_is_refused(mongo_persistence, database, held):
    """PTB makes deep copies of all data, which a bot refuses, but not of states: a handler might show its token."""
    application = offline_application(mongo_persistence(trusted=[Order]))
    await application.initialize()
    with pytest.raises(DocumentError, match=r"it holds the bot|a bot is not a state"):
        await application.persistence.update_conversation("order", (7, 7), held(application.bot))
    with pytest.raises(UnsavedDataError, match=r"it holds the bot|a bot is not a state"):
        await application.shutdown()

    assert database.conversations.count_documents({}) == 0


async def test_another_bot_is_warned_of_and_neither_stored_nor_restored(
    mongo_persistence, mongodb_server_uri, mongodb_database
):
    application = offline_application(mongo_persistence())
    async with application:
        with pytest.warns(UserWarning, match="bot"):
            await application.persistence.update_user_data(7, {"another": Bot(FOREIGN_TOKEN)})

    with MongoClient(mongodb_server_uri, document_class=RawBSONDocument) as client:
        (document,) = client[mongodb_database].user_data.find()
    assert b"another" in document.raw
    assert FOREIGN_TOKEN.partition(":")[2].encode() not in document.raw
    application = offline_application(mongo_persistence())
    async with application:
        assert application.user_data[7] == {"another": None}
