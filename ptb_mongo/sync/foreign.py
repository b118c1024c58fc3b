"""Warns of another persistence's documents under our collections' names; otherwise, users would silently start over.

Only a bot's first start checks for them: later, a document without data was created by some service.
"""

from __future__ import annotations

import shlex
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.log import get_logger
from ptb_mongo.waiting import together

__all__ = ["warn_of_foreign"]

_LOGGER = get_logger(__name__)
_NO_DATA: Final[dict[str, Any]] = {"data": {"$exists": False}, "buried": {"$exists": False}}
_NOT_OURS: Final[dict[str, dict[str, Any]]] = {
    "user_data": _NO_DATA,
    "chat_data": _NO_DATA,
    "bot_data": _NO_DATA,
    "conversations": {"handler": {"$exists": False}, "buried": {"$exists": False}},
}


async def warn_of_foreign(driver: Driver, prefix: str, database: str, bot_id: int) -> None:
    """Warns if there are any, with the command that imports them.

    Args:
        driver: The database.
        prefix: The beginning of the collections' names.
        database: The database's name.
        bot_id: The bot's id.
    """

    async def is_there(kind: str) -> bool:
        query = _NOT_OURS[kind]
        return bool([one async for one in driver.find(f"{prefix}{kind}", query, {"_id": 1}, limit=1)])

    there = await together(*map(is_there, _NOT_OURS))
    found = [kind for kind, is_so in zip(_NOT_OURS, there, strict=True) if is_so]
    if not found:
        return
    moved = f"{prefix}new_"
    words = ["ptb-mongo", "import", "mongopersistence", "--database", database, "--source-database", database]
    words += ["--collection-prefix", moved, "--bot-id", str(bot_id)]
    for kind in found:
        words += [f"--{kind.replace('_', '-')}", f"{prefix}{kind}"]
    _LOGGER.warning(
        "In %r there are documents without data of ours in %s: to this bot, they are empty. If they belong to the "
        "package mongopersistence, stop the bot, import them (with MONGODB_URI set), and start the bot with "
        "collection_prefix=%r: %s --apply",
        database,
        ", ".join(f"{prefix}{kind}" for kind in found),
        moved,
        shlex.join(words),
    )
