"""Persistence for tests of PTB that have none: of the application, its conversations, and the callback data cache."""

from __future__ import annotations

import copy
import itertools
from typing import Any, ClassVar

from ptb_suite.databases import NOTHING, OwnDatabase
from ptb_suite.ours import Ours
from telegram.ext import ApplicationBuilder, CallbackDataCache, ConversationHandler, PersistenceInput

__all__ = ["PersistentBuilder", "PersistentConversationHandler", "StoredCallbackDataCache"]


class Checked(Ours):
    """Notes what PTB hands over; at the end of the test, that must be what is in the database."""

    def __init__(self) -> None:
        super().__init__(PersistenceInput(callback_data=False))  # so that any bot will do
        self._handed = copy.deepcopy(NOTHING)

    async def update_user_data(self, user_id: int, data: Any) -> None:
        self._handed["user_data"][user_id] = data
        await super().update_user_data(user_id, data)

    async def update_chat_data(self, chat_id: int, data: Any) -> None:
        self._handed["chat_data"][chat_id] = data
        await super().update_chat_data(chat_id, data)

    async def update_bot_data(self, data: Any) -> None:
        self._handed["bot_data"] = data
        await super().update_bot_data(data)

    async def update_conversation(self, name: str, key: Any, new_state: object | None) -> None:
        self._handed["conversations"].setdefault(name, {})[key] = new_state
        await super().update_conversation(name, key, new_state)

    async def drop_user_data(self, user_id: int) -> None:
        self._handed["user_data"].pop(user_id, None)
        await super().drop_user_data(user_id)

    async def drop_chat_data(self, chat_id: int) -> None:
        self._handed["chat_data"].pop(chat_id, None)
        await super().drop_chat_data(chat_id)

    has_jobs = False
    """Whether a queue has stored jobs."""

    @property
    def has_stored(self) -> bool:
        return self.has_jobs or self._handed != NOTHING

    def check(self) -> None:
        expected = {
            **{
                kind: {of: data for of, data in self._handed[kind].items() if data}
                for kind in ("user_data", "chat_data")
            },
            "bot_data": self._handed["bot_data"],
            "conversations": {
                name: states
                for name, all_states in self._handed["conversations"].items()
                if (states := {key: state for key, state in all_states.items() if state is not None})
            },
        }
        assert self.own.load_kinds(*expected) == expected


class PersistentBuilder(ApplicationBuilder):  # type: ignore[type-arg]
    """Builds applications that are persistent, that save after each update, and that never call Telegram."""

    def __init__(self) -> None:
        super().__init__()
        self.persistence(Checked())

    def application_class(self, application_class: type, kwargs: Any = None) -> Any:
        return super().application_class(_saving(application_class), kwargs)

    def token(self, token: str) -> Any:
        from tests.auxil.pytest_classes import make_bot  # PTB's, which are not there earlier

        return self.bot(make_bot(token=token, offline=True))


def _saving(application_class: type) -> type:
    """An application that saves after each update, not just the last state when it stops."""

    class SavingApplication(application_class):  # type: ignore[misc, valid-type]
        async def process_update(self, update: object) -> None:
            await super().process_update(update)
            await self.update_persistence()

    SavingApplication.__name__ = application_class.__name__  # a test looks at it
    return SavingApplication


class PersistentConversationHandler(ConversationHandler):  # type: ignore[type-arg]
    """A conversation handler that is persistent unless the test says otherwise."""

    _numbers: ClassVar = itertools.count()

    def __init__(self, *args: Any, **options: Any) -> None:
        if "persistent" not in options:
            options = {"name": f"handler {next(self._numbers)}", **options, "persistent": True}
        super().__init__(*args, **options)


class StoredCallbackDataCache(CallbackDataCache):
    """A cache whose data goes into the database and comes out of it whenever a test looks at it."""

    __slots__ = ("_own",)

    def __init__(self, *args: Any, **options: Any) -> None:
        self._own = OwnDatabase()
        super().__init__(*args, **options)

    @property
    def persistence_data(self) -> Any:
        self._own.store({**NOTHING, "callback_data": super().persistence_data})
        return self._own.load("callback_data") or ([], {})
