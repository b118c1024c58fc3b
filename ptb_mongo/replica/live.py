"""The state of a document with a live object: the version on which that object, and each copy of it, is based."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from ptb_mongo.codec import BURIED, TAG, dump
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.schema import SCHEMA, without_schema
from ptb_mongo.replica.values import MISSING, Document, Path, common, fields_inside, same, value_at
from ptb_mongo.replica.versions import Form, Stored, Version

__all__ = ["LiveReplica"]

_REMEMBERED: Final = 4
_HandedOut = tuple[Any, "bytes | None"]
_NOTHING: Final[_HandedOut] = (None, None)  # no object, based on nothing
_WITH_ELEMENTS: Final = ("list", "set", "frozenset", "deque")


class _Bring(NamedTuple):
    """A merge into the live object: the version that it was based on before, and the others' version."""

    base: Document
    remote: Document

    def is_missing_in(self, copy: Document, live: Document | None) -> bool:
        """Whether a copy of the object was made before this merge, judged by its contents.

        Such a copy contains none of the others' changes. It contains something of the earlier version, or differs where
        the live object has the others' value.
        """
        is_older = False
        for path, before, after in _leaves((), self.base, self.remote):
            here = value_at(copy, path)
            if _is_shown(before, after, here):
                return False
            is_older = is_older or _is_shown(after, before, here) or same(value_at(live or {}, path), after)
        return is_older


