"""The documents that a turn has in hand: their state when it begins, to which they are reverted if it fails.

Turns that overlap in one object, such as those of a group, cannot be told apart in it: what one withdraws, the others
lose, too. They notice before they save, and fail as well; all of them are repeated. But if one of them will not be
repeated, such as an update of PTB's own updater, nothing is withdrawn, and what is pending is saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from telegram.ext import PersistenceInput

from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.versions import InHand
from ptb_mongo.session import Session
from ptb_mongo.workers.saving import Kept, scopes_of
from ptb_mongo.workers.turn import Turn

__all__ = ["Hands"]


class Hands:
    """The documents that the turns of one worker have in hand."""

    def __init__(self) -> None:
        self._keeping: set[Turn] = set()  # turns that will not be repeated
        self._in_hand: Counter[Replica] = Counter()  # the documents of turns that will

    def take(self, turn: Turn, session: Session, kinds: PersistenceInput) -> None:
        """Notes the documents of a turn that begins, after others' changes were merged."""
        for replica in _replicas(turn, session, kinds):
            turn.found[replica] = replica.in_hand()
        if turn.comes_again:
            self._in_hand.update(turn.found.keys())
        else:
            self._keeping.add(turn)

    def leave(self, turn: Turn, session: Session) -> None:
        """Notes the end of a turn."""
        for handler, key in turn.conversations:
            session.scopes.conversations.left(handler.name or "", key)
        self._keeping.discard(turn)
        if turn.comes_again:
            for replica in turn.found:
                self._in_hand[replica] -= 1
                if self._in_hand[replica] <= 0:
                    del self._in_hand[replica]

    def has(self, replica: Replica) -> bool:
        """Whether a turn that can be repeated has a document in hand.

        Then nobody else may save it: unfinished changes may have to be withdrawn, and the changes of a turn that has
        lost its lease must not be merged with what others have saved since.
        """
        return replica in self._in_hand

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
        for scope, keys in scopes_of(turn, session, kept.kinds):
            for key in keys:
                replica = scope.replica(key, key)
                if _has_in_hand(turn, replica, session) and not self._is_kept(replica, session):
                    if turn.everything and scope is not scopes.bot_data:
                        scope.void(key)
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


def _see_to_it(session: Session, scope: Collection[Any], replica: Replica) -> None:
    """Submits what is left to write: what was pending before, or what keeps an earlier write from arriving."""
    if replica.is_unsaved:
        session.writer.submit(scope, replica)
