"""Withdrawing a turn's changes to a document, as the turn failed and will be repeated, or lost its lease. Pure."""

from __future__ import annotations

from typing import Any

from ptb_mongo.replica.offered import Pending
from ptb_mongo.replica.rebase import rebased, without_mark
from ptb_mongo.replica.sent import Sent
from ptb_mongo.replica.versions import Form, InHand, Refusal, Stored, Version

__all__ = ["Withdrawals"]


class Withdrawals(Pending):
    """The part of a `Replica` that withdraws changes; for its other fields see there.

    Attributes:
        withdrawals: How often pending changes were withdrawn.
    """

    __slots__ = ("refusal", "withdrawals")

    id: Any
    base: bytes | None
    rev: Any
    sent: Sent
    refusal: Refusal | None

    def __init__(self, *, known: bool) -> None:
        super().__init__(known=known)
        self.withdrawals = 0

    @property
    def target(self) -> bytes | None:
        """The version that the database will hold when everything is saved."""
        return self.base if self.pending is None else self.pending.raw

    def leased(self) -> None:
        """Notes that the pending changes were made under a lease; see `Version`."""
        if self.pending is not None:
            self._pending = self.pending._replace(is_leased=True)

    def unleased(self) -> None:
        """Notes that the lease was released: what is still pending, being refused, is merged with others' writes."""
        if self.pending is not None and self.pending.is_leased:
            self._pending = self.pending._replace(is_leased=False)

    def in_hand(self) -> InHand:
        """The state at the beginning of a turn, for `withdrawn`."""
        return InHand(self.base, self.pending, self.withdrawals, self.rev)

    def withdrawn(self, found: InHand, form: Form) -> None:
        """Withdraws the changes of a turn that has failed and will be repeated.

        The next read shows what has already arrived of them, and nothing of them can arrive after the next write.

        Args:
            found: The state at the turn's beginning: what was pending then must still be saved.
            form: The form of the document.
        """
        is_first = self.withdrawals == found.withdrawals  # otherwise, nothing of it is pending any more
        pending = self._still_pending(found, form) if is_first else self.pending
        if pending is not None and pending.raw == self.base and not pending.touch:
            pending = None
        before = self.target
        self._take_back(pending)
        if self.target != before:
            self._retarget(before)

    def _still_pending(self, found: InHand, form: Form) -> Version | None:
        """What was pending at the beginning of a turn, as far as it is not stored yet."""
        pending = found.pending
        if pending is None or found.base == self.base:
            return pending
        if found.rev != self.rev:  # a bot has written since, and maybe this: it is not put over what is newer
            if self.pending is None:
                return None
            pending = pending._replace(yields=True)
        return rebased(self.id, pending, without_mark(found.base), without_mark(self.base), form)

    def _take_back(self, pending: Version | None) -> None:
        self._pending, self.refusal = pending, None
        self.sent.withdraw()
        self.withdrawals += 1
        self.told()

    def _give_up(self, stored: Stored | None) -> None:
        """Withdraws changes made under a lease if a read shows that another writer has written meanwhile."""
        if self.pending is None or not self.pending.is_leased:
            return
        rev = None if stored is None else stored.rev
        if type(rev) is str and rev != self.rev and rev not in self.sent:  # other services leave `rev` alone
            self._take_back(None)

    def _retarget(self, before: bytes | None) -> None:
        """Called when something other than the bot has changed the target.

        Args:
            before: The target before that.
        """
