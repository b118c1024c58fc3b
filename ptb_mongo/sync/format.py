"""The format document: the format of a database, the bot that owns it, and whether a bot is running.

Anybody may have written it. A version that no ptb_mongo writes is reported and corrected; it does not prevent a start.
A proof derived from the bot's token shows what only the bot itself can have written.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import FormatError, PersistenceError
from ptb_mongo.log import get_logger
from ptb_mongo.scopes.ids import whole_number
from ptb_mongo.sync.foreign import warn_of_foreign

__all__ = ["FORMAT_VERSION", "accept", "begin", "check", "end", "proof", "read"]

_LOGGER = get_logger(__name__)
FORMAT_VERSION: Final = 1
_NEXT_VERSIONS: Final = 8
"""How many versions after ours a newer ptb_mongo may have written; versions do not jump."""
_READ: Final = {"version": 1, "proof": 1, "bot_id": 1, "running": 1, "expires": 1, "created_at": 1, "restored": 1}


async def read(driver: Driver, collection: str) -> dict[str, Any] | None:
    """The format document; `None` if there is none."""
    found: dict[str, Any] | None = None
    async for document in driver.find(collection, {"_id": "format"}, _READ):
        found = document
    return found


def accept(found: dict[str, Any] | None, database: str, bot_id: int, token: str) -> bool:
    """Whether a format document, if there is one, may stay as it is; otherwise, its version must be corrected.

    Args:
        found: The format document.
        database: The database's name.
        bot_id: The bot's id; 0 without a bot.
        token: The bot's token; empty without a bot.

    Raises:
        FormatError: If the data was written by a newer version.
    """
    if found is None:
        return True
    is_right = check(found, database, token)
    _check_owner(found, database, bot_id)
    return is_right


async def begin(
    driver: Driver,
    collection: str,
    database: str,
    bot_id: int,
    name: str,
    found: Mapping[str, Any] | None,
    *,
    is_right: bool,
) -> bool:
    """Notes the format in a new database, and marks the database as in use.

    Args:
        driver: The database.
        collection: The collection of the format document.
        database: The database's name.
        bot_id: The bot's id; 0 without a bot, which does not set an owner.
        name: The id of this process.
        found: The format document that was read.
        is_right: Whether it may stay as it is.

    Returns:
        Whether no request of an earlier process can still arrive, because there was none or it was stopped cleanly.

    Raises:
        ConfigurationError: If an option of the client keeps the bot from writing.
    """
    repaired = {} if is_right else {"version": FORMAT_VERSION}
    known = found or {}
    owned = _bot_in(known)
    owner = {"bot_id": bot_id} if bot_id and not owned else {}
    # A script beside the bot leaves the bot's mark alone: without it, nobody would know that the bot was killed.
    is_guest = not bot_id and bool(owned)
    mark = {} if is_guest and "running" in known else {"running": name}
    made = {"version": FORMAT_VERSION, "created_at": datetime.now(timezone.utc)}
    try:
        if found is None:
            before = await driver.set_fields(collection, "format", mark, insert={**made, **owner})
        else:
            for field in repaired:
                del made[field]
            before = await driver.set_fields(collection, "format", {**mark, **owner, **repaired}, insert=made)
    except PersistenceError as error:
        if (explained := await driver.explained(error)) is error:
            raise
        raise explained from error
    if owner:
        await warn_of_foreign(driver, collection.removesuffix("ptb_mongo"), database, bot_id)
    return before is None or "running" not in before


def proof(token: str, version: int) -> str:
    """The `proof` in the format document of a later version: only somebody who knows the bot's token can compute it."""
    return hmac.new(token.encode(), f"ptb_mongo format {version}".encode(), "sha256").hexdigest()


def check(found: dict[str, Any], database: str, token: str) -> bool:
    """Whether a format document may stay as it is; otherwise, its version must be corrected.

    Args:
        found: The format document.
        database: The database's name.
        token: The bot's token; without it nothing can be proven, and a later version is trusted.

    Raises:
        FormatError: If the data was written by a newer version.
    """
    stored = found.get("version")
    version = whole_number(stored)  # tools that copy a database as JSON turn all numbers into doubles
    if version == FORMAT_VERSION:
        return type(stored) is int
    may_be_newer = version is not None and FORMAT_VERSION < version <= FORMAT_VERSION + _NEXT_VERSIONS
    if version is not None and may_be_newer and (not token or _is_proven(found, version, token)):
        raise FormatError(
            f"the collections in {database!r} have the format {version}, and this version of ptb_mongo knows "
            f"{FORMAT_VERSION}: install a newer one (pip install -U ptb-mongo). If none was ever used here, "
            "somebody else has written that into the document `format` of the collection `ptb_mongo`"
        )
    # A bot whose token has changed cannot prove its own version: so what may be true is not overwritten.
    what = "with no proof that this bot has written it" if may_be_newer else "which no ptb_mongo writes"
    _LOGGER.error(
        "The format document of %r names the version %.80r, %s: it is treated as %d. Somebody else may have written to "
        "the database",
        database,
        stored,
        what,
        FORMAT_VERSION,
    )
    return may_be_newer


def _is_proven(found: dict[str, Any], version: int, token: str) -> bool:
    stored = found.get("proof")
    return type(stored) is str and hmac.compare_digest(stored.encode(errors="replace"), proof(token, version).encode())


def _bot_in(found: Mapping[str, Any]) -> int | None:
    """The bot that owns a database; `None` if there is none, or if somebody has written something else there."""
    return whole_number(found.get("bot_id")) or None


def _check_owner(found: dict[str, Any], database: str, bot_id: int) -> None:
    owner = _bot_in(found)
    if bot_id and owner not in (None, bot_id):
        _LOGGER.warning(
            "The collections in %r belong to bot %s, and this is bot %s; if that is not intended, give this bot "
            "a database of its own, or a collection_prefix",
            database,
            owner,
            bot_id,
        )


async def end(driver: Driver, collection: str, name: str) -> None:
    """Notes that this process was stopped cleanly, so that none of its requests can still arrive."""
    await driver.unset_field(collection, "format", "running", name)
