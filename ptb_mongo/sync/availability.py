"""Whether the server is reachable, and what it refuses for now: kept in one place, and logged once per change."""

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
        what: For example, "to read".
        collections: The collections, if any.
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
    """Whether the server is known to be unreachable, and what it refuses although it answers.

    Args:
        counters: Keeps the last error.

    Attributes:
        is_unreachable: Whether the server is unreachable; then nothing waits for it.
        answers: How often it has answered.
        outages: How often it became unreachable.
        refusals: What the server refuses for now, and why.
        on_unreachable: Called when it becomes unreachable.
        waiting: Returns the number of documents waiting to be written, for the log.
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
        """Why documents are waiting to be written or read; `None` if they need not wait."""
        if self.is_unreachable:
            return f"MongoDB is unreachable: {self._counters.last_error}"
        refused = [f"MongoDB refuses {what}: {error}" for what, error in self.refusals.items()]
        return "; ".join(refused) or None

    def mark_unreachable(self, error: BaseException, *, since: int | None = None) -> None:
        """Notes that the server did not answer.

        Args:
            error: The reason to believe so.
            since: The number of `answers` when it was asked; if it has answered since, this call has no effect.
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
        """Notes that the server has answered.

        Args:
            writes: Whether the request was a write. A server may answer everything else but do no writes, so if
                documents are waiting, only a write shows that it is back.
        """
        self.answers += 1
        self.is_unreachable = False
        if self._is_told and (writes or not self.waiting()):
            self._is_told = False
            _LOGGER.warning("MongoDB is back; %d documents were waiting", self.waiting())

    def mark_refused(self, request: Request, error: BaseException) -> bool:
        """Notes that the server refuses something, not because of one document; returns whether that is news.

        Args:
            request: What it refuses.
            error: The reason.
        """
        self._counters.last_error = str(error)
        known = self._refused(request)
        if len(known) == 1:  # it has become clearer which of several collections is refused
            del self.refusals[known[0]]
            known = [Request(request.what, known[0].collections & request.collections)]
        for one in known or [request]:
            self.refusals[one] = str(error)
        if not known:
            _LOGGER.error("MongoDB refuses %s; nothing is lost, and it is tried again: %s", request, error)
        return not known

    def mark_accepted(self, request: Request) -> None:
        """Notes that the server has done something; a refusal ends when it has done everything that it refused."""
        self.answers += 1
        for one in self._refused(request):
            error = self.refusals.pop(one)
            if rest := one.collections - request.collections:
                self.refusals[Request(one.what, rest)] = error
            else:
                _LOGGER.warning("MongoDB no longer refuses %s", one)

    def _refused(self, request: Request) -> list[Request]:
        """The refusals that concern a request."""
        return [
            one
            for one in self.refusals
            if one.what == request.what and (one == request or one.collections & request.collections)
        ]
