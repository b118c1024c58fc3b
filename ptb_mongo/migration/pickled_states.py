"""The attributes in an object's state in a foreign pickle, for every kind of class."""

from __future__ import annotations

import dataclasses
from typing import Any

from ptb_mongo.codec.shapes import PYDANTIC_SLOTS, shape_of

__all__ = ["attributes_in"]


def attributes_in(obj: Any, state: Any) -> dict[str, Any] | None:
    """The attributes in a pickled state; `None` if only the class itself can interpret it."""
    cls: Any = type(obj)
    shape = shape_of(cls)
    if shape is None or shape.own_getstate or shape.own_setstate:
        return None
    if type(state) is dict and {"__dict__", *PYDANTIC_SLOTS} >= state.keys() >= {"__dict__"}:  # pydantic
        beside = state if shape.kind == "pydantic" else {}
        state = {**(state["__dict__"] or {}), **{name: beside[name] for name in PYDANTIC_SLOTS if beside.get(name)}}
    elif type(state) is list and dataclasses.is_dataclass(cls):  # by position: a frozen one with slots
        state = dict(zip([field.name for field in dataclasses.fields(cls)], state, strict=False))
    elif type(state) is tuple and len(state) == 2:  # noqa: PLR2004
        state = {**(state[0] or {}), **(state[1] or {})}
    return state if type(state) is dict and all(type(name) is str for name in state) else None
