"""What becomes of a version when the database does not hold what it is based on. Pure."""

from __future__ import annotations

from typing import Any

from ptb_mongo.codec import BURIED, dump
from ptb_mongo.replica.versions import Form, Version, Write

__all__ = ["rebased", "stored_by", "without_mark"]


def rebased(document_id: Any, pending: Version, base: bytes | None, remote: bytes | None, form: Form) -> Version | None:
    """The version to store now instead of the pending one; `None` if there is nothing to store.

    Args:
        document_id: The document's `_id`.
        pending: The pending version.
        base: The version that it is based on.
        remote: What is stored; `None` if there is no document.
        form: The form of the document.
    """
    if pending.plain is None:
        is_over = remote is None or pending.yields or not form.still_deletes(base, remote)
        return None if is_over else pending
    if remote is None and pending.touch:
        return None  # a touch does not restart what others have ended
    theirs = form.gone(pending.plain) if remote is None else form.canonical(remote)
    plain = form.merged(document_id, form.canonical(base), pending.plain, theirs, yields=pending.yields)
    raw = dump(plain)
    return pending if raw == pending.raw else pending._replace(plain=plain, raw=raw)


def stored_by(write: Write, document_id: Any, base: bytes | None, form: Form) -> bytes | None:
    """What is stored once a write is done: its version, merged with others' changes read while it was in flight.

    Args:
        write: The write.
        document_id: The document's `_id`.
        base: The version that was last read, or known before.
        form: The form of the document.
    """
    version = write.version
    if version is None or version.plain is None:
        return None
    if base is None or base == write.base:
        return version.raw
    return dump(form.merged(document_id, form.canonical(write.base), version.plain, form.canonical(base)))


def without_mark(body: bytes | None) -> bytes | None:
    """What is stored of a document; `None` for a tombstone, which says that there is no document."""
    return None if body == BURIED else body
