"""Reads what an update needs before its handlers run: others' changes, and whether it was done before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from telegram.ext import Application

from ptb_mongo.errors import DocumentError, RefusedError, UnavailableError
from ptb_mongo.held_states import state_of
from ptb_mongo.persistence import MongoPersistence
from ptb_mongo.replica.document import Replica
from ptb_mongo.session import Session
from ptb_mongo.sync.marks import Mark
from ptb_mongo.sync.reader import DocumentCollection
from ptb_mongo.workers.saving import arrived, scopes_of
from ptb_mongo.workers.turn import Turn

__all__ = ["Refresh"]

_ROUNDS: Final = 3
_TURNS: Final = 8  # of the event loop, which an event needs to get from the socket to the scope


class Refresh:
    """Merges in others' changes.

    Args:
        application: The application.
        persistence: Its persistence.
        strict: Whether to read before each update; otherwise, reads only what the change stream has reported.
    """

    def __init__(
        self,
        application: Application[Any, Any, Any, Any, Any, Any],
        persistence: MongoPersistence[Any, Any, Any],
        *,
        strict: bool,
    ) -> None:
        self._application = application
        self._persistence = persistence
        self._strict = strict

    def reads(self, session: Session) -> bool:
        """Whether everything is read, stale or not."""
        return self._strict or session.must_read

    async def with_leases(
        self, turn: Turn, session: Session, leases: Mapping[DocumentCollection, Sequence[Any]]
    ) -> None:
        """Reads leases, followed by what they protect."""
        wanted = {**leases, **self._mark_of(turn, session), **self._outdated_data(turn, session, read=True)}
        await session.reader.refresh(wanted, every=True)

    def _mark_of(self, turn: Turn, session: Session) -> dict[DocumentCollection, list[Any]]:
        """The mark to read, which shows whether the update was done before; empty if that is known."""
        if session.marks is None or not turn.comes_again or not turn.number:
            return {}
        if turn.mark is None:
            turn.mark = Mark(turn.number)
            if not self.reads(session) and session.marks.is_surely_new(turn.number):
                turn.mark.seen(turn.mark.reading(), is_done=False)
        return {session.marks: [turn.mark]} if turn.mark.is_stale else {}

    def _outdated_data(self, turn: Turn, session: Session, *, read: bool) -> dict[DocumentCollection, list[Any]]:
        wanted: dict[DocumentCollection, list[Any]] = {}
        for scope, keys in scopes_of(turn, session, self._persistence.store_data):
            if replicas := [replica for key in keys if (replica := scope.outdated(key, read=read))]:
                wanted[scope] = replicas
        return wanted

    async def bring_in(self, turn: Turn, session: Session) -> None:
        """Merges in others' changes, without I/O if nothing is stale.

        While the change stream is delayed, because this machine or the server is busy, everything is read.

        Raises:
            UnavailableError: If they cannot be read, and what is loaded is not sufficient.
        """
        if turn.comes_again:
            await self._settle(turn, session)
        await self._read_outdated(turn, session)
        if session.marks is not None and turn.mark is not None:
            turn.is_done = turn.mark.is_done or session.marks.is_recent(turn.number)
        if turn.update is None:  # nobody else makes PTB create the objects that others' changes are merged into
            turn.lives += [self._application.user_data[user_id] for user_id in turn.user_ids]
            turn.lives += [self._application.chat_data[chat_id] for chat_id in turn.chat_ids]
        for scope, keys in scopes_of(turn, session, self._persistence.store_data):
            for key in keys:
                scope.catch_up(key)

    async def _read_outdated(self, turn: Turn, session: Session) -> None:
        if turn.is_read:
            return
        if not self.reads(session):
            await _let_events_in()
        if turn.mark is not None and self._strict:
            turn.mark.told()  # it was read before the lease was acquired
        read = self.reads(session) or turn.read or session.is_stream_delayed
        for _ in range(_ROUNDS):
            wanted = {**self._mark_of(turn, session), **self._outdated_data(turn, session, read=read)}
            if states := self._outdated_states(turn, session, read=read):
                wanted[session.scopes.conversations] = states
            if not wanted or not await self._read(wanted, session, read=read) or read:
                break  # otherwise, more documents may have become stale during the read

    async def _settle(self, turn: Turn, session: Session) -> None:
        """Waits until the outcome of earlier writes is known, so that handlers do not run again and again in an outage.

        Raises:
            UnavailableError: If it cannot be determined now.
        """
        doubtful = [
            (scope, replica)
            for scope, keys in scopes_of(turn, session, self._persistence.store_data)
            for key in keys
            if (replica := scope.replicas.get(key)) is not None and replica.is_in_doubt and not replica.is_refused
        ]
        for replica, ticket in [(replica, session.writer.submit(scope, replica)) for scope, replica in doubtful]:
            if ticket is None or not await arrived(ticket, replica):
                raise UnavailableError("it is not known yet whether an earlier update was saved")

    def _outdated_states(self, turn: Turn, session: Session, *, read: bool) -> list[Replica]:
        outdated = []
        for handler, key in turn.conversations:
            replica = session.scopes.conversations.outdated(handler.name or "", key, read=read)
            if replica is None:
                continue
            state = state_of(handler, key)
            if replica.is_loaded or state is not None:  # a state that was changed here and not saved yet stays
                try:
                    staged = session.scopes.conversations.stage_now(handler.name or "", key, state)
                    session.exchange.offer(session.scopes.conversations, staged)
                except DocumentError as error:
                    turn.errors.append(error)
            outdated.append(replica)
        return outdated

    async def _read(self, wanted: Mapping[DocumentCollection, list[Any]], session: Session, *, read: bool) -> bool:
        """Reads documents; returns whether that was possible."""
        try:
            await session.reader.refresh(wanted, every=read)
        except (UnavailableError, RefusedError) as error:
            if self._strict or not all(replica.is_loaded for replicas in wanted.values() for replica in replicas):
                raise UnavailableError(f"the changes of others cannot be read: {error}") from error
            return False
        return True


async def _let_events_in() -> None:
    """Lets events that have arrived, even if still in the sockets, be processed before the update."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
