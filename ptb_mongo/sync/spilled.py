"""A folder for data that is still unsaved when a process must stop; the next start takes it in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ptb_mongo.codec import BURIED_FIELD, load
from ptb_mongo.errors import DecodeError, as_encode_error
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.quarantine import as_decode_error
from ptb_mongo.replica.versions import LATER, Stored, Version
from ptb_mongo.sync import spill
from ptb_mongo.sync.private_folder import prepare
from ptb_mongo.sync.writer import Writer
from ptb_mongo.waiting import wait_at_most

__all__ = ["Kept", "SpillFolder"]

_LOGGER = get_logger(__name__)
_PATIENCE: Final = 10.0  # seconds without progress after which a start continues nevertheless
_AT_ONCE: Final = 1000  # documents that are taken in together: a file may be larger than the memory
_REPORTED: Final[set[tuple[Path, str]]] = set()
"""What has been logged: a bot that calls `flush` while it runs opens its folder repeatedly."""


class Kept(NamedTuple):
    """Where unsaved documents are kept.

    Attributes:
        path: The file in which they, or older versions, are kept; `None` if there is none.
        sentence: A sentence that says so.
        error: Why they could not be kept.
    """

    path: Path | None
    sentence: str
    error: Exception | None = None


class SpillFolder:
    """A folder of files with unsaved documents.

    Args:
        folder: Its path.
        database: The database's name.
        collection_prefix: The prefix of its collections.
        name: Makes the names of new files unique.
    """

    def __init__(self, folder: Path, database: str, collection_prefix: str, name: str) -> None:
        self._where = folder, database, collection_prefix
        self._name = name

    def prepare(self) -> None:
        """Makes sure, at the start, that a stop will be able to write here.

        Raises:
            ConfigurationError: If it could not.
        """
        prepare(self._where[0])

    async def keep(
        self, unsaved: Iterable[tuple[Collection[Any], Replica]], older: Path | None = None, *, writer: str = ""
    ) -> Kept:
        """Writes unsaved documents to a file; never fails, as the caller is about to name them in an error.

        Args:
            unsaved: The documents.
            older: A file of this process that the new one replaces.
            writer: The `rev` of the last write of a writer that may still write them; empty if there is none.
        """
        lost: list[str] = []

        def left_out(one: spill.Spilled, error: Exception) -> None:
            lost.append(f"{one.collection} {one.id!r:.100}: {as_encode_error(error).reason}")

        try:
            spilled = [_spilled(collection.collection, replica, writer) for collection, replica in unsaved]
            path = await asyncio.to_thread(spill.write, *self._where, self._name, spilled, left_out)
        except Exception as error:  # noqa: BLE001  (disk errors, above all)
            reason = getattr(error, "strerror", None) or str(error)
            before = f"; what was unsaved before is still kept in {older}" if older is not None else ""
            sentence = f"they are lost, as they could not be kept in {self._where[0]} ({reason}){before}"
            return Kept(older, sentence, error)
        if older is not None:
            self.forget(older)
        for one in lost:
            _LOGGER.error("Lost, because no file can hold it: %s", one)
        but = f", but for {len(lost)} that cannot be" if lost else ""
        return Kept(path, f"they are kept in {path} for the next start{but}")

    def forget(self, path: Path) -> None:
        """Removes a file of this process, which still has its contents in memory."""
        try:
            spill.remove(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            _report(path, f"it is out of date, and could not be removed: {error}")

    async def take_in(self, collections: Mapping[str, Collection[Any]], writer: Writer) -> None:
        """Saves what an earlier process could not save, merged with what is stored now, which wins conflicts.

        What cannot be taken in stays where it is, and does not prevent the start.
        """
        with contextlib.closing(spill.claim(*self._where, _report)) as files:
            for number, file in enumerate(files):
                try:
                    saved = await self._take_in(file, number, collections, writer)
                except (DecodeError, OSError) as error:
                    _report(file.path, str(error))
                except Exception as error:  # noqa: BLE001  (anybody may have written the file; it must not prevent a start)
                    _report(file.path, f"it is damaged ({type(error).__name__})")
                else:
                    if saved:
                        _LOGGER.warning("Saved what was unsaved at the last shutdown: %d documents", saved)

    async def _take_in(
        self, file: spill.SpillFile, number: int, collections: Mapping[str, Collection[Any]], writer: Writer
    ) -> int:
        """Takes in a file; returns how many documents were saved.

        Raises:
            DecodeError: If it is damaged.
            OSError: If it cannot be read or removed.
        """
        for one in file.documents():  # check all of it before using anything
            _check(one, collections)
        count = 0
        failed: list[spill.Spilled] = []
        documents = file.documents()
        while some := list(itertools.islice(documents, _AT_ONCE)):
            count += len(some)
            failed += await self._save(some, collections, writer)
        if failed:  # without the saved ones: merging them again would undo later changes
            spill.write(*self._where, f"{self._name}-{number}", failed)
        spill.remove(file.path)
        return count - len(failed)

    @staticmethod
    async def _save(
        spilled: Sequence[spill.Spilled], collections: Mapping[str, Collection[Any]], writer: Writer
    ) -> list[spill.Spilled]:
        """Saves what an earlier process could not save; returns what still cannot be saved."""
        taken = []
        failed = []
        for one in spilled:
            collection = collections[one.collection]
            if (error := _unreadable(one, collection)) is not None:
                failed.append(one)
                _LOGGER.error("Kept for the next start: %s", error)
                continue
            stored = None if one.base is None else Stored(one.rev, tuple(one.revs), one.base)
            sent = {rev: _version(raw) for rev, raw in one.sent.items()}
            replica = collection.unsaved(one.id, stored, _version(one.wanted), sent, one.writer)
            taken.append((collection, replica))
            writer.submit(collection, replica)
        with contextlib.suppress(asyncio.TimeoutError):
            await wait_at_most(_PATIENCE, writer.drain(), lambda: len(writer.waiting))
        left = [(collection, replica) for collection, replica in taken if replica.pending is not None]
        for collection, replica in left:
            why = replica.refusal.error if replica.refusal is not None else f"{collection.collection} {replica.id!r}"
            _LOGGER.error("Kept for the next start: %s", why)
            # A write in flight may still be stored: the file says so, and nothing is sent after it.
            failed.append(_spilled(collection.collection, replica, ""))
            writer.withdraw(replica)
            replica.settled(replica.pending)
        if left:  # later writes of this process must not hide a write in flight from the next start
            writer.rename(uuid.uuid4().hex[:12])
        return failed


def _report(path: Path, reason: str) -> None:
    if (path, reason) not in _REPORTED:
        _REPORTED.add((path, reason))
        _LOGGER.error("%r stays where it is, because it could not be loaded: %s", str(path), reason)


def _check(one: spill.Spilled, collections: Mapping[str, Collection[Any]]) -> None:
    """Checks that a bot of this database can have spilled a document.

    Raises:
        DecodeError: If it cannot.
    """
    collection = collections.get(one.collection)
    if collection is None:
        raise DecodeError(f"it names the unknown collection {one.collection!r:.80}")
    collection.key_of(one.id)
    for raw in (one.base, one.wanted, *one.sent.values()):
        if raw is not None and not load(raw).keys() <= {*collection.ours_only, BURIED_FIELD}:
            raise DecodeError(f"a document in it has fields that are not those of {one.collection}")


def _unreadable(one: spill.Spilled, collection: Collection[Any]) -> DecodeError | None:
    """Why a version to save would be quarantined: for example, a class is no longer trusted."""
    if one.wanted is None:
        return None
    try:
        collection.check(collection.key_of(one.id), collection.codec.decode_body(one.wanted, load(one.wanted)))
    except Exception as error:  # noqa: BLE001  (whatever it is, it concerns this document only)
        reason = as_decode_error(error)
        found = DecodeError(reason.reason, path=reason.path)
        found.located(collection.collection, one.id)
        return found
    return None


def _spilled(collection: str, replica: Replica, writer: str) -> spill.Spilled:
    """A document for a file.

    Args:
        collection: Its collection.
        replica: Its state.
        writer: The `rev` of the last write of a writer that may still write it; empty if there is none.
    """
    earlier = next((rev.removesuffix(LATER) for rev in replica.sent if rev.endswith(LATER)), "")
    sent = {
        rev: write.version.raw
        for rev, write in replica.sent.items()
        if write.version is not None and not rev.endswith(LATER)
    }
    revs = list(replica.revs)
    return spill.Spilled(
        collection, replica.id, replica.base, replica.target, sent, replica.rev, revs, writer or earlier
    )


def _version(raw: bytes | None) -> Version:
    return Version(None if raw is None else load(raw), raw, yields=True)
