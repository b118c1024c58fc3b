"""Writes to several collections in one transaction: all of them or none. Through Motor or PyMongo's async API."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from pymongo import WriteConcern
from pymongo.errors import OperationFailure

from ptb_mongo.driver import statements
from ptb_mongo.driver.decoding import OF_WRITES
from ptb_mongo.driver.operations import Operation
from ptb_mongo.errors import UnavailableError

__all__ = ["Outcome", "transact"]

_AGAIN = "TransientTransactionError"
_UNKNOWN = "UnknownTransactionCommitResult"
_DUPLICATE = 11000
_NO_DATE: Final = ({"at": {"$not": {"$type": "date"}}}, {"at": {"$type": "array"}})


class Outcome(Enum):
    """What became of a transaction."""

    DONE = "all was done"
    OVERTAKEN = "nothing was done, as something is not as it was supposed to be: read it, and try again"
    REFUSED = "nothing was done, as the server refuses something"


async def transact(database: Any, writes: Mapping[str, Sequence[Operation]], marks: Mapping[str, Any]) -> Outcome:
    """Sends writes, each a compare-and-set, in one transaction.

    Args:
        database: The database.
        writes: The writes, by collection.
        marks: By collection, the `_id` of a document that must not yet have a time, and gets the current one.

    Returns:
        The outcome: either all were done, or none was and none will be.

    Raises:
        UnavailableError: If it is not known whether they were done.
        PyMongoError: Likewise; or the server refuses the whole command.
    """
    session = await _result(database.client.start_session())
    try:
        await _result(session.start_transaction(write_concern=WriteConcern("majority")))
        try:
            outcome = await _send_all(database, session, writes, marks)
        except OperationFailure as error:  # the server has ended the transaction
            if error.has_error_label(_AGAIN):
                return Outcome.OVERTAKEN
            if error.code == _DUPLICATE:
                return Outcome.OVERTAKEN
            raise
        return await _commit(session) if outcome is Outcome.DONE else outcome
    finally:
        await _result(session.end_session())  # aborts what was not committed


async def _commit(session: Any) -> Outcome:
    try:
        await session.commit_transaction()
    except OperationFailure as error:
        if error.has_error_label(_AGAIN) and not error.has_error_label(_UNKNOWN):
            return Outcome.OVERTAKEN
        raise UnavailableError(f"it is not known whether a transaction was done ({error.code})") from error
    return Outcome.DONE


async def _send_all(
    database: Any, session: Any, writes: Mapping[str, Sequence[Operation]], marks: Mapping[str, Any]
) -> Outcome:
    for collection, operations in writes.items():
        updates = [made for one in operations if (made := statements.update(one)) is not None]
        deletions = [made for one in operations if (made := statements.deletion(one)) is not None]
        for command, sent in (("update", updates), ("delete", deletions)):
            if sent and (outcome := await _send(database, session, command, collection, sent)) is not Outcome.DONE:
                return outcome
    for collection, document_id in marks.items():
        made = {"q": {"_id": document_id, "$or": _NO_DATE}, "u": [{"$set": {"at": "$$NOW"}}], "upsert": True}
        if (outcome := await _send(database, session, "update", collection, [made])) is not Outcome.DONE:
            return outcome
    return Outcome.DONE


async def _send(database: Any, session: Any, command: str, collection: str, sent: Sequence[dict[str, Any]]) -> Outcome:
    """Sends one command."""
    answer = await database.command(
        command, collection, codec_options=OF_WRITES, session=session, ordered=True, **{f"{command}s": list(sent)}
    )
    if any(error.get("code") != _DUPLICATE for error in answer.get("writeErrors", ())):
        return Outcome.REFUSED
    return Outcome.DONE if answer["n"] == len(sent) else Outcome.OVERTAKEN


async def _result(value: Any) -> Any:
    """The value of a call that must be awaited with one driver and not with the other."""
    return await value if inspect.isawaitable(value) else value
