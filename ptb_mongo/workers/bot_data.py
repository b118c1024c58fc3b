"""Whether an update must compare `bot_data` with what is stored: only if somebody has asked for it.

Handlers change `bot_data` in place, and it may be large. But they must ask the application for it, also by way of
`context.bot_data`. So an update compares it if it has asked for it itself, or if something other than an update, such
as a job, has asked since the last comparison. It is compared by a fingerprint, and encoded only if that differs.

Changes made without asking, through a variable of the program's own, are saved with PTB's next save pass.
"""

from __future__ import annotations

import marshal
from typing import Any, Final

from ptb_mongo.codec import Nature, dump
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.workers.turn import TURN, Turn

__all__ = ["BotData"]

_WITHOUT_REFERENCES: Final = 2  # the version of `marshal`'s format that depends only on the values


class BotData:
    """Who has asked for `bot_data`, and its state at the last comparison.

    Attributes:
        held: The object itself, for callers that do not change it.
    """

    def __init__(self) -> None:
        self.held: Any = None
        self._is_asked = self._was_asked = False  # by something other than an update
        self._compared: tuple[Any, tuple[int, ...], bytes | None] | None = None

    def asked(self) -> None:
        """Notes that somebody has asked for it, and may change it from now on."""
        if (turn := TURN.get()) is not None and not turn.is_over:
            turn.asked += 1
        else:
            self._was_asked, self._is_asked = self._is_asked, True

    def passed_on(self) -> None:
        """Notes that it was PTB that has just asked for it, to pass it to the persistence."""
        if (turn := TURN.get()) is None or turn.is_over:
            self._is_asked = self._was_asked
        elif not turn.is_passed_on:  # before all handlers; later ones may have the object from elsewhere
            turn.is_passed_on = True
            turn.asked -= 1

    def is_to_be_compared(self, turn: Turn) -> bool:
        """Whether it may have changed since the last comparison in a way that this update must save."""
        is_asked, self._is_asked = self._is_asked, False
        turn.takes_bot_data = turn.takes_bot_data or is_asked
        return turn.takes_bot_data or turn.has_asked

    def stage(self, scope: DataScope[Any], key: int, live: Any) -> None:
        """Stages the object if it has changed; for the errors see `DataScope.stage_live`."""
        now, is_seen = _fingerprint(scope, live), scope.is_seen(key, live)
        if now is not None and is_seen and self._compared is not None:
            last, before, target = self._compared
            # The target is no longer the same if others have changed it, or if an update was withdrawn.
            if last is live and before == now and target == scope.replicas[key].target:
                return
        self._compared = None
        scope.stage_live(key, live)
        if now is not None and is_seen and not scope.problems:
            self._compared = live, now, scope.replicas[key].target


def _fingerprint(scope: DataScope[Any], live: Any) -> tuple[int, ...] | None:
    """A fingerprint that differs if a dict has changed; `None` if there is none."""
    if type(live) is not dict:
        return None
    try:
        return tuple(_hash(scope, item) for item in live.items())
    except Exception:  # noqa: BLE001  (it cannot be stored either, which its save reports)
        return None


def _hash(scope: DataScope[Any], item: tuple[Any, Any]) -> int:
    """Distinguishes entries, as far as 64 bits can; `marshal` would write any object with a buffer as bytes."""
    if all(scope.codec.nature(one) is not Nature.OTHER for one in item):
        try:
            return hash(marshal.dumps(item, _WITHOUT_REFERENCES))
        except ValueError:  # a type that only the codec knows
            pass
    return hash(dump(scope.codec.encode({"item": list(item)})))
