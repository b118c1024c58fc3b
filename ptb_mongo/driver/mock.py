"""A database of mongomock-motor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import bson
from pymongo.errors import DuplicateKeyError, OperationFailure

from ptb_mongo.driver.batches import ByIds
from ptb_mongo.driver.database import CODEC_OPTIONS, Driver
from ptb_mongo.driver.operations import Delete, Failure, Insert, Operation
from ptb_mongo.errors import PersistenceError

__all__ = ["MockDriver"]


class MockDriver(Driver):
    """A database of mongomock-motor: no raw batches, no `hello`, no bulk writes, no pipelines."""

    def __init__(self, client: Any, database: str, *, owned: bool) -> None:  # noqa: ARG002
        self._client = client
        self._owned = False
        self._database = client.get_database(database)
        self.may_roll_back = False

    async def hello(self) -> dict[str, Any]:
        """The answer of a standalone server."""
        return {"isWritablePrimary": True}

    async def explained(self, error: PersistenceError) -> PersistenceError:
        """See `Driver.explained`; no option matters."""
        return error

    async def can_watch(self, hello: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """See `Driver.can_watch`."""
        return "mongomock has none"

    async def raw_batches(
        self, collection: str, query: Mapping[str, Any], fields: Sequence[str]
    ) -> AsyncIterator[list[bytes]]:
        """See `Driver.raw_batches`."""
        documents = await self._database[collection].find(query, dict.fromkeys(fields, 1)).to_list(None)
        yield [bson.encode(document, codec_options=CODEC_OPTIONS) for document in documents]

    async def raw_documents(self, wanted: Sequence[ByIds], *, lasting: bool = False) -> list[list[bytes]]:  # noqa: ARG002
        """See `Driver.raw_documents`; one by one."""
        return [await self._by_ids(one) for one in wanted]

    async def _by_ids(self, wanted: ByIds) -> list[bytes]:
        query = {"_id": {"$in": wanted.ids}}
        return [raw async for raws in self.raw_batches(wanted.collection, query, wanted.fields) for raw in raws]

    async def write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        """See `Driver.write`; one by one, as mongomock does not report which of several were done."""
        outdated = Failure("its document was changed by others", outdated=True)
        failures = {}
        for index, operation in enumerate(operations):
            try:
                if not await self._done(self._database[collection], operation):
                    failures[index] = outdated
            except OperationFailure as error:
                taken = isinstance(error, DuplicateKeyError) and isinstance(operation, Insert)
                # mongomock raises its own `WriteError` for a path through a value that is not a document
                failures[index] = outdated if taken or type(error).__name__ == "WriteError" else Failure(str(error))
        return failures

    @staticmethod
    async def _done(target: Any, operation: Operation) -> bool:
        if isinstance(operation, Insert):
            now = datetime.now(timezone.utc)
            await target.insert_one({"_id": operation.id, **operation.fields, "updated_at": now})
            return True
        if isinstance(operation, Delete):
            return bool((await target.delete_one({"_id": operation.id, **operation.guard})).deleted_count)
        guard = {**operation.guard, **operation.changes.guard()}
        for update in operation.changes.steps(operation.rev, datetime.now(timezone.utc), operation.extra):
            # Nothing runs in between: mongomock never waits.
            if not (await target.update_one({"_id": operation.id, **guard}, update)).matched_count:
                return False
            guard = {}
        return True
