"""The methods that PTB calls, translated into calls of the scopes; they have no logic of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from operator import attrgetter
from typing import Any, Generic, Literal, cast

from telegram.ext import BasePersistence, PersistenceInput

from ptb_mongo.errors import DocumentError, UnsavedDataError
from ptb_mongo.held_by_ptb import Kind
from ptb_mongo.lifecycle import Lifecycle, Staged, raising
from ptb_mongo.people.application import ids_of_update
from ptb_mongo.quick_refresh import Check, never, quick_refresh
from ptb_mongo.releasing import Releases
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import Scopes
from ptb_mongo.session import Session
from ptb_mongo.sync.change_stream import ChangeStream
from ptb_mongo.sync.saver_watch import SaverWatch
from ptb_mongo.sync.tickets import SAVED
from ptb_mongo.types import BD, CD, UD, CDCData, ConversationDict, ConversationKey

__all__ = ["PTBInterface"]

_USER_DATA, _CHAT_DATA, _BOT_DATA = map(attrgetter, ("user_data", "chat_data", "bot_data"))


class PTBInterface(BasePersistence[UD, CD, BD], Generic[UD, CD, BD]):
    """What PTB requires of a persistence; the base of `MongoPersistence`.

    Args:
        lifecycle: Opens the session that loads and saves the data.
        store_data: Which kinds of data are stored; by default all.
        update_interval: Seconds between two saves by the `Application`.
    """

    def __init__(self, lifecycle: Lifecycle, store_data: PersistenceInput | None, update_interval: float) -> None:
        super().__init__(store_data=store_data, update_interval=update_interval)
        self._lifecycle = lifecycle
        keep = lifecycle.settings.keep
        self._users = None if keep is None else Releases("user", keep)
        self._chats = None if keep is None else Releases("chat", keep)
        self._saver = SaverWatch(lambda: self.update_interval, self._buttons, self._save_live)
        self._is_user_current: Check = never
        self._is_chat_current: Check = never
        self._is_bot_current: Check = never
        self._quick_in: Session | None = None
        self._bot_id = 0

    @property
    def _is_watched(self) -> bool:
        """Whether PTB's saver does the saving, and calls us at each of its saves."""
        return self.store_data.bot_data and self._lifecycle.settings.sharing is None

    def _buttons(self) -> dict[str, Any]:
        cache = getattr(getattr(self, "bot", None), "callback_data_cache", None)
        return (
            {}
            if cache is None or not self.store_data.callback_data
            else {"the data of buttons": cache.persistence_data}
        )

    # -- loading ----------------------------------------------------------------------------------------

    async def get_user_data(self) -> dict[int, UD]:
        """The data of all users; with `loading="lazy"` of none, as it is read when it is needed.

        While the bot runs: copies of what is stored.
        """
        return await self._load(lambda scopes: scopes.user_data)

    async def get_chat_data(self) -> dict[int, CD]:
        """The data of all chats; with `loading="lazy"` of none, as it is read when it is needed.

        While the bot runs: copies of what is stored.
        """
        return await self._load(lambda scopes: scopes.chat_data)

    async def get_bot_data(self) -> BD:
        """The bot's data; while the bot runs, a copy of what is stored."""
        async with self._lifecycle.loading(self.store_data) as session:
            scope, bot_id = session.scopes.bot_data, session.bot_id
            if not self._lifecycle.is_running:
                self._saver.starts()
                return cast("BD", await session.exchange.load_one(scope, bot_id))
            copies = await session.exchange.copies(scope, {"_id": bot_id})
            return cast("BD", copies[bot_id] if bot_id in copies else self._lifecycle.settings.new["bot_data"]())

    async def get_callback_data(self) -> CDCData | None:
        """The cache of arbitrary callback data; `None` if none is stored."""
        async with self._lifecycle.loading(self.store_data) as session:
            return await session.exchange.load_keyboards(session.scopes.callback_data)

    async def get_conversations(self, name: str) -> ConversationDict:
        """The states of the conversations of one handler.

        Of a `SharedApplication` none, as each is read when it is needed.
        """
        async with self._lifecycle.loading(self.store_data) as session:
            scope = session.scopes.conversations
            return {} if scope.live is not None else await session.exchange.load_states(scope, name)

    async def _load(self, scope_of: Callable[[Scopes], DataScope[Any]]) -> dict[int, Any]:
        async with self._lifecycle.loading(self.store_data) as session:
            scope, is_lazy = scope_of(session.scopes), self._lifecycle.settings.loading == "lazy"
            if self._lifecycle.is_running:
                return {} if is_lazy else await session.exchange.copies(scope)
            earlier = set(scope.replicas)
            loaded = {} if is_lazy else await session.exchange.load_all(scope)
            if not self._lifecycle.is_running:  # an update that came meanwhile shows that the bot is not starting
                scope.all_left(earlier - loaded.keys())
                for releases in (self._users, self._chats):
                    if releases is not None:
                        releases.forget()
            return loaded

    # -- saving -----------------------------------------------------------------------------------------
    #
    # PTB copies an object and calls one of these in the same step; it awaits the result later, when the object may have
    # changed. So the data is taken when they are called, not when they are awaited. It is compared then, too; if it has
    # changed and the copy is ours alone, it is encoded later, as encoding thousands at once would block the loop.

    def update_user_data(self, user_id: int, data: UD) -> Coroutine[Any, Any, None]:
        """Saves what has changed in a user's data.

        Raises:
            DocumentError: If it cannot be stored; all others are saved.
        """
        self._saver.hands_over("user_data", user_id)
        return self._offer(_USER_DATA, user_id, data)

    def update_chat_data(self, chat_id: int, data: CD) -> Coroutine[Any, Any, None]:
        """Saves what has changed in a chat's data.

        Raises:
            DocumentError: If it cannot be stored; all others are saved.
        """
        self._saver.hands_over("chat_data", chat_id)
        return self._offer(_CHAT_DATA, chat_id, data)

    def update_bot_data(self, data: BD) -> Coroutine[Any, Any, None]:
        """Saves what has changed in the bot's data.

        Raises:
            DocumentError: If it cannot be stored; all others are saved.
        """
        self._note_passed_on()
        saved = self._offer(_BOT_DATA, self._lifecycle.bot_id(), data)
        if not self._is_watched:
            return saved
        self._saver.hands_over("bot_data", self._lifecycle.bot_id())
        return self._saver.begins(saved)

    def _offer(self, scope_of: Callable[[Scopes], DataScope[Any]], key: int, data: Any) -> Coroutine[Any, Any, None]:
        """Saves the copy of an object, if it has changed."""
        if self._is_in_hand(scope_of, key):
            return SAVED
        if (session := self._lifecycle.session) is not None:
            try:
                saved = session.exchange.offer_copy(scope_of(session.scopes), key, data)
            except Exception as error:  # noqa: BLE001  (PTB calls this for all users in one loop)
                return raising(error)
            if saved is not None:
                if not self._lifecycle.is_running:
                    self._lifecycle.runs()
                return saved

        def stage(scopes: Scopes) -> Staged:
            scope = scope_of(scopes)
            return _staged(scope, scope.stage(key, data))

        return self._lifecycle.save(stage)

    @property
    def scopes(self) -> Scopes | None:
        """What is known of the documents; for `SharedApplication`."""
        return self._lifecycle.scopes

    def drop_in_turn(self, scope: DataScope[Any], name: Literal["user_data", "chat_data"], key: int) -> Replica | None:
        """Stages what an update of a `SharedApplication` has dropped, of which PTB tells only with its next save pass.

        Returns:
            What is to be written.

        Raises:
            DocumentError: If it cannot be.
        """
        return self._lifecycle.people.drop(scope, name, key)

    def update_conversation(
        self, name: str, key: ConversationKey, new_state: object | None
    ) -> Coroutine[Any, Any, None]:
        """Saves the state of a conversation; `None` ends it.

        Raises:
            DocumentError: If the state cannot be stored.
        """
        is_shared = self._lifecycle.settings.sharing is not None
        if is_shared and self._is_in_hand(attrgetter("conversations"), (name, tuple(key))):
            return SAVED
        return self._lifecycle.save(
            lambda scopes: _staged(scopes.conversations, scopes.conversations.stage_now(name, key, new_state))
        )

    def _is_in_hand(self, collection_of: Callable[[Scopes], Collection[Any]], key: Any) -> bool:
        """Whether an update of a `SharedApplication` that may be taken back is changing a document, and saves it."""
        sharing, scopes = self._lifecycle.settings.sharing, self._lifecycle.scopes
        return sharing is not None and scopes is not None and sharing.is_in_hand(collection_of(scopes), key)

    def update_callback_data(self, data: CDCData) -> Coroutine[Any, Any, None]:
        """Saves the keyboards that have changed.

        Raises:
            DocumentError: If one cannot be stored; all others are saved.
        """
        sharing = self._lifecycle.settings.sharing
        spared = sharing.dropped_buttons() if sharing is not None else ()
        return self._lifecycle.save(
            lambda scopes: (scopes.callback_data, *scopes.callback_data.stage_all(data, spared=spared))
        )

    def drop_user_data(self, user_id: int) -> Coroutine[Any, Any, None]:
        """Deletes a user's document."""
        self._saver.hands_over("user_data", user_id)
        return self._drop(_USER_DATA, "user_data", user_id)

    def drop_chat_data(self, chat_id: int) -> Coroutine[Any, Any, None]:
        """Deletes a chat's document."""
        self._saver.hands_over("chat_data", chat_id)
        return self._drop(_CHAT_DATA, "chat_data", chat_id)

    def _drop(
        self, scope_of: Callable[[Scopes], DataScope[Any]], name: Literal["user_data", "chat_data"], key: int
    ) -> Coroutine[Any, Any, None]:
        sharing, scopes = self._lifecycle.settings.sharing, self._lifecycle.scopes
        if sharing is not None and scopes is not None and sharing.is_drop_in_hand(name, scope_of(scopes), key):
            return SAVED
        drop = self._lifecycle.people.drop
        return self._lifecycle.save(lambda scopes: _staged(scope_of(scopes), drop(scope_of(scopes), name, key)))

    # -- refreshing -------------------------------------------------------------------------------------

    async def refresh_user_data(self, user_id: int, user_data: UD) -> None:
        """Brings what others have changed into a user's data; PTB calls it before each update of that user."""
        try:
            if not self._is_user_current(user_id, user_data):
                await self._lifecycle.refresh(lambda scopes: scopes.user_data, user_id, user_data)
                self._gives("user_data", user_id, user_data)
        finally:  # PTB has created the object even if its document could not be read
            self._saw("user_data", user_id)

    async def refresh_chat_data(self, chat_id: int, chat_data: CD) -> None:
        """Brings what others have changed into a chat's data; PTB calls it before each update of that chat."""
        is_private = chat_id > 0 and self.store_data.user_data  # PTB refreshes the user with the same id next
        try:
            if not self._is_chat_current(chat_id, chat_data):
                scope_of: Callable[[Scopes], DataScope[Any]] = attrgetter("chat_data")
                await self._lifecycle.refresh(scope_of, chat_id, chat_data, is_private=is_private)
                self._gives("chat_data", chat_id, chat_data)
        finally:
            self._saw("chat_data", chat_id)

    def _saw(self, scope: Literal["user_data", "chat_data"], key: int) -> None:
        """Notes when somebody was last seen, if data expires, and that they are in use, if others are evicted."""
        if (session := self._lifecycle.session) is None:
            return
        if session.seen is not None:
            session.seen.note(scope, key, ids_of_update)
        if scope == "user_data":
            if self._users is not None:
                self._users.used(session.scopes.user_data, key)
        elif self._chats is not None:
            self._chats.used(session.scopes.chat_data, key)

    async def refresh_bot_data(self, bot_data: BD) -> None:
        """Brings what others have changed into the bot's data; PTB calls it before each update."""
        self._note_passed_on()
        if not self._is_bot_current(self._bot_id, bot_data):
            await self._lifecycle.refresh(lambda scopes: scopes.bot_data, self._lifecycle.bot_id(), bot_data)
            self._gives("bot_data", self._lifecycle.bot_id(), bot_data)

    def _loading(
        self, kind: Kind, scope: DataScope[Any], application: Any, keys: Iterable[int]
    ) -> AbstractAsyncContextManager[None]:
        """Wraps a load of users or chats outside of an update: others are evicted if `keep` requires it."""
        releases = self._users if kind == "user" else self._chats
        return nullcontext() if releases is None else releases.loading(scope, application, keys)

    def _note_passed_on(self) -> None:
        if (sharing := self._lifecycle.settings.sharing) is not None:
            sharing.bot_data_passed_on()

    def _gives(self, scope: str, key: int, live: Any) -> None:
        if self._is_watched:
            self._saver.gives(scope, key, live)
        session = self._lifecycle.session
        if session is not None and session is not self._quick_in and (stream := session.stream) is not None:
            self._quicken(session, stream)

    def _quicken(self, session: Session, stream: ChangeStream) -> None:
        """Makes most refreshes a single step from now on."""
        self._quick_in, self._bot_id = session, session.bot_id
        what = self._lifecycle, session, stream, self._saver if self._is_watched else None
        self._is_user_current = quick_refresh(*what, "user_data", session.scopes.user_data)
        self._is_chat_current = quick_refresh(*what, "chat_data", session.scopes.chat_data)
        self._is_bot_current = quick_refresh(*what, "bot_data", session.scopes.bot_data)

    def _save_live(self, scope: str, key: int, live: Any) -> Coroutine[Any, Any, None]:
        def stage(scopes: Scopes) -> Staged:
            data = {"user_data": scopes.user_data, "chat_data": scopes.chat_data, "bot_data": scopes.bot_data}[scope]
            return _staged(data, data.stage(key, live))

        return self._lifecycle.save(stage)

    # -- closing ----------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Saves what is unsaved and closes the connection; called by PTB when the application shuts down.

        A bot that keeps running opens the connection again when it needs it.

        Raises:
            UnsavedDataError: If something could not be saved for `shutdown_timeout` seconds, cannot be stored, or was
                not handed over by PTB.
        """
        unsaved = None
        try:
            await self._saver.save_unsaved()
            await self._lifecycle.flush()
        except UnsavedDataError as error:
            unsaved = error
        finally:
            forgotten = self._saver.close()
        if forgotten is not None:
            raise UnsavedDataError(f"{unsaved}; besides, {forgotten}" if unsaved else forgotten) from unsaved
        if unsaved is not None:
            raise unsaved


def _staged(collection: Collection[Any], replica: Replica | None) -> Staged:
    errors: list[DocumentError] = []
    if isinstance(collection, DataScope):
        errors, collection.problems = collection.problems, []
    return collection, [] if replica is None else [replica], errors
