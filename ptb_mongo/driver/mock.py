"""A database of mongomock-motor.

For a document that it cannot store, mongomock raises whatever its Python code happens to raise. The document is to
blame: nothing else can be wrong with a database in the same process.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, TypeVar

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from ptb_mongo.driver import texts
from ptb_mongo.driver.batches import ByIds, Page, Selection
from ptb_mongo.driver.connection import Connection
from ptb_mongo.driver.database import Driver
from ptb_mongo.driver.failures import reason_of, translated
from ptb_mongo.driver.operations import Delete, Failure, Insert, Operation
from ptb_mongo.driver.options import CODEC_OPTIONS
from ptb_mongo.errors import PersistenceError

__all__ = ["MockDriver"]

T = TypeVar("T")

# A UUID stays the binary that a server stores: mongomock cannot store the other form, and has no option for it.
_AS_STORED: Final[CodecOptions[dict[str, Any]]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_LONGEST_TEXT: Final = 200


class MockConnection(Connection):
    """A database in memory: there is nothing to wait for, log in to or close."""

    def __init__(self, client: Any, database: str) -> None:
        self.database = client.get_database(database)

    async def run(self, attempt: Callable[[Any], Awaitable[T]], *, awaits: bool = False) -> T:  # noqa: ARG002
        """See `Connection.run`."""
        with translated():
            return await attempt(self.database)

    async def close(self) -> None:
        """See `Connection.close`."""


class MockDriver(Driver):
    """A database of mongomock-motor: no raw batches, no `hello`, no bulk writes, no pipelines."""

    def __init__(self, client: Any, database: str, *, owned: bool) -> None:  # noqa: ARG002
        self._connection = MockConnection(client, database)
        self._database = self._connection.database
        self.may_roll_back = False

    @staticmethod
    def _lenient(collection: Any) -> Any:
        return collection  # it decodes nothing

    async def hello(self) -> dict[str, Any]:
        """The answer of a standalone server."""
        return {"isWritablePrimary": True}

    async def explained(self, error: PersistenceError) -> PersistenceError:
        """See `Driver.explained`; no option matters."""
        return error

    async def probe_streams(self) -> str | None:
        """See `Driver.probe_streams`."""
        return None

    async def can_watch(self, hello: Mapping[str, Any], probe: Awaitable[str | None] | None = None) -> str | None:  # noqa: ARG002
        """See `Driver.can_watch`."""
        return "mongomock has none"

    async def raw_batches(
        self, collection: str, query: Mapping[str, Any], fields: Sequence[str], **_: Any
    ) -> AsyncIterator[list[bytes]]:
        """See `Driver.raw_batches`."""
        documents = await self._database[collection].find(query, dict.fromkeys(fields, 1) or None).to_list(None)
        yield [bson.encode(document, codec_options=CODEC_OPTIONS) for document in documents]

    async def raw_page(self, page: Page) -> list[bytes]:
        """See `Driver.raw_page`."""
        found = self._database[page.collection].find(page.query, dict.fromkeys(page.fields, 1))
        documents = await found.sort([*page.sort]).limit(page.most).to_list(None)
        return [bson.encode(document, codec_options=CODEC_OPTIONS) for document in documents]

    async def raw_documents(self, wanted: Sequence[ByIds], *, lasting: bool = False) -> list[list[bytes]]:  # noqa: ARG002
        """See `Driver.raw_documents`; one by one."""
        return [await self._by_ids(one) for one in wanted]

    async def first_documents(self, wanted: Sequence[Selection], most: int) -> list[list[bytes] | None]:  # noqa: ARG002
        """See `Driver.first_documents`; there are no round trips to save."""
        return [None for _ in wanted]

    async def _by_ids(self, wanted: ByIds) -> list[bytes]:
        query = {"_id": {"$in": wanted.ids}}
        return [raw async for raws in self.raw_batches(wanted.collection, query, wanted.fields) for raw in raws]

    async def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """See `Driver.command`; mongomock has none."""
        raise NotImplementedError(next(iter(command)))

    async def touch(self, collection: str, query: Mapping[str, Any], field: str, *, unset: bool = False) -> int:
        """See `Driver.touch`."""
        change = {"$unset": {field: ""}} if unset else {"$set": {field: datetime.now(timezone.utc)}}
        return int((await self._database[collection].update_many(query, change)).matched_count)

    async def write(self, collection: str, operations: Sequence[Operation]) -> dict[int, Failure]:
        """See `Driver.write`; one by one, as mongomock does not report which of several were done."""
        failures = {}
        with translated():
            for index, operation in enumerate(operations):
                if (failure := await self._failure(collection, operation)) is not None:
                    failures[index] = failure
        return failures

    async def _failure(self, collection: str, operation: Operation) -> Failure | None:
        """Does one write; returns why it was not done."""
        outdated = Failure("its document was changed by others", outdated=True)
        try:
            return None if await self._done(self._database[collection], operation) else outdated
        except OperationFailure as error:
            taken = isinstance(error, DuplicateKeyError) and isinstance(operation, Insert)
            # Mongomock raises its own `WriteError` for a path through a value that is not a document.
            return outdated if taken or type(error).__name__ == "WriteError" else Failure(reason_of(error))
        except PyMongoError:
            raise
        except Exception as error:  # noqa: BLE001  (see the module's docstring)
            text = f"{type(error).__name__}: {texts.cut(str(error))}".removesuffix(": ")
            return Failure(f"mongomock cannot store it: {text[:_LONGEST_TEXT]}")

    @staticmethod
    async def _done(target: Any, operation: Operation) -> bool:
        if isinstance(operation, Insert):
            now = datetime.now(timezone.utc)
            await target.insert_one(_as_stored({"_id": operation.id, **operation.fields, "updated_at": now}))
            return True
        if isinstance(operation, Delete):
            found = _as_stored({"_id": operation.id, **operation.guard})
            return bool((await target.delete_one(found)).deleted_count)
        guard = {**operation.guard, **operation.changes.guard()}
        for update in operation.changes.steps(operation.rev, datetime.now(timezone.utc), operation.extra):
            # Nothing can run in between, as mongomock never waits.
            found = _as_stored({"_id": operation.id, **guard})
            if not (await target.update_one(found, _as_stored(update))).matched_count:
                return False
            guard = {}
        return True


def _as_stored(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the values that a server would store."""
    stored: dict[str, Any] = _comparable(bson.decode(bson.encode(document, codec_options=CODEC_OPTIONS), _AS_STORED))
    return stored


def _comparable(value: Any) -> Any:
    """The same value with NaNs that are equal to each other, as on a server."""
    if type(value) is dict:
        return {name: _comparable(item) for name, item in value.items()}
    if type(value) is list:
        return [_comparable(item) for item in value]
    return _NaN(value) if type(value) is float and math.isnan(value) else value


class _NaN(float):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isnan(other)

    def __hash__(self) -> int:
        return hash("NaN")
