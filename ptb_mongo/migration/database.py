"""A bot's database without the bot: its documents, each decoded or with the reason why it cannot be decoded."""

from __future__ import annotations

import datetime as dtm
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import Any, Final

import telegram

from ptb_mongo.codec import Codec, load
from ptb_mongo.driver import Driver, connect, database_of
from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.data import Kind
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import make_scopes
from ptb_mongo.sync.format import FORMAT_VERSION, check
from ptb_mongo.types import Exclude, Migrations, ScopeName

__all__ = ["Database", "Stored"]

_FORMAT: Final = "ptb_mongo"


@dataclass(frozen=True, slots=True)
class Stored:
    """One document.

    Attributes:
        id: Its `_id`.
        key: Its key in the scope; `None` if the `_id` is not one of ours.
        raw: Its bytes.
        body: Its decoded fields; empty if there is an error.
        error: Why it cannot be read.
    """

    id: Any
    key: Any
    raw: bytes
    body: Document
    error: DecodeError | None = None


class Database:
    """The collections of one bot.

    Args:
        driver: The database.
        name: Its name.
        prefix: The beginning of the collections' names.
        trusted: Classes, or names of modules, whose objects may be stored and restored.
        aliases: Classes by their former names.
        migrations: Functions to apply to data when it is read; by default, it is read as it is stored.
        exclude: Paths of values that are neither read nor written.
        bot: Takes the place of the bot in the data.

    Attributes:
        scopes: The documents of each kind of data.
        data_scopes: Those of users, chats and the bot.
        writer: The first part of each `rev` that is written here.
    """

    def __init__(
        self,
        driver: Driver,
        name: str,
        *,
        prefix: str = "",
        trusted: Iterable[type | str | FunctionType] = (),
        aliases: Mapping[str, type] = MappingProxyType({}),
        migrations: Migrations | None = None,
        exclude: Exclude | None = None,
        bot: telegram.Bot | None = None,
    ) -> None:
        self.driver = driver
        self.name = name
        self.prefix = prefix
        self.trusted = tuple(trusted)
        self.aliases = aliases
        self.writer = uuid.uuid4().hex[:12]
        self.codec = codec = Codec(self.trusted, lambda: bot, aliases)
        codec.import_trusted()
        names: tuple[ScopeName, ...] = ("user_data", "chat_data", "bot_data")
        # `object`, as only the bot knows the type of the data
        new = dict.fromkeys(names, object)
        scopes = make_scopes(codec, prefix=prefix, new=new, migrations=migrations, exclude=exclude)
        self.callback_data = scopes.callback_data
        self.data_scopes: dict[Kind, DataScope[Any]] = {
            "user_data": scopes.user_data,
            "chat_data": scopes.chat_data,
            "bot_data": scopes.bot_data,
        }
        self.scopes: dict[Kind, Collection[Any]] = {
            **self.data_scopes,
            "conversations": scopes.conversations,
            "callback_data": scopes.callback_data,
            "jobs": scopes.jobs,
        }

    @classmethod
    async def open(
        cls,
        client: object,
        name: str | None = None,
        *,
        prefix: str = "",
        trusted: Iterable[type | str | FunctionType] = (),
        aliases: Mapping[str, type] = MappingProxyType({}),
        migrations: Migrations | None = None,
        exclude: Exclude | None = None,
        bot: telegram.Bot | None = None,
    ) -> Database:
        """Opens a database; close it afterwards.

        Args:
            client: A URI or a client, as for `MongoPersistence`.
            name: The database's name; by default that of the URI.
            prefix: The beginning of the collections' names.
            trusted: Classes, or names of modules, whose objects may be stored and restored.
            aliases: Classes by their former names.
            migrations: Functions to apply to data when it is read.
            exclude: Paths of values that are neither read nor written.
            bot: Takes the place of the bot in the data.

        Raises:
            ConfigurationError: If the URI or the name cannot be used.
        """
        name = database_of(client, name)
        driver = await connect(client, name)
        return cls(
            driver,
            name,
            prefix=prefix,
            trusted=trusted,
            aliases=aliases,
            migrations=migrations,
            exclude=exclude,
            bot=bot,
        )

    async def close(self) -> None:
        """Closes the connection if it is ours."""
        await self.driver.close()

    @property
    def format_collection(self) -> str:
        """The collection of the format document."""
        return f"{self.prefix}{_FORMAT}"

    async def format(self) -> dict[str, Any] | None:
        """The document with the version of the storage format and the owner; `None` in a new database.

        A version that no ptb_mongo writes counts as the current one, and is noted in `odd_version`.

        Raises:
            FormatError: If it is newer than this version of ptb_mongo.
        """
        found: dict[str, Any] | None = None
        async for document in self.driver.find(self.format_collection, {"_id": "format"}):
            found = document
        if found is not None and not check(found, self.name, token=""):
            found |= {"version": FORMAT_VERSION, "odd_version": found.get("version")}
        return found

    async def begin(self, bot_id: int) -> None:
        """Notes version and bot in a new database, as the bot would do at its start."""
        made = {"version": FORMAT_VERSION, "bot_id": bot_id, "created_at": dtm.datetime.now(dtm.timezone.utc)}
        await self.driver.insert_if_missing(self.format_collection, "format", made)

    async def read(
        self, kind: Kind, query: Mapping[str, Any] | None = None, also: Sequence[str] = ()
    ) -> AsyncIterator[Stored]:
        """The documents of one kind, whether they can be decoded or not.

        Args:
            kind: The kind.
            query: A filter; by default, all documents.
            also: Fields to read besides ours, such as `updated_at`.
        """
        scope = self.scopes[kind]
        async for raws in self.driver.raw_batches(scope.collection, query or {}, (*scope.fields, *also)):
            for raw in raws:
                yield self.decoded(kind, raw)

    def decoded(self, kind: Kind, raw: bytes) -> Stored:
        """A document, from its bytes."""
        scope = self.scopes[kind]
        try:
            key, parts, body = scope.decoded(raw, load(raw))
        except DecodeError as error:
            document_id, key = scope.named(raw)
            # A new error, because the traceback of the raised one keeps the whole document alive.
            located = DecodeError(error.reason, path=error.path)
            located.located(scope.collection, document_id)
            return Stored(document_id, key, raw, {}, located)
        return Stored(parts.id, key, raw, {**body, "rev": parts.rev})
