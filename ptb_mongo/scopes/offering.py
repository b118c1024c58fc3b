"""Copies that PTB hands over: a fingerprint shows the unchanged ones, and the changed ones may be encoded later."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any

from ptb_mongo.codec import Codec, Nature, dump, fingerprint
from ptb_mongo.errors import DocumentError, EncodeError
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.versions import Version
from ptb_mongo.scopes.data_form import T
from ptb_mongo.scopes.unused import UnusedData
from ptb_mongo.types import ScopeName

__all__ = ["OfferedData", "Offering"]


class Offering(Enum):
    """What happens to an offered copy that does not wait to be encoded."""

    UNCHANGED = 1
    """It equals what was staged last."""
    AT_ONCE = 2
    """It must be staged at once."""


class OfferedData(UnusedData[T]):
    """`UnusedData` with offered copies; for its arguments see `DataForm`."""

    def __init__(self, name: ScopeName, collection: str, codec: Codec, counters: Counters, **options: Any) -> None:
        super().__init__(name, collection, codec, counters, **options)
        self._taker = self._take_up  # bound once, not for each copy
        self.problems: list[DocumentError] = []
        """The errors of objects that were staged only in part; whoever stages removes them from here."""
        self.current: Callable[[int], T | None] | None = None
        """Returns the object that handlers change now, if there is one; set if each update is saved separately."""

    def offer(self, key: int, copy: T, *, may_wait: bool, looks: bool = True) -> LiveReplica | Offering:
        """Takes a copy of a live object, which nobody changes any more, to be encoded later if it differs.

        Args:
            key: The user's, chat's or bot's id.
            copy: The copy.
            may_wait: Whether it can be encoded later.
            looks: Whether to compare it now.

        Returns:
            The replica that may have to be written, if the copy waits.
        """
        if self.current is not None:
            return Offering.AT_ONCE
        if (replica := self.replicas.get(key)) is None:
            try:
                replica = self._savable(key)
            except DocumentError:
                return Offering.AT_ONCE
        if key in self.quarantined or (self.unstorable and replica in self.unstorable):
            return Offering.AT_ONCE
        if looks:
            # What has no fingerprint may have been copied only in part: by its class.
            if (found := fingerprint(copy)) is None:
                return Offering.AT_ONCE
            if replica.is_unchanged(found):
                return Offering.UNCHANGED
        if not may_wait or replica.live is copy or not replica.may_be_offered:
            return Offering.AT_ONCE
        replica.offered(copy, self._taker)
        return replica

    def _take_up(self, replica: LiveReplica, copy: T) -> None:
        """Stages an offered copy; what cannot be stored is reported later."""
        native, found = None, fingerprint(copy)
        if found is not None and replica.is_unchanged(found):
            return
        kind = Nature.OTHER if found is None else self.codec.nature(copy)
        if kind is Nature.NATIVE and not self._excluded and type(copy) is self._type:
            native = self._native(replica, copy)
        try:
            if self._stage(replica, copy, native) is not None:
                self.counters.saves += 1
        except DocumentError as error:
            self.problems.append(error)
        if self.problems:
            self.told_later.setdefault(replica, []).extend(self.problems)
            self.problems.clear()
        elif kind is not Nature.OTHER and found is not None and replica not in self.unstorable:
            replica.was_taken(found)

    def _native(self, replica: LiveReplica, copy: T) -> Version | None:
        """The version of a copy that is its own plain form; `None` if BSON rejects a number or a text in it."""
        plain = {"data": copy, **self._schema(replica.target)}
        try:
            return Version(plain, dump(plain))
        except EncodeError:
            return None

    @abstractmethod
    def _savable(self, key: int) -> LiveReplica:
        """The replica of a document to save or delete; created if necessary.

        Raises:
            EncodeError: If the id cannot be stored.
        """

    @abstractmethod
    def _stage(self, replica: LiveReplica, obj: T, native: Version | None = None) -> LiveReplica | None:
        """Stages an object, as it is now; returns the replica to write.

        Args:
            replica: The document.
            obj: The object.
            native: Its version, if known.

        Raises:
            DocumentError: If it cannot be stored, and that is news.
        """
