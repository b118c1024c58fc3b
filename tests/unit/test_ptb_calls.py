"""PTB calls a persistence from where it is looked for: the call stack says for what.

PTB tells a persistence neither its application nor the update or context. The kind of fault: a version of PTB in which
a method is called by another one, or from a task of its own. Nothing would fail then: `erase` would leave in memory
what it should not, `keep` would let nobody go, and nobody would be noted as seen.
"""

from __future__ import annotations

from typing import Any

import telegram
from offline import message_from, offline_application
from telegram.ext import DictPersistence, TypeHandler

from ptb_mongo.held_by_ptb import context_that_refreshes
from ptb_mongo.people.application import calling_application, ids_of_update

VERSION = f"python-telegram-bot {telegram.__version__} calls its persistence from elsewhere"
APPLICATION = f"{VERSION}: ptb_mongo.people.application._CALLERS needs other names"
CONTEXT = f"{VERSION}: ptb_mongo.held_by_ptb.context_that_refreshes needs another way to the context"


class Asking(DictPersistence):
    """Notes what the call stack says in each call; its methods are called by those of a subclass, as ours may be."""

    def __init__(self) -> None:
        super().__init__()
        self.applications: dict[str, Any] = {}
        self.contexts: dict[str, Any] = {}
        self.updates: dict[str, Any] = {}

    def _note(self, name: str) -> None:
        self.applications[name] = calling_application()
        self.contexts[name] = context_that_refreshes()
        self.updates[name] = ids_of_update()

    async def get_user_data(self) -> Any:
        self._note("get_user_data")
        return await super().get_user_data()

    async def get_chat_data(self) -> Any:
        self._note("get_chat_data")
        return await super().get_chat_data()

    async def get_bot_data(self) -> Any:
        self._note("get_bot_data")
        return await super().get_bot_data()

    async def get_callback_data(self) -> Any:
        self._note("get_callback_data")
        return await super().get_callback_data()

    async def refresh_user_data(self, user_id: int, user_data: Any) -> None:
        self._note("refresh_user_data")

    async def refresh_chat_data(self, chat_id: int, chat_data: Any) -> None:
        self._note("refresh_chat_data")


class Below(Asking):
    """A subclass that hands on, as a bot's own may."""

    async def refresh_user_data(self, user_id: int, user_data: Any) -> None:
        await super().refresh_user_data(user_id, user_data)


LOADS = ("get_user_data", "get_chat_data", "get_bot_data", "get_callback_data")
REFRESHES = ("refresh_user_data", "refresh_chat_data")


async def test_in_this_version_of_ptb_a_load_is_called_by_the_application() -> None:
    persistence = Asking()
    application = offline_application(persistence)
    async with application:
        assert persistence.applications == dict.fromkeys(LOADS, application), APPLICATION
        assert not any(persistence.updates.values())


async def test_in_this_version_of_ptb_a_handler_s_own_call_has_the_application_around_it() -> None:
    persistence = Asking()

    async def handle(*_: Any) -> None:
        await persistence.get_user_data()

    application = offline_application(persistence, TypeHandler(telegram.Update, handle))
    async with application:
        persistence.applications.clear()
        await application.process_update(message_from(1))
        assert persistence.applications["get_user_data"] is application, APPLICATION


async def test_in_this_version_of_ptb_a_refresh_is_called_by_the_context_of_its_update() -> None:
    persistence, contexts = Below(), []

    async def handle(_: Any, context: Any) -> None:
        contexts.append(context)

    application = offline_application(persistence, TypeHandler(telegram.Update, handle))
    async with application:
        await application.process_update(message_from(1))
        for name in REFRESHES:
            assert persistence.contexts[name] is contexts[0], CONTEXT
            assert persistence.updates[name] == (1, 1), APPLICATION


async def test_in_this_version_of_ptb_a_job_s_refresh_has_a_context_and_is_for_no_update() -> None:
    persistence, contexts = Below(), []

    async def ring(context: Any) -> None:
        contexts.append(context)

    application = offline_application(persistence)
    async with application:
        queue: Any = application.job_queue
        await queue.run_once(ring, 3600, user_id=1, chat_id=1).run(application)
        for name in REFRESHES:
            assert persistence.contexts[name] is contexts[0], CONTEXT
            assert persistence.updates[name] is None, APPLICATION


async def test_a_direct_caller_of_a_persistence_is_not_an_application() -> None:
    persistence = Asking()
    await persistence.get_user_data()
    await persistence.refresh_user_data(1, {})
    assert set(persistence.applications.values()) == {None}
    assert set(persistence.contexts.values()) == {None}
