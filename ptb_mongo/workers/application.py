"""`SharedApplication`: an `Application` that shares its data with other processes of the same bot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator
from typing import Any, Generic, TypeVar

from telegram import Bot, Message
from telegram.ext import Application, BaseHandler, CallbackContext, JobQueue

from ptb_mongo.errors import ConfigurationError, PersistenceError
from ptb_mongo.held_states import Handler, check_ptb, conversation_handlers
from ptb_mongo.log import get_logger
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.sync.leases import SHORTEST
from ptb_mongo.types import BD, CD, UD, ConversationKey
from ptb_mongo.workers.bot_data import BotData
from ptb_mongo.workers.jobs import run_as_turns
from ptb_mongo.workers.passes import in_pass
from ptb_mongo.workers.turn import TURN, Exclusive, Once, Turn, outside
from ptb_mongo.workers.worker import Consistency, Worker

__all__ = ["SharedApplication"]

BT = TypeVar("BT", bound=Bot)
CCT = TypeVar("CCT", bound=CallbackContext[Any, Any, Any, Any])
RT = TypeVar("RT")
JQ = TypeVar("JQ", bound="JobQueue[Any] | None")

_LOGGER = get_logger(__name__)


class SharedApplication(Application[BT, CCT, UD, CD, BD, JQ], Generic[BT, CCT, UD, CD, BD, JQ]):
    """An application that runs in several processes at once, on one database.

    Before each update, it merges in the changes of other workers: the data of the user, of the chat and of the bot,
    and the states of conversations. Then the handlers run, as always. Afterwards, the changes of the update are saved,
    before the update counts as done.

    Args:
        consistency: "stream" reads only documents that the change stream has reported, which takes some milliseconds;
            while the stream is delayed, it reads as "strict" does. "strict" reads the documents of each update's user,
            chat and conversations, for updates of one user that reach two workers within those milliseconds.
        exclusive: "user" (or `True`) handles the updates of one user one after the other across all workers, waiting
            ones in their order; "chat" also those of one group. Reads as "strict" does, and needs change streams.
        lease_timeout: With `exclusive`, after how many seconds the lease of a worker that has died expires; also how
            long a turn inside another one waits for its lease.
        once: Whether `deliver` recognizes, for a day, an update that was done before. With `exclusive`, "transaction"
            saves this record together with all changes of the update: all or nothing, and nothing twice.

    Raises:
        ConfigurationError: If an argument cannot be used, or the persistence is not a `MongoPersistence`.

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
        exclusive: bool | Exclusive = False,
        lease_timeout: float = 10,
        once: Once = True,
        **kwargs: Any,
    ) -> None:
        self._asking = BotData()
        super().__init__(**kwargs)
        if consistency not in {"stream", "strict"}:
            raise ConfigurationError(f"consistency is one of 'stream', 'strict', not {consistency!r}")
        if not (isinstance(exclusive, bool) or exclusive in {"user", "chat"}):
            raise ConfigurationError(f"exclusive is False, True, 'user' or 'chat', not {exclusive!r}")
        if not (isinstance(once, bool) or once == "transaction"):
            raise ConfigurationError(f"once is True, False or 'transaction', not {once!r}")
        if once == "transaction" and not exclusive:
            raise ConfigurationError("once='transaction' needs exclusive: 'user' or 'chat'")
        if not isinstance(lease_timeout, (int, float)) or not lease_timeout >= SHORTEST:
            raise ConfigurationError(
                f"lease_timeout is a number of seconds, at least {SHORTEST:g}, not {lease_timeout!r}"
            )
        persistence = self.persistence
        if not isinstance(persistence, MongoPersistence):
            raise ConfigurationError(
                f"a SharedApplication needs a MongoPersistence, not {type(persistence).__name__}: "
                "builder.persistence(MongoPersistence(...))"
            )
        check_ptb()
        self.lease_timeout = lease_timeout
        self._is_initialized = False
        whose: Exclusive | None = None
        if exclusive:
            whose = "chat" if exclusive == "chat" else "user"
        self._worker = Worker(self, persistence, consistency, whose, lease_timeout, once=once, bot_data=self._asking)
        queue = kwargs.get("job_queue")
        if queue is not None and not getattr(queue, "runs_turns", False):
            run_as_turns(queue, self._worker.handle)

    # -- updates ----------------------------------------------------------------------------------------

    async def process_update(self, update: object) -> None:
        """Handles an update as `Application.process_update` does, after merging in the changes of others.

        Database errors go to the error handlers.
        """
        try:
            await self._take(update, comes_again=False)
        except PersistenceError as error:
            await self.process_error(update, error)

    async def deliver(self, update: object) -> None:
        """Handles an update for a webhook that answers Telegram itself; if this raises, the update must come again.

        Answer 200 when this returns: the update was handled, now or before, and all of its changes are saved. Answer
        503 when it raises: Telegram then sends the update again later, maybe to another worker. Its changes up to that
        point are reverted. Errors in handlers go to the error handlers, and are not raised.

        Raises:
            UnavailableError: If the changes of others could not be read, if no lease could be acquired, or if the
                server has not acknowledged the changes of this update.
            LeaseError: If the lease was lost before that, or another update has failed that changed the same data.
            RefusedError: If the server refuses a lease, or to read the button that was clicked.
        """
        await self._take(update, comes_again=True)

    async def _take(self, update: object, *, comes_again: bool) -> None:
        if not self._is_initialized:
            await super().process_update(update)  # raises an error
            return
        turn = Turn.of(update, self._worker.conversations, comes_again=comes_again)
        process = super().process_update
        await self._worker.handle(turn, lambda: process(turn.update))

    # -- turns ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def turn(self, *, user_id: int | None = None, chat_id: int | None = None) -> AsyncIterator[Turn]:
        """A block with the guarantees of an update: for a job, a broadcast, a web page, or another user's data.

        At the beginning, the user's and the chat's leases are acquired (with `exclusive`), and others' changes are
        merged into `user_data[user_id]` and `chat_data[chat_id]`. At the end, the block's own changes are saved and
        acknowledged. If an error is raised, inside or at the end, they are reverted.

        Jobs of a `JobQueue` that have a user or a chat run as turns automatically, and need no other one.

        Args:
            user_id: The user whose data is changed, if any.
            chat_id: The chat whose data is changed, if any.

        Raises:
            UnavailableError: If the server is unreachable, or has not acknowledged what was changed.
            LeaseError: If the lease was lost meanwhile. Inside another turn, also if it is not free within
                `lease_timeout` seconds: two that wait for each other's lease would wait forever.
            RuntimeError: If the application is not initialized.

        Example:
            >>> async def refer(update, context):
            ...     async with context.application.turn(user_id=int(context.args[0])):
            ...         friend = context.application.user_data[int(context.args[0])]
            ...         friend.setdefault("referred", set()).add(update.effective_user.id)
        """
        if not self._is_initialized:
            raise RuntimeError("this application is not initialized: call initialize() before turn()")
        if user_id is None and chat_id is None:
            raise ConfigurationError("a turn needs a user_id, a chat_id, or both")
        turn = Turn.of_ids(user_id, chat_id, comes_again=True)
        async with self._worker.turn(turn):
            yield turn

    @property
    def current_turn(self) -> Turn | None:
        """The turn in which this task's handler runs; `None` outside. Its `lost` is an event: see `Turn`."""
        turn = TURN.get()
        return turn if turn is not None and not turn.is_over else None

    async def run_in_turn(
        self,
        job: Callable[[], Awaitable[None]],
        *,
        user_id: int | None = None,
        chat_id: int | None = None,
        conversation: tuple[Handler, ConversationKey] | None = None,
    ) -> bool:
        """Runs something like an update of a user, a chat or a conversation; for `MongoJobQueue`.

        Returns:
            Whether the server has acknowledged the changes.

        Raises:
            UnavailableError: If others' changes could not be read, or no lease could be acquired.
        """
        turn = Turn(None) if conversation is None else Turn.of_timeout(*conversation)
        turn.user_ids.update(_ids(user_id))
        turn.chat_ids.update(_ids(chat_id))
        with outside():
            return await self._worker.handle(turn, job)

    @property
    def bot_data(self) -> BD:
        """See `Application.bot_data`; an update that asks for it saves its changes."""
        self._asking.asked()
        data: BD = self._asking.held
        return data

    @bot_data.setter
    def bot_data(self, data: BD) -> None:
        self._asking.asked()
        self._asking.held = data

    async def update_persistence(self) -> None:
        """See `Application.update_persistence`; called by an error handler of a save pass, it begins after that."""
        await in_pass(super().update_persistence)

    # -- within an update -------------------------------------------------------------------------------

    def drop_user_data(self, user_id: int) -> None:
        """See `Application.drop_user_data`; within an update, the document is deleted before that is done."""
        super().drop_user_data(user_id)
        self._worker.told.dropped("user_data", user_id)

    def drop_chat_data(self, chat_id: int) -> None:
        """See `Application.drop_chat_data`; within an update, the document is deleted before that is done."""
        super().drop_chat_data(chat_id)
        self._worker.told.dropped("chat_data", chat_id)

    def migrate_chat_data(
        self, message: Message | None = None, old_chat_id: int | None = None, new_chat_id: int | None = None
    ) -> None:
        """See `Application.migrate_chat_data`; within an update, both documents are written before that is done."""
        super().migrate_chat_data(message, old_chat_id, new_chat_id)
        new = new_chat_id if message is None else message.migrate_to_chat_id or message.chat.id
        self._worker.told.changed("chat_data", _ids(new))

    def mark_data_for_update_persistence(
        self, chat_ids: int | Collection[int] | None = None, user_ids: int | Collection[int] | None = None
    ) -> None:
        """See `Application.mark_data_for_update_persistence`; within an update, saved before that is done."""
        super().mark_data_for_update_persistence(chat_ids, user_ids)
        self._worker.told.changed("chat_data", _ids(chat_ids))
        self._worker.told.changed("user_data", _ids(user_ids))

    def create_task(
        self,
        coroutine: Coroutine[Any, Any, RT] | Awaitable[RT] | Generator[Any, None, RT],
        update: object | None = None,
        *,
        name: str | None = None,
    ) -> asyncio.Task[RT]:
        """See `Application.create_task`; the changes of a handler with `block=False` are saved when it is done."""
        task: asyncio.Task[RT] = super().create_task(coroutine, update, name=name)
        turn = self.current_turn
        if turn is not None and update is not None and update is turn.update:
            self._worker.leaves_behind(task)
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
