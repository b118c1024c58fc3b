"""MongoDB persistence for python-telegram-bot.

>>> from ptb_mongo import MongoPersistence
>>> persistence = MongoPersistence("mongodb://localhost:27017", "my_bot")
"""

from typing import TYPE_CHECKING, Any

from ptb_mongo.errors import (
    ConfigurationError,
    DecodeError,
    DocumentError,
    EmbeddedServerError,
    EncodeError,
    FormatError,
    LeaseError,
    PersistenceError,
    QuarantinedError,
    RefusedError,
    UnavailableError,
    UnsavedDataError,
    WatchUnavailableError,
)
from ptb_mongo.health import Health
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.replica.values import MISSING
from ptb_mongo.types import Conflict
from ptb_mongo.workers import SharedApplication

if TYPE_CHECKING:
    from ptb_mongo.jobs import MongoJobQueue

__all__ = [
    "MISSING",
    "ConfigurationError",
    "Conflict",
    "DecodeError",
    "DocumentError",
    "EmbeddedServerError",
    "EncodeError",
    "FormatError",
    "Health",
    "LeaseError",
    "MongoJobQueue",
    "MongoPersistence",
    "PersistenceError",
    "QuarantinedError",
    "RefusedError",
    "SharedApplication",
    "UnavailableError",
    "UnsavedDataError",
    "WatchUnavailableError",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports what needs APScheduler only when it is used."""
    if name == "MongoJobQueue":
        try:
            from ptb_mongo.jobs import MongoJobQueue  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ImportError(
                f"MongoJobQueue needs APScheduler, as PTB's JobQueue does ({error}): "
                'pip install "python-telegram-bot[job-queue]"'
            ) from error
        return MongoJobQueue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
