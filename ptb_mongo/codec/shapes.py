"""What an object of each class consists of: which base type holds its elements, and what else is its state.

The rule is pickle's: a class with a `__getstate__` of its own says itself what its state is, and one with a
`__setstate__` is given it. Every other object is its attributes. A class whose objects pickle would make in another
way (`__reduce__`, `__getnewargs__`, a structure of C) has no shape, and its objects are stored in one piece.

Pydantic, attrs and msgspec are never imported here: an object of theirs can only be there if they have been.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dtm
import enum
import os.path
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

import telegram

from ptb_mongo.codec.objects import attributes_of, copies_itself, is_plain, slots_of, without_alias

__all__ = ["BASES", "HASH_OF_ATTRS", "PYDANTIC_SLOTS", "Shape", "is_frozen", "is_named_tuple", "shape_of"]

BASES: Final[dict[type, Callable[[Any], Any]]] = {
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    collections.deque: lambda value: collections.deque(collections.deque.__iter__(value), value.maxlen),
    collections.OrderedDict: lambda value: collections.OrderedDict(collections.OrderedDict.items(value)),
    collections.Counter: lambda value: collections.Counter(dict(dict.items(value))),
    collections.defaultdict: lambda value: collections.defaultdict(value.default_factory, dict.items(value)),
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    int: int.__int__,
    float: float.__float__,
    dtm.datetime: lambda value: dtm.datetime(
        *(value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond),
        tzinfo=value.tzinfo,
        fold=value.fold,
    ),
    dtm.date: lambda value: dtm.date(value.year, value.month, value.day),
    dtm.time: lambda value: dtm.time(
        *(value.hour, value.minute, value.second, value.microsecond), tzinfo=value.tzinfo, fold=value.fold
    ),
    dtm.timedelta: lambda value: dtm.timedelta(value.days, value.seconds, value.microseconds),
}
"""What a class can be made from, and how an object of it becomes one of just that type, by no method of its own."""

# A copy of these loses their own attributes, so that they are not stored either: PTB hands over copies. It has those
# that the class's own constructor sets: objects that have some by that are stored as a call of it, in one piece.
_WITHOUT_ATTRIBUTES: Final = frozenset(
    {collections.Counter, collections.defaultdict, dtm.datetime, dtm.date, dtm.time, dtm.timedelta}
)
PYDANTIC_SLOTS: Final = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
HASH_OF_ATTRS: Final = "_attrs_cached_hash"
"""Where attrs remembers a hash, which in another process is another one."""

# The modules of the methods that libraries give to classes.
_GENERATED: Final = frozenset({"dataclasses", "pydantic.main", "pydantic.root_model"})
_SHAPES: Final[WeakKeyDictionary[type, Shape | None]] = WeakKeyDictionary()


class Shape(NamedTuple):
    """What the objects of a class consist of.

    Attributes:
        base: The type that holds the elements, or the value, of an object; `object` if there is none.
        kind: The library that has made the class.
        own_getstate: Whether the class says itself what its state is.
        own_setstate: Whether it takes itself what its state was.
        is_doubtful: Whether code of the class runs when an object is restored or copied.
        is_plain: Whether an object is nothing but its attributes.
        is_named: Whether it is a named tuple without a state of its own.
        is_whole: Whether an object with attributes of its own is stored in one piece all the same, as a call of its
            class makes them.
    """

    base: type
    kind: Literal["pydantic", "msgspec", "attrs", "other"]
    own_getstate: bool
    own_setstate: bool
    is_doubtful: bool
    is_plain: bool
    is_named: bool = False
    is_whole: bool = False

    def state_of(self, obj: Any) -> Any:
        """What is stored beside the elements: a dict of the attributes, or what the class itself says."""
        if self.own_getstate:
            return without_alias(obj.__getstate__())
        if self.base in _WITHOUT_ATTRIBUTES:
            return {}
        if self.kind == "msgspec":
            return {name: getattr(obj, name) for name in obj.__struct_fields__}
        if self.kind == "pydantic":
            return _pydantic_attributes(obj)
        if self.kind == "attrs" and _generated_by_attrs(getattr(type(obj), "__getstate__", None)):
            # As attrs itself says: not what a `cached_property` remembers in a slot.
            return {
                field.name: _slot(obj, field.name)
                for field in obj.__attrs_attrs__
                if _slot(obj, field.name) is not _NOT_SET
            }
        state = attributes_of(obj)
        return {**state, HASH_OF_ATTRS: None} if HASH_OF_ATTRS in state else state

    def pickled_state(self, cls: Any, attributes: Mapping[str, Any]) -> Any:
        """The state with these attributes as pickle would hand it to a `__setstate__`; `None`, if it would not."""
        getstate = getattr(cls, "__getstate__", None)
        if self.kind == "pydantic":
            inside = {name: value for name, value in attributes.items() if name not in PYDANTIC_SLOTS}
            slots = {name: attributes.get(name) for name in PYDANTIC_SLOTS}
            return {"__dict__": inside, **slots}
        if getattr(getstate, "__module__", None) == "dataclasses":
            return [attributes.get(field.name) for field in dataclasses.fields(cls)]
        if _generated_by_attrs(getstate):
            return dict(attributes)
        names = slots_of(cls)
        in_slots = {name: value for name, value in attributes.items() if name in names}
        own = {name: value for name, value in attributes.items() if name not in names}
        return (own or None, in_slots) if in_slots else own or None


def shape_of(cls: Any) -> Shape | None:
    """The shape of a class; `None` if its objects are stored in one piece, or have a form by their exact type."""
    try:
        return _SHAPES[cls]
    except KeyError:
        shape = _SHAPES[cls] = _shape(cls)
        return shape


def _shape(cls: Any) -> Shape | None:
    if issubclass(cls, (telegram.TelegramObject, BaseException, enum.Enum, type)):
        return None
    if cls is types.SimpleNamespace:
        return Shape(object, "other", own_getstate=False, own_setstate=False, is_doubtful=False, is_plain=True)
    kind, made_from = _library(cls)
    base = next((one for one in cls.__mro__ if one in BASES), object)
    made_from = base if made_from is object else made_from
    if (cls is base and base is not object) or (
        # Made by pickle as the base itself is.
        cls.__reduce__ is not made_from.__reduce__
        or cls.__reduce_ex__ is not made_from.__reduce_ex__
        or cls.__itemsize__ != made_from.__itemsize__
    ):
        return None
    if base is object and (hasattr(cls, "__getnewargs__") or hasattr(cls, "__getnewargs_ex__")):
        return None
    # Nothing but attributes: no C structure underneath.
    if cls.__basicsize__ - made_from.__basicsize__ > 8 * (len(slots_of(cls)) + 2):
        return None
    by_call = kind == "msgspec"  # it is made by a call: pickle hands over no state
    own_getstate = not by_call and _is_own(cls, "__getstate__")
    own_setstate = not by_call and _is_own(cls, "__setstate__")
    if is_named_tuple(cls) and not (own_getstate or own_setstate):
        return Shape(base, kind, own_getstate, own_setstate, is_doubtful=False, is_plain=False, is_named=True)
    runs_code = own_getstate or own_setstate or copies_itself(cls) or base is not object or by_call
    is_doubtful = runs_code or cls.__new__ is not object.__new__
    is_whole = base in _WITHOUT_ATTRIBUTES and not own_getstate and _constructor_sets_attributes(cls, base)
    return Shape(base, kind, own_getstate, own_setstate, is_doubtful, is_plain(cls), is_whole=is_whole)


def _constructor_sets_attributes(cls: Any, base: Any) -> bool:
    """Whether a class has a constructor of its own, and its objects have room for what that may set."""
    is_own = cls.__new__ is not base.__new__ or cls.__init__ is not base.__init__
    return is_own and bool(cls.__dictoffset__ or slots_of(cls))


def _library(cls: Any) -> tuple[Literal["pydantic", "msgspec", "attrs", "other"], Any]:
    """The library that has made a class, and its class that says how pickle makes an object."""
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    if model is not None and issubclass(cls, model) and hasattr(model, "model_fields"):
        return "pydantic", object
    struct = getattr(sys.modules.get("msgspec"), "Struct", None)
    if struct is not None and issubclass(cls, struct):
        return "msgspec", struct
    return ("attrs" if hasattr(cls, "__attrs_attrs__") else "other"), object


def _is_own(cls: Any, name: str) -> bool:
    """Whether a method is the user's: neither Python's own, nor generated by a library."""
    method = getattr(cls, name, None)
    if method is None or method is getattr(object, name, None):
        return False
    return getattr(method, "__module__", None) not in _GENERATED and not _generated_by_attrs(method)


def _generated_by_attrs(method: Any) -> bool:
    code, attrs = getattr(method, "__code__", None), sys.modules.get("attr")
    if code is None or attrs is None or not attrs.__file__:
        return False
    return bool(os.path.dirname(code.co_filename) == os.path.dirname(attrs.__file__))  # noqa: PTH120  (no path is looked at)


_NOT_SET: Final = object()


def _slot(obj: object, name: str) -> Any:
    try:
        return object.__getattribute__(obj, name)  # which does not ask a `__getattr__`, as `hasattr` does
    except AttributeError:
        return _NOT_SET


def _pydantic_attributes(model: Any) -> dict[str, Any]:
    """The fields, then what pydantic keeps beside them, where it is not what it would be anyway."""
    state = dict(model.__dict__)
    usual = (state.keys() & type(model).model_fields.keys()) | {*(model.__pydantic_extra__ or ())}
    if model.__pydantic_fields_set__ != usual:
        state["__pydantic_fields_set__"] = set(model.__pydantic_fields_set__)
    if model.__pydantic_extra__:
        state["__pydantic_extra__"] = model.__pydantic_extra__
    if model.__pydantic_private__ is not None:
        state["__pydantic_private__"] = model.__pydantic_private__
    return state


def is_named_tuple(cls: Any) -> bool:
    """Whether a class of tuples names its elements, and leaves it to pickle how they are stored."""
    fields = getattr(cls, "_fields", None)
    return issubclass(cls, tuple) and isinstance(fields, tuple) and cls.__reduce_ex__ is object.__reduce_ex__


def is_frozen(cls: Any) -> bool:
    """Whether a class promises that its objects do not change."""
    if parameters := getattr(cls, "__dataclass_params__", None):
        return bool(parameters.frozen)
    kind, _ = _library(cls)
    if kind == "pydantic":
        return bool(cls.model_config.get("frozen"))
    if kind == "msgspec":
        return bool(cls.__struct_config__.frozen)
    return kind == "attrs" and getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
