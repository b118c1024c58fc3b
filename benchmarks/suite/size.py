"""The stored size of an object, in bytes; the same on every machine."""

from __future__ import annotations

import asyncio
import datetime as dtm
from pathlib import Path
from typing import Any

import bson
from pymongo import MongoClient
from telegram import Message
from telegram.ext import ExtBot, PicklePersistence

from suite.core import Line, Results, Run, at_most
from suite.subjects import DOCUMENT, MOTOR, PICKLE, Ours

WORK = "stored size"
HANDLER, KEY, STATE = "order", (42, 42), 2


def message(bot: ExtBot[Any]) -> Message:
    """A plain text message in Telegram's form."""
    sent = int(dtm.datetime(2026, 1, 1, 12, tzinfo=dtm.timezone.utc).timestamp())
    content = {
        "message_id": 1815,
        "from": {"id": 42, "is_bot": False, "first_name": "Ada", "username": "ada", "language_code": "en"},
        "chat": {"id": 42, "first_name": "Ada", "username": "ada", "type": "private"},
        "date": sent,
        "text": "Two cups of tea, please",
    }
    return Message.de_json(content, bot)


async def pickled(path: Path, bot: ExtBot[Any], data: dict[str, Any], state: int | None) -> int:
    """The length of the file of a `PicklePersistence`."""
    persistence: PicklePersistence[Any, Any, Any] = PicklePersistence(path, on_flush=True)
    persistence.set_bot(bot)
    await persistence.update_user_data(1, data)
    if state is not None:
        await persistence.update_conversation(HANDLER, KEY, state)
    await persistence.flush()
    return len(await asyncio.to_thread(path.read_bytes))


async def measure(run: Run) -> Results:
    """Measures; nothing needs to be repeated."""
    subject = Ours(run, MOTOR)
    await subject.open()
    ours: Any = subject.persistence
    bot = ours.bot
    await ours.update_user_data(1, {"last": message(bot)})
    await ours.update_user_data(2, DOCUMENT)
    await ours.get_conversations(HANDLER)
    await ours.update_conversation(HANDLER, KEY, STATE)
    with MongoClient[Any](run.uri) as client:
        database = client[subject.database]
        stored = database.user_data.find_one({"_id": 1})["data"]["last"]
        user = len(bson.encode(database.user_data.find_one({"_id": 2})))
        conversation = len(bson.encode(database.conversations.find_one()))
    await subject.close()
    path = Path(run.folder) / "size.pickle"
    nothing = await pickled(path, bot, {"last": None}, None)
    theirs = await pickled(path, bot, {"last": message(bot)}, None) - nothing
    their_user = await pickled(path, bot, dict(DOCUMENT), None) - await pickled(path, bot, {}, None)
    their_conversation = await pickled(path, bot, {"last": None}, STATE) - nothing
    binary, view = len(stored["pickle"]), len(bson.encode(stored["view"]))
    pickles = f"{PICKLE}'s pickle"
    lines = (
        ("a Message: what restores it", binary, theirs, at_most(0.25)),
        ("a Message: its view, for people and queries", view, theirs, None),
        ("a typical user: the whole document", user, their_user, None),
        ("a conversation: the whole document", conversation, their_conversation, None),
    )
    figures = [Line(WORK, what, "").against(mine, "B", pickles, other, target) for what, mine, other, target in lines]
    sizes = {
        "a Message": {"ours: pickle": binary, "ours: view": view, PICKLE: theirs},
        "a typical user": {"ours": user, PICKLE: their_user},
        "a conversation": {"ours": conversation, PICKLE: their_conversation},
    }
    return Results(figures, {"size": sizes})
