"""Edits of others that reach live objects of every kind of class: merged where the class lets its objects change.

The kind of fault: a change of one field that replaces what the bot has changed in another one; a frozen object that
changes under the hands of whoever holds it; a method or validator of the class that runs, or refuses, what is stored.
"""

from __future__ import annotations

import collections
import copy
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from ptb_mongo.codec import Codec
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.patch import bring_into
from ptb_mongo.replica.update import diff

attrs = pytest.importorskip("attrs", reason="it is about classes of attrs, too")
msgspec = pytest.importorskip("msgspec", reason="it is about classes of msgspec, too")
pydantic = pytest.importorskip("pydantic", reason="it is about classes of pydantic, too")

SOURCE = """
import attrs, collections, msgspec, pydantic

class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(validate_assignment=True)
    a: int = pydantic.Field(1, lt=5)
    b: int = 1
    inner: list = []
    _private: int = 0

class OpenModel(Model):
    model_config = pydantic.ConfigDict(extra="allow")

class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    a: int = 1
    b: int = 1
    inner: list = []

@attrs.define
class Defined:
    a: int = attrs.field(default=1, validator=attrs.validators.lt(5))
    b: int = 1
    inner: list = attrs.Factory(list)

@attrs.frozen
class FrozenDefined:
    a: int = 1
    b: int = 1
    inner: list = attrs.Factory(list)

class Struct(msgspec.Struct, eq=True):
    a: int = 1
    b: int = 1
    inner: list = []

class FrozenStruct(msgspec.Struct, frozen=True):
    a: int = 1
    b: int = 1
    inner: list = []

class Table(dict):
    def __setitem__(self, key, value): raise TypeError("not so")
    def pop(self, *args): raise TypeError("not so")
    def __contains__(self, key): return False

class Row(list):
    def __setitem__(self, key, value): raise TypeError("not so")
    def __iter__(self): raise TypeError("not so")

class Tags(set):
    def update(self, *args): raise TypeError("not so")
    def __iter__(self): raise TypeError("not so")

class Ring(collections.deque):
    def extend(self, *args): raise TypeError("not so")
    def __iter__(self): raise TypeError("not so")

class Ordered(collections.OrderedDict):
    def __setitem__(self, key, value): raise TypeError("not so")

class WithState:
    def __init__(self, a=1, b=1, inner=()): self.a, self.b, self.inner = a, b, list(inner)
    def __getstate__(self): return {"a": self.a, "b": self.b, "inner": self.inner}
    def __setstate__(self, state): self.a, self.b, self.inner = state["a"], state["b"], state["inner"]
    def __eq__(self, other): return self.__getstate__() == other.__getstate__()
"""


class Point(NamedTuple):
    a: int = 1
    b: int = 1
    inner: Any = ()


@dataclass(frozen=True)
class FrozenData:
    a: int = 1
    b: int = 1
    inner: Any = ()


@dataclass
class Data:
    a: int = 1
    b: int = 1
    inner: Any = ()


def _classes() -> types.ModuleType:
    module = sys.modules["patched_classes"] = types.ModuleType("patched_classes")
    exec(compile(SOURCE, "patched_classes", "exec", dont_inherit=True), vars(module))
    return module


c: Any = _classes()
codec = Codec(["patched_classes", Point, Data, FrozenData])

CHANGING = [Data, c.Model, c.OpenModel, c.Defined, c.Struct]
REPLACED = [FrozenData, Point, c.FrozenModel, c.FrozenDefined, c.FrozenStruct, c.WithState]


def edited(plain: Any, **fields: Any) -> Any:
    """The plain form with other fields, as another service would write it."""
    plain = copy.deepcopy(plain)
    plain["state" if "state" in plain else "v"] |= fields
    return plain


def changed(obj: Any, **fields: Any) -> Any:
    """An object with other fields, as the bot's code makes it."""
    return type(obj)(**{name: getattr(obj, name) for name in ("a", "b", "inner")} | fields)


