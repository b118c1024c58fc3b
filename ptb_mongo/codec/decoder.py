"""Plain documents back to Python values; trusts nothing that it reads.

Decoding runs no code but that of trusted classes, and whatever is wrong with a document ends in a
`DecodeError` with the path to it.
"""

from __future__ import annotations

import collections
import contextlib
import datetime as dtm
import decimal
import zoneinfo
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import bson
import telegram
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from ptb_mongo.codec.bounds import MAX_PACKED, Spending
from ptb_mongo.codec.hashing import MANY_KEYS, check_collisions
from ptb_mongo.codec.inert import INERT
from ptb_mongo.codec.keys import TAG, unescape
from ptb_mongo.codec.moments import datetime_of, time_of
from ptb_mongo.codec.object_restoring import ObjectRestorer
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.codec.parts import fraction, range_of
from ptb_mongo.codec.restoring import Restorer
from ptb_mongo.codec.subclasses import BASE_TAGS
from ptb_mongo.codec.telegram_reader import TelegramReader
from ptb_mongo.codec.trust import Trust
from ptb_mongo.codec.versions import VERSION, stands_for_member
from ptb_mongo.errors import DecodeError

__all__ = ["Decoder"]

_NATIVE: Final = frozenset({"str", "int", "float", "bytes", "list", "dict"})  # bases whose own form has no tag
_SHORT_INT: Final = 20  # characters of a key that is an integer below 2**61 - 1, which is its own hash


