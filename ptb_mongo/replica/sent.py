"""The writes of one document that may have been done, and what a read, or an answer, says of them. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ptb_mongo.replica.versions import LATER, REMEMBERED_WRITERS, Stored, Write, number_of, revs_in, writer_of

__all__ = ["Sent", "Settled"]


class Settled(NamedTuple):
    """What a read says of the writes that were sent.

    Attributes:
        last: The last of those that are done, if it has stored a version.
        left: Those that may still be done.
        lost_insertion: Whether an insertion is no longer among them, and may still arrive after a deletion.
    """

    last: Write | None
    left: Sent
    lost_insertion: bool


class Sent(dict[str, Write]):
    """By their new `rev`, the writes since the last settlement that may have been done."""

    __slots__ = ()

    @property
    def may_arrive(self) -> bool:
        """Whether one may still be done, as its answer is missing."""
        return any(write.may_arrive for write in self.values())

    @property
    def may_insert(self) -> bool:
        """Whether an insertion may still be done, as its answer is missing."""
        return any(write.may_arrive and write.base is None for write in self.values())

    @property
    def is_in_doubt(self) -> bool:
        """Whether only a read of what a majority has shows what became of one."""
        return any(write.is_in_doubt for write in self.values())

    def doubt(self, rev: str) -> Write | None:
        """From now on only a read of what a majority has settles a write; `None` if it is settled."""
        if (write := self.get(rev)) is not None:
            self[rev] = write._replace(is_in_doubt=True)
        return write

    def withdraw(self) -> None:
        """What they store is taken back."""
        for rev, write in self.items():
            self[rev] = write._replace(is_withdrawn=True)

    def missed(self, rev: str) -> None:
        """A write did not match; or it was done, and others have written since."""
        if (write := self.get(rev)) is not None:
            self[rev] = write._replace(may_arrive=False)

    def done_by(self, stored: Stored | None) -> dict[str, Write]:
        """Those that are done, by what is stored now."""
        if stored is None:
            return {rev: write for rev, write in self.items() if write.deletes}
        shown = revs_in(stored)
        return {
            rev: write
            for rev, write in self.items()
            if rev in shown or _is_done_later(rev, shown) or _is_made_anew(rev, write, stored)
        }

    def settled_by(self, stored: Stored | None) -> Settled:
        """What a read says of them that shows what a majority has."""
        done = self.done_by(stored)
        rev, last = next(reversed(done.items()), ("", None))
        is_shown = stored is not None and rev in revs_in(stored)
        if last is not None and (last.version is None or (last.deletes and not last.buries and is_shown)):
            last = None  # it has only set a `rev`
        if last is not None and last.is_withdrawn:
            last = None  # it counts as another writer's
        open_ = {rev: write for rev, write in self.items() if rev not in done and write.may_arrive}
        left = Sent({rev: write for rev, write in open_.items() if _may_be_done(write, stored)})
        lost_insertion = any(write.base is None for rev, write in open_.items() if rev not in left)
        return Settled(last, left, lost_insertion)


def _is_done_later(rev: str, shown: set[str]) -> bool:
    """Whether a write is done that its writer sent after it had last said which ones it had sent."""
    if not rev.endswith(LATER):
        return False
    return any(writer_of(one) == writer_of(rev) and number_of(one) > number_of(rev) for one in shown)


def _is_made_anew(rev: str, write: Write, stored: Stored) -> bool:
    """Whether the document that was to be deleted is gone, and this one was created since.

    Others leave `rev` alone, and writers remember each other's writes. So a document without a `rev` is a new one, and
    so is one that does not remember this writer's last write.
    """
    if not write.deletes or type(write.supposes) is not str:
        return False
    if type(stored.rev) is not str:
        return True
    is_own = writer_of(write.supposes) == writer_of(rev)
    return is_own and len(stored.revs) < REMEMBERED_WRITERS and not revs_in(stored) & {rev, write.supposes}


def _may_be_done(write: Write, stored: Stored | None) -> bool:
    """Whether a write would match what is stored."""
    if stored is None or write.base is None:
        return stored is None and write.base is None
    return bool(write.supposes == stored.rev)
