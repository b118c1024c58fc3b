"""What becomes of an object whose class has changed since it was stored: defaults for what is new, and what is gone.

Which fields a class declares, and with which defaults, is told by the library that has made it. Plain classes declare
none: their objects come back with the attributes that they had.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from ptb_mongo.codec.bounds import shown
from ptb_mongo.codec.objects import attributes_of, set_attribute, slots_of
from ptb_mongo.codec.shapes import HASH_OF_ATTRS, PYDANTIC_SLOTS, Shape, shape_of
from ptb_mongo.errors import DecodeError
from ptb_mongo.log import get_logger

__all__ = ["GONE", "Fields", "Said", "add_defaults", "complete", "fields_of", "missing"]

_LOGGER = get_logger(__name__)
_MOST_SAID: Final = 200  # whoever writes to the database can invent any number of fields

Default = Callable[[Any], Any]
"""Makes the value of a field, of the object that lacks it."""


class Fields(NamedTuple):
    """The fields that a class declares.

    Attributes:
        required: Those without which there is no object.
        defaults: What the others are, if they are not given.
        are_all: Whether there is no room for anything else.
        slots: Where there is room, then; but for what a model of pydantic has.
    """

    required: frozenset[str]
    defaults: Mapping[str, Default]
    are_all: bool
    slots: frozenset[str]

    def have_room_for(self, attributes: Mapping[str, Any]) -> bool:
        """Whether an object that is nothing but its attributes can have these."""
        return not self.are_all or attributes.keys() <= self.slots

    def are_in(self, attributes: Mapping[str, Any]) -> bool:
        """Whether none of them is missing."""
        names = attributes.keys()
        return self.required <= names and self.defaults.keys() <= names


_FIELDS: Final[WeakKeyDictionary[type, Fields]] = WeakKeyDictionary()


GONE: Final = "has no field %s any more: what is stored of it is left out, and stays stored"


class Said:
    """Says once for each class and field that what is stored is not what comes back."""

    def __init__(self) -> None:
        self._known: set[tuple[type, str]] = set()

    def about(self, cls: type, name: object, what: str) -> None:
        """Something is to be said.

        Args:
            cls: The class.
            name: The field.
            what: The text, with `%s` for the field.
        """
        one = cls, shown(name)
        if one not in self._known and len(self._known) < _MOST_SAID:
            self._known.add(one)
            _LOGGER.warning("%s.%s %s", cls.__module__, cls.__qualname__, what % one[1])


def fields_of(cls: Any, shape: Shape) -> Fields:
    """The fields that a class declares."""
    fields = _FIELDS.get(cls)
    if fields is None:
        fields = _FIELDS[cls] = _fields(cls, shape)
    return fields


def _fields(cls: Any, shape: Shape) -> Fields:
    if shape.kind == "pydantic":
        declared, are_all = _of_pydantic(cls), True
    elif shape.kind == "attrs":
        declared, are_all = _of_attrs(cls), not _has_dict(cls)
    elif dataclasses.is_dataclass(cls):
        declared, are_all = _of_dataclass(cls), not _has_dict(cls)
    else:
        declared, are_all = iter(()), shape.kind != "msgspec" and not _has_dict(cls)
    known = dict(declared)
    required = frozenset(name for name, default in known.items() if default is None)
    defaults = {name: default for name, default in known.items() if default not in {None, _left_out}}
    return Fields(required, defaults, are_all, frozenset(slots_of(cls)))


def _has_dict(cls: Any) -> bool:
    return any("__dict__" in vars(owner) for owner in cls.__mro__)


def _left_out(_: Any) -> None:
    """Stands for the default of a field that an object may lack, as its `__init__` does not set it."""


def _of_dataclass(cls: Any) -> Iterator[tuple[str, Default | None]]:
    for field in dataclasses.fields(cls):
        if _is_computed(cls, field.name):
            continue
        if field.default is not dataclasses.MISSING:
            yield field.name, _value(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            yield field.name, _called(field.default_factory)
        else:
            yield field.name, None if field.init else _left_out


def _of_attrs(cls: Any) -> Iterator[tuple[str, Default | None]]:
    import attr  # noqa: PLC0415  (there, as it has made the class)

    for field in cls.__attrs_attrs__:
        default: Any = field.default
        if _is_computed(cls, field.name):
            continue
        if default is attr.NOTHING:
            yield field.name, None if field.init else _left_out
        elif isinstance(default, attr.Factory):  # type: ignore[arg-type]
            yield field.name, default.factory if default.takes_self else _called(default.factory)
        else:
            yield field.name, _value(default)


def _of_pydantic(cls: Any) -> Iterator[tuple[str, Default | None]]:
    for name, field in cls.model_fields.items():
        if field.is_required():
            yield name, None
        elif getattr(field, "default_factory_takes_validated_data", False):
            yield name, _of_data(field)
        else:
            yield name, _called(functools.partial(field.get_default, call_default_factory=True))


def _is_computed(cls: Any, name: str) -> bool:
    """Whether a property stands in the place of a field, which then keeps it somewhere else."""
    found = inspect.getattr_static(cls, name, None)
    return hasattr(type(found), "__set__") and not isinstance(found, types.MemberDescriptorType)


def _value(default: Any) -> Default:
    return lambda _: default


def _called(factory: Callable[[], Any]) -> Default:
    return lambda _: factory()


def _of_data(field: Any) -> Default:
    return lambda obj: field.get_default(call_default_factory=True, validated_data=dict(obj.__dict__))


def missing(cls: type, names: list[str]) -> DecodeError:
    """Why an object without some fields is not restored."""
    few = ", ".join(map(repr, names[:5]))
    return DecodeError(
        f"{cls.__module__}.{cls.__qualname__} has the field {few}, which is not stored: it was stored before the class "
        "had it, or exclude leaves it out; give it a default, or give the class a __setstate__ that sets it"
    )


def complete(obj: Any) -> None:
    """Gives an object that a pickle has restored the defaults of the fields that it lacks.

    Raises:
        DecodeError: If one of them has none.
    """
    cls = type(obj)
    shape = shape_of(cls)
    if shape is None or shape.own_getstate or shape.kind == "msgspec":
        return
    if not shape.own_setstate and (absent := fields_of(cls, shape).required - attributes_of(obj).keys()):
        raise missing(cls, sorted(absent))
    add_defaults(obj, shape)


def add_defaults(obj: Any, shape: Shape) -> None:
    """Gives an object the defaults of the fields that it lacks.

    Raises:
        DecodeError: If a factory fails.
    """
    fields = fields_of(type(obj), shape)
    if not fields.defaults and shape.kind == "other":
        return
    own = attributes_of(obj)
    if shape.kind == "pydantic":
        _complete_model(obj, own)
    for name, default in fields.defaults.items():
        if name in own:
            continue
        try:
            value = default(obj)
        except Exception as error:
            cls = type(obj)
            raise DecodeError(
                f"the default of the field {name!r} of {cls.__module__}.{cls.__qualname__} cannot be made "
                f"({type(error).__name__})"
            ) from error
        set_attribute(obj, name, value)
    if shape.kind == "attrs" and HASH_OF_ATTRS in slots_of(type(obj)):
        set_attribute(obj, HASH_OF_ATTRS, None)


def _complete_model(model: Any, own: Mapping[str, Any]) -> None:
    """What pydantic keeps beside the fields, where it is not stored; `own` are the attributes that are."""
    cls: Any = type(model)
    fields_set, extra, private = map(own.get, PYDANTIC_SLOTS)
    if fields_set is None:
        set_attribute(model, PYDANTIC_SLOTS[0], {*model.__dict__} & {*cls.model_fields} | {*(extra or ())})
    if cls.__pydantic_root_model__:
        return  # for the rest, the class says that there is none
    if extra is None:
        set_attribute(model, PYDANTIC_SLOTS[1], {} if cls.model_config.get("extra") == "allow" else None)
    declared = cls.__private_attributes__
    if private is None and not declared:
        set_attribute(model, PYDANTIC_SLOTS[2], None)
        return
    private = {} if private is None else private
    for name, attribute in declared.items():
        if name not in private and (attribute.default_factory is not None or not _is_undefined(attribute.default)):
            private[name] = attribute.get_default()
    set_attribute(model, PYDANTIC_SLOTS[2], private)


def _is_undefined(value: object) -> bool:
    return type(value).__name__ == "PydanticUndefinedType"
