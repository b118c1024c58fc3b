"""Two versions of a class write the same objects, and neither undoes what the other has stored.

The kind of fault: what one version of a class does not know is taken for what the program has removed, and what it
adds by itself for what the program has set. So a bot that only looked at an object removes a field of it, or two
bots write against each other for as long as both run.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from updates import apply_changes

from ptb_mongo.codec import Codec
from ptb_mongo.replica.unknown_fields import as_stored
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import same

MODULE = "versions_of_models"
OLD, NEW = " a: int = 1\n", " a: int = 1\n vat: int = 0\n tags: tuple = ()\n"
KINDS = {
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass O:\n",
    "slots": "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass O:\n",
    "attrs": "import attrs\n@attrs.define\nclass O:\n",
    "pydantic": "import pydantic\nclass O(pydantic.BaseModel):\n",
    "msgspec": "import msgspec\nclass O(msgspec.Struct):\n",
    "namedtuple": "import typing\nclass O(typing.NamedTuple):\n",
}
KEPT = [kind for kind in KINDS if kind != "dataclass"]
"""Kinds whose objects have no room for what is not declared."""
AROUND: dict[str, Callable[[Any], Any]] = {
    "itself": lambda one: one,
    "in a list": lambda one: [one],
    "in a tuple": lambda one: (one, 1),
    "in a dict with odd keys": lambda one: {(1, 2): one},
    "in lists in a dict": lambda one: {"x": [[one]]},
}


@pytest.fixture(autouse=True)
def module() -> Iterator[types.ModuleType]:
    made = sys.modules[MODULE] = types.ModuleType(MODULE)
    yield made
    del sys.modules[MODULE]


def version(source: str) -> tuple[Codec, Any]:
    """The module has other classes now, as in a bot of another version."""
    names = vars(sys.modules[MODULE])
    names.clear()
    names["__name__"] = MODULE
    exec(compile(source, MODULE, "exec", dont_inherit=True), names)
    return Codec([MODULE]), names["O"]


def saved(stored: Any, codec: Codec, value: Any) -> Any:
    """What is stored once a bot has saved a value, and the bot saved nothing if it has changed nothing."""

    def canonical(plain: Any) -> Any:
        return codec.encode(codec.decode(plain))

    local = {"data": codec.encode(value)}
    changes = diff({"data": stored}, local, canonical)
    after = apply_changes({"data": stored}, changes)["data"]
    assert same(canonical(after), local["data"])
    assert bool(changes) != same(canonical(stored), local["data"])
    assert not diff({"data": after}, local, canonical)
    return after


def skip_without(kind: str) -> None:
    if kind in {"attrs", "pydantic", "msgspec"}:
        pytest.importorskip(kind)


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("place", AROUND)
@pytest.mark.parametrize("change", ["nothing", "the object"])
def test_an_old_version_leaves_what_it_does_not_know(kind: str, place: str, change: str) -> None:
    skip_without(kind)
    around = AROUND[place]
    new, cls = version(KINDS[kind] + NEW)
    stored = new.encode(around(cls(a=1, vat=19)))
    old, cls = version(KINDS[kind] + OLD)
    wanted = around(cls(a=2 if change == "the object" else 1))

    local = old.decode(stored)
    assert local == around(cls(a=1))
    after = saved(stored, old, wanted if change == "the object" else local)

    new, cls = version(KINDS[kind] + NEW)
    assert new.decode(after) == around(cls(a=2 if change == "the object" else 1, vat=19))


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("place", AROUND)
def test_a_new_version_does_not_write_its_defaults(kind: str, place: str) -> None:
    skip_without(kind)
    around = AROUND[place]
    old, cls = version(KINDS[kind] + OLD)
    stored = old.encode(around(cls(a=1)))
    new, cls = version(KINDS[kind] + NEW)

    assert same(saved(stored, new, new.decode(stored)), stored)
    changed = saved(stored, new, around(cls(a=2, vat=5)))

    assert new.decode(changed) == around(cls(a=2, vat=5))
    assert "tags" not in str(changed)


@pytest.mark.parametrize("kind", KEPT)
def test_elements_that_come_and_go_leave_the_others_as_they_are_stored(kind: str) -> None:
    skip_without(kind)
    new, cls = version(KINDS[kind] + NEW)
    stored = new.encode([cls(a=number % 3, vat=number) for number in range(6)])
    old, cls = version(KINDS[kind] + OLD)
    local = old.decode(stored)

    after = saved(stored, old, [*local[:3], *local[4:], cls(a=9)])

    new, cls = version(KINDS[kind] + NEW)
    assert [one.vat for one in new.decode(after)][:3] == [0, 1, 2]
    assert [one.a for one in new.decode(after)] == [0, 1, 2, 1, 2, 9]


def test_what_a_program_removes_is_removed() -> None:
    codec, cls = version("class O: pass")
    obj = cls()
    obj.a, obj.b = 1, 2
    stored = codec.encode(obj)
    del obj.b

    assert saved(stored, codec, obj)["state"] == {"a": 1}


def test_what_a_setstate_would_read_again_does_not_stay() -> None:
    before, cls = version("class O:\n pass")
    obj = cls()
    obj.count = 2
    stored = before.encode(obj)
    source = (
        "class O:\n def __setstate__(self, state):\n"
        "  if 'count' in state: state['total'] = state.pop('count')\n  self.__dict__.update(state)"
    )
    after, _ = version(source)
    loaded = after.decode(stored)
    assert same(saved(stored, after, loaded), stored)
    loaded.total = 3

    assert saved(stored, after, loaded)["state"] == {"total": 3}


def test_an_object_whose_setstate_fails_costs_others_nothing() -> None:
    source = (
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass O:\n inside: object = None\n{}"
        "class P:\n def __setstate__(self, state):\n"
        "  if 'count' in state: state['total'] = state.pop('count')\n  self.__dict__.update(state)\n"
    )
    new, cls = version(source.format(" vat: int = 0\n"))
    stored = [new.encode(cls(vat=19)), {"_py": "object", "cls": f"{MODULE}.P", "state": {"count": 2}}]
    old, cls = version(source.format(""))
    loaded = old.decode(stored)
    loaded[1].total = 3
    loaded[0].inside = 5
    base = {"one": stored[0], "two": stored[1]}

    after = saved(base, old, {"one": loaded[0], "two": loaded[1]})

    assert after["one"]["state"] == {"inside": 5, "vat": 19}
    assert after["two"]["state"] == {"total": 3}


def test_deep_objects_of_another_version_cost_no_more_than_they_are_large() -> None:
    """Somebody else can nest objects with fields that nobody knows: each is looked at once, not once a level."""
    source = "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass O:\n inside: object = None\n"
    codec, cls = version(source)
    value: Any = 1
    plain: Any = 1
    for _ in range(30):
        value = cls(value)
        plain = {"_py": "object", "cls": f"{MODULE}.O", "state": {"inside": plain, "unknown": 1}}
    calls = []

    def canonical(one: Any) -> Any:
        calls.append(one)
        return codec.encode(codec.decode(one))

    local = codec.encode(value)
    inmost = local
    while type(inmost["state"]["inside"]) is dict:
        inmost = inmost["state"]["inside"]
    inmost["state"]["inside"] = 2

    changes = diff({"data": plain}, {"data": local}, canonical)

    assert not changes.unsets
    assert len(changes.sets) == 1
    assert len(calls) < 8


class Name(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_many_fields_that_are_not_known_are_looked_up_and_not_searched_for() -> None:
    """A stranger can plant as many as a document holds: a search for each would take the square of their number."""
    unknown = {Name(f"field{number}"): 1 for number in range(1000)}
    known = {"_py": "object", "cls": "samples.Row", "a": 1}

    made = as_stored({**known, **unknown}, known, {**known, "a": 2})

    assert made == {**known, "a": 2, **unknown}
    assert Name.compared < 20_000
