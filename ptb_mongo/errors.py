"""Every error that this package raises, under one root; each says what happened, where, and what to do.

No error text contains a password, a bot token or a whole document, nor anything that a terminal would interpret: a path
consists of users' keys, and PTB and asyncio log what we raise. Attributes contain the original values.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from ptb_mongo.printable import printable

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "DecodeError",
    "DocumentError",
    "EmbeddedServerError",
    "EncodeError",
    "FormatError",
    "LeaseError",
    "PersistenceError",
    "QuarantinedError",
    "RefusedError",
    "UnavailableError",
    "UnsavedDataError",
    "WatchUnavailableError",
]

_LONGEST_PATH: Final = 200

_E = TypeVar("_E", bound="DocumentError")


class PersistenceError(Exception):
    """Something went wrong in ptb_mongo."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    def __str__(self) -> str:
        return printable(super().__str__(), lines=True)


class ConfigurationError(PersistenceError, ValueError):
    """An argument of MongoPersistence, or a part of the connection string, cannot be used."""


class EmbeddedServerError(PersistenceError):
    """No mongod could be found or started on this machine."""


class UnavailableError(PersistenceError, ConnectionError):
    """The MongoDB server does not answer."""


class LeaseError(PersistenceError):
    """A lease could not be had in time, or was lost: another worker changes the same data."""


class RefusedError(PersistenceError):
    """The MongoDB server refuses an operation, and not for the sake of one document.

    What it refuses to save is kept, and tried again.

    Attributes:
        code: MongoDB's number for the reason; `None` if the driver has refused it.
    """

    def __init__(self, message: str | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class AuthenticationError(RefusedError, ConfigurationError):
    """The MongoDB server refuses the user name or the password."""


class WatchUnavailableError(PersistenceError):
    """The server offers no change streams."""


class FormatError(PersistenceError):
    """The database was written by a newer version of ptb_mongo."""


class UnsavedDataError(PersistenceError):
    """The persistence was closed while changes were still unsaved."""


class DocumentError(PersistenceError):
    """One document could not be saved or loaded; all others are unaffected.

    Attributes:
        collection: Name of the collection, `None` while the codec alone is at work.
        document_id: The document's `_id`.
        path: Dotted path inside the document, as it is stored.
        reason: What is wrong, without the location.
    """

    def __init__(self, reason: str, *, path: str = "", collection: str | None = None, document_id: Any = None) -> None:
        self.reason = reason
        self.path = path
        self.collection = collection
        self.document_id = document_id
        super().__init__(reason)

    def located(self, collection: str, document_id: Any) -> DocumentError:
        """This error, with the document that it concerns."""
        self.collection, self.document_id = collection, document_id
        return self

    def within(self: _E, key: str) -> _E:  # noqa: PYI019  (Python 3.10 has no `Self`)
        """The same error, seen from the container that holds the failing part under this key."""
        return type(self)(self.reason, path=f"{key}.{self.path}" if self.path else key)

    def __str__(self) -> str:
        where = []
        if self.collection is not None:
            where.append(f"{self.collection}, _id {self.document_id!r:.{_LONGEST_PATH}}")
        if self.path:
            long = len(self.path) > _LONGEST_PATH
            where.append(f"at {self.path[:_LONGEST_PATH]}..." if long else f"at {self.path}")
        return printable(f"{', '.join(where)}: {self.reason}" if where else self.reason)


class EncodeError(DocumentError, TypeError):
    """A value cannot be stored."""


def as_encode_error(error: Exception) -> EncodeError:
    """Why a value cannot be stored; the text of an unforeseen error is left out, as it may contain users' data."""
    if isinstance(error, EncodeError):
        return error
    if isinstance(error, DocumentError):
        return EncodeError(error.reason, path=error.path)
    return EncodeError(f"it cannot be stored ({type(error).__name__})")


class DecodeError(DocumentError, ValueError):
    """A stored value cannot be restored."""


class QuarantinedError(DocumentError):
    """The stored document cannot be read, so it is not written over either."""