class Decoder:
    """Decodes values; see `ptb_mongo.codec` for the forms.

    Args:
        trust: Which classes may be restored.
        bot: Returns the running bot.
    """

    def __init__(self, trust: Trust, bot: Callable[[], telegram.Bot | None]) -> None:
        self._trust = trust
        self._bot = bot
        self._objects = ObjectRestorer(trust)
        self._telegram_reader = TelegramReader(trust)
        self._packed_levels = 0
        self._spending = Spending()
        self.doubtful = False
        """Whether it may be that PTB cannot copy the value that was decoded last."""
        self.holds_bot = False
        """If it is doubtful, whether the bot is a part of it: as data, not as the bot that an object belongs to."""
        self._by_tag: dict[str, Callable[[dict[str, Any]], Any]] = {
            "str": lambda tagged: _field(tagged, "v", bytes).decode("utf-8", "surrogatepass"),
            "int": lambda tagged: int(_field(tagged, "v", str), 0),
            "int64": lambda tagged: Int64(_field(tagged, "v", int)),
            "decimal": _decimal,
            "fraction": lambda tagged: fraction(*self._integers(tagged, 2)),
            "range": lambda tagged: range_of(*self._integers(tagged, 3)),
            "bytearray": lambda tagged: bytearray(_field(tagged, "v", bytes)),
            "binary": lambda tagged: Binary(_field(tagged, "v", bytes), _field(tagged, "subtype", int)),
            "bson": self._packed,
            "regex": lambda tagged: self._spending.pattern(self.decode(tagged["v"]), _field(tagged, "flags", int)),
            "datetime": lambda tagged: datetime_of(tagged, self.decode),
            "milliseconds": lambda tagged: DatetimeMS(_field(tagged, "v", dtm.datetime)),
            "date": lambda tagged: _field(tagged, "v", dtm.datetime).date(),
            "time": lambda tagged: time_of(tagged, self.decode),
            "timedelta": _timedelta,
            "timezone": self._timezone,
            "zoneinfo": lambda tagged: zoneinfo.ZoneInfo(_field(tagged, "v", str)),
            "enum": self._enum,
            "class": lambda tagged: self._trust.resolve(tagged["v"]),
            "telegram": self._telegram,
            "pickle": lambda tagged: self._pickle(tagged, "v"),
            "bot": self._running_bot,
            **{tag: partial(self._inert, make) for tag, make in INERT.items()},
        }
        # Containers: the field that holds what is inside, its decoded type, and what is made of it. They are
        # decoded with two frames a level, so that whatever could be encoded does not exceed Python's limit here.
        self._containers: dict[str, tuple[str, type, Callable[[dict[str, Any], Any], Any]]] = {
            "tuple": ("v", list, lambda _, items: tuple(items)),
            "set": ("v", list, lambda _, items: set(_elements(items))),
            "frozenset": ("v", list, lambda _, items: frozenset(_elements(items))),
            "deque": ("v", list, lambda tagged, items: collections.deque(items, tagged.get("maxlen"))),
            "dict": ("v", list, _from_pairs),
            "OrderedDict": ("v", dict, lambda _, mapping: collections.OrderedDict(mapping)),
            "Counter": ("v", dict, lambda _, mapping: collections.Counter(mapping)),
            "defaultdict": ("v", dict, self._defaultdict),
            "object": ("state", object, self._objects.object),
            "namedtuple": ("v", dict, self._named_tuple),
        }

    def document(self, plain: object) -> Any:
        """The value that a plain document stands for.

        Raises:
            DecodeError: If it cannot be restored; with the path to the culprit.
        """
        self.doubtful = self.holds_bot = self._objects.doubtful = False
        self._packed_levels = 0
        self._spending = Spending()
        try:
            return self.decode(plain)
        except RecursionError as error:
            raise DecodeError("it is nested too deeply") from error
        finally:
            self.doubtful = self.doubtful or self._objects.doubtful

    def decode(self, plain: Any) -> Any:
        """The value of one part of a document."""
        kind = type(plain)
        if kind is dict:
            return self._tagged(plain) if TAG in plain else self._dict(plain)
        if kind is list:
            return self._list(plain)
        return plain

    def _dict(self, plain: dict[str, Any]) -> dict[Any, Any]:
        result = {}
        name = ""
        if len(plain) > MANY_KEYS:
            check_collisions([unescape(name) for name in plain if len(name) > _SHORT_INT and name.startswith("%i")])
        try:
            for name, item in plain.items():
                kind = type(item)
                if kind is dict:
                    value = self._tagged(item) if TAG in item else self._dict(item)
                else:
                    value = self._list(item) if kind is list else item
                result[unescape(name)] = value
        except DecodeError as error:
            raise error.within(name) from error
        if len(result) != len(plain):
            raise DecodeError("two of its fields stand for the same key, one of them escaped and one not")
        return result

    def _list(self, plain: list[Any]) -> list[Any]:
        result: list[Any] = []
        try:
            for item in plain:
                kind = type(item)
                if kind is dict:
                    value = self._tagged(item) if TAG in item else self._dict(item)
                else:
                    value = self._list(item) if kind is list else item
                result.append(value)
        except DecodeError as error:
            raise error.within(str(len(result))) from error
        return result

    def _tagged(self, tagged: dict[str, Any]) -> Any:
        tag = tagged[TAG]
        if type(tag) is not str or not any(
            tag in known for known in (self._by_tag, self._containers, INERT, BASE_TAGS)
        ):
            raise DecodeError(f"{TAG} is {tag!r:.40}, which is no form that this version knows")
        try:
            if "cls" in tagged and tag in BASE_TAGS:
                return self._of_base(tag, tagged)
            if tag in self._by_tag:
                return self._by_tag[tag](tagged)
            field, kind, make = self._containers[tag]
            plain = tagged.get(field)
            try:
                if type(plain) is list:
                    inside: Any = self._list(plain)
                elif type(plain) is dict:
                    inside = self._tagged(plain) if TAG in plain else self._dict(plain)
                else:
                    inside = plain
            except DecodeError as error:
                raise error.within(field) from error
            if kind is not object and type(inside) is not kind:
                raise DecodeError(f"its {field} is not {'an array' if kind is list else 'a document'}")
            return make(tagged, inside)
        except (DecodeError, RecursionError):
            raise
        except Exception as error:  # whatever a damaged value may do to a constructor
            # The error's own text may hold the value, which belongs in no log.
            raise DecodeError(f"not a valid {tag} ({type(error).__name__})") from error

    def _class(self, tagged: dict[str, Any]) -> type:
        return self._trust.resolve(tagged["cls"])

    def _inert(self, make: Callable[..., Any], tagged: dict[str, Any]) -> Any:
        self.doubtful = self.doubtful or tagged[TAG] == "iterator"  # which Python copies as it likes
        return make(tagged, self.decode)

    def _integers(self, tagged: dict[str, Any], count: int) -> list[int]:
        items = self._list(_field(tagged, "v", list))
        if len(items) != count or any(type(item) is not int for item in items):
            raise DecodeError(f"its v is not an array of {count} integers")
        return items

    def _defaultdict(self, tagged: dict[str, Any], mapping: dict[Any, Any]) -> Any:
        plain = tagged["factory"]
        if type(plain) is dict and plain.get(TAG) == "function":
            return collections.defaultdict(self._trust.function(plain.get("v")), mapping)
        factory = self.decode(plain)
        if factory is not None and not isinstance(factory, type):
            raise DecodeError("its factory is not a class")
        return collections.defaultdict(factory, mapping)

    def _packed(self, tagged: dict[str, Any]) -> Any:
        self.doubtful = True
        self._packed_levels += 1
        if self._packed_levels > MAX_PACKED:
            raise DecodeError("it is packed too deeply")
        value = self.decode(bson.decode(_field(tagged, "v", bytes), OPTIONS)["v"])
        self._packed_levels -= 1
        return value

    def _timezone(self, tagged: dict[str, Any]) -> dtm.timezone:
        name = [self.decode(tagged["name"])] if "name" in tagged else []
        return dtm.timezone(self.decode(tagged["v"]), *name)

    def _of_base(self, tag: str, tagged: dict[str, Any]) -> Any:
        """An object of a subclass of a built-in type: its value in the form of that type, and its state."""
        plain = tagged.get("v")
        by_itself = tag in _NATIVE or (tag in {"set", "frozenset"} and type(plain) is dict)  # which is packed
        if by_itself or (tag == "datetime" and "iso" not in tagged):
            try:
                value = self.decode(plain)
            except DecodeError as error:
                raise error.within("v") from error
        else:
            value = self._tagged({name: part for name, part in tagged.items() if name not in {"cls", "state"}})
        if type(value) is not BASE_TAGS[tag]:
            raise DecodeError(f"its v is not a {tag}")
        return self._objects.of_base(tagged, value, self._state_of(tagged))

    def _named_tuple(self, tagged: dict[str, Any], fields: dict[Any, Any]) -> Any:
        return self._objects.named_tuple(tagged, fields, self._state_of(tagged))

    def _state_of(self, tagged: dict[str, Any]) -> Any:
        try:
            return self.decode(tagged["state"]) if "state" in tagged else None
        except DecodeError as error:
            raise error.within("state") from error

    def _enum(self, tagged: dict[str, Any]) -> Any:
        try:
            return self._objects.member(tagged, self.decode(tagged["name"]))
        except DecodeError:
            if stands_for_member(tagged["cls"], tagged.get("v")):
                return tagged["v"]
            raise

    def _telegram(self, tagged: dict[str, Any]) -> Any:
        """A Telegram object; most are such that they need no proof of being usable."""
        pickled, version = tagged.get("pickle"), tagged.get("ptb")
        found = None
        if type(pickled) is bytes and type(version) is str and version == VERSION:
            found = self._telegram_reader.read(pickled, self._bot())
        return self._pickle(tagged, "pickle") if found is None else found

    def _pickle(self, tagged: dict[str, Any], field: str) -> Any:
        is_known = "ptb" in tagged
        restorer = self._restorer(tagged, field, translates=is_known and tagged["ptb"] != VERSION)
        value = restorer.load()
        if not is_known and restorer.holds_telegram:  # it is from before versions were stored
            translator = self._restorer(tagged, field, translates=True)
            with contextlib.suppress(DecodeError):
                value, restorer = translator.load(), translator
        if field == "pickle" and not isinstance(value, telegram.TelegramObject):
            raise DecodeError(f"it is a {type(value).__qualname__}, and no Telegram object")
        self.doubtful = self.doubtful or restorer.doubtful or field == "v"
        return value

    def _restorer(self, tagged: dict[str, Any], field: str, *, translates: bool) -> Restorer:
        base = tagged.get("base")
        pickled = _field(tagged, field, bytes)
        return Restorer(pickled, self._trust, self._bot(), self._spending, translates=translates, base=base)

    def _running_bot(self, tagged: dict[str, Any]) -> Any:
        if tagged.get("foreign"):
            return None
        self.doubtful = self.holds_bot = True
        return self._bot()


def _field(tagged: dict[str, Any], name: str, kind: type) -> Any:
    value = tagged.get(name)
    if not isinstance(value, kind):
        raise DecodeError(f"its {name} is not a {kind.__name__}")
    return value


def _elements(items: list[Any]) -> list[Any]:
    check_collisions(items)
    return items


def _from_pairs(_: dict[str, Any], pairs: list[Any]) -> dict[Any, Any]:
    check_collisions([key for key, _ in pairs])
    result = dict(pairs)
    if len(result) != len(pairs):
        raise DecodeError("two of its pairs have the same key")
    return result


def _decimal(tagged: dict[str, Any]) -> decimal.Decimal:
    value = tagged["v"]
    return value.to_decimal() if isinstance(value, Decimal128) else decimal.Decimal(_field(tagged, "v", str))


def _timedelta(tagged: dict[str, Any]) -> dtm.timedelta:
    days, seconds, micros = (_field(tagged, name, int) for name in ("days", "seconds", "microseconds"))
    return dtm.timedelta(days, seconds, micros)
