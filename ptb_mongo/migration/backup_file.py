"""The file of a backup: written and read block by block, so that neither takes more memory than one block.

It is a gzip file of BSON documents: a header, blocks of documents exactly as they are stored, and an end that counts
them. Each block has a checksum, and the end has one of everything: a file that was truncated or changed is refused
before anything in the damaged part is used. Whoever created the file is a stranger: no objects are restored here, sizes
are limited, and only BSON is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple

import bson

from ptb_mongo.driver.batches import split
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.errors import ConfigurationError

__all__ = ["VERSION", "BackupReader", "BackupWriter", "Block"]

VERSION: Final = 1
_GZIP: Final = 31  # zlib's window bits, for the header and the checksum of gzip
_LEVEL: Final = 1  # a higher level takes three times as long and saves a tenth
_CHUNK: Final = 1 << 18
_LARGEST: Final = 64 << 20  # bytes of a block; a batch of a server has up to 16 MB
_SHORTEST: Final = 5  # bytes of an empty document


class Block(NamedTuple):
    """Some documents of one collection.

    Attributes:
        kind: The collection's name, without prefix.
        raws: The documents.
    """

    kind: str
    raws: Sequence[bytes]


class BackupWriter:
    """Writes a file, which appears under its name only when it is complete.

    Args:
        path: The file.
        header: Its description of itself.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.unfinished")
        self._unfinished.unlink(missing_ok=True)
        descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._digest = hashlib.sha256()
        self.counts: Counter[str] = Counter()
        self._put({"ptb_mongo_backup": VERSION, **header})

    def _put(self, document: Mapping[str, Any]) -> None:
        self._file.write(self._packer.compress(bson.encode(document)))

    def put(self, block: Block) -> None:
        """Writes a block."""
        documents = b"".join(block.raws)
        self._digest.update(documents)
        self.counts[block.kind] += len(block.raws)
        self._put({"collection": block.kind, "crc32": zlib.crc32(documents), "documents": documents})

    def finish(self) -> int:
        """Completes the file; returns its size."""
        self._put({"end": dict(self.counts), "sha256": self._digest.digest()})
        self._file.write(self._packer.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        self._unfinished.replace(self._path)
        return size

    def __enter__(self) -> BackupWriter:  # noqa: PYI034  (Python 3.10 has no `Self`)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._file.close()
            with contextlib.suppress(OSError):
                self._unfinished.unlink()


class BackupReader:
    """Reads a file.

    Args:
        path: The file.

    Attributes:
        header: Its description of itself.

    Raises:
        ConfigurationError: If it is not a backup, or has a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            self._documents = self._unpacked(self._file)
            header = self._next()
            if header is None:
                raise self._damaged("it ends too early")
            self.header: dict[str, Any] = dict(header)
            version = self.header.get("ptb_mongo_backup")
            if type(version) is not int:
                raise self._damaged("it is no backup of ptb_mongo")
            if version != VERSION:
                raise self._damaged(f"it has the version {version}, and this ptb_mongo knows {VERSION}")
        except BaseException:
            self._file.close()
            raise

    def blocks(self) -> Iterator[Block]:
        """The blocks, each after a check of its checksum.

        Raises:
            ConfigurationError: If a block is damaged, or, at the end, if some are missing.
        """
        digest, counts = hashlib.sha256(), Counter[str]()
        while (found := self._next()) is not None:
            if "end" in found:
                if found["end"] != counts or found.get("sha256") != digest.digest():
                    raise self._damaged("some of its blocks are missing or changed")
                return
            kind, documents = found.get("collection"), found.get("documents")
            if type(kind) is not str or type(documents) is not bytes or zlib.crc32(documents) != found.get("crc32"):
                raise self._damaged("the checksum of a block is wrong")
            digest.update(documents)
            raws = split(documents) if _is_whole(documents) else None
            if raws is None:
                raise self._damaged("a block does not hold documents")
            counts[kind] += len(raws)
            yield Block(kind, raws)
        raise self._damaged("it ends too early")

    def _damaged(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path} cannot be used: {why}")

    def _next(self) -> dict[str, Any] | None:
        try:
            raw = next(self._documents, None)
            return None if raw is None else bson.decode(raw, ANYTHING)
        except (zlib.error, bson.errors.BSONError) as error:
            raise self._damaged(f"it is damaged ({type(error).__name__})") from error

    def _unpacked(self, file: IO[bytes]) -> Iterator[bytes]:
        """The documents in it, as bytes."""
        unpacker, buffer, wanted = zlib.decompressobj(_GZIP), bytearray(), 4
        rest = b""
        while True:
            while len(buffer) < wanted:
                rest = unpacker.unconsumed_tail or rest or file.read(_CHUNK)
                if not rest or unpacker.eof:
                    if buffer:
                        raise self._damaged("it ends too early")
                    return
                buffer += unpacker.decompress(rest, _CHUNK * 4)
                rest = b""
            if wanted == 4:  # noqa: PLR2004  (the size of a length)
                wanted = int.from_bytes(buffer[:4], "little")
                if not _SHORTEST <= wanted <= _LARGEST:
                    raise self._damaged("a block has an impossible length")
            if len(buffer) >= wanted:
                yield bytes(buffer[:wanted])
                del buffer[:wanted]
                wanted = 4

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> BackupReader:  # noqa: PYI034  (likewise)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_whole(documents: bytes) -> bool:
    """Whether bytes are a sequence of documents, judged by their lengths."""
    start, end = 0, len(documents)
    while start < end:
        length = int.from_bytes(documents[start : start + 4], "little")
        if length < _SHORTEST or start + length > end:
            return False
        start += length
    return True
