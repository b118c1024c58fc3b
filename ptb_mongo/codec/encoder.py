"""Python values to plain documents: what BSON holds without loss as it is, everything else tagged.

Equal values give equal documents, whatever the order of a set. Encoding reads the value and changes nothing.
"""

from __future__ import annotations

import collections
import datetime as dtm
import decimal
import enum
import re
import uuid
import zoneinfo
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Any, Final

import bson
import telegram
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from ptb_mongo.codec import pickling
from ptb_mongo.codec.bounds import pattern
from ptb_mongo.codec.keys import TAG, escape
from ptb_mongo.codec.objects import attributes_of, is_plain
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.codec.parts import enum_key, fraction
from ptb_mongo.codec.scalars import (
    MAX_INT64,
    MIN_INT64,
    binary_form,
    decimal_form,
    milliseconds_form,
    regex_form,
    view_of,
)
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import EncodeError

__all__ = ["Encoder", "sort_elements"]


_UTC: Final = dtm.timezone.utc
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DECIMAL_DIGITS: Final = 1000  # beyond, in hexadecimal: Python limits long decimal texts
# MongoDB takes about 180 levels of documents and arrays, and tags double the depth: what lies deeper is
# packed into binary, where it counts anew.
_PACK_DEPTH: Final = 80
_PACK_FROM: Final = 76  # a form with tags takes up to three levels at once
_MAX_DEPTH: Final = 620
_REMEMBERED_KEYS: Final = 10_000
# What a document is bound to take at least: a small object graph that unfolds into more than MongoDB stores (shared
# references to shared references) is stopped here, not by the memory.
_MAX_SIZE: Final = 16 * 1024 * 1024
_CONTAINER_SIZE: Final = 5
_ELEMENT_SIZE: Final = 3

_Encode = Callable[[Any, int], Any]


