"""One pass over the unsaved documents of a collection: what has failed, and which part of a document is next."""

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

_IN_VAIN: Final = 8  # more than `DIVIDED`, from which another kind of filter is tried


@dataclass(slots=True)
class Pass:
    """A pass over the unsaved documents of a collection.

    Attributes:
        collection: The collection.
        ticket: Gets the errors.
        is_answered: Whether the server has answered a write: there may turn out to be nothing to write.
        attempts: How often each document had been changed by others.
        refused: The documents that were refused because of their content.
        sent: The version of each document that was sent, whole or in parts: the pending one may have changed since.
        doubted: The documents that were refused while others were accepted, possibly because of their content.
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
        """Notes that the pending version is refused because of its content; it stays pending, and is reported once."""
        self._refuse(replica, error, replica.pending, None)

    def refuse_changes(self, replica: Replica, error: DocumentError) -> None:
        """Notes that the changes that were sent and not saved are refused; later changes are not."""
        sent = self.sent.get(replica, replica.pending)
        if sent is None or sent.plain is None:
            self._refuse(replica, error, sent, None)
            return
        try:
            paths = self.collection.changed_paths(replica.base, sent.plain)
            what = dump({"changes": [[path, *_at(sent.plain, path)] for path in paths]})
        except Exception:  # noqa: BLE001  (the change itself may be the problem)
            what = None
        self._refuse(replica, error, sent, what)

    def _refuse(self, replica: Replica, error: DocumentError, version: Version | None, what: bytes | None) -> None:
        self.refused.add(replica)
        error = error.located(self.collection.collection, replica.id)
        if replica.refused_for(error, version, what):
            self.ticket.errors[replica] = error

    # -- parts ------------------------------------------------------------------------------------------

    def version(self, replica: Replica) -> Version | None:
        """What to store next of a document: the pending version or a part of it; `None` to set only a `rev`."""
        pending, division = replica.pending, self._divisions.get(replica)
        if division is None or division.current is None or pending is None or pending.plain is None:
            self.sent[replica] = pending
            return pending
        if not division.current:
            return None
        plain = portion(self.collection.canonical(replica.base), pending.plain, division.current)
        return Version(plain, dump(plain), yields=pending.yields)

    def is_divided(self, replica: Replica) -> bool:
        """Whether `version` returns only a part of a document."""
        division = self._divisions.get(replica)
        return division is not None and division.current is not None

    def was_done(self, replica: Replica) -> None:
        """Notes that what `version` returned is stored."""
        if (division := self._divisions.get(replica)) is not None and division.current is not None:
            division.was_done()

    def divides(self, replica: Replica, error: DocumentError) -> bool:
        """Whether to try a document again after what `version` returned was refused because of its content.

        Then a part of it is tried, or all of it if it has changed since it was sent, which nobody has refused yet.

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
            division.refused.append(())  # the document as a whole
        return division.current is not None

    def refusal_of_parts(self, replica: Replica) -> DocumentError | None:
        """Why a document or parts of it were refused, once all other parts are stored; `None` if none was refused."""
        division, error = self._divisions.get(replica), self._reasons.get(replica)
        if error is None or (division is not None and (division.current is not None or not division.refused)):
            return None
        first, *others = division.refused if division is not None else [()]
        more = f" (and {len(others)} more of its changes are not saved)" if others else ""
        return DocumentError(f"{error.reason}{more}", path=error.path or ".".join(first))

    # -- writes that match nothing ----------------------------------------------------------------------

    def did_not_match(self, replica: Replica) -> None:
        """Notes that a document was not as its write expected."""
        self.attempts[replica] = self.attempts.get(replica, 0) + 1
        supposed = _supposed(replica)
        before, times = self._unmatched.get(replica, (None, 0))
        self._unmatched[replica] = supposed, times + 1 if before == supposed else 1

    def refusal(self, replica: Replica) -> DocumentError | None:
        """Why to give up on a document for now; `None` to go on.

        That is the case if reads show exactly what its writes keep expecting in vain: it contains something that no
        filter matches, for example a value of an obsolete type.
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
    """The value in a document at a path, in a list; an empty list if there is none."""
    for name in path:
        if type(document) is not dict or name not in document:
            return []
        document = document[name]
    return [document]
