"""One class of each kind that is stored field by field, of the libraries that people make their classes with.

Whoever imports this skips first where a library is missing.
"""

from __future__ import annotations

import functools
from typing import Any

import attrs
import msgspec
import pydantic
import samples


class Model(pydantic.BaseModel):
    name: Any
    score: Any = 0
    tags: list[Any] = pydantic.Field(default_factory=list)


class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    name: Any


class OpenModel(pydantic.BaseModel):
    """Keeps fields that it does not know, and private attributes."""

    model_config = pydantic.ConfigDict(extra="allow", validate_assignment=True)

    name: Any
    _seen: Any = pydantic.PrivateAttr(default=0)

    @functools.cached_property
    def loud(self) -> str:
        return str(self.name).upper()


class StrictModel(pydantic.BaseModel):
    """Has what a validator would refuse, once it is stored."""

    age: int = pydantic.Field(gt=0)

    @pydantic.field_validator("age")
    @classmethod
    def _checked(cls, value: int) -> int:
        samples.fire("validated", value)
        return value


class Wrapped(pydantic.RootModel[Any]):
    pass


@attrs.define
class Defined:
    a: Any
    b: list[Any] = attrs.Factory(list)
    c: Any = attrs.field(init=False)
    double: Any = attrs.field(default=attrs.Factory(lambda self: (self.a,), takes_self=True))

    def __attrs_post_init__(self) -> None:
        self.c = 0

    @functools.cached_property
    def costly(self) -> list[Any]:
        return [self.a]


@attrs.frozen(cache_hash=True)
class FrozenDefined:
    a: Any
    b: Any = None


@attrs.frozen(slots=False, cache_hash=True)
class FrozenOpen:
    a: Any


@attrs.define(slots=False)
class OpenDefined:
    a: Any
    b: Any = 1


class Struct(msgspec.Struct):
    a: Any
    b: list[Any] = []


class FrozenStruct(msgspec.Struct, frozen=True, kw_only=True):
    a: Any
    b: Any = None


class OpenStruct(msgspec.Struct, dict=True, weakref=True):
    a: Any
