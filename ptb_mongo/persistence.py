"""`MongoPersistence`: its options, its state, and what it offers beyond the methods that PTB calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, cast, overload

from pymongo import AsyncMongoClient
from telegram.ext import Application, ContextTypes, PersistenceInput

from ptb_mongo.codec import Codec
from ptb_mongo.driver import database_of
from ptb_mongo.driver.uri import without_password
from ptb_mongo.every_id import every_id
from ptb_mongo.health import Health
from ptb_mongo.lifecycle import Lifecycle, Staged
from ptb_mongo.people.handing_out import handed_out
from ptb_mongo.people.spilled import erase_spilled
from ptb_mongo.people.stored import Erased
from ptb_mongo.people.subject import Subject
from ptb_mongo.ptb_interface import PTBInterface
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import Scopes
from ptb_mongo.scopes.jobs import LiveJobs
from ptb_mongo.session import Session
from ptb_mongo.settings import Settings, Sharing
from ptb_mongo.types import BD, CD, UD, Exclude, Expire, Loading, Migrations, OnConflict, Refresh

__all__ = ["MongoPersistence"]

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClient

Client: TypeAlias = "str | AsyncIOMotorClient[Any] | AsyncMongoClient[Any]"


class MongoPersistence(PTBInterface[UD, CD, BD], Generic[UD, CD, BD]):
    """Stores a bot's data in MongoDB; replaces `telegram.ext.PicklePersistence`.

    Args:
        client: A connection string (`mongodb://` or `mongodb+srv://`), for which a client is created when the
            application is initialized, and closed by `flush`; or a Motor client, a `pymongo.AsyncMongoClient` or a
            `mongomock_motor.AsyncMongoMockClient`, which is never closed.
        database: The database's name; by default the one in the connection string, else "telegram_bot".
        store_data: Which kinds of data are stored; by default, all.
        update_interval: Seconds between two saves by the `Application`.
        on_flush: Whether to save only when the application shuts down.
        context_types: The types of `user_data`, `chat_data` and `bot_data`: the same object that the `Application`
            gets. Their classes are trusted.
        loading: "eager" loads everything at startup. "lazy" starts at once, and reads the data of a user or chat at
            their first update.
        keep: With `loading="lazy"`, how many users, and how many chats, stay in memory. If there are more, those
            inactive longest are evicted once all of their data is saved, unless one of their updates or jobs is
            running. They come back as if they had never been loaded. By default, nobody is evicted.
        refresh: How changes by other services are noticed: "watch" follows a change stream, "read" reads once per
            update, "off" ignores them until the next start. "auto" watches if the server offers change streams (a
            replica set, such as Atlas), and reads otherwise.
        on_conflict: Which value wins if both the bot and somebody else have changed it: "local" keeps the bot's,
            "remote" the database's; a callable gets a `Conflict` and returns the value. Or strategies by scope and
            path, `{"user_data": {"score": "add", "prefs.*": "remote"}}`: "add" keeps what both sides have added to a
            number or taken from it, "max" and "min" the larger or smaller value. Sets and lists are merged without a
            conflict, unless both sides changed the same elements of a list.
        trusted: Classes, or names of modules, whose objects may be stored and restored. Restoring an object runs code
            of its class, so name only your own. Also functions that fill a `defaultdict`, each by itself.
        aliases: Classes that were moved or renamed, by their old names: `{"old_module.Basket": Basket}`. Data stored
            under such a name is restored as that class, which is thereby trusted, and stored under its new name the
            next time.
        migrations: Functions from the old data to the new, `{"user_data": [to_1, to_2]}`, for data that an earlier
            version of the bot has stored. Each runs once for each document, when the document is loaded, and the result
            is saved; a function that returns `None` has changed the data in place. Add new functions at the end of the
            list.
        collection_prefix: The beginning of each collection's name, for several bots in one database.
        exclude: Paths that are never stored, in dicts and in objects, for instance `{"user_data": {"cache",
            "session.lock", "prefs.*.cache"}}`; write a dot in a key as `%2E`. PTB copies the values all the same,
            before it hands over the data: keep what cannot be copied, such as a connection, elsewhere.
        expire: How long after the last update documents are deleted: `{"user_data": timedelta(days=365),
            "conversations": timedelta(days=30)}`, likewise "chat_data" and "callback_data". MongoDB deletes them, and
            they leave the bot's memory. By default, nothing expires.
        shutdown_timeout: How many seconds a stop may take while nothing can be saved, including PTB's last save before
            `flush`. As long as something is being saved, the stop continues.
        spill_dir: A folder for data that a stop cannot save; the next start merges it with the database. It holds
            users' data: only their owner can access the files, and the folder if it is created. If it cannot be written
            to, the start fails with a `ConfigurationError`.

    Raises:
        ConfigurationError: If an argument cannot be used.

    Example:
        >>> from telegram.ext import Application
        >>> from ptb_mongo import MongoPersistence
        >>> persistence = MongoPersistence("mongodb://localhost:27017", "my_bot")
        >>> builder = Application.builder().token("123456:TOKEN").persistence(persistence)
    """

    @overload
    def __init__(
        self: MongoPersistence[dict[Any, Any], dict[Any, Any], dict[Any, Any]],
        client: Client,
        database: str | None = None,
        store_data: PersistenceInput | None = None,
        update_interval: float = 60,
        on_flush: bool = False,
        context_types: None = None,
        *,
        loading: Loading = "eager",
        keep: int | None = None,
        refresh: Refresh = "auto",
        on_conflict: OnConflict = "local",
        trusted: Collection[type | str | FunctionType] = (),
        aliases: Mapping[str, type] | None = None,
        migrations: Migrations | None = None,
        collection_prefix: str = "",
        exclude: Exclude | None = None,
        expire: Expire | None = None,
        shutdown_timeout: float = 30,
        spill_dir: str | Path | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: MongoPersistence[UD, CD, BD],
        client: Client,
        database: str | None = None,
        store_data: PersistenceInput | None = None,
        update_interval: float = 60,
        on_flush: bool = False,
        context_types: ContextTypes[Any, UD, CD, BD] | None = None,
        *,
        loading: Loading = "eager",
        keep: int | None = None,
        refresh: Refresh = "auto",
        on_conflict: OnConflict = "local",
        trusted: Collection[type | str | FunctionType] = (),
        aliases: Mapping[str, type] | None = None,
        migrations: Migrations | None = None,
        collection_prefix: str = "",
        exclude: Exclude | None = None,
        expire: Expire | None = None,
        shutdown_timeout: float = 30,
        spill_dir: str | Path | None = None,
    ) -> None: ...

    def __init__(
        self,
        client: Client,
        database: str | None = None,
        store_data: PersistenceInput | None = None,
        update_interval: float = 60,
        on_flush: bool = False,
        context_types: ContextTypes[Any, UD, CD, BD] | None = None,
        *,
        loading: Loading = "eager",
        keep: int | None = None,
        refresh: Refresh = "auto",
        on_conflict: OnConflict = "local",
        trusted: Collection[type | str | FunctionType] = (),
        aliases: Mapping[str, type] | None = None,
        migrations: Migrations | None = None,
        collection_prefix: str = "",
        exclude: Exclude | None = None,
        expire: Expire | None = None,
        shutdown_timeout: float = 30,
        spill_dir: str | Path | None = None,
    ) -> None:
        Codec(trusted, aliases={} if aliases is None else aliases)  # raises now, not when the bot starts
        types = context_types or cast("ContextTypes[Any, UD, CD, BD]", ContextTypes())
        new = {"user_data": types.user_data, "chat_data": types.chat_data, "bot_data": types.bot_data}
        classes = (kind for kind in new.values() if isinstance(kind, type) and kind is not dict)
        settings = Settings(
            client=client,
            database=database_of(client, database),
            new=new,  # type: ignore[arg-type]  # the keys are the scopes' names
            trusted=(*trusted, *classes),
            aliases=dict(aliases or {}),
            migrations={} if migrations is None else migrations,
            loading=loading,
            keep=keep,
            refresh=refresh,
            on_conflict=on_conflict,
            on_flush=on_flush,
            collection_prefix=collection_prefix,
            exclude=dict(exclude or {}),
            expire=dict(expire or {}),
            shutdown_timeout=shutdown_timeout,
            spill_dir=Path(spill_dir).absolute() if spill_dir is not None else None,
        )
        settings.check()
        super().__init__(Lifecycle(settings, lambda: getattr(self, "bot", None)), store_data, update_interval)

    def __repr__(self) -> str:
        client = self._lifecycle.settings.client
        shown = without_password(client) if isinstance(client, str) else type(client).__name__
        return f"{type(self).__name__}({shown!r}, {self._lifecycle.settings.database!r})"

    @property
    def refresh_mode(self) -> Literal["watch", "read", "off"] | None:
        """How changes by others are noticed; `None` while the application is not initialized."""
        return self._lifecycle.session.refresh_mode if self._lifecycle.session is not None else None

    def health(self) -> Health:
        """The state of the persistence, for a health check or a log. Sends no request and does not wait.

        Example:
            >>> MongoPersistence("mongodb://localhost").health().connected
            False
        """
        return replace(self._lifecycle.health(), saver_alive=self._saver.is_saver_alive)

    def share(self, sharing: Sharing) -> None:
        """Connects the persistence to one of several workers; for `SharedApplication`.

        Raises:
            ConfigurationError: If the arguments of this persistence do not allow that.
        """
        self._lifecycle.share(sharing)

    def keep_jobs(self, jobs: LiveJobs) -> None:
        """Connects the persistence to a queue whose jobs it stores; for `MongoJobQueue`."""
        self._lifecycle.settings = replace(self._lifecycle.settings, jobs=jobs)

    def save_staged(self, stage: Callable[[Scopes], Staged]) -> Coroutine[Any, Any, None]:
        """See `Lifecycle.save`; for `MongoJobQueue`."""
        return self._lifecycle.save(stage)

    @property
    def session(self) -> Session | None:
        """The session, which is open between `initialize` and `flush`; for `SharedApplication`."""
        return self._lifecycle.session

    async def open_session(self) -> Session:
        """The session, opened again if a running bot has called `flush`; for `SharedApplication`.

        Raises:
            UnavailableError: If no server answers.
        """
        return await self._lifecycle.open()

    # -- people -----------------------------------------------------------------------------------------

    async def erase(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        *,
        user_id: int | None = None,
        chat_id: int | None = None,
    ) -> Erased:
        """Erases a user, or a chat: what is stored, and what this process and all other workers hold in memory.

        For a user, that is `user_data`, the `chat_data` of the private chat, conversations, jobs and leases. Mentions
        in other people's data stay; `ptb-mongo erase user 42 --search` lists them.

        Args:
            application: The application that this persistence belongs to.
            user_id: The user.
            chat_id: The chat, instead of a user.

        Returns:
            How much was found, and was deleted.

        Raises:
            UnavailableError: If no server answers; call it again later.

        Example:
            >>> async def forget_me(update, context):
            ...     await persistence.erase(context.application, user_id=update.effective_user.id)
        """
        subject = Subject.of(user_id, chat_id)
        self._lifecycle.people.note_application(application)
        session, prefix = await self._lifecycle.open(), self._lifecycle.settings.collection_prefix
        erased = await self._lifecycle.people.erase(session, prefix, subject)
        await self._lifecycle.spill_again()
        if (folder := self._lifecycle.settings.spill_dir) is not None:
            where = folder, self._lifecycle.settings.database, prefix, subject, self._lifecycle.people.parts()
            erased.note_spilled(await asyncio.to_thread(erase_spilled, *where))
        return erased

    async def export(self, user_id: int | None = None, *, chat_id: int | None = None) -> dict[str, Any]:
        """Everything that is stored about a user or a chat, readable for people, and ready for `json.dumps`.

        Dates are texts in ISO 8601, decimals are texts, Telegram objects are as in the Bot API, and other objects are
        their attributes.

        Args:
            user_id: The user.
            chat_id: The chat, instead of a user.

        Raises:
            UnavailableError: If no server answers.
        """
        subject = Subject.of(user_id, chat_id)
        session, prefix = await self._lifecycle.open(), self._lifecycle.settings.collection_prefix
        return await handed_out(session.driver, prefix, subject, self._lifecycle.people.parts())

    # -- users and chats that are not loaded ------------------------------------------------------------

    def user_ids(self, after: int | None = None) -> AsyncIterator[int]:
        """The ids of all users with a stored document, loaded or not, in ascending order; for example for a broadcast.

        The loop may take days: the ids are read page by page, and retried if the server is unreachable for minutes.
        Users who are added or deleted meanwhile may or may not be included, but no other id is left out or repeated.

        Args:
            after: Start with the first id that is larger, to resume a broadcast that has ended early.

        Raises:
            UnavailableError: If no server answers for ten minutes.

        Example:
            >>> async def broadcast(application, persistence):
            ...     async for user_id in persistence.user_ids():
            ...         await application.bot.send_message(user_id, "News!")
        """
        return self._every_id(lambda scopes: scopes.user_data, after)

    def chat_ids(self, after: int | None = None) -> AsyncIterator[int]:
        """The ids of all chats with a stored document, loaded or not; see `user_ids`."""
        return self._every_id(lambda scopes: scopes.chat_data, after)

    def _every_id(self, scope_of: Callable[[Scopes], DataScope[Any]], after: int | None) -> AsyncIterator[int]:
        return every_id(
            self._lifecycle.open,
            lambda session, position: session.exchange.ids(scope_of(session.scopes), position),
            after,
        )

    async def preload(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        *,
        user_ids: Iterable[int] = (),
        chat_ids: Iterable[int] = (),
    ) -> None:
        """Loads users and chats into an application, with one query for thousands.

        With `loading="lazy"`, `application.user_data[user_id]` is empty until that user's first update. Call this
        before reading it in a job or a broadcast, and before `Application.migrate_chat_data`, which moves only
        what is loaded. With `keep`, no more than so many at once.

        Args:
            application: The application that this persistence belongs to.
            user_ids: Users whose data is to be in `application.user_data`.
            chat_ids: Chats whose data is to be in `application.chat_data`.

        Raises:
            UnavailableError: If the server does not answer.
        """
        session = await self._lifecycle.open()
        users, chats = list(user_ids), list(chat_ids)
        async with self._loading("user", session.scopes.user_data, application, users):
            await session.exchange.preload(session.scopes.user_data, users, application.user_data.__getitem__)
        async with self._loading("chat", session.scopes.chat_data, application, chats):
            await session.exchange.preload(session.scopes.chat_data, chats, application.chat_data.__getitem__)
