"""Documents of one collection that cannot be read, and why: each is reported once, and never overwritten.

Anybody may plant any number of them. Among those that nobody uses, only the first ones are remembered and named.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from ptb_mongo.codec import dump
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError
from ptb_mongo.log import get_logger

__all__ = ["MOST_QUARANTINED", "Quarantine", "as_decode_error"]

_LOGGER = get_logger(__name__)
MOST_QUARANTINED: Final = 1000
"""How many of a collection's unused documents are remembered."""
_LONGEST: Final = 1000  # bytes of an `_id`, characters of a path: they are kept as long as the document is unreadable


class Quarantine(dict[Any, DocumentError]):
    """Why documents cannot be read, by their keys, or for a document without a key by a hash of its `_id`.

    Args:
        collection: The collection's name.
    """

    def __init__(self, collection: str) -> None:
        super().__init__()
        self._collection = collection
        self._is_full = False

    def note(self, document_id: object, key: object, error: DocumentError, *, is_used: bool) -> bool:
        """Reports a document unless it is known; returns whether it is remembered.

        Args:
            document_id: Its `_id`.
            key: Its key; `None` if it has none.
            error: Why it cannot be read.
            is_used: Whether it must be remembered because the bot holds data for the same key.
        """
        known = _hash(document_id) if key is None else key
        if known not in self and not is_used and len(self) >= MOST_QUARANTINED:
            if not self._is_full:
                self._is_full = True
                _LOGGER.error(
                    "More than %d documents of %s cannot be read; the others are left alone, too, but not named",
                    MOST_QUARANTINED,
                    self._collection,
                )
            return False
        # A new error, because the traceback of the raised one keeps the whole document alive.
        error = DecodeError(error.reason, path=error.path[:_LONGEST]).located(self._collection, _short(document_id))
        if str(self.get(known)) != str(error):
            self[known] = error
            _LOGGER.error("Quarantined, until it is repaired: %s", error)
        return True

    def discard(self, document_id: object) -> None:
        """Forgets a document without a key after its deletion."""
        if self:
            self.pop(_hash(document_id), None)


def as_decode_error(error: Exception) -> DecodeError:
    """Why a document cannot be used; the text of an unforeseen error is left out, as it may contain users' data."""
    if isinstance(error, DecodeError):
        return error
    if isinstance(error, DocumentError):
        return DecodeError(f"it cannot be used: {error.reason}", path=error.path)
    return DecodeError(f"it cannot be used ({type(error).__name__})")


def _bytes(document_id: object) -> bytes:
    try:
        return dump({"v": document_id})
    except EncodeError:
        return repr(document_id).encode(errors="replace")


def _hash(document_id: object) -> bytes:
    return hashlib.sha256(_bytes(document_id)).digest()


def _short(document_id: object) -> object:
    """An `_id` for an error that is kept."""
    return document_id if len(_bytes(document_id)) <= _LONGEST else repr(document_id)[:_LONGEST]