@pytest.mark.parametrize("cls", [*CHANGING, *REPLACED], ids=lambda cls: cls.__name__)
def test_a_field_of_the_bot_and_one_of_somebody_else_are_both_kept(cls: Any) -> None:
    base = codec.encode({"x": cls(inner=[1])})
    live = {"x": changed(cls(inner=[1]), b=2)}
    local = codec.encode(live)
    remote = {"x": edited(base["x"], a=3)}

    merged = merge(base, local, remote, lambda *_: pytest.fail("there is no conflict"))
    bring_into(live, local, merged, codec.decode)

    assert (live["x"].a, live["x"].b, live["x"].inner) == (3, 2, [1])
    assert codec.encode(live) == merged


@pytest.mark.parametrize("cls", [*CHANGING, *REPLACED], ids=lambda cls: cls.__name__)
def test_only_the_field_that_the_bot_changed_is_written(cls: Any) -> None:
    base, local = (codec.encode({"x": value}) for value in (cls(inner=[1]), cls(inner=[1], b=2)))

    changes = diff(base, local, lambda plain: codec.encode(codec.decode(plain)))

    assert [path[-1] for path, _ in changes.sets if "__pydantic" not in path[-1]] == ["b"]


@pytest.mark.parametrize("cls", CHANGING, ids=lambda cls: cls.__name__)
def test_an_object_that_may_change_stays_the_same_object_and_so_does_what_it_holds(cls: Any) -> None:
    obj = cls(inner=[1])
    live, inner = {"x": obj}, obj.inner
    before = codec.encode(live)

    bring_into(live, before, {"x": edited(before["x"], a=9, inner=[1, 2])}, codec.decode)

    assert live["x"] is obj
    assert obj.inner is inner
    assert (obj.a, inner) == (9, [1, 2])  # also where a validator would refuse it


@pytest.mark.parametrize("cls", REPLACED, ids=lambda cls: cls.__name__)
def test_an_object_that_may_not_change_is_another_one_afterwards(cls: Any) -> None:
    obj = cls(inner=[1])
    live = {"x": obj}
    before = codec.encode(live)

    bring_into(live, before, {"x": edited(before["x"], a=3)}, codec.decode)

    assert (obj.a, live["x"].a) == (1, 3)
    assert type(live["x"]) is cls


@pytest.mark.parametrize("cls", [*CHANGING, FrozenData, c.FrozenModel, c.FrozenDefined, c.FrozenStruct, c.WithState])
def test_the_object_that_ptb_holds_itself_is_changed_in_any_case(cls: Any) -> None:
    live = cls(inner=[1])
    before = codec.encode(live)
    after = edited(before, a=3, inner=[2])

    bring_into(live, before, after, codec.decode)

    assert (live.a, live.b, live.inner) == (3, 1, [2])
    assert live == codec.decode(after)
    assert codec.encode(live) == codec.encode(codec.decode(after))


def test_what_a_model_keeps_beside_its_fields_is_what_is_stored() -> None:
    states: list[dict[str, Any]] = [
        {"a": 1, "b": 1, "inner": []},
        {"a": 1, "b": 2, "inner": [], "__pydantic_fields_set__": {"_py": "set", "v": ["a"]}},
        {"a": 1, "b": 1, "inner": [], "__pydantic_extra__": {"x": 1}, "__pydantic_private__": {"_private": 5}},
        {"a": 1, "b": 1, "inner": [], "__pydantic_extra__": {"x": 2, "y": 1}, "__pydantic_private__": {"_private": 5}},
    ]
    for old in states:
        for new in states:
            start, end = (
                codec.encode(codec.decode({"_py": "object", "cls": "patched_classes.OpenModel", "state": state}))
                for state in (old, new)
            )
            live = {"x": codec.decode(start)}

            bring_into(live, {"x": start}, {"x": end}, codec.decode)

            assert codec.encode(live) == {"x": end}
            assert live["x"] == codec.decode(end)
            assert copy.deepcopy(live["x"]) == live["x"]


def _filled(cls: Any, items: Any) -> Any:
    base: Any = next(
        one for one in (collections.OrderedDict, dict, list, set, collections.deque) if issubclass(cls, one)
    )
    made = base.__new__(cls)
    if issubclass(cls, dict):
        for key, value in items:
            base.__setitem__(made, key, value)
    else:
        (base.update if base is set else base.extend)(made, items)
    return made


