"""`MongoJobQueue`: PTB's `JobQueue` with jobs that survive a restart, each run by only one of several workers."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from telegram.ext import Application, CallbackContext, Job, JobQueue

from ptb_mongo.errors import ConfigurationError
from ptb_mongo.jobs.callbacks import Callbacks
from ptb_mongo.jobs.keeper import JobKeeper
from ptb_mongo.jobs.scheduler import Scheduler
from ptb_mongo.jobs.store import ALIAS, EVENTS, MongoJobStore
from ptb_mongo.jobs.timeouts import check_ptb, conversation_timeout, timeout_of
from ptb_mongo.jobs.turns import lease_timeout_of, run_job
from ptb_mongo.persistence import MongoPersistence

__all__ = ["MongoJobQueue"]

_Callback = Callable[[Any], Any]


class MongoJobQueue(JobQueue[CallbackContext[Any, Any, Any, Any]]):
    """Stores jobs in the bot's own database; replaces `telegram.ext.JobQueue`.

    Handlers use it like PTB's own. A job is stored in the background, like all data, if its callback is registered.
    After a restart, it is there again, and if it came due meanwhile, it runs at once, once. With a `SharedApplication`,
    every worker knows every job, and each run is done by one of them.

    Unlike with PTB's queue, a job that is late still runs, unless its own `misfire_grace_time` says otherwise.

    Args:
        callbacks: The callbacks of jobs that are stored: functions at the top level of a module, or names of modules
            whose coroutine functions are all registered. Nothing else is ever called for a stored job.
        aliases: Callbacks that were renamed or moved, by their old names: `{"old_module:alarm": alarm}`.

    Raises:
        ConfigurationError: If a callback cannot be registered.

    Example:
        >>> from telegram.ext import Application
        >>> from ptb_mongo import MongoJobQueue, MongoPersistence
        >>> async def alarm(context):
        ...     await context.bot.send_message(context.job.chat_id, "Beep!")
        >>> builder = (
        ...     Application.builder()
        ...     .token("123456:TOKEN")
        ...     .job_queue(MongoJobQueue(callbacks=[alarm]))
        ...     .persistence(MongoPersistence("mongodb://localhost:27017", "my_bot"))
        ... )
    """

    runs_turns: Final = True
    """Tells a `SharedApplication` that jobs already run as turns of their users and chats."""

    def __init__(
        self,
        callbacks: Collection[_Callback | str] = (),
        aliases: Mapping[str, _Callback] = MappingProxyType({}),
    ) -> None:
        self._callbacks = Callbacks(callbacks, aliases)
        self._callbacks.add(conversation_timeout)
        self._store = MongoJobStore()
        self._keeper: JobKeeper | None = None
        super().__init__()
        self.scheduler = Scheduler(**self.scheduler_configuration)
        self.scheduler.add_listener(self._store.noted, EVENTS)

    @property
    def store(self) -> MongoJobStore:
        """The jobs in memory, in the form that the scheduler uses."""
        return self._store

    @property
    def scheduler_configuration(self) -> dict[str, Any]:
        """See `JobQueue.scheduler_configuration`; with this queue's store."""
        configuration = dict(super().scheduler_configuration)
        configuration["jobstores"] = {ALIAS: self._store}
        configuration["job_defaults"] = {"misfire_grace_time": None}
        return configuration

    def set_application(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        """See `JobQueue.set_application`.

        Raises:
            ConfigurationError: If its persistence is not a `MongoPersistence`, or if this version of PTB keeps timeouts
                in a different way.
        """
        check_ptb()
        persistence = application.persistence
        if not isinstance(persistence, MongoPersistence):
            raise ConfigurationError(
                f"a MongoJobQueue needs a MongoPersistence, not {type(persistence).__name__}: "
                "builder.persistence(MongoPersistence(...))"
            )
        super().set_application(application)
        keeper = JobKeeper(self, self._store, self._callbacks, persistence, lease_timeout_of(application))
        self._keeper = self._store.keeper = keeper
        persistence.keep_jobs(keeper.live)

    def run_once(
        self,
        callback: _Callback,
        when: float | dtm.timedelta | dtm.datetime | dtm.time,
        data: object | None = None,
        name: str | None = None,
        chat_id: int | None = None,
        user_id: int | None = None,
        job_kwargs: dict[str, Any] | None = None,
    ) -> Job[Any]:
        """See `JobQueue.run_once`; the timeout of a persistent conversation is stored."""
        found = timeout_of(callback, data)
        if found is not None:
            callback, data, job_kwargs = (
                conversation_timeout,
                found.data,
                {"id": found.job_id, "replace_existing": True},
            )
            chat, user = found.update.effective_chat, found.update.effective_user
            chat_id, user_id = chat.id if chat is not None else None, user.id if user is not None else None
        return super().run_once(callback, when, data, name, chat_id, user_id, job_kwargs)

    async def start(self) -> None:
        """See `JobQueue.start`; loads the stored jobs first.

        Raises:
            ConfigurationError: If a module of callbacks cannot be imported.
            PersistenceError: If they cannot be read.
        """
        if self._keeper is not None and not self.scheduler.running:
            await self._keeper.open()
        await super().start()

    async def stop(self, wait: bool = True) -> None:
        """See `JobQueue.stop`; the jobs stay stored."""
        await super().stop(wait)
        if self._keeper is not None:
            await self._keeper.close()

    @staticmethod
    async def job_callback(job_queue: JobQueue[Any], job: Job[Any]) -> None:
        """See `JobQueue.job_callback`; in a `SharedApplication`, as a turn of the job's user and chat."""
        await run_job(job_queue.application, job)
