"""`keep`: of the users and chats that are loaded, only so many stay; who has been silent longest is let go.

Somebody comes back as if never loaded: their next update reads the document. So nobody is let go of whom anything would
be lost, or who is in use: an update or job has their data as long as its context exists, which the context itself says
here, as PTB does not.
"""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from ptb_mongo.held_by_ptb import Kind, context_that_refreshes, held_of, let_go
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.steps import Steps

__all__ = ["Releases"]

_ATTEMPTS: Final = 4  # for each that comes: more go than come, so that the number sinks again after a save
_MORE: Final = 1000


def _own_references() -> int:
    """How many references a function that counts them makes itself: one less from Python 3.14 on."""
    live = object()
    return sys.getrefcount(live)


_REFERENCES: Final = _own_references() + 2  # besides, to an object: of the application, and of the replica


class _Use:
    """What contexts hold as long as they exist."""

    __slots__ = ("__weakref__",)


class Releases:
    """Which users, or chats, are loaded, those that were silent longest first.

    Args:
        kind: Whether they are users or chats.
        keep: How many stay.
    """

    def __init__(self, kind: Kind, keep: int) -> None:
        self._kind: Final = kind
        self._keep = keep
        self._loaded: OrderedDict[int, weakref.ref[_Use] | None] = OrderedDict()
        self._application: Any = None
        self._most_known = 2 * keep + _MORE

    def used(self, scope: DataScope[Any], key: int) -> None:
        """PTB refreshes somebody's data, for an update or a job; lets others go."""
        context = context_that_refreshes()
        if context is None:
            return  # nobody knows for how long it is used
        known = self._loaded.pop(key, None)
        use = None if known is None else known()
        if use is None:
            use = _Use()
        vars(context).setdefault("_ptb_mongo_uses", []).append(use)
        self._loaded[key] = weakref.ref(use)
        self._application = context.application
        self._let_go(scope)

    @asynccontextmanager
    async def loading(self, scope: DataScope[Any], application: Any, keys: Iterable[int]) -> AsyncIterator[None]:
        """Some are loaded without an update: others go before, in steps, and these are in use until they are there.

        Args:
            scope: Their data.
            application: Into which application.
            keys: The keys.
        """
        self._application = application
        wanted, use = list(dict.fromkeys(keys)), _Use()
        for key in wanted:
            known = self._loaded.pop(key, None)
            self._loaded[key] = known if known is not None and known() is not None else weakref.ref(use)
        with Steps() as steps:
            for _ in range(2 * max(0, len(self._loaded) - self._keep) + _MORE):
                if len(self._loaded) <= max(self._keep, len(wanted)):
                    break
                self._try_longest_silent(scope)
                await steps.pause()
        try:
            yield
        finally:
            for key in wanted:  # whose update was over meanwhile
                self._loaded.setdefault(key, None)
            del use

    def forget(self) -> None:
        """Another application may begin, which holds nothing yet."""
        self._loaded.clear()
        self._application = None

    def _let_go(self, scope: DataScope[Any]) -> None:
        if len(scope.replicas) > self._most_known:  # there are updates that no handler wanted
            scope.release_unused()
            self._most_known = 2 * len(scope.replicas) + _MORE
        for _ in range(min(len(self._loaded) - self._keep, _ATTEMPTS)):
            self._try_longest_silent(scope)

    def _try_longest_silent(self, scope: DataScope[Any]) -> None:
        key, use = self._loaded.popitem(last=False)
        if (use is not None and use() is not None) or not self._is_gone(scope, key):
            self._loaded[key] = use  # it is tried again after all others

    def _is_gone(self, scope: DataScope[Any], key: int) -> bool:
        if scope.is_unread(key):
            return self._is_unread_gone(scope, key)
        replica = scope.replicas[key]
        live = replica.live
        if live is None or sys.getrefcount(live) > _REFERENCES or not scope.may_be_released(replica):
            return False
        if not let_go(self._application, self._kind, key, live):
            return False
        scope.release(key)
        return True

    def _is_unread_gone(self, scope: DataScope[Any], key: int) -> bool:
        """The same for somebody whose document could not be read: PTB has made an object all the same."""
        replica, live = scope.replicas.get(key), held_of(self._application, self._kind, key)
        if live is not None:
            most = _REFERENCES if replica is not None and replica.live is live else _REFERENCES - 1
            if sys.getrefcount(live) > most or not scope.is_new(key, live):
                return False
            if not let_go(self._application, self._kind, key, live):
                return False
        if replica is not None:
            scope.release(key)
        return True
