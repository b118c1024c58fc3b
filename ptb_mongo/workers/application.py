"""`SharedApplication`: an `Application` that shares a bot's data with other processes of the same bot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

from telegram import Bot, Message
from telegram.ext import Application, BaseHandler, CallbackContext, JobQueue

from ptb_mongo.errors import ConfigurationError, PersistenceError, UnavailableError
from ptb_mongo.log import get_logger
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.sync.leases import SHORTEST
from ptb_mongo.types import BD, CD, UD
from ptb_mongo.workers.bot_data import BotData
from ptb_mongo.workers.conversations import check_ptb, conversation_handlers
from ptb_mongo.workers.turn import TURN, Turn
from ptb_mongo.workers.worker import Consistency, Worker

__all__ = ["SharedApplication"]

BT = TypeVar("BT", bound=Bot)
CCT = TypeVar("CCT", bound=CallbackContext[Any, Any, Any, Any])
RT = TypeVar("RT")
JQ = TypeVar("JQ", bound="JobQueue[Any] | None")

_LOGGER = get_logger(__name__)


class SharedApplication(Application[BT, CCT, UD, CD, BD, JQ], Generic[BT, CCT, UD, CD, BD, JQ]):
    """An application for several processes that run at once, on one database.

    Before each update it merges in what other workers have changed: the data of the user, of the chat and of the
    bot, and the states of conversations. Then the handlers run, as always. Then what the update has changed is
    saved, before the update counts as done.

    Args:
        consistency: "stream" reads only documents that the change stream has reported, which takes some milliseconds;
            while the stream is delayed, it reads as "strict" does. "strict" reads the documents of each update's user,
            chat and conversations: for updates of one user that reach two workers within those milliseconds.
        exclusive: Whether the updates of one user are handled one after the other across all workers, in their order
            among those that wait. Reads as "strict" does, and needs change streams.
        lease_timeout: With `exclusive`, seconds after which the lease of a worker that has died expires.

    Raises:
        ConfigurationError: If an argument cannot be used, or the persistence is no `MongoPersistence`.

    Example:
        >>> from telegram.ext import Application
        >>> from ptb_mongo import MongoPersistence, SharedApplication
        >>> builder = (
        ...     Application.builder()
        ...     .token("123456:TOKEN")
        ...     .application_class(SharedApplication, {"consistency": "strict"})
        ...     .persistence(MongoPersistence("mongodb://localhost:27017", "my_bot"))
        ... )
    """

    def __init__(
        self,
        *,
        consistency: Consistency = "stream",
        exclusive: bool = False,
        lease_timeout: float = 10,
        **kwargs: Any,
    ) -> None:
        self._asking = BotData()
        super().__init__(**kwargs)
        if consistency not in {"stream", "strict"}:
            raise ConfigurationError(f"consistency is one of 'stream', 'strict', not {consistency!r}")
        if not isinstance(exclusive, bool):
            raise ConfigurationError(f"exclusive is True or False, not {exclusive!r}")
        if not isinstance(lease_timeout, (int, float)) or not lease_timeout >= SHORTEST:
            raise ConfigurationError(
                f"lease_timeout is a number of seconds from {SHORTEST:g} on, not {lease_timeout!r}"
            )
        persistence = self.persistence
        if not isinstance(persistence, MongoPersistence):
            raise ConfigurationError(
                f"a SharedApplication needs a MongoPersistence, not {type(persistence).__name__}: "
                "builder.persistence(MongoPersistence(...))"
            )
        check_ptb()
        self._is_initialized = False
        self._worker = Worker(self, persistence, consistency, lease_timeout if exclusive else None, self._asking)

    # -- updates ----------------------------------------------------------------------------------------

    async def process_update(self, update: object) -> None:
        """Handles an update, as `Application.process_update` does; what others have changed is merged in before.

        Errors of the database go to the error handlers.
        """
        try:
            await self._take(update)
        except PersistenceError as error:
            await self.process_error(update, error)

    async def deliver(self, update: object) -> None:
        """Handles an update that is delivered again if this raises an error: for a webhook that answers itself.

        Answer 200 when this returns, and 503 when it raises: Telegram then sends the update again, later and maybe
        to another worker. Errors in handlers go to the error handlers, and are not raised.

        Raises:
            UnavailableError: If what others have changed could not be read, if no lease could be acquired, or if
                the server has not acknowledged what this update has changed.
            RefusedError: If the server refuses to give a lease, or to read the button that was clicked.
        """
        if not await self._take(update):
            raise UnavailableError("the server has not acknowledged what this update has changed")

    async def _take(self, update: object) -> bool:
        if not self._is_initialized:
            await super().process_update(update)  # raises an error
            return True
        session = await self._worker.opened()
        update = await self._worker.with_callback_data(update, session)
        turn = Turn.of(update, self._worker.conversations)
        return await self._worker.handle(turn, session, partial(super().process_update, update))

    @property
    def bot_data(self) -> BD:
        """See `Application.bot_data`; an update in which it is asked for saves what has changed in it."""
        self._asking.asked()
        data: BD = self._asking.held
        return data

    @bot_data.setter
    def bot_data(self, data: BD) -> None:
        self._asking.asked()
        self._asking.held = data

    # -- within an update -------------------------------------------------------------------------------

    def drop_user_data(self, user_id: int) -> None:
        """See `Application.drop_user_data`; within an update, the document is deleted before that is done."""
        super().drop_user_data(user_id)
        if turn := TURN.get():
            turn.everything = True
            turn.user_ids.add(user_id)

    def drop_chat_data(self, chat_id: int) -> None:
        """See `Application.drop_chat_data`; within an update, the document is deleted before that is done."""
        super().drop_chat_data(chat_id)
        if turn := TURN.get():
            turn.everything = True
            turn.chat_ids.add(chat_id)

    def migrate_chat_data(
        self, message: Message | None = None, old_chat_id: int | None = None, new_chat_id: int | None = None
    ) -> None:
        """See `Application.migrate_chat_data`; within an update, both documents are written before that is done."""
        super().migrate_chat_data(message, old_chat_id, new_chat_id)
        if turn := TURN.get():
            new = new_chat_id if message is None else message.migrate_to_chat_id or message.chat.id
            turn.chat_ids.update(_ids(new))

    def mark_data_for_update_persistence(
        self, chat_ids: int | Collection[int] | None = None, user_ids: int | Collection[int] | None = None
    ) -> None:
        """See `Application.mark_data_for_update_persistence`; within an update, saved before that is done."""
        super().mark_data_for_update_persistence(chat_ids, user_ids)
        if turn := TURN.get():
            turn.chat_ids.update(_ids(chat_ids))
            turn.user_ids.update(_ids(user_ids))

    def create_task(
        self,
        coroutine: Coroutine[Any, Any, RT] | Awaitable[RT] | Generator[Any, None, RT],
        update: object | None = None,
        *,
        name: str | None = None,
    ) -> asyncio.Task[RT]:
        """See `Application.create_task`; what a handler with `block=False` has changed is saved when it is done."""
        task: asyncio.Task[RT] = super().create_task(coroutine, update, name=name)
        turn = TURN.get()
        if turn is not None and update is turn.update:
            task.add_done_callback(lambda _: self._worker.save_later(turn))
        return task

    # -- handlers ---------------------------------------------------------------------------------------

    def add_handler(self, handler: BaseHandler[Any, CCT, Any], group: int = 0) -> None:
        """See `Application.add_handler`."""
        super().add_handler(handler, group)
        self._worker.conversations.forget_handlers()

    def remove_handler(self, handler: BaseHandler[Any, CCT, Any], group: int = 0) -> None:
        """See `Application.remove_handler`."""
        super().remove_handler(handler, group)
        self._worker.conversations.forget_handlers()

    # -- starting and stopping --------------------------------------------------------------------------

    async def initialize(self) -> None:
        """See `Application.initialize`."""
        await super().initialize()
        self._is_initialized = True
        for handlers in self.handlers.values():
            for handler in conversation_handlers(handlers):
                if not handler.persistent:
                    _LOGGER.warning(
                        "The ConversationHandler %s is not persistent: other workers do not see its conversations",
                        handler.name or "without a name",
                    )

    async def shutdown(self) -> None:
        """See `Application.shutdown`."""
        await self._worker.close()
        await super().shutdown()
        self._is_initialized = False


def _ids(ids: int | Collection[int] | None) -> Collection[int]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else ids
