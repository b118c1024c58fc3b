"""Leases that are read before documents, in the same command, to show that the documents were read under them.

A lease is requested and its protected data is read at the same time, on two connections. The server reads the
collections of one command one after the other. So if the lease, which is read first, already belongs to the requester,
everything read after it is what the previous holder has left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import bson

from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.replica.moments import Moments

__all__ = ["LeaseReads", "SeenLease"]


class SeenLease(Moments):
    """A lease in one read.

    Args:
        key: Its `_id`.

    Attributes:
        id: Its `_id`.
        holder: The holder in that read.
        is_in_doubt: See `Replica`; always false.
    """

    is_in_doubt: Final = False

    def __init__(self, key: str) -> None:
        super().__init__(known=False)
        self.id = key
        self.holder: object = None

    def seen(self, holder: object, moment: int) -> None:
        """Notes the holder in a read that began at a moment."""
        self.holder = holder
        self._know(moment)


class LeaseReads:
    """The leases, as a `DocumentCollection` for a `Reader`.

    Args:
        collection: Their collection.
    """

    fields = ("holder",)

    def __init__(self, collection: str) -> None:
        self.collection = collection

    def answered(self, asked: Iterable[tuple[SeenLease, int]], raws: Iterable[bytes], *, lasts: bool) -> None:  # noqa: ARG002
        """See `DocumentCollection.answered`."""
        documents = [bson.decode(raw, ANYTHING) for raw in raws]
        holders: dict[Any, object] = {one["_id"]: one.get("holder") for one in documents}
        for lease, moment in asked:
            lease.seen(holders.get(lease.id), moment)

    def lost(self, asked: Sequence[SeenLease], raws: Sequence[bytes]) -> list[SeenLease]:  # noqa: ARG002
        """See `DocumentCollection.lost`; leases come and go."""
        return []

    def could_not_be_used(self, lease: SeenLease, error: Exception, moment: int | None = None) -> None:  # noqa: ARG002
        """See `DocumentCollection.could_not_be_used`."""
        lease.seen(None, lease.now if moment is None else moment)
