"""What the scopes and the writer share: an entry for each document, its owner, and the outcome of a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.values import Document

__all__ = ["Claim", "Entry", "Owner", "Ticket"]


class Entry:
    """What is known of one document.

    Attributes:
        id: Its `_id`.
        base: The last version that the bot and the database agreed on; `None` where there is no document.
        stale: Whether the database may hold another version.
        touched: Whether it became stale again since the read that is under way has begun.
        dirty: Whether `wanted` waits to be written.
        touching: Whether it is written although nothing may have changed, so that others notice.
        wanted: The version to be written, relative to `base`; `None` to delete the document.
        plain: `wanted` before it became bytes.
        refused: The version that the server or the codec refused last, so that it is reported once.
        rev: The `rev` that we wrote last.
        sent: By `rev`, the versions that may or may not have reached the database since the last acknowledgement.
        since: When it became dirty, by the monotonic clock.
        busy: Set when the read or write that is under way has ended.
        begun: How many reads have begun.
        read: Which of them was the last to succeed.
    """

    __slots__ = (
        "base",
        "begun",
        "busy",
        "dirty",
        "id",
        "plain",
        "read",
        "refused",
        "rev",
        "sent",
        "since",
        "stale",
        "touched",
        "touching",
        "wanted",
    )

    def __init__(self, document_id: Any, *, base: bytes | None = None, stale: bool = False) -> None:
        self.id = document_id
        self.base = base
        self.stale = stale
        self.touched = False
        self.dirty = False
        self.touching = False
        self.wanted: bytes | None = None
        self.plain: Document | None = None
        self.refused: bytes | str | None = None
        self.rev: str | None = None
        self.sent: dict[str, bytes | None] = {}
        self.since = 0.0
        self.busy: asyncio.Event | None = None
        self.begun = self.read = 0

    @property
    def latest(self) -> bytes | None:
        """The version that is to be in the database: the one that waits to be written, if one does."""
        return self.wanted if self.dirty else self.base

    def mark_stale(self) -> None:
        """Notes that the database may hold another version."""
        self.stale = self.touched = True

    async def free(self) -> None:
        """Waits until no read or write of this document is under way."""
        while self.busy is not None:
            await self.busy.wait()


class Claim:
    """Documents that nobody else reads or writes until it ends."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._over = asyncio.Event()

    def add(self, entry: Entry) -> None:
        """Keeps a document, which must be free."""
        entry.busy = self._over
        self._entries.append(entry)

    def end(self) -> None:
        """Sets all free."""
        for entry in self._entries:
            entry.busy = None
        self._over.set()


class Owner(Protocol):
    """The side of a scope that the writer sees."""

    collection: str
    always: Sequence[str]
    """Fields that every update sets: without them a document that others have deleted would be made anew in part."""
    last: bool
    """Whether its documents are written when all others are: who dies between the two handles the update again."""
    ended: Document
    """What a document says before it is deleted, if it is to end together with what is written beside it."""

    async def reread(self, entries: Sequence[Entry]) -> None:
        """Reads stale documents, and brings what is wanted up to what was read."""

    def empty(self, plain: Document) -> Document:
        """What a document that does not exist is compared with."""

    def ours(self, body: Document) -> Document:
        """The part of a stored document that we write."""

    def canonical(self, plain: Any) -> Any:
        """The form that we would store for a value that somebody else has stored."""

    def refusal(self, entry: Entry) -> DocumentError | None:
        """Why a document may not be written; `None` if it may."""

    def deletable(self, entry: Entry) -> Document:
        """A filter under which a document may be deleted."""

    def written(self, entry: Entry) -> None:
        """Called when what was wanted is in the database."""


class _End(asyncio.Future[None]):
    """The end of a batch, which thousands of saves await; one that is cancelled does not cancel it for the others."""

    def cancel(self, msg: object | None = None) -> bool:  # noqa: ARG002
        return False


class Ticket:
    """The outcome of one batch, shared by all saves in it."""

    def __init__(self) -> None:
        self._end = _End()
        self.awaited: set[Entry] = set()
        self.errors: dict[Entry, DocumentError] = {}
        self.acknowledged = False
        """Whether the server has answered for all of it; else what is still dirty is tried again."""

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self._end.done()

    def end(self) -> None:
        """Lets everybody go on who waits."""
        if not self._end.done():
            self._end.set_result(None)

    async def outcome(self, entry: Entry) -> None:
        """Waits for the acknowledgement, or until the background has taken over.

        Raises:
            DocumentError: If the document was refused.
        """
        await self._end
        if error := self.errors.get(entry):
            raise error
