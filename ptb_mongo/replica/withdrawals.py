"""What a turn has changed in a document, taken back: it has failed and comes again, or its lease was lost. Pure."""

from __future__ import annotations

from typing import Any

from ptb_mongo.replica.offered import Pending
from ptb_mongo.replica.rebase import rebased, without_mark
from ptb_mongo.replica.sent import Sent
from ptb_mongo.replica.versions import Form, InHand, Refusal, Stored, Version

__all__ = ["Withdrawals"]


class Withdrawals(Pending):
    """The part of a `Replica` that takes changes back; for its other fields see there.

    Attributes:
        withdrawals: How often pending changes were taken back.
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
        """The version that is to be in the database when everything is saved."""
        return self.base if self.pending is None else self.pending.raw

    def leased(self) -> None:
        """What is pending was changed under a lease; see `Version`."""
        if self.pending is not None:
            self._pending = self.pending._replace(is_leased=True)

    def unleased(self) -> None:
        """The lease was given back: what is still pending, as it was refused, is merged with what others write."""
        if self.pending is not None and self.pending.is_leased:
            self._pending = self.pending._replace(is_leased=False)

    def in_hand(self) -> InHand:
        """What a turn finds when it begins, for `withdrawn`."""
        return InHand(self.base, self.pending, self.withdrawals)

    def withdrawn(self, found: InHand, form: Form) -> None:
        """A turn has failed and will come again: what it has changed is taken back.

        What may have arrived of it already is shown by the next read, and nothing of it arrives after the next write.

        Args:
            found: What the turn found when it began: what was pending before is still to be saved.
            form: The form of the document.
        """
        is_first = self.withdrawals == found.withdrawals  # otherwise nothing of it is pending any more
        pending = found.pending if is_first else self.pending
        if is_first and pending is not None and found.base != self.base:
            pending = rebased(self.id, pending, without_mark(found.base), without_mark(self.base), form)
        if pending is not None and pending.raw == self.base and not pending.touch:
            pending = None
        before = self.target
        self._take_back(pending)
        if self.target != before:
            self._retarget(before)

    def _take_back(self, pending: Version | None) -> None:
        self._pending, self.refusal = pending, None
        self.sent.withdraw()
        self.withdrawals += 1
        self.told()

    def _give_up(self, stored: Stored | None) -> None:
        """Takes back what was changed under a lease, if a read shows that another writer has written meanwhile."""
        if self.pending is None or not self.pending.is_leased:
            return
        rev = None if stored is None else stored.rev
        if type(rev) is str and rev != self.rev and rev not in self.sent:  # who is no bot leaves `rev` alone
            self._take_back(None)

    def _retarget(self, before: bytes | None) -> None:
        """Called when the target has changed, and not by the bot.

        Args:
            before: What it was before.
        """
