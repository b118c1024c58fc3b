"""A database that was dropped under a running bot: the bot's memory may contain all that is left.

Normally, a missing document was deleted by somebody, and is forgotten. But if the format document is missing, too, or
was created after this bot started, the whole database has vanished: then no document counts as deleted. Everything
stays in memory, reads and saves count as refused, an error says so, and nothing is written back until somebody decides:
`ptb-mongo restore --from-bot` makes every running bot store what it knows.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.errors import PersistenceError, RefusedError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.availability import Availability, Request
from ptb_mongo.sync.format import FORMAT_VERSION
from ptb_mongo.sync.steps import Steps
from ptb_mongo.waiting import cancel_and_wait

__all__ = ["ORDER", "RESTORED", "Vanishing"]

_LOGGER = get_logger(__name__)
ORDER: Final = "restore"
"""The first field in the `_id` of an order to store everything again."""
RESTORED: Final = "restored"
"""The field of the format document that names the order by which it was created again."""
_MOST_ORDERS: Final = 100
_FIELDS: Final = {"created_at": 1, RESTORED: 1}


class Vanishing:
    """Checks whether everything has vanished, and stores it again when ordered to.

    Args:
        driver: The database.
        format_collection: The collection of the format document.
        database: The database's name.
        bot_id: The bot's id.
        collections: All collections.
        submit: Hands a document to the writer.
        availability: Notes when reads are no longer refused.

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
        self._tasks: dict[asyncio.Task[None], None] = {}  # each goes on when the one before it is done

    def begins(self, form: Mapping[str, Any] | None) -> None:
        """Notes that the format document exists; one that is created later belongs to another database.

        Args:
            form: The format document, if it existed before.
        """
        self._since = dtm.datetime.now(dtm.timezone.utc)
        if form is not None:
            created_at = _created_at(form)
            if created_at is not None:  # by the clock of another machine, which may be ahead
                self._since = max(self._since, created_at)
            if (number := _number(form.get(RESTORED))) is not None:
                self._done.add(number)

    async def why(self) -> RefusedError | None:
        """Why a stored document is missing, if it was not deleted: everything has vanished.

        If another process has already stored what it had in memory, the format document names an order that this one
        has not carried out: then only this one knows what is missing.

        Raises:
            UnavailableError: If the server does not answer.
        """
        form: dict[str, Any] | None = None
        async for document in self._driver.find(self._format_collection, {"_id": "format"}, _FIELDS):
            form = document
        query, some = {f"_id.{ORDER}": "bot"}, {"_id": 1}
        found = self._driver.find(self._format_collection, query, some, limit=_MOST_ORDERS)
        numbers = [_number(document["_id"].get("number")) async for document in found]
        orders = [number for number in numbers if number is not None and number not in self._done]
        restored = _number(form.get(RESTORED)) if form is not None else None
        if restored is not None and restored not in self._done:
            orders = [restored]
        elif not (self.has_vanished and orders) and self._is_ours(form, restored):
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

    def _is_ours(self, form: Mapping[str, Any] | None, restored: str | None) -> bool:
        """Whether a format document is the one that this process started with, or has created again."""
        if form is None or restored is not None:
            return form is not None
        created_at = _created_at(form)
        return created_at is None or created_at <= self._since

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
        """Checks in the background whether whole collections are gone."""
        self._run(self._look)

    async def _look(self) -> None:
        try:
            await self.why()
        except PersistenceError as error:  # the next read will find out
            _LOGGER.debug("It is not known whether the database is there: %s", error)

    def told(self, number: str) -> None:
        """Handles an order to store everything again."""
        self._run(partial(self._told, number))

    async def _told(self, number: str) -> None:
        if not self.has_vanished:
            await self._look()
        if self.has_vanished:
            await self.restore(number)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = next(reversed(self._tasks), None)

        async def after() -> None:
            if before is not None and not before.done():
                await asyncio.wait([before])
            await work()

        task = asyncio.get_running_loop().create_task(after(), name="ptb_mongo vanishing")
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    # -- writing back -----------------------------------------------------------------------------------

    async def restore(self, number: str) -> None:
        """Stores everything in memory again, once for each order."""
        if number in self._done:
            return
        self._done.add(number)
        try:
            count = await self._restore(number)
        except BaseException:
            self._done.discard(number)
            raise
        self.has_vanished = False
        names = frozenset(collection.collection for collection in self._collections)
        self._availability.mark_accepted(Request("to read", names))
        _LOGGER.warning("The database %r was stored again from memory: %d documents", self._database, count)

    async def _restore(self, number: str) -> int:
        count = 0
        with Steps() as steps:
            for collection in self._collections:
                for key in collection.replicas:
                    replica = collection.replicas.get(key)
                    if replica is not None and replica.vanished():
                        count += 1
                        self._submit(collection, replica)
                    await steps.pause()
        made = {"version": FORMAT_VERSION, **({"bot_id": self._bot_id} if self._bot_id else {})}
        form = {"created_at": self._since, RESTORED: number}
        await self._driver.set_fields(self._format_collection, "format", form, insert=made)
        return count

    async def close(self) -> None:
        """Ends what runs."""
        for task in reversed([*self._tasks]):  # the last one first: none of them begins any more
            await cancel_and_wait(task)


def _number(stored: object) -> str | None:
    """The number of an order; `None` if it is not valid, as anybody may have written it."""
    return stored if type(stored) is str else None


def _created_at(form: Mapping[str, Any]) -> dtm.datetime | None:
    """When a format document was created; mongomock returns a date without a zone, which is UTC."""
    found = form.get("created_at")
    if not isinstance(found, dtm.datetime):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=dtm.timezone.utc)
