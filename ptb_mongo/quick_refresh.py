"""The fast path of nearly every refresh: nobody has changed anything, and there is nothing to await.

PTB refreshes three times for each update. This checks everything in one step, without a coroutine for each layer; the
layers check the same, and handle every case that is not the usual one.
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
"""Whether an object is current for an id; if so, it has noted that an update uses it."""


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
    """Makes the check whether a refresh has nothing to do.

    Args:
        lifecycle: The session's owner; once its session or settings change, every refresh is left to the layers.
        session: The session.
        stream: The session's change stream; while it is not following, every refresh is left to the layers.
        saver: Takes note of the objects that updates use; `None` if that is not needed.
        name: The scope's name.
        scope: The scope.
    """
    settings, replicas = lifecycle.settings, scope.replicas

    def is_current(key: int, live: Any) -> bool:
        try:
            one = replicas[key]  # takes half as long as `get`
        except KeyError:
            return False
        if (
            one.live is not live
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
