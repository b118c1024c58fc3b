"""Exports a bot's data to a file that `PicklePersistence` loads, so that nobody is locked in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import telegram
from telegram.ext import PersistenceInput, PicklePersistence

from ptb_mongo.migration.data import BotData, Kind
from ptb_mongo.migration.database import Database
from ptb_mongo.scopes.callback_data import Found

__all__ = ["collect", "write_pickle"]


async def collect(
    database: Database, *, bot_id: int | None = None, advance: Callable[[Kind, int], None] = lambda *_: None
) -> BotData:
    """All of a bot's data in a database; what cannot be read is listed in `problems`.

    Args:
        database: The database.
        bot_id: The bot's id, if the database has the `bot_data` of several bots.
        advance: Called now and then with the kind of data and the number of documents.
    """
    data = BotData()
    await database.format()
    kinds: tuple[Kind, ...] = ("user_data", "chat_data", "bot_data", "conversations")
    for kind in kinds:
        count = 0
        query = {} if kind != "bot_data" or bot_id is None else {"_id": bot_id}
        async for stored in database.read(kind, query):
            count += 1
            if count % 1000 == 0:
                advance(kind, 1000)
            if stored.error is not None:
                data.problems.append(stored.error)
            elif kind == "conversations" and "state" not in stored.body:
                continue  # a bot is about to store something there
            elif kind == "conversations":
                handler, key = stored.key
                data.conversations.setdefault(handler, {})[key] = stored.body["state"]
            elif "data" not in stored.body:
                continue
            elif kind == "bot_data":
                data.bot_data = stored.body["data"]
            else:
                getattr(data, kind)[stored.key] = stored.body["data"]
        advance(kind, count % 1000)
    scope = database.callback_data
    found = Found([], [])
    with scope.being_loaded():
        async for raws in database.driver.raw_batches(scope.collection, {}, scope.fields):
            scope.read(raws, found)
        data.callback_data = scope.data(found)
    data.problems += database.callback_data.quarantined.values()
    advance("callback_data", sum(len(part) for part in data.callback_data or ()))
    return data


async def write_pickle(data: BotData, path: Path, bot: telegram.Bot, *, single_file: bool = True) -> list[Path]:
    """Writes what `PicklePersistence(path, single_file=...)` loads; each file is written completely or not at all.

    Args:
        data: What to write.
        path: The file; with `single_file=False`, the beginning of the files' names.
        bot: The bot in the data; only a marker is written in its place.
        single_file: As for `PicklePersistence`.

    Returns:
        The files.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        writing: PicklePersistence[Any, Any, Any] = PicklePersistence(
            Path(folder) / path.name,
            store_data=PersistenceInput(callback_data=False),  # accepts any bot; what is set is written nevertheless
            single_file=single_file,
        )
        writing.set_bot(bot)
        writing.user_data = data.user_data
        writing.chat_data = data.chat_data
        writing.bot_data = {} if data.bot_data is None else data.bot_data
        writing.callback_data = data.callback_data
        writing.conversations = data.conversations
        await writing.flush()
        return _put_into_place(Path(folder), path.parent)


def _put_into_place(folder: Path, target: Path) -> list[Path]:
    return [file.replace(target / file.name) for file in sorted(folder.iterdir())]
