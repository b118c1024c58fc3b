"""What a program tells the application: that it has changed, or dropped, the data of users and chats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.workers.in_hand import Hands
from ptb_mongo.workers.turn import TURN, PersonalData, Turn

__all__ = ["Told"]


class Told:
    """What one worker is told; it is saved with the turn in which it is told, or else with PTB's next save pass.

    A task that a handler has begun inherits its turn, and belongs to it until the handlers have run.

    Args:
        persistence: What is stored.
        hands: The documents that turns have in hand.
    """

    def __init__(self, persistence: MongoPersistence[Any, Any, Any], hands: Hands) -> None:
        self._persistence = persistence
        self._hands = hands

    @staticmethod
    def _now() -> Turn | None:
        turn = TURN.get()
        return turn if turn is not None and not turn.is_over and not turn.is_ending else None

    def _scope(self, kind: PersonalData) -> DataScope[Any] | None:
        scopes = self._persistence.scopes
        if scopes is None or not getattr(self._persistence.store_data, kind):
            return None
        return scopes.user_data if kind == "user_data" else scopes.chat_data

    def dropped(self, kind: PersonalData, key: int) -> None:
        """The data of a user or chat was dropped."""
        if (scope := self._scope(kind)) is not None:
            scope.not_void(key)
        if (turn := self._now()) is not None:
            self.changed(kind, [key])
            turn.dropped[kind, key] = False

    def changed(self, kind: PersonalData, keys: Iterable[int]) -> None:
        """The data of users or chats has changed."""
        turn, scope, keys = self._now(), self._scope(kind), list(keys)
        if turn is not None:
            (turn.user_ids if kind == "user_data" else turn.chat_ids).update(keys)
        if scope is not None:
            self._hands.changed(turn, scope, keys)
