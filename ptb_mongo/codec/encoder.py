"""Python values to plain documents: what BSON holds without loss as it is, everything else tagged.

Equal values give equal documents, whatever the order of a set. Encoding reads the value and changes nothing.
"""

from __future__ import annotations

import collections
import enum
import re
from collections.abc import Callable, Collection
from typing import Any, Final

import bson
import telegram
from bson.code import Code
from bson.dbref import DBRef
from bson.errors import BSONError

from ptb_mongo.codec.bounds import Spending
from ptb_mongo.codec.hashing import MANY_KEYS, check_collisions
from ptb_mongo.codec.inert import inert_form
from ptb_mongo.codec.keys import TAG, escape
from ptb_mongo.codec.left_out import IN_ONE_PIECE, OF_ITS_OWN, LeftOut, PartOf
from ptb_mongo.codec.native import Nature, nature
from ptb_mongo.codec.object_forms import Cycle, ObjectForms
from ptb_mongo.codec.opaque import OpaqueForms
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.codec.parts import enum_key, enum_member
from ptb_mongo.codec.scalars import SCALARS, Form
from ptb_mongo.codec.times import TimeForms
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["Encoder", "sort_elements"]

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


class Encoder:
    """Encodes values; see `ptb_mongo.codec` for the forms.

    Args:
        trust: Which classes may be stored.
        bot: Returns the running bot.
    """

    def __init__(self, trust: Trust, bot: Callable[[], telegram.Bot | None]) -> None:
        self._trust = trust
        self._opaque = OpaqueForms(trust, bot)
        self._objects = ObjectForms(trust, self.encode, self._dict, self._opaque_form)
        self.doubtful = False
        """Whether it may be that the value that was encoded last cannot be decoded: classes run their own code then."""
        self._size = 0
        self._spending = Spending()
        self._unescaped: set[str] = set()  # keys that are stored as they are: most are seen again and again
        self._by_type: dict[type, Form] = {
            **SCALARS,
            **TimeForms(self.encode).by_type,
            dict: self._dict,
            list: self._list,
            tuple: self._tuple,
            set: self._set,
            frozenset: self._set,
            collections.deque: self._deque,
            collections.OrderedDict: self._mapping,
            collections.Counter: self._mapping,
            collections.defaultdict: self._mapping,
            re.Pattern: self._pattern,
            Code: lambda value, depth: self._native(value, value.scope, depth),
            DBRef: lambda value, depth: self._native(value, list(value.as_doc().values()), depth),
            LeftOut: _refused,
            PartOf: self._part_of,
        }

    def document(self, value: object) -> Any:
        """The plain form of a whole value.

        Raises:
            EncodeError: If it cannot be stored; with the path to the culprit.
        """
        self._size = 0
        self._spending = Spending()
        self.doubtful = self._objects.doubtful = False
        try:
            return self.encode(value, 0)
        except (Cycle, RecursionError) as error:
            raise EncodeError("it is nested too deeply, or contains itself") from error
        except BSONError as error:  # from a set or a packed container, which are BSON already
            raise EncodeError(str(error)) from error
        finally:
            self.doubtful = self.doubtful or self._objects.doubtful

    def nature(self, value: object) -> Nature:
        """The nature of a value that has a fingerprint."""
        return nature(value, self._is_name, self._unescaped)

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

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        self._count(len(value), depth)
        if depth % _PACK_DEPTH >= _PACK_FROM:
            return self._packed(self._dict, value, depth)
        if len(value) > MANY_KEYS and set(map(type, value)) != {str}:
            _check_hashes(value)
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
                raise error.within(name) from error
        return result

    def _escape(self, key: Any) -> str | None:
        name = escape(key)
        if name is not None and name == key and len(self._unescaped) < _REMEMBERED_KEYS:
            self._unescaped.add(key)
        return name

    def _is_name(self, key: Any) -> bool:
        return type(key) is str and self._escape(key) == key

    def _pairs(self, value: dict[Any, Any], depth: int) -> Any:
        _check_hashes(value)
        pairs = []
        for index, (key, item) in enumerate(value.items()):
            try:
                pairs.append([self.encode(key, depth + 3), self.encode(item, depth + 3)])
            except EncodeError as error:
                raise error.within(f"v.{index}") from error
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
                raise error.within(str(len(result))) from error
        return result

    def _packed(self, encode: Form, value: Any, depth: int) -> Any:
        """A container too deep for MongoDB, as BSON inside binary."""
        self.doubtful = True
        inside = encode(value, (depth // _PACK_DEPTH + 1) * _PACK_DEPTH)
        return {TAG: "bson", "v": bson.encode({"v": inside}, codec_options=OPTIONS)}

    def _tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        try:
            return {TAG: "tuple", "v": self._list(value, depth + 1)}
        except EncodeError as error:
            raise error.within("v") from error

    def _set(self, value: Collection[Any], depth: int) -> Any:
        self._count(len(value), depth)
        if depth % _PACK_DEPTH >= _PACK_FROM:
            return self._packed(self._set, value, depth)
        _check_hashes(value)
        try:
            elements = [self.encode(element, depth + 2) for element in value]
        except EncodeError as error:
            raise error.within("v") from error
        sort_elements(elements)
        return {TAG: type(value).__name__, "v": elements}

    def _deque(self, value: collections.deque[Any], depth: int) -> Any:
        limit = {} if value.maxlen is None else {"maxlen": value.maxlen}
        try:
            return {TAG: "deque", **limit, "v": self._list(value, depth + 1)}
        except EncodeError as error:
            raise error.within("v") from error

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        factory = {}
        if isinstance(value, collections.defaultdict):
            factory["factory"] = self._factory(value.default_factory, depth + 1)
        try:
            return {TAG: type(value).__name__, **factory, "v": self._dict(value, depth + 1)}
        except EncodeError as error:
            raise error.within("v") from error

    def _factory(self, factory: Any, depth: int) -> Any:
        if isinstance(factory, (type, type(None))):
            return self.encode(factory, depth)
        return {TAG: "function", "v": self._trust.name_of_function(factory)}

    def _native(self, value: Any, content: Any, depth: int) -> Any:
        """One of BSON's own types that holds values, which must be BSON's own too."""
        plain = self.encode(content, depth + 1)
        try:
            # As BSON: a class may have a `__eq__` of its own.
            one, other = (bson.encode({"v": part}, codec_options=OPTIONS) for part in (plain, content))
            is_native = one == other
        except Exception:  # noqa: BLE001  (it is no BSON, whatever its class raises then)
            is_native = False
        if not is_native:
            raise EncodeError(f"a {type(value).__name__} can hold only what BSON holds without loss")
        return value

    def _pattern(self, value: re.Pattern[Any], depth: int) -> Any:
        try:
            self._spending.pattern(value.pattern, value.flags)
        except ValueError as error:
            raise EncodeError(str(error)) from error
        return {TAG: "regex", "v": self.encode(value.pattern, depth + 1), "flags": value.flags}

    def _other(self, value: Any, depth: int) -> Any:
        """Everything that is not found by its exact type."""
        self._count(1, depth)
        if isinstance(value, enum.Enum):
            return self._enum(value, depth)
        if isinstance(value, (telegram.TelegramObject, type)):
            return self._opaque_form(value)
        if (form := self._inert(value, depth)) is not None:
            return form
        return self._objects.form(value, depth)

    def _inert(self, value: Any, depth: int) -> Any:
        try:
            form = inert_form(value, lambda part: self.encode(part, depth + 1))
        except EncodeError as error:
            if error.path:
                raise error.within("v") from error
            raise
        if form is not None and form[TAG] == "iterator":
            self.doubtful = True  # Python itself goes through one in another when it is copied
        return form

    def _part_of(self, value: PartOf, depth: int) -> Any:
        """An object of which a part is excluded: one that has a form of its own has no such parts."""
        form = self.encode(value.value, depth)
        if type(form) is dict and form.get(TAG) == "pickle":
            raise EncodeError(IN_ONE_PIECE)
        return form

    def _opaque_form(self, value: Any) -> Any:
        """What is stored in one piece; only PTB's own objects are known to come back from it."""
        form = self._opaque.form(value)
        self.doubtful = self.doubtful or self._opaque.doubtful
        return form

    def _enum(self, value: enum.Enum, depth: int) -> Any:
        key = enum_key(value)
        try:
            enum_member(type(value), key)
        except DecodeError as error:
            raise EncodeError(error.reason) from error
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


def sort_elements(elements: list[Any]) -> None:
    """Brings the plain elements of a set into the order in which a set is stored."""
    kinds = {type(element) for element in elements}
    if kinds <= {str} or kinds <= {int}:
        elements.sort()
    else:
        elements.sort(key=lambda element: bson.encode({"v": element}, codec_options=OPTIONS))


def _refused(_: LeftOut, __: int) -> Any:
    raise EncodeError(OF_ITS_OWN)


def _check_hashes(values: Collection[Any]) -> None:
    try:
        check_collisions(values)
    except DecodeError as error:
        raise EncodeError(error.reason) from error
    except RecursionError:
        raise
    except Exception as error:  # whatever a `__hash__` or `__eq__` of a key's class may raise
        raise EncodeError(f"its keys or elements cannot be compared ({type(error).__name__}: {error})") from error
