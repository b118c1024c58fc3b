"""`MongoPersistence` as PTB's tests get it: on a database of its own that is dropped after the test."""

from __future__ import annotations

from typing import Any, ClassVar

import telegram
from ptb_suite.databases import OwnDatabase
from telegram.ext import PersistenceInput

from ptb_mongo import MongoPersistence

__all__ = ["Ours"]


class Ours(MongoPersistence[Any, Any, Any]):
    """The base of all stand-ins.

    Attributes:
        own: The database.
    """

    made: ClassVar[list[Ours]] = []
    """Those of the current test."""

    def __init__(
        self,
        store_data: PersistenceInput | None = None,
        update_interval: float = 60,
        *,
        on_flush: bool = False,
        own: OwnDatabase | None = None,
    ) -> None:
        self.own = own or OwnDatabase()
        options: dict[str, Any] = {"store_data": store_data, "update_interval": update_interval, "on_flush": on_flush}
        super().__init__(**self.own.options(), **options)
        self.made.append(self)

    def set_bot(self, bot: telegram.Bot) -> None:
        super().set_bot(bot)
        self.own.bot = bot

    @property
    def has_stored(self) -> bool:
        """Whether it was given anything to store, be it deleted since."""
        return any(self.own.documents().values())

    async def close(self) -> None:
        """Closes what the test has left open."""
        if self.refresh_mode is not None:
            await MongoPersistence.flush(self)

    def check(self) -> None:
        """Fails the test if the database does not hold what it should."""
