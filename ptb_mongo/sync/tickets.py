"""The outcome of a batch of writes, awaited by thousands of saves."""

from __future__ import annotations

import asyncio

from ptb_mongo.errors import DocumentError, RefusedError
from ptb_mongo.replica.document import Replica

__all__ = ["Ticket"]


class _End(asyncio.Future[None]):
    """The end of a batch; a waiting save that is cancelled does not cancel it for the others."""

    def cancel(self, msg: object | None = None) -> bool:  # noqa: ARG002
        return False


class Ticket:
    """The outcome of one batch, shared by all saves in it.

    Attributes:
        awaited: The documents whose saves wait for it.
        errors: Why documents were refused.
        refusal: Why the server refuses a whole collection, if that is new; one of the saves raises it.
        acknowledged: Whether the server has done all of it, but for `errors`; otherwise what is unsaved is retried.
    """

    def __init__(self) -> None:
        self._end = _End()
        self.awaited: set[Replica] = set()
        self.errors: dict[Replica, DocumentError] = {}
        self.refusal: RefusedError | None = None
        self.acknowledged = False

    @property
    def is_over(self) -> bool:
        """Whether the waiting has ended."""
        return self._end.done()

    def end(self) -> None:
        """Ends the waiting of all saves."""
        if not self._end.done():
            self._end.set_result(None)

    async def outcome(self, replica: Replica) -> None:
        """Waits for the acknowledgement, or until the background has taken over.

        Raises:
            DocumentError: If the document was refused.
            RefusedError: If the server refuses everything for now, to one of those that wait.
        """
        await self._end
        if self.refusal is not None:
            error, self.refusal = self.refusal, None
            raise error
        if failure := self.errors.get(replica):
            raise failure
