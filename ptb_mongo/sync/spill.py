"""Files that keep data which could not be saved before the process had to stop, until the next start.

A file contains BSON documents one after another: a header, then one for each unsaved document, with the version to save
and the one on which it is based, so that the next start can merge them with what is then in the database. A file is
written completely or not at all, and only its owner can read it. Only one process takes it in: the one that has its
lock, which ends with the process.

Others may have put anything into the folder. We follow no link, wait for nothing, overwrite nothing, and check a file
from beginning to end before using anything in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from ptb_mongo.codec import MAX_SIZE, dump, load
from ptb_mongo.errors import DecodeError, EncodeError
from ptb_mongo.sync.private_folder import make, owner_of_new_files

__all__ = ["SpillFile", "Spilled", "claim", "remove", "write"]

_VERSION: Final = 1
_SUFFIX: Final = ".unsaved"
_PARTIAL: Final = ".partial"
_LARGEST: Final = 16 * MAX_SIZE  # of one entry, which contains several versions of a document
_LONGEST: Final = 80  # characters of a part of a file's name, which has at most 255 bytes
# `O_NONBLOCK`, or a pipe of that name would block. Writable, as some network file systems lock only writable files.
_OPENED: Final = os.O_RDWR | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


@dataclass(frozen=True, slots=True)
class Spilled:
    """One unsaved document.

    Attributes:
        collection: Its collection.
        id: Its `_id`.
        base: The version that it is based on; `None` if there was no document.
        wanted: The version to save; `None` to delete the document.
        sent: The versions that were sent, and may or may not have been stored, by `rev`.
        rev, revs: Those of the version that it is based on.
        writer: The `rev` of the last write of a writer that may still write it: any write of that one with a greater
            number stores all that is wanted. Empty if there is none.
    """

    collection: str
    id: Any
    base: bytes | None
    wanted: bytes | None
    sent: dict[str, bytes | None]
    rev: Any = None
    revs: list[str] = field(default_factory=list)
    writer: str = ""


# -- names -----------------------------------------------------------------------------------------------


def _stem(database: str, collection_prefix: str) -> str:
    """The beginning of the names of a database's files, and of no other's."""
    return f"ptb_mongo-{_name_part(database)}-{_name_part(collection_prefix)}-"


def _name_part(text: str) -> str:
    """A text as a part of a file's name: without slashes, and without the dash that separates parts."""
    part = quote(text, safe="", errors="surrogatepass").replace("-", "%2D")
    if len(part) <= _LONGEST:
        return part
    return f"{part[:_LONGEST]}={hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"


# -- writing ---------------------------------------------------------------------------------------------


def write(
    folder: Path,
    database: str,
    collection_prefix: str,
    writer: str,
    documents: Iterable[Spilled],
    left_out: Callable[[Spilled, Exception], None] | None = None,
) -> Path:
    """Writes a new file.

    Args:
        folder: The folder; created if necessary.
        database: The database's name.
        collection_prefix: The prefix of its collections.
        writer: Makes the file's name unique.
        documents: The unsaved documents.
        left_out: Called with a document that cannot be in a file, and the reason; by default, that is an error for all.

    Raises:
        OSError: If it cannot be written.
    """
    make(folder)
    stem = _stem(database, collection_prefix)
    path = folder / f"{stem}{writer}{_SUFFIX}"
    while os.path.lexists(path):
        path = folder / f"{stem}{writer}-{secrets.token_hex(4)}{_SUFFIX}"
    descriptor, partial = tempfile.mkstemp(_PARTIAL, stem, folder)  # a new file, for its owner alone
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(dump({"version": _VERSION, "database": database, "collection_prefix": collection_prefix}))
            for one in documents:
                try:
                    raw = _dumped(one)
                except Exception as error:
                    if left_out is None:
                        raise
                    left_out(one, error)
                else:
                    file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(partial).unlink()
        raise
    _sync(folder)
    return path


def _dumped(one: Spilled) -> bytes:
    raw = dump({field.name: getattr(one, field.name) for field in fields(one)})
    if len(raw) > _LARGEST:
        raise EncodeError("with the versions that may be stored it is too large")
    return raw


