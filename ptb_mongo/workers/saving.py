"""Saving one update's changes: all are handed to the writer at once, so that they are sent together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from telegram.ext import PersistenceInput

from ptb_mongo.errors import DocumentError, RefusedError
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.session import Session
from ptb_mongo.sync.exchange import Offer
from ptb_mongo.sync.tickets import Ticket
from ptb_mongo.workers.bot_data import BotData
from ptb_mongo.workers.touched_keyboards import TouchedKeyboards
from ptb_mongo.workers.turn import PersonalData, Turn, leases_of_conversation

Submit = Callable[[Collection[Any], Replica], "Ticket | None"]

__all__ = ["Kept", "acknowledged", "arrived", "offer", "scopes_of"]


class Kept(NamedTuple):
    """Which of an application's data is stored, and what may have changed.

    Attributes:
        kinds: The kinds of data to store.
        bot_data: Tells whether the bot's data may have changed.
        keyboards: The keyboards; `None` without arbitrary callback data.
        is_left: Tells whether what an update would save is left to another one, which has the document in hand.
        drop: Stages what an update has dropped.
    """

    kinds: PersistenceInput
    bot_data: BotData
    keyboards: TouchedKeyboards | None
    is_left: Callable[[Turn, Collection[Any], Any], bool]
    drop: Callable[[DataScope[Any], PersonalData, int], Replica | None]


def scopes_of(turn: Turn, session: Session, kinds: PersistenceInput) -> list[tuple[DataScope[Any], Iterable[int]]]:
    """The scopes to store, each with the ids that an update concerns."""
    scopes: list[tuple[DataScope[Any], Iterable[int]]] = []
    if kinds.user_data:
        scopes.append((session.scopes.user_data, turn.user_ids))
    if kinds.chat_data:
        scopes.append((session.scopes.chat_data, turn.chat_ids))
    if kinds.bot_data:
        scopes.append((session.scopes.bot_data, (session.bot_id,)))
    return scopes


def offer(turn: Turn, session: Session, kept: Kept, submit: Submit | None = None) -> list[Offer]:
    """Hands everything that an update may have changed to the writer, without waiting.

    Args:
        turn: The update; collects the errors.
        session: The open session.
        kept: What to store, and what may have changed.
        submit: Called with each document instead of the writer.
    """
    submit = submit or session.writer.submit
    offered = [*_offer_data(turn, session, kept, submit), *_offer_states(turn, session, kept, submit)]
    if kept.kinds.callback_data and kept.keyboards is not None:
        offered += _offer_keyboards(turn, session, kept.keyboards, submit)
    return offered


def _offer_data(turn: Turn, session: Session, kept: Kept, submit: Submit) -> list[Offer]:
    offered: list[Offer] = []
    for scope, keys in scopes_of(turn, session, kept.kinds):
        is_of_bot = scope is session.scopes.bot_data
        if is_of_bot and not kept.bot_data.is_to_be_compared(turn):
            continue
        is_of_users = scope is session.scopes.user_data
        name: PersonalData = "user_data" if is_of_users else "chat_data"
        for key in keys:
            if kept.is_left(turn, scope, key):
                continue
            live = scope.current(key) if scope.current is not None else None
            try:
                if not is_of_bot and (name, key) in turn.dropped:
                    _drop(turn, scope, kept, name, key)
                elif live is None:
                    pass  # it may have been dropped
                elif is_of_bot:
                    kept.bot_data.stage(scope, key, live)
                else:
                    scope.stage_live(key, live)
            except DocumentError as error:
                turn.errors.append(error)
                continue
            turn.errors += scope.problems
            scope.problems.clear()
            replica = scope.replicas.get(key)
            if replica is not None and turn.comes_again and _is_leased(turn, key, is_of_users):
                replica.leased()
            offered += _unsaved(submit, scope, replica)
    return offered


def _drop(turn: Turn, scope: DataScope[Any], kept: Kept, name: PersonalData, key: int) -> None:
    """Stages what a turn has dropped; PTB's own save pass, which tells of it only later, finds it done."""
    was_told = turn.dropped.pop((name, key))
    kept.drop(scope, name, key)
    if not was_told:
        scope.void(key)


def _is_leased(turn: Turn, key: int, is_user: bool) -> bool:
    """Whether a lease protects the data of a user or chat; a private chat's data is protected by its user's lease."""
    return f"user:{key}" in turn.leases or (not is_user and f"chat:{key}" in turn.leases)


def _offer_keyboards(turn: Turn, session: Session, keyboards: TouchedKeyboards, submit: Submit) -> list[Offer]:
    scope = session.scopes.callback_data
    mine, others, errors = keyboards.stage(scope, turn)
    turn.errors += errors
    for replica in others:
        _unsaved(session.writer.submit, scope, replica)
    return [one for replica in mine for one in _unsaved(submit, scope, replica)]


def _offer_states(turn: Turn, session: Session, kept: Kept, submit: Submit) -> list[Offer]:
    scope = session.scopes.conversations
    offered: list[Offer] = []
    for handler, key in turn.conversations:
        if kept.is_left(turn, scope, (handler.name or "", key)):
            continue
        try:
            staged = scope.stage_now(handler.name or "", key, None)
            replica = staged or scope.replicas.get((handler.name or "", key))
            if replica is not None and (handler, key) in turn.timeouts and not replica.is_unsaved:
                before, after = turn.timeouts[handler, key], handler.timeout_jobs.get(key)
                if after is not before:
                    scope.touch(replica)
        except DocumentError as error:
            turn.errors.append(error)
            continue
        needed = leases_of_conversation(handler, key, turn.user_ids)
        if replica is not None and turn.comes_again and turn.leases and needed <= turn.leases:
            replica.leased()
        offered += _unsaved(submit, scope, replica)
    return offered


def _unsaved(submit: Submit, scope: Collection[Any], replica: Replica | None) -> list[Offer]:
    """What to wait for until a document is written, even if another update has already submitted it."""
    if replica is None or not replica.is_unsaved or replica.is_refused:
        return []
    return [(replica, submit(scope, replica))]


async def acknowledged(turn: Turn, offered: Iterable[Offer]) -> bool:
    """Waits until the server has acknowledged everything, or is unreachable; returns whether it has.

    Args:
        turn: The update; collects the errors.
        offered: The documents handed to the writer.
    """
    every = True
    for replica, ticket in offered:
        if ticket is None:
            every = False
            continue
        try:
            every = await arrived(ticket, replica) and every
        except (DocumentError, RefusedError) as error:
            turn.errors.append(error)
            every = every and _is_stored(ticket, replica)
    return every


async def arrived(ticket: Ticket, replica: Replica) -> bool:
    """Waits until the server has answered, or is unreachable; returns whether it has stored a document.

    What it refuses because of the document's content does not count: that raises an error, and would be refused again.

    Raises:
        DocumentError: If the document was refused.
        RefusedError: If the server refuses everything for now.
    """
    await ticket.outcome(replica)
    return _is_stored(ticket, replica)


def _is_stored(ticket: Ticket, replica: Replica) -> bool:
    """Whether everything in a document that the server accepts is stored.

    An earlier batch may have stored it, and found out what is refused; this batch then leaves the refused part alone.
    """
    is_all_refused = replica.is_refused and not replica.may_arrive
    return ticket.acknowledged or not replica.is_unsaved or is_all_refused
