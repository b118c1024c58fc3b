"""Creates the scopes of one database: for the bot, and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ptb_mongo.codec import Codec
from ptb_mongo.health import Counters
from ptb_mongo.replica.collection import Collection
from ptb_mongo.scopes.callback_data import CallbackDataScope
from ptb_mongo.scopes.conversations import ConversationScope
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.jobs import JobScope
from ptb_mongo.types import Exclude, Migrations, OnConflict, ScopeName

__all__ = ["Scopes", "make_scopes"]


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of one database."""

    user_data: DataScope[Any]
    chat_data: DataScope[Any]
    bot_data: DataScope[Any]
    conversations: ConversationScope
    callback_data: CallbackDataScope
    jobs: JobScope

    @property
    def data(self) -> tuple[DataScope[Any], ...]:
        """The scopes with live objects."""
        return self.user_data, self.chat_data, self.bot_data

    @property
    def by_name(self) -> dict[str, Collection[Any]]:
        """All scopes, by their names without prefix."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def are_unsaved(self) -> bool:
        """Whether there is something to write."""
        return any(replica.is_unsaved for scope in self for replica in scope.replicas.in_use())

    def told_all(self) -> None:
        """Notes that documents may be written unnoticed from now on."""
        for scope in self if self.conversations.live is not None else self.followed:
            scope.told_all()

    @property
    def followed(self) -> tuple[Collection[Any], ...]:
        """The scopes of a plain bot that others may write to while it runs."""
        return self.data if self.jobs.live is None else (*self.data, self.jobs)

    def __iter__(self) -> Iterator[Collection[Any]]:
        # Without a queue that stores jobs, a collection of that name may belong to somebody else.
        jobs = (self.jobs,) if self.jobs.live is not None or self.jobs.replicas else ()
        return iter((*self.data, self.conversations, self.callback_data, *jobs))


def make_scopes(
    codec: Codec,
    *,
    prefix: str,
    new: Mapping[ScopeName, Callable[[], Any]],
    counters: Counters | None = None,
    exclude: Exclude | None = None,
    on_conflict: OnConflict = "local",
    migrations: Migrations | None = None,
) -> Scopes:
    """The scopes of one database.

    Args:
        codec: Encodes and decodes values.
        prefix: The beginning of the collections' names.
        new: Creates an empty object, for each scope with live objects.
        counters: Count what happens.
        exclude: Paths of values that are never stored.
        on_conflict: Decides conflicts.
        migrations: For each scope, functions for data that was stored before they were written.
    """
    counts = counters or Counters()

    def data_scope(name: ScopeName) -> DataScope[Any]:
        excluded = (exclude or {}).get(name, ())
        return DataScope(
            name,
            f"{prefix}{name}",
            codec,
            counts,
            new=new[name],
            excluded=excluded,
            on_conflict=on_conflict,
            migrations=(migrations or {}).get(name, ()),
        )

    return Scopes(
        user_data=data_scope("user_data"),
        chat_data=data_scope("chat_data"),
        bot_data=data_scope("bot_data"),
        conversations=ConversationScope(f"{prefix}conversations", codec, counts),
        callback_data=CallbackDataScope(f"{prefix}callback_data", codec, counts),
        jobs=JobScope(f"{prefix}jobs", codec, counts),
    )