class LiveReplica(Replica):
    """The state of the data of one user, chat or bot.

    Attributes:
        live: The object that handlers change; `None` until it has been seen.
        handed_out: The objects that were loaded since the live one was seen, the newest last, each with the version on
            which it is based: PTB may use one of them instead, though not the newest if somebody else has loaded it.
        is_replaced: Whether PTB has created a new object since the last save, as the old one was dropped.
        view: The version that the live object is based on, if it lags behind the target; otherwise `None`.
    """

    __slots__ = ("_brings", "_taken", "handed_out", "is_replaced", "live", "view")

    def __init__(self, document_id: Any, stored: Stored | None = None, *, known: bool = True) -> None:
        super().__init__(document_id, stored, known=known)
        self.live: Any = None
        self.handed_out: tuple[_HandedOut, ...] = ()
        self.is_replaced = False
        # An object that PTB creates itself, because we gave it none for a stored document, is based on nothing.
        self.view: bytes | None = None if stored is None or stored.body == BURIED else BURIED
        self._brings: list[_Bring] = []
        self._taken: tuple[bytes, bytes] | None = None  # the fingerprint of the last copy, and its encoded form

    @property
    def is_settled(self) -> bool:
        """Whether the live object is based on the stored version, and no write or read of it is in progress."""
        return self.live is not None and self.view is None and self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether the stored version was read, and no write or read is in progress."""
        return self.is_loaded and not self.is_being_read and not self._is_changing

    @property
    def is_given_up(self) -> bool:
        """Whether no write is in progress, nor a read that would make it current, as the last one has failed."""
        is_awaited = self.is_being_read and self._reading_at > self._told_at
        return not is_awaited and not self._is_changing

    @property
    def _is_changing(self) -> bool:
        return bool(self.is_unsaved or self.sent or self.is_insertion_in_doubt or self.handed_out)

    # -- which object -----------------------------------------------------------------------------------

    def is_current(self, live: Any) -> bool:
        """Whether an object is the one that handlers change, and contains all that is known of the document."""
        return self.live is live and self.view is None and not self.handed_out and self._told_at <= self._read_at

    def attached(self, live: Any, *, is_again: bool) -> None:
        """Notes that an object was created from the target.

        Args:
            live: The object.
            is_again: Whether everything had been loaded before: then PTB uses the object, or the caller only reads it.
        """
        self._take_up()
        if is_again:
            self._hand_out((live, self.target))
        else:
            self._watch(live, None)

    def left(self) -> None:
        """Notes that the application has ended: another one with the same persistence begins with empty objects."""
        self._take_up()
        if _handed_out_as(None, self.handed_out) is None:
            self._hand_out(_NOTHING)

    def _hand_out(self, one: _HandedOut) -> None:
        self.handed_out = (*self.handed_out[1 - _REMEMBERED :], one)

    def seen(self, live: Any, form: Form, plain: Callable[[], Document | None]) -> None:
        """Notes the object that handlers change; if it is not the same as before, PTB has dropped the earlier one.

        Args:
            live: The object.
            form: The form of the document.
            plain: Returns what the object encodes to; `None` if it cannot be encoded.
        """
        if self.live is not live:
            self._take_up()
        handed_out, self.handed_out = self.handed_out, ()
        if self.live is live:
            return
        found = _handed_out_as(live, handed_out) or _handed_out_as(None, handed_out)
        if found is _NOTHING and self.live is None:
            # It may belong to a new application, or to one that continues and of whose object we have seen only copies.
            # So what it shares with the known version is no change, and what it lacks was not removed.
            known = self.target_plain(form) if self.view is None else form.canonical(self.view)
            both = common(known, plain() or {})
            self._watch(live, dump({**both, SCHEMA: known[SCHEMA]} if SCHEMA in known else both))
        elif found is not None:
            self._watch(live, None if found[1] == self.target else found[1] or BURIED)
        elif self.live is not None:
            self.replaced_by(live)
        else:
            self.live = live  # copies of it may have been saved before; `view` says what it is based on

    def replaced_by(self, live: Any) -> None:
        """Notes that PTB has replaced the object by this new one, or, if it is `None`, has dropped that as well."""
        self._take_up()
        self.is_replaced = live is not None
        if live is not None:
            self.live, self.handed_out = live, ()

    def _watch(self, live: Any, view: bytes | None) -> None:
        self.live = live
        self.view = view
        self.is_replaced = False
        self._brings = []

    def dropped(self) -> bool:
        """Stages a deletion of the document; returns whether that needs a write."""
        self._take_up()
        self._watch(self.live if self.is_replaced else None, None)
        self.handed_out = ()
        return self.staged(Version(None, None))

    def undone(self, live: Any, plain: bytes | None) -> None:
        """Notes that handlers' changes in the object were withdrawn: it must catch up with the target, keeping nothing.

        Args:
            live: The object; `None` if PTB has dropped it.
            plain: What it encodes to; `None` if it cannot be encoded.
        """
        self.live, self.is_replaced = live, False
        if live is None:
            self.view = None if self.target in {None, BURIED} else BURIED
        elif plain is not None:
            self.view = plain

    # -- what the bot has changed -----------------------------------------------------------------------

    def staged_copy(
        self,
        plain: Document,
        form: Form,
        live_now: Callable[[], Document | None],
        version_of: Callable[[Document], Version | None],
    ) -> bool:
        """Stages the bot's object, or a copy of it.

        A copy that was made before a merge into the object is relative to the version on which the object was based
        then, however late it arrives.

        Args:
            plain: What it encodes to.
            form: The form of the document.
            live_now: Returns what the live object encodes to now; `None` if it cannot be encoded.
            version_of: Returns the version to store; returns `None`, or raises an error, if it is refused.

        Returns:
            Whether there is something to write.
        """
        missing = self._missing_in(plain, live_now)
        wanted = plain
        if missing is not None:
            wanted = form.merged(self.id, missing.base, plain, self.target_plain(form))
        elif self.view is not None:
            wanted = form.merged(self.id, form.canonical(self.view), plain, self.target_plain(form))
        version = version_of(wanted)
        if version is None:
            return False
        self.is_replaced = False
        if missing is None:
            self._brings = []
            if self.view is not None:
                self.view = dump(plain)
        return self.staged(version)

    @property
    def may_be_offered(self) -> bool:
        """Whether a copy of the object is certainly based on the target, and so need not be encoded at once."""
        return self.view is None and not (self._brings or self.handed_out or self.is_replaced)

    def was_taken(self, fingerprint: bytes) -> None:
        """Notes the fingerprint of the copy that was just staged; its encoded form depends only on that."""
        target = self.target
        self._taken = None if target is None or target == BURIED else (fingerprint, target)

    def is_unchanged(self, fingerprint: bytes) -> bool:
        """Whether a copy equals the last one that was staged, and nothing has happened since except its save."""
        taken = self._taken
        if taken is None or taken[0] != fingerprint or self.is_offered or not self.may_be_offered:
            return False
        return self.target is taken[1]

    def _missing_in(self, copy: Document, live_now: Callable[[], Document | None]) -> _Bring | None:
        """The earliest merge into the live object that a copy of it does not contain."""
        if not self._brings:
            return None
        live = live_now()
        if live is not None and same(live, copy):
            return None
        found = None
        for bring in reversed(self._brings):
            if not bring.is_missing_in(copy, live):
                break
            found = bring
        return found

    # -- what others have changed -----------------------------------------------------------------------

    def target_plain(self, form: Form) -> Document:
        """The target as a plain document."""
        if self.pending is not None:
            return self.pending.plain if self.pending.plain is not None else form.canonical(None)
        return form.canonical(self.base)

    def brought(self, before: Document, form: Form) -> Document:
        """Notes that the live object catches up with the target.

        Args:
            before: What it encodes to now.
            form: The form of the document.

        Returns:
            What it must encode to.
        """
        base, remote = form.canonical(self.view), self.target_plain(form)
        self.view = None
        bring = _Bring(without_schema(base), without_schema(remote))  # the number does not show when a copy was made
        self._brings = [*self._brings[1 - _REMEMBERED :], bring]
        return form.merged(self.id, base, before, remote)

    def not_brought(self, view: bytes | None) -> None:
        """Notes that the live object could not catch up: it is still based on the earlier version."""
        self.view = view

    def _retarget(self, before: bytes | None) -> None:
        if self.view is None:
            self.view = BURIED if before is None else before  # `BURIED` stands for no data


def _handed_out_as(live: Any, handed_out: tuple[_HandedOut, ...]) -> _HandedOut | None:
    """The entry of an object among those that were handed out; `None` stands for no object."""
    return next((one for one in handed_out if one[0] is live), None)


def _leaves(path: Path, before: Any, after: Any) -> Iterator[tuple[Path, Any, Any]]:
    """The innermost values that differ between two documents, with their paths; a list or a set is one value."""
    if same(before, after):
        return
    nothing: tuple[Path, Document] = ((), {})
    one = nothing if before is MISSING else fields_inside(before)
    other = nothing if after is MISSING else fields_inside(after)
    # If the inside is the same, something next to it has changed, such as the attributes of a subclass.
    if one is not None and other is not None and (one[1] or other[1]) and not same(one[1], other[1]):
        inner = one[0] or other[0]
        for key in one[1].keys() | other[1].keys():
            yield from _leaves((*path, *inner, key), one[1].get(key, MISSING), other[1].get(key, MISSING))
        return
    if any(type(value) is dict and value.get(TAG) in _WITH_ELEMENTS for value in (before, after)):
        path = (*path, "v")
        before, after = (value.get("v", MISSING) if type(value) is dict else MISSING for value in (before, after))
    yield path, before, after


def _is_shown(before: Any, after: Any, here: Any) -> bool:
    """Whether a value shows a change.

    A list shows it by an element that was added, or by the lack of one that was removed; any other value, as a whole.
    """
    if any(type(value) is list for value in (before, after)) and all(
        type(value) is list or value is MISSING for value in (before, after, here)
    ):
        old, new, now = (Counter(dump({"": item}) for item in value or ()) for value in (before, after, here))
        return any(now[one] > old[one] for one in new - old) or any(now[one] < old[one] for one in old - new)
    return same(after, here)
