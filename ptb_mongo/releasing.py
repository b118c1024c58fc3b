"""`keep`: only so many of the loaded users and chats stay in memory; those inactive longest are evicted.

An evicted user comes back as if never loaded: the next update reads the document. So nobody is evicted whose data is
unsaved or in use. An update or job uses the data as long as its context exists; as PTB does not tell us when it ends,
the context holds an object of ours.
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

_ATTEMPTS: Final = 4  # for each that comes: more leave than come, so that the number falls again after a save
_MORE: Final = 1000


def _own_references() -> int:
    """How many references the counting itself adds: one less from Python 3.14 on."""
    live = object()
    return sys.getrefcount(live)


_REFERENCES: Final = _own_references() + 2  # to an object, besides those: the application's and the replica's


class _Use:
    """A marker that contexts hold as long as they exist."""

    __slots__ = ("__weakref__",)


class Releases:
    """The users, or chats, that are loaded; those inactive longest come first.

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
        """Notes that PTB refreshes somebody's data, for an update or a job; evicts others."""
        context = context_that_refreshes()
        if context is None:
            return  # nobody knows how long it is in use
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
        """Wraps a load outside of an update: evicts others first, in steps, and marks these as in use until loaded.

        Args:
            scope: Their data.
            application: The application that they are loaded into.
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
            for key in wanted:  # those whose update has ended meanwhile
                self._loaded.setdefault(key, None)
            del use

    def forget(self) -> None:
        """Forgets everything, for another application, which holds nothing yet."""
        self._loaded.clear()
        self._application = None

    def _let_go(self, scope: DataScope[Any]) -> None:
        if len(scope.replicas) > self._most_known:  # some updates were not for any handler
            scope.release_unused()
            self._most_known = 2 * len(scope.replicas) + _MORE
        for _ in range(min(len(self._loaded) - self._keep, _ATTEMPTS)):
            self._try_longest_silent(scope)

    def _try_longest_silent(self, scope: DataScope[Any]) -> None:
        key, use = self._loaded.popitem(last=False)
        if (use is not None and use() is not None) or not self._is_gone(scope, key):
            self._loaded[key] = use  # tried again after all others

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
        """The same for a key whose document could not be read: PTB has created an object all the same."""
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
