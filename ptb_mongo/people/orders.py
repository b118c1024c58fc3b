"""Orders to every running process of a bot: to forget somebody, or to store everything again.

An order is a document in the collection `ptb_mongo` whose `_id` says everything, so that the change stream, which only
reports `_id`s, is sufficient. It is removed afterwards; the event arrives nevertheless. Whoever can insert an order
could delete the documents directly, so it gives nothing away; anything that does not have exactly this form is ignored.
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
"""After this time, an order is ignored, as the erased person may have come back. Their former data is found to be
missing, as after any deletion."""


def order(subject: Subject) -> dict[str, Any]:
    """The `_id` of a new order to forget somebody."""
    now = dtm.datetime.now(dtm.timezone.utc)
    return {"erase": subject.kind, "id": subject.id, "number": uuid.uuid4().hex, "at": now}


def _subject_of(document_id: object) -> Subject | None:
    """The subject of an order; `None` if it is not an order."""
    if type(document_id) is not dict or list(document_id) != _FIELDS:
        return None
    kind, number, at = document_id["erase"], whole_number(document_id["id"]), document_id["at"]
    if kind not in _KINDS or number is None or not isinstance(at, dtm.datetime):
        return None
    age = dtm.datetime.now(dtm.timezone.utc) - (at if at.tzinfo else at.replace(tzinfo=dtm.timezone.utc))
    return Subject(kind, number) if abs(age) < _LATE else None


def _number_of(document_id: object) -> str | None:
    """The number of an order to store everything again; `None` if it is not one."""
    if type(document_id) is not dict or list(document_id) != [ORDER, "number"] or document_id[ORDER] != "bot":
        return None
    number = document_id["number"]
    return number if type(number) is str else None


class Orders:
    """The collection of orders, for the change stream.

    Args:
        forget: Forgets somebody.
        vanishing: Stores everything again.

    Attributes:
        given: The numbers of this process's own orders, which it carries out directly.
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
        """See `sync.change_stream.Followed`; own orders are recognized by their numbers."""
        return False

    def told_all(self) -> None:
        """See `sync.change_stream.Followed`; what was erased elsewhere turns out to be missing when it is read."""
        self._vanishing.look()


@asynccontextmanager
async def ordered(driver: Driver, collection: str, document_id: dict[str, Any]) -> AsyncIterator[None]:
    """Orders every process to forget somebody, and removes the order at the end.

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
        # Removes orders of killed processes, and all others for the same person, as they contain the id. If somebody
        # else is erasing that person right now, the event arrives nevertheless.
        old = {"_id.erase": {"$in": list(_KINDS)}, "at": {"$lt": now - _OLD}}
        same = {"_id.erase": document_id["erase"], "_id.id": document_id["id"]}
        await driver.delete_all(collection, {"$or": [same, old]})
