"""The data that an `Application` holds in memory: PTB can drop an entry, with its document, but not let go of it.

Only this module uses the private attributes that this takes. It also finds out which context an update has: PTB tells a
persistence neither that nor when an update ends.
"""

from __future__ import annotations

import inspect
from typing import Any, Final, Literal

import telegram
from telegram.ext import Application, CallbackContext

from ptb_mongo.errors import ConfigurationError

__all__ = ["Kind", "check_ptb", "context_that_refreshes", "held_of", "let_go"]

Kind = Literal["user", "chat"]

_NAMES: Final = ("_{}_data", "_{}_ids_to_be_updated_in_persistence", "_{}_ids_to_be_deleted_in_persistence")
_FRAMES: Final = 8  # between a persistence and `CallbackContext.refresh_data`: methods of a subclass


def check_ptb() -> None:
    """Checks where PTB keeps the data.

    Raises:
        ConfigurationError: If this version of PTB keeps it elsewhere.
    """
    for name in _NAMES:
        if not hasattr(Application, name.format("user")):
            raise ConfigurationError(
                f"python-telegram-bot {telegram.__version__} keeps no Application.{name.format('user')} any more: keep "
                "cannot be used with this version; install an older one, or a newer ptb_mongo"
            )


def held_of(application: Any, kind: Kind, key: int) -> Any:
    """The object that an application holds of somebody; `None` if there is none."""
    return getattr(application, f"{kind}_data").get(key)


def let_go(application: Any, kind: Kind, key: int, live: Any) -> bool:
    """Removes an object from an application's memory, unless PTB is going to save or delete it.

    Args:
        application: The application.
        kind: Whether it is a user's or a chat's.
        key: The id.
        live: The object.

    Returns:
        Whether it was there, and is not any more.
    """
    data, updated, deleted = (getattr(application, name.format(kind)) for name in _NAMES)
    if key in updated or key in deleted or data.get(key) is not live:
        return False
    del data[key]
    return True


def context_that_refreshes() -> CallbackContext[Any, Any, Any, Any] | None:
    """The context for which PTB calls this persistence now; `None` if somebody else calls it."""
    frame = inspect.currentframe()
    for _ in range(_FRAMES):
        frame = None if frame is None else frame.f_back
        if frame is not None and frame.f_code is CallbackContext.refresh_data.__code__:
            found = frame.f_locals.get("self")
            return found if isinstance(found, CallbackContext) else None
    return None