@pytest.mark.parametrize(
    ("cls", "before", "after"),
    [
        (c.Table, [("a", 1), ("b", [1])], [("b", [1, 2]), ("c", 3)]),
        (c.Ordered, [("a", 1), ("b", [1])], [("b", [1, 2]), ("a", 1)]),
        (c.Row, [1, [1], 3], [[1, 2], 3, 4]),
        (c.Tags, {1, 2}, {2, 3}),
        (c.Ring, [1, 2], [2, 3]),
    ],
)
def test_a_subclass_of_a_container_is_changed_in_place_by_none_of_its_own_methods(
    cls: Any, before: Any, after: Any
) -> None:
    live, wanted = {"x": _filled(cls, before)}, {"x": _filled(cls, after)}
    obj = live["x"]

    bring_into(live, codec.encode(live), codec.encode(wanted), codec.decode)

    assert live["x"] is obj
    assert codec.encode(live) == codec.encode(wanted)


@pytest.mark.parametrize(
    ("cls", "base", "local", "remote", "merged"),
    [
        (c.Table, [("a", 1)], [("a", 1), ("b", 2)], [("a", 3)], [("a", 3), ("b", 2)]),
        (c.Row, [1, 2, 3], [1, 2, 3, 4], [0, 2, 3], [0, 2, 3, 4]),
        (c.Tags, {1, 2}, {1, 2, 3}, {2}, {2, 3}),
        (c.Ring, [1, 2], [1, 2, 3], [2], [2, 3]),
    ],
)
def test_elements_of_a_subclass_merge_as_those_of_its_base(
    cls: Any, base: Any, local: Any, remote: Any, merged: Any
) -> None:
    one, two, three, four = (codec.encode({"x": _filled(cls, items)}) for items in (base, local, remote, merged))

    assert merge(one, two, three, lambda *_: pytest.fail("there is no conflict")) == four


def _labelled(items: Any, **attributes: Any) -> Any:
    made = _filled(c.Row, items)
    vars(made).update(attributes)
    return {"x": made}


def test_elements_and_attributes_of_one_object_that_two_sides_change_are_both_kept() -> None:
    base, local, remote, expected = (
        codec.encode(_labelled(items, **attributes))
        for items, attributes in (
            ([1], {"a": 1, "b": 1}),
            ([1], {"a": 2, "b": 1}),
            ([1, 2], {"a": 1, "b": 1}),
            ([1, 2], {"a": 2, "b": 1}),
        )
    )
    third = codec.encode(_labelled([1], a=1, b=3))

    merged = merge(base, local, remote, lambda *_: pytest.fail("there is no conflict"))
    again = merge(base, merged, third, lambda *_: pytest.fail("there is no conflict"))

    assert merged == expected
    assert again == codec.encode(_labelled([1, 2], a=2, b=3))
    live = _labelled([1], a=2, b=1)
    bring_into(live, local, merged, codec.decode)
    assert codec.encode(live) == merged
    bring_into(live, merged, again, codec.decode)
    assert codec.encode(live) == again


def test_the_first_attribute_of_an_object_is_merged_with_its_elements() -> None:
    base, local, remote = (codec.encode(one) for one in (_labelled([1]), _labelled([1], a=1), _labelled([1, 2])))

    merged = merge(base, local, remote, lambda *_: pytest.fail("there is no conflict"))

    assert merged == codec.encode(_labelled([1, 2], a=1))


def test_two_classes_of_one_base_are_not_mixed() -> None:
    one = codec.encode({"x": _filled(c.Row, [1])})
    other: Callable[[Any], Any] = lambda items: {"x": {**one["x"], "cls": "patched_classes.Other", "v": items}}  # noqa: E731
    asked = []

    merge(one, other([1, 2]), {"x": {**one["x"], "v": [0, 1]}}, lambda keys, *_: asked.append(keys) or 1)

    assert asked == [("x",)]