class Encoder:
    """Encodes values; see `ptb_mongo.codec` for the forms.

    Args:
        trust: Which classes may be stored.
        bot: Returns the running bot.
    """

    def __init__(self, trust: Trust, bot: Callable[[], telegram.Bot | None]) -> None:
        self._trust = trust
        self._bot = bot
        self._size = 0
        self._unescaped: set[str] = set()  # keys that are stored as they are: most are seen again and again
        self._by_type: dict[type, _Encode] = {
            str: self._str,
            int: self._int,
            dict: self._dict,
            list: self._list,
            tuple: self._tuple,
            set: self._set,
            frozenset: self._set,
            bytearray: lambda value, _: {TAG: "bytearray", "v": bytes(value)},
            dtm.datetime: self._datetime,
            dtm.date: lambda value, _: {
                TAG: "date",
                "v": dtm.datetime(value.year, value.month, value.day, tzinfo=_UTC),
            },
            dtm.time: self._time,
            dtm.timedelta: lambda value, _: {
                TAG: "timedelta",
                "v": value.total_seconds(),
                "days": value.days,
                "seconds": value.seconds,
                "microseconds": value.microseconds,
            },
            dtm.timezone: self._timezone,
            zoneinfo.ZoneInfo: self._zone,
            decimal.Decimal: decimal_form,
            Fraction: self._fraction,
            range: lambda value, depth: {
                TAG: "range",
                "v": [self._int(part, depth) for part in (value.start, value.stop, value.step)],
            },
            re.Pattern: self._pattern,
            Int64: lambda value, _: {TAG: "int64", "v": Int64(value)},
            Binary: binary_form,
            collections.deque: self._deque,
            collections.OrderedDict: self._mapping,
            collections.Counter: self._mapping,
            collections.defaultdict: self._mapping,
            DatetimeMS: milliseconds_form,
            Regex: regex_form,
            Code: lambda value, depth: self._native(value, value.scope, depth),
            DBRef: lambda value, depth: self._native(value, list(value.as_doc().values()), depth),
        }
        natives = (type(None), bool, float, bytes, ObjectId, Decimal128, Timestamp, MinKey, MaxKey, uuid.UUID)
        for native in natives:
            self._by_type[native] = _as_is

    def document(self, value: object) -> Any:
        """The plain form of a whole value.

        Raises:
            EncodeError: If it cannot be stored; with the path to the culprit.
        """
        self._size = 0
        try:
            return self.encode(value, 0)
        except RecursionError as error:
            raise EncodeError("it is nested too deeply, or contains itself") from error
        except BSONError as error:  # from a set or a packed container, which are BSON already
            raise EncodeError(str(error)) from error

    def encode(self, value: Any, depth: int) -> Any:
        """The plain form of a value that stands at `depth` levels of BSON."""
        encode = self._by_type.get(type(value))
        return encode(value, depth) if encode else self._other(value, depth)

    def _count(self, elements: int, depth: int) -> None:
        self._size += _CONTAINER_SIZE + _ELEMENT_SIZE * elements
        if self._size > _MAX_SIZE:
            raise EncodeError("it has more elements than a 16 MB document can hold")
        if depth > _MAX_DEPTH:
            raise EncodeError(f"it is nested deeper than {_MAX_DEPTH} levels, or contains itself")

    def _str(self, value: str, _: int) -> Any:
        if value.isascii() or not _SURROGATE.search(value):
            return value
        return {TAG: "str", "v": value.encode("utf-8", "surrogatepass")}

    def _int(self, value: int, _: int) -> Any:
        if MIN_INT64 <= value <= MAX_INT64:
            return value
        return {TAG: "int", "v": str(value) if abs(value) < 10**_DECIMAL_DIGITS else hex(value)}

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        self._count(len(value), depth)
        if depth % _PACK_DEPTH >= _PACK_FROM:
            return self._packed(self._dict, value, depth)
        result = {}
        by_type = self._by_type
        unescaped = self._unescaped
        for key, item in value.items():
            if type(key) is str and key in unescaped:
                name = key
            elif (name := self._escape(key)) is None:  # type: ignore[assignment]
                return self._pairs(value, depth)
            encode = by_type.get(type(item)) or self._other
            try:
                result[name] = encode(item, depth + 1)
            except EncodeError as error:
                raise _within(name, error) from error
        return result

    def _escape(self, key: Any) -> str | None:
        name = escape(key)
        if name == key and len(self._unescaped) < _REMEMBERED_KEYS:
            self._unescaped.add(key)
        return name

    def _pairs(self, value: dict[Any, Any], depth: int) -> Any:
        pairs = []
        for index, (key, item) in enumerate(value.items()):
            try:
                pairs.append([self.encode(key, depth + 3), self.encode(item, depth + 3)])
            except EncodeError as error:
                raise _within(f"v.{index}", error) from error
        return {TAG: "dict", "v": pairs}

    def _list(self, value: Collection[Any], depth: int) -> Any:
        self._count(len(value), depth)
        if depth % _PACK_DEPTH >= _PACK_FROM:
            return self._packed(self._list, value, depth)
        result: list[Any] = []
        by_type = self._by_type
        for item in value:
            encode = by_type.get(type(item)) or self._other
            try:
                result.append(encode(item, depth + 1))
            except EncodeError as error:
                raise _within(str(len(result)), error) from error
        return result

    def _packed(self, encode: _Encode, value: Any, depth: int) -> Any:
        """A container too deep for MongoDB, as BSON inside binary."""
        inside = encode(value, (depth // _PACK_DEPTH + 1) * _PACK_DEPTH)
        return {TAG: "bson", "v": bson.encode({"v": inside}, codec_options=OPTIONS)}

    def _tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        try:
            return {TAG: "tuple", "v": self._list(value, depth + 1)}
        except EncodeError as error:
            raise _within("v", error) from error

    def _set(self, value: Collection[Any], depth: int) -> Any:
        self._count(len(value), depth)
        if depth % _PACK_DEPTH >= _PACK_FROM:
            return self._packed(self._set, value, depth)
        try:
            elements = [self.encode(element, depth + 2) for element in value]
        except EncodeError as error:
            raise _within("v", error) from error
        sort_elements(elements)
        return {TAG: type(value).__name__, "v": elements}

    def _deque(self, value: collections.deque[Any], depth: int) -> Any:
        limit = {} if value.maxlen is None else {"maxlen": value.maxlen}
        try:
            return {TAG: "deque", **limit, "v": self._list(value, depth + 1)}
        except EncodeError as error:
            raise _within("v", error) from error

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        factory = {}
        if isinstance(value, collections.defaultdict):
            factory["factory"] = self.encode(value.default_factory, depth + 1)
        try:
            return {TAG: type(value).__name__, **factory, "v": self._dict(value, depth + 1)}
        except EncodeError as error:
            raise _within("v", error) from error

    def _native(self, value: Any, content: Any, depth: int) -> Any:
        """One of BSON's own types that holds values, which must be BSON's own too."""
        if self.encode(content, depth + 1) != content:
            raise EncodeError(f"a {type(value).__name__} can hold only what BSON holds without loss")
        return value

    def _datetime(self, value: dtm.datetime, depth: int) -> Any:
        zone = value.tzinfo
        if zone is not _UTC and type(zone) is dtm.timezone and zone == _UTC and zone.tzname(None) == "UTC":
            value = value.replace(tzinfo=_UTC)  # the same, but for its identity
        if value.tzinfo is _UTC and not value.microsecond % 1000 and not value.fold:
            return value
        instant: dict[str, Any] = {}
        try:
            utc = value.replace(tzinfo=_UTC) if value.tzinfo is None else value.astimezone(_UTC)
            instant["v"] = utc.replace(microsecond=utc.microsecond // 1000 * 1000)
        except (OverflowError, ValueError):  # within hours of the years 1 and 9999: no such instant in UTC
            pass
        return {TAG: "datetime", **instant, "iso": value.isoformat(), **self._zone_fields(value, depth)}

    def _time(self, value: dtm.time, depth: int) -> Any:
        return {TAG: "time", "v": value.isoformat(), **self._zone_fields(value, depth)}

    def _zone_fields(self, value: dtm.datetime | dtm.time, depth: int) -> dict[str, Any]:
        """What the ISO form leaves out: the zone's name, and which of two repeated hours is meant."""
        fields: dict[str, Any] = {"fold": 1} if value.fold else {}
        zone = value.tzinfo
        offset_says_all = (
            type(zone) is dtm.timezone
            and zone.tzname(None) == _default_name(zone)
            and not zone.utcoffset(None).microseconds  # which fromisoformat may lose
        )
        if zone is not None and not offset_says_all:
            fields["tz"] = self.encode(zone, depth + 1)
        return fields

    def _timezone(self, value: dtm.timezone, depth: int) -> Any:
        name = value.tzname(None)
        named = {} if name == _default_name(value) else {"name": self._str(name, depth)}
        return {TAG: "timezone", "v": self.encode(value.utcoffset(None), depth + 1), **named}

    def _zone(self, value: zoneinfo.ZoneInfo, _: int) -> Any:
        if not value.key:
            raise EncodeError("a ZoneInfo that was read from a file cannot be stored; use one with a name")
        return {TAG: "zoneinfo", "v": value.key}

    def _fraction(self, value: Fraction, depth: int) -> Any:
        try:
            fraction(value.numerator, value.denominator)
        except ValueError as error:
            raise EncodeError(str(error)) from error
        return {TAG: "fraction", "v": [self._int(part, depth) for part in value.as_integer_ratio()]}

    def _pattern(self, value: re.Pattern[Any], depth: int) -> Any:
        try:
            pattern(value.pattern, value.flags)
        except ValueError as error:
            raise EncodeError(str(error)) from error
        return {TAG: "regex", "v": self.encode(value.pattern, depth + 1), "flags": value.flags}

    def _other(self, value: Any, depth: int) -> Any:
        """Everything that is not found by its exact type."""
        cls = type(value)
        self._count(1, depth)
        if isinstance(value, enum.Enum):
            return self._enum(value, depth)
        if isinstance(value, telegram.TelegramObject) and not isinstance(value, telegram.Bot):
            return self._telegram(value)
        if isinstance(value, telegram.Bot):
            if value is self._bot():
                return {TAG: "bot"}
            pickling.warn_foreign_bot()
            return {TAG: "bot", "foreign": True}
        if isinstance(value, type):
            return {TAG: "class", "v": self._trust.name_of(value)}
        if isinstance(value, tuple) and _is_named_tuple(cls):
            return self._named_tuple(value, depth)
        if is_plain(cls):
            attributes = attributes_of(value)
            if all(type(name) is str for name in attributes):
                return self._object(cls, attributes, depth)
        if cls.__module__.partition(".")[0] == "pytz" and getattr(value, "zone", None) == "UTC":
            return {TAG: "pytz", "v": "UTC"}
        binary = pickling.dumps(value, trust=self._trust, bot=self._bot())
        return {TAG: "pickle", "cls": self._trust.name_of(cls), "v": binary}

    def _enum(self, value: enum.Enum, depth: int) -> Any:
        key = enum_key(value)
        plain = value.value
        native = {"v": plain} if type(plain) in {str, int, bool, float} else {}
        if native:
            native["v"] = self.encode(plain, depth + 1)
        return {
            TAG: "enum",
            "cls": self._trust.name_of(type(value)),
            "name": self.encode(key, depth + 1),
            **native,
        }

    def _object(self, cls: type, attributes: dict[str, Any], depth: int) -> Any:
        name = self._trust.name_of(cls)
        try:
            return {TAG: "object", "cls": name, "state": self._dict(attributes, depth + 1)}
        except EncodeError as error:
            raise _within("state", error) from error

    def _named_tuple(self, value: Any, depth: int) -> Any:
        cls = type(value)
        name = self._trust.name_of(cls)
        if getattr(value, "__dict__", None):
            binary = pickling.dumps(value, trust=self._trust, bot=self._bot())
            return {TAG: "pickle", "cls": name, "v": binary}
        if len(cls._fields) != len(value):
            raise EncodeError(f"a {name} has {len(value)} values for {len(cls._fields)} fields")
        try:
            fields = self._dict(dict(zip(cls._fields, value, strict=True)), depth + 1)
        except EncodeError as error:
            raise _within("v", error) from error
        return {TAG: "namedtuple", "cls": name, "v": fields}

    def _telegram(self, value: telegram.TelegramObject) -> Any:
        try:
            view = view_of(value.to_dict(), 1)
        except Exception:  # noqa: BLE001  (an attribute of another type than PTB expects; the pickle holds it)
            view = None
        return {
            TAG: "telegram",
            "cls": self._trust.name_of(type(value)),
            "pickle": pickling.dumps(value, trust=self._trust, bot=self._bot()),
            "view": view,
        }


def sort_elements(elements: list[Any]) -> None:
    """Brings the plain elements of a set into the order in which a set is stored."""
    kinds = {type(element) for element in elements}
    if kinds <= {str} or kinds <= {int}:
        elements.sort()
    else:
        elements.sort(key=lambda element: bson.encode({"v": element}, codec_options=OPTIONS))


def _within(key: str, error: EncodeError) -> EncodeError:
    path = f"{key}.{error.path}" if error.path else key
    return EncodeError(error.reason, path=path)


def _as_is(value: Any, _: int) -> Any:
    return value


def _default_name(zone: dtm.timezone) -> str:
    return dtm.timezone(zone.utcoffset(None)).tzname(None)


def _is_named_tuple(cls: Any) -> bool:
    fields = getattr(cls, "_fields", None)
    return isinstance(fields, tuple) and cls.__reduce_ex__ is object.__reduce_ex__
