"""Files for data that could not be saved before the process had to stop, until the next start.

A file holds BSON documents one after another: a header, then one for each unsaved document, with the version to be
saved and the one it is based on, so that the next start can merge them with what the database has become. A file is
written completely or not at all, and only its owner can read it. It is taken in by one process: the one that holds its
lock, which ends with the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import bson

from ptb_mongo.codec import OPTIONS, dump
from ptb_mongo.errors import DecodeError

__all__ = ["Spilled", "claim", "read", "remove", "write"]

_VERSION: Final = 1
_SUFFIX: Final = ".unsaved"


@dataclass(frozen=True, slots=True)
class Spilled:
    """One unsaved document.

    Attributes:
        collection: Its collection.
        id: Its `_id`.
        base: The version that it is based on; `None` if there was no document.
        wanted: The version to be saved; `None` to delete the document.
        sent: By `rev`, the versions that were sent, and may or may not have been stored.
        rev, revs: Those of the version that it is based on.
    """

    collection: str
    id: Any
    base: bytes | None
    wanted: bytes | None
    sent: dict[str, bytes | None]
    rev: Any = None
    revs: Sequence[str] = ()


def _prefix(database: str, collection_prefix: str) -> str:
    return f"ptb_mongo-{database}-{collection_prefix}"


def write(folder: Path, database: str, collection_prefix: str, writer: str, documents: Iterable[Spilled]) -> Path:
    """Writes a new file.

    Args:
        folder: Where to; created if necessary.
        database: The database's name.
        collection_prefix: The prefix of its collections.
        writer: Makes the file's name unique.
        documents: What is unsaved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_prefix(database, collection_prefix)}{writer}{_SUFFIX}"
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(dump({"version": _VERSION, "database": database, "collection_prefix": collection_prefix}))
        for one in documents:
            file.write(dump(asdict(one)))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return path


def claim(folder: Path, database: str, collection_prefix: str) -> Generator[Path, None, None]:
    """The files of a database, each locked for this process until the next is asked for, or this is closed."""
    prefix = _prefix(database, collection_prefix)
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        if not path.name.startswith(prefix):
            continue
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue  # another process was faster
        with file:
            if _locked(file):
                yield path


def _locked(file: IO[bytes]) -> bool:
    """Whether this process may take in a file: no other process does so now, or has done so meanwhile."""
    if sys.platform == "win32":  # it has no such locks: start one process at a time there
        return True
    import fcntl  # noqa: PLC0415  (POSIX only)

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def read(path: Path, database: str, collection_prefix: str) -> list[Spilled]:
    """The documents in a file; none if it belongs to another database whose name has the same beginning.

    Raises:
        DecodeError: If it is damaged.
    """
    try:
        header, *documents = bson.decode_all(path.read_bytes(), OPTIONS)
        if header["version"] != _VERSION:
            raise DecodeError(f"{path} has the version {header['version']!r}, and this ptb_mongo knows {_VERSION}")
        if (header["database"], header["collection_prefix"]) != (database, collection_prefix):
            return []
        return [Spilled(**one) for one in documents]
    except (bson.errors.BSONError, ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"{path} is damaged: {error}") from error


def remove(path: Path) -> None:
    """Removes a file whose contents the server has acknowledged."""
    path.unlink()
