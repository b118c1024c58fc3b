"""The documents that a turn has in hand: their state when it begins, to which they are reverted if it fails.

Turns that overlap in one object, as those of a group may, cannot be told apart in it: so what one takes back, the
others lose, too. They find out before they save, and fail with it; all come again. Only where one of them does not come
again, as an update of PTB's own updater, nothing is taken back, and what is pending is saved.

Whatever else would save such a document leaves that to them, as it would store what is half done: PTB's save pass, a
task that a handler has left behind, a handler with `block=False`. What these have changed before is staged as the turn
begins, so that it is not taken back. What they change meanwhile cannot be told apart, and shares the turn's fate.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from telegram.ext import PersistenceInput

from ptb_mongo.errors import DocumentError, LeaseError
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import InHand
from ptb_mongo.scopes.conversations import ConversationScope
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.session import Session
from ptb_mongo.waiting import wait_at_most
from ptb_mongo.workers.saving import Kept, scopes_of
from ptb_mongo.workers.turn import PersonalData, Turn

__all__ = ["Hands"]

_LOGGER = get_logger(__name__)
_Place = tuple[Collection[Any], Any]


class Hands:
    """The documents that the turns of one worker have in hand."""

    def __init__(self) -> None:
        self._keeping: set[Turn] = set()  # turns that do not come again
        self._coming: set[Turn] = set()  # those that do
        self._in_hand: Counter[Replica] = Counter()  # of those
        self._going_on: Counter[Turn] = Counter()  # tasks that belong to them, and may outlive them
        self._changed: set[_Place] = set()  # by no turn, and not offered to be saved since
        self._left: dict[_Place, int | None] = {}  # what is left to turns, with the `withdrawals` before a known change
        self._of_bot: Collection[Any] | None = None

    def take(self, turn: Turn, session: Session, kinds: PersistenceInput) -> None:
        """A turn begins: what others have changed is merged in."""
        self._of_bot = session.scopes.bot_data
        if turn.comes_again and (self._changed or self._going_on):
            self._keep_what_is_done(turn, session, kinds)
        for replica in _replicas(turn, session, kinds):
            turn.found[replica] = replica.in_hand()
        if turn.comes_again:
            self._coming.add(turn)
            self._in_hand.update(turn.found.keys())
        else:
            self._keeping.add(turn)

    def _keep_what_is_done(self, turn: Turn, session: Session, kinds: PersistenceInput) -> None:
        """Stages what was changed by no turn, before a turn begins that may be taken back."""
        behind = {replica for other in self._going_on for replica in other.found}
        for scope, keys in scopes_of(turn, session, kinds):
            for key in keys:
                replica = scope.replicas.get(key)
                is_changed = (scope, key) in self._changed or (replica is not None and replica in behind)
                if is_changed and (replica is None or replica not in self._in_hand):
                    self._changed.discard((scope, key))
                    _save(session, scope, key)

    def changed(self, turn: Turn | None, scope: DataScope[Any], keys: Iterable[int]) -> None:
        """The program says that it has changed documents, in a turn or not; a turn takes them in hand."""
        if turn not in self._coming and turn not in self._keeping:
            turn = None  # it has not begun yet, or will not, as it was done before
        for key in keys:
            replica = scope.replicas.get(key)
            if turn is not None and replica is not None:
                self._join(turn, replica)
            elif turn is None and replica is not None and replica in self._in_hand:
                self._left[scope, key] = replica.withdrawals
            elif turn is None:
                self._changed.add((scope, key))

    def _join(self, turn: Turn, replica: Replica) -> None:
        """A turn takes one more document in hand; what others have half done of it is not to be saved with it."""
        if replica in turn.found:
            return
        turn.found[replica] = replica.in_hand()
        if turn.comes_again:
            turn.waits_for |= {other for other in self._coming if other is not turn and replica in other.found}
            self._in_hand[replica] += 1

    @staticmethod
    async def alone(turn: Turn, patience: float) -> None:
        """Waits for the end of the turns that had in hand what a turn has taken in hand later.

        Raises:
            LeaseError: If that takes too long: they may be waiting for this one.
        """
        for other in [*turn.waits_for]:
            try:
                await wait_at_most(patience, other.over.wait())
            except asyncio.TimeoutError as error:
                raise LeaseError(
                    f"another update that changes the same data was not done within {patience:g} s: it may be waiting "
                    "for this one"
                ) from error

    def goes_on(self, turn: Turn, by: int = 1) -> None:
        """A task that belongs to a turn and may outlive it begins, or ends."""
        self._going_on[turn] += by
        if self._going_on[turn] <= 0:
            del self._going_on[turn]

    def leave(self, turn: Turn, session: Session) -> None:
        """Notes the end of a turn."""
        for handler, key in turn.conversations:
            session.scopes.conversations.left(handler.name or "", key)
        self._keeping.discard(turn)
        if turn in self._coming:
            self._coming.discard(turn)
            for replica in turn.found:
                self._in_hand[replica] -= 1
                if self._in_hand[replica] <= 0:
                    del self._in_hand[replica]
        for place in [one for one in self._left if not self._has(*one)] if self._left else ():
            self._save_left(session, place)

    def _save_left(self, session: Session, place: _Place) -> None:
        """Saves what was left to turns: one of them has saved it, unless it had nothing to do."""
        (collection, key), before = place, self._left.pop(place)
        replica = collection.replicas.get(key)
        if before is not None and replica is not None and replica.withdrawals != before:
            _LOGGER.error(
                "Lost: what was changed in %s, _id %r, outside of an update, while one was handled that has failed; "
                "use application.turn() for such changes",
                collection.collection,
                replica.id,
            )
        _save(session, collection, key)

    def _has(self, collection: Collection[Any], key: Any) -> bool:
        """Whether a turn that comes again has a document in hand; the bot's own data only if it has asked for it."""
        replica = collection.replicas.get(key) if self._in_hand else None
        if replica is None or replica not in self._in_hand:
            return False
        return collection is not self._of_bot or any(turn.has_asked for turn in self._coming)

    def is_left(self, collection: Collection[Any], key: Any) -> bool:
        """Whether a document that others offer to be saved is left to a turn that comes again, as that has it in hand.

        What is half done may have to be taken back, and what a turn has changed that has lost its lease must not be
        merged with what others have saved since.
        """
        self._changed.discard((collection, key))
        if not self._has(collection, key):
            return False
        self._left.setdefault((collection, key), None)
        return True

    def is_left_by(self, turn: Turn, collection: Collection[Any], key: Any) -> bool:
        """The same for what a turn would save: what a task has changed that has outlived it."""
        if not turn.is_over or not self._has(collection, key):
            return False
        self._left[collection, key] = collection.replicas[key].withdrawals
        return True

    def is_drop_left(self, kind: PersonalData, scope: DataScope[Any], key: int) -> bool:
        """Whether a drop that PTB tells of is left to the turn that has dropped the data, and may be taken back."""
        self._changed.discard((scope, key))
        for turn in (*self._coming, *self._keeping):
            if (kind, key) in turn.dropped:
                if turn.comes_again:
                    turn.dropped[kind, key] = True
                    return True
                del turn.dropped[kind, key]
        return scope.is_void(key) and self.is_left(scope, key)

    @staticmethod
    def were_emptied(turn: Turn, session: Session) -> bool:
        """Whether something that a turn has in hand was withdrawn since it began."""
        return any(
            replica.withdrawals != found.withdrawals and _has_in_hand(turn, replica, session)
            for replica, found in turn.found.items()
        )

    def _is_kept(self, replica: Replica, session: Session) -> bool:
        """Whether a turn that will not be repeated has a document in hand."""
        return any(replica in turn.found and _has_in_hand(turn, replica, session) for turn in self._keeping)

    def withdraw(self, turn: Turn, session: Session, kept: Kept) -> None:
        """Withdraws the changes of a turn that has failed and will be repeated."""
        scopes = session.scopes
        for (kind, key), was_told in turn.dropped.items():
            if not was_told:
                (scopes.user_data if kind == "user_data" else scopes.chat_data).void(key)
        turn.dropped.clear()
        for scope, keys in scopes_of(turn, session, kept.kinds):
            for key in keys:
                replica = scope.replica(key, key)
                if _has_in_hand(turn, replica, session) and not self._is_kept(replica, session):
                    scope.withdraw(key, turn.found.get(replica, _unknown(replica)))
                _see_to_it(session, scope, replica)
        for handler, conversation in turn.conversations:
            state = scopes.conversations.replicas.get((handler.name or "", conversation))
            if state is not None and state.is_loaded and not self._is_kept(state, session):
                scopes.conversations.withdraw(state, turn.found.get(state, _unknown(state)))
                _see_to_it(session, scopes.conversations, state)
        if kept.keyboards is not None:
            for keyboard in kept.keyboards.withdraw(scopes.callback_data, turn):
                _see_to_it(session, scopes.callback_data, keyboard)


