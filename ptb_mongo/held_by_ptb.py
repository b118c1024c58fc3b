"""The data that an `Application` holds in memory: PTB can drop an entry with its document, but not just evict it.

Only this module uses the private attributes that this takes. It also finds the context of an update: PTB tells a
persistence neither the context nor the end of an update.
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
_FRAMES: Final = 8  # at most, from a persistence up to `CallbackContext.refresh_data`: a subclass may add some


def check_ptb() -> None:
    """Checks that PTB keeps the data where this module expects it.

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
    """The object that an application holds for a user or chat; `None` if there is none."""
    return getattr(application, f"{kind}_data").get(key)


def let_go(application: Any, kind: Kind, key: int, live: Any) -> bool:
    """Removes an object from an application's memory, unless PTB is going to save or delete it.

    Args:
        application: The application.
        kind: Whether it is a user's or a chat's.
        key: The id.
        live: The object.

    Returns:
        Whether it was removed.
    """
    data, updated, deleted = (getattr(application, name.format(kind)) for name in _NAMES)
    if key in updated or key in deleted or data.get(key) is not live:
        return False
    del data[key]
    return True


def context_that_refreshes() -> CallbackContext[Any, Any, Any, Any] | None:
    """The context for which PTB is calling the persistence; `None` if the caller is somebody else."""
    frame = inspect.currentframe()
    for _ in range(_FRAMES):
        frame = None if frame is None else frame.f_back
        if frame is not None and frame.f_code is CallbackContext.refresh_data.__code__:
            found = frame.f_locals.get("self")
            return found if isinstance(found, CallbackContext) else None
    return None
