"""Values whose documents were written by the version before zones, paths, arrays and iterators had forms of their own.

`old_documents.json` holds what that version stored for each; it is never written anew, only added to.
"""

from __future__ import annotations

import collections
import datetime as dtm
import decimal
import fractions
import functools
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import samples
import telegram
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

__all__ = ["OLD_VALUES"]

_BERLIN: Final = zoneinfo.ZoneInfo("Europe/Berlin")


def _pytz_utc() -> Any:
    import pytz

    return pytz.utc


def _message(zone: dtm.tzinfo) -> telegram.Message:
    moment = dtm.datetime(2024, 1, 2, 3, 4, 5, tzinfo=zone)
    return telegram.Message(9, moment, telegram.Chat(-5, "private"), text="hi")


OLD_VALUES: Final[dict[str, Callable[[], Any]]] = {
    "a date in UTC": lambda: dtm.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dtm.timezone.utc),
    "a date without a zone": lambda: dtm.datetime(2024, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001
    "a date of zoneinfo": lambda: dtm.datetime(2024, 10, 27, 2, 30, tzinfo=_BERLIN, fold=1),
    "a date with an offset": lambda: dtm.datetime(2024, 1, 2, tzinfo=dtm.timezone(dtm.timedelta(hours=2))),
    "a date with a named offset": lambda: dtm.datetime(2024, 1, 2, tzinfo=dtm.timezone(dtm.timedelta(hours=2), "x")),
    "a date of pytz": lambda: dtm.datetime(2024, 1, 2, 3, 4, 5, tzinfo=_pytz_utc()),
    "a time of zoneinfo": lambda: dtm.time(1, 2, 3, 4, tzinfo=_BERLIN, fold=1),
    "a day": lambda: dtm.date(2024, 2, 29),
    "a duration": lambda: dtm.timedelta(-1, 2, 3),
    "a zone of zoneinfo": lambda: _BERLIN,
    "a zone of datetime": lambda: dtm.timezone(dtm.timedelta(minutes=90), "x"),
    "a zone of pytz": _pytz_utc,
    "milliseconds": lambda: DatetimeMS(5),
    "a message": lambda: _message(dtm.timezone.utc),
    "a message of pytz": lambda: _message(_pytz_utc()),
    "a message of zoneinfo": lambda: _message(_BERLIN),
    "a path": lambda: pathlib.Path("/srv/bot/files", "a b.txt"),
    "a pure posix path": lambda: pathlib.PurePosixPath("a/../b"),
    "a pure windows path": lambda: pathlib.PureWindowsPath("c:/a", "b"),
    "an IPv4 address": lambda: ipaddress.IPv4Address("10.0.0.1"),
    "an IPv6 address": lambda: ipaddress.IPv6Address("fe80::1%eth0"),
    "an IPv4 network": lambda: ipaddress.IPv4Network("10.0.0.0/8"),
    "an IPv6 network": lambda: ipaddress.IPv6Network("fe80::/10"),
    "an IPv4 interface": lambda: ipaddress.IPv4Interface("10.0.0.1/8"),
    "an IPv6 interface": lambda: ipaddress.IPv6Interface("::1/64"),
    "a complex number": lambda: complex(1.5, -0.0),
    "a slice": lambda: slice(1, "x", (None, 2.5)),
    "a namespace": lambda: SimpleNamespace(a=1, b=SimpleNamespace(c={2, 3}), d=[None]),
    "an object of object": object,
    "an enum of the standard library": lambda: uuid.SafeUUID.safe,
    "a tuple": lambda: (1, "a", (2.5,)),
    "a set": lambda: {1, 2, "x"},
    "a frozenset": lambda: frozenset({(1, 2)}),
    "a deque": lambda: collections.deque([1, 2], 5),
    "a dict of tuples": lambda: {(1, 2): "x", 2.5: None},
    "a dict of escaped keys": lambda: {"a.b": 1, "$x": 2, 5: 3, None: 4, True: 5, "": 6, "_py": 7, "%": 8},
    "an OrderedDict": lambda: collections.OrderedDict(b=1, a=2),
    "a Counter": lambda: collections.Counter("abb"),
    "a defaultdict": lambda: collections.defaultdict(int, a=1),
    "a long number": lambda: 2**70,
    "a surrogate": lambda: "x\ud800",
    "a decimal": lambda: decimal.Decimal("1.10"),
    "a fraction": lambda: fractions.Fraction(1, 3),
    "a range": lambda: range(1, 10, 2),
    "bytes to be changed": lambda: bytearray(b"x"),
    "a pattern": lambda: re.compile("a+", re.IGNORECASE),
    "a number of 64 bits": lambda: Int64(5),
    "a member of an enum": lambda: samples.Colour.GREEN,
    "flags": lambda: samples.Mode(5),
    "a class": lambda: samples.Plain,
    "a dataclass": lambda: samples.Plain(1, [2]),
    "a frozen dataclass with slots": lambda: samples.FrozenSlotted(1, (2,)),
    "an object": lambda: samples.Bare(x=1, y={"z": 2}),
    "slots": lambda: samples.Mixed(1, 2, c=3),
    "a named tuple": lambda: samples.Point(1, 2),
    "a named tuple with attributes": lambda: _with_note(samples.Place(1, 2)),
    "an object that reduces itself": lambda: samples.Reduced([1, {2}]),
    "an object with a state of its own": lambda: samples.Stateful({"a": (1, 2)}),
    "an error": lambda: samples.MishapError("x", 1),
    "a text of one's own class": lambda: samples.Title("x"),
    "a number of one's own class": lambda: samples.Number(5),
    "a list of one's own class": lambda: samples.Row([1, [2]]),
    "a dict of one's own class": lambda: samples.Table(a=1),
    "a set of one's own class": lambda: samples.Tags({1}),
    "a date of one's own class": lambda: samples.Moment(2024, 1, 2, tzinfo=dtm.timezone.utc),
    "a Telegram object of one's own": lambda: samples.Letter("x"),
    "a user": lambda: telegram.User(1, "x", is_bot=False),
    "what is nested deeply": lambda: functools.reduce(lambda inner, _: [(inner,)], range(50), 1),
    "pickled paths": lambda: samples.Stateful([pathlib.PurePosixPath("a/b"), ipaddress.ip_address("::1"), 1j]),
}


def _with_note(place: Any) -> Any:
    place.note = "x"
    return place
