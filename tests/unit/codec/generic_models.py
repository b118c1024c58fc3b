"""Generic classes of all kinds; whoever imports this skips first where a library is missing."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pydantic

T = TypeVar("T")


@dataclass
class Data(Generic[T]):
    x: T


@dataclass(slots=True)
class Slotted(Generic[T]):
    x: T


@attrs.define(slots=False)
class Defined(Generic[T]):
    x: T


class Struct(msgspec.Struct, Generic[T]):
    x: T


class Elements(list[T], Generic[T]):
    def __init__(self, x: Any) -> None:
        super().__init__([x])


class Tally(collections.Counter[T]):
    def __init__(self, *args: Any) -> None:
        self.limit = 1
        super().__init__(*args)


class Reduced(Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        return Reduced, (self.x,), self.__dict__


class Stateful(Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x

    def __getstate__(self) -> Any:
        return self.__dict__

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


class Model(pydantic.BaseModel, Generic[T]):
    x: T


class OfText(Model[str]):
    pass
