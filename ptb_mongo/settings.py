"""The settings of a `MongoPersistence`, and what it knows about a `SharedApplication`."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType
from typing import Any, Final, Literal, NamedTuple, get_args

from telegram.ext import CallbackDataCache

from ptb_mongo.errors import ConfigurationError
from ptb_mongo.held_by_ptb import check_ptb
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.conflicts import check_on_conflict
from ptb_mongo.replica.schema import check_migrations
from ptb_mongo.scopes.conversations import States
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.exclusion import Exclusion
from ptb_mongo.scopes.jobs import LiveJobs
from ptb_mongo.types import EXPIRING, Exclude, Expire, Loading, Migrations, OnConflict, Refresh, ScopeName

__all__ = ["Settings", "Sharing"]

_SHORTEST: Final = dtm.timedelta(seconds=1)
_LONGEST: Final = dtm.timedelta(seconds=2**31 - 1)  # the most that a TTL index accepts


class Sharing(NamedTuple):
    """The application of one worker, which shares its data with other workers.

    Attributes:
        user_data, chat_data, bot_data: Return the object that handlers change now, by id; `None` if there is none.
        states: The conversation states that its handlers hold.
        callback_data: The callback data cache of its bot; `None` if there is none.
        lease_timeout: Seconds after which an unrenewed lease expires; `None` for no leases.
        once: Whether updates that are done are remembered.
        is_in_hand: Tells, of a document that is offered to be saved, whether an update that may be taken back is
            changing it, and will save it.
        is_drop_in_hand: Likewise, of a document that is to be deleted.
        dropped_buttons: Gives the ids of the keyboards that such updates have dropped.
        bot_data_passed_on: Called as PTB itself, and no handler, has asked the application for `bot_data`.
    """

    user_data: Callable[[int], Any]
    chat_data: Callable[[int], Any]
    bot_data: Callable[[int], Any]
    states: States
    callback_data: CallbackDataCache | None
    lease_timeout: float | None
    once: bool
    is_in_hand: Callable[[Collection[Any], Any], bool]
    is_drop_in_hand: Callable[[Literal["user_data", "chat_data"], DataScope[Any], int], bool]
    dropped_buttons: Callable[[], set[str]]
    bot_data_passed_on: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of `MongoPersistence`; see there."""

    client: object
    database: str
    new: Mapping[ScopeName, Callable[[], Any]]
    trusted: tuple[type | str | FunctionType, ...] = ()
    aliases: Mapping[str, type] = field(default_factory=dict)
    migrations: Migrations = field(default_factory=dict)
    loading: Loading = "eager"
    keep: int | None = None
    refresh: Refresh = "auto"
    on_conflict: OnConflict = "local"
    on_flush: bool = False
    collection_prefix: str = ""
    exclude: Exclude = field(default_factory=dict)
    expire: Expire = field(default_factory=dict)
    shutdown_timeout: float = 30.0
    spill_dir: Path | None = None
    sharing: Sharing | None = None
    jobs: LiveJobs | None = None

    def check(self) -> None:
        """Checks the arguments.

        Raises:
            ConfigurationError: If one cannot be used.
        """
        _one_of("loading", self.loading, get_args(Loading))
        _one_of("refresh", self.refresh, get_args(Refresh))
        self._check_keep()
        check_on_conflict(self.on_conflict)
        check_migrations(self.migrations)
        for scope, keys in self.exclude.items():
            _one_of("a key of exclude", scope, get_args(ScopeName))
            if isinstance(keys, str):  # would pass as a collection of its letters
                raise ConfigurationError(f"exclude takes a set of keys: {{{scope!r}: {{{keys!r}}}}}")
            Exclusion(keys)
        for name, period in self.expire.items():
            _one_of("a key of expire", name, EXPIRING)
            if not isinstance(period, dtm.timedelta) or not _SHORTEST <= period <= _LONGEST:
                raise ConfigurationError(f"expire takes a timedelta from a second to 68 years, not {period!r}")

    def _check_keep(self) -> None:
        if self.keep is None:
            return
        if type(self.keep) is not int or self.keep < 1:
            raise ConfigurationError(f"keep is a number of users, at least 1, not {self.keep!r}")
        if self.loading != "lazy":
            raise ConfigurationError('keep evicts users, so it needs loading="lazy"')
        if self.refresh == "off":
            raise ConfigurationError('keep cannot be used with refresh="off", which never reads a user again')
        check_ptb()

    def shared(self, sharing: Sharing) -> Settings:
        """These settings for one of several workers.

        Raises:
            ConfigurationError: If some of them cannot be used by workers.
        """
        if self.refresh == "off":
            raise ConfigurationError('a SharedApplication must see the changes of others: it cannot use refresh="off"')
        if self.refresh == "read" and sharing.lease_timeout is not None:
            raise ConfigurationError('refresh="read" cannot be used with exclusive=True, which needs the change stream')
        if self.on_flush:
            raise ConfigurationError("on_flush=True cannot be used with a SharedApplication, which saves each update")
        return replace(self, sharing=sharing)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
