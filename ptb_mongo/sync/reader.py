"""Batches reads: documents requested while a read is in progress are read next, from all collections at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from ptb_mongo.codec import id_of
from ptb_mongo.driver import ByIds, Driver
from ptb_mongo.driver.batches import identity
from ptb_mongo.driver.failures import is_for_one_read
from ptb_mongo.errors import DecodeError, RefusedError, UnavailableError
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.availability import Availability, Request
from ptb_mongo.sync.batching import Batcher
from ptb_mongo.sync.lease_reads import LeaseReads, SeenLease
from ptb_mongo.sync.steps import Turns
from ptb_mongo.waiting import wait_at_most

__all__ = ["DocumentCollection", "Reader", "Wanted"]

_TOGETHER: Final = 50  # documents that are taken in without a pause
_PATIENCE: Final = 2.0  # seconds that an update waits for a read before it continues with what is loaded
_MOST_READS: Final = 3  # that an update waits for: one in progress, its own, and one more if a write intervened


class DocumentCollection(Protocol):
    """The documents of one collection."""

    @property
    def collection(self) -> str:
        """Its name."""

    @property
    def fields(self) -> Sequence[str]:
        """The fields to read."""

    def answered(self, asked: Iterable[tuple[Any, int]], raws: Iterable[bytes], *, lasts: bool) -> None:
        """Takes in what was read.

        Args:
            asked: The requested documents, each with the moment when its read began.
            raws: The documents that exist.
            lasts: Whether a majority has them, so that no election can undo them.
        """

    def lost(self, asked: Sequence[Any], raws: Sequence[bytes]) -> Sequence[Any]:
        """Of the documents asked for, those that were stored before and are not among those read."""

    def could_not_be_used(self, replica: Any, error: Exception, moment: int | None = None) -> None:
        """Handles an error that concerns one document only.

        Args:
            replica: The document.
            error: What happened.
            moment: When the read began.
        """


Wanted = Mapping[DocumentCollection, Sequence["Replica | SeenLease"]]
"""The documents to read, by collection."""


class Reader:
    """Reads documents.

    Args:
        driver: The database.
        availability: Whether the server answers.

    Attributes:
        why_lost: Returns why documents are missing that had been stored; `None` if they were deleted.
    """

    def __init__(self, driver: Driver, availability: Availability) -> None:
        self.driver = driver
        self._availability = availability
        self.why_lost: Callable[[], Awaitable[RefusedError | None]] = _deleted
        self._batcher = Batcher(self._read_together, "ptb_mongo reader")
        self._turns = Turns()
        self._answers = 0

    async def refresh(self, wanted: Wanted, *, every: bool) -> None:
        """Reads documents that somebody else may have written; waits only as long as an update can.

        Args:
            wanted: The documents.
            every: Whether to read all of them, stale or not.

        Raises:
            UnavailableError: If no server answers in time; the documents are then stale.
            RefusedError: If the server refuses the read; likewise.
        """
        try:
            await self._in_time(self._refresh(wanted, every=every), self._answers_so_far())
            await self._turns.turn()
        except (UnavailableError, RefusedError):
            for replicas in wanted.values():
                for replica in replicas:
                    replica.told()
            raise

    def _check_server(self) -> None:
        if self._batcher.closed or self._availability.is_unreachable:
            raise UnavailableError("the connection is closed" if self._batcher.closed else "MongoDB is unreachable")

    async def _in_time(
        self, coroutine: Coroutine[Any, Any, None], progress: Callable[[], object] = lambda: None
    ) -> None:
        """Stops waiting for a server that does not answer."""
        since = self._availability.answers
        try:
            await wait_at_most(_PATIENCE, coroutine, progress)
        except (UnavailableError, asyncio.TimeoutError) as error:
            late = isinstance(error, asyncio.TimeoutError)
            lost = UnavailableError(f"no answer for {_PATIENCE:g} s" if late else str(error))
            if not self._batcher.closed and not self._availability.is_unreachable:
                self._availability.mark_unreachable(lost, since=since)
            raise lost from error

    def _answers_so_far(self) -> Callable[[], object]:
        """A function whose result changes, at most twice, while the server is slow but answers other reads."""
        most = self._answers + _MOST_READS - 1
        return lambda: min(self._answers, most)

    async def _refresh(self, wanted: Wanted, *, every: bool) -> None:
        begun = {replica: replica.now for replicas in wanted.values() for replica in replicas}

        def is_missing(replica: Replica | SeenLease) -> bool:  # otherwise, a later read has shown it
            return not replica.is_read_since(begun[replica]) and (every or replica.is_stale)

        while missing := {
            source: found
            for source, replicas in wanted.items()
            if (found := [one for one in replicas if is_missing(one)])
        }:
            self._check_server()
            await self._batcher.submit(missing)

    async def _read_together(self, several: list[Wanted]) -> None:
        together: dict[DocumentCollection, dict[Replica | SeenLease, None]] = {}
        for wanted in several:
            for source, replicas in wanted.items():
                together.setdefault(source, {}).update(dict.fromkeys(replicas))
        # Leases come first, as what they protect must be read after them.
        together = dict(sorted(together.items(), key=lambda item: not isinstance(item[0], LeaseReads)))
        self._check_server()
        try:
            await self._in_time(self.read({source: list(replicas) for source, replicas in together.items()}))
        except RefusedError as error:
            self._availability.mark_refused(_reading(together), error)
            raise
        self._availability.mark_accepted(_reading(together))
        self._answers += 1

    async def read(self, wanted: Wanted) -> None:
        """Reads documents, and passes them to their collections; if writes are in doubt, reads what a majority has.

        Raises:
            UnavailableError: If no server answers.
            RefusedError: If the server refuses it.
        """
        asked = {source: [(replica, replica.reading()) for replica in replicas] for source, replicas in wanted.items()}
        ids = [
            ByIds(source.collection, [one.id for one in replicas], source.fields) for source, replicas in wanted.items()
        ]
        in_doubt = any(replica.is_in_doubt for replicas in wanted.values() for replica in replicas)
        try:
            found = await self.driver.raw_documents(ids, lasting=in_doubt)
        except Exception as error:
            if not is_for_one_read(error):
                raise
            await self._read_apart(wanted, asked, error)
            return
        lasts = in_doubt or not self.driver.may_roll_back
        lost = {source: source.lost(wanted[source], raws) for source, raws in zip(asked, found, strict=True)}
        why = await self.why_lost() if any(lost.values()) else None
        for (source, replicas), raws in zip(asked.items(), found, strict=True):
            believed = replicas if why is None else [one for one in replicas if one[0] not in lost[source]]
            for some, their_raws in _portions(believed, raws):
                source.answered(some, their_raws, lasts=lasts)
                if len(believed) > _TOGETHER:
                    await asyncio.sleep(0)
        if why is not None:
            raise why

    async def _read_apart(
        self,
        wanted: Wanted,
        asked: Mapping[DocumentCollection, Sequence[tuple[Replica | SeenLease, int]]],
        error: Exception,
    ) -> None:
        """Reads documents in two halves, as one of them cannot be read together with others, or not at all."""
        several = [(source, replica) for source, replicas in wanted.items() for replica in replicas]
        if len(several) == 1:
            if isinstance(error, RefusedError):
                raise error
            ((source, ((replica, moment),)),) = asked.items()
            source.could_not_be_used(replica, error, moment)
            return
        for some in (several[: len(several) // 2], several[len(several) // 2 :]):
            half: dict[DocumentCollection, list[Replica | SeenLease]] = {}
            for source, replica in some:
                half.setdefault(source, []).append(replica)
            await self.read(half)

    async def close(self) -> None:
        """Cancels the read in progress."""
        await self._batcher.close()


async def _deleted() -> None:
    """Says that missing documents were deleted."""


def _portions(
    asked: Sequence[tuple[Replica | SeenLease, int]], raws: Sequence[bytes]
) -> Iterator[tuple[Sequence[tuple[Replica | SeenLease, int]], Sequence[bytes]]]:
    """The requested documents, in portions, each with what was read of it.

    Those that cannot be matched by `_id`, which others may write in a different form, make up one portion.
    """
    if len(asked) <= _TOGETHER:
        yield asked, raws
        return
    by_id, odd = _by_id(raws)
    found = [(one, raw) for one in asked if (raw := by_id.pop(identity(one[0].id), None)) is not None]
    known = {one[0] for one, _ in found}
    rest = [one for one in asked if one[0] not in known]
    odd += by_id.values()
    for start in range(0, len(found), _TOGETHER):
        some = found[start : start + _TOGETHER]
        yield [one for one, _ in some], [raw for _, raw in some]
    size = len(rest) if odd else _TOGETHER
    for start in range(0, len(rest), size):
        yield rest[start : start + size], odd


def _by_id(raws: Iterable[bytes]) -> tuple[dict[Any, bytes], list[bytes]]:
    """Documents by their `_id`, and those whose `_id` is not one of ours."""
    by_id, odd = {}, []
    for raw in raws:
        try:
            by_id[identity(id_of(raw))] = raw
        except (DecodeError, TypeError):
            odd.append(raw)
    return by_id, odd


def _reading(wanted: Iterable[DocumentCollection]) -> Request:
    return Request("to read", frozenset(one.collection for one in wanted))
