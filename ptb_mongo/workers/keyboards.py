"""The objects behind buttons, before handlers run: taken from other workers, and removed if those dropped them."""

from __future__ import annotations

from typing import Any

from telegram import Bot, CallbackQuery, Update
from telegram.ext import CallbackDataCache, InvalidCallbackData

from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.scopes.callback_data import CallbackDataScope
from ptb_mongo.session import Session
from ptb_mongo.workers.callback_data import missing_keyboards, with_data, with_objects
from ptb_mongo.workers.touched_keyboards import TouchedKeyboards
from ptb_mongo.workers.turn import Turn

__all__ = ["Keyboards"]


class Keyboards:
    """The keyboards that updates refer to.

    Args:
        persistence: Tells whether they are stored.
        changed: Tells which keyboard a click came from; `None` without arbitrary callback data.
    """

    def __init__(self, persistence: MongoPersistence[Any, Any, Any], changed: TouchedKeyboards | None) -> None:
        self._persistence = persistence
        self._changed = changed

    async def bring_in(self, turn: Turn, session: Session, *, read: bool) -> None:
        """Puts the objects of buttons into an update, or stand-ins for those that another worker has dropped.

        Args:
            turn: The update.
            session: The open session.
            read: Whether to read a known keyboard, stale or not.

        Raises:
            UnavailableError: If they cannot be read.
        """
        scope, update = session.scopes.callback_data, turn.update
        if scope.live is None or not isinstance(update, Update) or not self._persistence.store_data.callback_data:
            return
        if missing := missing_keyboards(update):
            turn.update = update = await self._with_missing(update, missing, session, scope.live)
        elif update.callback_query is not None:
            update = await self._without_dropped(update, update.callback_query, session, scope.live.bot, read=read)
            turn.update = update
        if update.callback_query is not None:
            turn.keyboard = self._clicked(update.callback_query)

    def _clicked(self, query: CallbackQuery) -> str:
        return "" if self._changed is None else self._changed.of_query(query.id)

    @staticmethod
    async def _with_missing(update: Update, missing: list[str], session: Session, cache: CallbackDataCache) -> Update:
        scope = session.scopes.callback_data
        replicas = [scope.replica(uuid, uuid) for uuid in missing]
        try:
            await session.reader.refresh({scope: replicas}, every=True)
        except BaseException:
            for replica in replicas:
                scope.forget(replica)
            raise
        cache.load_persistence_data(scope.fetched(replicas))
        return with_objects(update, cache)

    async def _without_dropped(
        self, update: Update, query: CallbackQuery, session: Session, bot: Bot, *, read: bool
    ) -> Update:
        scope: CallbackDataScope = session.scopes.callback_data
        replica = scope.replicas.get(self._clicked(query))
        if replica is None or not (read or replica.is_stale) or replica.is_unsaved:
            return update
        await session.reader.refresh({scope: [replica]}, every=read)
        if not scope.is_gone(replica):
            return update
        scope.forget(replica)
        return with_data(update, query, InvalidCallbackData(), bot)
