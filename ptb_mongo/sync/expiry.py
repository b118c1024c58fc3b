"""The TTL indexes that delete whoever has not been seen for long: created, changed and removed according to `expire`.

The wanted indexes are noted in the format document: so the command line can create them if the bot's user may not, and
a bot without `expire` knows that an earlier one had it. Otherwise, its documents would be deleted, as it no longer
writes `seen_at`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ptb_mongo.driver import Driver
from ptb_mongo.driver.codes import NO_INDEX
from ptb_mongo.errors import PersistenceError, RefusedError
from ptb_mongo.log import get_logger
from ptb_mongo.sync.seen import SEEN_AT
from ptb_mongo.types import EXPIRING, Expire
from ptb_mongo.waiting import cancel_and_wait, wait_at_most

__all__ = ["Change", "IndexKeeper", "apply", "changes", "wanted_in"]

_LOGGER = get_logger(__name__)
_NO_COLLECTION: Final = 26
_CHUNK: Final = 1000
_LAST: Final = 3.0  # seconds that a stop waits for the indexes
_EXPIRES: Final = "expireAfterSeconds"


class Change(NamedTuple):
    """The current and the wanted state of an index.

    Attributes:
        collection: The collection.
        now: The current number of seconds after which documents expire; `None` if they do not.
        wanted: The wanted number.
    """

    collection: str
    now: int | None
    wanted: int | None


def seconds_in(expire: Expire) -> dict[str, int]:
    """`expire` in the form of the format document."""
    return {name: max(1, int(period.total_seconds())) for name, period in expire.items()}


def wanted_in(form: Mapping[str, Any] | None) -> dict[str, int]:
    """The wanted periods in a format document, whoever has written it."""
    found = (form or {}).get("expires")
    if not isinstance(found, Mapping):
        return {}
    return {name: found[name] for name in EXPIRING if type(found.get(name)) is int and found[name] > 0}


async def changes(driver: Driver, prefix: str, wanted: Mapping[str, int]) -> list[Change]:
    """The changes that are needed so that documents expire as wanted.

    Raises:
        RefusedError: If this user may not list indexes.
    """
    found = []
    for name in EXPIRING:
        now = await _now(driver, f"{prefix}{name}")
        if now != wanted.get(name):
            found.append(Change(f"{prefix}{name}", now, wanted.get(name)))
    return found


async def _now(driver: Driver, collection: str) -> int | None:
    found = [index["expireAfterSeconds"] for index in await _indexes(driver, collection) if _EXPIRES in index]
    return int(found[0]) if found else None


async def _indexes(driver: Driver, collection: str) -> list[Mapping[str, Any]]:
    """The indexes on only `seen_at`: an expiring one, or a plain one that somebody has created."""
    try:
        answer = await driver.command({"listIndexes": collection})
    except RefusedError as error:
        if error.code == _NO_COLLECTION:
            return []
        raise
    return [index for index in answer["cursor"]["firstBatch"] if list(index["key"].items()) == [(SEEN_AT, 1)]]


async def apply(driver: Driver, change: Change) -> None:
    """Creates, changes or removes an index; before one is created, earlier dates are removed.

    Raises:
        RefusedError: If this user may not do that.
    """
    keys = {SEEN_AT: 1}
    if change.wanted is None:
        # Otherwise, these dates would be too old when somebody wants an index again.
        while await _touch_some(driver, change.collection, {SEEN_AT: {"$type": "date"}}, unset=True):
            pass
        await driver.command({"dropIndexes": change.collection, "index": keys})
    elif change.now is None:
        index = {"key": keys, "name": f"{SEEN_AT}_1", "expireAfterSeconds": change.wanted}
        # If somebody has removed the index by hand, the remaining dates may be too old for users who were active since.
        await driver.touch(change.collection, {SEEN_AT: {"$type": "date"}}, SEEN_AT, unset=True)
        for plain in await _indexes(driver, change.collection):  # the new one replaces it, for queries as well
            await driver.command({"dropIndexes": change.collection, "index": plain["name"]})
        await driver.command({"createIndexes": change.collection, "indexes": [index]})
    else:
        index = {"keyPattern": keys, "expireAfterSeconds": change.wanted}
        await driver.command({"collMod": change.collection, "index": index})


async def _touch_some(driver: Driver, collection: str, query: Mapping[str, Any], *, unset: bool = False) -> int:
    """Sets or removes `seen_at` of the first matching documents; returns how many there were."""
    ids = [one["_id"] async for one in driver.find(collection, query, {"_id": 1}, limit=_CHUNK)]
    return await driver.touch(collection, {"_id": {"$in": ids}}, SEEN_AT, unset=unset) if ids else 0


class IndexKeeper:
    """Takes care of a bot's indexes, in the background, and then of documents without `seen_at`.

    Args:
        driver: The database.
        prefix: The beginning of the collections' names.
        format_collection: The collection of the format document.
        expire: The period after which documents expire, by collection.
        form: The format document at the start.
    """

    def __init__(
        self, driver: Driver, prefix: str, format_collection: str, expire: Expire, form: Mapping[str, Any] | None
    ) -> None:
        self._driver = driver
        self._prefix = prefix
        self._format_collection = format_collection
        self._wanted = seconds_in(expire)
        self._was_wanted = wanted_in(form)
        self._are_seen_to = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._see_to_all(), name="ptb_mongo expiry")

    def done(self) -> bool:
        """Whether everything is done."""
        return self._task.done()

    async def _see_to_all(self) -> None:
        driver, wanted = self._driver, self._wanted
        try:
            if self._was_wanted != wanted:
                await driver.set_fields(self._format_collection, "format", {"expires": wanted}, insert={})
            is_seen_to = await _see_to(driver, self._prefix, wanted)
            self._are_seen_to.set()
            for name in wanted:
                # They have no date yet: as far as is known, they were active just now.
                if not is_seen_to:  # without an index, doing a few at a time would take quadratic time
                    await driver.touch(f"{self._prefix}{name}", {SEEN_AT: None}, SEEN_AT)
                while await _touch_some(driver, f"{self._prefix}{name}", {SEEN_AT: None}):
                    pass
        except NotImplementedError:
            _LOGGER.warning("Nothing expires: this server has no such indexes")
        except PersistenceError as error:
            _LOGGER.warning("The indexes for expire were not updated; the next start will do it: %s", error)
        finally:
            self._are_seen_to.set()

    async def close(self, *, waits: bool) -> None:
        """Stops the background task.

        Args:
            waits: Whether to wait a moment for the indexes: even a bot that stops at once should leave all of them.
        """
        if waits:
            with contextlib.suppress(asyncio.TimeoutError):
                await wait_at_most(_LAST, self._are_seen_to.wait())
        await cancel_and_wait(self._task)


async def _see_to(driver: Driver, prefix: str, wanted: Mapping[str, int]) -> bool:
    """Brings the indexes into the wanted state; returns whether this user may do that."""
    try:
        for change in await changes(driver, prefix, wanted):
            await apply(driver, change)
            _LOGGER.info("%s: documents expire after %s seconds, and did after %s", *_shown(change))
    except RefusedError as error:
        if error.code in NO_INDEX:
            _LOGGER.error(  # noqa: TRY400
                "The indexes for expire are wrong: other indexes are in the way. ptb-mongo indexes "
                "shows which is wanted. %s",
                error,
            )
            return False
        _LOGGER.error(  # noqa: TRY400
            "The indexes for expire may be wrong, and this user may not change them: ptb-mongo indexes "
            "--apply, as a user who may, does. %s",
            error,
        )
        return False
    return True


def _shown(change: Change) -> tuple[str, object, object]:
    return change.collection, change.wanted or "no number of", change.now or "none"
