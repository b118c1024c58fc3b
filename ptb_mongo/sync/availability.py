"""Whether the server can be reached, and what it refuses for now: kept in one place, logged once when it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ptb_mongo.health import Counters
from ptb_mongo.log import get_logger

__all__ = ["CONNECTING", "WATCHING", "Availability", "Request"]

_LOGGER = get_logger(__name__)


class Request(NamedTuple):
    """Something that a server may refuse.

    Attributes:
        what: "to read", say.
        collections: Of which collections, if of some.
    """

    what: str
    collections: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.what} {', '.join(sorted(self.collections))}".rstrip()


CONNECTING: Final = Request("the connection")
"""Logging in."""
WATCHING: Final = Request("to follow changes")
"""The change stream."""


class Availability:
    """Whether the server is known to be unreachable, and what it refuses though it answers.

    Args:
        counters: Keeps the last error.

    Attributes:
        is_unreachable: Whether the server is unreachable: then nothing waits for it.
        answers: How often it was seen to be reachable.
        outages: How often it became unreachable.
        refusals: What the server refuses for now, and why.
        on_unreachable: Called when it becomes unreachable.
        waiting: Returns the number of documents that wait to be written, for the log.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.is_unreachable = False
        self.answers = self.outages = 0
        self.refusals: dict[Request, str] = {}
        self._is_told = False
        self.on_unreachable: list[Callable[[], None]] = []
        self.waiting: Callable[[], int] = lambda: 0

    @property
    def reason(self) -> str | None:
        """Why documents wait to be written or read; `None` if they need not wait."""
        if self.is_unreachable:
            return f"MongoDB is unreachable: {self._counters.last_error}"
        refused = [f"MongoDB refuses {what}: {error}" for what, error in self.refusals.items()]
        return "; ".join(refused) or None

    def mark_unreachable(self, error: BaseException, *, since: int | None = None) -> None:
        """The server did not answer.

        Args:
            error: Why that is believed.
            since: The number of `answers` when it was asked; if it has answered since, this says nothing any more.
        """
        self._counters.last_error = str(error)
        if self.is_unreachable or since not in {None, self.answers}:
            return
        self.is_unreachable = True
        self.outages += 1
        if not self._is_told:
            self._is_told = True
            _LOGGER.warning("MongoDB is unreachable; changes are kept and will be saved when it is back: %s", error)
        for callback in self.on_unreachable:
            callback()

    def mark_reachable(self, *, writes: bool = False) -> None:
        """The server has answered.

        Args:
            writes: Whether that was a write: it may answer everything else, and do no writes. So if documents wait, it
                is only then said to be back.
        """
        self.answers += 1
        self.is_unreachable = False
        if self._is_told and (writes or not self.waiting()):
            self._is_told = False
            _LOGGER.warning("MongoDB is back; %d documents were waiting", self.waiting())

    def mark_refused(self, request: Request, error: BaseException) -> bool:
        """The server refuses something, and not for one document's sake; returns whether that is new.

        Args:
            request: What it refuses.
            error: Why.
        """
        self._counters.last_error = str(error)
        known = self._refused(request)
        if len(known) == 1:  # of several collections, it has become clearer which one is refused
            del self.refusals[known[0]]
            known = [Request(request.what, known[0].collections & request.collections)]
        for one in known or [request]:
            self.refusals[one] = str(error)
        if not known:
            _LOGGER.error("MongoDB refuses %s; nothing is lost, and it is tried again: %s", request, error)
        return not known

    def mark_accepted(self, request: Request) -> None:
        """The server has done something; what it refused is over when it has done all of that."""
        self.answers += 1
        for one in self._refused(request):
            error = self.refusals.pop(one)
            if rest := one.collections - request.collections:
                self.refusals[Request(one.what, rest)] = error
            else:
                _LOGGER.warning("MongoDB no longer refuses %s", one)

    def _refused(self, request: Request) -> list[Request]:
        """What is refused that has to do with a request."""
        return [
            one
            for one in self.refusals
            if one.what == request.what and (one == request or one.collections & request.collections)
        ]
