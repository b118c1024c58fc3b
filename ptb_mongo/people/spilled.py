"""One person's data that earlier processes could not save, in the files that the next start takes in."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from ptb_mongo.codec import load
from ptb_mongo.errors import DecodeError
from ptb_mongo.log import get_logger
from ptb_mongo.people.subject import COLLECTIONS, KeyParts, Subject, unknown
from ptb_mongo.sync import spill

__all__ = ["erase_spilled"]

_LOGGER = get_logger(__name__)


def erase_spilled(folder: Path, database: str, prefix: str, subject: Subject, parts: KeyParts = unknown) -> int:
    """Removes one person's data from all files of a database; returns the number of documents.

    Args:
        folder: The folder of the files.
        database: The database's name.
        prefix: The beginning of the collections' names.
        subject: The person or chat.
        parts: What is known about the conversation handlers.
    """

    def is_theirs(one: spill.Spilled) -> bool:
        kind = one.collection.removeprefix(prefix)
        if kind not in COLLECTIONS:
            return False
        if kind != "jobs":
            return subject.owns(kind, {"_id": one.id}, parts)
        versions = (one.wanted, one.base, *one.sent.values())
        return any(subject.owns(kind, load(body)) for body in versions if body is not None)

    def cannot(path: Path, reason: str) -> None:
        _LOGGER.error("%s may contain data of %s, and cannot be read: %s", path, subject, reason)

    count = 0
    with contextlib.closing(spill.claim(folder, database, prefix, cannot)) as files:
        for file in files:
            try:
                theirs = sum(map(is_theirs, file.documents()))
                others = sum(1 for _ in file.documents()) - theirs
                if theirs and others:
                    left = (one for one in file.documents() if not is_theirs(one))
                    spill.write(folder, database, prefix, uuid.uuid4().hex[:12], left)
                if theirs:
                    spill.remove(file.path)
            except (DecodeError, OSError) as error:
                cannot(file.path, str(error))
            else:
                count += theirs
    return count
