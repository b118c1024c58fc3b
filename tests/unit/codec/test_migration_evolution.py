"""Objects in a file of `PicklePersistence` come in as the running bot loads them, if their class has changed, too.

The kind of fault: a class gains, loses or renames a field between the last save of the old persistence and the import,
and what comes in lacks an attribute, or is refused, where the bot would have found a default. The changes are those of
the table in `docs/how-to/changing-classes.md`.
"""

from __future__ import annotations

import collections
import pickle
import sys
import types
from typing import Any

import pytest
from evolutions import EVOLUTIONS, MODULE, Evolution, module_of, shown

from ptb_mongo.codec import Codec
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.names import stands_in
from ptb_mongo.migration.skipping import leave_out
from ptb_mongo.migration.unpickler import ForeignPickle

BY_PLACE = {
    (kind, change)
    for kind in ("frozen dataclass with slots", "named tuple")
    for change in ("a field is renamed, and has a default", "the fields stand in another order")
}
"""Where a pickle tells fields by their places, and not by their names."""

LESS = {
    ("named tuple", "a field is removed"),
    ("named tuple", "it becomes a dataclass"),
    ("attrs", "it becomes a struct of msgspec"),
    ("dataclass", "it becomes a named tuple"),
    ("msgspec", "it becomes a pydantic model"),
    ("subclass of `list`", "its base becomes `tuple`"),
    ("enum", "the member has another value"),
}
"""Where a pickle says how an object of the old class is made, and that makes none of the new one."""


def aliases(evolution: Evolution) -> dict[str, type]:
    after = module_of(evolution.after)
    return {f"{MODULE}.Basket": getattr(after, evolution.alias)} if evolution.alias else {}


def by_the_bot(evolution: Evolution) -> Any:
    stored = Codec([MODULE]).encode(eval(evolution.make, vars(module_of(evolution.before))))
    return Codec([MODULE], aliases=aliases(evolution)).decode(stored)


def pickled(evolution: Evolution) -> bytes:
    return pickle.dumps([eval(evolution.make, vars(module_of(evolution.before)))])


def imported(evolution: Evolution) -> tuple[Any, dict[str, str]]:
    data = pickled(evolution)
    foreign = ForeignPickle(data, Trust([MODULE], aliases(evolution)), None)
    return foreign.load()[0], foreign.refused


@pytest.mark.parametrize("evolution", EVOLUTIONS, ids=lambda one: f"{one.kind}: {one.change}")
def test_an_object_comes_in_as_the_bot_would_load_it(evolution: Evolution, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("attrs", "pydantic", "msgspec"):
        pytest.importorskip(library)
    monkeypatch.setitem(sys.modules, MODULE, types.ModuleType(MODULE))
    try:
        wanted = by_the_bot(evolution)
    except DecodeError as error:
        wanted = error

    found, refused = imported(evolution)

    if (evolution.kind, evolution.change) in BY_PLACE:
        data = pickled(evolution)
        module_of(evolution.after)
        wanted = pickle.loads(data)[0]
    if isinstance(wanted, DecodeError) or (evolution.kind, evolution.change) in LESS:
        assert stands_in(found), found
        assert refused
    else:
        assert shown(found) == shown(wanted)
        assert type(found).__qualname__ == type(wanted).__qualname__


SOURCE = """
import msgspec
from dataclasses import dataclass, field

@dataclass
class Basket:
    pass

class Struct(msgspec.Struct, kw_only=True):
    item: str
    count: int = 0

@dataclass
class Node:
    next: object = None
"""
LATER = SOURCE.replace("    pass", "    tags: list = field(default_factory=list)").replace(
    "count: int = 0", "total: int = 5"
)
LATER = LATER.replace("next: object = None", "next: object = None\n    name: str = 'new'")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What an expression of the earlier module comes in as."""
    pytest.importorskip("msgspec")
    monkeypatch.setitem(sys.modules, MODULE, types.ModuleType(MODULE))

    def loaded(expression: str) -> Any:
        data = pickle.dumps(eval(expression, vars(module_of(SOURCE))))
        module_of(LATER)
        foreign = ForeignPickle(data, Trust([MODULE]), None)
        value = foreign.load()
        assert not foreign.refused
        return value

    return loaded


def test_an_object_without_any_state_gets_defaults_as_well(later: Any) -> None:
    one, other = later("[Basket(), Basket()]")

    assert (one.tags, other.tags) == ([], [])
    assert one.tags is not other.tags


def test_a_struct_that_takes_its_fields_by_name_comes_in(later: Any) -> None:
    made = later("Struct(item='tea', count=2)")

    assert (made.item, made.total) == ("tea", 5)


def test_an_object_that_leads_back_to_itself_is_one(later: Any) -> None:
    made = later("(lambda one: [setattr(one, 'next', [one]), one])(Node())[1]")

    assert made.next[0] is made
    assert made.name == "new"


@pytest.mark.parametrize("name", ["dtype('int32')", "ndarray"])
def test_a_type_of_a_library_is_no_value_and_is_named(name: str) -> None:
    numpy = pytest.importorskip("numpy")
    data = pickle.dumps({"a": eval(f"numpy.{name}", {"numpy": numpy}), "b": 1})

    value = ForeignPickle(data, Trust(), None).load()
    (left,) = leave_out(value, Codec())

    assert left.name == f"numpy.{name.partition('(')[0]}"
    assert left.path == "a"
    assert value == {"b": 1}


def made() -> list[Any]:
    raise AssertionError("it is never called by an import")


class ByFunction:
    def __reduce__(self) -> Any:
        return made, ()


def test_a_function_that_fills_a_dict_comes_in_if_it_is_trusted_and_is_never_called() -> None:
    data = pickle.dumps({"a": collections.defaultdict(made, b=1), "c": ByFunction()})

    value = ForeignPickle(data, Trust([made]), None).load()
    assert value["a"].default_factory is made
    assert stands_in(value["c"])
    assert [one.path for one in leave_out(value, Codec([made]))] == ["c"]

    value = ForeignPickle(data, Trust([__name__]), None).load()
    assert stands_in(value["a"].default_factory)
