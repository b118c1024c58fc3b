"""Makes objects of the state that is stored of them, also where their class has changed since.

No `__init__`, `__post_init__` or validator is called, and no method that fills a container, but for a
`msgspec.Struct`, which can be made by its `__init__` alone. A class that has a `__setstate__` of its own is given the
state, as pickle would do it; one with a `__new__` of its own is made by that, without arguments.
"""

from __future__ import annotations

import collections
import enum
import types
from collections.abc import Mapping
from typing import Any, Final

from ptb_mongo.codec.aliases import way_out
from ptb_mongo.codec.bounds import COPY_HOOKS
from ptb_mongo.codec.evolution import GONE, Said, add_defaults, fields_of, missing
from ptb_mongo.codec.objects import new_object, set_attribute, slots_of
from ptb_mongo.codec.parts import enum_member
from ptb_mongo.codec.shapes import PYDANTIC_SLOTS, Shape, is_named_tuple, shape_of
from ptb_mongo.codec.subclasses import ALIKE, BASE_TAGS, MADE_FROM
from ptb_mongo.codec.trust import Trust, class_name
from ptb_mongo.errors import DecodeError

__all__ = ["ObjectRestorer"]


_TEXT: Final = frozenset({str})
_WITHOUT_MORE: Final = (object, types.SimpleNamespace)  # standard classes that are nothing but their attributes
_STORED_VALUES: Final = frozenset({str, int, bool, float})  # that stand beside the name of an enum's member