def _sync(folder: Path) -> None:
    """Makes a file's name durable, if the file system can do that."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# -- reading ---------------------------------------------------------------------------------------------


class SpillFile:
    """An open file.

    Attributes:
        path: Its path.
    """

    def __init__(self, path: Path, file: IO[bytes], database: str, collection_prefix: str) -> None:
        self.path = path
        self._file = file
        self._where = database, collection_prefix

    def documents(self) -> Iterator[Spilled]:
        """The unsaved documents, read one by one.

        Raises:
            DecodeError: If the file is damaged, or belongs to another database.
        """
        self._file.seek(0)
        header = self._next()
        if header is None:
            raise DecodeError("it is empty")
        if type(header.get("version")) is not int or header["version"] != _VERSION:
            raise DecodeError(f"it has the version {header.get('version')!r:.40}, and this ptb_mongo knows {_VERSION}")
        if (header.get("database"), header.get("collection_prefix")) != self._where:
            raise DecodeError("it belongs to another database")
        while (one := self._next()) is not None:
            yield _spilled(one)

    def _next(self) -> dict[str, Any] | None:
        head = self._file.read(4)
        if not head:
            return None
        size = int.from_bytes(head, "little", signed=True)
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if not len(head) < size <= min(_LARGEST, left + len(head)):
            raise DecodeError("it is damaged, or truncated")
        return load(head + self._file.read(size - len(head)))


def _spilled(one: dict[str, Any]) -> Spilled:
    """An unsaved document, from its stored form.

    Raises:
        DecodeError: If it does not have the form that `write` uses.
    """
    try:
        spilled = Spilled(**one)
    except TypeError:
        raise DecodeError("it is damaged: a document in it has other fields") from None
    sent, revs = spilled.sent, spilled.revs
    if (
        type(spilled.collection) is not str
        or type(sent) is not dict
        or type(revs) is not list
        or type(spilled.writer) is not str
        or any(type(rev) is not str for rev in revs)
    ):
        raise DecodeError("it is damaged: a document in it has fields of other types")
    for raw in (spilled.base, spilled.wanted, *sent.values()):
        if type(raw) is bytes:
            load(raw)
        elif raw is not None:
            raise DecodeError("it is damaged: a version in it is not a document")
    return spilled


def claim(
    folder: Path, database: str, collection_prefix: str, unusable: Callable[[Path, str], None] = lambda *_: None
) -> Generator[SpillFile, None, None]:
    """The files of a database, each locked for this process until the next one is requested, or this is closed.

    Args:
        folder: The folder.
        database: The database's name.
        collection_prefix: The prefix of its collections.
        unusable: Called with a path that has the name of such a file but cannot be used, and the reason.
    """
    stem = _stem(database, collection_prefix)
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        unusable(folder, str(error))
        return
    for path in (folder / name for name in names if name.startswith(stem) and name.endswith(_SUFFIX)):
        try:
            file = _opened(path)
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            unusable(path, error.strerror or str(error))
            continue
        if file is not None:
            with file:
                yield SpillFile(path, file, database, collection_prefix)


def _opened(path: Path) -> IO[bytes] | None:
    """A locked file; `None` if another process has locked it, or has finished with it.

    Raises:
        OSError: If it is not one of ours, or cannot be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError("it is not a file")
    file = os.fdopen(os.open(path, _OPENED), "rb")
    try:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a file")
        if sys.platform != "win32" and found.st_uid != os.geteuid() and found.st_uid != owner_of_new_files(path.parent):
            raise OSError(f"it belongs to another user ({found.st_uid}), who may have put anything into it")
        if _locked(file):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _locked(file: IO[bytes]) -> bool:
    """Whether this process may take in a file: no other process is doing so now, or has done so meanwhile."""
    if sys.platform == "win32":  # has no such locks: start one process at a time there
        return True
    import fcntl  # noqa: PLC0415  (POSIX only)

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0


def remove(path: Path) -> None:
    """Removes a file whose contents the server has acknowledged."""
    path.unlink()
