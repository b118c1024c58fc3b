"""Saves all changes of one update in one transaction, together with the mark that the update is done.

Each write is the usual compare-and-set. If one of them does not match, none is done: everything is read, merged, and
sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.driver.operations import Operation
from ptb_mongo.driver.transactions import Outcome
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.claims import Claims
from ptb_mongo.sync.graves import Graves
from ptb_mongo.sync.operations import OperationMaker, Prepared
from ptb_mongo.sync.reader import DocumentCollection, Reader

__all__ = ["Transactions"]

_ATTEMPTS: Final = 30  # others may write `bot_data` as often as they handle updates
_PAUSE: Final = 0.002

Documents = Mapping[Collection[Any], Sequence[Replica]]


class Transactions:
    """Saves documents in transactions.

    Args:
        driver: The database.
        reader: Reads documents that others may have written.
        operations: Creates the writes.
        graves: Removes the tombstones of deleted documents.
        claims: Tracks who is writing which document.
        counters: Counts what happens.
    """

    def __init__(
        self,
        driver: Driver,
        reader: Reader,
        operations: OperationMaker,
        graves: Graves,
        claims: Claims,
        counters: Counters,
    ) -> None:
        self._driver = driver
        self._reader = reader
        self._operations = operations
        self._graves = graves
        self._claims = claims
        self._counters = counters

    async def save(self, documents: Documents, marks: Mapping[str, Any]) -> bool:
        """Saves documents, all or none.

        Args:
            documents: The unsaved documents, by collection.
            marks: See `Driver.transact`.

        Returns:
            Whether it was possible; for example, it is not if one of them is refused.

        Raises:
            UnavailableError: If no server answers, and it is unknown whether they are saved; or if others keep writing
                the same documents.
        """
        replicas = [replica for some in documents.values() for replica in some]
        found = {replica: replica.withdrawals for replica in replicas}
        async with self._claims.hold(replicas):
            for attempt in range(_ATTEMPTS):
                await self._read_stale(documents)
                if any(replica.withdrawals != before for replica, before in found.items()):
                    raise UnavailableError("another worker has written data that a lease protects")
                outcome = await self._save(documents, marks)
                if outcome is not Outcome.OVERTAKEN:
                    return outcome is Outcome.DONE
                await asyncio.sleep(_PAUSE * attempt)
        raise UnavailableError("others keep writing the same documents")

    async def _save(self, documents: Documents, marks: Mapping[str, Any]) -> Outcome:
        prepared = {
            collection: made for collection, some in documents.items() if (made := self._prepared(collection, some))
        }
        stamps = {collection: [one for one in made.values() if one.is_first] for collection, made in prepared.items()}
        if any(stamps.values()):
            await self._stamp(prepared)
            return Outcome.OVERTAKEN
        if not prepared and not marks:
            return Outcome.DONE
        writes: dict[str, list[Operation]] = {
            collection.collection: [one.operation for one in made.values()] for collection, made in prepared.items()
        }
        sent = [(collection, *item) for collection, made in prepared.items() for item in made.items()]
        try:
            outcome = await self._driver.transact(writes, marks)
        except RefusedError:
            outcome = Outcome.REFUSED
        except BaseException:
            for _, replica, one in sent:
                replica.unknown(one.rev)
            raise
        for collection, replica, one in sent:
            if outcome is Outcome.DONE:
                self._is_saved(collection, replica, one)
            else:
                replica.refused(one.rev)  # it was not done, and will not be
                replica.told()
        return outcome

    async def _read_stale(self, documents: Documents) -> None:
        stale: dict[DocumentCollection, list[Replica]] = {}
        for collection, replicas in documents.items():
            if found := [replica for replica in replicas if replica.is_stale]:
                stale[collection] = found
        if stale:
            await self._reader.read(stale)

    def _prepared(self, collection: Collection[Any], replicas: Sequence[Replica]) -> dict[Replica, Prepared]:
        prepared = {}
        for replica in replicas:
            if not replica.is_unsaved:
                continue
            made = self._operations.make(collection, replica, replica.pending, 0)
            if made is not None:
                prepared[replica] = made
            else:
                replica.settled(replica.pending)
        return prepared

    async def _stamp(self, prepared: Mapping[Collection[Any], Mapping[Replica, Prepared]]) -> None:
        """Gives documents without a `rev` one, so that the next write can expect it."""
        for collection, made in prepared.items():
            firsts = {replica: one for replica, one in made.items() if one.is_first}
            for replica, one in made.items():
                if replica not in firsts:
                    replica.refused(one.rev)  # it is not sent this time
            try:
                failures = await self._driver.write(collection.collection, [one.operation for one in firsts.values()])
            except BaseException:
                for replica, one in firsts.items():
                    replica.unknown(one.rev)
                raise
            for index, (replica, one) in enumerate(firsts.items()):
                if index in failures:
                    replica.outdated(one.rev)
                else:
                    collection.acknowledged(replica, one.rev)

    def _is_saved(self, collection: Collection[Any], replica: Replica, one: Prepared) -> None:
        collection.acknowledged(replica, one.rev)
        self._counters.documents_written += 1
        if replica.is_buried:
            self._graves.dug(collection, replica)
        if not replica.is_unsaved:
            collection.forget(replica)
