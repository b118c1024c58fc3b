"""The way that nearly every refresh takes: nobody has changed anything, and there is nothing to await.

PTB asks three times for each update. What decides is checked here in one step, without a coroutine for each layer; the
layers themselves do the same, and whatever is not as usual is left to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ptb_mongo.lifecycle import Lifecycle
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.session import Session
from ptb_mongo.sync.change_stream import ChangeStream
from ptb_mongo.sync.saver_watch import EACH_TIME, SaverWatch

__all__ = ["Check", "never", "quick_refresh"]

Check = Callable[[int, Any], bool]
"""Whether an object is all that is known of an id; then it was noted that an update gets it."""


def never(_: int, __: Any) -> bool:
    """Leaves every refresh to the layers."""
    return False


def quick_refresh(
    lifecycle: Lifecycle,
    session: Session,
    stream: ChangeStream,
    saver: SaverWatch | None,
    name: str,
    scope: DataScope[Any],
) -> Check:
    """What tells whether a refresh has nothing to do.

    Args:
        lifecycle: Whose session it is; with another one, or with other settings, every refresh is left to the layers.
        session: The session.
        stream: What tells the session of others' changes; while it does not, every refresh is left to the layers.
        saver: What is told of the objects that updates get; `None` if nobody is.
        name: The scope's name.
        scope: Which data.
    """
    settings, replicas = lifecycle.settings, scope.replicas

    def is_current(key: int, live: Any) -> bool:
        one = replicas.get(key)
        if (
            one is None
            or one.live is not live
            or one.view is not None
            or one.handed_out
            or one.is_stale
            or not stream.is_following
            or lifecycle.session is not session
            or lifecycle.settings is not settings
        ):
            return False
        if saver is not None:
            saver.heartbeat.given[name, key] = live
        return True

    if saver is None or name != EACH_TIME:
        return is_current
    clock = asyncio.get_running_loop().time

    def is_bot_current(key: int, live: Any) -> bool:
        return (
            is_current(key, live) and not saver.is_alarmed and saver.heartbeat.gives_again((name, key), live, clock())
        )

    return is_bot_current
