"""Whatever is saved can be loaded: a document that a start would quarantine is refused before it is written.

A refusal is an error at the first save, while the bot still has the data. A quarantine comes after a restart, when only
the stored document is left.
"""

from __future__ import annotations

from typing import Any

from ptb_mongo.codec import dump, load
from ptb_mongo.codec.scalars import MAX_INT64, MIN_INT64
from ptb_mongo.errors import DecodeError, EncodeError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.values import Document

__all__ = ["check_form", "check_id", "check_loadable", "other_type"]


def check_id(collection: Collection[Any], key: Any, document_id: Any) -> None:
    """Checks that a document's `_id` identifies it.

    Args:
        collection: The document's collection.
        key: The document's key.
        document_id: The `_id` under which it would be stored.

    Raises:
        EncodeError: If it does not.
    """
    if isinstance(key, int) and not MIN_INT64 <= key <= MAX_INT64:
        raise EncodeError("its _id would be a number beyond 64 bits").located(collection.collection, document_id)
    try:
        if collection.key_of(document_id) == key:
            return
        reason = "its _id would stand for another document"
    except DecodeError as error:
        reason = error.reason
    raise EncodeError(f"it could not be loaded again: {reason}").located(collection.collection, document_id)


def check_form(collection: Collection[Any], key: Any, document_id: Any, plain: Document) -> None:
    """Checks that a document's fields and `_id` have the form of its collection.

    Raises:
        EncodeError: If they do not.
    """
    check_id(collection, key, document_id)
    try:
        collection.check(key, plain)
    except DecodeError as error:
        raise EncodeError(f"it could not be loaded again: {error.reason}") from error


def other_type(name: str, wanted: type, data: object) -> str:
    """Why data of another type is neither loaded nor saved: usually, `context_types` are missing in one place."""
    return (
        f"data is a {type(data).__name__}, and this bot's {name} is a {wanted.__name__}; MongoPersistence takes the "
        "same context_types as the Application: MongoPersistence(..., context_types=...)"
    )


def check_loadable(collection: Collection[Any], key: Any, plain: Document) -> None:
    """Checks that a document could be decoded and copied again.

    Almost every document is known to be loadable by its form; this is needed only if classes with their own methods are
    involved: see `Codec.may_not_load`.

    Raises:
        EncodeError: If it could not.
    """
    raw = dump(plain)
    try:
        body = collection.codec.decode_body(raw, load(raw))
        collection.check(key, body)
        collection.codec.check_usable(body, copied=collection.copied)
    except DecodeError as error:
        raise EncodeError(f"it could not be loaded again: {error.reason}", path=error.path) from error
