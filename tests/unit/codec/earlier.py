"""One value of each class that earlier versions stored in one piece, and is now stored field by field.

`earlier_documents.json` holds what such a version stored of each: the BSON of `{"data": value}`, in base 64.
"""

from __future__ import annotations

import datetime as dtm
from typing import Any

import samples
import shaped

__all__ = ["VALUES"]


def _open_model() -> shaped.OpenModel:
    model = shaped.OpenModel(name="x", other=5)
    model._seen = 9
    return model


VALUES: dict[str, Any] = {
    "model": shaped.Model(name="x", tags=[{1}]),
    "frozen model": shaped.FrozenModel(name=(1,)),
    "open model": _open_model(),
    "attrs": shaped.Defined(1),
    "frozen attrs": shaped.FrozenDefined((1,)),
    "attrs without slots": shaped.OpenDefined(2),
    "struct": shaped.Struct(1, [2]),
    "open struct": shaped.OpenStruct(3),
    "state as a dict": samples.WithLock([1]),
    "state as a tuple": samples.InSlots(1, {2}),
    "state as a list": samples.Stateful({"a": 1}),
    "list": samples.Named([1, (2,)], "n"),
    "dict": samples.Table({1: 2, "a": (1,)}),
    "set": samples.Tags({3, 1}),
    "frozenset": samples.Frost({1}),
    "deque": samples.Ring([1], 3),
    "tuple": samples.Vector(1, 2),
    "named tuple with an attribute": samples.Place(1, 2),
    "str": samples.label("x", [1]),
    "int": samples.Number(10**30),
    "float": samples.ratio(1.5, "m"),
    "bytes": samples.Blob(b"x"),
    "date": samples.Day(2024, 1, 2),
    "datetime": samples.Moment(2024, 1, 2, 3, 4, 5, 6, tzinfo=dtm.timezone.utc),
    "time": samples.Clock(1, 2, 3),
    "timedelta": samples.Span(1, 2, 3),
    "plain": samples.Bare(a=1),
    "dataclass": samples.FrozenSlotted(1),
    "enum": samples.Word.HELLO,
}
VALUES["named tuple with an attribute"].note = "y"
