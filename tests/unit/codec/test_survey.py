"""One error names everything in a value that cannot be stored, or restored, and every way out that works.

The kind: each way in which a value can hold what is refused (in dicts, lists, objects, keys, pickles), any number of
times, at any depth. The error is bounded in its length, and linear in its cost.
"""

from __future__ import annotations

import asyncio
import collections
import enum
import functools
import sys
import time
import types
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import telegram
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.codec import Codec
from ptb_mongo.errors import DecodeError, EncodeError
from ptb_mongo.scopes.exclusion import Exclusion

HERE = __name__
SECONDS = 15  # on a machine that does other things: a quadratic cost takes minutes


@dataclass
class Basket:
    items: Any = None
    lock: Any = None


class Coin(NamedTuple):
    value: Any


class Level(enum.Enum):
    GOLD = 1


class Whole:
    """Is stored in one piece."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def __reduce__(self) -> Any:
        return Whole, (self.inside,)


class Text(str):
    __slots__ = ()


def function() -> None:
    """Is no value."""


ANONYMOUS: Any = type("Anonymous", (), {"__module__": HERE})
LOCK = asyncio.Lock()


def refused(value: Any, scope: str | None = "user_data", trusted: Any = ()) -> str:
    codec = Codec(trusted)
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    return codec.explained(value, caught.value, scope).reason


def unreadable(plain: Any, scope: str | None = "user_data") -> str:
    codec = Codec()
    with pytest.raises(DecodeError) as caught:
        codec.decode(plain)
    return codec.explained_unreadable(plain, caught.value, scope).reason


PLACES: dict[str, tuple[Any, list[str], list[str]]] = {
    "in a dict": ({"a": {"b": Basket()}}, [f"{HERE}.Basket"], ["a.b"]),
    "in a list": ({"a": [1, [Basket()]]}, [f"{HERE}.Basket"], ["a"]),
    "in a set": ({"a": {Level.GOLD}}, [f"{HERE}.Level"], ["a"]),
    "in a deque": ({"a": collections.deque([Level.GOLD])}, [f"{HERE}.Level"], ["a"]),
    "in an object": ({"a": Basket(Level.GOLD)}, [f"{HERE}.Basket", f"{HERE}.Level"], ["a"]),
    "in a named tuple": ({"a": Coin(Level.GOLD)}, [f"{HERE}.Coin", f"{HERE}.Level"], ["a"]),
    "as a key": ({"a": {Level.GOLD: 1}}, [f"{HERE}.Level"], ["a"]),
    "beside a key": ({"a": {(1, 2): {"b": Level.GOLD}}}, [f"{HERE}.Level"], ["a"]),
    "in one piece": ({"a": Whole([Level.GOLD, Coin(1)])}, ["Whole", "Level", "Coin"], ["a"]),
    "a class": ({"a": Basket}, [f"{HERE}.Basket"], ["a"]),
    "a subclass of a text": ({"a": Text("x")}, [f"{HERE}.Text"], ["a"]),
    "in an attribute of a Telegram object": (
        {"a": telegram.InlineKeyboardButton("x", callback_data=Basket())},
        [f"{HERE}.Basket"],
        ["a"],
    ),
    "in several places": (
        {"a": Basket(), "b": [Coin(1)], "c": {"d": Level.GOLD}},
        [f"{HERE}.Basket", f"{HERE}.Coin", f"{HERE}.Level"],
        ["a", "b", "c.d"],
    ),
    "under odd keys": ({"a.b": {5: {"": {"*": Basket()}}}}, [f"{HERE}.Basket"], ["a%2Eb.5.%empty.%2A"]),
}


@pytest.mark.parametrize("place", PLACES)
def test_one_error_names_all_classes_and_what_helps_helps(place):
    value, names, paths = PLACES[place]

    reason = refused(value)

    assert all(name in reason for name in names)
    assert f'trusted=["{HERE}"]' in reason
    listed = ", ".join(f'"{path}"' for path in paths)
    assert f'exclude={{"user_data": {{{listed}}}}}' in reason
    Codec([HERE]).encode(value)  # both ways do work
    left = Exclusion(paths)
    left.stripped(Codec().encode(left.without(value)))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (LOCK, "asyncio.locks.Lock"),
        (function, f"{HERE}.function"),
        (len, "builtins.len"),
        (functools.partial(int, base=2), "functools.partial"),
        (types, "types"),
    ],
)
def test_what_no_trust_helps_against_is_not_said_to_need_any(value, name):
    reason = refused({"a": {"x": value}, "b": Basket(lock=value)})

    assert name in reason
    assert f'trusted=["{HERE}"]' in reason  # for the basket
    assert 'exclude={"user_data": {"a.x", "b", "b.lock"}}' in reason
    assert "plain data" in reason
    alone = refused({"a": value}, trusted=[HERE])
    assert "trusted=" not in alone
    assert 'exclude={"user_data": {"a"}}' in alone


def test_of_a_function_that_fills_a_dict_itself_is_to_be_trusted() -> None:
    value = collections.defaultdict(function)

    reason = refused({"a": {"x": value}, "b": Basket(lock=value)}, trusted=[HERE])

    assert "trusted=[function]" in reason
    assert 'exclude={"user_data": {"a.x", "b.lock"}}' in reason


def made_of(_: Any) -> Any:
    """Restores what is restored by a function."""


class ByFunction:
    def __reduce__(self) -> Any:
        return made_of, (1,)


def test_a_class_that_trust_does_not_help_is_not_to_be_trusted():
    for trusted in ([], [HERE]):
        reason = refused({"a": [ByFunction()]}, trusted=trusted)
        assert "restored by a function" in reason
        assert "trusted=" not in reason
        assert 'exclude={"user_data": {"a"}}' in reason


def test_without_a_scope_nothing_is_said_to_be_excluded():
    assert "exclude" not in refused([Basket()], None)
    assert "exclude" not in unreadable({"state": {"_py": "class", "v": "gone.Away"}}, None)


def test_what_its_trusted_module_does_not_define_is_trusted_as_a_class():
    reason = refused({"a": ANONYMOUS()}, trusted=[HERE])

    assert "trusted=[Anonymous]" in reason
    Codec([ANONYMOUS]).encode({"a": ANONYMOUS()})


def test_what_was_wrong_first_is_told_if_it_is_no_class():
    deep: Any = Basket()
    for _ in range(1000):
        deep = [deep]

    reason = refused({"a": deep})

    assert reason.startswith("it is nested deeper than")
    assert f"{HERE}.Basket" in reason


STORED: dict[str, tuple[Any, list[str], str]] = {
    "objects": (
        {
            "a": {"_py": "object", "cls": "gone.Basket", "state": {"level": {"_py": "enum", "cls": "gone.Level"}}},
            "b": {"c": {"_py": "tuple", "v": [{"_py": "class", "v": "other.Coin"}]}},
        },
        ["gone.Basket (at a)", "gone.Level (at a.level)", "other.Coin (at b.c.0)"],
        'exclude={"user_data": {"a", "b.c"}}',
    ),
    "parts of subclasses": (
        {
            "a": {"_py": "list", "cls": "gone.Items", "v": [1, {"_py": "class", "v": "gone.A"}]},
            "b": {
                "_py": "dict",
                "cls": "gone.D",
                "v": {"x": {"_py": "class", "v": "gone.B"}},
                "state": {"y": {"_py": "enum", "cls": "gone.C"}},
            },
            "c": {"_py": "namedtuple", "cls": "builtins.int", "v": {"z": {"_py": "class", "v": "gone.E"}}},
            "d": {"_py": "iterator", "v": [{"_py": "class", "v": "gone.F"}]},
        },
        [
            *("gone.Items (at a)", "gone.A (at a.1)", "gone.D (at b)", "gone.B (at b.x)", "gone.C (at b.y)"),
            *("gone.E (at c.z)", "gone.F (at d.0)"),
        ],
        'exclude={"user_data": {"a", "b", "c", "d"}}',
    ),
    "the factory of a defaultdict": (
        {"a": {"_py": "defaultdict", "factory": {"_py": "function", "v": "my.make"}, "v": {}}},
        ["my.make", "trusted=[...]"],
        'exclude={"user_data": {"a"}}',
    ),
    "a function": ({"a": {"_py": "function", "v": "my.make"}}, ["my.make"], 'exclude={"user_data": {"a"}}'),
    "pickles": (
        {"a": Codec([HERE]).encode(Whole([Level.GOLD, Coin(1), Level.GOLD]))},
        [f"{HERE}.Whole", f"{HERE}.Level", f"{HERE}.Coin"],
        'exclude={"user_data": {"a"}}',
    ),
}


@pytest.mark.parametrize("form", STORED)
def test_one_reason_names_all_classes_of_a_document(form):
    plain, names, way = STORED[form]

    reason = unreadable(plain)

    assert all(name in reason for name in names)
    assert way in reason


def test_a_class_of_ptb_that_this_version_lacks_is_not_in_the_way():
    plain = {
        "a": {"_py": "telegram", "cls": "telegram.Hologram", "base": "telegram.Sticker", "pickle": b"", "view": {}},
        "b": {"_py": "enum", "cls": "telegram.constants.Colors", "name": "RED", "v": "red"},
        "c": {"_py": "class", "v": "gone.Basket"},
    }

    names = [one.name for one in Codec().unreadable(plain) if one is not None]

    assert names == ["gone.Basket"]


def test_a_trusted_function_is_not_in_the_way():
    plain = Codec([function]).encode({"a": collections.defaultdict(function), "b": collections.defaultdict(list)})

    assert [*Codec([function]).unreadable(plain)] == []
    assert [one.name for one in Codec([HERE]).unreadable(plain) if one is not None] == [f"{HERE}.function"]


def test_a_class_that_is_gone_from_its_trusted_module_is_found_with_an_alias():
    plain = {"a": {"_py": "object", "cls": f"{HERE}.Cart", "state": {"items": 5}}}
    codec = Codec([HERE])
    for value, others in ((plain, ""), ({**plain, "b": {"_py": "class", "v": "other.Coin"}}, 'trusted=["other"]')):
        with pytest.raises(DecodeError) as caught:
            codec.decode(value)
        reason = codec.explained_unreadable(value, caught.value, "user_data").reason
        assert f'aliases={{"{HERE}.Cart": <the class>}}' in reason
        assert others in reason
        assert f'trusted=["{HERE}"' not in reason
        assert reason.count("aliases=") == 1
    assert Codec(aliases={f"{HERE}.Cart": Basket}).decode(plain) == {"a": Basket(5)}


def test_a_class_that_may_be_anywhere_is_trusted_or_found_with_an_alias():
    inside = f"{HERE}.sub.Basket"  # of what is no package, so that it is a class in a class
    for name, module in (("gone.Basket", "gone"), ("gone.sub.Basket", "gone.sub"), (inside, HERE)):
        reason = unreadable({"a": {"_py": "class", "v": name}})
        assert f'trusted=["{module}"]' in reason
        assert f'aliases={{"{name}": <the class>}}' in reason


def test_a_module_is_not_asked_for_a_name_that_a_document_says(monkeypatch):
    module: Any = types.ModuleType("asked_shop")
    asked: list[str] = []

    def answer(name: str) -> Any:
        asked.append(name)
        raise AttributeError(name)

    module.__getattr__ = answer
    monkeypatch.setitem(sys.modules, "asked_shop", module)
    for name in ("asked_shop.Gone", "asked_shop.Gone.Inner"):
        with pytest.raises(DecodeError, match="aliases="):
            Codec(["asked_shop"]).decode({"_py": "class", "v": name})
    assert "Gone" not in asked


def test_a_class_of_another_kind_under_the_old_name_may_be_another_class():
    with pytest.raises(DecodeError, match="aliases="):
        Codec([HERE]).decode({"_py": "list", "cls": f"{HERE}.Basket", "v": []})


def test_texts_in_a_pickle_are_no_names():
    plain = {"a": Codec([HERE]).encode(Whole(["object", "my.text", "class", "enum", "other.text", Level.GOLD]))}

    reason = unreadable(plain)

    assert f"{HERE}.Level" in reason
    assert "text" not in reason


def nested(levels: int, inside: Any) -> Any:
    value = inside
    for number in range(levels):
        value = {"k" * 50: value} if number % 2 else [value]
    return value


def test_a_value_of_any_depth_costs_no_more_than_its_size():
    value = nested(50_000, [Basket() for _ in range(1000)])
    began = time.process_time()
    codec = Codec()
    explained = codec.explained(value, EncodeError("it is nested too deeply"), "user_data")

    assert time.process_time() - began < SECONDS
    assert len(explained.reason) < 4000
    assert f"{HERE}.Basket" in explained.reason
    while value.__class__ in (list, dict) and len(value) == 1:  # Python would free it by a recursion
        value = value.pop() if type(value) is list else value.popitem()[1]


def test_a_document_of_any_depth_costs_no_more_than_its_size():
    plain = nested(50_000, {"_py": "class", "v": "gone.Away"})
    began = time.process_time()
    explained = Codec().explained_unreadable(plain, DecodeError("it is nested too deeply"), "user_data")

    assert time.process_time() - began < SECONDS
    assert len(explained.reason) < 4000
    assert "gone.Away" in explained.reason
    while plain.__class__ in (list, dict) and "_py" not in plain:
        plain = plain.pop() if type(plain) is list else plain.popitem()[1]


def test_a_value_with_very_many_objects_is_named_in_a_few_lines():
    value = {f"key {number}": [Basket(Level.GOLD)] for number in range(100_000)}
    began = time.process_time()

    reason = refused(value)

    assert time.process_time() - began < SECONDS
    assert len(reason) < 4000
    assert "more" in reason


def test_a_document_with_very_many_classes_is_named_in_a_few_lines():
    plain = {f"k{number}": {"_py": "class", "v": f"gone{number}.Away" + "x" * 200} for number in range(20_000)}
    began = time.process_time()

    reason = unreadable(plain)

    assert time.process_time() - began < SECONDS
    assert len(reason) < 8000
    assert "19,990 values of other kinds" in reason


def test_what_contains_itself_ends():
    value: Any = [Basket()]
    value.append(value)
    shared: Any = [LOCK]
    for _ in range(60):
        shared = [shared, shared]

    codec = Codec()
    for contained, name in ((value, f"{HERE}.Basket"), (shared, "asyncio.locks.Lock")):
        reason = codec.explained(contained, EncodeError("x")).reason
        assert name in reason
        assert "more" not in reason  # each object was looked at once


BAD = st.sampled_from([Basket(), Level.GOLD, Coin(1), LOCK, function, Whole(1)])
VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | BAD,
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.text(max_size=2) | st.integers(0, 3), inside, max_size=3)
        | st.builds(Basket, inside, inside)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=2), VALUES, max_size=4))
def test_without_all_that_is_named_any_value_can_be_stored(value):
    codec = Codec()
    paths = {path for one in codec.troubles(value) if one is not None and (path := one.excludable) is not None}
    left = Exclusion(paths)

    left.stripped(codec.encode(left.without(value)))
    try:
        codec.encode(value)
    except EncodeError:
        assert paths
    else:
        assert not paths
