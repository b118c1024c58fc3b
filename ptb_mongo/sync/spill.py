"""What could not be saved before the process had to end, in a file until the next start.

A file holds BSON documents one after another: a header, then one for each unsaved document, with the version
that was wanted and the one it is based on, so that the next start can merge them with what the database has
become. It is written whole or not at all, readable by its owner only, and taken in by one process: by whichever
holds its lock, which ends with the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
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
        collection: Where it belongs.
        id: Its `_id`.
        base: The version that it is based on; `None` if there was none.
        wanted: The version to be saved; `None` to delete the document.
        sent: By `rev`, earlier versions that may or may not have reached the database.
    """

    collection: str
    id: Any
    base: bytes | None
    wanted: bytes | None
    sent: dict[str, bytes | None]


def _prefix(database: str, collection_prefix: str) -> str:
    return f"ptb_mongo-{database}-{collection_prefix}"


def write(folder: Path, database: str, collection_prefix: str, writer: str, documents: Iterable[Spilled]) -> Path:
    """Writes a file of its own.

    Args:
        folder: Where to; made if need be.
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
    """The files of a database, each given to one process only: until the next is asked for, or this is closed."""
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
    """Whether this process may take in a file: nobody else does so now, and nobody has done so meanwhile."""
    if sys.platform == "win32":  # which has no such locks: start one process at a time there
        return True
    import fcntl  # noqa: PLC0415  (POSIX only)

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def read(path: Path, database: str, collection_prefix: str) -> list[Spilled]:
    """What a file holds; nothing if it belongs to another database whose name begins alike.

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
