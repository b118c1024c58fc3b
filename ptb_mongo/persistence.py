"""`MongoPersistence`: PTB's interface for persistence, translated to scopes; no logic of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Literal, cast, overload

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from telegram.ext import Application, BasePersistence, ContextTypes, PersistenceInput

from ptb_mongo.codec import Codec
from ptb_mongo.driver import database_of
from ptb_mongo.driver.uri import without_password
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.health import Health
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.session import Session, Settings, Sharing
from ptb_mongo.types import (
    BD,
    CD,
    UD,
    CDCData,
    ConversationDict,
    ConversationKey,
    Exclude,
    Loading,
    OnConflict,
    Refresh,
)

__all__ = ["MongoPersistence"]

_SCOPES = ("user_data", "chat_data", "bot_data")

Client = str | AsyncIOMotorClient[Any] | AsyncMongoClient[Any]


class MongoPersistence(BasePersistence[UD, CD, BD], Generic[UD, CD, BD]):
    """Makes a bot persistent in MongoDB; to be used in place of `telegram.ext.PicklePersistence`.

    Args:
        client: A connection string (`mongodb://` or `mongodb+srv://`), for which a Motor client is made when the
            application is initialized and closed by `flush`; or a Motor client, a `pymongo.AsyncMongoClient` or a
            `mongomock_motor.AsyncMongoMockClient`, which is never closed.
        database: The database's name; by default the one in the connection string, else "telegram_bot".
        store_data: Which kinds of data are stored; by default all.
        update_interval: Seconds between two saves by the `Application`.
        on_flush: Whether to write only when the application shuts down.
        context_types: The types of `user_data`, `chat_data` and `bot_data`, the same as the `Application` gets; their
            classes are trusted.
        loading: "eager" loads everything at the start. "lazy" starts at once, and reads the data of a user or
            chat when the first update comes from there.
        refresh: How changes by other services are noticed: "watch" follows a change stream, "read" reads once
            per update, "off" does not look. "auto" watches where the server can (a replica set, as Atlas is),
            and reads otherwise.
        on_conflict: What happens to a key that the bot and somebody else have both changed: "local" keeps
            the bot's value, "remote" the database's; a callable gets a `Conflict` and returns the value.
        trusted: Classes, or names of modules, whose objects may be stored and restored. Restoring an object runs
            its class's code, so only name what is yours.
        collection_prefix: Stands before the name of each collection: for several bots in one database.
        exclude: Keys that are never stored, for instance `{"user_data": {"cache"}}`.
        shutdown_timeout: Seconds that `flush` waits for a server that is away.
        spill_dir: A folder for what is still unsaved then; the next start takes it in. It holds users' data.

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
        refresh: Refresh = "auto",
        on_conflict: OnConflict = "local",
        trusted: Collection[type | str] = (),
        collection_prefix: str = "",
        exclude: Exclude | None = None,
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
        refresh: Refresh = "auto",
        on_conflict: OnConflict = "local",
        trusted: Collection[type | str] = (),
        collection_prefix: str = "",
        exclude: Exclude | None = None,
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
        refresh: Refresh = "auto",
        on_conflict: OnConflict = "local",
        trusted: Collection[type | str] = (),
        collection_prefix: str = "",
        exclude: Exclude | None = None,
        shutdown_timeout: float = 30,
        spill_dir: str | Path | None = None,
    ) -> None:
        super().__init__(store_data=store_data, update_interval=update_interval)
        _one_of("loading", loading, ("eager", "lazy"))
        _one_of("refresh", refresh, ("auto", "watch", "read", "off"))
        if not callable(on_conflict):
            _one_of("on_conflict", on_conflict, ("local", "remote"))
        for scope, keys in (exclude or {}).items():
            _one_of("a key of exclude", scope, _SCOPES)
            if isinstance(keys, str):  # a collection of its letters, too
                raise ConfigurationError(f"exclude takes a set of keys: {{{scope!r}: {{{keys!r}}}}}")
        types = context_types or cast("ContextTypes[Any, UD, CD, BD]", ContextTypes())
        new = {"user_data": types.user_data, "chat_data": types.chat_data, "bot_data": types.bot_data}
        Codec(trusted)  # checks `trusted` now, not at the start
        self._settings = Settings(
            client=client,
            database=database_of(client, database),
            new=new,  # type: ignore[arg-type]  # the keys are the scopes' names
            trusted=(
                *trusted,
                *(kind for kind in new.values() if isinstance(kind, type) and kind is not dict),
            ),
            loading=loading,
            refresh=refresh,
            on_conflict=on_conflict,
            on_flush=on_flush,
            collection_prefix=collection_prefix,
            exclude=dict(exclude or {}),
            shutdown_timeout=shutdown_timeout,
            spill_dir=Path(spill_dir) if spill_dir is not None else None,
        )
        self._store: Session | None = None
        self._opening: asyncio.Lock | None = None

    def __repr__(self) -> str:
        client = self._settings.client
        shown = without_password(client) if isinstance(client, str) else type(client).__name__
        return f"{type(self).__name__}({shown!r}, {self._settings.database!r})"

    @property
    def refresh_mode(self) -> Literal["watch", "read", "off"] | None:
        """How changes by others are noticed; `None` while the application is not initialized."""
        return self._store.refresh_mode if self._store is not None else None

    def health(self) -> Health:
        """How the persistence is doing: for a cloud's health check, or a log. Asks nothing, waits for nothing.

        Example:
            >>> MongoPersistence("mongodb://localhost").health().connected
            False
        """
        return self._store.health() if self._store is not None else Health()

    def share(self, sharing: Sharing) -> None:
        """Tells of the application, which shares its data with others like it; for `SharedApplication`.

        Raises:
            ConfigurationError: If this persistence was made with arguments that do not go with that.
        """
        if self._settings.refresh == "off":
            raise ConfigurationError('refresh="off" and a SharedApplication, which must see the changes of others')
        if self._settings.refresh == "read" and sharing.lease_timeout is not None:
            raise ConfigurationError('refresh="read" and exclusive=True, which needs the change stream')
        if self._settings.on_flush:
            raise ConfigurationError("on_flush=True and a SharedApplication, which saves each update")
        self._settings = replace(self._settings, sharing=sharing)

    @property
    def store(self) -> Session | None:
        """What is open between `initialize` and `flush`; for `SharedApplication`."""
        return self._store

    # -- opening and closing ----------------------------------------------------------------------------

    async def _open(self) -> Session:
        """The open store; PTB has no hook for the start but the first `get_*`."""
        if self._store is not None:
            return self._store
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._store is None:
                bot = getattr(self, "bot", None)
                self._store = await Session.open(self._settings, bot, self._bot_id())
            return self._store

    async def _abort(self) -> None:
        """Closes what is open when a start fails: `flush` is not called then."""
        store, self._store, self._opening = self._store, None, None
        if store is not None:
            await store.close()

    def _bot_id(self) -> int:
        """The bot's id, which a token begins with; 0 for a persistence that is used without a bot."""
        bot = getattr(self, "bot", None)
        before_colon = bot.token.partition(":")[0] if bot is not None else "0"
        if not before_colon.isdecimal():
            raise ConfigurationError("the bot's token does not begin with a number and a colon")
        return int(before_colon)

    async def flush(self) -> None:
        """Saves what is unsaved and closes the connection; called by PTB when the application shuts down.

        Raises:
            UnsavedDataError: If the server is away and does not come back within `shutdown_timeout`.
        """
        store, self._store, self._opening = self._store, None, None
        if store is not None:
            try:
                await store.flush()
            finally:
                await store.close()

    # -- loading ----------------------------------------------------------------------------------------

    async def get_user_data(self) -> dict[int, UD]:
        """The data of all users; with `loading="lazy"` of none, as it is read when it is needed."""
        return await self._load(lambda store: store.user_data)

    async def get_chat_data(self) -> dict[int, CD]:
        """The data of all chats; with `loading="lazy"` of none, as it is read when it is needed."""
        return await self._load(lambda store: store.chat_data)

    async def get_bot_data(self) -> BD:
        """The bot's data."""
        store = await self._open()
        async with _Closing(self):
            return cast("BD", await store.bot_data.load_one(store.bot_id))

    async def get_callback_data(self) -> CDCData | None:
        """The cache of arbitrary callback data; `None` if none is stored."""
        store = await self._open()
        async with _Closing(self):
            return await store.callback_data.data()

    async def get_conversations(self, name: str) -> ConversationDict:
        """The states of the conversations of one handler.

        Of a lazily loaded `SharedApplication` none, as each is read when it is needed.
        """
        store = await self._open()
        if not store.conversations.complete:
            return {}
        async with _Closing(self):
            return await store.conversations.states(name)

    async def _load(self, scope: Any) -> dict[int, Any]:
        store = await self._open()
        if self._settings.loading == "lazy":
            return {}
        async with _Closing(self):
            loaded: dict[int, Any] = await scope(store).load_all()
            return loaded

    # -- saving -----------------------------------------------------------------------------------------

    async def update_user_data(self, user_id: int, data: UD) -> None:
        """Saves what has changed in a user's data.

        Raises:
            DocumentError: If it cannot be stored; all others are saved.
        """
        await self._save((self._store or await self._open()).user_data, user_id, data)

    async def update_chat_data(self, chat_id: int, data: CD) -> None:
        """Saves what has changed in a chat's data.

        Raises:
            DocumentError: If it cannot be stored; all others are saved.
        """
        await self._save((self._store or await self._open()).chat_data, chat_id, data)

    async def update_bot_data(self, data: BD) -> None:
        """Saves what has changed in the bot's data.

        Raises:
            DocumentError: If it cannot be stored; all others are saved.
        """
        store = self._store or await self._open()
        await self._save(store.bot_data, store.bot_id, data)

    async def update_conversation(self, name: str, key: ConversationKey, new_state: object | None) -> None:
        """Saves the state of a conversation; `None` ends it.

        Raises:
            DocumentError: If the state cannot be stored.
        """
        saved = (self._store or await self._open()).conversations.save_now(name, key, new_state)
        if saved is not None and saved[1] is not None:
            await saved[1].outcome(saved[0])

    async def update_callback_data(self, data: CDCData) -> None:
        """Saves the keyboards that have changed.

        Raises:
            DocumentError: If one cannot be stored; all others are saved.
        """
        await (self._store or await self._open()).callback_data.save(data)

    @staticmethod
    async def _save(scope: DataScope[Any], key: int, data: object) -> None:
        # Up to here nothing has waited: the copy is compared with the base that it was made from.
        ticket = scope.save(key, data)
        if ticket is not None:
            await ticket.outcome(scope.entries[key])

    async def drop_user_data(self, user_id: int) -> None:
        """Deletes a user's document."""
        await (self._store or await self._open()).user_data.drop(user_id)

    async def drop_chat_data(self, chat_id: int) -> None:
        """Deletes a chat's document."""
        await (self._store or await self._open()).chat_data.drop(chat_id)

    # -- refreshing -------------------------------------------------------------------------------------

    async def refresh_user_data(self, user_id: int, user_data: UD) -> None:
        """Brings what others have changed into a user's data; PTB calls it before each update of that user."""
        if (store := self._store) is not None and store.refreshes:
            await store.user_data.refresh(user_id, user_data, read=store.reads)

    async def refresh_chat_data(self, chat_id: int, chat_data: CD) -> None:
        """Brings what others have changed into a chat's data; PTB calls it before each update of that chat."""
        if (store := self._store) is not None and store.refreshes:
            await store.chat_data.refresh(chat_id, chat_data, read=store.reads)

    async def refresh_bot_data(self, bot_data: BD) -> None:
        """Brings what others have changed into the bot's data; PTB calls it before each update."""
        if (store := self._store) is not None and store.refreshes:
            await store.bot_data.refresh(store.bot_id, bot_data, read=store.reads)

    # -- users and chats that are not loaded ------------------------------------------------------------

    async def user_ids(self) -> AsyncIterator[int]:
        """The ids of all users with stored data, loaded or not; for a broadcast, say.

        Example:
            >>> async def broadcast(application, persistence):
            ...     async for user_id in persistence.user_ids():
            ...         await application.bot.send_message(user_id, "News!")
        """
        async for user_id in (await self._open()).user_data.ids():
            yield user_id

    async def chat_ids(self) -> AsyncIterator[int]:
        """The ids of all chats with stored data, loaded or not."""
        async for chat_id in (await self._open()).chat_data.ids():
            yield chat_id

    async def preload(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        *,
        user_ids: Iterable[int] = (),
        chat_ids: Iterable[int] = (),
    ) -> None:
        """Loads users and chats into an application, with one query for hundreds.

        With `loading="lazy"`, `application.user_data[user_id]` is empty until that user's first update. Call this
        before reading it in a job or a broadcast, and before `Application.migrate_chat_data`, which moves only
        what is loaded.

        Args:
            application: The application that this persistence belongs to.
            user_ids: Users whose data is to be in `application.user_data`.
            chat_ids: Chats whose data is to be in `application.chat_data`.

        Raises:
            UnavailableError: If the server does not answer.
        """
        store = await self._open()
        await store.user_data.preload(user_ids, application.user_data.__getitem__)
        await store.chat_data.preload(chat_ids, application.chat_data.__getitem__)


class _Closing:
    """Closes the persistence if what is inside fails: a start that fails is never flushed."""

    def __init__(self, persistence: MongoPersistence[Any, Any, Any]) -> None:
        self._persistence = persistence

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self._persistence._abort()  # noqa: SLF001  (the other half of the same module)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
