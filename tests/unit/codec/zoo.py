"""Values of every form that the codec has, each a small one."""

from __future__ import annotations

import collections
import datetime as dtm
import functools
import re
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import bson
import samples
import telegram
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from library_values import LIBRARY_VALUES, STANDARD_VALUES

__all__ = ["ZOO"]

ZOO: list[Any] = [
    (1, "a"),
    {1, 2},
    frozenset({"a"}),
    collections.deque([1], 5),
    {1.5: 2},
    collections.OrderedDict(a=1),
    collections.Counter("ab"),
    collections.defaultdict(list, a=[1]),
    "\ud800",
    2**70,
    -(10**1001),
    Int64(5),
    Decimal("1.10"),
    Decimal("NaN123"),
    Fraction(1, 3),
    range(1, 10, 2),
    bytearray(b"x"),
    re.compile("a", re.IGNORECASE),
    dtm.datetime(2024, 1, 1, 1, 1, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    dtm.date(2024, 1, 1),
    dtm.time(1, 2, 3, fold=1),
    dtm.timedelta(1, 2, 3),
    dtm.timezone(dtm.timedelta(hours=1), "x"),
    zoneinfo.ZoneInfo("UTC"),
    bson.Binary(b"x"),
    DatetimeMS(0),
    uuid.UUID(int=1),
    samples.Colour.RED,
    samples.Mode(5),
    samples.Plain,
    samples.Slotted(1, [2]),
    samples.Bare(x=1),
    samples.Mixed(1, 2, c=3),
    samples.Point(1),
    samples.Stateful({"a": 1}),
    samples.Named([1], "n"),
    samples.Table({("k",): 1}),
    samples.Title("x"),
    samples.Moment(2024, 1, 1),
    samples.Reduced([1, {2}]),
    SimpleNamespace(a={("k",): 1}),
    samples.Letter("x"),
    telegram.User(1, "x", False),
    functools.reduce(lambda inner, _: [inner], range(100), 1),
    *STANDARD_VALUES,
    *LIBRARY_VALUES,
    *(
        iter([1, (2,)]),
        iter("ab"),
        reversed((1, 2)),
        iter(range(3)),
        enumerate(iter([1]), 5),
        zip([1], (2,), strict=False),
    ),
]
