"""Leases that are read before documents, in the same command: do they show that the documents were read under them?

A lease is asked for and what it protects is read at the same time, on two connections. The server reads the collections
of one command one after the other. So if the lease, which comes first, is seen in the hands of the one who asks for it,
whatever is seen after it is what the holder before has left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import bson

from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.replica.moments import Moments

__all__ = ["LeaseReads", "SeenLease"]


class SeenLease(Moments):
    """A lease, as one read shows it.

    Args:
        key: Its `_id`.

    Attributes:
        id: Its `_id`.
        holder: Who was seen to hold it.
        is_in_doubt: See `Replica`; none of its reads is.
    """

    is_in_doubt: Final = False

    def __init__(self, key: str) -> None:
        super().__init__(known=False)
        self.id = key
        self.holder: object = None

    def seen(self, holder: object, moment: int) -> None:
        """A read that began at a moment shows who holds it."""
        self.holder = holder
        self._know(moment)


class LeaseReads:
    """The leases, for a `Reader`: a `DocumentCollection`.

    Args:
        collection: Where they are.
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
