"""A database that was dropped under a running bot: what the bot has in memory may be all that is left.

A document that is missing was deleted by somebody, and is forgotten. But where the format document is gone, too, or was
made after this bot had started, it was the whole database that has vanished: then nothing is believed to be deleted.
Everything stays in memory, reads and saves of it count as refused, an error says so, and nothing is written back until
somebody decides: `ptb-mongo restore --from-bot` has every bot that runs store what it knows, as it was.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import Callable, Iterable
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import PersistenceError, RefusedError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.availability import Availability, Request
from ptb_mongo.sync.format import FORMAT_VERSION
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["ORDER", "Vanishing"]

_LOGGER = get_logger(__name__)
ORDER: Final = "restore"
"""The first field in the `_id` of an order to store everything anew."""
_AT_ONCE: Final = 200  # documents; then other tasks run
_FIELDS: Final = {"created_at": 1, "version": 1}


class Vanishing:
    """Finds out whether everything has vanished, and stores it anew when it is told to.

    Args:
        driver: The database.
        format_collection: The collection of the format document.
        database: The database's name.
        bot_id: The bot's id.
        collections: All collections.
        submit: Hands a document to the writer.
        availability: Told when reads are not refused any more.

    Attributes:
        has_vanished: Whether everything has vanished, as far as is known.
    """

    def __init__(
        self,
        driver: Driver,
        format_collection: str,
        database: str,
        bot_id: int,
        collections: Iterable[Collection[Any]],
        submit: Callable[[Collection[Any], Replica], object],
        availability: Availability,
    ) -> None:
        self._availability = availability
        self._driver = driver
        self._format_collection = format_collection
        self._database = database
        self._bot_id = bot_id
        self._collections = list(collections)
        self._submit = submit
        self._since = dtm.datetime.max.replace(tzinfo=dtm.timezone.utc)
        self.has_vanished = False
        self._done: set[str] = set()  # the orders that were carried out
        self._task: asyncio.Task[None] | None = None

    def begins(self) -> None:
        """The format document is there; one that is made later is another database's."""
        self._since = dtm.datetime.now(dtm.timezone.utc)

    async def why(self) -> RefusedError | None:
        """Why a document that was stored is missing, if it was not deleted: everything has vanished.

        Raises:
            UnavailableError: If the server does not answer.
        """
        form: dict[str, Any] | None = None
        orders = []
        query = {"$or": [{"_id": "format"}, {f"_id.{ORDER}": "bot"}]}
        async for document in self._driver.find(self._format_collection, query, _FIELDS, limit=100):
            if document["_id"] == "format":
                form = document
            elif type(number := document["_id"].get("number")) is str:
                orders.append(number)
        if form is not None and not self._is_later(form.get("created_at")):
            self.has_vanished = False
            return None
        self._note_vanished()
        for number in orders:
            await self.restore(number)
            if not self.has_vanished:
                return None
        return RefusedError(
            f"the database {self._database!r} has vanished: it was dropped, or replaced by an empty one. What this bot "
            "has in memory is kept; ptb-mongo restore --from-bot --apply stores it"
        )

    def _is_later(self, created_at: object) -> bool:
        return isinstance(created_at, dtm.datetime) and created_at > self._since

    def _note_vanished(self) -> None:
        if not self.has_vanished:
            self.has_vanished = True
            _LOGGER.error(
                "The database %r has vanished: everything that was stored is gone at once. What this bot has in memory "
                "is kept, and nothing is written back by itself. ptb-mongo restore --from-bot --apply stores what the "
                "bot has in memory, and ptb-mongo restore FILE --apply what a backup holds. To begin anew instead, "
                "restart the bot",
                self._database,
            )

    # -- what the change stream says --------------------------------------------------------------------

    def look(self) -> None:
        """Whole collections may be gone: finds out in the background."""
        self._run(self._look())

    async def _look(self) -> None:
        try:
            await self.why()
        except PersistenceError as error:  # the next read finds out
            _LOGGER.debug("It is not known whether the database is there: %s", error)

    def told(self, number: str) -> None:
        """An order to store everything anew was given."""
        self._run(self._told(number))

    async def _told(self, number: str) -> None:
        if not self.has_vanished:
            await self._look()
        if self.has_vanished:
            await self.restore(number)

    def _run(self, work: Any) -> None:
        before = self._task

        async def after() -> None:
            if before is not None and not before.done():
                await asyncio.wait([before])
            await work

        self._task = asyncio.get_running_loop().create_task(after(), name="ptb_mongo vanishing")

    # -- writing back -----------------------------------------------------------------------------------

    async def restore(self, number: str) -> None:
        """Stores everything anew that is in memory, once for each order."""
        if number in self._done:
            return
        self._done.add(number)
        count = 0
        for collection in self._collections:
            for replica in [*collection.replicas.values()]:
                if replica.vanished():
                    count += 1
                    self._submit(collection, replica)
                    if count % _AT_ONCE == 0:
                        await asyncio.sleep(0)
        made = {"version": FORMAT_VERSION, **({"bot_id": self._bot_id} if self._bot_id else {})}
        await self._driver.set_fields(self._format_collection, "format", {"created_at": self._since}, insert=made)
        self.has_vanished = False
        names = frozenset(collection.collection for collection in self._collections)
        self._availability.mark_accepted(Request("to read", names))
        _LOGGER.warning("The database %r is stored anew from memory: %d documents", self._database, count)

    async def close(self) -> None:
        """Ends what runs."""
        if self._task is not None:
            await cancel_and_wait(self._task)
