"""A client as Motor and PyMongo make them, as far as `ptb_mongo.driver.Driver` uses one, on a modelled network."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.codec_options import DEFAULT_CODEC_OPTIONS, CodecOptions
from bson.int64 import Int64
from loop import Life
from network import Network
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure
from pymongo.pool_options import PoolOptions
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

__all__ = ["Client"]

_SESSIONS: Final = itertools.count(1)


class Client:
    """A client of one process.

    Args:
        network: Connects it with the server.
        life: The process.
        has_timeout: Whether it gives up by itself when nothing answers; a user's own may wait for ever.
    """

    def __init__(self, network: Network, life: Life, *, has_timeout: bool = True) -> None:
        self.network = network
        self.life = life
        self.has_timeout = has_timeout
        self.pool = network.pool(life)
        self.write_concern = WriteConcern()
        self.options = SimpleNamespace(pool_options=PoolOptions())
        self.sessions = 0

    def get_database(self, name: str, **options: Any) -> Database:
        return Database(self, name, **options)

    def __getitem__(self, name: str) -> Database:
        return Database(self, name)

    def start_session(self, **options: Any) -> Session:
        self.sessions += 1
        return Session(self, uuid.uuid5(uuid.NAMESPACE_OID, f"{self.life.name}/{self.sessions}"))

    async def close(self) -> None:
        pass

    @property
    def admin(self) -> Database:
        return Database(self, "admin")


class Session:
    """A session, which may have one transaction after the other.

    Args:
        client: Sends what ends one.
        number: Its id.
    """

    def __init__(self, client: Client, number: uuid.UUID) -> None:
        self.session_id = {"id": Binary.from_uuid(number)}
        self._client = client
        self._number = 0
        self._goes_on = self._has_begun = False

    def start_transaction(self, **options: Any) -> None:
        self._number += 1
        self._goes_on, self._has_begun = True, False

    def fields(self) -> dict[str, Any]:
        """What a command in a transaction holds besides."""
        if not self._goes_on:
            return {}
        begins, self._has_begun = not self._has_begun, True
        named = {"lsid": self.session_id, "txnNumber": Int64(self._number), "autocommit": False}
        return {**named, "startTransaction": True} if begins else named

    async def commit_transaction(self) -> None:
        """As PyMongo does it: once more, if it does not know what became of it."""
        more = self.fields()
        self._goes_on = False
        if "startTransaction" in more:
            return  # nothing was sent
        command = {"commitTransaction": 1, **more, "writeConcern": {"w": "majority"}}
        try:
            await self._client.admin.run(command)
        except AutoReconnect:
            await self._client.admin.run(command)

    async def end_session(self) -> None:
        more = self.fields()
        self._goes_on = False
        if not more or "startTransaction" in more:
            return
        with contextlib.suppress(AutoReconnect, OperationFailure):
            await self._client.admin.run({"abortTransaction": 1, **more})


class Database:
    def __init__(
        self,
        client: Client,
        name: str,
        codec_options: CodecOptions[Any] = DEFAULT_CODEC_OPTIONS,
        read_preference: Any = None,
        write_concern: WriteConcern | None = None,
        read_concern: Any = None,
    ) -> None:
        self.client = client
        self.name = name
        self.codec_options = codec_options
        self.write_concern = client.write_concern if write_concern is None else write_concern

    def __getitem__(self, name: str) -> Collection:
        return Collection(self, name)

    get_collection = __getitem__

    async def command(
        self,
        command: str | Mapping[str, Any],
        value: Any = 1,
        check: bool = True,
        allowable_errors: Any = None,
        read_preference: Any = None,
        codec_options: CodecOptions[Any] | None = None,
        session: Session | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        given = {command: value} if isinstance(command, str) else dict(command)
        sent = {**given, **more}
        if session is not None and "txnNumber" in sent:  # else the server does not care
            sent["lsid"] = session.session_id
        elif session is not None:
            sent |= session.fields()
        return await self.run(sent, codec_options)

    async def run(self, command: Mapping[str, Any], codec_options: CodecOptions[Any] | None = None) -> dict[str, Any]:
        """Sends a command; it and its answer pass through BSON, as they do on a wire."""
        options = self.codec_options
        as_sent = bson.decode(bson.encode(command, codec_options=options), options)
        client = self.client
        answer = await client.network.ask(client.life, as_sent, client.pool, has_timeout=client.has_timeout)
        return bson.decode(bson.encode(answer, codec_options=options), codec_options or options)

    async def batches(self, command: Mapping[str, Any]) -> list[Any]:
        """All that a cursor gives."""
        answer = await self.run(command)
        found: list[Any] = answer["cursor"]["firstBatch"]
        return found

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Cursor:
        return Cursor(self, {"aggregate": 1, "pipeline": list(pipeline), "cursor": {}})


class Cursor:
    """Documents, or batches of their bytes."""

    def __init__(self, database: Database, command: Mapping[str, Any], *, raw: bool = False) -> None:
        self._database = database
        self._command = command
        self._raw = raw

    async def __aiter__(self) -> AsyncIterator[Any]:
        found = await self._database.batches(self._command)
        if self._raw:
            options = self._database.codec_options
            yield b"".join([bson.encode(document, codec_options=options) for document in found])
            return
        for document in found:
            yield document

    async def to_list(self, length: int | None = None) -> list[Any]:
        return [one async for one in self][:length]


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class Collection:
    def __init__(self, database: Database, name: str, read_concern: ReadConcern | None = None) -> None:
        self.database = database
        self.name = name
        self.read_concern = read_concern

    def with_options(self, read_concern: ReadConcern | None = None, **options: Any) -> Collection:
        return Collection(self.database, self.name, read_concern)

    def _found(self, query: Mapping[str, Any] | None, projection: Any, raw: bool, options: Mapping[str, Any]) -> Cursor:
        if isinstance(projection, list):
            projection = dict.fromkeys(projection, 1)
        known = {name: value for name, value in options.items() if name in {"limit", "sort"} and value}
        concern = self.read_concern.document if self.read_concern is not None else None
        more = _without_none(projection=projection, readConcern=concern)
        command = {"find": self.name, "filter": query or {}, **more, **known}
        return Cursor(self.database, command, raw=raw)

    def find(self, query: Mapping[str, Any] | None = None, projection: Any = None, **options: Any) -> Cursor:
        return self._found(query, projection, raw=False, options=options)

    def find_raw_batches(
        self, query: Mapping[str, Any] | None = None, projection: Any = None, **options: Any
    ) -> Cursor:
        return self._found(query, projection, raw=True, options=options)

    async def find_one(self, query: Mapping[str, Any] | None = None, projection: Any = None, **options: Any) -> Any:
        found = await self.find(query, projection, limit=1).to_list()
        return found[0] if found else None

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Cursor:
        return Cursor(self.database, {"aggregate": self.name, "pipeline": list(pipeline), "cursor": {}})

    def aggregate_raw_batches(self, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Cursor:
        return Cursor(self.database, {"aggregate": self.name, "pipeline": list(pipeline), "cursor": {}}, raw=True)

    async def create_index(self, keys: Any, **options: Any) -> None:
        fields = {keys: 1} if isinstance(keys, str) else dict(keys)
        index = {"key": fields, "name": "_".join(fields)}
        await self.database.run({"createIndexes": self.name, "indexes": [index]})

    async def _write(self, command: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self.database.run({**command, "writeConcern": self.database.write_concern.document})
        if errors := answer.get("writeErrors"):
            raise OperationFailure(errors[0]["errmsg"], errors[0]["code"], errors[0])
        return answer

    async def update_one(self, query: Any, update: Any, upsert: bool = False, **options: Any) -> Any:
        return await self._write({"update": self.name, "updates": [{"q": query, "u": update, "upsert": upsert}]})

    async def find_one_and_update(self, query: Any, update: Any, upsert: bool = False, **options: Any) -> Any:
        found = await self.find_one(query)  # nothing else writes what is asked for in this way
        await self.update_one(query, update, upsert)
        return found

    async def insert_one(self, document: Mapping[str, Any], **options: Any) -> Any:
        return await self._write({"insert": self.name, "documents": [document]})

    async def delete_one(self, query: Mapping[str, Any], **options: Any) -> Any:
        return await self._write({"delete": self.name, "deletes": [{"q": query, "limit": 1}]})

    async def delete_many(self, query: Mapping[str, Any], **options: Any) -> Any:
        return await self._write({"delete": self.name, "deletes": [{"q": query, "limit": 0}]})

    async def bulk_write(self, requests: Iterable[Any], ordered: bool = True, **options: Any) -> None:
        """An unordered bulk write is one command for each kind of write; an ordered one, one after another."""
        groups: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
        for index, request in enumerate(requests):
            kind, statement = _statement(request)
            groups.setdefault((index, kind) if ordered else kind, []).append((index, statement))
        errors: list[dict[str, Any]] = []
        for group, statements in groups.items():
            kind = group[1] if ordered else group
            name = {"insert": "documents", "update": "updates", "delete": "deletes"}[kind]
            answer = await self.database.run(
                {
                    kind: self.name,
                    name: [statement for _, statement in statements],
                    "ordered": ordered,
                    "writeConcern": self.database.write_concern.document,
                }
            )
            errors += [{**one, "index": statements[one["index"]][0]} for one in answer.get("writeErrors", ())]
            if errors and ordered:
                break
        if errors:
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})


def _statement(request: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(request, InsertOne):
        return "insert", request._doc
    if isinstance(request, (DeleteOne, DeleteMany)):
        return "delete", {"q": request._filter, "limit": int(isinstance(request, DeleteOne))}
    if isinstance(request, (UpdateOne, UpdateMany, ReplaceOne)):
        return "update", {"q": request._filter, "u": request._doc, "upsert": bool(request._upsert)}
    raise NotImplementedError(type(request).__name__)
