"""The timeouts of conversations, which PTB keeps as jobs that do not survive a restart: stored as a kind of job.

PTB's job contains the last update and the handler, which is stored by its name. When the job is due, the handlers of
`ConversationHandler.TIMEOUT` run with that update and the conversation ends, whichever worker created the job, unless
the conversation has ended before. If it continues, a new job replaces this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import telegram
from telegram import Update
from telegram.ext import Application, ApplicationHandlerStop, CallbackContext, ConversationHandler

from ptb_mongo.errors import ConfigurationError
from ptb_mongo.held_states import TIMEOUT_JOB, Handler, conversation_handlers, state_of
from ptb_mongo.log import get_logger
from ptb_mongo.replica.values import MISSING
from ptb_mongo.scopes.conversations import is_over
from ptb_mongo.types import ConversationKey

__all__ = ["Conversation", "check_ptb", "conversation_of", "conversation_timeout", "timeout_of"]

_LOGGER = get_logger(__name__)
_TIMEOUT: Final = "_trigger_timeout"
_UPDATE_STATE: Final = "_update_state"
_READ: Final = frozenset({"conversation_key", "update"})
"""The contents of PTB's timeout job, whose class is private: we check which attributes PTB's code reads."""


def check_ptb() -> None:
    """Checks PTB's name for the timeout of a conversation.

    Raises:
        ConfigurationError: If this version of PTB uses another name: no timeout would be stored.
    """
    timeout = getattr(ConversationHandler, _TIMEOUT, None)
    read = getattr(getattr(timeout, "__code__", None), "co_names", ())
    if not _READ.issubset(read):
        raise ConfigurationError(
            f"python-telegram-bot {telegram.__version__} has no ConversationHandler.{_TIMEOUT} with "
            f"{' and '.join(sorted(_READ))} any more: timeouts of conversations cannot be stored with this version; "
            "install an older one, or a newer ptb_mongo"
        )


class Conversation(NamedTuple):
    """A conversation that may time out.

    Attributes:
        handler: Its handler.
        key: Its key.
        update: Its last update.
    """

    handler: Handler
    key: ConversationKey
    update: Update

    @property
    def job_id(self) -> str:
        """The id of its job."""
        return f"{TIMEOUT_JOB}{self.handler.name}:{','.join(map(str, self.key))}"

    @property
    def data(self) -> dict[str, Any]:
        """The data of its job."""
        return {"handler": self.handler.name, "key": list(self.key), "update": self.update}


def timeout_of(callback: Callable[..., Any], data: object) -> Conversation | None:
    """The conversation of a timeout job of PTB's; `None` for any other job, or for one that is not stored."""
    handler = getattr(callback, "__self__", None)
    if not isinstance(handler, ConversationHandler) or getattr(callback, "__name__", "") != _TIMEOUT:
        return None
    key, update = getattr(data, "conversation_key", None), getattr(data, "update", None)
    if not handler.persistent or not handler.name or not isinstance(key, tuple) or not isinstance(update, Update):
        return None
    return Conversation(handler, key, update)


def conversation_of(application: Application[Any, Any, Any, Any, Any, Any], data: object) -> Conversation | None:
    """The conversation that stored data refers to; `None` if this bot has no such conversation."""
    if type(data) is not dict:
        return None
    name, key, update = data.get("handler"), data.get("key"), data.get("update")
    if type(name) is not str or type(key) is not list or type(update) is not Update:
        return None
    handlers = [one for some in application.handlers.values() for one in some]
    for handler in conversation_handlers(handlers):
        if handler.persistent and handler.name == name and all(type(part) in {int, str} for part in key):
            return Conversation(handler, tuple(key), update)
    return None


async def conversation_timeout(context: CallbackContext[Any, Any, Any, Any]) -> None:
    """Ends a conversation that has timed out; the callback of the stored timeout jobs."""
    application, job = context.application, context.job
    found = conversation_of(application, job.data if job is not None else None)
    if found is None:
        _LOGGER.warning("A conversation has timed out, but this bot does not have its ConversationHandler")
        return
    handler, key, update = found
    handler.timeout_jobs.pop(key, None)
    state = state_of(handler, key)
    if state is MISSING or is_over(state):
        return
    update.set_bot(application.bot)
    its_context = application.context_types.context.from_update(update, application)
    await its_context.refresh_data()
    for one in handler.states.get(handler.TIMEOUT, []):
        check = one.check_update(update)
        if check is None or check is False:
            continue
        try:
            await one.handle_update(update, application, check, its_context)
        except ApplicationHandlerStop:
            _LOGGER.warning("ApplicationHandlerStop has no effect in the TIMEOUT state of %s", handler.name)
    _end(handler, key)


def _end(handler: Handler, key: ConversationKey) -> None:
    """Ends a conversation in the same way as its handler; PTB has no public name for that."""
    update_state = getattr(handler, _UPDATE_STATE, None)
    if update_state is None:
        raise ConfigurationError(
            f"python-telegram-bot {telegram.__version__} has no ConversationHandler.{_UPDATE_STATE} any more: "
            "conversations that time out cannot be ended with this version; install an older one, or a newer ptb_mongo"
        )
    update_state(handler.END, key)
