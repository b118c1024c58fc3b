"""What PTB's calls do: pass data to save to the writer, and get data to load from the reader."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from ptb_mongo.codec import BURIED_FIELD, id_of, load
from ptb_mongo.driver import Driver, Page
from ptb_mongo.errors import DecodeError, DocumentError, RefusedError, UnavailableError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.callback_data import CallbackDataScope, Found
from ptb_mongo.scopes.conversations import ConversationScope
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.offering import Offering
from ptb_mongo.sync.first_read import FirstRead
from ptb_mongo.sync.keyboards import newest_keyboards
from ptb_mongo.sync.preloading import Preload
from ptb_mongo.sync.reader import DocumentCollection, Reader
from ptb_mongo.sync.steps import Steps, ahead, portions
from ptb_mongo.sync.tickets import SAVED, Ticket
from ptb_mongo.sync.writer import Writer
from ptb_mongo.types import CDCData, ConversationDict

__all__ = ["Exchange", "Offer"]

_LOGGER = get_logger(__name__)
_LOOKED_AT: Final = 500  # documents waiting to be written; if there are more, copies are compared later
_PAGE: Final = 1000  # ids

Offer = tuple[Replica, "Ticket | None"]
"""A document to write, and the ticket to wait for; `None` if there is nothing to wait for."""


class Exchange:
    """Moves data between the scopes and the database.

    Args:
        driver: The database.
        reader, writer: Read and write documents.

    Attributes:
        first_read: Reads what a start loads before PTB asks for it.
    """

    def __init__(self, driver: Driver, reader: Reader, writer: Writer) -> None:
        self._driver = driver
        self._reader = reader
        self._writer = writer
        self.first_read = FirstRead(driver)
        self._just_read: dict[asyncio.Task[Any] | None, Replica] = {}

    # -- loading ----------------------------------------------------------------------------------------

    async def batches(self, collection: Collection[Any], query: Mapping[str, Any]) -> AsyncIterator[list[bytes]]:
        """The documents of a collection that match."""
        async for raws in self._driver.raw_batches(collection.collection, query, collection.fields):
            yield raws

    async def _for_load(
        self, collection: Collection[Any], query: Mapping[str, Any]
    ) -> AsyncGenerator[list[bytes], None]:
        """The same for a load, which a start may have begun already."""
        if (raws := await self.first_read.take(collection.collection, query)) is not None:
            yield raws
            return
        async for raws in self.batches(collection, query):
            yield raws

    async def load_all(self, scope: DataScope[Any]) -> dict[int, Any]:
        """Loads every document; the returned objects become the live ones."""
        loaded: dict[int, Any] = {}
        with scope.being_loaded(), Steps() as steps:
            async with contextlib.aclosing(ahead(self._for_load(scope, {}))) as batches:
                async for raws in batches:
                    for some in portions(raws):
                        loaded.update(scope.attached(some))
                        await steps.pause()
        scope.all_loaded()
        return loaded

    async def load_one(self, scope: DataScope[Any], key: int) -> Any:
        """Loads one document; a new object if there is none."""
        loaded: dict[int, Any] = {}
        with scope.being_loaded():
            async for raws in self._for_load(scope, {"_id": key}):
                loaded.update(scope.attached(raws))
        live = loaded[key] if key in loaded else scope.attached_new(key)
        scope.all_loaded()
        return live

    async def load_states(self, scope: ConversationScope, handler: str) -> ConversationDict:
        """Loads the states of all conversations of a handler."""
        states: ConversationDict = {}
        with scope.being_loaded(), Steps() as steps:
            async for raws in self._of_handler(scope, handler):
                for some in portions(raws):
                    states.update(scope.states(some))
                    await steps.pause()
        scope.all_loaded(handler)
        return states

    async def _of_handler(self, scope: ConversationScope, handler: str) -> AsyncIterator[Sequence[bytes]]:
        first = await self.first_read.take(scope.collection, {}, handler)
        if first is not None and (mine := scope.among(first, handler)) is not None:
            yield mine
            return
        async for raws in self.batches(scope, scope.stored(handler)):
            yield raws

    async def load_keyboards(self, scope: CallbackDataScope) -> CDCData | None:
        """Loads the cache of arbitrary callback data, up to its size; `None` if nothing is stored."""
        found = Found([], [])
        with scope.being_loaded(), Steps() as steps:
            first = await self.first_read.take(scope.collection, {})
            newest = await newest_keyboards(self._driver, scope, first, steps)
            if newest.left_out:
                _LOGGER.warning(
                    "%s holds more than the %s that PTB's cache does: the oldest keyboards and queries are not loaded",
                    scope.collection,
                    scope.cache_size,
                )
            for raws in portions(newest.raws()):
                scope.read(raws, found)
                await steps.pause()
        return scope.data(found)

    async def copies(self, scope: DataScope[Any], query: Mapping[str, Any] | None = None) -> dict[int, Any]:
        """Objects for the stored documents; they are never refreshed or saved."""
        copies: dict[int, Any] = {}
        async for raws in self.batches(scope, query or {}):
            copies.update(scope.copies(raws))
        return copies

    async def ids(self, scope: DataScope[Any], after: Any) -> tuple[list[int], Any]:
        """A page of the ids of stored documents, in ascending order.

        Args:
            scope: The scope.
            after: The position that they follow; `None` for the first page.

        Returns:
            The ids, and the position that the next page follows; `None` if this is the last one.
        """
        query = {"_id": {"$gt": -math.inf if after is None else after}, BURIED_FIELD: None}  # only numbers match
        raws = await self._driver.raw_page(Page(scope.collection, query, ("_id",), [("_id", 1)], _PAGE))
        found = []
        for raw in raws:
            with contextlib.suppress(DecodeError):
                found.append(scope.key_of(id_of(raw)))
        return found, load(raws[-1])["_id"] if len(raws) == _PAGE else None

    async def preload(self, scope: DataScope[Any], keys: Iterable[int], live: Callable[[int], Any]) -> None:
        """Loads many documents into their live objects, with one query for thousands.

        Raises:
            UnavailableError: If no server answers.
        """
        await Preload(self._driver, self._reader, scope, live).load(keys)

    async def index(self, collection: Collection[Any], field: str) -> None:
        """Creates an index, if there is none."""
        await self._driver.create_index(collection.collection, field)

    def some(
        self, collection: Collection[Any], query: Mapping[str, Any], fields: Mapping[str, Any], limit: int
    ) -> AsyncIterator[dict[str, Any]]:
        """A few fields of a few documents, whatever a stranger may have written there."""
        return self._driver.find(collection.collection, query, fields, limit=limit)

    # -- refreshing -------------------------------------------------------------------------------------

    async def refresh(
        self, scope: DataScope[Any], key: int, live: Any, *, read: bool, beside: DataScope[Any] | None = None
    ) -> None:
        """Merges others' changes into a live object.

        Args:
            scope: The scope.
            key: The user's, chat's or bot's id.
            live: The live object.
            read: Whether to read the document even if it is not stale.
            beside: For a private chat, the scope of its user, whose data is refreshed next and read together with the
                chat's.

        Raises:
            UnavailableError: If the document was never loaded, and no server answers.
        """
        if not read and scope.is_current(key, live):
            return  # nearly always, and three times for each update
        scope.see(key, live)
        if replica := scope.outdated(key, read=read and not self._was_just_read(scope, key)):
            wanted: dict[DocumentCollection, list[Replica]] = {scope: [replica]}
            other = beside.outdated(key, read=read) if beside is not None else None
            if beside is not None and other is not None:
                wanted[beside] = [other]
            try:
                await self._reader.refresh(wanted, every=read)
            except (UnavailableError, RefusedError) as error:
                scope.go_on(key, error)
            else:
                if other is not None:
                    self._note_read(other)
        scope.catch_up(key)

    def _note_read(self, replica: Replica) -> None:
        """Notes that a document was read for this task's next call, if that comes before anything else can happen."""
        self._just_read[asyncio.current_task()] = replica
        asyncio.get_running_loop().call_soon(self._just_read.clear)

    def _was_just_read(self, scope: DataScope[Any], key: int) -> bool:
        noted = self._just_read.pop(asyncio.current_task(), None) if self._just_read else None
        return noted is not None and noted is scope.replicas.get(key)

    # -- saving -----------------------------------------------------------------------------------------

    def offer_copy(self, scope: DataScope[Any], key: int, copy: Any) -> Coroutine[Any, Any, None] | None:
        """Takes a copy that nobody changes any more, to be saved if it differs.

        Thousands of them come in one turn of the event loop. The first ones are compared at once, as then nobody has to
        wait for those that are unchanged.

        Returns:
            A coroutine that waits until the copy is saved; `None` if it must be staged at once.
        """
        writer = self._writer
        may_wait = writer.may_wait(scope)
        found = scope.offer(key, copy, may_wait=may_wait, looks=not may_wait or len(writer.waiting) < _LOOKED_AT)
        if found is Offering.AT_ONCE:
            return None
        if found is Offering.UNCHANGED or (ticket := writer.submit(scope, found, is_save=False)) is None:
            return SAVED
        return ticket.saved(found)

    def offer(self, collection: Collection[Any], replica: Replica | None) -> Offer | None:
        """Hands a document to the writer, if there is something to write."""
        return (replica, self._writer.submit(collection, replica)) if replica is not None else None

    @staticmethod
    async def outcomes(offers: Sequence[Offer | None], failed: Sequence[DocumentError] = ()) -> None:
        """Waits until the documents are acknowledged, or until the background has taken over.

        Args:
            offers: The offered documents.
            failed: Errors that are already known.

        Raises:
            DocumentError: If a document was refused because of its content. Further errors are logged.
            RefusedError: If the server refuses everything for now; only one of many concurrent calls raises it.
        """
        errors: list[DocumentError | RefusedError] = list(failed)
        for offer in offers:
            try:
                await Exchange.outcome(offer)
            except (DocumentError, RefusedError) as error:
                errors.append(error)
        for other in errors[1:]:
            _LOGGER.error("Not saved: %s", other)
        if errors:
            raise errors[0]

    @staticmethod
    async def outcome(offer: Offer | None) -> None:
        """Waits until the document is acknowledged, or until the background has taken over.

        Raises:
            DocumentError: If it was refused because of its content.
            RefusedError: See `Ticket.outcome`.
        """
        if offer is not None and offer[1] is not None:
            await offer[1].outcome(offer[0])
