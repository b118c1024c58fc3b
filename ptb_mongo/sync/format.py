"""The format document: the format of a database, the bot that it belongs to, and whether a bot is running."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import FormatError, PersistenceError

__all__ = ["FORMAT_VERSION", "begin", "end"]

_LOGGER = logging.getLogger(__name__)
FORMAT_VERSION: Final = 1


async def begin(driver: Driver, collection: str, database: str, bot_id: int, name: str) -> bool:
    """Checks the format of a database, or notes it in a new one; marks the database as in use.

    Args:
        driver: The database.
        collection: The collection of the format document.
        database: The database's name.
        bot_id: The bot's id.
        name: The id of this process.

    Returns:
        Whether no request of an earlier process can still arrive: there was none, or it was stopped cleanly.

    Raises:
        FormatError: If the data was written by a newer version.
        ConfigurationError: If an option of the client keeps the bot from writing.
    """
    found: dict[str, Any] | None = None
    async for document in driver.find(collection, {"_id": "format"}):
        found = document
    if found is not None:
        _check(found, database, bot_id)
    made = {"version": FORMAT_VERSION, "bot_id": bot_id, "created_at": datetime.now(timezone.utc)}
    try:
        before = await driver.set_fields(collection, "format", {"running": name}, insert=made)
    except PersistenceError as error:
        if (explained := await driver.explained(error)) is error:
            raise
        raise explained from error
    return before is None or "running" not in before


def _check(found: dict[str, Any], database: str, bot_id: int) -> None:
    version = found.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise FormatError(
            f"the collections in {database!r} have the format {version!r}, and this version of "
            f"ptb_mongo knows {FORMAT_VERSION}: install a newer one (pip install -U ptb-mongo)"
        )
    if found.get("bot_id") != bot_id:
        _LOGGER.warning(
            "The collections in %r belong to bot %s, and this is bot %s; if that is not on purpose, give this bot "
            "a database of its own, or a collection_prefix",
            database,
            found.get("bot_id"),
            bot_id,
        )


async def end(driver: Driver, collection: str, name: str) -> None:
    """Notes that this process was stopped cleanly: no request of it can still arrive."""
    await driver.unset_field(collection, "format", "running", name)
