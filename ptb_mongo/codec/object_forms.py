"""The plain forms of objects: their elements in the form of their base, and their state field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ptb_mongo.codec.bounds import COPY_HOOKS
from ptb_mongo.codec.evolution import fields_of
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.left_out import LEFT_OUT, OF_ITS_OWN, without_left_out
from ptb_mongo.codec.objects import attributes_of
from ptb_mongo.codec.scalars import Form
from ptb_mongo.codec.shapes import BASES, Shape, is_named_tuple, shape_of
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import EncodeError

__all__ = ["Cycle", "ObjectForms", "unreadable_state"]

_TEXT: Final = frozenset({str})
_TAGGED: Final = frozenset(
    {"tuple", "set", "frozenset", "deque", "OrderedDict", "Counter", "defaultdict", "datetime", "date", "time"}
    | {"timedelta"}
)
"""Bases whose own form has a tag, which then stands for the subclass as well."""


class Cycle(Exception):  # noqa: N818  (no error yet)
    """An object leads back to itself.

    Attributes:
        at: Its id.
    """

    def __init__(self, at: int) -> None:
        self.at = at


class ObjectForms:
    """Encodes objects.

    Args:
        trust: Which classes may be stored.
        encode: Encodes any value.
        encode_dict: Encodes a dict.
        opaque: Encodes what has no shape.
    """

    def __init__(self, trust: Trust, encode: Form, encode_dict: Form, opaque: Callable[[Any], Any]) -> None:
        self._trust = trust
        self._encode = encode
        self._dict = encode_dict
        self._opaque = opaque
        self._open: dict[int, bool] = {}  # objects that are being encoded, and whether they are plain ones
        self.doubtful = False
        """Whether it may be that one that was encoded since this was reset cannot be decoded, or then not be copied."""

    def form(self, value: Any, depth: int) -> Any:
        """The plain form of an object.

        Raises:
            EncodeError: If its class is not trusted, or something in it cannot be stored.
        """
        cls = type(value)
        shape = shape_of(cls)
        if shape is None or (shape.is_whole and attributes_of(value)):
            return self._opaque(value)
        if shape.is_named and not getattr(value, "__dict__", None):
            return self._named_tuple(value, self._trust.name_of(cls), depth)
        if id(value) in self._open:
            raise Cycle(id(value))
        self._open[id(value)] = shape.is_plain
        is_state = False
        try:
            tagged, state = self._without_state(cls, shape, value, depth)
            if state is not None:
                is_state = True
                # Not by `encode`, for a dict: each frame counts where objects are nested.
                tagged["state"] = (self._dict if type(state) is dict else self._encode)(state, depth + 1)
        except Cycle as cycle:
            if not self._is_stored_whole(value, cycle):
                raise
            return self._opaque(value)
        except EncodeError as error:
            raise (error.within("state") if is_state else error) from error
        finally:
            del self._open[id(value)]
        return tagged

    def _is_stored_whole(self, value: Any, cycle: Cycle) -> bool:
        """Whether an object that leads back to itself is pickled; a plain one is refused, if nothing is around it."""
        if self._open[id(value)]:
            return False
        return cycle.at == id(value) or next(one for one, plain in self._open.items() if not plain) == id(value)

    def _without_state(self, cls: type, shape: Shape, value: Any, depth: int) -> tuple[dict[str, Any], Any]:
        """The form of an object but for its state, and that; `None` if there is none."""
        name = self._trust.name_of(cls)
        state = attributes_of(value) if shape.is_plain and shape.kind == "other" else self._state(shape, value, name)
        self.doubtful = self.doubtful or shape.is_doubtful
        if not shape.own_getstate:
            if not {*map(type, state)} <= _TEXT:
                return self._opaque(value), None
            if not COPY_HOOKS.isdisjoint(state):
                raise EncodeError("one of its attributes stands in the place of a method")
            self.doubtful = self.doubtful or not fields_of(cls, shape).required <= state.keys()
        if shape.base is object:
            return {TAG: "object", "cls": name}, state
        named = shape.base is tuple and is_named_tuple(cls)
        tagged = self._named_tuple(value, name, depth) if named else self._of_base(shape.base, value, name, depth)
        return tagged, None if type(state) is dict and not state else state

    def _state(self, shape: Shape, value: Any, name: str) -> Any:
        try:
            state = shape.state_of(value)
        except RecursionError:
            raise
        except Exception as error:  # whatever a class's own method may raise
            raise EncodeError(unreadable_state(value, name, error)) from error
        return without_left_out(value, state)

    def _of_base(self, base: type, value: Any, name: str, depth: int) -> dict[str, Any]:
        tag = base.__name__
        plain = BASES[base](value)
        try:
            if tag in _TAGGED:
                form = self._encode(plain, depth)
                if type(form) is dict and form[TAG] == tag:
                    form.pop(TAG)
                    return {TAG: tag, "cls": name, **form}
            form = self._encode(plain, depth + 1)
        except EncodeError as error:
            raise (error if tag in _TAGGED else error.within("v")) from error
        return {TAG: tag, "cls": name, "v": form}

    def _named_tuple(self, value: Any, name: str, depth: int) -> dict[str, Any]:
        fields = type(value)._fields
        if len(fields) != len(value):
            raise EncodeError(f"a {name} has {len(value)} values for {len(fields)} fields")
        try:
            inside = self._dict(dict(zip(fields, tuple.__iter__(value), strict=True)), depth + 1)
        except EncodeError as error:
            raise error.within("v") from error
        return {TAG: "namedtuple", "cls": name, "v": inside}


def unreadable_state(obj: object, name: str, error: Exception) -> str:
    """Says that an object does not tell its state."""
    is_excluded = any(value is LEFT_OUT for value in attributes_of(obj).values())
    what = OF_ITS_OWN if is_excluded else f"the state of {name} cannot be read"
    return f"{what} ({type(error).__name__}: {error})"
