"""Documents that a stranger writes into the collections of a bot: odd ids, revs, leases, formats, keyboards, and data.

Each is nearly right: where a field is not odd, it is as the bot stores it.
"""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from choices import Choices
from hostile_plain import HostileValues
from neighbours import KEYBOARD, OTHER
from odd_values import NO_IDS, ODD, encoded

from ptb_mongo.sync import spill

__all__ = ["STRANGERS", "HostileDocuments", "Planted"]

STRANGERS: Final = (1, 2, 3)
"""Users whose documents are hostile, and who write to the bot."""

_LEASED: Final = (*STRANGERS, OTHER)
_ODD_IDS: Final = (
    *(value for name, value in ODD.items() if name not in NO_IDS),
    *(2.0, Decimal128("3"), Int64(2), "2", -(2**63), True, 2**53 + 1.0, "x" * 2000, {"handler": "order"}, "\x1b[31m"),
)
_REVS: Final = ("abcdef:1", "abcdef:2", "x", "", "abcdef:-1", "abcdef:99999999999999999999", "a\x1b[31m:1")
_VERSIONS: Final = (1, 1.0, Int64(1), Decimal128("1"), 0, -1, 99, 2**62, "1", True)
_SOME_DAY: Final = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)
_SECONDS: Final = (-1, 0.3, 75, 3600, 10**9)  # a lease that ends sooner is a worker's, and would be waited for


class Later(NamedTuple):
    """A time that is so many seconds after the moment when a document is planted."""

    seconds: float


class Planted(NamedTuple):
    """A document, and where it is put."""

    collection: str
    document: dict[str, Any]

    def raw(self, now: dtm.datetime = _SOME_DAY) -> bytes:
        """Its bytes.

        Args:
            now: The server's time.
        """
        return encoded(_at(now, self.document))


def _at(now: dtm.datetime, value: Any) -> Any:
    if type(value) is Later:
        return now + dtm.timedelta(seconds=value.seconds)
    if type(value) is dict:
        return {name: _at(now, part) for name, part in value.items()}
    return [_at(now, part) for part in value] if type(value) is list else value


