"""A folder for data that is still unsaved when a process has to stop; the next start takes it in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ptb_mongo.codec import load
from ptb_mongo.errors import DecodeError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import Stored, Version
from ptb_mongo.sync import spill
from ptb_mongo.sync.writer import Writer
from ptb_mongo.waiting import wait_at_most

__all__ = ["SpillFolder"]

_LOGGER = logging.getLogger(__name__)
_PATIENCE: Final = 10.0  # seconds without progress, after which a start goes on all the same


class SpillFolder:
    """A folder of files with unsaved documents.

    Args:
        folder: Where it is.
        database: The database's name.
        collection_prefix: The prefix of its collections.
        name: Makes the names of new files unique.
    """

    def __init__(self, folder: Path, database: str, collection_prefix: str, name: str) -> None:
        self._where = folder, database, collection_prefix
        self._name = name

    async def keep(self, unsaved: Iterable[tuple[Collection[Any], Replica]]) -> Path:
        """Writes unsaved documents into a file."""
        spilled = [_spilled(collection.collection, replica) for collection, replica in unsaved]
        return await asyncio.to_thread(spill.write, *self._where, self._name, spilled)

    def forget(self, path: Path) -> None:
        """Removes a file of this process, which still knows what is in it."""
        with contextlib.suppress(FileNotFoundError):
            spill.remove(path)

    async def take_in(self, collections: Mapping[str, Collection[Any]], writer: Writer) -> None:
        """Saves what an earlier process could not, merged with what is stored now, which wins conflicts."""
        with contextlib.closing(spill.claim(*self._where)) as paths:
            for number, path in enumerate(paths):
                try:
                    spilled = spill.read(path, *self._where[1:])
                    failed = await self._save(spilled, collections, writer)
                    if failed:  # without those that were saved: merging them again would undo later changes
                        spill.write(*self._where, f"{self._name}-{number}", failed)
                except (DecodeError, KeyError) as error:
                    _LOGGER.error("%s stays, as it could not be taken in: %s", path, error)  # noqa: TRY400
                else:
                    spill.remove(path)
                    if saved := len(spilled) - len(failed):
                        _LOGGER.warning("Saved what was unsaved at the last shutdown: %d documents", saved)

    @staticmethod
    async def _save(
        spilled: Sequence[spill.Spilled], collections: Mapping[str, Collection[Any]], writer: Writer
    ) -> list[spill.Spilled]:
        """Saves what an earlier process could not; returns what still cannot be saved."""
        taken = []
        for one in spilled:
            collection = collections[one.collection]
            stored = None if one.base is None else Stored(one.rev, tuple(one.revs), one.base)
            sent = {rev: _version(raw) for rev, raw in one.sent.items()}
            replica = collection.unsaved(one.id, stored, _version(one.wanted), sent)
            taken.append((collection, replica))
            writer.submit(collection, replica)
        with contextlib.suppress(asyncio.TimeoutError):
            await wait_at_most(_PATIENCE, writer.drain(), lambda: len(writer.waiting))
        failed = [(collection, replica) for collection, replica in taken if replica.pending is not None]
        for _, replica in failed:
            writer.withdraw(replica)
        if failed:
            _LOGGER.error("Kept for the next start: %d documents that still cannot be saved", len(failed))
        return [_spilled(collection.collection, replica) for collection, replica in failed]


def _spilled(collection: str, replica: Replica) -> spill.Spilled:
    sent = {rev: write.version.raw for rev, write in replica.sent.items() if write.version is not None}
    return spill.Spilled(collection, replica.id, replica.base, replica.target, sent, replica.rev, list(replica.revs))


def _version(raw: bytes | None) -> Version:
    return Version(None if raw is None else load(raw), raw, yields=True)
