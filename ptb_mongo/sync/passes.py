"""One pass over the unsaved documents of a collection: what was tried in vain, and which part of a document is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ptb_mongo.codec import dump
from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.division import Division, portion
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import Version
from ptb_mongo.sync.tickets import Ticket

__all__ = ["Pass"]

_IN_VAIN: Final = 8  # more than `DIVIDED`, as another kind of filter is tried from then on


@dataclass(slots=True)
class Pass:
    """A pass over the unsaved documents of a collection.

    Attributes:
        collection: The collection.
        ticket: Gets the errors.
        is_answered: Whether the server has answered to a write: there may be nothing to be written after all.
        attempts: How often each document was found to be changed by others.
        refused: The documents that were refused for their own sake.
        sent: Of which version each document's whole, or its parts, were sent: what is pending may have changed since.
        doubted: The documents that were refused while others were accepted: it may be for their own sake.
    """

    collection: Collection[Any]
    ticket: Ticket
    is_answered: bool = False
    attempts: dict[Replica, int] = field(default_factory=dict)
    refused: set[Replica] = field(default_factory=set)
    doubted: set[Replica] = field(default_factory=set)
    sent: dict[Replica, Version | None] = field(default_factory=dict)
    _reasons: dict[Replica, DocumentError] = field(default_factory=dict)
    _divisions: dict[Replica, Division] = field(default_factory=dict)
    _unmatched: dict[Replica, tuple[object, int]] = field(default_factory=dict)

    def refuse(self, replica: Replica, error: DocumentError) -> None:
        """What is pending of a document is refused for its own sake: it stays pending, and is reported once."""
        self._refuse(replica, error, replica.pending, None)

    def refuse_changes(self, replica: Replica, error: DocumentError) -> None:
        """What was sent of a document, and is not saved, is refused; what has changed since then is not."""
        sent = self.sent.get(replica, replica.pending)
        if sent is None or sent.plain is None:
            self._refuse(replica, error, sent, None)
            return
        try:
            paths = self.collection.changed_paths(replica.base, sent.plain)
            what = dump({"changes": [[path, *_at(sent.plain, path)] for path in paths]})
        except Exception:  # noqa: BLE001  (what has changed may be the very trouble)
            what = None
        self._refuse(replica, error, sent, what)

    def _refuse(self, replica: Replica, error: DocumentError, version: Version | None, what: bytes | None) -> None:
        self.refused.add(replica)
        error = error.located(self.collection.collection, replica.id)
        if replica.refused_for(error, version, what):
            self.ticket.errors[replica] = error

    # -- parts ------------------------------------------------------------------------------------------

    def version(self, replica: Replica) -> Version | None:
        """What is to be stored next of a document: what is pending, or a part of it; `None` if only a `rev` is."""
        pending, division = replica.pending, self._divisions.get(replica)
        if division is None or division.current is None or pending is None or pending.plain is None:
            self.sent[replica] = pending
            return pending
        if not division.current:
            return None
        plain = portion(self.collection.canonical(replica.base), pending.plain, division.current)
        return Version(plain, dump(plain), yields=pending.yields)

    def is_divided(self, replica: Replica) -> bool:
        """Whether what `version` says is a part of a document."""
        division = self._divisions.get(replica)
        return division is not None and division.current is not None

    def was_done(self, replica: Replica) -> None:
        """What `version` said is stored."""
        if (division := self._divisions.get(replica)) is not None and division.current is not None:
            division.was_done()

    def divides(self, replica: Replica, error: DocumentError) -> bool:
        """Whether a document is to be tried again, as what `version` said was refused for its own sake.

        That is, a part of it; or all of it, if it has changed since it was sent, as then nothing was said about it.

        Args:
            replica: The document.
            error: Why it was refused.
        """
        division, pending = self._divisions.get(replica), replica.pending
        is_part = division is not None and division.current is not None
        if not is_part and not _are_same(pending, self.sent.get(replica, pending)):
            return True
        self._reasons[replica] = error
        if division is not None and division.current is not None:
            division.was_refused()
        elif division is None and pending is not None and pending.plain is not None:
            paths = self.collection.changed_paths(replica.base, pending.plain)
            division = self._divisions[replica] = Division(paths, begins_empty=replica.may_arrive)
        if division is None:
            return False
        if division.current is None and not division.refused:
            division.refused.append(())  # all of it together
        return division.current is not None

    def refusal_of_parts(self, replica: Replica) -> DocumentError | None:
        """Why a document or some parts of it were refused, once all others are stored; `None` if none was."""
        division, error = self._divisions.get(replica), self._reasons.get(replica)
        if error is None or (division is not None and (division.current is not None or not division.refused)):
            return None
        first, *others = division.refused if division is not None else [()]
        more = f" (and {len(others)} more of its changes are not saved)" if others else ""
        return DocumentError(f"{error.reason}{more}", path=error.path or ".".join(first))

    # -- what matches nothing ---------------------------------------------------------------------------

    def did_not_match(self, replica: Replica) -> None:
        """A document is not what its write supposed."""
        self.attempts[replica] = self.attempts.get(replica, 0) + 1
        supposed = _supposed(replica)
        before, times = self._unmatched.get(replica, (None, 0))
        self._unmatched[replica] = supposed, times + 1 if before == supposed else 1

    def refusal(self, replica: Replica) -> DocumentError | None:
        """Why a document is left alone; `None` if it is not.

        It is, by what was read of it, what its writes have supposed in vain all the time: it holds something that no
        filter finds, of a type that is no longer in use, say.
        """
        supposed, times = self._unmatched.get(replica, (None, 0))
        if times < _IN_VAIN or replica.is_stale or supposed != _supposed(replica):
            return None
        return DocumentError(
            "the stored document holds something that MongoDB does not find by its own value, beside what has changed "
            "or as `rev`, so it cannot be written safely; remove what the bot has not written"
        )


def _are_same(one: Version | None, other: Version | None) -> bool:
    return one is other or (one is not None and other is not None and one.raw == other.raw)


def _supposed(replica: Replica) -> object:
    return repr(replica.rev), hash(replica.base)


def _at(document: Any, path: Sequence[str]) -> list[Any]:
    """What a document holds at a path; nothing if it holds nothing there."""
    for name in path:
        if type(document) is not dict or name not in document:
            return []
        document = document[name]
    return [document]