class HostileDocuments:
    """Makes documents.

    Args:
        choices: Decides.
        large: Whether they may be large.
    """

    def __init__(self, choices: Choices, *, large: bool = False) -> None:
        self._choices = choices
        self._large = large

    def planted(self, *, leases: bool) -> Planted:
        """A document of any collection."""
        makes: list[Callable[[], Planted]] = [*[self.data] * 4, self.conversation, self.conversation, self.keyboard]
        makes += [self.keyboard, self._foreign]
        if leases:
            makes += [self.lease] * 6
        return self._choices.one(makes)()

    def value(self) -> Any:
        """Anything."""
        return HostileValues(self._choices, large=self._large).plain()

    def _odd(self, *right: Any, percent: int = 15) -> Any:
        """What is right, or anything else."""
        choices = self._choices
        return self.value() if choices.percent(percent) else choices.one(right)

    def _described(self) -> dict[str, Any]:
        """What stands beside the data: who has written it, and when."""
        choices = self._choices
        made: dict[str, Any] = {}
        if choices.percent(50):
            made["rev"] = self._odd(*_REVS)
        if choices.percent(30):
            made["revs"] = self._odd([choices.one(_REVS)], [choices.one(_REVS), 5], [])
        if choices.percent(20):
            made["updated_at"] = self._odd(_SOME_DAY)
        if choices.percent(10):
            made["buried"] = self._odd(True, False)
        return made

    def data(self) -> Planted:
        """Of a user, a chat or a bot."""
        choices = self._choices
        scope = choices.one(("user_data", "user_data", "chat_data", "bot_data"))
        document_id = choices.one(STRANGERS) if choices.percent(70) else choices.one(_ODD_IDS)
        data: Any = {"a": self.value()}
        if choices.percent(20):
            data = self.value()
        elif choices.percent(30):
            data = HostileValues(choices, large=self._large).fields(0)
        return Planted(scope, {"_id": document_id, "data": data, **self._described()})

    def conversation(self) -> Planted:
        """Of a conversation."""
        choices = self._choices
        user = choices.one(STRANGERS)
        handler = choices.one(("order", "order", "order", "", "gone")) if choices.percent(80) else choices.one(_ODD_IDS)
        key = (
            [self._part(user) for _ in range(choices.one((2, 2, 2, 1, 0, 3)))] if choices.percent(90) else self.value()
        )
        named: dict[str, Any] = {"handler": handler, "key": key}
        document_id: Any = named
        if choices.percent(15):
            document_id = choices.one(({**named, "more": 1}, {"key": key, "handler": handler}, choices.one(_ODD_IDS)))
        fields = dict(named)
        if choices.percent(15):
            fields[choices.one(("handler", "key"))] = self.value()
        state = self._odd(1, 2, None, "x", percent=50)
        return Planted("conversations", {"_id": document_id, **fields, "state": state, **self._described()})

    def _part(self, user: int) -> Any:
        return self._choices.one(_ODD_IDS) if self._choices.percent(10) else user

    def keyboard(self) -> Planted:
        """Of a keyboard, or of a callback query."""
        choices = self._choices
        document_id: Any = choices.one(("k" * 32, "query:5", "query:", "", "l" * 32))
        if choices.percent(10):
            document_id = choices.one(_ODD_IDS)
        fields: dict[str, Any]
        if type(document_id) is str and document_id.startswith("query:"):
            fields = {"position": self._odd(0, 5), "keyboard": self._odd("g" * 32, "none")}
        else:
            objects = [self.value() for _ in range(choices.between(1, 3))]
            fields = {**KEYBOARD, "position": self._odd(5, 2**62, -1), "objects": objects}
            if choices.percent(30):
                fields[choices.one(tuple(fields))] = self.value()
            if choices.percent(20):
                fields["accessed_at"] = choices.one((1e300, float("nan"), float("-inf"), 5, -1.0))
            if choices.percent(20):
                fields["buttons"] = {"b" * 32: choices.one((0, 1, 2, 3, -1, 1.0, 2**40)), "": 0}
        return Planted("callback_data", {"_id": document_id, **fields, **self._described()})

    def lease(self) -> Planted:
        """A lease of a stranger, or of the neighbour, that no worker has written."""
        choices = self._choices
        places = [self._place() for _ in range(choices.one((0, 1, 3)))]
        holder, until = choices.one((("gone:1", self._until()), (None, None), (self.value(), self._until())))
        if choices.percent(20):
            until = self._not_a_date()
        lease = {"holder": holder, "until": until, "waiting": self._odd(places)}
        if choices.percent(20):
            lease |= {choices.one(("free", "first", "next", "x")): self.value()}
        document_id: Any = f"{choices.one(('user', 'user', 'chat', 'x'))}:{choices.one(_LEASED)}"
        if choices.percent(10):
            document_id = choices.one(_ODD_IDS)
        return Planted("leases", {"_id": document_id, **lease})

    def _place(self) -> Any:
        place = {"update_id": self._odd(1, 2**31, -(2**40)), "ticket": self._odd("gone:1", ""), "until": self._until()}
        return self.value() if self._choices.percent(20) else place

    def _until(self) -> Any:
        return Later(self._choices.one(_SECONDS))

    def _not_a_date(self) -> Any:
        value = self.value()
        return None if isinstance(value, dtm.datetime) else value

    def _foreign(self) -> Planted:
        choices = self._choices
        return Planted(
            choices.one(("jobs", "other", "user_data_old")), {"_id": choices.one(_ODD_IDS), "x": self.value()}
        )

    def format(self, bot_id: int) -> dict[str, Any]:
        """The format document, without its `_id`."""
        choices = self._choices
        made: dict[str, Any] = {"version": choices.one(_VERSIONS), "bot_id": bot_id}
        for _ in range(choices.between(0, 2)):
            name = choices.one(("bot_id", "running", "created_at", "x", "version"))
            value = self.value()
            is_number = isinstance(value, (int, float, Decimal128))
            made[name] = None if name == "version" and is_number else value  # a newer version stops the start, rightly
        return made

    def spilled(self) -> list[spill.Spilled]:
        """What is in a file of unsaved data."""
        return self._choices.some(self._spilled, 4) or [self._spilled()]

    def _spilled(self) -> spill.Spilled:
        choices = self._choices
        planted = choices.one((self.data, self.conversation, self.keyboard))()
        document = dict(planted.document)
        document_id = document.pop("_id")
        rev, revs = document.pop("rev", None), document.pop("revs", [])
        for name in ("updated_at", "buried"):
            document.pop(name, None)
        wanted: Any = encoded(document)
        base = choices.one((None, wanted, b"", choices.one((5, "x", b"\x05\0\0\0\0"))))
        if choices.percent(20):
            wanted = choices.one((None, b"x", 5, b"\x05\0\0\0\0"))
        sent = {choices.one(_REVS): choices.one((None, wanted, 5))} if choices.percent(30) else {}
        writers = [choices.one(_REVS)] if choices.percent(30) else []
        collection = self._odd(planted.collection, percent=5)
        return spill.Spilled(collection, document_id, base, wanted, sent, rev, revs, writers)