class ObjectRestorer:
    """Restores objects.

    Args:
        trust: Which classes may be restored.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._said = Said()
        self._known: dict[str, tuple[Any, Shape]] = {}  # the classes that were restored, by their names
        self.doubtful = False
        """Whether it may be that one that was restored since this was reset cannot be copied."""

    def object(self, tagged: dict[str, Any], state: Any) -> Any:
        """An object of its state alone."""
        cls, shape = self._class(tagged)
        if shape.base is tuple and is_named_tuple(cls):  # which it was not, when it was stored
            return self._named(cls, shape, state, None)
        if shape.base is object:
            return self._with_state(cls, shape, None, state)
        if shape.base not in {list, dict, set, collections.deque, collections.OrderedDict}:
            raise _other_kind(cls, f"is a {shape.base.__name__} now, and was not when this object was stored")
        return self._with_state(cls, shape, MADE_FROM[shape.base](cls, BASE_TAGS[shape.base.__name__]()), state)

    def named_tuple(self, tagged: dict[str, Any], fields: dict[Any, Any], state: Any) -> Any:
        """A named tuple of its fields."""
        cls, shape = self._class(tagged)
        if shape.base is object and _is_nothing(state):  # it was a named tuple when it was stored
            return self._with_state(cls, shape, None, fields)
        if not is_named_tuple(cls):
            raise _other_kind(cls, "is no named tuple, as it was when this object was stored")
        return self._named(cls, shape, fields, state)

    def of_base(self, tagged: dict[str, Any], value: Any, state: Any) -> Any:
        """An object of a subclass of a built-in type.

        Args:
            tagged: Its form.
            value: What it is, as a value of the type that it was made from.
            state: What was stored beside that; `None` for nothing.
        """
        cls, shape = self._class(tagged)
        if is_named_tuple(cls):  # which it was not, when it was stored
            if type(value) is tuple and len(value) == len(cls._fields):
                return self._named(cls, shape, dict(zip(cls._fields, value, strict=True)), state)
            raise _other_kind(cls, "is a named tuple now, and was none when this object was stored")
        if shape.base is not type(value):
            alike = next((one for one in ALIKE if {shape.base, type(value)} <= one.keys()), None)
            if alike is None:
                raise _other_kind(
                    cls, f"was a {type(value).__name__} when this object was stored, and is none any more"
                )
            value = alike[shape.base](value)
        return self._with_state(cls, shape, MADE_FROM[shape.base](cls, value), state)

    def fill(self, made: Any, attributes: dict[str, Any]) -> Any:
        """The object that a pickle has made, with its attributes; another one, if a call alone can make it.

        Raises:
            DecodeError: If it lacks one that has no default.
        """
        cls: Any = type(made)
        shape = shape_of(cls)
        if shape is None:
            raise DecodeError(f"{class_name(cls)} is not restored from its attributes")
        if shape.kind == "msgspec":
            return self._struct(cls, attributes)
        return self._filled(cls, shape, made, attributes)

    def member(self, tagged: dict[str, Any], key: Any) -> Any:
        """A member of an enum of its name or, where the name is gone, of its value."""
        cls: Any = self._trust.resolve(tagged["cls"])
        value = tagged.get("v")
        try:
            found = enum_member(cls, key)
        except DecodeError as error:
            if type(value) in _STORED_VALUES and issubclass(cls, enum.Enum):
                for one in cls:
                    if type(one.value) is type(value) and one.value == value:
                        return one
            raise DecodeError(
                f"{error.reason}: it was there when this was stored; keep it, if only as an alias of another one"
            ) from error
        if type(key) is str and type(value) in _STORED_VALUES and not _is_value_of(cls, value, found):
            self._said.about(cls, key, "has another value for %s than when it was stored; that of the class counts")
        return found

    def _class(self, tagged: dict[str, Any]) -> tuple[Any, Shape]:
        name = tagged["cls"]
        if type(name) is str and (known := self._known.get(name)) is not None:
            self.doubtful = self.doubtful or known[1].is_doubtful
            return known
        cls = self._trust.resolve(name)
        shape = shape_of(cls)
        # Of a class that has a constructor in `standard`, the attributes alone may not make a whole object.
        if shape is None or (self._trust.is_standard(cls) and cls not in _WITHOUT_MORE):
            raise DecodeError(f"{tagged['cls']} is not restored from its attributes alone")
        self.doubtful = self.doubtful or shape.is_doubtful
        self._known[name] = cls, shape
        return cls, shape

    def _named(self, cls: Any, shape: Shape, fields: Any, state: Any) -> Any:
        if shape.is_named and state is None and type(fields) is dict and fields.keys() == {*cls._fields}:
            return tuple.__new__(cls, [fields[name] for name in cls._fields])
        known = {**cls._field_defaults, **_attributes(cls, fields)}
        if absent := [name for name in cls._fields if name not in known]:
            raise missing(cls, absent)
        if len(known) > len(cls._fields):
            for name in known.keys() - set(cls._fields):
                self._said.about(cls, name, GONE)
        return self._with_state(cls, shape, tuple.__new__(cls, [known[name] for name in cls._fields]), state)

    def _with_state(self, cls: Any, shape: Shape, made: Any, state: Any) -> Any:
        """The object with a state.

        Args:
            cls: Its class.
            shape: What it consists of.
            made: The object without it; `None`, if it is nothing but its state.
            state: The state; `None` if it has none.
        """
        if shape.own_setstate or shape.own_getstate:
            made = _new(cls) if made is None else made
            self._set_own_state(cls, shape, made, state)
            if not shape.own_getstate:
                add_defaults(made, shape)
        else:
            attributes = {} if state is None and made is not None else _attributes(cls, state)
            made = self._with_attributes(cls, shape, made, attributes)
        if not COPY_HOOKS.isdisjoint(getattr(made, "__dict__", ())):
            raise DecodeError("one of its attributes stands in the place of a method")
        return made

    def _with_attributes(self, cls: Any, shape: Shape, made: Any, attributes: dict[str, Any]) -> Any:
        if shape.kind == "msgspec":
            return self._struct(cls, attributes)
        fields = fields_of(cls, shape)
        if shape.is_plain and fields.are_in(attributes) and fields.have_room_for(attributes):
            return new_object(cls, attributes)
        return self._filled(cls, shape, _new(cls) if made is None else made, attributes)

    def _filled(self, cls: Any, shape: Shape, made: Any, attributes: dict[str, Any]) -> Any:
        fields = fields_of(cls, shape)
        if not fields.required <= attributes.keys():
            raise missing(cls, sorted(fields.required - attributes.keys()))
        if fields.are_all:
            attributes = self._without_gone(cls, shape, attributes)
        for name, value in attributes.items():
            set_attribute(made, name, value)
        if shape.kind == "pydantic":
            _check_model(cls, attributes)
        if shape.kind != "other" or not fields.are_in(attributes):
            add_defaults(made, shape)
        return made

    def _without_gone(self, cls: Any, shape: Shape, attributes: dict[str, Any]) -> dict[str, Any]:
        """The attributes for which there is room."""
        if shape.kind == "pydantic":
            room = {*PYDANTIC_SLOTS, *cls.model_fields}
            # What a `cached_property` remembers is an attribute as well.
            kept = {name for name in attributes if name in room or hasattr(getattr(cls, name, None), "attrname")}
        else:
            kept = {*slots_of(cls)}
        if attributes.keys() <= kept:
            return attributes
        for name in attributes.keys() - kept:
            self._said.about(cls, name, GONE)
        return {name: value for name, value in attributes.items() if name in kept}

    def _struct(self, cls: Any, attributes: dict[str, Any]) -> Any:
        known = cls.__struct_fields__
        for name in attributes.keys() - set(known):
            self._said.about(cls, name, GONE)
        given = {name: attributes[name] for name in known if name in attributes}
        try:
            return cls(**given)
        except Exception as error:
            if absent := [name for name in _required(cls) if name not in given]:
                raise missing(cls, absent) from error
            raise _failed(cls, "__post_init__", error) from error

    def _set_own_state(self, cls: Any, shape: Shape, made: Any, state: Any) -> None:
        """Gives an object its state as pickle would."""
        is_foreign = shape.kind == "pydantic" and type(state) is dict and "__dict__" not in state
        if (is_foreign or not shape.own_getstate) and type(state) is dict and all(type(name) is str for name in state):
            state = shape.pickled_state(cls, state)
        if state is None:
            return
        setstate = getattr(cls, "__setstate__", None)
        try:
            if setstate is not None:
                setstate(made, state)
                return
            own, slots = state if type(state) is tuple and len(state) == 2 else (state, None)  # noqa: PLR2004
            for name, value in {**_attributes(cls, own or {}), **_attributes(cls, slots or {})}.items():
                set_attribute(made, name, value)
        except (DecodeError, RecursionError):
            raise
        except Exception as error:  # whatever a class's own method may raise
            raise _failed(cls, "__setstate__", error) from error


def _is_nothing(state: Any) -> bool:
    return state is None or (type(state) is dict and not state)


def _is_value_of(cls: Any, value: Any, likely: enum.Enum) -> bool:
    """Whether an enum has a member of a value; somebody else may have written another's name, and left the value."""
    if type(likely._value_) is type(value) and likely._value_ == value:
        return True
    return any(type(one.value) is type(value) and one.value == value for one in cls.__members__.values())


