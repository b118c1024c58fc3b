"""Forgets somebody in a running bot's memory, at once: pending changes, loaded data, conversations and timeouts."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from ptb_mongo.errors import DocumentError
from ptb_mongo.people.application import AnyApplication, Held, calling_application
from ptb_mongo.people.departing import Departures
from ptb_mongo.people.orders import Orders, order, ordered
from ptb_mongo.people.stored import Erased, counts, delete_all, find, lasting
from ptb_mongo.people.subject import KeyParts, Subject, unknown
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.callback_data import CallbackDataScope
from ptb_mongo.scopes.conversations import ConversationScope
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import Scopes
from ptb_mongo.session import Session
from ptb_mongo.sync.exchange import Exchange, Offer

__all__ = ["Forgetting"]

_NAMES: Final = 1000  # a stranger may have stored any number


class Forgetting:
    """Forgets people in one bot.

    Args:
        scopes: Returns the scopes, if there are any.
        session: Returns the open session, if there is one.
    """

    def __init__(self, scopes: Callable[[], Scopes | None], session: Callable[[], Session | None]) -> None:
        self._scopes = scopes
        self._session = session
        self._application: weakref.ref[AnyApplication] | None = None
        self._dropped: set[tuple[str, int]] = set()  # drops that PTB will still report, although they are done

    # -- which application ------------------------------------------------------------------------------

    def note_application(self, application: AnyApplication | None = None) -> None:
        """Notes the application that is served: the given one, or the caller."""
        found = application or calling_application()
        if found is not None:
            self._application = weakref.ref(found)

    @property
    def knows_application(self) -> bool:
        """Whether the served application is known."""
        return self._application is not None

    def _held(self) -> Held | None:
        application = None if self._application is None else self._application()
        return None if application is None else Held(application)

    def parts(self) -> KeyParts:
        """What is known of the keys of conversations, for a short time: all handlers are looked through once a name."""
        held = self._held()
        return unknown if held is None else lru_cache(_NAMES)(held.parts)

    def _parts(self, name: str) -> tuple[bool, bool] | None:
        return self.parts()(name)

    # -- forgetting -------------------------------------------------------------------------------------

    def follow(self, session: Session) -> None:
        """Carries out other processes' orders while a session is open."""
        session.orders = Orders(self.forget, session.vanishing)
        if session.seen is not None:
            session.seen.parts = self._parts
        if session.expiring:
            session.departures = Departures(session, self)

    def forget(self, subject: Subject) -> list[Offer]:
        """Forgets somebody, and stages the deletion of what is known to be stored.

        Returns:
            The offers to wait for.
        """
        scopes, session, held = self._scopes(), self._session(), self._held()
        if scopes is None:
            return []
        doomed: list[tuple[Any, Replica]] = []
        for name in subject.scopes:
            scope: DataScope[Any] = scopes.user_data if name == "user_data" else scopes.chat_data
            if (replica := scope.erased(subject.id)) is not None:
                doomed.append((scope, replica))
            if held is not None and held.data(name, subject.id) is not None:
                held.drop(name, subject.id)
                self._dropped.add((name, subject.id))
        if held is not None:
            held.end_conversations(subject)
            held.end_jobs(subject)
        parts = self.parts()
        for handler, key in [one for one in scopes.conversations.replicas if subject.owns_key(one[1], parts(one[0]))]:
            with contextlib.suppress(DocumentError):  # an unreadable document is deleted in the database
                if (ended := scopes.conversations.stage(handler, key, None)) is not None:
                    doomed.append((scopes.conversations, ended))
        if session is None:
            return []  # the next session writes what is unsaved
        offers = [session.exchange.offer(scope, replica) for scope, replica in doomed]
        return [offer for offer in offers if offer is not None]

    def drop(self, scope: DataScope[Any], name: str, key: int) -> Replica | None:
        """Handles PTB's drop of somebody's data, unless it was ours, which is done: then, newer data is kept."""
        if (name, key) not in self._dropped:
            return scope.drop(key)
        self._dropped.discard((name, key))
        held = self._held()
        live = None if held is None else held.data(name, key)
        return None if live is None else scope.stage_unless_empty(key, live)

    def release(self, name: str, collection: Collection[Any], keys: list[Any]) -> None:
        """Evicts documents that have expired; see `Departures`."""
        held = self._held()
        for key in keys:
            if isinstance(collection, DataScope):
                collection.erased(key)
                if held is not None and held.data(name, key) is not None:
                    held.drop(name, key)
                    self._dropped.add((name, key))
            elif isinstance(collection, ConversationScope) and held is not None:
                held.end_conversation(*key)
            if (replica := collection.replicas.get(key)) is not None:
                collection.forget(replica)
        if isinstance(collection, CallbackDataScope) and held is not None:
            held.drop_keyboards(set(keys))

    # -- erasing ----------------------------------------------------------------------------------------

    async def erase(self, session: Session, prefix: str, subject: Subject) -> Erased:
        """Forgets somebody here and in all other workers, and deletes what is stored.

        Raises:
            UnavailableError: If no server answers; call it again later.
        """
        parts = self.parts()
        # Search first, as other workers begin to delete as soon as they get the order.
        found = [one async for one in find(session.driver, prefix, subject, parts)]
        erased = Erased(found=counts(lasting(found)))
        given = order(subject)
        if isinstance(session.orders, Orders):
            session.orders.given.add(given["number"])
        async with ordered(session.driver, session.format_collection, given):
            await Exchange.outcomes(self.forget(subject))
            erased.note_left(await delete_all(session.driver, prefix, subject, found, parts))
        return erased
