"""The state of one document: what the bot and the database agreed on, what is to be saved, what is in flight.

A pure state machine: no I/O, no clock, no asyncio. All transitions are methods of `Replica`, and nothing else assigns
its fields. Readers and writers ask it what to do, and tell it what has happened, in whatever order that happens:

- `pending` is a whole version of the document that is to be stored instead of `base`. Whatever is learned of the
  database is merged into it, so what is sent is always the difference between `pending` and `base`.
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

from ptb_mongo.codec import BURIED, dump
from ptb_mongo.replica.versions import Form, Stored, Version, Write, done_by, may_be_done, revs_beneath, revs_in

__all__ = ["Replica"]


class Replica:
    """The state of one document, and what is to be stored.

    Args:
        document_id: Its `_id`.
        stored: What is stored; `None` if there is no document.
        known: Whether `stored` is known to be true; otherwise the document has to be read first.

    Attributes:
        id: Its `_id`.
        base: The last version that the bot and the database agreed on; `None` if there is no document.
        rev, revs: Those of `base`; see `Stored`.
        pending: The version to be stored instead; `None` if there is nothing to save.
        sent: By their new `rev`, the writes since the last settlement that may have been done.
        reported: The refused version, or the error, that was reported last, so that each is reported once.
        is_insertion_in_doubt: Whether an insertion may still arrive, and make the document again after a deletion.
    """

    __slots__ = (
        "_known_at",
        "_now",
        "_read_at",
        "_told_at",
        "base",
        "id",
        "is_insertion_in_doubt",
        "pending",
        "reported",
        "rev",
        "revs",
        "sent",
    )

    def __init__(self, document_id: Any, stored: Stored | None = None, *, known: bool = True) -> None:
        self.id = document_id
        self.pending: Version | None = None
        self.sent: dict[str, Write] = {}
        self.reported: bytes | str | None = None
        self.is_insertion_in_doubt = False
        # Moments on this document's own logical clock: now; when something was last known for certain; when it was
        # last said that the document may have changed; when the last read began that counted.
        self._now = self._known_at = self._told_at = 0
        self._read_at = 0 if known else -1
        self.base: bytes | None
        self.rev: Any
        self.revs: tuple[str, ...]
        self._agree(stored)

    # -- derived ----------------------------------------------------------------------------------------

    @property
    def is_loaded(self) -> bool:
        """Whether the document was read at least once, or is known not to exist."""
        return self._read_at >= 0

    @property
    def is_stale(self) -> bool:
        """Whether the database may hold another version."""
        return self._told_at > self._read_at

    @property
    def is_being_read(self) -> bool:
        """Whether a read may be in progress: what is told now is newer than what that read will show."""
        return self._now > max(self._known_at, self._told_at)

    @property
    def is_unsaved(self) -> bool:
        """Whether something is to be written: a version, or a new `rev` that keeps an earlier write from arriving."""
        return self.pending is not None or self.may_arrive

    @property
    def is_being_deleted(self) -> bool:
        """Whether the document is to be deleted."""
        return self.pending is not None and self.pending.plain is None

    @property
    def is_buried(self) -> bool:
        """Whether the document was deleted, and only a mark is stored."""
        return self.base == BURIED

    @property
    def target(self) -> bytes | None:
        """The version that is to be in the database when everything is saved."""
        return self.base if self.pending is None else self.pending.raw

    @property
    def now(self) -> int:
        """This moment, for `is_read_since`."""
        return self._now

    def is_read_since(self, moment: int) -> bool:
        """Whether a read that began after a moment has counted."""
        return self._read_at > moment

    @property
    def may_arrive(self) -> bool:
        """Whether an earlier write may still be done, as its answer is missing."""
        return any(write.may_arrive for write in self.sent.values())

    @property
    def is_in_doubt(self) -> bool:
        """Whether only a read of what a majority has shows what became of a write."""
        return any(write.is_in_doubt for write in self.sent.values())

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
                self.pending = None  # changed, and changed back before it was sent
                return False
        self.pending = version
        return True

    def taken_over(self, version: Version, sent: dict[str, Version]) -> None:
        """Takes over what an earlier process could not save.

        Args:
            version: What was to be stored.
            sent: By their `rev`, the versions that may have been stored.
        """
        self.pending = version
        self.sent = {rev: Write(one, self.base, self.rev, self.revs, is_in_doubt=True) for rev, one in sent.items()}

    def given_up(self, version: Version | None, reported: bytes | str) -> None:
        """A version was refused and will not be stored; a newer one stays pending.

        Args:
            version: What was refused.
            reported: What identifies it, so that it is reported once.
        """
        self.reported = reported
        self.sent = {}
        if self.pending is version:
            self.pending = None

    def remember(self, reported: bytes | str | None) -> None:
        """Remembers what was reported, so that it is reported once; `None` lets it be tried again."""
        self.reported = reported

    def settled(self, version: Version | None) -> None:
        """What was to be stored is stored already."""
        self.reported = None
        self.sent = {}
        if self.pending is version:
            self.pending = None

    # -- reading ----------------------------------------------------------------------------------------

    def told(self) -> None:
        """Somebody may have written the document."""
        self._now += 1
        self._told_at = self._now

    def reading(self) -> int:
        """A read begins; returns its moment, to be passed to `read`."""
        self._now += 1
        return self._now

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
        if moment < self._known_at or (not lasts and self._doubts(stored)):
            return False
        before, was_loaded = self.target, self.is_loaded
        self._read_at = moment
        self._know()
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
        if stored is not None and moment >= self._known_at:
            if not lasts and self._doubts(stored):
                return
            if lasts:
                self._settle_by(stored, form)
        self._read_at = max(self._read_at, moment)

    # -- writing ----------------------------------------------------------------------------------------

    def sending(self, rev: str, *, buries: bool = False, is_exact: bool = True) -> None:
        """A write is about to be sent.

        Args:
            rev: The `rev` that it gives the document.
            buries: Whether a deletion leaves a mark.
            is_exact: See `Write`.
        """
        self.sent[rev] = Write(self.pending, self.base, self.rev, self.revs_after(rev), buries, is_exact)

    def stamping(self, rev: str) -> None:
        """A write is about to be sent that only sets a `rev`."""
        self.sent[rev] = Write(None, self.base, self.rev, self.revs)

    def revs_after(self, rev: str) -> tuple[str, ...]:
        """The last writes of other writers, as they will be after this write."""
        return revs_beneath(rev, self.rev, self.revs)

    def acknowledged(self, rev: str, form: Form) -> bool:
        """The server has done a write.

        Returns:
            Whether nothing is left to be saved.
        """
        write = self.sent.get(rev)
        if write is not None:  # otherwise a read has settled it
            before = self.target
            self._know()
            self.sent = {}  # each supposes an older rev than this one has set
            self._done(rev, write, form)
            if self.target != before:
                self._retarget(before)
        return not self.is_unsaved

    def outdated(self, rev: str) -> None:
        """A write did not match; or it was done, and others have written since."""
        if (write := self.sent.get(rev)) is not None:
            self.sent[rev] = write._replace(may_arrive=False)
        self.told()

    def unknown(self, rev: str) -> None:
        """The outcome of a write is unknown: the document is read before the next one is sent."""
        if (write := self.sent.get(rev)) is not None:
            self.sent[rev] = write._replace(is_in_doubt=True)
            self.is_insertion_in_doubt = self.is_insertion_in_doubt or write.base is None
        self.told()

    def refused(self, rev: str) -> None:
        """The server has refused a write: it was not done, and will not be."""
        self.sent.pop(rev, None)

    # -- inside -----------------------------------------------------------------------------------------

    def _know(self) -> None:
        self._now += 1
        self._known_at = self._now

    def _agree(self, stored: Stored | None) -> None:
        self.base = None if stored is None else stored.body
        self.rev = None if stored is None else stored.rev
        self.revs = () if stored is None else stored.revs

    def _doubts(self, stored: Stored | None) -> bool:
        """Whether a read shows writes to be done that are not acknowledged: they are in doubt from now on."""
        shown = done_by(self.sent, stored)
        for rev, write in shown:
            self.sent[rev] = write._replace(is_in_doubt=True)
        return bool(shown)

    def _settle_by(self, stored: Stored | None, form: Form) -> None:
        """Settles the writes that a read shows to be done, or to be impossible from now on."""
        if not self.sent:
            return
        done = done_by(self.sent, stored)
        if done:
            rev, write = done[-1]
            is_shown = stored is not None and rev in revs_in(stored)
            is_marked_only = write.deletes and not write.buries and is_shown
            if write.version is not None and not is_marked_only:
                self.base = self._body_after(write, form)
                self._saved(write.version)
        left = {rev: write for rev, write in self.sent.items() if (rev, write) not in done and write.may_arrive}
        self.sent = {rev: write for rev, write in left.items() if may_be_done(write, stored)}
        if any(write.base is None for rev, write in left.items() if rev not in self.sent):
            self.is_insertion_in_doubt = True

    def _rebase(self, stored: Stored | None, form: Form) -> None:
        """Makes what was read the base of everything."""
        pending, remote = self.pending, None if stored is None or stored.body == BURIED else stored.body
        if pending is None or remote == self.base:
            pass
        elif pending.plain is None:
            if remote is None or pending.yields or not form.still_deletes(self.base, remote):
                self.pending = None
        elif remote is None and pending.touch:
            self.pending = None  # a touch does not restart what others have ended
        else:
            theirs = form.gone(pending.plain) if remote is None else form.canonical(remote)
            plain = form.merged(self.id, form.canonical(self.base), pending.plain, theirs, yields=pending.yields)
            if (raw := dump(plain)) != pending.raw:
                self.pending = pending._replace(plain=plain, raw=raw)
            self.reported = None  # what was refused may be accepted together with what is stored now
        self._agree(stored)

    def _done(self, rev: str, write: Write, form: Form) -> None:
        """A write was done: both sides agree on what it stored, merged with what was read of others meanwhile."""
        version = write.version
        if version is None:
            self.rev, self.revs = rev, write.revs
            return
        body = self._body_after(write, form)
        if body is None and write.buries:
            body = BURIED
        if not write.is_exact:
            self.told()  # the next update must know in which form the values are stored
        self._agree(None if body is None else Stored(rev, write.revs, body))
        self._saved(version)

    def _body_after(self, write: Write, form: Form) -> bytes | None:
        """What is stored once a write is done: what it stores, with what was read of others while it was under way."""
        version = write.version
        if version is None or version.plain is None:
            return None
        if self.base is None or self.base == write.base:
            return version.raw
        return dump(form.merged(self.id, form.canonical(write.base), version.plain, form.canonical(self.base)))

    def _saved(self, version: Version) -> None:
        """A version is stored: if it is still the pending one, nothing is left to do."""
        self.reported = None
        pending = self.pending
        if pending is version or (pending is not None and pending.raw == self.base and not pending.touch):
            self.pending = None

    def _retarget(self, before: bytes | None) -> None:
        """Called when the target has changed, and not by the bot.

        Args:
            before: What it was before.
        """
