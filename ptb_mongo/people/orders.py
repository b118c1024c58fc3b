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

_FIELDS: Final = ["erase", "id", "number", "at"]
_KINDS: Final = ("user", "chat")
_OLD: Final = dtm.timedelta(minutes=10)
_LATE: Final = dtm.timedelta(seconds=10)
"""After this an order is not carried out any more: by then whoever was erased may have come back. What was stored of
them before is found to be missing, as after any deletion."""


def order(subject: Subject) -> dict[str, Any]:
    """The `_id` of an order to forget somebody, given now."""
    now = dtm.datetime.now(dtm.timezone.utc)
    return {"erase": subject.kind, "id": subject.id, "number": uuid.uuid4().hex, "at": now}


def _subject_of(document_id: object) -> Subject | None:
    """Whom an order is about; `None` if it is none."""
    if type(document_id) is not dict or list(document_id) != _FIELDS:
        return None
    kind, number, at = document_id["erase"], whole_number(document_id["id"]), document_id["at"]
    if kind not in _KINDS or number is None or not isinstance(at, dtm.datetime):
        return None
    age = dtm.datetime.now(dtm.timezone.utc) - (at if at.tzinfo else at.replace(tzinfo=dtm.timezone.utc))
    return Subject(kind, number) if abs(age) < _LATE else None


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

    Attributes:
        given: The numbers of the orders of this process, which carries them out by itself.
    """

    def __init__(self, forget: Callable[[Subject], object], vanishing: Vanishing) -> None:
        self._forget = forget
        self._vanishing = vanishing
        self.given: set[object] = set()

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """See `sync.change_stream.Followed`."""
        if deleted:
            return
        if (number := _number_of(document_id)) is not None:
            self._vanishing.told(number)
        elif (subject := _subject_of(document_id)) is not None and document_id["number"] not in self.given:
            self._forget(subject)

    def is_own(self, document_id: Any, rev: Any) -> bool:  # noqa: ARG002
        """See `sync.change_stream.Followed`; that is found out by their numbers."""
        return False

    def told_all(self) -> None:
        """See `sync.change_stream.Followed`; what was forgotten elsewhere is found to be missing when it is read."""
        self._vanishing.look()


@asynccontextmanager
async def ordered(driver: Driver, collection: str, document_id: dict[str, Any]) -> AsyncIterator[None]:
    """Tells every process to forget somebody; afterwards nothing is left of that.

    Args:
        driver: The database.
        collection: The collection of orders.
        document_id: The order.
    """
    now = document_id["at"]
    await driver.insert_if_missing(collection, document_id, {"at": now})
    try:
        yield
    finally:
        # Of processes that were killed; and every one about the same person, whose id stands in it. If somebody else is
        # erasing them just now, that event arrives all the same.
        old = {"_id.erase": {"$in": list(_KINDS)}, "at": {"$lt": now - _OLD}}
        same = {"_id.erase": document_id["erase"], "_id.id": document_id["id"]}
        await driver.delete_all(collection, {"$or": [same, old]})
