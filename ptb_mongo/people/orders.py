"""Orders to every process of a bot that is running: to forget somebody, or to store everything anew.

An order is a document of the collection `ptb_mongo` whose `_id` says everything, so that the change stream, which tells
of `_id`s alone, is enough. It is removed when it was carried out: the event arrives all the same. Whoever can insert
one could delete the documents themselves, so nothing is given away; what has not exactly this form is none.
"""

from __future__ import annotations

import datetime as dtm
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from ptb_mongo.driver import Driver
from ptb_mongo.people.subject import Subject
from ptb_mongo.scopes.ids import whole_number
from ptb_mongo.sync.vanishing import ORDER, Vanishing

__all__ = ["Orders", "order", "ordered"]

_FIELDS: Final = ["erase", "id", "number"]
_KINDS: Final = ("user", "chat")
_OLD: Final = dtm.timedelta(minutes=10)


def order(subject: Subject) -> dict[str, Any]:
    """The `_id` of an order to forget somebody."""
    return {"erase": subject.kind, "id": subject.id, "number": uuid.uuid4().hex}


def _subject_of(document_id: object) -> Subject | None:
    """Whom an order is about; `None` if it is none."""
    if type(document_id) is not dict or list(document_id) != _FIELDS:
        return None
    kind, number = document_id["erase"], whole_number(document_id["id"])
    return Subject(kind, number) if kind in _KINDS and number is not None else None


def _number_of(document_id: object) -> str | None:
    """The number of an order to store everything anew; `None` if it is none."""
    if type(document_id) is not dict or list(document_id) != [ORDER, "number"] or document_id[ORDER] != "bot":
        return None
    number = document_id["number"]
    return number if type(number) is str else None


class Orders:
    """The collection of orders, as the change stream follows it.

    Args:
        forget: Forgets somebody.
        vanishing: Stores everything anew.
    """

    def __init__(self, forget: Callable[[Subject], object], vanishing: Vanishing) -> None:
        self._forget = forget
        self._vanishing = vanishing

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """See `sync.change_stream.Followed`."""
        if deleted:
            return
        if (number := _number_of(document_id)) is not None:
            self._vanishing.told(number)
        elif (subject := _subject_of(document_id)) is not None:
            self._forget(subject)

    def is_own(self, document_id: Any, rev: Any) -> bool:  # noqa: ARG002
        """See `sync.change_stream.Followed`; whoever gives an order may carry it out twice."""
        return False

    def told_all(self) -> None:
        """See `sync.change_stream.Followed`; what was forgotten elsewhere is found to be missing when it is read."""
        self._vanishing.look()


@asynccontextmanager
async def ordered(driver: Driver, collection: str, subject: Subject) -> AsyncIterator[None]:
    """Tells every process to forget somebody; afterwards nothing is left of that.

    Args:
        driver: The database.
        collection: The collection of orders.
        subject: Whom.
    """
    now = dtm.datetime.now(dtm.timezone.utc)
    document_id = order(subject)
    await driver.insert_if_missing(collection, document_id, {"at": now})
    try:
        yield
    finally:
        old = {"_id.erase": {"$in": list(_KINDS)}, "at": {"$lt": now - _OLD}}  # of a process that was killed
        await driver.delete_all(collection, {"$or": [{"_id": {"$eq": document_id}}, old]})
