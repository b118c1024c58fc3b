"""Saving what one update has changed: all is handed to the writer at once, so that it goes out together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from telegram.ext import PersistenceInput

from ptb_mongo.entries import Entry, Ticket
from ptb_mongo.errors import DocumentError
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.documents import Documents
from ptb_mongo.session import Session
from ptb_mongo.workers.turn import Turn

__all__ = ["acknowledged", "offer", "scopes_of"]

Offered = tuple[Entry, "Ticket | None"]


def scopes_of(turn: Turn, store: Session, kinds: PersistenceInput) -> list[tuple[DataScope[Any], Iterable[int]]]:
    """The scopes that are stored, each with the ids that an update concerns."""
    scopes: list[tuple[DataScope[Any], Iterable[int]]] = []
    if kinds.user_data:
        scopes.append((store.user_data, turn.user_ids))
    if kinds.chat_data:
        scopes.append((store.chat_data, turn.chat_ids))
    if kinds.bot_data:
        scopes.append((store.bot_data, (store.bot_id,)))
    return scopes


def offer(turn: Turn, store: Session, kinds: PersistenceInput) -> list[Offered]:
    """Hands to the writer what an update may have changed; without waiting.

    Args:
        turn: The update; gets the errors.
        store: Where to.
        kinds: What is stored.
    """
    offered = [*_offer_data(turn, store, kinds), *_offer_states(turn, store)]
    if kinds.callback_data and (cache := store.callback_data.live) is not None:
        taken, errors = store.callback_data.offer_changed(cache)
        turn.errors += errors
        for entry, ticket in taken:
            offered += _unsaved(store, store.callback_data, entry, ticket)
    return offered


def _offer_data(turn: Turn, store: Session, kinds: PersistenceInput) -> list[Offered]:
    offered: list[Offered] = []
    for scope, keys in scopes_of(turn, store, kinds):
        for key in keys:
            live = scope.current(key) if scope.current is not None else None
            if live is None:
                continue
            try:
                ticket = scope.save_live(key, live)
            except DocumentError as error:
                turn.errors.append(error)
                continue
            offered += _unsaved(store, scope, scope.entries.get(key), ticket)
    return offered


def _offer_states(turn: Turn, store: Session) -> list[Offered]:
    scope = store.conversations
    offered: list[Offered] = []
    for handler, key in turn.conversations:
        try:
            saved = scope.save_now(handler.name or "", key, None)
        except DocumentError as error:
            turn.errors.append(error)
            continue
        if saved is not None:
            entry, ticket = saved
            if (handler, key) in turn.timeouts and not entry.dirty:
                before, after = turn.timeouts[handler, key], handler.timeout_jobs.get(key)
                ticket = scope.touch(entry) if after is not before else None
            offered += _unsaved(store, scope, entry, ticket)
    return offered


def _unsaved(store: Session, scope: Documents[Any], entry: Entry | None, ticket: Ticket | None) -> list[Offered]:
    """What to wait for until a document is written; also if it was offered by somebody else before."""
    if entry is None or not entry.dirty:
        return []
    return [(entry, ticket or store.writer.submit(scope, entry))]


async def acknowledged(turn: Turn, offered: Iterable[Offered]) -> bool:
    """Waits until the server has answered for everything, or is known to be away; whether it has.

    Args:
        turn: The update; gets the errors.
        offered: What was handed to the writer.
    """
    every = True
    for entry, ticket in offered:
        if ticket is None:
            every = False
            continue
        try:
            await ticket.outcome(entry)
        except DocumentError as error:
            turn.errors.append(error)
        if not ticket.acknowledged and entry.dirty:
            every = False
    return every
