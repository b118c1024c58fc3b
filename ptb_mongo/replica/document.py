"""The state of one document: what the bot and the database agreed on, what is to be saved, what is in flight.

A pure state machine: no I/O, no clock, no asyncio. All transitions are methods of `Replica`, and nothing else assigns
its fields. Readers and writers ask it what to do, and tell it what has happened, in whatever order that happens:

- `pending` is a whole version of the document that is to be stored instead of `base`. Whatever is learned of the
  database is merged into it, so what is sent is always the difference between `pending` and `base`.
- A copy that is offered may wait to be encoded, until somebody asks for `pending` or something else happens: see
  `Pending`.
- Each write supposes the `rev` that `base` has, and gives the document a new one. So of all writes that suppose the
  same `rev` at most one is ever done, and none that supposes an older one: no duplicate of a request, and no request
  that was delayed.
- A write is settled once: by its answer, or by the first read that shows its `rev`, in `rev` itself or in `revs`
  beneath those of other writers. From then on its `rev` means nothing.
- A write whose outcome is unknown is followed by another one, even if there is nothing else to save: until then, it
  may still arrive.
- A read counts only if it began after the last thing that is known: otherwise it may show an older state.
- A read settles writes only if a majority has what it shows: a primary that was cut off shows writes that are undone
  later.
"""

from __future__ import annotations

from typing import Any

from ptb_mongo.codec import BURIED, load
from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.rebase import rebased, stored_by, without_mark
from ptb_mongo.replica.sent import Sent
from ptb_mongo.replica.versions import LATER, Form, Refusal, Stored, Version, Write, revs_beneath
from ptb_mongo.replica.withdrawals import Withdrawals

__all__ = ["Replica"]


