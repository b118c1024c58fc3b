"""MongoDB persistence for python-telegram-bot.

>>> from ptb_mongo import MongoPersistence
>>> persistence = MongoPersistence("mongodb://localhost:27017", "my_bot")
"""

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
