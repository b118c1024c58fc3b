"""The state of one document: what the bot and the database agreed on, what to save, and what is in flight.

A pure state machine: no I/O, no clock, no asyncio. All transitions are methods of `Replica`, and nothing else assigns
its fields. Readers and writers ask it what to do, and tell it what has happened, in whatever order:

- `pending` is a complete version of the document to store instead of `base`. Whatever we learn about the database is
  merged into it, so what is sent is always the difference between `pending` and `base`.
- A copy that was offered may wait to be encoded until somebody asks for `pending` or something else happens; see
  `Pending`.
- Each write expects the `rev` of `base`, and gives the document a new one. So among all writes that expect the same
  `rev`, at most one is ever done, and none that expects an older one: no duplicate of a request, no delayed request.
- A write is settled once: by its answer, or by the first read that shows its `rev`, either in `rev` itself or in
  `revs`, beneath those of other writers. From then on, its `rev` means nothing.
- A write whose outcome is unknown is followed by another one, even if there is nothing else to save: until then, the
  first one may still arrive.
- A read counts only if it began after the last thing that is known; otherwise it may show an older state.
- A read settles writes only if a majority has what it shows: an isolated primary shows writes that are later undone.
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
    """The state of one document, and what to store.

    Args:
        document_id: Its `_id`.
        stored: What is stored; `None` if there is no document.
        known: Whether `stored` is known to be true; otherwise, the document must be read first.

    Attributes (see also `Pending`):
        id: Its `_id`.
        base: The last version that the bot and the database agreed on; `None` if there is no document.
        rev, revs: Those of `base`; see `Stored`.
        sent: The writes since the last settlement that may have been done, by their new `rev`.
        refusal: The version that was refused because of the document, and why; `None` if none was refused since one was
            stored.
        is_insertion_in_doubt: Whether an insertion may still arrive, and create the document again after a deletion.
        is_written: Whether the bot stored `base`, so that its next changes are relative to that.
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
        """Whether there is something to write: a version, or a new `rev` that keeps an earlier write from arriving."""
        return self.pending is not None or self.may_arrive

    @property
    def is_refused(self) -> bool:
        """Whether what there is to write was refused because of the document, and has not changed since."""
        return self.refusal is not None and self.is_unsaved and self._pending_raw == self.refusal.raw

    @property
    def _pending_raw(self) -> bytes | None:
        return None if self.pending is None else self.pending.raw

    @property
    def is_being_deleted(self) -> bool:
        """Whether a deletion is pending."""
        return self.pending is not None and self.pending.plain is None

    @property
    def is_buried(self) -> bool:
        """Whether the document was deleted, and only a tombstone is stored."""
        return self.base == BURIED

    @property
    def may_arrive(self) -> bool:
        """Whether an earlier write may still arrive, as its answer is missing."""
        return bool(self.sent) and self.sent.may_arrive

    @property
    def is_in_doubt(self) -> bool:
        """Whether only a read of what a majority has can show the outcome of a write."""
        return bool(self.sent) and self.sent.is_in_doubt

    # -- what is to be saved ----------------------------------------------------------------------------

    def staged(self, version: Version) -> bool:
        """Handles a new version of the bot's.

        Returns:
            Whether there is something to write.
        """
        is_known = version.plain is not None or not self.is_stale  # otherwise, there may be something to delete
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
            version: The version that it wanted to store.
            sent: The versions that may have been stored, by their `rev`.
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
        """Notes that the pending version was refused because of the document; it stays pending.

        Args:
            error: The reason.
            tried: The version that was tried; the pending one may have changed since.
            what: The changes that were refused, if they are known.

        Returns:
            Whether that is news.
        """
        self._take_up()
        before = self.refusal
        self.refusal = Refusal(error, None if tried is None else tried.raw, what)
        return before is None or str(before.error) != str(error) or before.what != what

    def settled(self, version: Version | None) -> None:
        """Notes that the version to store is stored already."""
        self._take_up()
        self.refusal = None
        self.sent = Sent()
        if self.pending is version:
            self._pending = None

    # -- reading ----------------------------------------------------------------------------------------

    def read(self, moment: int, stored: Stored | None, form: Form, *, lasts: bool) -> bool:
        """Handles the end of a read.

        Args:
            moment: When it began, as returned by `reading`.
            stored: What it showed; `None` if there is no document.
            form: The form of the document.
            lasts: Whether a majority has what it showed.

        Returns:
            Whether it counts. It does not if it may show an older state than the known one, or if it shows a
            write as done that may be undone.
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
        """Handles a read that showed a document that cannot be decoded; what it says about our writes still counts.

        Args:
            moment: When it began, as returned by `reading`.
            stored: What it showed; `None` if not even that can be determined.
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
        """Handles the loss of this document together with all others: what is known of it must be stored again.

        Returns:
            Whether there is something to store.
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
        """Notes a write that is about to be sent.

        Args:
            rev: The `rev` that it gives the document.
            version: What it stores: the pending version or a part of its changes; `None` if it only sets `rev`.
            buries: Whether a deletion leaves a tombstone.
            is_exact: See `Write`.
        """
        self.sent[rev] = Write(version, self.base, self.rev, self.revs_after(rev), buries, is_exact)

    def stamping(self, rev: str) -> None:
        """Notes a write that is about to be sent and only sets a `rev`."""
        self.sent[rev] = Write(None, self.base, self.rev, self.revs)

    def revs_after(self, rev: str) -> tuple[str, ...]:
        """The last writes of other writers, as they will be after this write."""
        return revs_beneath(rev, self.rev, self.revs)

    def acknowledged(self, rev: str, form: Form) -> bool:
        """Handles a write that the server has done.

        Returns:
            Whether its version had been withdrawn, so that it is news for the bot.
        """
        write = self.sent.get(rev)
        if write is None:
            return False  # a read has settled it
        before = self.target
        self._know()
        self.sent = Sent()  # each expects an older rev than the one that this write has set
        self._done(rev, write, form)
        if self.target != before:
            self._retarget(before)
        return write.is_withdrawn

    def outdated(self, rev: str) -> None:
        """Handles a write that did not match, or that was done before others wrote."""
        self.sent.missed(rev)
        self.told()

    def unknown(self, rev: str) -> None:
        """Notes that the outcome of a write is unknown: the document is read before the next write is sent."""
        write = self.sent.doubt(rev)
        if write is not None and write.base is None:
            self.is_insertion_in_doubt = True
        self.told()

    def refused(self, rev: str) -> None:
        """Handles a write that the server has refused: it was not done, and will not be."""
        self._take_up()
        self.sent.pop(rev, None)

    # -- inside -----------------------------------------------------------------------------------------

    def _agree(self, stored: Stored | None) -> None:
        self.base = None if stored is None else stored.body
        self.rev = None if stored is None else stored.rev
        self.revs = () if stored is None else stored.revs

    def _doubts(self, stored: Stored | None) -> bool:
        """Whether a read shows unacknowledged writes as done; from now on, these are in doubt."""
        shown = self.sent.done_by(stored)
        for rev in shown:
            self.sent.doubt(rev)
        return bool(shown)

    def _settle_by(self, stored: Stored | None, form: Form) -> None:
        """Settles the writes that a read shows to be done, or to be no longer possible."""
        if not self.sent:
            return
        last, self.sent, lost_insertion = self.sent.settled_by(stored)
        if last is not None:
            self.base = stored_by(last, self.id, self.base, form)
            self.is_written = True
            self._saved(last.version)
        self.is_insertion_in_doubt = self.is_insertion_in_doubt or lost_insertion

    def _rebase(self, stored: Stored | None, form: Form) -> None:
        """Makes what was read the new base, and merges it into the pending version."""
        pending, base = self.pending, without_mark(self.base)
        remote = None if stored is None else without_mark(stored.body)
        if pending is not None and remote != base:
            self._pending = rebased(self.id, pending, base, remote, form)
        self.is_written = self.is_written and remote is not None and remote == base
        self._agree(stored)

    def _done(self, rev: str, write: Write, form: Form) -> None:
        """Handles a write that was done: both sides agree on what it stored, merged with what was read meanwhile."""
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
            self.told()  # the next update must know the form in which the values are stored
        self._agree(None if body is None else Stored(rev, write.revs, body))
        self.is_written = without_mark(body) is not None
        self._saved(version)

    def _done_all_the_same(self, rev: str, write: Write, form: Form) -> None:
        """Handles a write that was done although its version was withdrawn: the pending version is not based on it."""
        body = stored_by(write, self.id, self.base, form)
        if body is None and write.buries:
            body = BURIED
        self._rebase(None if body is None else Stored(rev, write.revs, body), form)
        self.told()

    def _saved(self, version: Version | None) -> None:
        """Handles a stored version: if it is still the pending one, nothing is left to do."""
        pending = self.pending
        if pending is version or (pending is not None and pending.raw == self.base and not pending.touch):
            self._pending = self.refusal = None