def _other_kind(cls: type, what: str) -> DecodeError:
    return DecodeError(f"{class_name(cls)} {what}; {way_out(class_name(cls))}")


def _new(cls: Any) -> Any:
    try:
        return cls.__new__(cls)
    except Exception as error:  # whatever a class's own method may raise
        raise _failed(cls, "__new__", error) from error


def _failed(cls: type, method: str, error: Exception) -> DecodeError:
    """Why an object is not restored; without the error's own text, which may hold the value."""
    attribute = f" for {error.name!r}" if isinstance(error, AttributeError) and error.name else ""
    return DecodeError(
        f"the {method} of {class_name(cls)} raised {type(error).__name__}{attribute}: it does not accept what is "
        "stored; let it accept what earlier versions of the class have stored as well"
    )


def _attributes(cls: type, state: Any) -> dict[str, Any]:
    if type(state) is not dict or not {*map(type, state)} <= _TEXT:
        raise DecodeError(
            f"the state of a {class_name(cls)} is not a document of attributes; if an earlier version of the class had "
            "a __getstate__ that gave something else, give it a __setstate__ that accepts that"
        )
    return state


def _check_model(cls: type, attributes: Mapping[str, Any]) -> None:
    fields_set, extra, private = (attributes.get(name) for name in PYDANTIC_SLOTS)
    if (
        not (fields_set is None or (type(fields_set) is set and all(type(name) is str for name in fields_set)))
        or not (extra is None or (type(extra) is dict and all(type(name) is str for name in extra)))
        or not (private is None or (type(private) is dict and all(type(name) is str for name in private)))
    ):
        raise DecodeError(f"what pydantic keeps of a {class_name(cls)} beside its fields is of other types")


def _required(cls: Any) -> list[str]:
    import msgspec  # noqa: PLC0415  (there, as it has made the class)

    return [field.name for field in msgspec.structs.fields(cls) if field.required]
