"""The format document: the format of a database, the bot that it belongs to, and whether a bot is running."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import FormatError, PersistenceError
from ptb_mongo.log import get_logger
from ptb_mongo.sync.foreign import warn_of_foreign

__all__ = ["FORMAT_VERSION", "begin", "end"]

_LOGGER = get_logger(__name__)
FORMAT_VERSION: Final = 1


async def begin(driver: Driver, collection: str, database: str, bot_id: int, name: str) -> bool:
    """Checks the format of a database, or notes it in a new one; marks the database as in use.

    Args:
        driver: The database.
        collection: The collection of the format document.
        database: The database's name.
        bot_id: The bot's id; 0 for a use without a bot, which does not make the database anybody's.
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
    known = found or {}
    owner = {"bot_id": bot_id} if bot_id and not known.get("bot_id") else {}
    # A script beside the bot leaves its mark alone: once removed, it would not tell that the bot was killed.
    is_guest = not bot_id and bool(known.get("bot_id"))
    mark = {} if is_guest and "running" in known else {"running": name}
    made = {"version": FORMAT_VERSION, "created_at": datetime.now(timezone.utc)}
    try:
        if found is None:
            before = await driver.set_fields(collection, "format", mark, insert={**made, **owner})
        else:
            before = await driver.set_fields(collection, "format", {**mark, **owner}, insert=made)
    except PersistenceError as error:
        if (explained := await driver.explained(error)) is error:
            raise
        raise explained from error
    if owner:
        await warn_of_foreign(driver, collection.removesuffix("ptb_mongo"), database, bot_id)
    return before is None or "running" not in before


def _check(found: dict[str, Any], database: str, bot_id: int) -> None:
    version = found.get("version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise FormatError(
            f"the collections in {database!r} have the format {version!r}, and this version of "
            f"ptb_mongo knows {FORMAT_VERSION}: install a newer one (pip install -U ptb-mongo)"
        )
    if bot_id and found.get("bot_id") not in (None, 0, bot_id):  # whatever a stranger has put there
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
