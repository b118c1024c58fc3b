"""Loads many plain documents at once, and keeps no state for them until somebody uses them: see `Replicas`.

A document is plain if BSON's own decoder restores the data that was stored; most are. All others, and those about which
something is already known, are taken in one by one: see `Collection.loaded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple

from ptb_mongo.codec import is_plain, load_plain, part
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.versions import stored_in
from ptb_mongo.scopes.data_form import DataForm, T

__all__ = ["UnusedData"]


class _Parted(NamedTuple):
    """Plain documents about which nothing is known, in the same order, and all others.

    Attributes:
        keys: Their keys.
        raws: Their bytes.
        data: Their decoded data.
        others: The bytes of the others.
    """

    keys: Sequence[int]
    raws: Sequence[bytes]
    data: Sequence[Any]
    others: Sequence[bytes]


class UnusedData(DataForm[T]):
    """`DataForm` with documents that nobody has used; for its arguments see there."""

    _are_filled: bool | None = None
    """Whether they are PTB's own objects that were filled, rather than objects given to PTB; `None` without any."""

    def attached_unused(self, raws: Sequence[bytes]) -> _Parted:
        """Takes in the plain ones among documents that were read: their decoded data becomes the live objects."""
        if self._are_filled:
            return _Parted((), (), (), raws)
        self._are_filled = False
        found = self._parted(raws)
        self.replicas.add_unused(found.keys, found.raws, found.data)
        return found

    def filled_unused(self, raws: Sequence[bytes], live: Callable[[int], T]) -> Sequence[bytes]:
        """Takes in the plain ones among documents that were read, if PTB's objects for them are empty, and fills these.

        Returns:
            The other documents.
        """
        if self._are_filled is False:
            return raws
        self._are_filled = True
        keys, plain, data, others = self._parted(raws)
        lives: list[Any] = [live(key) for key in keys]
        if any(type(one) is not dict or one for one in lives):
            return raws
        for one, its_data in zip(lives, data, strict=True):
            one.update(its_data)
        self.replicas.add_unused(keys, plain, lives)
        return others

    def first_answered(self, keys: Iterable[int | None], raws: Sequence[bytes], *, lasts: bool) -> None:
        """Handles the read of documents about which nothing was known, except for those that have a replica by now.

        Args:
            keys: Their keys.
            raws: The stored documents.
            lasts: See `Collection.answered`.
        """
        new = [self.replica(key, key) for key in keys if key is not None and key not in self.replicas]
        self.answered([(replica, replica.reading()) for replica in new], raws, lasts=lasts)

    def _parted(self, raws: Sequence[bytes]) -> _Parted:
        nothing = _Parted((), (), (), raws)
        if self._excluded or self.quarantined or self._type is not dict:
            return nothing
        others: list[bytes] = []
        if (bodies := load_plain(raws)) is None:
            others = [raw for raw in raws if not is_plain(raw)]
            raws = [raw for raw in raws if is_plain(raw)]
            if not (others and raws) or (bodies := load_plain(raws)) is None:  # if one is damaged, each is decoded
                return nothing
        keys: list[Any] = [body.get("_id") for body in bodies]
        data = [body.get("data") for body in bodies]
        are_usual = set(map(type, keys)) == {int} and set(map(type, data)) == {dict}
        if are_usual and not self._steps and self.replicas.has_none_of(keys):
            return _Parted(keys, raws, data, others)
        usable = [self._is_usable(body) for body in bodies]
        return _Parted(
            list(compress(keys, usable)),
            list(compress(raws, usable)),
            list(compress(data, usable)),
            [*others, *(raw for raw, is_usable in zip(raws, usable, strict=True) if not is_usable)],
        )

    def _is_usable(self, body: dict[str, Any]) -> bool:
        """Whether a decoded document has the usual form, and nothing is known about it."""
        key = body.get("_id")
        is_of_today = not self._steps or self._steps.are_done(body)
        return type(key) is int and type(body.get("data")) is dict and is_of_today and self.replicas.has_none_of([key])

    def made_of_unused(self, key: int, raw: bytes, live: Any) -> LiveReplica:
        """See `KnownDocuments.made_of_unused`."""
        stored = stored_in(part(raw))
        replica = LiveReplica(key, stored)
        if self._are_filled:
            replica.seen(live, self, lambda: None)
            replica.brought(self.canonical(None), self)
        else:
            replica.attached(live, is_again=False)
        return replica
