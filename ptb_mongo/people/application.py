"""The application that a persistence serves, which PTB does not reveal; and what it holds for one person.

PTB awaits its persistence inside its own public methods, so the call stack contains the application. If a program calls
the persistence itself, the application is unknown, and only what the persistence has handed out is forgotten.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Final

from telegram.ext import Application

from ptb_mongo.held_states import conversation_handlers, held_by, replace_state
from ptb_mongo.people.subject import Subject
from ptb_mongo.scopes.callback_data import QUERY
from ptb_mongo.types import ConversationKey

__all__ = ["Held", "calling_application", "ids_of_update"]

AnyApplication = Application[Any, Any, Any, Any, Any, Any]

_CALLERS: Final = {
    method.__code__ for method in (Application.initialize, Application.process_update, Application.update_persistence)
}
_PROCESS: Final = Application.process_update.__code__


def _callers() -> Iterator[FrameType]:
    """The frames of the callers, the nearest first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def calling_application() -> AnyApplication | None:
    """The application that is calling its persistence; `None` if there is none."""
    found = next((frame.f_locals.get("self") for frame in _callers() if frame.f_code in _CALLERS), None)
    return found if isinstance(found, Application) else None


def ids_of_update() -> tuple[int | None, int | None] | None:
    """The chat's id and the user's id of the update for which the persistence is called; `None` without an update."""
    update = next((one.f_locals.get("update") for one in _callers() if one.f_code is _PROCESS), None)
    if update is None:
        return None
    chat, user = getattr(update, "effective_chat", None), getattr(update, "effective_user", None)
    return getattr(chat, "id", None), getattr(user, "id", None)


class Held:
    """What an application holds in memory for people.

    Args:
        application: The application.
    """

    def __init__(self, application: AnyApplication) -> None:
        self._application = application

    def _handlers(self) -> Iterable[Any]:
        for handlers in self._application.handlers.values():
            yield from handlers

    def _conversation_handlers(self) -> Iterator[Any]:
        return conversation_handlers(self._handlers())

    def parts(self, name: str) -> tuple[bool, bool] | None:
        """The beginning of a handler's conversation keys; see `KeyParts`."""
        for handler in self._conversation_handlers():
            if handler.name == name:
                return handler.per_chat, handler.per_user
        return None

    def end_conversations(self, subject: Subject) -> None:
        """Ends somebody's conversations, stored or not, and their timeouts."""
        for handler in self._conversation_handlers():
            parts = handler.per_chat, handler.per_user
            for key in [key for key in held_by(handler) or () if subject.owns_key(key, parts)]:
                replace_state(handler, key, None)

    def end_conversation(self, name: str, key: ConversationKey) -> None:
        """Ends a conversation and its timeout."""
        for handler in self._conversation_handlers():
            if handler.name == name:
                replace_state(handler, key, None)

    def drop_keyboards(self, ids: set[str]) -> None:
        """Removes keyboards and queries from PTB's cache, by the `_id`s of their documents."""
        cache = getattr(self._application.bot, "callback_data_cache", None)
        if cache is None or not ids:
            return
        keyboards, queries = cache.persistence_data
        kept = [one for one in keyboards if one[0] not in ids]
        left = {query: one for query, one in queries.items() if one not in ids and f"{QUERY}{query}" not in ids}
        cache.clear_callback_data()
        cache.clear_callback_queries()
        cache.load_persistence_data((kept, left))

    def end_jobs(self, subject: Subject) -> None:
        """Removes somebody's jobs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PTB warns if there is no queue
            queue = self._application.job_queue
        for job in () if queue is None else queue.jobs():
            if subject.id == job.chat_id or (subject.kind == "user" and subject.id == job.user_id):
                job.schedule_removal()

    def drop(self, scope: str, key: int) -> None:
        """Drops somebody's data, as a program would."""
        drops: dict[str, Callable[[int], None]] = {
            "user_data": self._application.drop_user_data,
            "chat_data": self._application.drop_chat_data,
        }
        drops[scope](key)

    def data(self, scope: str, key: int) -> Any:
        """The object that handlers change now; `None` if there is none."""
        found = self._application.user_data if scope == "user_data" else self._application.chat_data
        return found.get(key)