def _replicas(turn: Turn, session: Session, kinds: PersistenceInput) -> Iterator[Replica]:
    for scope, keys in scopes_of(turn, session, kinds):
        for key in keys:
            yield scope.replica(key, key)
    for handler, conversation in turn.conversations:
        yield session.scopes.conversations.of(handler.name or "", conversation)


def _has_in_hand(turn: Turn, replica: Replica, session: Session) -> bool:
    """Whether a turn may have changed a document that it found; `bot_data` only if it has asked for it."""
    return turn.has_asked or replica is not session.scopes.bot_data.replicas.get(session.bot_id)


def _unknown(replica: Replica) -> InHand:
    """The state of a document that a turn took in hand only later, and has changed since."""
    return InHand(replica.base, None, replica.withdrawals)


def _save(session: Session, collection: Collection[Any], key: Any) -> None:
    """Hands a document to the writer as it is now, if it has changed."""
    errors: list[DocumentError] = []
    staged: Replica | None = None
    try:
        if isinstance(collection, DataScope):
            live = collection.current(key) if collection.current is not None else None
            staged = None if live is None else collection.stage_live(key, live)
            errors, collection.problems = collection.problems, []
        elif isinstance(collection, ConversationScope):
            staged = collection.stage_now(key[0], key[1], None)
        session.exchange.offer(collection, staged)
    except DocumentError as error:
        errors.append(error)
    for one in errors:
        _LOGGER.error("Not saved: %s", one)


def _see_to_it(session: Session, scope: Collection[Any], replica: Replica) -> None:
    """Submits what is left to write: what was pending before, or what keeps an earlier write from arriving."""
    if replica.is_unsaved:
        session.writer.submit(scope, replica)
