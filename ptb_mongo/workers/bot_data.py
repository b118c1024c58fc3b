"""Whether an update has to compare `bot_data` with what is stored: only if somebody has asked for it.

Handlers change `bot_data` in place, and it may be large. But they have to ask the application for it, also as
`context.bot_data`. So an update compares it if it has asked for it itself, or if something that is no update has asked
since the last comparison: a job, say. It is compared by a fingerprint, and encoded only if that differs.

What is changed without asking, through a variable of the program's own, is saved with PTB's next save pass.
"""

from __future__ import annotations

import marshal
from typing import Any, Final

from ptb_mongo.codec import Nature, dump
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.workers.turn import TURN, Turn

__all__ = ["BotData"]

_WITHOUT_REFERENCES: Final = 2  # the version of `marshal` that depends on nothing but the values


class BotData:
    """Who has asked for `bot_data`, and what it was when it was last compared.

    Attributes:
        held: The object itself, for whoever does not change it.
    """

    def __init__(self) -> None:
        self.held: Any = None
        self._is_asked = self._was_asked = False  # by what is no update
        self._compared: tuple[Any, tuple[int, ...], bytes | None] | None = None

    def asked(self) -> None:
        """Somebody has asked for it, and may change it from now on."""
        if (turn := TURN.get()) is not None and not turn.is_over:
            turn.asked += 1
        else:
            self._was_asked, self._is_asked = self._is_asked, True

    def passed_on(self) -> None:
        """It was PTB that has just asked for it, and passes it to the persistence."""
        if (turn := TURN.get()) is None or turn.is_over:
            self._is_asked = self._was_asked
        elif not turn.is_passed_on:  # before all handlers; later ones may have the object from elsewhere
            turn.is_passed_on = True
            turn.asked -= 1

    def is_to_be_compared(self, turn: Turn) -> bool:
        """Whether it may have changed since the last comparison, as far as an update answers for that."""
        is_asked, self._is_asked = self._is_asked, False
        turn.takes_bot_data = turn.takes_bot_data or is_asked
        return turn.takes_bot_data or turn.has_asked

    def stage(self, scope: DataScope[Any], key: int, live: Any) -> None:
        """Takes the object to be saved, if it has changed; for the errors see `DataScope.stage_live`."""
        now, is_seen = _fingerprint(scope, live), scope.is_seen(key, live)
        if now is not None and is_seen and self._compared is not None:
            last, before, target = self._compared
            # What is to be stored is no longer the same if others have changed it, or if an update was withdrawn.
            if last is live and before == now and target == scope.replicas[key].target:
                return
        self._compared = None
        scope.stage_live(key, live)
        if now is not None and is_seen and not scope.problems:
            self._compared = live, now, scope.replicas[key].target


def _fingerprint(scope: DataScope[Any], live: Any) -> tuple[int, ...] | None:
    """What differs if a dict has changed; `None` if that cannot be told."""
    if type(live) is not dict:
        return None
    try:
        return tuple(_hash(scope, item) for item in live.items())
    except Exception:  # noqa: BLE001  (then it cannot be stored either, which its save reports)
        return None


def _hash(scope: DataScope[Any], item: tuple[Any, Any]) -> int:
    """Tells an entry from another one, as far as 64 bits do; `marshal` writes all that shows its memory alike."""
    if all(scope.codec.nature(one) is not Nature.OTHER for one in item):
        try:
            return hash(marshal.dumps(item, _WITHOUT_REFERENCES))
        except ValueError:  # of a type that only the codec knows
            pass
    return hash(dump(scope.codec.encode({"item": list(item)})))
