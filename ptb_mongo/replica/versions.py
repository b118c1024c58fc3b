"""What is to be stored of a document, what is stored, and the writes that may have been done between the two."""

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
"""How many writers before the last one a document remembers."""

_LONGEST: Final = 64
"""Characters that a `rev` of ours never has; a longer one is not remembered: it could fill the document."""


class Version(NamedTuple):
    """A version of a document that is to be stored.

    Attributes:
        plain: The document; `None` to delete it.
        raw: The same as bytes.
        touch: Whether it is written even if nothing has changed, so that others notice.
        yields: Whether it is old, so that the database wins conflicts.
        is_leased: Whether a lease protects the document: if another writer has written it all the same, the lease was
            lost, and this version is given up.
    """

    plain: Document | None
    raw: bytes | None
    touch: bool = False
    yields: bool = False
    is_leased: bool = False


class InHand(NamedTuple):
    """A document as a turn finds it when it begins.

    Attributes:
        base: What is stored.
        pending: What others have changed, and is not stored yet.
        withdrawals: How often changes of it were taken back before.
    """

    base: bytes | None
    pending: Version | None
    withdrawals: int


class Refusal(NamedTuple):
    """Why a version was refused for the document's own sake.

    Attributes:
        error: Why.
        raw: The bytes of that version; `None` if the document was to be deleted.
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
        base: What it supposes to be stored.
        supposes: The `rev` that it supposes.
        revs: The `revs` that the document has after it.
        buries: Whether a deletion leaves a mark, so that no earlier insertion can make the document again.
        is_exact: Whether the document then equals `version`, and has no values in another form of the same.
        may_arrive: Whether it may still be done, as its answer is missing.
        is_in_doubt: Whether the next read must show what a majority has, as that alone tells what became of it.
        is_withdrawn: Whether what it stores was taken back: if it is done, that is no change of the bot's any more.
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
        """Our part of a stored document, in the form that we store; for `None`, what a missing document stands for."""

    def gone(self, plain: Document) -> Document:
        """What the database holds for a merge, where others have deleted a document and `plain` is to be stored."""

    def merged(
        self, document_id: Any, base: Document, local: Document, remote: Document, *, yields: bool = False
    ) -> Document:
        """Merges two versions; with `yields`, the remote one wins where the local one would."""

    def still_deletes(self, base: bytes | None, remote: bytes) -> bool:
        """Whether a document is still to be deleted although others have written it."""


PARTIAL: Final = "*"
"""The end of the `rev` of a write that does not store all that its writer had changed."""

LATER: Final = "+"
"""After the `rev` of the last write of a writer that is known: any later one that stores all that it had changed."""


def writer_of(rev: str) -> str:
    """The name of the writer in a `rev`."""
    return rev.partition(":")[0]


def number_of(rev: str) -> int:
    """The number of a whole write in its `rev`; -1 for a part, and for what is no `rev` of ours."""
    number = rev.removesuffix(LATER).partition(":")[2]
    return int(number) if len(rev) <= _LONGEST and number.isascii() and number.isdigit() else -1


def revs_beneath(rev: str, last: Any, revs: tuple[str, ...]) -> tuple[str, ...]:
    """The last writes of other writers in a document, once another write is done.

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
    """What is stored, without `revs` that no bot writes: too many, or too long."""
    revs = tuple(rev for rev in parts.revs[:REMEMBERED_WRITERS] if len(rev) <= _LONGEST)
    return Stored(parts.rev, revs, parts.body)


def revs_in(stored: Stored) -> set[str]:
    """The `rev`s of the writes that a document shows to be done."""
    return {stored.rev, *stored.revs} if type(stored.rev) is str else set(stored.revs)
