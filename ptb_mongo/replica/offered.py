"""The pending version of a document, which may be an offered copy that still waits to be encoded. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ptb_mongo.replica.moments import Moments
from ptb_mongo.replica.versions import Version

__all__ = ["Pending"]


class _Offered(NamedTuple):
    """A copy that the bot has offered; what to store is known only when it is taken up.

    Attributes:
        take_up: Encodes the copy and stages it.
        copy: The copy.
        before: The pending version before that.
    """

    take_up: Callable[[Any, Any], object]
    copy: Any
    before: Version | None


class Pending(Moments):
    """The pending version of one document.

    An offered copy is taken up as soon as somebody asks for `pending`, and before anything else happens to the
    document: nobody can tell that it has waited.
    """

    __slots__ = ("_pending",)

    def __init__(self, *, known: bool) -> None:
        super().__init__(known=known)
        self._pending: Version | _Offered | None = None

    @property
    def pending(self) -> Version | None:
        """The version to store instead of the stored one; `None` if there is nothing to save."""
        pending = self._pending
        if type(pending) is _Offered:
            self._take_up()
            return self.pending
        return pending  # type: ignore[return-value]  # the other one of the two types

    @property
    def is_offered(self) -> bool:
        """Whether a copy is waiting to be encoded."""
        return type(self._pending) is _Offered

    def offered(self, copy: Any, take_up: Callable[[Any, Any], object]) -> None:
        """Takes a copy that is encoded later; an earlier copy that still waits is discarded.

        Args:
            copy: The copy.
            take_up: Encodes it and calls `staged`, given this object and the copy; must not raise an error.
        """
        before = self._pending
        self._pending = _Offered(take_up, copy, before.before if type(before) is _Offered else before)  # type: ignore[arg-type]

    def _take_up(self) -> None:
        """Encodes the waiting copy, if there is one; called before anything else happens."""
        offered = self._pending
        if type(offered) is _Offered:
            self._pending = offered.before
            offered.take_up(self, offered.copy)
