"""The outcome of a batch of writes, awaited by thousands of saves."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Coroutine, Generator
from typing import Any, Final, NamedTuple

from ptb_mongo.errors import DocumentError, RefusedError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica

__all__ = ["SAVED", "Queue", "Saved", "Ticket", "Waiting"]

_LOGGER = get_logger(__name__)
_SAME: Final = 0.05  # seconds in which documents share one object, as the garbage collector would scan thousands


class _Nothing(Coroutine[Any, Any, None]):
    """A coroutine that does nothing; a single one for all, so that `gather` handles it only once."""

    def send(self, _: Any) -> Any:
        raise StopIteration

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        """See `Coroutine`."""

    def __await__(self) -> Generator[Any, Any, None]:
        return iter(())  # type: ignore[return-value]  # nobody sends anything to an iterator that has ended


SAVED = _Nothing()
"""The outcome of a save when nothing has changed."""


class Saved(asyncio.Future[None]):
    """The outcome of one save.

    It is a coroutine, as PTB requires, and a future: so `gather` creates no task for it, which would be a large part of
    the cost of saving thousands.
    """

    __slots__ = ("_steps", "replica")
    _steps: Generator[Any, None, None]
    replica: Replica
    """The document."""

    def send(self, value: Any) -> Any:
        """See `Coroutine`."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """See `Coroutine`."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """See `Coroutine`."""
        self._begun().close()

    def _begun(self) -> Generator[Any, None, None]:
        try:
            return self._steps
        except AttributeError:
            self._steps = self.__await__()
            return self._steps

    def fails(self, error: BaseException) -> None:
        """Ends it with an error, which goes unreported if nobody awaits it: unsaved documents are tracked elsewhere."""
        self.set_exception(error)
        self.exception()


class Waiting(NamedTuple):
    """Documents to be written.

    Attributes:
        collection: Their collection.
        since: When they began to wait, by the event loop's clock.
    """

    collection: Collection[Any]
    since: float


class Queue(dict[Replica, Waiting]):
    """The documents to be written, in the order of their arrival."""

    _newest: Waiting | None = None

    def add(self, collection: Collection[Any], replica: Replica, now: float) -> None:
        """Adds a document.

        Args:
            collection: Its collection.
            replica: The document.
            now: The time, by the event loop's clock.
        """
        newest = self._newest
        if newest is None or newest.collection is not collection or newest.since + _SAME < now:
            newest = self._newest = Waiting(collection, now)
        self[replica] = newest


class _End(asyncio.Future[None]):
    """The end of a batch; cancelling one waiting save does not cancel it for the others."""

    def cancel(self, msg: object | None = None) -> bool:  # noqa: ARG002
        return False


class Ticket:
    """The outcome of one batch, shared by all saves in it.

    Attributes:
        awaited: The documents whose saves are waiting for it.
        errors: Why documents were refused.
        refusal: Why the server refuses a whole collection, if that is news; one of the saves raises it.
        acknowledged: Whether the server has done all of it, except for `errors`; otherwise, what is unsaved is retried.
    """

    def __init__(self) -> None:
        self._end = _End()
        self._saves: list[Saved] = []
        self.awaited: set[Replica] = set()
        self.errors: dict[Replica, DocumentError] = {}
        self.refusal: RefusedError | None = None
        self.acknowledged = False

    @property
    def is_over(self) -> bool:
        """Whether the waiting has ended."""
        return self._end.done()

    def saved(self, replica: Replica) -> Saved:
        """The outcome of saving one document; see `outcome`."""
        saved = Saved()
        saved.replica = replica
        self._saves.append(saved)
        if self._end.done():
            self._tell()
        return saved

    def take(self, told_later: dict[Replica, list[DocumentError]], tried: Container[Replica]) -> None:
        """Takes over the errors of copies that could not be staged when their turn came.

        Args:
            told_later: Errors, by their documents.
            tried: The documents of this batch.
        """
        for replica in [one for one in told_later if one in tried]:
            first, *others = told_later.pop(replica)
            others += [self.errors[replica]] if replica in self.errors else []
            self.errors[replica] = first
            for other in others:
                _LOGGER.error("Not saved: %s", other)

    def end(self) -> None:
        """Ends the waiting of all saves."""
        if not self._end.done():
            self._end.set_result(None)
            self._tell()

    def _tell(self) -> None:
        saves, self._saves = self._saves, []
        for saved in saves:
            if saved.done():
                continue  # it was cancelled
            if (error := self._error(saved.replica)) is not None:
                saved.fails(error)
            else:
                saved.set_result(None)

    def _error(self, replica: Replica) -> DocumentError | RefusedError | None:
        if self.refusal is not None:
            error, self.refusal = self.refusal, None
            return error
        return self.errors.get(replica)

    async def outcome(self, replica: Replica) -> None:
        """Waits for the acknowledgement, or until the background has taken over.

        Raises:
            DocumentError: If the document was refused.
            RefusedError: If the server refuses everything for now; only one of the waiting callers gets it.
        """
        await self._end
        if (error := self._error(replica)) is not None:
            raise error
