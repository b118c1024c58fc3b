"""The writes of one document that may have been done, and what reads and answers say about them. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ptb_mongo.replica.versions import LATER, REMEMBERED_WRITERS, Stored, Write, number_of, revs_in, writer_of

__all__ = ["Sent", "Settled"]


class Settled(NamedTuple):
    """What a read says about the writes that were sent.

    Attributes:
        last: The last one that is done, if it has stored a version.
        left: Those that may still be done.
        lost_insertion: Whether an insertion is no longer among them, and may still arrive after a deletion.
    """

    last: Write | None
    left: Sent
    lost_insertion: bool


class Sent(dict[str, Write]):
    """The writes since the last settlement that may have been done, by their new `rev`."""

    __slots__ = ()

    @property
    def may_arrive(self) -> bool:
        """Whether a write may still be done, as its answer is missing."""
        return any(write.may_arrive for write in self.values())

    @property
    def may_insert(self) -> bool:
        """Whether an insertion may still be done, as its answer is missing."""
        return any(write.may_arrive and write.base is None for write in self.values())

    @property
    def is_in_doubt(self) -> bool:
        """Whether only a read of what a majority has can show the outcome of some write."""
        return any(write.is_in_doubt for write in self.values())

    def doubt(self, rev: str) -> Write | None:
        """Marks a write that only a read of what a majority has can settle; returns `None` if it is already settled."""
        if (write := self.get(rev)) is not None:
            self[rev] = write._replace(is_in_doubt=True)
        return write

    def withdraw(self) -> None:
        """Marks all writes as withdrawn."""
        for rev, write in self.items():
            self[rev] = write._replace(is_withdrawn=True)

    def missed(self, rev: str) -> None:
        """Notes that a write did not match, or was done before others wrote."""
        if (write := self.get(rev)) is not None:
            self[rev] = write._replace(may_arrive=False)

    def done_by(self, stored: Stored | None) -> dict[str, Write]:
        """The writes that are done, judged by what is stored now."""
        if stored is None:
            return {rev: write for rev, write in self.items() if write.deletes}
        shown = revs_in(stored)
        return {
            rev: write
            for rev, write in self.items()
            if rev in shown or _is_done_later(rev, shown) or _is_made_anew(rev, write, stored)
        }

    def settled_by(self, stored: Stored | None) -> Settled:
        """What a read says about them that shows what a majority has."""
        done = self.done_by(stored)
        rev, last = next(reversed(done.items()), ("", None))
        is_shown = stored is not None and rev in revs_in(stored)
        if last is not None and (last.version is None or (last.deletes and not last.buries and is_shown)):
            last = None  # it only set a `rev`
        if last is not None and last.is_withdrawn:
            last = None  # it counts as another writer's
        open_ = {rev: write for rev, write in self.items() if rev not in done and write.may_arrive}
        left = Sent({rev: write for rev, write in open_.items() if _may_be_done(write, stored)})
        lost_insertion = any(write.base is None for rev, write in open_.items() if rev not in left)
        return Settled(last, left, lost_insertion)


def _is_done_later(rev: str, shown: set[str]) -> bool:
    """Whether a write is done that its writer sent after last recording what it had sent."""
    if not rev.endswith(LATER):
        return False
    return any(writer_of(one) == writer_of(rev) and number_of(one) > number_of(rev) for one in shown)


def _is_made_anew(rev: str, write: Write, stored: Stored) -> bool:
    """Whether the document to be deleted is gone, and this one was created since.

    Other services leave `rev` alone, and writers record each other's writes. So a document without a `rev` is new, and
    so is one that does not contain this writer's last write.
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