class Replica(Withdrawals):
    """The state of one document, and what is to be stored.

    Args:
        document_id: Its `_id`.
        stored: What is stored; `None` if there is no document.
        known: Whether `stored` is known to be true; otherwise the document has to be read first.

    Attributes (see also `Pending`):
        id: Its `_id`.
        base: The last version that the bot and the database agreed on; `None` if there is no document.
        rev, revs: Those of `base`; see `Stored`.
        sent: By their new `rev`, the writes since the last settlement that may have been done.
        refusal: Why a version was refused for the document's own sake, and which one; `None` if none was since the last
            one was stored.
        is_insertion_in_doubt: Whether an insertion may still arrive, and make the document again after a deletion.
        is_written: Whether it was the bot that stored `base`, so that what it changes next is relative to that.
    """

    __slots__ = ("base", "id", "is_insertion_in_doubt", "is_written", "rev", "revs", "sent")

    def __init__(self, document_id: Any, stored: Stored | None = None, *, known: bool = True) -> None:
        super().__init__(known=known)
        self.id = document_id
        self.sent = Sent()
        self.refusal: Refusal | None = None
        self.is_insertion_in_doubt = self.is_written = False
        self.base: bytes | None
        self.rev: Any
        self.revs: tuple[str, ...]
        self._agree(stored)

    # -- derived ----------------------------------------------------------------------------------------

    @property
    def is_unsaved(self) -> bool:
        """Whether something is to be written: a version, or a new `rev` that keeps an earlier write from arriving."""
        return self.pending is not None or self.may_arrive

    @property
    def is_refused(self) -> bool:
        """Whether what is to be written was refused for the document's own sake, and has not changed since."""
        return self.refusal is not None and self.is_unsaved and self._pending_raw == self.refusal.raw

    @property
    def _pending_raw(self) -> bytes | None:
        return None if self.pending is None else self.pending.raw

    @property
    def is_being_deleted(self) -> bool:
        """Whether the document is to be deleted."""
        return self.pending is not None and self.pending.plain is None

    @property
    def is_buried(self) -> bool:
        """Whether the document was deleted, and only a mark is stored."""
        return self.base == BURIED

    @property
    def may_arrive(self) -> bool:
        """Whether an earlier write may still be done, as its answer is missing."""
        return bool(self.sent) and self.sent.may_arrive

    @property
    def is_in_doubt(self) -> bool:
        """Whether only a read of what a majority has shows what became of a write."""
        return bool(self.sent) and self.sent.is_in_doubt

    # -- what is to be saved ----------------------------------------------------------------------------

    def staged(self, version: Version) -> bool:
        """The bot has a new version.

        Returns:
            Whether it is to be written.
        """
        is_known = version.plain is not None or not self.is_stale  # otherwise there may be something to delete
        if not version.touch and is_known:
            if version.raw == self.target:
                return self.is_being_deleted
            if version.raw == self.base and not self.sent:
                self._pending = self.refusal = None  # changed, and changed back before it was sent
                return False
        self._pending = version
        return True

    def taken_over(self, version: Version, sent: dict[str, Version], writer: str) -> None:
        """Takes over what an earlier process could not save.

        Args:
            version: What was to be stored.
            sent: By their `rev`, the versions that may have been stored.
            writer: The `rev` of the last known write of a writer that may have stored that version later; may be empty.
        """
        self._pending = version
        later = {f"{writer}{LATER}": version} if writer else {}
        self.sent = Sent(
            {
                rev: Write(one, self.base, self.rev, self.revs, is_in_doubt=True)
                for rev, one in {**sent, **later}.items()
            }
        )

    def refused_for(self, error: DocumentError, tried: Version | None, what: bytes | None = None) -> bool:
        """What is pending was refused for the document's own sake; it stays pending.

        Args:
            error: Why.
            tried: What was tried; what is pending may have changed since.
            what: The changes that were refused, if they are known.

        Returns:
            Whether that is new.
        """
        self._take_up()
        before = self.refusal
        self.refusal = Refusal(error, None if tried is None else tried.raw, what)
        return before is None or str(before.error) != str(error) or before.what != what

    def settled(self, version: Version | None) -> None:
        """What was to be stored is stored already."""
        self._take_up()
        self.refusal = None
        self.sent = Sent()
        if self.pending is version:
            self._pending = None

    # -- reading ----------------------------------------------------------------------------------------

    def read(self, moment: int, stored: Stored | None, form: Form, *, lasts: bool) -> bool:
        """A read ended.

        Args:
            moment: When it began, as returned by `reading`.
            stored: What it showed; `None` if there is no document.
            form: The form of the document.
            lasts: Whether a majority has what it showed.

        Returns:
            Whether it counted; it does not if it may show an older state than what is known, or shows a write to be
            done that may be undone.
        """
        if self._is_too_old(moment) or (not lasts and self._doubts(stored)):
            return False
        before, was_loaded = self.target, self.is_loaded
        self._know(read_at=moment)
        self._give_up(stored)
        if lasts:
            self._settle_by(stored, form)
        self._rebase(stored, form)
        if self.target != before or not was_loaded:
            self._retarget(before)
        return True

    def unreadable(self, moment: int, stored: Stored | None, form: Form, *, lasts: bool) -> None:
        """A read showed a document that cannot be decoded; what it says of our writes counts all the same.

        Args:
            moment: When it began, as returned by `reading`.
            stored: What it showed; `None` if not even that can be told.
            form: The form of the document.
            lasts: Whether a majority has what it showed.
        """
        self._take_up()
        if stored is not None and not self._is_too_old(moment):
            if not lasts and self._doubts(stored):
                return
            if lasts:
                self._settle_by(stored, form)
        self._has_failed(moment)

    def vanished(self) -> bool:
        """The document was lost together with all others: what is known of it is to be stored anew.

        Returns:
            Whether there is something to be stored.
        """
        target, pending = self.target, self.pending
        self._know(read_at=self.reading())
        self._agree(None)
        self.sent, self.refusal, self.is_written = Sent(), None, False
        if target is None or target == BURIED:
            self._pending = None
            return False
        self._pending = Version(load(target), target) if pending is None else pending
        return True

    # -- writing ----------------------------------------------------------------------------------------

    def sending(self, rev: str, version: Version | None, *, buries: bool = False, is_exact: bool = True) -> None:
        """A write is about to be sent.

        Args:
            rev: The `rev` that it gives the document.
            version: What it stores: what is pending, or a part of its changes; `None` if it only sets `rev`.
            buries: Whether a deletion leaves a mark.
            is_exact: See `Write`.
        """
        self.sent[rev] = Write(version, self.base, self.rev, self.revs_after(rev), buries, is_exact)

    def stamping(self, rev: str) -> None:
        """A write is about to be sent that only sets a `rev`."""
        self.sent[rev] = Write(None, self.base, self.rev, self.revs)

    def revs_after(self, rev: str) -> tuple[str, ...]:
        """The last writes of other writers, as they will be after this write."""
        return revs_beneath(rev, self.rev, self.revs)

    def acknowledged(self, rev: str, form: Form) -> bool:
        """The server has done a write.

        Returns:
            Whether what it stores had been taken back, so that it is news for the bot.
        """
        write = self.sent.get(rev)
        if write is None:
            return False  # a read has settled it
        before = self.target
        self._know()
        self.sent = Sent()  # each supposes an older rev than this one has set
        self._done(rev, write, form)
        if self.target != before:
            self._retarget(before)
        return write.is_withdrawn

    def outdated(self, rev: str) -> None:
        """A write did not match; or it was done, and others have written since."""
        self.sent.missed(rev)
        self.told()

    def unknown(self, rev: str) -> None:
        """The outcome of a write is unknown: the document is read before the next one is sent."""
        write = self.sent.doubt(rev)
        if write is not None and write.base is None:
            self.is_insertion_in_doubt = True
        self.told()

    def refused(self, rev: str) -> None:
        """The server has refused a write: it was not done, and will not be."""
        self._take_up()
        self.sent.pop(rev, None)

    # -- inside -----------------------------------------------------------------------------------------

    def _agree(self, stored: Stored | None) -> None:
        self.base = None if stored is None else stored.body
        self.rev = None if stored is None else stored.rev
        self.revs = () if stored is None else stored.revs

    def _doubts(self, stored: Stored | None) -> bool:
        """Whether a read shows writes to be done that are not acknowledged: they are in doubt from now on."""
        shown = self.sent.done_by(stored)
        for rev in shown:
            self.sent.doubt(rev)
        return bool(shown)

    def _settle_by(self, stored: Stored | None, form: Form) -> None:
        """Settles the writes that a read shows to be done, or to be impossible from now on."""
        if not self.sent:
            return
        last, self.sent, lost_insertion = self.sent.settled_by(stored)
        if last is not None:
            self.base = stored_by(last, self.id, self.base, form)
            self.is_written = True
            self._saved(last.version)
        self.is_insertion_in_doubt = self.is_insertion_in_doubt or lost_insertion

    def _rebase(self, stored: Stored | None, form: Form) -> None:
        """Makes what was read the base of everything."""
        pending, base = self.pending, without_mark(self.base)
        remote = None if stored is None else without_mark(stored.body)
        if pending is not None and remote != base:
            self._pending = rebased(self.id, pending, base, remote, form)
        self.is_written = self.is_written and remote is not None and remote == base
        self._agree(stored)

    def _done(self, rev: str, write: Write, form: Form) -> None:
        """A write was done: both sides agree on what it stored, merged with what was read of others meanwhile."""
        version = write.version
        if write.is_withdrawn and version is not None:
            self._done_all_the_same(rev, write, form)
            return
        if version is None:
            self.rev, self.revs = rev, write.revs
            self.base = BURIED if write.buries else self.base
            return
        body = stored_by(write, self.id, self.base, form)
        if body is None and write.buries:
            body = BURIED
        if not write.is_exact:
            self.told()  # the next update must know in which form the values are stored
        self._agree(None if body is None else Stored(rev, write.revs, body))
        self.is_written = without_mark(body) is not None
        self._saved(version)

    def _done_all_the_same(self, rev: str, write: Write, form: Form) -> None:
        """A write was done that stores what was taken back: what is pending now is not based on that."""
        body = stored_by(write, self.id, self.base, form)
        if body is None and write.buries:
            body = BURIED
        self._rebase(None if body is None else Stored(rev, write.revs, body), form)
        self.told()

    def _saved(self, version: Version | None) -> None:
        """A version is stored: if it is still the pending one, nothing is left to do."""
        pending = self.pending
        if pending is version or (pending is not None and pending.raw == self.base and not pending.touch):
            self._pending = self.refusal = None
