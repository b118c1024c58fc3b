"""Values that a bot stores: what planted documents are nearly right in comparison with.

Of Telegram objects of each class, what is right for their attributes is told from PTB's annotations.
"""

from __future__ import annotations

import inspect
import ipaddress
import pathlib
import re
import uuid
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import samples
import telegram
import telegram.error
import telegram.ext
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from zoo import ZOO

from ptb_mongo.codec.standard import STANDARD
from ptb_mongo.codec.trust import DEFAULT_NONE, DEFAULT_VALUE, Trust

__all__ = ["CALLED", "CLASSES", "HONEST", "TELEGRAM", "attributes", "kinds"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of PTB, which takes other seconds in each of its versions
    _RETRY: Final = telegram.error.RetryAfter(5)

HONEST: Final[list[Any]] = [
    *ZOO,
    {"name": "Ada", "cart": {"tea": 2}, "seen": {3, 5}, "at": (1, 2.5, None, True)},
    *(complex(1, 2), slice(1, "x", None), object, uuid.UUID(int=5, is_safe=uuid.SafeUUID.safe)),
    *(ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")),
    *(ipaddress.ip_network("fe80::/10"), ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_interface("::1/64")),
    *(pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/a"), pathlib.Path("a")),
    SimpleNamespace(a=1, b=SimpleNamespace(c=[uuid.UUID(int=7)])),
    *(Binary(b"ab", 5), Code("x"), Code("x", {"a": [1, {"b": None}]}), DatetimeMS(2**62), DBRef("c", 1)),
    *(DBRef("c", ObjectId(b"0" * 12), "db", x=2), Decimal128("-Infinity"), MaxKey(), MinKey(), ObjectId(b"1" * 12)),
    *(Regex("a", 2), Timestamp(1, 2**32 - 1)),
    *(samples.Counting(1), samples.Frozen((1, 2), "x"), samples.FrozenSlotted("a"), samples.Hidden(1, [2])),
    *(samples.Guarded(1), samples.Stateful({"a": 1}), samples.Place(1, 2), samples.Pair(1), samples.Title("x")),
    *(samples.Number(5), samples.Blob(b"x"), samples.Row([1, [2]]), samples.Table(a=1), samples.Tags({1})),
    *(
        samples.Migrated(1),
        samples.WithLock([1]),
        samples.InSlots(1, 2),
        samples.Named([1], "n"),
        samples.Day(2024, 1, 1),
    ),
    *(samples.label("x", 1), samples.ratio(1.5, "m"), samples.Vector(1, 2), samples.Clock(1), samples.Span(1, 2, 3)),
    samples.Day(2024, 1, 1),
    *(samples.Frost({1}), samples.Ring([1], 3), samples.MishapError("x", 1), samples.Shop.Item("x")),
    *(samples.Level.HUGE, samples.Word.DOLLAR, samples.Right.ALL, samples.Shop.Size.SMALL),
    *(_RETRY, telegram.error.BadRequest("x"), telegram.error.ChatMigrated(5)),
    *(telegram.ext.InvalidCallbackData("x"), telegram.constants.ChatType.GROUP, DEFAULT_NONE, DEFAULT_VALUE(5)),
    telegram.InlineKeyboardButton("x", callback_data=("buy", SimpleNamespace(a={1}))),
    telegram.CallbackQuery("1", telegram.User(1, "x", is_bot=False), "c", data=[{"a": uuid.UUID(int=1)}]),
]


class Attribute(NamedTuple):
    """An attribute of a Telegram object, as PTB declares it.

    Attributes:
        name: Its name.
        words: The words of its annotation.
    """

    name: str
    words: frozenset[str]


def _telegram() -> Iterator[tuple[str, type]]:
    for name, cls in vars(telegram).items():
        if isinstance(cls, type) and issubclass(cls, telegram.TelegramObject) and not issubclass(cls, telegram.Bot):
            yield f"telegram.{name}", cls


TELEGRAM: Final = dict(_telegram())
"""All classes of Telegram objects."""

CLASSES: Final[tuple[tuple[str, ...], ...]] = (
    ("samples.Bare", "samples.Plain", "telegram.User", "builtins.list", "types.SimpleNamespace", "samples.Row"),
    tuple(Trust().name_of(cls) for cls in STANDARD),
    tuple(f"samples.{name}" for name, value in vars(samples).items() if isinstance(value, type)),
    tuple(TELEGRAM),
    (
        *("telegram.Bot", "telegram.error.RetryAfter", "telegram.constants.ChatType", "uuid.SafeUUID"),
        *("builtins.eval", "samples.fire", "samples.FIRED", "os.system", "telegram.ext.Application", "", "\0", "x.y"),
        *("builtins.dict", "builtins.str", "builtins.bytearray", "builtins.tuple", "builtins.set", "pathlib.Path"),
    ),
)
"""Names of classes that may be restored, and of some that may not, by what they are."""

CALLED: Final = [
    value for value in HONEST if type(value) not in {tuple, list, dict, set, frozenset, str, int, bytearray}
]
"""Those of the honest values that a pickle makes by a call."""


def attributes(name: str) -> list[Attribute]:
    """The attributes of a class of Telegram objects."""
    found = _ATTRIBUTES.get(name)
    if found is None:
        cls: Any = TELEGRAM[name]
        words = {
            one: frozenset(re.findall(r"\w+", str(parameter.annotation)))
            for owner in reversed(cls.__mro__[:-1])
            for one, parameter in inspect.signature(owner.__init__).parameters.items()
        }
        slots = [slot for owner in cls.__mro__ for slot in vars(owner).get("__slots__", ())]
        known = [slot for slot in slots if slot.lstrip("_") in words and slot != "api_kwargs"]
        found = _ATTRIBUTES[name] = [Attribute(slot, words[slot.lstrip("_")]) for slot in known]
    return found


def kinds(words: frozenset[str]) -> list[str]:
    """The names of the Telegram objects among the words of an annotation."""
    return sorted(name for word in words if (name := f"telegram.{word}") in TELEGRAM)


_ATTRIBUTES: Final[dict[str, list[Attribute]]] = {}
