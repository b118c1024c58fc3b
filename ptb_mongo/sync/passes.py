"""One pass over the unsaved documents of a collection: how often each was written in vain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.sync.tickets import Ticket

__all__ = ["Pass"]

_IN_VAIN: Final = 8  # more than `DIVIDED`, as another kind of filter is tried from then on


@dataclass(slots=True)
class Pass:
    """A pass over the unsaved documents of a collection.

    Attributes:
        collection: The collection.
        ticket: Gets the errors.
        attempts: How often each document was found to be changed by others.
    """

    collection: Collection[Any]
    ticket: Ticket
    attempts: dict[Replica, int] = field(default_factory=dict)
    _unmatched: dict[Replica, tuple[object, int]] = field(default_factory=dict)

    def did_not_match(self, replica: Replica) -> None:
        """A document is not what its write supposed."""
        self.attempts[replica] = self.attempts.get(replica, 0) + 1
        supposed = _supposed(replica)
        before, times = self._unmatched.get(replica, (None, 0))
        self._unmatched[replica] = supposed, times + 1 if before == supposed else 1

    def refusal(self, replica: Replica) -> DocumentError | None:
        """Why a document is given up; `None` if it is not.

        It is, by what was read of it, what its writes have supposed in vain all the time: it holds something that no
        filter finds, of a type that is no longer in use, say.
        """
        supposed, times = self._unmatched.get(replica, (None, 0))
        if times < _IN_VAIN or replica.is_stale or supposed != _supposed(replica):
            return None
        error = DocumentError(
            "the stored document holds something that MongoDB does not find by its own value, beside what has changed "
            "or as `rev`, so it cannot be written safely; remove what the bot has not written"
        )
        return error.located(self.collection.collection, replica.id)


def _supposed(replica: Replica) -> object:
    return repr(replica.rev), hash(replica.base)
