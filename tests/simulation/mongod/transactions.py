"""Transactions: statements of one client that are done together when it commits them, or not at all.

What a transaction has written is locked until it ends. Another transaction that wants to write the same is ended at
once; other writes wait, which is what whoever executes them has to do: see `Transactions.holds`.
"""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mongod.storage import Storage
from mongod.streams import refused
from mongod.values import Document, key

__all__ = ["Transactions"]

_TRANSIENT: Final = "TransientTransactionError"
_WRITE_CONFLICT: Final = 112
_TOO_OLD: Final = 225
_NONE: Final = 251
_OF_A_TRANSACTION: Final = ("lsid", "txnNumber", "autocommit", "startTransaction")
_STATEMENTS: Final = {"update": "updates", "delete": "deletes"}

_Name = tuple[Hashable, int]
_Place = tuple[str, Hashable]
_Execute = Callable[[Storage, Document, dtm.datetime], Document]


@dataclass
class _Open:
    """A transaction that goes on.

    Attributes:
        since: How long the history was when it began.
        done: Its commands until now, and when each was executed.
        locked: What it has written.
    """

    since: int
    done: list[tuple[Document, dtm.datetime]] = field(default_factory=list)
    locked: set[_Place] = field(default_factory=set)


class Transactions:
    """See the module.

    Args:
        execute: Executes a command on a storage.
    """

    def __init__(self, execute: _Execute) -> None:
        self._execute = execute
        self._open: dict[_Name, _Open] = {}
        self._newest: dict[Hashable, int] = {}
        self._committed: dict[_Name, int] = {}  # with the length of the history

    @staticmethod
    def name_of(command: Mapping[str, Any]) -> _Name | None:
        """The session and the number of the transaction that a command belongs to; `None` if to none."""
        if "autocommit" not in command:
            return None
        return key(command["lsid"]), int(command["txnNumber"])

    def run(self, name: _Name, command: Document, storage: Storage, now: dtm.datetime) -> Document:
        """What the server answers to a command of a transaction.

        Raises:
            OperationFailure: If it has ended, or is ended because of that.
        """
        if "commitTransaction" in command:
            return self._commit(name, storage)
        if command.get("startTransaction"):
            session, number = name
            if number <= self._newest.get(session, 0):
                raise refused(_TOO_OLD, "a transaction of that number, or a newer one, has been begun")
            self._newest[session] = number
            self._open[name] = _Open(len(storage.history))
        found = self._open.get(name)
        if found is None:
            raise refused(_NONE, "there is no such transaction", _TRANSIENT)
        if "abortTransaction" in command:
            self.abort(name)
            return {}
        statement = {field: value for field, value in command.items() if field not in _OF_A_TRANSACTION}
        return self._statement(name, found, statement, storage, now)

    def _statement(
        self, name: _Name, found: _Open, statement: Document, storage: Storage, now: dtm.datetime
    ) -> Document:
        fork = storage.fork()
        for earlier, at in found.done:
            self._execute(fork, earlier, at)
        before = len(fork.history)
        answer = self._execute(fork, statement, now)
        written = {(change.collection, key(change.id)) for change in fork.history[before:]}
        newer = {(change.collection, key(change.id)) for change in storage.history[found.since :]}
        locked = {place for one in self._open.values() if one is not found for place in one.locked}
        if written & (newer | locked):
            self.abort(name)
            raise refused(_WRITE_CONFLICT, "WriteConflict", _TRANSIENT)
        if answer.get("writeErrors"):
            self.abort(name)
        found.done.append((statement, now))
        found.locked |= written
        return answer

    def _commit(self, name: _Name, storage: Storage) -> Document:
        if name in self._committed:
            return {}
        found = self._open.pop(name, None)
        if found is None:
            raise refused(_NONE, "there is no such transaction", _TRANSIENT)
        refuses, storage.refuses = storage.refuses, lambda *_: False  # it has not refused it before
        try:
            for statement, now in found.done:
                self._execute(storage, statement, now)
        finally:
            storage.refuses = refuses
        self._committed[name] = len(storage.history)
        return {}

    def abort(self, name: _Name) -> None:
        """Ends a transaction, if it goes on: nothing of it is done."""
        self._open.pop(name, None)

    def abort_all(self, storage: Storage) -> None:
        """Another server is the primary: it knows of those that are committed, as far as it has got them."""
        self._open.clear()
        self._committed = {name: at for name, at in self._committed.items() if at <= len(storage.history)}

    def holds(self, command: Mapping[str, Any]) -> bool:
        """Whether a command that belongs to no transaction has to wait until one ends."""
        name = next(iter(command))
        if name not in _STATEMENTS or "autocommit" in command or not self._open:
            return False
        collection = command[name]
        locked = {place for one in self._open.values() for place in one.locked if place[0] == collection}
        return bool(locked) and any(
            place is None or (collection, place) in locked for place in _places(command[_STATEMENTS[name]])
        )


def _places(statements: list[Document]) -> Iterator[Hashable]:
    """The documents that statements may write; `None` if it may be any."""
    for statement in statements:
        document_id = statement["q"].get("_id")
        of_many = isinstance(document_id, dict) and any(name.startswith("$") for name in document_id)
        yield None if document_id is None or of_many else key(document_id)
