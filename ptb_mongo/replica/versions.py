"""What to store of a document, what is stored, and the writes in between that may have been done."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from ptb_mongo.codec import Parts
from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.values import Document

__all__ = [
    "LATER",
    "PARTIAL",
    "REMEMBERED_WRITERS",
    "Form",
    "InHand",
    "Refusal",
    "Stored",
    "Version",
    "Write",
    "number_of",
    "revs_beneath",
    "revs_in",
    "stored_in",
    "writer_of",
]

REMEMBERED_WRITERS: Final = 8
"""How many writers a document remembers, besides the last one."""

_LONGEST: Final = 64
"""The maximum length of a `rev`; ours are never longer, and a stranger's is ignored, as it could fill the document."""


class Version(NamedTuple):
    """A version of a document to be stored.

    Attributes:
        plain: The document; `None` to delete it.
        raw: The same, as bytes.
        touch: Whether it is written even if nothing has changed, so that others notice.
        yields: Whether it is old, so that the database wins conflicts.
        is_leased: Whether a lease protects the document: if another writer has written it nevertheless, the lease was
            lost, and this version is given up.
    """

    plain: Document | None
    raw: bytes | None
    touch: bool = False
    yields: bool = False
    is_leased: bool = False


class InHand(NamedTuple):
    """A document as a turn finds it at its beginning.

    Attributes:
        base: The stored version.
        pending: Others' changes that are not stored yet.
        withdrawals: How often changes of it had been withdrawn.
        rev: The `rev` of the stored version.
    """

    base: bytes | None
    pending: Version | None
    withdrawals: int
    rev: Any = None


class Refusal(NamedTuple):
    """Why a version was refused because of the document.

    Attributes:
        error: The reason.
        raw: The bytes of that version; `None` for a deletion.
        what: The changes that were refused, if they are known.
    """

    error: DocumentError
    raw: bytes | None
    what: bytes | None = None


class Stored(NamedTuple):
    """What is stored of a document.

    Attributes:
        rev: The last writer's id and the number of its write; `None` if no bot has written the document.
        revs: The same for the writers before that one, the latest first.
        body: The bytes of the fields that are ours.
    """

    rev: Any
    revs: tuple[str, ...]
    body: bytes


class Write(NamedTuple):
    """A write that may have been done.

    Attributes:
        version: What it stores; `None` for a write that only sets `rev`, so that earlier writes no longer match.
        base: The version that it expects to be stored.
        supposes: The `rev` that it expects.
        revs: The `revs` that the document has afterwards.
        buries: Whether a deletion leaves a tombstone, so that no earlier insertion can create the document again.
        is_exact: Whether the document then equals `version`, without any value in a different form.
        may_arrive: Whether it may still be done, as its answer is missing.
        is_in_doubt: Whether the next read must show what a majority has, as only that shows its outcome.
        is_withdrawn: Whether its version was withdrawn: if it is done after all, it is not the bot's change any more.
    """

    version: Version | None
    base: bytes | None
    supposes: Any
    revs: tuple[str, ...]
    buries: bool = False
    is_exact: bool = True
    may_arrive: bool = True
    is_in_doubt: bool = False
    is_withdrawn: bool = False

    @property
    def deletes(self) -> bool:
        """Whether it deletes the document."""
        return self.version is not None and self.version.plain is None


class Form(Protocol):
    """The form of a scope's documents."""

    def canonical(self, raw: bytes | None) -> Document:
        """Our part of a stored document, in the form that we store; for `None`, what a missing document represents."""

    def gone(self, plain: Document) -> Document:
        """The database's side of a merge if others have deleted a document and `plain` is to be stored."""

    def merged(
        self, document_id: Any, base: Document, local: Document, remote: Document, *, yields: bool = False
    ) -> Document:
        """Merges two versions; with `yields`, the remote one wins where otherwise the local one would."""

    def still_deletes(self, base: bytes | None, remote: bytes) -> bool:
        """Whether a pending deletion stays although others have written the document."""


PARTIAL: Final = "*"
"""The end of the `rev` of a write that stores only a part of its writer's changes."""

LATER: Final = "+"
"""Appended to the `rev` of a writer's last known write: any later write that stores all of its changes."""


def writer_of(rev: str) -> str:
    """The name of the writer in a `rev`."""
    return rev.partition(":")[0]


def number_of(rev: str) -> int:
    """The number in the `rev` of a complete write; -1 for a partial one, and for what is not a `rev` of ours."""
    number = rev.removesuffix(LATER).partition(":")[2]
    return int(number) if len(rev) <= _LONGEST and number.isascii() and number.isdigit() else -1


def revs_beneath(rev: str, last: Any, revs: tuple[str, ...]) -> tuple[str, ...]:
    """The `revs` of a document, the last writes of other writers, once a write is done.

    Args:
        rev: The `rev` of that write.
        last: The `rev` that the document had before.
        revs: The `revs` that it had before.
    """
    writer = writer_of(rev)
    if type(last) is not str or len(last) > _LONGEST or writer_of(last) == writer:
        return revs
    others = (one for one in revs if writer_of(one) not in {writer, writer_of(last)})
    return (last, *others)[:REMEMBERED_WRITERS]


def stored_in(parts: Parts) -> Stored:
    """What is stored, without `revs` that no bot writes, because they are too many or too long."""
    revs = tuple(rev for rev in parts.revs[:REMEMBERED_WRITERS] if len(rev) <= _LONGEST)
    return Stored(parts.rev, revs, parts.body)


def revs_in(stored: Stored) -> set[str]:
    """The `rev`s of the writes that a document shows as done."""
    return {stored.rev, *stored.revs} if type(stored.rev) is str else set(stored.revs)
