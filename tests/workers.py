"""Workers for tests: several shared applications of one bot, without network, on one database."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dtm
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from bots import until
from offline import TOKEN, OfflineRequest
from telegram import CallbackQuery, Chat, Message, Update, User
from telegram.ext import Application, BaseHandler, ExtBot, TypeHandler

from ptb_mongo import MongoPersistence, SharedApplication

USER = 42
_IDS = itertools.count(1)

Act = Callable[[Update, Any], Any]


def text(words: str = "hello", user: int = USER, chat: int | None = None) -> Update:
    """What arrives when a user writes, in private or in a group."""
    return Update(next(_IDS), message=message(words, user, chat))


def message(words: str = "hello", user: int = USER, chat: int | None = None, number: int = 1) -> Message:
    place = Chat(user, Chat.PRIVATE) if chat is None else Chat(chat, Chat.GROUP)
    date = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)
    return Message(number, date, place, from_user=User(user, "Ada", is_bot=False), text=words)


def click(data: str, user: int = USER, number: int = 1, on: Message | None = None) -> Update:
    """What arrives when a user presses a button of a message."""
    pressed = on or message(user=user, number=number)
    query = CallbackQuery(str(next(_IDS)), User(user, "Ada", is_bot=False), "chat", message=pressed, data=data)
    return Update(next(_IDS), callback_query=query)


class SharedBot:
    """One worker; its last handler does what a test asks for."""

    def __init__(
        self,
        persistence: MongoPersistence[Any, Any, Any],
        handlers: Sequence[BaseHandler[Any, Any, Any]] = (),
        *,
        concurrent: bool = False,
        buttons: int | bool = True,
        job_queue: Any = None,
        **options: Any,
    ) -> None:
        self.persistence = persistence
        self.errors: list[BaseException] = []
        requests: Any = {"request": OfflineRequest(), "get_updates_request": OfflineRequest()}
        bot = ExtBot(TOKEN, arbitrary_callback_data=buttons, **requests)
        builder: Any = Application.builder() if job_queue is None else Application.builder().job_queue(job_queue)
        application: Any = (
            builder.bot(bot)
            .updater(None)
            .application_class(SharedApplication, options)
            .concurrent_updates(concurrent)
            .persistence(persistence)
            .build()
        )
        self.application: SharedApplication[Any, Any, Any, Any, Any, Any] = application
        self.application.add_handlers(list(handlers))
        self.application.add_handler(TypeHandler(Update, self._handle), group=1)
        self.application.add_error_handler(self._note)
        self._acts: dict[int, Act] = {}

    async def _handle(self, update: Update, context: Any) -> None:
        if act := self._acts.pop(update.update_id, None):
            result = act(update, context)
            if hasattr(result, "__await__"):
                await result

    async def _note(self, _: object, context: Any) -> None:
        self.errors.append(context.error)

    async def hears(self, act: Callable[[Any], Any] = lambda _: None, user: int = USER, **place: Any) -> Any:
        """One update of a user; `act` is what a handler does with the context. Gives the user's data."""
        await self.takes(text(user=user, **place), lambda _, context: act(context))
        return self.application.user_data.get(user)

    async def takes(self, update: Update, act: Act | None = None) -> None:
        """One update."""
        if act is not None:
            self._acts[update.update_id] = act
        await self.application.process_update(update)

    async def delivers(self, update: Update, act: Act | None = None) -> None:
        """One update by a webhook that answers by hand."""
        if act is not None:
            self._acts[update.update_id] = act
        await self.application.deliver(update)


def count(_: object, context: Any) -> None:
    """An act that counts in the user's data."""
    context.user_data["n"] = context.user_data.get("n", 0) + 1


class CountsAndWaits:
    """An act that counts, and whose handler then runs until it may go on.

    Attributes:
        begun: Set when it has counted.
        go_on: Set to let it go on.
    """

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, update: Update, context: Any) -> None:
        count(update, context)
        self.begun.set()
        await self.go_on.wait()


@contextlib.asynccontextmanager
async def running(*bots: SharedBot) -> AsyncIterator[None]:
    """Workers that are initialized, and follow the changes of others as they do once they run; in the end shut down."""
    async with contextlib.AsyncExitStack() as stack:
        for bot in bots:
            await bot.application.initialize()
            stack.push_async_callback(bot.application.shutdown)
            if (session := bot.persistence.session) is not None:
                session.begin()
                await until(lambda session=session: not session.must_read or session.reads)  # type: ignore[misc]
        yield
